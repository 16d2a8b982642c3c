"""Training that outlives who started it: a process of its own, watched through the run's folder."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from ..errors import InputError
from .config import RunConfig
from .device import choose_device
from .loop import Report, Watch, prepare_run
from .ownership import is_owned
from .ranks import check_hands
from .runs import Run

LOG = "log.txt"  # what the process says, below the run's folder
START_SECONDS = 300  # to import torch and read the data, on a slow disk
LOOKS = 0.2  # seconds between two looks at a process that starts
LITTLE = 2**20  # bytes that are left of a disk that is full: systems keep some for themselves
_N_LINE = 3  # last lines of a log that an error quotes where none is a complaint
COMPLAINT = "molnb train: "  # how the command says what it refuses


def launch(
    config: RunConfig | Run | str | Path,
    out: str | Path | None = None,
    device: str = "auto",
    processes: int | None = None,
    shard: bool = False,
) -> Run:
    """Train in a process of its own, or go on with a run's folder; returns once it has begun.

    The process goes on when the notebook is closed or its kernel dies. `follow` watches it,
    `Run.stop` asks it to end, `log.txt` in the run's folder has what it says. Several `processes`
    (default: one a GPU, and one without) train the run together, with `shard` each keeping a part
    of the encoder's blocks. Raises InputError where it does not begin, with the last that it said.
    """
    n_process = count_processes(device) if processes is None else processes
    if n_process < 1:
        raise InputError(f"processes is {n_process}: give 1 or more, or leave it out")
    if isinstance(config, RunConfig):
        config = replace(config, hands=max(config.hands, n_process))
    run = prepare_run(config, out)
    check_hands(run.config.hands, n_process)
    if run.state == "done":
        return run
    if is_owned(run.path):
        raise InputError(
            f"{run.path} is being trained already: watch it with `await follow({str(run.path)!r})`"
        )
    began = time.time()
    command = [sys.executable, *_torchrun(n_process), "-m", "molnb", "train"]
    command += [str(run.path.resolve()), "--device", device]
    command += ["--shard"] if shard else []
    with (run.path / LOG).open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # signals to a kernel and its children do not reach it
        )
    while not _has_begun(run, began):
        if process.poll() is not None and not _has_begun(run, began):
            raise InputError(f"{run.path}: the training did not begin. {last_words(run)}")
        if time.time() - began > START_SECONDS:
            process.terminate()
            raise InputError(
                f"{run.path}: the training did not begin within {START_SECONDS} s. "
                f"{last_words(run)}"
            )
        time.sleep(LOOKS)
    return run


def count_processes(device: str) -> int:
    """How many processes train on a device by name: one, or one a GPU where none is named."""
    chosen = choose_device(device)
    return torch.cuda.device_count() if chosen.type == "cuda" and chosen.index is None else 1


def _torchrun(n_process: int) -> list[str]:
    """What starts several processes on this machine; nothing for one."""
    if n_process == 1:
        return []
    several = ["--standalone", "--nproc-per-node", str(n_process)]
    return ["-m", "torch.distributed.run", *several]


def _has_begun(run: Run, since: float) -> bool:
    """Whether a training has written the run's status since a time."""
    return run.read("status.json").get("updated", 0.0) >= round(since, 1)


async def follow(run: Run | str | Path, watch: Watch | None = None, every: float = 0.5) -> Run:
    """Watch a run that another process trains, from its first logged step to its end.

    `watch` is called with a report of each logged step, those of before too, so that a curve is
    whole whoever looks, and whenever; where it returns False the run is asked to stop. Cancelling
    this ends the watching alone. Raises InputError where the training failed, or was killed.
    """
    run = run if isinstance(run, Run) else Run(run)
    if run.state == "new":
        raise InputError(
            f"nothing has trained {run.path} yet: launch({str(run.path)!r}), or `molnb train "
            f"{run.path}`"
        )
    reported = 0  # what was scored before the first step is nobody's report
    n_byte = -1  # of the log when it was last read: a long one is read again when it grew
    while True:
        ended = run.state != "running"  # before rows: none is missed
        grown = run.n_logged_byte
        if grown != n_byte:
            n_byte = grown
            for report in reports_after(run, reported):
                reported = report.step
                if watch is not None and watch(report) is False and not ended:
                    run.stop()
        if ended:
            break
        await asyncio.sleep(every)
    if run.state == "failed":
        raise InputError(f"{run.path}: the training failed. {last_words(run)}")
    if run.state == "killed":
        raise InputError(
            f"{run.path}: the process that trained it ended without a word, at step "
            f"{run.status().get('step', 0):,}. launch({str(run.path)!r}) goes on from the last "
            f"checkpoint{_lack_of_room(run)}"
        )
    return run


def reports_after(run: Run, step: int) -> list[Report]:
    """A report of each step that was logged after a step, as the loop gave it."""
    # the time of a step is logged after its rows: of one that has none yet, some may be missing
    seconds = {row["step"]: row["seconds"] for row in run.timings()}
    rows_of: dict[int, list[dict]] = {}
    for row in run.metrics():
        if row["step"] > step and row["step"] in seconds:
            rows_of.setdefault(row["step"], []).append(row)
    n_step = run.config.steps
    reports = []
    for logged, rows in rows_of.items():
        losses = [row["loss"] for row in rows if row["part"] == "train"]
        loss = losses[0] if losses else rows[0]["loss"]
        reports.append(Report(logged, n_step, loss, seconds[logged], tuple(rows)))
    return reports


def last_words(run: Run) -> str:
    """What the process of a run last complained of, or said, and where the rest stands."""
    file = run.path / LOG
    said = said_last(file)
    if not said:
        return f"Its log is empty ({file}){_lack_of_room(run)}"
    return f"Its log says: {' / '.join(said)} ({file})"


def said_last(file: Path, since: int = 0) -> list[str]:
    """The last complaint in a log behind so many bytes, or its last lines; none where it is empty.

    A complaint is what the command refuses, with the command's name before it.
    """
    content = file.read_bytes()[since:] if file.exists() else b""
    text = content.decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # what torchrun adds when a process has failed stands behind it
    complaints = [line for line in lines if COMPLAINT in line]
    return complaints[-1:] or lines[-_N_LINE:]


def _lack_of_room(run: Run) -> str:
    """That the disk is full, if it is: the process could not write even that."""
    n_free = shutil.disk_usage(run.path).free
    return f". Free space first: its disk has {n_free:,} bytes left" if n_free < LITTLE else ""
