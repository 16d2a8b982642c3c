"""Whether curated molecules are what their manifest says: every hash, and that all parts fit.

Files are compared by size and SHA-256; arrays by their lengths and offsets; labels, splits and
tables by the counts of the manifest. Large arrays are read in pieces. Needs numpy and pyarrow
alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ..errors import InputError
from ..files import file_digest
from ..paths import find_curated
from ..shards import ARRAYS, SHA256, SPLIT_VALUES, Shards, read_manifest

NO_PART = -1  # of molecules that a split leaves out
PIECE = 1 << 22  # rows of an array that are looked at together
_OF_MOLECULES = ("row", "charge", "n_heavy", "n_heavy_bond")
_OF_ATOMS = ("numbers", "atom_feats", "coords", "parent")
_OF_BONDS = ("bonds", "bond_feats")


@dataclass(frozen=True)
class Verification:
    """What was compared, what differs (a sentence each, with both values), what is worth a note."""

    path: Path
    checked: tuple[str, ...]
    differences: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.path}: {', '.join(self.checked)}"]
        lines += [f"  differs: {difference}" for difference in self.differences]
        lines += [f"  note: {note}" for note in self.notes]
        n = len(self.differences)
        lines.append(f"{n:,} difference{'s' if n > 1 else ''}" if n else "all as the manifest says")
        return "\n".join(lines)


def verify_shards(data: Shards | str | os.PathLike) -> Verification:
    """Recheck every file of shards, of a folder or of a recipe's latest, and that they fit.

    What the files hold is compared only where they are as they were written.
    """
    path = data.path if isinstance(data, Shards) else find_curated(data)
    manifest = read_manifest(path)
    digests = manifest.get(SHA256, {})
    differences = list(_file_differences(path, manifest["files"], digests))
    n_file = len(manifest["files"])
    n_hash = sum(name in digests for name in manifest["files"])
    checked = [f"{n_file:,} files", f"{n_hash:,} of them by SHA-256"]
    if not differences:
        differences = list(_content_differences(Shards(path, manifest)))
        checked.append("arrays, labels, splits and tables against each other")
    else:
        checked.append("what they hold not compared")
    notes = tuple(_notes(path, manifest["files"], n_hash))
    return Verification(path, tuple(checked), tuple(differences), notes)


def _file_differences(path: Path, sizes: dict[str, int], digests: dict[str, str]) -> Iterator[str]:
    for name, size in sizes.items():
        file = path / name
        if not file.is_file():
            yield f"{name} is missing, the manifest has {size:,} bytes"
            continue
        on_disk = file.stat().st_size
        if on_disk != size:
            yield f"{name} has {on_disk:,} bytes, the manifest {size:,}"
        elif name in digests:
            digest = file_digest(file)
            if digest != digests[name]:
                yield f"{name} has SHA-256 {digest}, the manifest {digests[name]}"


def _notes(path: Path, sizes: dict[str, int], n_hash: int) -> Iterator[str]:
    n_without = len(sizes) - n_hash
    if n_without:
        yield (
            f"{n_without:,} files have no SHA-256 in the manifest (made by an older molnb): their "
            "sizes were compared, not their content"
        )
    present = [*path.glob("*.parquet"), *path.glob("shards/*"), *path.glob(f"{ARRAYS}/*")]
    names = {file.relative_to(path).as_posix() for file in present if file.is_file()}
    for name in sorted(names - set(sizes)):
        yield f"{name} is not in the manifest, so nothing reads it"


def _content_differences(shards: Shards) -> Iterator[str]:
    """What does not fit in files of the right size; labels and splits only where arrays fit."""
    try:
        of_arrays = list(_array_differences(shards))
        yield from of_arrays
        if not of_arrays:
            yield from _label_differences(shards)
            yield from _split_differences(shards)
        yield from _table_differences(shards)
    except (InputError, ValueError, OSError) as error:  # a header that is none; Arrow's errors too
        yield f"a file is not readable: {error}"


# -------------------------------------------------------------------------------------- arrays


def _array_differences(shards: Shards) -> Iterator[str]:
    """Lengths of arrays that do not fit, and offsets and indices that lead outside."""
    added = shards.manifest.get("added_arrays", {})
    levels = {
        "molecule": [*_OF_MOLECULES, *(f"split_{name}" for name in shards.manifest["splits"])],
        "atom": [*_OF_ATOMS],
        "bond": [*_OF_BONDS],
    }
    for name, level in added.items():
        levels.setdefault(level, []).append(name)
    totals = {"molecule": shards.n}
    for name, level in (("n_heavy", "heavy_atom"), ("n_heavy_bond", "heavy_bond")):
        if name in shards.array_names:
            totals[level] = int(np.sum(shards.array(name), dtype=np.int64))
    for level in ("atom", "bond"):
        offset = shards.array(f"{level}_offset")
        yield from _offset_differences(f"{level}_offset", offset, shards.n)
        totals[level] = int(offset[-1]) if len(offset) else 0
    for level, names in levels.items():
        for name in names:
            if name in shards.array_names and len(shards.array(name)) != totals[level]:
                yield (
                    f"array {name} has {len(shards.array(name)):,} rows, there are "
                    f"{totals[level]:,} {level}s"
                )
    n_atom = np.diff(shards.array("atom_offset"))
    more = int(np.count_nonzero(shards.array("n_heavy") > n_atom))
    if more:
        yield f"n_heavy is above the number of atoms in {more:,} of {shards.n:,} molecules"
    for name, level in (("bonds", "bond"), ("parent", "atom")):
        if name in shards.array_names:
            yield from _outside(shards, name, level, n_atom)


def _offset_differences(name: str, offset: np.ndarray, n: int) -> Iterator[str]:
    if len(offset) != n + 1:
        yield f"array {name} has {len(offset):,} entries, {n:,} molecules need {n + 1:,}"
    elif offset[0] != 0:
        yield f"array {name} begins with {offset[0]:,}, not with 0"
    elif np.any(np.diff(offset) < 0):
        first = int(np.argmax(np.diff(offset) < 0))
        yield (
            f"array {name} falls from {offset[first]:,} to {offset[first + 1]:,} at entry "
            f"{first + 1:,}: offsets never fall"
        )


def _outside(shards: Shards, name: str, level: str, n_atom: np.ndarray) -> Iterator[str]:
    """Atoms that an array of indices names in a molecule that has fewer."""
    values = shards.array(name)
    offset = np.asarray(shards.array(f"{level}_offset"))
    if len(values) != offset[-1]:
        return  # said already
    n_outside = 0
    for start in range(0, len(values), PIECE):
        piece = np.asarray(values[start : start + PIECE])
        molecule = np.searchsorted(offset, np.arange(start, start + len(piece)), side="right") - 1
        limit = n_atom[molecule].reshape(-1, *[1] * (piece.ndim - 1))
        n_outside += int(np.count_nonzero(piece >= limit))
    if n_outside:
        yield f"array {name} names {n_outside:,} times an atom that its molecule does not have"


# -------------------------------------------------------------------------------------- labels


def _label_differences(shards: Shards) -> Iterator[str]:
    """Labels of tasks: where they stand, how many they are, and whether values can be."""
    for name, task in shards.tasks.items():
        if f"{name}.index" not in shards.array_names:
            continue
        index = np.asarray(shards.array(f"{name}.index"))
        offset = np.asarray(shards.array(f"{name}.offset"))
        values = shards.array(f"{name}.values")
        faults = [
            *_index_differences(f"{name}.index", index, shards.n),
            *_offset_differences(f"{name}.offset", offset, len(index)),
        ]
        if not faults and offset[-1] != len(values):
            faults.append(
                f"array {name}.values has {len(values):,} rows, {name}.offset ends with "
                f"{offset[-1]:,}"
            )
        if not faults:
            faults += _count_differences(shards, name, task["level"], index, np.diff(offset))
        if not faults:
            faults += _value_differences(shards, name, task)
        yield from faults


def _index_differences(name: str, index: np.ndarray, n: int) -> Iterator[str]:
    if len(index) and (index.min() < 0 or index.max() >= n):
        yield f"array {name} names molecules {index.min():,} to {index.max():,}, there are {n:,}"
    elif np.any(np.diff(index) <= 0):
        yield f"array {name} does not ascend: a molecule would have its labels twice"


def _count_differences(
    shards: Shards, name: str, level: str, index: np.ndarray, count: np.ndarray
) -> Iterator[str]:
    """Labelled molecules that have another number of values than of atoms, or bonds, or one."""
    if level == "pair":
        return  # of unordered pairs or of ordered ones
    expected = np.ones(len(index), np.int64)
    if level != "molecule":
        expected = np.diff(shards.array(f"{level}_offset"))[index]
    wrong = np.flatnonzero(count != expected)
    if len(wrong):
        first = wrong[0]
        yield (
            f"task {name}: {len(wrong):,} molecules do not have a value for each {level}, first "
            f"molecule {index[first]:,} with {count[first]:,} values instead of "
            f"{expected[first]:,}"
        )


def _value_differences(shards: Shards, name: str, task: dict) -> Iterator[str]:
    values = shards.array(f"{name}.values")
    labels = task["labels"]
    if values.ndim != 2 or values.shape[1] != len(labels):
        yield (
            f"array {name}.values has the shape {list(values.shape)}, the task has {len(labels):,} "
            "labels"
        )
        return
    declared = shards.manifest.get("recipe", {}).get("labels", [])
    ranges = {label["name"]: label.get("range") for label in declared}
    counted = shards.manifest.get("labels", {})
    for column, label in enumerate(labels):
        column_of_label = np.asarray(values[:, column])
        known = column_of_label[~np.isnan(column_of_label)]
        stated = counted.get(label["name"], {}).get("known")
        if task["level"] == "molecule" and stated is not None and len(known) != stated:
            yield (
                f"label {label['name']} is known {len(known):,} times, the manifest says {stated:,}"
            )
        n_class = len(label.get("classes") or ())
        if n_class and not np.isin(known, np.arange(n_class)).all():
            odd = known[~np.isin(known, np.arange(n_class))][0]
            yield f"label {label['name']} has the class {odd:g}, its classes are 0 to {n_class - 1}"
        limits = ranges.get(label["name"])
        if limits and len(known):
            n_outside = int(np.count_nonzero((known < limits[0]) | (known > limits[1])))
            if 2 * n_outside > len(known):
                yield (
                    f"label {label['name']} lies outside {limits[0]:g} to {limits[1]:g} in "
                    f"{n_outside:,} of {len(known):,} values"
                )


# --------------------------------------------------------------------------- splits and tables


def _split_differences(shards: Shards) -> Iterator[str]:
    """Splits that do not cover the molecules, or in other numbers than the manifest's."""
    for name, stated in shards.manifest["splits"].items():
        if f"split_{name}" not in shards.array_names:
            yield f"split {name} has no array split_{name}"
            continue
        side = np.asarray(shards.array(f"split_{name}"))
        values, counts = np.unique(side, return_counts=True)
        sizes = dict(zip(values.tolist(), counts.tolist(), strict=True))
        unknown = set(sizes) - {NO_PART, *range(len(SPLIT_VALUES))}
        if unknown:
            yield (
                f"split {name} has the value {min(unknown)}, parts are 0 to "
                f"{len(SPLIT_VALUES) - 1}, and {NO_PART} for none"
            )
        for number, part in enumerate(SPLIT_VALUES):
            if part in stated and sizes.get(number, 0) != stated[part]:
                yield (
                    f"split {name} has {sizes.get(number, 0):,} molecules in {part}, the manifest "
                    f"says {stated[part]:,}"
                )


def _table_differences(shards: Shards) -> Iterator[str]:
    """Tables with another number of rows than the manifest's counts."""
    manifest = shards.manifest
    parts = shards.parts()
    expected = {"splits.parquet": shards.n, "derived.parquet": shards.n}
    if "n_dropped" in manifest:
        expected["dropped.parquet"] = manifest["n_dropped"]
    if parts:
        n_row = sum(pq.read_metadata(part).num_rows for part in parts)
        if n_row != shards.n:
            yield f"the parts hold {n_row:,} rows, the manifest says {shards.n:,} molecules"
    for name, n in expected.items():
        if name in manifest["files"]:
            n_row = pq.read_metadata(shards.path / name).num_rows
            if n_row != n:
                yield f"{name} holds {n_row:,} rows, the manifest says {n:,}"
