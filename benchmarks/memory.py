"""Prints the memory that a training run takes up to its first step, and what a molecule adds.

    python benchmarks/memory.py                                1,000 and 20,000 molecules
    python benchmarks/memory.py --molecules 20000 200000 --objectives labels
    python benchmarks/memory.py --data nci-febfe398-n200       molecules of a curated dataset

200 rows of `nci` are curated and repeated to each number of molecules, labels included. A process
of its own starts a run of a tiny model on them, pretraining or learning labels of molecules and
atoms, and ends after step 1, when scales, baselines and the first validation are behind it.

Printed is the peak of its resident memory, as the system kept it, and the peak without pages that
map files, as read every 2 ms. The mapped pages are those of libraries and of the arrays that were
read: they are a cache, which the system takes back where memory is short. Curation is imported only
where it is used, so that the measured process is one that only trains.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from molnb.errors import InputError
from molnb.files import write_json, write_table
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.objectives.interface import Objective
from molnb.objectives.pretraining import Pretrain
from molnb.objectives.supervised import Supervised
from molnb.paths import find_data
from molnb.shards import Shards, load_shards
from molnb.training.config import RunConfig
from molnb.training.loop import prepare_run, training_steps

MODEL = TwoTrackConfig(2, 32, 4, 32, 16, 4, n_kernel=16)
TASKS = ("nci_orbitals", "nci_charges")
OBJECTIVES = {"pretraining": Pretrain(), "labels": Supervised(task_names=TASKS)}
PART = 10_000  # molecules of a part


class Peak(NamedTuple):
    """Peak memory of a process in MiB: of all resident pages, and of those that map no file."""

    resident: float
    anonymous: float


def repeat_shards(shards: Shards, n: int, folder: Path) -> Shards:
    """Shards of n molecules in a new folder: those of others over and over, with their labels."""
    from molnb.curation.arrays import write_arrays

    names = pq.read_schema(shards.parts()[0]).names
    molecules = shards.table(names)
    parts = []
    for first in range(0, n, PART):
        parts.append(folder / "shards" / f"part-{len(parts):05}.parquet")
        write_table(_repeat(molecules, np.arange(first, min(first + PART, n))), parts[-1])
    for name in ("splits.parquet", "derived.parquet"):
        side = pq.read_table(shards.path / name)
        write_table(_repeat(side, np.arange(n)), folder / name)
    tasks = [
        {
            "name": name,
            "level": task["level"],
            "kind": task["kind"],
            "labels": [label["name"] for label in task["labels"]],
        }
        for name, task in shards.tasks.items()
    ]
    splits = list(shards.manifest["splits"])
    write_arrays(parts, tasks, set(shards.manifest["fits"]), splits, folder)
    shutil.copy(shards.path / "dropped.parquet", folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    write_json(shards.manifest | {"n_kept": n, "files": sizes}, folder / "manifest.json")
    return load_shards(folder)


def _repeat(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """The table over and over, cut to some rows of the long one; `row` is their number."""
    column = table.column_names.index("row")
    repeated = table.take(rows % len(table))
    return repeated.set_column(column, table.field(column), pa.array(rows))


def make_config(objective: Objective, data: Path) -> RunConfig:
    """A short run of a tiny model on a dataset."""
    return RunConfig(
        name="memory",
        data=(str(data),),
        model=MODEL,
        objective=objective,
        steps=2,
        global_batch=32,
        warmup_steps=1,
        n_val=64,
    )


def first_step(objective: str, data: str, out: str) -> None:
    """Start a run in this process, end it after step 1, and print the peak of its memory, in kB."""
    run = prepare_run(make_config(OBJECTIVES[objective], Path(data)), out)
    with closing(training_steps(run, "cpu")) as steps:
        next(steps)
        print(read_status("self", "VmHWM"))


def read_status(process: int | str, field: str) -> int:
    """A field of what Linux says about a process, in kB; 0 once it has ended."""
    status = Path(f"/proc/{process}/status").read_text()
    size = re.search(rf"^{field}:\s+(\d+) kB", status, flags=re.M)
    return int(size[1]) if size else 0


def measure(objective: str, data: Path, out: Path) -> Peak:
    """Peak memory of a new run up to its first step, in a process of its own."""
    command = [sys.executable, __file__, "--first-step", objective, str(data), str(out)]
    anonymous = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        # Linux keeps the peak of all resident pages, not that of those which map no file
        while process.poll() is None:
            anonymous = max(anonymous, read_status(process.pid, "RssAnon"))
            time.sleep(0.002)
        printed = process.stdout.read()
    if process.returncode:
        raise InputError(f"the run on {data} ended with {process.returncode}")
    return Peak(int(printed) / 1024, anonymous / 1024)


def compare(objective: str, datasets: dict[int, Path], rounds: int, folder: Path) -> None:
    """Print the median peak for each number of molecules, and what a molecule more adds."""
    medians = {}
    for n, data in datasets.items():
        peaks = [measure(objective, data, folder / f"{objective}-{n}-{k}") for k in range(rounds)]
        resident, anonymous = (statistics.median(values) for values in zip(*peaks))
        medians[n] = Peak(resident, anonymous)
        print(
            f"{objective:<12} {n:>9,} molecules: {resident:6.1f} MiB, "
            f"{anonymous:6.1f} without mapped files",
            flush=True,
        )
    fewest = min(medians)
    most = max(medians)
    if most > fewest:
        resident, anonymous = (
            (large - small) * 2**20 / (most - fewest)
            for small, large in zip(medians[fewest], medians[most])
        )
        print(
            f"{objective:<12} a molecule more:   {resident:6.0f} bytes, "
            f"{anonymous:5.0f} without mapped files"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--molecules", type=int, nargs="+", default=[1000, 20_000], metavar="N")
    parser.add_argument(
        "--objectives", nargs="+", default=list(OBJECTIVES), choices=list(OBJECTIVES)
    )
    parser.add_argument("--rounds", type=int, default=3, help="processes a number of molecules")
    parser.add_argument(
        "--data", help="curated dataset with the labels of nci (default: 200 rows of it)"
    )
    parser.add_argument("--first-step", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.first_step:
        first_step(*args.first_step)
        return 0
    if not Path("/proc/self/status").exists():
        raise InputError("memory is read from /proc, which this system lacks: run it on Linux")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.data is None:
            from molnb.curation.pipeline import curate

            shards = curate("nci", n=200, home=folder, progress=False)
        else:
            shards = load_shards(find_data(args.data))
        datasets = {n: repeat_shards(shards, n, folder / f"n{n}").path for n in args.molecules}
        for objective in args.objectives:
            compare(objective, datasets, args.rounds, folder)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
