"""Processes that train a run together do what one does, and any number of them goes on with it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from quick_processes import start_together, train_together
from safetensors.torch import load_file
from test_loop import last_step
from tiny import SMALL_GRAPH, TINY, small_run

from molnb.errors import InputError
from molnb.objectives.supervised import Supervised
from molnb.training.launched import launch
from molnb.training.loop import prepare_run, train
from molnb.training.ranks import Ranks, check_hands
from molnb.training.runs import Run

# with two hands there is one sum of two gradients, whoever adds them; more are added in another
# order by more processes, and what that rounds Adam's first steps make larger
SETTINGS = {"hands": 2, "steps": 20, "eval_every": 10, "checkpoint_every": 5}


ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def torchrun(n_process: int, *arguments: object) -> list[str]:
    """The command that trains on so many processes."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    start += ["--nproc-per-node", str(n_process), "-m", "molnb", "train"]
    return [*start, *map(str, arguments)]


def train_on(n_process: int, *arguments: object) -> str:
    """Train on so many processes to the end; returns what the command printed."""
    command = torchrun(n_process, *arguments)
    done = subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[:4000]
    return done.stdout


def orphans(folder: Path) -> list[int]:
    """Processes that still train a run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


def losses(run: Run) -> np.ndarray:
    return np.array([row["loss"] for row in run.metrics("train")])


def computed(run: Run) -> list[tuple[int, int]]:
    """Molecules and FLOPs up to each logged step."""
    return [(row["molecules"], row["flops"]) for row in run.metrics("train")]


def distance(run: Run, other: Run) -> float:
    """The largest difference between weights, of those of the other run."""
    ours, theirs = (load_file(r.path / "weights.safetensors") for r in (run, other))
    assert ours.keys() == theirs.keys()
    assert all(ours[n].equal(theirs[n]) for n in ours if ours[n].dtype == torch.bool)  # seen
    return max(float((ours[n].float() - theirs[n].float()).abs().max()) for n in ours)


def is_rank(pid: int, rank: int) -> bool:
    """Whether torchrun gave a process this number."""
    return f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def train_with_kills(
    folder: Path, processes: list[int], seed: int, shard: Sequence[bool] = ()
) -> None:
    """Train on some numbers of processes in turn, all but the last killed at random moments.

    `shard` says of each turn whether blocks are split.
    """
    shard = shard or [False] * len(processes)
    draw = random.Random(seed)
    metrics = folder / "metrics.jsonl"
    n_step = Run(folder).config.steps
    for turn, n_process in enumerate(processes[:-1]):
        ranks = start_together(folder, n_process, shard[turn])
        target = (turn + draw.random()) * n_step / len(processes)
        while any(rank.is_alive() for rank in ranks) and last_step(metrics) < target:
            time.sleep(0.005)
        time.sleep(draw.random() * 0.05)
        for rank in draw.sample(ranks, n_process):
            rank.kill()
        for rank in ranks:
            rank.join()
        assert [rank.exitcode for rank in ranks] == [-signal.SIGKILL] * n_process
        assert 0 < last_step(metrics) < n_step, "killed while it trained"
    train_together(folder, processes[-1], shard[-1])


def families(nci) -> dict:
    tasks = ("nci_orbitals", "nci_charges", "nci_bond_orders")
    return {
        "two tracks": small_run(nci, **SETTINGS),
        "graph": small_run(nci, model=SMALL_GRAPH, objective=Supervised(tasks), **SETTINGS),
    }


@pytest.mark.parametrize("family", ["two tracks", "graph"])
@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-5), ("float64", 1e-10)])
def test_two_processes_do_what_one_does(nci, tmp_path, family, precision, limit):
    if family == "graph":
        pytest.importorskip("torch_geometric")
    config = replace(families(nci)[family], precision=precision)
    alone = train(config, tmp_path / "one")
    together = prepare_run(config, tmp_path / "two")
    train_together(together.path, 2)
    assert together.state == "done" and together.config == alone.config
    assert np.abs(losses(together) / losses(alone) - 1).max() < limit
    assert distance(together, alone) < 10 * limit
    assert computed(together) == computed(alone)
    cost = together.status()
    assert cost["processes"] == 2 and cost["flops"] == alone.status()["flops"]
    assert cost["bytes"] == alone.status()["bytes"] > 0
    assert cost["device_hours"] == pytest.approx(2 * cost["seconds"] / 3600, rel=0.1)
    assert cost["cpu_seconds"] > 0 and cost["rate_share"] > 0
    assert [row["loss"] for row in together.metrics("val")] == pytest.approx(
        [row["loss"] for row in alone.metrics("val")], rel=1e-5
    )


@pytest.mark.parametrize(
    "processes",
    [
        pytest.param([2, 1, 2, 1], id="three kills"),
        pytest.param([1, 2, 1, 1, 2, 2, 1, 2, 1, 2, 1], marks=pytest.mark.slow, id="ten kills"),
    ],
)
def test_a_killed_run_goes_on_with_another_number_of_processes(nci, tmp_path, processes):
    config = small_run(nci, model=TINY, **SETTINGS | {"steps": 100, "eval_every": 50})
    alone = train(config, tmp_path / "one")
    killed = prepare_run(config, tmp_path / "killed")
    train_with_kills(killed.path, processes, seed=0)
    assert killed.state == "done"
    samples = [[row["samples"] for row in run.metrics("train")] for run in (alone, killed)]
    assert samples[0] == samples[1] and len(set(samples[0])) > 90
    assert computed(killed) == computed(alone)
    assert np.abs(losses(killed) / losses(alone) - 1).max() < 1e-5


@pytest.mark.slow
def test_two_machines_find_each_other_by_the_address_of_one(nci, tmp_path):
    config = small_run(nci, **SETTINGS)
    alone = train(config, tmp_path / "one")
    together = prepare_run(config, tmp_path / "two")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
    command += ["--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "a"]
    command += ["--rdzv-endpoint", address, "-m", "molnb", "train", str(together.path)]
    machines = [subprocess.Popen(command, env=ONE_THREAD) for _ in range(2)]
    assert [machine.wait(timeout=300) for machine in machines] == [0, 0]
    assert np.abs(losses(together) / losses(alone) - 1).max() < 1e-5


def test_a_lost_process_ends_the_run_with_its_checkpoint_whole(nci, tmp_path):
    settings = SETTINGS | {"steps": 100_000, "eval_every": 100_000, "checkpoint_every": 5}
    run = prepare_run(small_run(nci, **settings), tmp_path / "r")
    command = torchrun(2, run.path)
    child = subprocess.Popen(command, env=ONE_THREAD, stderr=subprocess.PIPE, text=True)
    metrics = run.path / "metrics.jsonl"
    while child.poll() is None and last_step(metrics) < 12:
        time.sleep(0.02)
    (lost,) = [pid for pid in orphans(run.path) if is_rank(pid, 1)]
    os.kill(lost, signal.SIGKILL)
    _, said = child.communicate(timeout=120)
    assert child.returncode != 0 and "a process of this training is gone" in said
    assert run.state == "failed"
    step = run.status()["weights_step"]
    assert step >= 10 and step % 5 == 0 and run.load_model() is not None
    train(run, watch=lambda report: report.step < step + 3)
    assert run.status()["step"] == step + 3


def test_a_new_run_of_two_processes_has_a_hand_for_each(nci, tmp_path):
    settings = ["--set", "steps", 2, "--set", "n_val", 8, "--set", "global_batch", 8]
    out = train_on(2, "labels_tiny", "--data", nci.path, "--out", tmp_path / "r", *settings)
    assert out.count("validation of the saved weights") == 1
    run = Run(tmp_path / "r")
    assert run.config.hands == 2 and run.state == "done" and len(run.metrics("train")) == 2


def test_processes_without_a_hand_are_refused(nci, tmp_path):
    with pytest.raises(InputError, match="3 processes would share 2 of the hands"):
        check_hands(2, 3)
    with pytest.raises(InputError, match="hands is 9, and a global batch has 8"):
        small_run(nci, hands=9)
    run = train(small_run(nci), tmp_path / "r", watch=lambda report: False)
    with pytest.raises(InputError, match="use at most 1"):
        launch(run, processes=2)


def test_one_process_sends_nothing():
    ranks = Ranks()
    assert ranks.add({"a": 1.5}) == {"a": 1.5}
    assert ranks.agree(True) and not ranks.agree(False)
    assert ranks.share([1, 2, 3]) == [1, 2, 3]
    assert Ranks(1, 2).share([1, 2, 3]) == [2] and not Ranks(1, 2).is_first
    parameter = torch.nn.Parameter(torch.zeros(2))
    ranks.add_gradients([parameter])
    assert parameter.grad is None
