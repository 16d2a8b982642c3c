"""Processes that need not import torch: copies of one that has, for tests that start and kill many.

A training that is killed, several that train together, and a script that says in a line what it
refuses, take seconds each to begin as commands; as copies of a server they take none. They are
processes like any other: of their own memory, killed by SIGKILL, connected by nothing but what they
open.
"""

from __future__ import annotations

import os
import random
import runpy
import socket
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess

PRELOADED = ["molnb.training.loop", "molnb.models.graph.encoder", "molnb.models.unimol2.encoder"]


def server(*more: str) -> ForkServerContext:
    """What starts copies of a process that has imported all that trains, and more modules.

    There is one: the first that asks says what it imports, and copies import the rest themselves.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, *more])
    return context


def start_training(
    folder: Path,
    n_thread: int = 1,
    variables: Mapping[str, str] | None = None,
    shard: bool = False,
) -> BaseProcess:
    """A process that trains a run's folder to its end, with so many threads."""
    arguments = (str(folder), n_thread, dict(variables or {}), shard)
    process = server().Process(target=_train, args=arguments)
    process.start()
    return process


def start_together(folder: Path, n_process: int, shard: bool = False) -> list[BaseProcess]:
    """Processes that train a run's folder together, with what torchrun tells each of them."""
    if n_process == 1:
        return [start_training(folder, shard=shard)]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = []
    for rank in range(n_process):
        variables = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(n_process)}
        ranks.append(start_training(folder, 1, address | variables, shard))
    return ranks


def train_together(folder: Path, n_process: int, shard: bool = False) -> None:
    """Train a run's folder to its end by so many processes."""
    ranks = start_together(folder, n_process, shard)
    for rank in ranks:
        rank.join(300)
    assert [rank.exitcode for rank in ranks] == [0] * n_process


def start_command(*words: str | Path) -> BaseProcess:
    """A process that does what the `molnb` command with these words does."""
    process = server().Process(target=_run_command, args=(list(map(str, words)), dict(os.environ)))
    process.start()
    return process


def run_script(script: Path, *words: object) -> CompletedProcess:
    """What a script does that is called with these words: its exit code, and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        printed = [Path(folder, name) for name in ("stdout", "stderr")]
        command = [str(script), *map(str, words)]
        arguments = (command, dict(os.environ), *printed)
        process = server().Process(target=_run_script, args=arguments)
        process.start()
        process.join()
        texts = [file.read_text(encoding="utf-8") for file in printed]
    return CompletedProcess(command, process.exitcode, *texts)


def _take_variables(variables: Mapping[str, str]) -> None:
    os.environ.update(variables)


class QuickPool(ProcessPoolExecutor):
    """Processes that work for a `Pool` of molnb's, which ends its own in the words of loky."""

    def __init__(self, workers: int):
        # with the variables of now: the server has those of when it began
        super().__init__(workers, server(), _take_variables, (dict(os.environ),))

    def shutdown(self, wait: bool = True, kill_workers: bool = False, **options: bool) -> None:
        super().shutdown(wait, **options)


def free_port() -> int:
    """A port that nobody listens at, and that the system gives to no connection by itself."""
    while True:
        port = random.SystemRandom().randrange(20_000, 30_000)
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)):
                return port


def _train(folder: str, n_thread: int, variables: dict[str, str], shard: bool) -> None:
    """What such a process does."""
    os.environ.update(variables)
    import torch

    from molnb.training.loop import train

    torch.set_num_threads(n_thread)
    train(folder, shard=shard)


def _run_command(words: list[str], variables: dict[str, str]) -> None:
    os.environ.update(variables)
    from molnb.cli import main

    sys.exit(main(words))


def _run_script(command: list[str], variables: dict[str, str], stdout: Path, stderr: Path) -> None:
    os.environ.update(variables)
    for stream, file in ((sys.stdout, stdout), (sys.stderr, stderr)):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
    sys.argv[:] = command
    sys.path.insert(0, str(Path(command[0]).parent))
    runpy.run_path(command[0], run_name="__main__")
