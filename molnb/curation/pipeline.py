"""Recipe -> shards: read, standardise, deduplicate, embed, label, split; nothing lost silently.

Three passes. Slices of the rows are parsed, standardised and given keys; then, over all rows at
once and out of core, duplicates are dropped; then slices of what is kept get conformers and labels.
Splits, residual labels and arrays follow from the parts alone, so another split of the same
molecules computes no conformer again. Slices run on local worker processes, or on any Dask cluster;
each ends in files that appear whole or not at all, so a killed curation goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from .. import paths
from ..chemistry.failures import NO_GEOMETRY
from ..errors import InputError
from ..files import check_folder, write_json
from ..locks import take_lock
from ..processes import Pool, count_cores
from ..recipes.chosen_columns import with_chosen_columns
from ..recipes.mix_schema import Mix
from ..recipes.registry import load_recipe, molecules_id, recipe_id, without_computed
from ..recipes.schema import Recipe
from ..recipes.sources import (
    LocatedSource,
    find_source,
    source_path,
    stated_digest,
    with_source,
)
from ..recipes.split_files import with_located_splits
from ..shards import Shards, load_shards
from .chunks import Job
from .flag_lists import read_lists
from .manifest import finish
from .passes import (
    LABELLING,
    READING,
    check_row_counts,
    count_reasons,
    cut_slices,
    merge_once,
    run_pass,
    take_snapshot,
    write_dropped,
)
from .reuse import adopt, report_versions, versions


def curate(
    recipe: str | os.PathLike | Recipe | Mix,
    source: str | os.PathLike | dict | None = None,
    n: int | None = None,
    labels: bool = True,
    workers: int | None = None,
    cluster: str | None = None,
    home: str | os.PathLike | None = None,
    progress: bool = True,
) -> Shards:
    """Molecules with geometries and labels from a recipe; made once, later only loaded.

    ``source`` replaces the recipe's file (a path, or a dictionary of the keys of ``source``, also
    ``columns``); ``n`` takes a hash sample of the rows; ``labels=False`` leaves out labels that
    would be computed (pretraining needs molecules and geometries alone; on `nci` that is a third of
    the time); ``workers`` counts local processes (all cores; 0 works in this one, where a crash
    ends it), ``cluster`` is the address of a Dask scheduler instead; ``home`` holds ``data/``
    (MOLNB_HOME, or here). Where the recipe states the SHA-256 of its source, what was made before
    is found without the source. A mix has each member curated so, with ``n`` rows of each and
    ``source[member]`` in place of its file, and joined. Raises InputError for input it cannot use.
    """
    refuse_counts(n, workers)
    home = Path(home or paths.home())
    recipe = recipe if isinstance(recipe, Recipe | Mix) else load_recipe(recipe)
    if isinstance(recipe, Mix):
        from .mixes.mixing import curate_mix  # which curates the members by this function

        options = {"n": n, "labels": labels, "workers": workers, "cluster": cluster}
        return curate_mix(recipe, source, home, progress, **options)
    recipe = with_source(with_located_splits(recipe), source)
    recipe = recipe if labels else without_computed(recipe)
    located = None
    sha256 = stated_digest(recipe)
    if sha256 is None:
        located = find_source(recipe, home, progress)
        sha256 = located.sha256
    sample = "" if n is None else f"-n{n}"
    folder = home / "data" / f"{recipe.name}-{recipe_id(recipe, sha256)}{sample}"
    if os.path.exists(folder / paths.MANIFEST):  # False also where the name is too long
        return load_finished(folder, progress)
    check_folder(folder)
    located = located or find_source(recipe, home, progress)
    job = Job(folder, recipe)
    with locked(folder), removed_if_refused(job):
        job = job._replace(recipe=with_chosen_columns(recipe, located))
        plan = _make_plan(job, recipe, located, n)
        if not (job.work / "molecules.json").exists():
            with Pool(count_cores() if workers is None else workers, cluster) as pool:
                _make_molecules(job, located, plan, pool, progress)
        shards = finish(job, located, plan)
    if progress:
        print(shards.summary())
    return shards


def refuse_counts(n: int | None, workers: int | None) -> None:
    """Raise InputError for a number of rows or of workers that there cannot be."""
    if n is not None and n < 1:
        raise InputError(f"n={n}: a sample has at least 1 row; leave n out for all rows.")
    if workers is not None and workers < 0:
        raise InputError(
            f"workers={workers}: 0 works in this process, 1 or more in others; "
            f"{count_cores()} cores here."
        )


def load_finished(folder: Path, progress: bool) -> Shards:
    shards = load_shards(folder)
    report_versions(shards.manifest["versions"], folder)
    if progress:
        print(f"{folder.name}: {shards.n:,} molecules, curated before")
    return shards


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Work on a folder alone: raises InputError where another process works on it.

    A killed process leaves no lock behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        # Without locks (Windows) two curations of a folder do the same work, to the same result.
        if not take_lock(lock):
            raise InputError(
                f"Another process is curating {folder}; wait for it, then the same call only loads."
            )
        yield


@contextlib.contextmanager
def removed_if_refused(job: Job) -> Iterator[None]:
    """Leave no folder behind when the source itself was refused (no such column, no rows)."""
    try:
        yield
    except InputError:
        if not any((job.work / name).exists() for name in ("source.json", "molecules.json")):
            shutil.rmtree(job.folder, ignore_errors=True)
        raise


def _make_plan(job: Job, recipe: Recipe, located: LocatedSource, n: int | None) -> dict[str, Any]:
    """What this curation is, written down before any work; also what it takes over.

    ``recipe`` is as it was written, before columns were chosen.
    """
    plan_file = job.work / "plan.json"
    job.work.mkdir(parents=True, exist_ok=True)
    if plan_file.exists():
        plan = json.loads(plan_file.read_text(encoding="utf-8"))
        report_versions(plan["versions"], job.folder)
        return plan | {"resumed": True}
    plan = {
        "recipe_id": recipe_id(recipe, located.sha256),
        "molecules_id": molecules_id(recipe, located.sha256),
        "n": n,
        "sha256": located.sha256,
        "versions": versions(),
        "resumed": False,
    }
    plan = adopt(job, plan)
    write_json(plan, plan_file)
    return plan


def _make_molecules(
    job: Job, located: LocatedSource, plan: dict[str, Any], pool: Pool, progress: bool
) -> None:
    """The three passes: afterwards all parts and ``dropped.parquet`` are there."""
    seconds: dict[str, float] = {}
    with _timed(seconds, "source"):
        source = take_snapshot(job, located, plan["n"])
        if pool.cluster is None:  # more processes than slices would start for nothing
            slices = cut_slices(source["sampled"], LABELLING.least)
            pool.workers = min(pool.workers, max(1, len(slices)))
        flags = read_lists(job)
    with _timed(seconds, "read"):
        run_pass(job, pool, READING, source["sampled"], progress)
    with _timed(seconds, "merge"):
        merged = merge_once(job)
    if plan["n"] is None:  # of a sample it is said, and it may be meant for pretraining
        _refuse_without_labels(job, merged)
    if merged["n_kept"]:
        with _timed(seconds, "label"):
            stage = LABELLING
            if not job.recipe.needs_xtb():
                stage = stage._replace(title="conformers")
            run_pass(job, pool, stage, merged["n_kept"], progress)
    dropped = write_dropped(job)
    parts = (job.folder / "shards").glob("part-*.parquet")
    n_kept = sum(pq.read_metadata(path).num_rows for path in parts)
    file = source_path(located.source, located.folder)
    advice = (
        f"Every row and its reason is in {job.folder / 'dropped.parquet'}. "
        f"Is '{job.recipe.columns.smiles or 'mol block'}' the column of the structures?"
    )
    if set(count_reasons(dropped)) == {NO_GEOMETRY}:
        advice = (
            f"Recipe '{job.recipe.name}' keeps geometries, and this file has none: make them "
            "(--conformers made), or give an edition that has them."
        )
    check_row_counts(str(file), source["sampled"], n_kept, dropped, advice)
    molecules = {
        "n_source": source["rows"],
        "n_sampled": source["sampled"],
        "n_kept": n_kept,
        "dropped": dropped,
        "missing_in_source": source["missing"],
        "columns": source["columns"],
        "duplicates": merged["duplicates"],
        "given_coords_replaced": merged.get("given_coords_replaced", 0),
        "flags": flags,
        "marked": merged.get("marked", {}),
        "workers": pool.workers if pool.cluster is None else pool.cluster,
        "resumed": plan["resumed"],
        "versions": plan["versions"],
        "seconds": seconds,
    }
    for name in ("repeated_join_keys", "foreign_lines"):
        if name in source:
            molecules[name] = source[name]
    write_json(molecules, job.work / "molecules.json")


def _refuse_without_labels(job: Job, merged: dict[str, Any]) -> None:
    """Raise InputError where labels come with the rows, and no molecule is left that has one."""
    computed = any(label.computed for label in job.recipe.labels)
    labels = ", ".join(f"'{label.name}'" for label in job.recipe.source_labels[:3])
    if not labels or computed or not merged["n_kept"] or merged.get("n_labelled", 1):
        return
    reasons = count_reasons(write_dropped(job))
    words = ", ".join(f"{reason} {n:,}" for reason, n in reasons.items()) or "none"
    raise InputError(
        f"none of {merged['n_kept']:,} molecules has a value of {labels}: the values stand in rows "
        f"that were dropped ({words}), or whose values disagree. See "
        f"{job.folder / 'dropped.parquet'} and {job.folder / 'conflicts.parquet'}; mend these "
        "rows, or take the label out"
    )


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - start, 3)
