"""Flat arrays to train from: atoms of all molecules one after another, with offsets.

Bonds lie likewise; a task keeps the molecules that have a label and nothing else. Parts are read
one at a time, so memory stays small however many there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..files import writing_array
from ..vocabulary import N_ATOM_FEATURE, N_BOND_FEATURE
from .parts import flat_values, list_lengths, read_parts

# Column of the parts, which is the array's name too -> (dtype, values an atom or bond).
_OF_ATOMS = {
    "numbers": (np.uint8, ()),
    "atom_feats": (np.uint8, (N_ATOM_FEATURE,)),
    "parent": (np.uint16, ()),
}
_COORDS = {"coords": (np.float32, (3,))}  # of an atom as often as the molecule has conformers
_OF_BONDS = {"bonds": (np.uint16, (2,)), "bond_feats": (np.uint8, (N_BOND_FEATURE,))}


# A task of at least this many labels, of which less than this share is known, is written sparsely.
MANY_LABELS = 32
SPARSE_SHARE = 0.5


def write_arrays(
    parts: list[Path], tasks: list[dict], derived: set[str], splits: list[str], folder: Path
) -> None:
    """Write every array of the folder; ``tasks`` are name, level, labels."""
    out = folder / "arrays"
    # One number a molecule: small enough to hold all parts at once.
    tables = list(
        read_parts(parts, ["row", "n_heavy", "n_atoms", "n_conformers", "charge", "bonds"])
    )
    n_atom = _joined(tables, "n_atoms").astype(np.int64)
    n_heavy = _joined(tables, "n_heavy")
    n_bond = np.concatenate([list_lengths(table, "bonds") // 2 for table in tables])
    n_hydrogen = n_atom - n_heavy  # each hydrogen has one bond, and bonds are pairs of atoms
    _save(out, "row", _joined(tables, "row"), np.int64)
    _save(out, "charge", _joined(tables, "charge"), np.int8)
    _save(out, "n_heavy", n_heavy, np.int32)
    _save(out, "n_heavy_bond", n_bond - n_hydrogen, np.int32)
    _save(out, "atom_offset", _offsets(n_atom), np.int64)
    _save(out, "bond_offset", _offsets(n_bond), np.int64)
    sides = pq.read_table(folder / "splits.parquet")
    for name in splits:
        _save(out, f"split_{name}", sides.column(f"split_{name}").to_numpy(), np.int8)
    _write_ragged(parts, out, _OF_ATOMS, int(n_atom.sum()))
    n_conformer = _joined(tables, "n_conformers").astype(np.int64)
    _write_ragged(parts, out, _COORDS, int((n_atom * n_conformer).sum()))
    if (n_conformer != 1).any():
        _save(out, "n_conformers", n_conformer, np.int32)
        _save(out, "coord_offset", _offsets(n_atom * n_conformer), np.int64)
    _write_ragged(parts, out, _OF_BONDS, int(n_bond.sum()))
    # How many values a label has in each molecule, by the level of its task.
    n_items = {
        "molecule": np.ones_like(n_atom),
        "atom": n_atom,
        "bond": n_bond,
        "pair": n_heavy.astype(np.int64) * (n_heavy - 1) // 2,
        "ordered pair": n_heavy.astype(np.int64) ** 2,
    }
    residuals = pq.read_table(folder / "derived.parquet") if derived else None
    for task in tasks:
        kind = "ordered pair" if task.get("pairs") == "ordered" else task["level"]
        _write_task(parts, out, task, n_items[kind], residuals)


def _joined(tables: list[pa.Table], column: str) -> np.ndarray:
    return np.concatenate([table.column(column).to_numpy() for table in tables])


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])


def _save(out: Path, name: str, values: np.ndarray, dtype: Any) -> None:
    with writing_array(out / f"{name}.npy", dtype, values.shape) as append:
        append(values)


def _write_ragged(parts: list[Path], out: Path, arrays: dict[str, tuple], total: int) -> None:
    """Write list columns of all parts as arrays, several at once, of ``total`` atoms or bonds."""
    # All files are open together, so that each part is read once.
    with contextlib.ExitStack() as files:
        append = {
            name: files.enter_context(writing_array(out / f"{name}.npy", dtype, (total, *width)))
            for name, (dtype, width) in arrays.items()
        }
        for table in read_parts(parts, list(arrays)):
            for name, (_, width) in arrays.items():
                append[name](flat_values(table, name).reshape(-1, *width))


def _write_task(
    parts: list[Path], out: Path, task: dict, n_items: np.ndarray, residuals: pa.Table | None
) -> None:
    """Write index, offset and values of a task: of the molecules with at least one known label.

    ``n_items`` is how many values each molecule has (atoms, bonds, pairs, or 1); a value is NaN
    where that label is unknown. Labels of molecules are float64, as they were measured: a large
    value with a small spread keeps its digits until it is scaled. Of many labels that are mostly
    unknown only the known values are written, with the number of the label beside each.
    """
    name = task["name"]
    labels = task["labels"]
    # The file is as long as the labelled molecules have values, so they are counted first.
    known_parts = []
    for table in _with_residuals(parts, labels, residuals):
        known_parts.append(_known_labels(table, labels).sum(axis=1))
    n_known = np.concatenate(known_parts)
    index = np.flatnonzero(n_known)
    _save(out, f"{name}.index", index, np.int64)
    is_wide = task["level"] == "molecule" and len(labels) >= MANY_LABELS
    if is_wide and n_known.sum() < SPARSE_SHARE * len(index) * len(labels):
        _save(out, f"{name}.offset", _offsets(n_known[index]), np.int64)
        _write_known_values(parts, out, task, int(n_known.sum()), residuals)
        return
    offset = _offsets(n_items[index])
    shape = (int(offset[-1]), len(labels))
    _save(out, f"{name}.offset", offset, np.int64)
    start = 0
    dtype = np.float64 if task["level"] == "molecule" else np.float32
    with writing_array(out / f"{name}.values.npy", dtype, shape) as append:
        for table in _with_residuals(parts, labels, residuals):
            append(_values(table, labels, n_items[start : start + len(table)]))
            start += len(table)


def _write_known_values(
    parts: list[Path], out: Path, task: dict, n_value: int, residuals: pa.Table | None
) -> None:
    """Write the known values of a task of molecules alone, one after another, with their labels."""
    name = task["name"]
    labels = task["labels"]
    with (
        writing_array(out / f"{name}.values.npy", np.float64, (n_value,)) as append_values,
        writing_array(out / f"{name}.label.npy", np.uint16, (n_value,)) as append_labels,
    ):
        for table in _with_residuals(parts, labels, residuals):
            values = _values(table, labels, np.ones(len(table), np.int64))
            mol, label = np.nonzero(np.isfinite(values))
            append_values(values[mol, label])
            append_labels(label)


def _with_residuals(
    parts: list[Path], labels: list[str], residuals: pa.Table | None
) -> Iterator[pa.Table]:
    """The labels of each part, residual ones laid beside those of the part."""
    derived_names = set() if residuals is None else set(residuals.column_names)
    derived = [label for label in labels if label in derived_names]
    stored = [label for label in labels if label not in derived_names]
    start = 0
    for table in read_parts(parts, ["row", *stored]):  # the row, so that a table has a length
        for label in derived:
            table = table.append_column(label, residuals.column(label).slice(start, len(table)))
        start += len(table)
        yield table


def _known_labels(table: pa.Table, labels: list[str]) -> np.ndarray:
    """Whether a molecule has a label, bool [molecule, label]."""
    return np.stack([pc.is_valid(table.column(label)).to_numpy() for label in labels], axis=1)


def _values(table: pa.Table, labels: list[str], n_items: np.ndarray) -> np.ndarray:
    """Values of the labelled molecules of a part, float64 [item, label]."""
    is_known = _known_labels(table, labels)
    labelled = is_known.any(axis=1)
    n_items = n_items[labelled]
    values = np.full((int(n_items.sum()), len(labels)), np.nan)
    for j, label in enumerate(labels):
        column = table.column(label)
        # Nulls take no place in a flat column: its numbers belong to the molecules that have it.
        has_label = np.repeat(is_known[labelled, j], n_items)
        if pa.types.is_list(column.type):
            values[has_label, j] = flat_values(table, label)
        else:
            values[has_label, j] = column.drop_null().to_numpy()
    return values
