"""The end of a curation: splits, residual labels, arrays and the manifest, from the parts alone."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import file_digest, write_json
from ..paths import MANIFEST
from ..processes import count_cores
from ..recipes.sources import LocatedSource, source_path
from ..shards import FORMAT, SHA256, Shards, load_shards, read_manifest
from .arrays import write_arrays
from .chunks import Job
from .counts import count_known, count_molecules
from .notices import make_notices
from .residuals import write_derived
from .splitting.splits import TRAIN, read_default, write_splits


def finish(job: Job, located: LocatedSource, plan: dict[str, Any]) -> Shards:
    """Write everything that follows from the parts, the manifest last, and tidy up."""
    start = time.monotonic()
    molecules = json.loads((job.work / "molecules.json").read_text(encoding="utf-8"))
    parts = sorted((job.folder / "shards").glob("part-*.parquet"))
    splits, loose_duplicates = write_splits(
        parts, job.recipe, job.folder, molecules["n_source"], sampled=plan["n"] is not None
    )
    labels = {
        label.name: label.model_dump()
        | {"names_of_classes": job.recipe.names_of_classes(label.name)}
        for label in job.recipe.labels
    }
    residuals = [label for label in labels.values() if label["residual_of"] is not None]
    in_train = read_default(job.folder, job.recipe) == TRAIN
    fits = write_derived(parts, residuals, in_train, job.folder)
    tasks = [
        task.model_dump() | {"pairs": job.recipe.label(task.labels[0]).pairs}
        for task in job.recipe.tasks
    ]
    write_arrays(parts, tasks, set(fits), list(job.recipe.splits), job.folder)
    known = count_known(parts, list(labels.values()), job.folder)
    labels = {name: _describe_label(label) | known[name] for name, label in labels.items()}
    counts = count_molecules(parts) | {
        "loose_duplicates": loose_duplicates,
        "duplicates": molecules["duplicates"],
        "given_coords_replaced": molecules.get("given_coords_replaced", 0),
    }
    if "repeated_join_keys" in molecules:
        counts["repeated_join_keys"] = molecules["repeated_join_keys"]
    manifest = _identity(job, located, plan) | {
        **{key: molecules[key] for key in ("n_source", "n_sampled", "n_kept")},
        "n_dropped": molecules["n_sampled"] - molecules["n_kept"],
        "dropped": molecules["dropped"],
        "counts": counts,
        "labels": labels,
        "tasks": {task["name"]: _describe_task(task, labels) for task in tasks},
        "splits": splits,
        "notices": make_notices(job.recipe, molecules, labels, splits),
        "default_split": job.recipe.default_split,
        "fits": fits,
        "versions": molecules["versions"],
        "workers": molecules["workers"],
        "molecules": molecules,
        "seconds": molecules["seconds"] | {"finish": round(time.monotonic() - start, 3)},
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    manifest["files"] = file_sizes(job.folder)
    manifest[SHA256] = file_digests(
        job.folder, manifest["files"], _known_digests(job.folder, plan.get("adopted_from"))
    )
    write_json(manifest, job.folder / MANIFEST)
    shutil.rmtree(job.work, ignore_errors=True)
    return load_shards(job.folder)


def _identity(job: Job, located: LocatedSource, plan: dict[str, Any]) -> dict[str, Any]:
    paths = [source_path(part, located.folder) for part in located.each]
    several = {"parts": len(paths)} if len(paths) > 1 else {}
    n_byte = sum(path.stat().st_size for path in paths)
    return {
        "format": FORMAT,
        "name": job.recipe.name,
        "title": job.recipe.title,
        "recipe_id": plan["recipe_id"],
        "molecules_id": plan["molecules_id"],
        "adopted_from": plan.get("adopted_from"),
        "n_asked": plan["n"],
        "recipe": job.recipe.model_dump(mode="json"),
        "source": {"file": paths[0].name, "bytes": n_byte, "sha256": located.sha256} | several,
    }


def _describe_label(label: dict[str, Any]) -> dict[str, Any]:
    described = ("name", "unit", "quantity", "theory", "geometry", "level")
    description = {key: label[key] for key in described}
    if label["names_of_classes"] is not None:
        description["classes"] = label["names_of_classes"]
    return description


def _describe_task(task: dict[str, Any], labels: dict[str, dict]) -> dict[str, Any]:
    description = {key: task[key] for key in ("level", "kind", "loss", "fold")}
    if task["pairs"] == "ordered":
        description["pairs"] = "ordered"
    return description | {"labels": [labels[name] for name in task["labels"]]}


def file_sizes(folder: Path) -> dict[str, int]:
    """Size of every file by its name in the folder; what a killed worker left is deleted."""
    for partial in folder.glob("*/.*.tmp"):
        partial.unlink(missing_ok=True)
    paths = [
        *folder.glob("*.parquet"),
        *folder.glob("shards/*.parquet"),
        *folder.glob("arrays/*.npy"),
    ]
    return {str(path.relative_to(folder).as_posix()): path.stat().st_size for path in sorted(paths)}


def _known_digests(folder: Path, adopted_from: str | None) -> dict[str, str]:
    """Digests of files that are linked into a folder from other shards, as these have them."""
    if adopted_from is None:
        return {}
    sibling = folder.parent / adopted_from
    try:
        digests = read_manifest(sibling).get(SHA256, {})
    except InputError:
        return {}
    known = {}
    for name, digest in digests.items():
        with contextlib.suppress(FileNotFoundError):
            if os.path.samefile(sibling / name, folder / name):
                known[name] = digest
    return known


def file_digests(
    folder: Path, names: Iterable[str], known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """SHA-256 of files of a folder by name; each is read once, those that are known not at all.

    What was taken over from other shards keeps the digest it had there, so that a file which was
    damaged since is found out.
    """
    known = known or {}
    names = list(names)
    with ThreadPoolExecutor(count_cores()) as threads:  # hashing leaves the interpreter free
        digests = threads.map(lambda name: known.get(name) or file_digest(folder / name), names)
        return dict(zip(names, digests))
