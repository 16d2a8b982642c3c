"""Arrays whose first axis is the rows, as a table: what NPZ, MAT and HDF5 files hold.

The number of rows is the first length of most arrays. An array of one row (1, n) is a column too,
and one of folds, (k, n/k) with every row number once, gives each row the number of its fold. An
array of another length is no column. ``T[3]`` is a column of its own where T has two axes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import InputError
from .archives import listed
from .record import Record

BLOCK_BYTES = 1 << 22  # of an array are read at a time
MAX_INDEXED = 64  # columns of a matrix that are columns of the table
_INDEXED = re.compile(r"(.+)\[(\d+)\]")


class StoredArray(NamedTuple):
    """An array in a file: its shape, the letter of its NumPy kind, and how it is read."""

    shape: tuple[int, ...]
    kind: str
    whole: Callable[[], np.ndarray]
    blocks: Callable[[], Iterator[np.ndarray]]  # of rows, one after the other


def table_columns(path: Path, arrays: Mapping[str, StoredArray]) -> list[str]:
    """The columns that arrays make, those of matrices included."""
    n_row = _row_count(path, arrays)
    names = [name for name, array in arrays.items() if _is_column(array, n_row)]
    matrices = [name for name in names if arrays[name].shape[0] == n_row]
    return names + indexed_names({name: arrays[name].shape[1:] for name in matrices})


def table_records(
    path: Path, arrays: Mapping[str, StoredArray], columns: Sequence[str] | None
) -> Iterator[Record]:
    """The rows of arrays, with some columns or with all (those of matrices only by name)."""
    n_row = _row_count(path, arrays)
    names = [name for name, array in arrays.items() if _is_column(array, n_row)]
    if columns is not None:
        names = [name for name in names if name in without_index(columns)]
    rows = [_rows(arrays[name], n_row) for name in names]
    for values in zip(*rows, strict=True) if rows else ((),) * n_row:
        fields = dict(zip(names, map(plain_value, values), strict=True))
        yield Record(None, with_indexed(fields, columns))


def without_index(columns: Sequence[str]) -> set[str]:
    """Columns, and the matrices that those with an index are of."""
    matrices = {match[1] for name in columns if (match := _INDEXED.fullmatch(name))}
    return {*columns, *matrices}


def with_indexed(fields: dict[str, Any], columns: Sequence[str] | None) -> dict[str, Any]:
    """Fields of a record with those values of lists that are named by an index, as ``T[3]``."""
    for name in columns or ():
        match = None if name in fields else _INDEXED.fullmatch(name)
        values = fields.get(match[1]) if match else None
        if isinstance(values, np.ndarray | list | tuple) and int(match[2]) < len(values):
            fields[name] = plain_value(values[int(match[2])])
    return fields


def indexed_names(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Names of the single values of rows with these shapes, where they are vectors."""
    return [
        f"{name}[{k}]"
        for name, shape in shapes.items()
        if len(shape) == 1 and 1 < shape[0] <= MAX_INDEXED
        for k in range(shape[0])
    ]


def plain_value(value: Any) -> Any:
    """A value as rows have it: numbers and text for arrays of one, arrays as they are."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "SUO" and value.ndim:
            return [plain_value(item) for item in value.tolist()]
        if value.size != 1 or value.ndim > 1:
            return value
        value = value.reshape(())[()]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return text_or_bytes(value)
    return value


def text_or_bytes(value: bytes) -> str | bytes:
    """Text where bytes are UTF-8, as some programs write it; else the bytes."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def row_blocks(n_row: int, n_byte: int) -> Iterator[slice]:
    """Rows of so many bytes each, in pieces that fit into memory."""
    n = max(1, min(n_row, BLOCK_BYTES // max(n_byte, 1)))
    return (slice(start, min(start + n, n_row)) for start in range(0, n_row, n))


# ------------------------------------------------------------------------------------- columns


def _row_count(path: Path, arrays: Mapping[str, StoredArray]) -> int:
    lengths = Counter(_length(array) for array in arrays.values() if array.shape)
    if not lengths:
        raise InputError(
            f"{path} holds no arrays with rows ({listed(arrays) or 'nothing at all'}): save each "
            "column as an array whose first axis is the molecules."
        )
    return max(lengths, key=lambda length: (lengths[length], length))


def _length(array: StoredArray) -> int:
    return array.shape[1] if _is_lying(array) else array.shape[0]


def _is_lying(array: StoredArray) -> bool:
    """Whether an array is one row of values, as MATLAB has vectors."""
    return len(array.shape) == 2 and array.shape[0] == 1 and array.shape[1] > 1


def _is_column(array: StoredArray, n_row: int) -> bool:
    return bool(array.shape) and (_length(array) == n_row or _folds(array, n_row) is not None)


def _folds(array: StoredArray, n_row: int) -> np.ndarray | None:
    """The fold of each row where an array lists the rows of each fold; None for any other."""
    if len(array.shape) != 2 or array.kind not in "iuf" or np.prod(array.shape) != n_row:
        return None
    values = array.whole()
    if not np.array_equal(np.sort(values, axis=None), np.arange(n_row)):
        return None
    folds = np.empty(n_row, np.int64)
    for fold, rows in enumerate(values):
        folds[rows.astype(np.int64)] = fold
    return folds


def _rows(array: StoredArray, n_row: int) -> Iterator[Any]:
    if _length(array) != n_row:
        yield from _folds(array, n_row)
    elif _is_lying(array):
        yield from array.whole().reshape(-1)
    else:
        for block in array.blocks():
            yield from block
