"""What training at scale costs on one card: the wrapper of processes, checkpoints, split blocks.

A run of the real loop on the data, in bf16: `connected` adds gradients as several processes do,
through NCCL to the card itself, beside the same steps without; `checkpoint-*` keeps a
size and tells how long the loop stands still and how long the files take in the background;
`split-*` trains a size with its blocks split (FSDP2) over one process, and tells its memory.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch
from gpu_setting import Setting, wait
from gpu_speed import LARGEST, free
from two_track import SIZES

from molnb.training.config import RunConfig
from molnb.training.loop import prepare_run, take_step
from molnb.training.ranks import Ranks, joined
from molnb.training.session import Session, save
from molnb.training.sharding import kept_mib


class Connected(Ranks):
    """One process that adds everything up as if there were more."""

    def share(self, items):
        return list(items)


@contextlib.contextmanager
def open_session(setting: Setting, size: str, shard: bool = False) -> Iterator[Session]:
    """A new run of a size in memory, at its first step, and its folder while the block runs."""
    folder = setting.scratch / f"scale-{size}"
    shutil.rmtree(folder, ignore_errors=True)
    config = RunConfig(
        name=size,
        data=(str(setting.data.resolve()),),
        model=SIZES[size],
        steps=1000,
        global_batch=setting.batch,
        pair_budget=setting.batch * (setting.atoms + 1) ** 2,
        n_val=0,
        precision="bfloat16" if setting.on_gpu else "float32",
    )
    with joined(setting.device, always=True):
        session = Session(prepare_run(config, folder), str(setting.device), shard)
        try:
            with session.team, session.writer:
                yield session
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def time_steps(setting: Setting, session: Session) -> float:
    """Median seconds of a step, after some that do not count."""
    few = setting.on_gpu and SIZES[LARGEST] != session.config.model
    seconds = []
    for _ in range(12 if few else 4):
        wait(setting.device)
        start = time.perf_counter()
        take_step(session)
        wait(setting.device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[len(seconds) // 4 :])


def connect_one(setting: Setting, size: str) -> dict[str, Any]:
    """Steps whose sums go through the connection of processes, beside steps whose do not."""
    with open_session(setting, size) as session:
        alone = time_steps(setting, session)
        session.ranks = Connected(0, 2)  # what it says it is, all_reduce is among those there are
        connected = time_steps(setting, session)
        session.ranks = Ranks()
        again = time_steps(setting, session)
    without = min(alone, again)
    return {
        "ok": True,
        "line": (
            f"{size}, batch {setting.batch}: a step takes {1000 * without:.1f} ms alone, "
            f"{connected / without:.3f} times that with gradients added up"
        ),
        "seconds_alone": [alone, again],
        "seconds_connected": connected,
        "ratio": connected / without,
    }


def time_checkpoint(setting: Setting, size: str) -> dict[str, Any]:
    """How long two checkpoints of a size stop the loop, and how long the second is written.

    The first makes the memory that copies are in. What a checkpoint adds to the step after it, in
    which a GPU may still copy and a processor writes, counts as stopped; `seconds_saving` is what
    the loop itself waits.
    """
    with open_session(setting, size) as session:
        step = time_steps(setting, session)
        seconds_saving = []
        seconds_stopped = []
        for _ in range(2):
            session.writer.wait()
            start = time.perf_counter()
            save(session)
            seconds_saving.append(time.perf_counter() - start)
            take_step(session)
            wait(setting.device)
            seconds_stopped.append(max(time.perf_counter() - start - step, 0.0))
        during = time_steps(setting, session)
        session.writer.wait()
        written = time.perf_counter() - start
        n_byte = max(file.stat().st_size for file in session.checkpoints.iterdir())
    steps_stopped = seconds_stopped[1] / step
    return {
        "ok": True,
        "line": (
            f"{size}: {n_byte / 2**30:.1f} GiB stop the loop for {seconds_stopped[0]:.2f} s, the "
            f"next time for {seconds_stopped[1]:.2f} s ({steps_stopped:.1f} steps, "
            f"{seconds_saving[1]:.2f} s of it before the next step), and are written in "
            f"{written:.1f} s; a step meanwhile takes {during / step:.2f} times as long"
        ),
        "bytes": n_byte,
        "seconds_saving": seconds_saving,
        "seconds_stopped": seconds_stopped,
        "steps_stopped": steps_stopped,
        "seconds_written": written,
        "step_seconds": step,
        "step_seconds_meanwhile": during,
    }


def split_blocks(setting: Setting, size: str) -> dict[str, Any]:
    """Steps of a size with its blocks split over one process: seconds and memory."""
    free(setting.device)
    with open_session(setting, size, shard=True) as session:
        seconds = time_steps(setting, session)
        kept = kept_mib(session.model, session.optimizer) / 1024
    peak = torch.cuda.max_memory_allocated(setting.device) / 2**30 if setting.on_gpu else None
    memory = "" if peak is None else f", peak {peak:.1f} GiB"
    return {
        "ok": True,
        "line": (
            f"{size}, batch {setting.batch}: {setting.batch / seconds:.1f} molecules/s, "
            f"{kept:.3f} GiB of parameters, gradients and optimiser state{memory}"
        ),
        "step_seconds": seconds,
        "kept_gib": kept,
        "peak_gib": peak,
    }
