"""The same molecules with other labels: shuffled ones, descriptors, numbers of one's own.

For controls, where labels must differ and molecules, geometries and splits must not. What stays the
same is linked, not copied: no conformer is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from ..files import file_digest, write_json, writing_array
from ..locks import waiting_turn
from ..paths import MANIFEST, home
from ..rng import hash64
from ..shapes import Float
from ..shards import ARRAYS, SHA256, Shards, load_shards

_PART = "shards/part-00000.parquet"
_TURN = ".relabelling"  # the lock of who writes
_OF_TASK = ("index", "offset", "values", "label")  # how arrays of a task's labels end
_IS_LABEL = b"quantity"  # what the columns of labels, and no others, say of themselves


@dataclass(frozen=True)
class NewTask:
    """Numbers of molecules to learn: what each is, its unit, and a value a molecule (NaN: unknown).

    `values` are in the order of the molecules, a column a label. `origin` says where they are from.
    """

    name: str
    labels: tuple[str, ...]
    quantities: tuple[str, ...]
    units: tuple[str, ...]
    values: Float[np.ndarray, "mol label"]
    origin: str = "computed"


def shuffled_labels(shards: Shards, seed: int = 0) -> Shards:
    """The same molecules with each other's labels: a control that has nothing to learn but scales.

    Tasks that label the same molecules move alike, so that a molecule's labels stay together; those
    of atoms, bonds or pairs move among all of these: molecules have different numbers of them.
    """
    arrays: dict[str, np.ndarray] = {}
    for number, name in enumerate(shards.tasks):
        if f"{name}.label" in shards.array_names:
            raise InputError(
                f"task {name!r} of {shards.path} keeps its known labels alone: tasks of so many "
                "labels cannot be shuffled; leave it out of the shards"
            )
        values = np.asarray(shards.array(f"{name}.values"))
        # tasks of molecules move alike, so that a molecule's labels still belong together
        channel = 0 if shards.tasks[name]["level"] == "molecule" else 1 + number
        arrays[f"{name}.values"] = values[_drawn_order(seed, channel, len(values))]
    changed = dict(shards.tasks)
    return _write(shards, f"{shards.name}_shuffled", changed, arrays, seed)


def renamed_tasks(shards: Shards, names: Mapping[str, str]) -> Shards:
    """The same molecules and labels, with other names of tasks; others are left out.

    Tasks of two datasets that mean the same are learnt by one head if they bear one name.
    """
    unknown = [name for name in names if name not in shards.tasks]
    if unknown:
        raise InputError(
            f"{shards.path} has no task {', '.join(unknown)}; it has {', '.join(shards.tasks)}"
        )
    arrays = {}
    for old, new in names.items():
        for ending in _OF_TASK:
            if f"{old}.{ending}" in shards.array_names:
                arrays[f"{new}.{ending}"] = np.asarray(shards.array(f"{old}.{ending}"))
    tasks = {new: shards.tasks[old] for old, new in names.items()}
    return _write(shards, f"{shards.name}_renamed", tasks, arrays)


def _drawn_order(seed: int, channel: int, n: int) -> np.ndarray:
    return np.argsort(hash64(seed, channel, np.arange(n)), kind="stable")


def relabel(shards: Shards, name: str, tasks: Sequence[NewTask]) -> Shards:
    """The same molecules with other numbers to learn, in a folder of their own.

    The folder's name is `name` and a digest of molecules and values, so equal calls find what the
    first one wrote. Raises InputError for values of another shape, and for a task without any.
    """
    declared: dict[str, dict] = {}
    arrays: dict[str, np.ndarray] = {}
    for task in tasks:
        values = np.asarray(task.values, np.float64)
        if values.shape != (shards.n, len(task.labels)):
            raise InputError(
                f"task {task.name!r}: values have shape {list(values.shape)}, {shards.path.name} "
                f"has {shards.n:,} molecules and the task {len(task.labels)} labels"
            )
        is_known = np.isfinite(values)
        index = np.flatnonzero(is_known.any(1))
        if not len(index):
            raise InputError(f"task {task.name!r} has no known value: there is nothing to learn")
        declared[task.name] = _declare(task, is_known.sum(0))
        arrays[f"{task.name}.index"] = index
        arrays[f"{task.name}.offset"] = np.arange(len(index) + 1)
        arrays[f"{task.name}.values"] = np.where(is_known, values, np.nan)[index]
    return _write(shards, name, declared, arrays)


def _declare(task: NewTask, n_known: np.ndarray) -> dict[str, Any]:
    """A task as a manifest declares it."""
    columns = zip(task.labels, task.quantities, task.units, n_known, strict=True)
    labels = [
        {
            "name": label,
            "unit": unit,
            "quantity": quantity,
            "theory": task.origin,
            "geometry": "none",
            "level": "molecule",
            "known": int(known),
            "missing": {},
        }
        for label, quantity, unit, known in columns
    ]
    kind = {"level": "molecule", "kind": "regression", "loss": "smooth_mae", "fold": None}
    return kind | {"labels": labels}


def _write(
    shards: Shards, name: str, tasks: Mapping[str, dict], arrays: Mapping[str, np.ndarray], *key
) -> Shards:
    """Shards of the same molecules with these tasks and arrays of labels; found if they are there.

    An array that is not given stays as it is, if it is of a task that remains.
    """
    digest = _digest(shards, name, arrays, *key)
    folder = home() / "data" / f"{name}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with waiting_turn(folder.parent / _TURN):  # two lessons may want the same control at once
        if not (folder / MANIFEST).is_file():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed meanwhile
            manifest = shards.manifest | {"name": name, "recipe_id": digest}
            _fill(folder, shards, manifest, tasks, arrays)
    return load_shards(folder)


def _fill(
    folder: Path,
    shards: Shards,
    manifest: dict[str, Any],
    tasks: Mapping[str, dict],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write the new folder, its manifest last."""
    (folder / ARRAYS).mkdir(parents=True)
    (folder / _PART).parent.mkdir()
    pq.write_table(_without_labels(shards), folder / _PART)
    files = [_PART]
    for file in shards.manifest["files"]:
        if _stays(file, shards, tasks, arrays):
            _link(shards.path / file, folder / file)
            files.append(file)
    for array, values in arrays.items():
        files.append(f"{ARRAYS}/{array}.npy")
        with writing_array(folder / files[-1], values.dtype, values.shape) as append:
            append(values)
    labels = [label for task in tasks.values() for label in task["labels"]]
    manifest |= {
        "title": f"{manifest['title']}, with other labels",
        "relabelled_from": shards.path.name,
        "labels": {label["name"]: label for label in labels},
        "tasks": dict(tasks),
        "files": {file: (folder / file).stat().st_size for file in files},
        SHA256: {file: file_digest(folder / file) for file in files},
    }
    write_json(manifest, folder / MANIFEST)


