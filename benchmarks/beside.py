"""How long a lesson takes alone, beside busy jobs, and beside another lesson.

    python benchmarks/beside.py                         05 at size tour, two busy jobs, 3 rounds
    python benchmarks/beside.py --lesson 08_finetune --jobs 1

Data are curated first and not counted. A busy job is a Python process that never waits and uses one
core. Rounds go through all ways in turn, so that a slow minute of the machine meets each of them;
medians are printed. The fair share: beside as many busy jobs as there are cores a lesson that
alone uses all of them should take twice as long.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

BUSY = "while True: pass"


class Measured(NamedTuple):
    """A lesson that ran: seconds, and CPU seconds of all its processes."""

    seconds: float
    cpu_seconds: float


def main() -> int:
    args = read_arguments()
    with tempfile.TemporaryDirectory() as folder:
        start_lesson(args, Path(folder), "first").wait()  # curates
        alone: list[Measured] = []
        beside: list[Measured] = []
        pairs: list[Measured] = []
        for number in range(args.rounds):
            alone += measure(args, Path(folder), f"alone-{number}", 1)
            with busy_jobs(args.jobs):
                beside += measure(args, Path(folder), f"beside-{number}", 1)
            pairs += measure(args, Path(folder), f"pair-{number}", 2)
    baseline = statistics.median(run.seconds for run in alone)
    print(f"{args.lesson} at size {args.size}, {os.cpu_count()} cores, {args.rounds} rounds")
    show("alone", alone, baseline)
    show(f"beside {args.jobs} busy jobs", beside, baseline)
    show("two at once, each", pairs, baseline)
    return 0


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lesson", default="05_pretrain")
    parser.add_argument("--size", default="tour", choices=("test", "tour", "full"))
    parser.add_argument("--jobs", type=int, default=2, help="busy jobs beside the lesson")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def start_lesson(args: argparse.Namespace, home: Path, name: str) -> subprocess.Popen:
    """A process that runs the lesson with its data below `home`."""
    out = home / f"{name}.ipynb"
    command = [sys.executable, "-m", "molnb", "run", args.lesson, "-p", "size", args.size]
    return subprocess.Popen(
        [*command, "--out", str(out)],
        env=os.environ | {"MOLNB_HOME": str(home)},
        stdout=subprocess.DEVNULL,
    )


def measure(args: argparse.Namespace, home: Path, name: str, n_lesson: int) -> list[Measured]:
    """Run lessons at the same time, and wait for the last; each gets an equal part of the CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    processes = [start_lesson(args, home, f"{name}-{number}") for number in range(n_lesson)]
    seconds = []
    for process in processes:
        if process.wait():
            sys.exit(f"{args.lesson} failed beside others: run `molnb run {args.lesson}` alone")
        seconds.append(time.perf_counter() - start)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [Measured(value, cpu_seconds / n_lesson) for value in seconds]


@contextmanager
def busy_jobs(n_job: int) -> Iterator[None]:
    """Processes that each keep a core busy."""
    jobs = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(n_job)]
    try:
        yield
    finally:
        for job in jobs:
            job.kill()
            job.wait()


def show(way: str, runs: list[Measured], baseline: float) -> None:
    """Print a line: medians, range and ratio to a lesson alone."""
    seconds = [run.seconds for run in runs]
    median = statistics.median(seconds)
    cpu_seconds = statistics.median(run.cpu_seconds for run in runs)
    print(
        f"  {way:<20} {median:6.1f} s ({min(seconds):.1f} to {max(seconds):.1f}), "
        f"{cpu_seconds:6.1f} CPU-s, {median / baseline:.2f} times as long as alone"
    )


if __name__ == "__main__":
    sys.exit(main())
