"""What a recipe makes of the rows of a file before any conformer: counts, and what was dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from molnb.curation.chunks import Job
from molnb.curation.passes import READING, merge_once, run_pass, take_snapshot
from molnb.processes import Pool
from molnb.recipes.chosen_columns import with_chosen_columns
from molnb.recipes.registry import load_recipe
from molnb.recipes.schema import Recipe
from molnb.recipes.sources import find_source, with_source


class Account(NamedTuple):
    """What reading, standardising and merging the rows of a source came to."""

    recipe: Recipe  # with the columns that the file has
    rows: int
    kept: int
    dropped: dict[str, int]  # by reason
    missing: dict[str, dict[str, int]]  # cells without a value, by label and reason
    conflicts: int  # molecules whose rows do not agree in a label
    folder: Path


def read_account(name: str, source: str | Path | dict, folder: Path) -> Account:
    """The account of a recipe on a file, by the passes that come before conformers.

    They take two or three milliseconds a row, where a conformer takes sixteen.
    """
    recipe = with_source(load_recipe(name), source)
    located = find_source(recipe, folder)
    job = Job(folder / name, with_chosen_columns(recipe, located))
    job.work.mkdir(parents=True)
    counts = take_snapshot(job, located, None)
    with Pool(0, None) as pool:
        run_pass(job, pool, READING, counts["sampled"], False)
    merged = merge_once(job)
    dropped: dict[str, int] = {}
    for reason in pq.read_table(job.work / "merged.parquet").column("reason").to_pylist():
        dropped[reason] = dropped.get(reason, 0) + 1
    return Account(
        job.recipe,
        counts["rows"],
        merged["n_kept"],
        dropped,
        counts["missing"],
        merged["duplicates"]["conflicting"],
        job.folder,
    )


def values(account: Account, label: str) -> list[Any]:
    """The values of a label as the snapshot has them, in source order."""
    return pq.read_table(account.folder / "work" / "source.parquet").column(label).to_pylist()
