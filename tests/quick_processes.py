"""Processes that need not import torch: copies of one that has, for tests that start and kill many.

A training that is killed, or several that train together, take a second each to begin as commands;
as copies of a server they take none. They are processes like any other: of their own memory,
killed by SIGKILL, connected by nothing but what they open.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Mapping
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

PRELOADED = ["molnb.training.loop", "molnb.models.graph.encoder", "molnb.models.unimol2.encoder"]


@cache
def server() -> ForkServerContext:
    """What starts copies of a process that has imported all that trains."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
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
