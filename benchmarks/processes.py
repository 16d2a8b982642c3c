"""What training costs beside its steps: another process, checkpoints, logs, resuming.

    python benchmarks/processes.py                     all rows, on 400 molecules of nci
    python benchmarks/processes.py --data nci-01e400f2 --rows processes --rounds 5

`processes`: CPU-seconds of the steps of two gloo processes of one thread each, beside those of one
process with two threads on the same molecules, for a two-track and a graph network; without their
start, as the runs' own record has them. `keeping`: of a run with a checkpoint every 200 steps, a
line logged a step, and one resumption half way, the share of its time in which the loop waited for
any of these, and the CPU time of writing in the background. `background`: a checkpoint of 84M (one
gibibyte): how long the loop stands still, beside a step, and how long writing takes.

Runs follow one another in turns. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import molnb
import molnb.training.loop as loop
from molnb.paths import find_data
from molnb.shards import load_shards
from molnb.training.checkpoints import Writer
from molnb.training.config import RunConfig
from molnb.training.loop import prepare_run, take_step, train
from molnb.training.presets import make_preset
from molnb.training.runs import Run
from molnb.training.session import Session, save

ROWS = ("processes", "keeping", "background")
FAMILIES = {
    "two-track": ("laptop_1m", 32, 40),  # preset, molecules a step, steps
    "graph": ("toymix_gine", 256, 60),
}


def make_config(preset: str, dataset: str, batch: int, steps: int, **changes: Any) -> RunConfig:
    """A preset on some data, with two hands, which scores nothing on the way."""
    settings = {"steps": steps, "global_batch": batch, "eval_every": steps, "n_val": 8}
    settings |= {"checkpoint_every": steps, "hands": 2, "warmup_steps": 5}
    return make_preset(preset, [dataset], **settings | changes)


# --------------------------------------------------------------------------------------- processes


def compare_processes(dataset: str, scratch: Path, rounds: int) -> None:
    """Print the CPU-seconds of two processes beside those of one, a family a line."""
    for family, (preset, batch, steps) in FAMILIES.items():
        spent: dict[str, list[float]] = {"one": [], "two": []}
        walls: dict[str, list[float]] = {"one": [], "two": []}
        for number in range(rounds):
            for kind in spent:
                config = make_config(preset, dataset, batch, steps)
                run = prepare_run(config, scratch / f"{family}-{kind}-{number}")
                two = kind == "two"
                start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
                command = [sys.executable, *(start if two else []), "-m", "molnb", "train"]
                threads = {"OMP_NUM_THREADS": "1" if two else "2"}
                environment = os.environ | threads
                subprocess.run(
                    [*command, str(run.path)], check=True, env=environment, capture_output=True
                )
                status = run.status()
                spent[kind].append(status["cpu_seconds"])
                walls[kind].append(status["seconds"])
        ratios = [two / one for one, two in zip(*spent.values(), strict=True)]
        cpu = {kind: statistics.median(seconds) for kind, seconds in spent.items()}
        wall = {kind: statistics.median(seconds) for kind, seconds in walls.items()}
        print(
            f"{family:10} {steps} steps of {batch}: {cpu['two']:.1f} CPU-s in two processes, "
            f"{cpu['one']:.1f} in one: ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}); "
            f"{wall['two']:.1f} s and {wall['one']:.1f} s",
            flush=True,
        )


# ----------------------------------------------------------------------------------------- keeping

# what the loop calls to keep a run, by whom it is looked up
KEPT_BY = (
    (loop, "save"),
    (loop, "resume"),
    (loop, "check_mine"),
    (Run, "log"),
    (Run, "write_status"),
)


class Clock:
    """Seconds spent inside functions that are wrapped, and CPU-seconds of their threads."""

    def __init__(self):
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def around(self, function: Callable) -> Callable:
        def timed(*args: Any, **named: Any) -> Any:
            start = time.perf_counter()
            cpu = time.thread_time()
            try:
                return function(*args, **named)
            finally:
                self.seconds += time.perf_counter() - start
                self.cpu_seconds += time.thread_time() - cpu

        return timed

    def around_write(self, start: Callable) -> Callable:
        """`Writer.start`, with what it is given timed where it runs."""
        return lambda writer, write: start(writer, self.around(write))


def time_keeping(dataset: str, scratch: Path, steps: int) -> None:
    """Print which share of a run's time goes into keeping it, for each family."""
    for family, (preset, batch, _) in FAMILIES.items():
        waited = Clock()
        written = Clock()
        every = {"checkpoint_every": 200, "log_every": 1}
        config = make_config(preset, dataset, batch, steps, **every)
        with ExitStack() as stack:
            for owner, name in KEPT_BY:
                timed = waited.around(getattr(owner, name))
                stack.enter_context(patch.object(owner, name, timed))
            stack.enter_context(patch.object(Writer, "start", written.around_write(Writer.start)))
            run = train(config, scratch / family, watch=lambda report: report.step < steps // 2)
            run = train(run)
        seconds = run.status()["seconds"]
        cpu_seconds = run.status()["cpu_seconds"]
        print(
            f"{family:10} {steps} steps of {batch} in {seconds:.1f} s, resumed once: the loop "
            f"waited {waited.seconds:.2f} s for what is kept, {waited.seconds / seconds:.2%}; "
            f"written in the background in {written.cpu_seconds:.2f} CPU-s, "
            f"{written.cpu_seconds / cpu_seconds:.2%} of {cpu_seconds:.1f}",
            flush=True,
        )


# -------------------------------------------------------------------------------------- background


def time_background(dataset: str, scratch: Path, rounds: int) -> None:
    """Print how long a checkpoint of 84M stops the loop, and how long it is written beside it."""
    config = make_config("pretrain_84m", dataset, 4, 10, precision="float32", compile=False)
    session = Session(prepare_run(replace(config, n_val=0), scratch / "84m"), "cpu")
    steps: list[float] = []  # seconds of steps alone
    stops: list[float] = []  # of the loop for a checkpoint
    writes: list[float] = []  # until it is written
    meanwhile: list[float] = []  # of the step beside
    with session.team, session.writer:
        take_step(session)
        for _ in range(rounds):
            start = time.perf_counter()
            take_step(session)
            steps.append(time.perf_counter() - start)
            start = time.perf_counter()
            save(session)
            stops.append(time.perf_counter() - start)
            take_step(session)
            meanwhile.append(time.perf_counter() - start - stops[-1])
            session.writer.wait()
            writes.append(time.perf_counter() - start)
    step = statistics.median(steps)
    stop = statistics.median(stops)
    write = statistics.median(writes)
    beside = statistics.median(meanwhile)
    n_byte = sum(file.stat().st_size for file in session.checkpoints.iterdir()) / 2
    print(
        f"84M: {n_byte / 2**30:.2f} GiB stop the loop for {stop:.2f} s, {stop / step:.2f} of a "
        f"step of 4 molecules ({step:.2f} s); written within {write:.2f} s, a step meanwhile "
        f"took {beside:.2f} s",
        flush=True,
    )


def main() -> None:
    """Measure the rows that are named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", help="a curated folder (default: 400 molecules of nci)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000, help="of the run that is kept")
    options = parser.parse_args()
    if options.data is None:
        options.data = str(molnb.curate("nci", n=400).path)
    dataset = str(load_shards(find_data(options.data)).path.resolve())
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if "processes" in options.rows:
            compare_processes(dataset, scratch, options.rounds)
        if "keeping" in options.rows:
            time_keeping(dataset, scratch, options.steps)
        if "background" in options.rows:
            time_background(dataset, scratch, options.rounds)


if __name__ == "__main__":
    main()
