"""Parts to train from: flat arrays with offsets, and labels that depend on the training rows.

All atoms lie one after another, all bonds likewise; a task keeps the molecules that have a label
and nothing else. Parts are read one at a time, so memory stays small however many there are.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..files import write_table, writing_array

# name -> (column of the part, dtype, values an item); items are atoms or bonds
_OF_ATOMS = {
    "numbers": ("numbers", np.uint8, ()),
    "atom_feats": ("atom_feats", np.uint8, (9,)),
    "coords": ("coords", np.float32, (3,)),
    "parent": ("parent", np.uint16, ()),
}
_OF_BONDS = {"bonds": ("bonds", np.uint16, (2,)), "bond_feats": ("bond_feats", np.uint8, (3,))}
ABSENT_ELEMENT = "element absent from the training rows"


def _read(parts: list[Path], columns: list[str]) -> Iterator[pa.Table]:
    for path in parts:
        with pq.ParquetFile(path) as file:  # read_table takes three times as long for a small file
            yield file.read(columns=columns).combine_chunks()


def _flat(table: pa.Table, column: str) -> np.ndarray:
    """The numbers of a list column, one after another."""
    return table.column(column).combine_chunks().flatten().to_numpy(zero_copy_only=False)


def _lengths(table: pa.Table, column: str) -> np.ndarray:
    return pc.fill_null(pc.list_value_length(table.column(column)), 0).to_numpy().astype(np.int64)


# ------------------------------------------------------------------------------------------------ derived labels


def write_derived(
    parts: list[Path], labels: list[dict], train: np.ndarray, folder: Path
) -> dict[str, dict]:
    """Write ``derived.parquet``, one column a residual label; returns the coefficients of each
    fit, eV an atom.
    """
    if not labels:
        return {}
    rows = np.concatenate([table.column("row").to_numpy() for table in _read(parts, ["row"])])
    columns, fits = [pa.array(rows)], {}
    for label in labels:
        elements, coefficients, seen, counts = _fit_elements(parts, label["residual_of"], train)
        values = np.concatenate([
            np.where(c[:, ~seen].any(axis=1), np.nan, y - c @ coefficients) for c, y in counts(elements)
        ])  # fmt: skip
        columns.append(pa.array(values, from_pandas=True))
        fits[label["name"]] = {
            "of": label["residual_of"],
            "unit": label["unit"],
            "per_element": {
                str(z): float(c) for z, c, s in zip(elements, coefficients, seen, strict=True) if s
            },
        }
    fields = [
        pa.field(x["name"], pa.float64(), metadata={"unit": x["unit"], "quantity": x["quantity"]})
        for x in labels
    ]
    write_table(
        pa.Table.from_arrays(columns, schema=pa.schema([("row", pa.int64()), *fields])),
        folder / "derived.parquet",
    )
    return fits


def _fit_elements(
    parts: list[Path], column: str, train: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Callable]:
    """Least squares of a label on element counts over the training rows, by normal equations,
    part by part.
    """
    size = 128
    squares, products, start = np.zeros((size, size)), np.zeros(size), 0
    present, fitted = np.zeros(size, bool), np.zeros(size, bool)

    def counts(elements: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for table in _read(parts, ["numbers", column]):
            molecule = np.repeat(np.arange(len(table)), _lengths(table, "numbers"))
            count = np.zeros((len(table), size))
            np.add.at(count, (molecule, _flat(table, "numbers")), 1)
            yield (
                count[:, elements],
                table.column(column).to_numpy(zero_copy_only=False).astype(float),
            )

    for count, y in counts(np.arange(size)):
        use = train[start : start + len(y)] & ~np.isnan(y)
        start += len(y)
        squares += count[use].T @ count[use]
        products += count[use].T @ y[use]
        present |= count.any(axis=0)
        fitted |= count[use].any(axis=0)
    elements = np.flatnonzero(present)
    coefficients = np.linalg.lstsq(
        squares[np.ix_(elements, elements)], products[elements], rcond=1e-12
    )[0]
    return elements, coefficients, fitted[elements], counts


# -------------------------------------------------------------------------------------------------------- arrays


def write_arrays(
    parts: list[Path], tasks: list[dict], derived: set[str], splits: list[str], folder: Path
) -> None:
    """Write every array of the folder; ``tasks`` are name, level, labels."""
    out = folder / "arrays"
    small = list(_read(parts, ["row", "n_heavy", "n_atoms", "charge", "bonds"]))
    n_atom = np.concatenate([t.column("n_atoms").to_numpy() for t in small]).astype(np.int64)
    n_heavy = np.concatenate([t.column("n_heavy").to_numpy() for t in small])
    n_bond = np.concatenate([_lengths(t, "bonds") // 2 for t in small])
    _save(out, "row", np.concatenate([t.column("row").to_numpy() for t in small]), np.int64)
    _save(out, "charge", np.concatenate([t.column("charge").to_numpy() for t in small]), np.int8)
    _save(out, "n_heavy", n_heavy, np.int32)
    _save(out, "n_heavy_bond", n_bond - (n_atom - n_heavy), np.int32)  # a hydrogen has one bond
    _save(out, "atom_offset", _offsets(n_atom), np.int64)
    _save(out, "bond_offset", _offsets(n_bond), np.int64)
    sides = pq.read_table(folder / "splits.parquet")
    for name in splits:
        _save(out, f"split_{name}", sides.column(f"split_{name}").to_numpy(), np.int8)
    _write_ragged(parts, out, _OF_ATOMS, int(n_atom.sum()))
    _write_ragged(parts, out, _OF_BONDS, int(n_bond.sum()))
    items = {"molecule": np.ones_like(n_atom), "atom": n_atom, "bond": n_bond}
    items["pair"] = n_heavy.astype(np.int64) * (n_heavy - 1) // 2
    residuals = pq.read_table(folder / "derived.parquet") if derived else None
    for task in tasks:
        _write_task(parts, out, task, items[task["level"]], residuals)


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])


def _save(out: Path, name: str, values: np.ndarray, dtype: Any) -> None:
    with writing_array(out / f"{name}.npy", dtype, values.shape) as append:
        append(values)


def _write_ragged(parts: list[Path], out: Path, arrays: dict[str, tuple], total: int) -> None:
    with contextlib.ExitStack() as files:
        append = {
            name: files.enter_context(writing_array(out / f"{name}.npy", dtype, (total, *width)))
            for name, (_, dtype, width) in arrays.items()
        }
        for table in _read(parts, [column for column, _, _ in arrays.values()]):
            for name, (column, _, width) in arrays.items():
                append[name](_flat(table, column).reshape(-1, *width))


def _write_task(
    parts: list[Path], out: Path, task: dict, items: np.ndarray, residuals: pa.Table | None
) -> None:
    """Molecules with at least one known label, their offsets, and values (NaN where this label
    is unknown).
    """
    name, labels = task["name"], task["labels"]
    known = np.concatenate(
        [_known(t, labels).any(axis=1) for t in _with_residuals(parts, labels, residuals)]
    )
    index = np.flatnonzero(known)
    offset = _offsets(items[index])
    _save(out, f"{name}.index", index, np.int64)
    _save(out, f"{name}.offset", offset, np.int64)
    start = 0
    with writing_array(
        out / f"{name}.values.npy", np.float32, (int(offset[-1]), len(labels))
    ) as append:
        for table in _with_residuals(parts, labels, residuals):
            append(_values(table, labels, items[start : start + len(table)]))
            start += len(table)


def _with_residuals(
    parts: list[Path], labels: list[str], residuals: pa.Table | None
) -> Iterator[pa.Table]:
    extra = [label for label in labels if residuals is not None and label in residuals.column_names]
    start = 0
    for table in _read(parts, ["row", *(label for label in labels if label not in extra)]):
        for label in extra:
            table = table.append_column(label, residuals.column(label).slice(start, len(table)))
        start += len(table)
        yield table


def _known(table: pa.Table, labels: list[str]) -> np.ndarray:
    return np.stack([pc.is_valid(table.column(label)).to_numpy() for label in labels], axis=1)


def _values(table: pa.Table, labels: list[str], items: np.ndarray) -> np.ndarray:
    known = _known(table, labels)
    keep = known.any(axis=1)
    values = np.full((int(items[keep].sum()), len(labels)), np.nan, np.float32)
    for j, label in enumerate(labels):
        column = table.column(label)
        here = np.repeat(known[keep, j], items[keep])
        if pa.types.is_list(column.type):
            values[here, j] = _flat(table, label)
        else:
            values[here, j] = column.drop_null().to_numpy()
    return values


# -------------------------------------------------------------------------------------------------------- counts


def count_molecules(parts: list[Path]) -> dict[str, Any]:
    """What the manifest counts about the molecules that were kept."""
    total: Counter = Counter()
    fields: Counter = Counter()
    for table in _read(
        parts,
        ["undefined_stereo", "cleared_isotopes", "converged", "force_field", "smiles", "smiles_3d"],
    ):
        fields.update(table.column("force_field").to_pylist())
        total["n"] += len(table)
        total["undefined_stereo"] += int(
            np.count_nonzero(table.column("undefined_stereo").to_numpy())
        )
        total["cleared_isotopes"] += int(
            np.count_nonzero(table.column("cleared_isotopes").to_numpy())
        )
        total["unconverged"] += table.column("converged").to_pylist().count(False)
        total["isomer_chosen"] += int(
            pc.sum(pc.not_equal(table.column("smiles"), table.column("smiles_3d"))).as_py() or 0
        )
    return dict(total) | {"force_field": dict(sorted(fields.items()))}


def count_known(parts: list[Path], label: dict, folder: Path) -> dict[str, Any]:
    """How many molecules have a label, and why the others have none."""
    column = label["residual_of"] or label["name"]
    known, missing = 0, Counter()
    for table in _read(parts, [column, "missing"]):
        absent = pc.is_null(table.column(column))
        known += len(table) - int(pc.sum(absent).as_py() or 0)
        reasons = table.filter(absent).column("missing").to_pylist()
        missing.update("not in the source" if reason is None else reason for reason in reasons)
    if label["residual_of"] is not None:
        values = pq.read_table(folder / "derived.parquet", columns=[label["name"]]).column(0)
        unfitted = values.null_count - sum(missing.values())
        known -= unfitted
        missing.update({ABSENT_ELEMENT: unfitted} if unfitted else {})
    return {"known": known, "missing": dict(sorted(missing.items()))}
