"""The passes of a curation over its rows, each done once and taken up where it was left."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..files import write_json, writing
from ..processes import Pool, Slice, run_slices
from ..progress import Progress
from ..recipes.snapshot import check_row_number, write_snapshot
from ..recipes.sources import LocatedSource
from ..rng import sample_rows
from ..shards import DROPPED_SCHEMA
from .chunks import Job, label_slice, read_slice
from .database import connect, parquet_table, write_query
from .deduplication import merge
from .splitting.splits import check_splits


def take_snapshot(job: Job, located: LocatedSource, n: int | None) -> dict[str, Any]:
    """Normalise the source, and draw a sample of n of its rows; returns counts."""
    finished = job.work / "source.json"
    if finished.exists():
        return json.loads(finished.read_text(encoding="utf-8"))
    with writing(job.work / "source.parquet") as partial:
        counts = write_snapshot(job.recipe, located, partial)
        if n is None:
            check_row_number(job.recipe, located, counts["rows"])
    check_splits(job.recipe, job.work / "source.parquet", job.folder)
    n_sampled = counts["rows"]
    if n is not None and n < n_sampled:
        with writing(job.sample) as partial, partial.open("wb") as file:
            np.save(file, sample_rows(n_sampled, n))
        n_sampled = n
    counts["sampled"] = n_sampled
    write_json(counts, finished)
    return counts


def cut_slices(n: int, least: int) -> list[Slice]:
    """Equal slices of n items: about 64, none smaller than ``least`` nor larger than 2,000.

    A function of n alone, so that a restart with another number of workers finds the same slices.
    """
    size = min(2000, max(least, math.ceil(n / 64)))
    n_slice = math.ceil(n / size)
    edges = [n * i // n_slice for i in range(n_slice + 1)]
    return [Slice(i, edges[i], edges[i + 1]) for i in range(n_slice)]


class Stage(NamedTuple):
    """A pass over slices: what is done with each, and by which name its files are known."""

    name: str  # as `Job.slice_file` takes it
    work: Callable
    least: int  # rows of the smallest slice
    title: str


READING = Stage("read", read_slice, least=100, title="reading")
LABELLING = Stage("part", label_slice, least=24, title="conformers and labels")


def run_pass(job: Job, pool: Pool, stage: Stage, n: int, progress: bool) -> None:
    """Do the work of a stage on every slice of n items that is not done yet."""
    with Progress(f"{job.recipe.name}: {stage.title}", n, progress) as bar:
        missing = []
        for piece in cut_slices(n, stage.least):
            if job.slice_file(stage.name, piece.index).exists():
                bar.advance(piece.stop - piece.start)
            else:
                missing.append(piece)
        for piece in run_slices(pool, stage.work, job, missing):
            bar.advance(piece.stop - piece.start)


def merge_once(job: Job) -> dict[str, Any]:
    """Drop duplicates over all rows; returns counts."""
    finished = job.work / "merged.json"
    if not finished.exists():
        write_json(merge(job), finished)
    return json.loads(finished.read_text(encoding="utf-8"))


def write_dropped(job: Job) -> dict[str, dict[str, int]]:
    """All dropped rows in one table, in source order; returns counts by step and reason."""
    files = [job.work / "merged.parquet", *sorted((job.work / "failed").glob("slice-*.parquet"))]
    con = connect(job.work / "spill")
    con.execute(f"CREATE VIEW lost AS SELECT * FROM {parquet_table(con, files)}")
    dropped_file = job.folder / "dropped.parquet"
    write_query(con, "SELECT * FROM lost ORDER BY row", dropped_file, DROPPED_SCHEMA)
    counted = con.execute(
        "SELECT step, reason, count(*) FROM lost GROUP BY ALL ORDER BY step, count(*) DESC, reason"
    ).fetchall()
    con.close()
    dropped: dict[str, dict[str, int]] = {}
    for step, reason, count in counted:
        dropped.setdefault(step, {})[reason] = count
    return dropped


def count_reasons(dropped: dict[str, dict[str, int]]) -> Counter[str]:
    """Dropped rows by reason alone; a reason may come up in several steps."""
    counts: Counter[str] = Counter()
    for reasons in dropped.values():
        counts.update(reasons)
    return counts


def check_row_counts(
    source: str, n_sampled: int, n_kept: int, dropped: dict[str, dict[str, int]], advice: str
) -> None:
    """Raise where rows are neither molecules nor dropped, and InputError where none is a molecule.

    ``source`` says in the message where the rows are from, ``advice`` what to look at.
    """
    counts = count_reasons(dropped)
    n_dropped = sum(counts.values())
    if n_kept + n_dropped != n_sampled:
        raise RuntimeError(
            f"{n_sampled} rows became {n_kept} molecules + {n_dropped} dropped: a row was lost"
        )
    if n_kept == 0:
        words = ", ".join(f"{reason} {n:,}" for reason, n in counts.items())
        raise InputError(
            f"0 of {n_sampled:,} rows of {source} became molecules ({words}). {advice}"
        )