def _digest(shards: Shards, name: str, arrays: Mapping[str, np.ndarray], *key: Any) -> str:
    """Eight hexadecimal digits of the molecules and their new labels."""
    known = shards.manifest.get(SHA256, {}).get("splits.parquet", "")
    whole = hashlib.sha256(json.dumps([shards.path.name, known, name, *key]).encode())
    for array, values in sorted(arrays.items()):
        whole.update(array.encode())
        whole.update(np.ascontiguousarray(values).tobytes())
    return whole.hexdigest()[:8]


def _without_labels(shards: Shards) -> pa.Table:
    """The rows of molecules without their labels, which are arrays alone in the new shards."""
    table = pa.concat_tables([pq.read_table(path) for path in shards.parts()])
    kept = [field.name for field in table.schema if _IS_LABEL not in (field.metadata or {})]
    return table.select(kept)


def _stays(file: str, shards: Shards, tasks: Mapping, arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether a file of the old shards belongs to the new ones."""
    path = Path(file)
    if path.parent.name != ARRAYS:
        return file in ("splits.parquet", "dropped.parquet")
    task, _, ending = path.stem.rpartition(".")
    if task in shards.tasks and ending in _OF_TASK:
        return task in tasks and path.stem not in arrays
    return True


def _link(source: Path, target: Path) -> None:
    """The same file in another folder; copied where the disk has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
