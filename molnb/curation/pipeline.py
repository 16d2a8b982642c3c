"""Recipe -> shards: read, standardise, deduplicate, embed, label, split; restartable, nothing lost
silently.

Three passes. Slices of the rows are parsed, standardised and given keys; then, over all rows at
once and out of core, duplicates are dropped; then slices of what is kept get conformers and labels.
Splits, residual labels and arrays follow from the parts alone, so another split of the same
molecules computes no conformer again. Slices run on local worker processes, or on any Dask cluster;
each ends in files that appear whole or not at all, so a killed curation goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from .. import paths as places
from ..errors import InputError
from ..files import write_json, writing
from ..processes import Pool, Slice, count_cores, run_slices
from ..progress import Progress
from ..recipes.registry import load_recipe, molecules_id, recipe_id, without_computed
from ..recipes.schema import Recipe
from ..recipes.snapshot import write_snapshot
from ..recipes.sources import LocatedSource, find_source, source_path, with_source
from ..shards import DROPPED_SCHEMA, Shards, load_shards
from .chunks import Job, label_slice, read_slice
from .deduplication import connect, merge, stream
from .manifest import finish
from .reuse import adopt, report_versions, versions


def curate(
    recipe: str | os.PathLike | Recipe,
    source: str | os.PathLike | dict | None = None,
    n: int | None = None,
    labels: bool = True,
    workers: int | None = None,
    cluster: str | None = None,
    home: str | os.PathLike | None = None,
    progress: bool = True,
) -> Shards:
    """Turn a recipe into molecules with geometries and labels on disk, or load them when that was
    done before.

    ``source`` replaces the recipe's file (a path, or a dictionary of the keys of ``source``, also
    ``columns``); ``n`` takes a hash sample of the rows; ``labels=False`` leaves out labels that
    would be computed (pretraining needs molecules and geometries alone; on `nci` that is a third of
    the time); ``workers`` counts local processes (all cores; 0 works in this one, where a crash
    ends it), ``cluster`` is the address of a Dask scheduler instead; ``home`` holds ``data/``
    (MOLNB_HOME, or here). Raises InputError for input it cannot use.
    """
    home = Path(home or places.home())
    if n is not None and n < 1:
        raise InputError(f"n={n}: a sample has at least 1 row; leave n out for all rows.")
    if workers is not None and workers < 0:
        raise InputError(
            f"workers={workers}: 0 works in this process, 1 or more in others; {count_cores()} cores here."
        )
    recipe = with_source(recipe if isinstance(recipe, Recipe) else load_recipe(recipe), source)
    recipe = recipe if labels else without_computed(recipe)
    found = find_source(recipe, home)
    tag = "" if n is None else f"-n{n}"
    folder = home / "data" / f"{recipe.name}-{recipe_id(recipe, found.sha256)}{tag}"
    job = Job(folder, recipe)
    if (folder / "manifest.json").exists():
        shards = load_shards(folder)
        report_versions(shards.manifest["versions"], folder)
        if progress:
            print(f"{folder.name}: {shards.n:,} molecules, curated before")
        return shards
    with alone(folder), untouched_if_refused(job):
        plan = _make_plan(job, found, n)
        if not (job.work / "molecules.json").exists():
            with Pool(count_cores() if workers is None else workers, cluster) as pool:
                _make_molecules(job, found, plan, pool, progress)
        shards = finish(job, found, plan)
    if progress:
        print(shards.summary())
    return shards


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Refuse to work on a folder on which another process works; a killed process leaves no lock
    behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (
            ImportError
        ):  # Windows: two curations of one folder do the same work twice, to the same result
            pass
        except OSError:
            raise InputError(
                f"Another process is curating {folder}; wait for it, then the same call only loads."
            ) from None
        yield


@contextlib.contextmanager
def untouched_if_refused(job: Job) -> Iterator[None]:
    """Leave no folder behind when the source itself was refused (no such column, no rows)."""
    try:
        yield
    except InputError:
        if not any((job.work / name).exists() for name in ("source.json", "molecules.json")):
            shutil.rmtree(job.folder, ignore_errors=True)
        raise


def _make_plan(job: Job, found: LocatedSource, n: int | None) -> dict[str, Any]:
    """What this curation is, written down before any work; taken over with finished slices of a
    sibling folder.
    """
    plan_file = job.work / "plan.json"
    job.work.mkdir(parents=True, exist_ok=True)
    if plan_file.exists():
        plan = json.loads(plan_file.read_text(encoding="utf-8"))
        report_versions(plan["versions"], job.folder)
        return plan | {"resumed": True}
    plan = {
        "recipe_id": recipe_id(job.recipe, found.sha256),
        "molecules_id": molecules_id(job.recipe, found.sha256),
        "n": n,
        "sha256": found.sha256,
        "versions": versions(),
        "resumed": False,
    }
    plan = adopt(job, plan)
    write_json(plan, plan_file)
    return plan


def _make_molecules(
    job: Job, found: LocatedSource, plan: dict[str, Any], pool: Pool, shown: bool
) -> None:
    """The three passes: afterwards all parts and ``dropped.parquet`` are there."""
    seconds: dict[str, float] = {}
    with _timed(seconds, "source"):
        source = take_snapshot(job, found, plan["n"])
    with _timed(seconds, "read"):
        run_pass(job, pool, read_slice, "read", source["sampled"], 100, "reading", shown)
    with _timed(seconds, "merge"):
        merged = merge_once(job)
    if merged["n_kept"]:
        with _timed(seconds, "label"):
            what = "conformers and labels" if job.recipe.needs_xtb() else "conformers"
            run_pass(job, pool, label_slice, "part", merged["n_kept"], 24, what, shown)
    molecules = _account(job, found, source, write_dropped(job)) | {
        "missing_in_source": source["missing"],
        "duplicates": merged["duplicates"],
        "workers": pool.workers if pool.cluster is None else pool.cluster,
        "resumed": plan["resumed"],
        "versions": plan["versions"],
        "seconds": seconds,
    }
    write_json(molecules, job.work / "molecules.json")


def _account(
    job: Job, found: LocatedSource, source: dict[str, Any], dropped: dict[str, Any]
) -> dict[str, Any]:
    """Every sampled row is a molecule or dropped; raises InputError when there is no molecule."""
    n, parts = source["sampled"], (job.folder / "shards").glob("part-*.parquet")
    n_kept = sum(pq.read_metadata(path).num_rows for path in parts)
    if n_kept + dropped["n"] != n:
        raise RuntimeError(
            f"{n} rows became {n_kept} molecules + {dropped['n']} dropped: a row was lost"
        )
    if n_kept == 0:
        reasons = ", ".join(
            f"{r} {c:,}" for step in dropped["by_step"].values() for r, c in step.items()
        )
        column = job.recipe.columns.smiles or "mol block"
        raise InputError(
            f"0 of {n:,} rows of {source_path(found.source, found.folder)} became molecules ({reasons}). Every row and "
            f"its reason is in {job.folder / 'dropped.parquet'}. Is '{column}' the column of the structures?"
        )
    return {
        "n_source": source["rows"],
        "n_sampled": n,
        "n_kept": n_kept,
        "dropped": dropped["by_step"],
    }


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - start, 3)


def take_snapshot(job: Job, found: LocatedSource, n: int | None) -> dict[str, Any]:
    """Normalise the source once, and draw the sample of rows."""
    done = job.work / "source.json"
    if done.exists():
        return json.loads(done.read_text(encoding="utf-8"))
    with writing(job.work / "source.parquet") as partial:
        counted = write_snapshot(job.recipe, found, partial)
    sampled = counted["rows"]
    if n is not None and n < sampled:
        with writing(job.sample) as partial, partial.open("wb") as file:
            np.save(file, sample_rows(sampled, n))
        sampled = n
    counted["sampled"] = sampled
    write_json(counted, done)
    return counted


def sample_rows(n_row: int, n: int) -> np.ndarray:
    """The ``n`` rows whose number has the smallest hash, ascending: a larger sample contains
    every smaller one.
    """
    hashed = np.arange(n_row, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64
        hashed = (hashed ^ (hashed >> np.uint64(shift))) * np.uint64(factor)
    hashed ^= hashed >> np.uint64(31)
    return np.sort(np.argpartition(hashed, n - 1)[:n])


def cut_slices(n: int, least: int) -> list[Slice]:
    """Equal slices of n items: about 64, none smaller than ``least`` nor larger than 2,000.

    A function of n alone, so that a restart with another number of workers finds the same slices.
    """
    n_slice = math.ceil(n / min(2000, max(least, math.ceil(n / 64))))
    edges = [n * i // n_slice for i in range(n_slice + 1)]
    return [Slice(i, a, b) for i, (a, b) in enumerate(zip(edges, edges[1:], strict=False))]


def run_pass(
    job: Job, pool: Pool, work: Callable, stage: str, n: int, least: int, what: str, shown: bool
) -> None:
    with Progress(f"{job.recipe.name}: {what}", n, shown) as bar:
        missing = []
        for piece in cut_slices(n, least):
            if job.slice_file(stage, piece.index).exists():
                bar.advance(piece.stop - piece.start)
            else:
                missing.append(piece)
        for piece in run_slices(pool, work, job, missing):
            bar.advance(piece.stop - piece.start)


def merge_once(job: Job) -> dict[str, Any]:
    done = job.work / "merged.json"
    if not done.exists():
        write_json(merge(job), done)
    return json.loads(done.read_text(encoding="utf-8"))


def write_dropped(job: Job) -> dict[str, Any]:
    """All dropped rows in one table, in source order, and their counts by step and reason."""
    files = [job.work / "merged.parquet", *sorted((job.work / "failed").glob("slice-*.parquet"))]
    con = connect(job.work / "spill")
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
    con.execute(f"CREATE VIEW lost AS SELECT * FROM read_parquet([{listed}])")
    n = stream(
        con, "SELECT * FROM lost ORDER BY row", job.folder / "dropped.parquet", DROPPED_SCHEMA
    )
    by_step: dict[str, dict[str, int]] = {}
    query = (
        "SELECT step, reason, count(*) FROM lost GROUP BY ALL ORDER BY step, count(*) DESC, reason"
    )
    for step, reason, count in con.execute(query).fetchall():
        by_step.setdefault(step, {})[reason] = count
    con.close()
    return {"n": n, "by_step": by_step}
