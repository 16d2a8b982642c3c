"""Rows of MAT files: MATLAB's up to version 7 through SciPy, version 7.3 as the HDF5 that it is."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from .archives import Member, on_disk
from .array_table import StoredArray, table_columns, table_records
from .hdf5 import matlab_columns, matlab_records
from .optional import optional_module
from .record import Record

_HDF5 = b"MATLAB 7.3 MAT-file"
_KINDS = {"char": "U", "cell": "O", "struct": "V", "object": "V", "sparse": "V", "function": "V",
          "opaque": "V", "logical": "b", "single": "f", "double": "f"}  # fmt: skip


def mat_columns(path: Path | Member) -> list[str]:
    """The columns of a MAT file: its arrays whose first axis is the rows."""
    file = on_disk(path)
    return matlab_columns(file) if _is_hdf5(file) else table_columns(path, _arrays(path, file))


def mat_records(path: Path | Member, columns: Sequence[str] | None) -> Iterator[Record]:
    """Every row of a MAT file, with these columns or with all; a variable is read at once."""
    file = on_disk(path)
    if _is_hdf5(file):
        return matlab_records(file, columns)
    return table_records(path, _arrays(path, file), columns)


def _is_hdf5(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(_HDF5)) == _HDF5


def _arrays(path: Path | Member, file: Path) -> dict[str, StoredArray]:
    listed = _checked(path, optional_module(path, "scipy.io").whosmat, file)
    arrays = {}
    for name, shape, kind in listed:
        letter = _KINDS.get(kind, "i")
        if letter == "V":
            continue
        whole = functools.cache(functools.partial(_variable, path, file, name))
        arrays[name] = StoredArray(tuple(shape), letter, whole, lambda whole=whole: iter([whole()]))
    return arrays


def _variable(path: Path | Member, file: Path, name: str) -> np.ndarray:
    load = optional_module(path, "scipy.io").loadmat
    value = _checked(path, load, file, variable_names=[name])[name]
    if value.dtype == object:
        return _without_cells(value)
    return np.char.rstrip(value) if value.dtype.kind == "U" else value


def _without_cells(cells: np.ndarray) -> np.ndarray:
    """An array of objects for cells of one text or number each; others keep their arrays."""
    plain = np.empty(cells.shape, object)
    for place, cell in np.ndenumerate(cells):
        is_one = isinstance(cell, np.ndarray) and cell.size == 1
        plain[place] = cell.reshape(-1)[0] if is_one else cell
    return plain


def _checked(path: Path | Member, read: Any, file: Path, **options: Any) -> Any:
    try:
        return read(file, **options)
    except Exception as error:  # whatever SciPy meets in a damaged file
        raise InputError(
            f"{path} is no readable MAT file ({type(error).__name__}: {error}). Fetch or save it "
            "again."
        ) from None
