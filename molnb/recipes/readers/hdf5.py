"""Records of HDF5 files: arrays with equal first axis as a table, or one group a molecule.

Where groups hold the arrays, each is a record, named by its group (column ``name``); a file with
arrays at its top, or in a single group, is a table. Attributes that are single values are fields of
a group's record too. Links to other files are not followed.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from .archives import Member, natural_key, on_disk
from .array_table import (
    StoredArray,
    plain_value,
    row_blocks,
    table_columns,
    table_records,
    with_indexed,
)
from .optional import optional_module
from .record import Record

if TYPE_CHECKING:
    import h5py

MAX_DEPTH = 12  # of groups in groups: beyond it they go in a circle
_N_SAMPLED = 100  # groups that tell which columns there are
_N_TABLE = 2  # groups with arrays that are looked for, to tell a table from groups of molecules


def hdf5_columns(path: Path | Member) -> list[str]:
    """The columns of an HDF5 file: of its table, or of the first groups."""
    with _opened(path) as file:
        table = _table_group(path, file)
        if table is not None:
            return table_columns(path, _arrays(path, table))
        names: dict[str, None] = {"name": None}
        for _, group in itertools.islice(_record_groups(path, file), _N_SAMPLED):
            names |= dict.fromkeys(_fields(path, group, None))
        return list(names)


def hdf5_records(path: Path | Member, columns: Sequence[str] | None) -> Iterator[Record]:
    """Every row of the table of an HDF5 file, or every group, by the numbers in its name."""
    with _opened(path) as file:
        table = _table_group(path, file)
        if table is not None:
            yield from table_records(path, _arrays(path, table), columns)
            return
        for name, group in _record_groups(path, file):
            fields = {"name": name} | _fields(path, group, columns)
            yield Record(None, with_indexed(fields, columns))


def matlab_columns(path: Path) -> list[str]:
    """The columns of a MAT file of version 7.3, whose axes stand in the reverse order."""
    with _opened(path) as file:
        return table_columns(path, _arrays(path, file, is_reversed=True))


def matlab_records(path: Path, columns: Sequence[str] | None) -> Iterator[Record]:
    """Every row of a MAT file of version 7.3."""
    with _opened(path) as file:
        yield from table_records(path, _arrays(path, file, is_reversed=True), columns)


@contextlib.contextmanager
def _opened(path: Path | Member) -> Iterator[h5py.File]:
    library = optional_module(path, "h5py")
    try:
        with library.File(on_disk(path), "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # what h5py raises for damage
        raise InputError(
            f"{path} is no readable HDF5 file, or a damaged one ({error}). Fetch or save it again."
        ) from None


# ------------------------------------------------------------------------------------- groups


def _table_group(path: Path | Member, file: h5py.File) -> h5py.Group | None:
    """The one group that holds all arrays; None where there are several."""
    groups = list(itertools.islice(_record_groups(path, file), _N_TABLE))
    if not groups:
        raise InputError(f"{path} holds no arrays: 0 rows. Give a file with at least one molecule.")
    return groups[0][1] if len(groups) == 1 else None


def _record_groups(
    path: Path | Member, group: h5py.Group, depth: int = 0
) -> Iterator[tuple[str, h5py.Group]]:
    """The groups that hold arrays themselves, topmost first, by the numbers in their names."""
    import h5py

    if depth > MAX_DEPTH:
        raise InputError(f"{path}: groups lie in groups more than {MAX_DEPTH} deep: {group.name}")
    names = _own_names(path, group)
    if any(group.get(name, getclass=True) is h5py.Dataset for name in names):
        yield group.name.strip("/"), group
        return
    for name in sorted(names, key=natural_key):
        if group.get(name, getclass=True) is h5py.Group:
            yield from _record_groups(path, group[name], depth + 1)


def _own_names(path: Path | Member, group: h5py.Group) -> list[str]:
    """What a group holds itself; raises InputError for a link into another file."""
    import h5py

    names = []
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise InputError(
                f"{path}: '{group.name.rstrip('/')}/{name}' is a link to another file "
                f"({link.filename}), which is not followed. Copy its arrays into this file."
            )
        if isinstance(link, h5py.HardLink):
            names.append(name)
    return names


def _datasets(
    path: Path | Member, group: h5py.Group, prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, h5py.Dataset]]:
    """The arrays of a group and of the groups in it, by their path below it."""
    import h5py

    if depth > MAX_DEPTH:
        raise InputError(f"{path}: groups lie in groups more than {MAX_DEPTH} deep: {group.name}")
    for name in _own_names(path, group):
        kind = group.get(name, getclass=True)
        if kind is h5py.Group:
            if not name.startswith("#"):  # MATLAB's own
                yield from _datasets(path, group[name], f"{prefix}{name}/", depth + 1)
            continue
        if kind is not h5py.Dataset:
            continue
        dataset = group[name]
        if dataset.external or dataset.is_virtual:
            raise InputError(
                f"{path}: '{dataset.name}' keeps its values in another file, which is not read. "
                "Copy them into this file."
            )
        if h5py.check_ref_dtype(dataset.dtype) is None:
            yield prefix + name, dataset


def _fields(
    path: Path | Member, group: h5py.Group, columns: Sequence[str] | None
) -> dict[str, Any]:
    """The arrays and single attributes of the group of one molecule."""
    fields = {
        name: plain_value(value) for name, value in group.attrs.items() if np.ndim(value) == 0
    }
    for name, dataset in _datasets(path, group):
        if columns is None or name in columns or any(c.startswith(f"{name}[") for c in columns):
            fields[name] = plain_value(dataset[()])
    return fields


# -------------------------------------------------------------------------------------- tables


def _arrays(
    path: Path | Member, group: h5py.Group, is_reversed: bool = False
) -> dict[str, StoredArray]:
    arrays = {}
    for name, dataset in _datasets(path, group):
        if dataset.dtype.names is None:
            arrays[name] = _stored(dataset, None, is_reversed)
        else:  # the rows of a table, as PyTables writes it
            for field in dataset.dtype.names:
                arrays[field] = _stored(dataset, field, False)
    return arrays


def _stored(dataset: h5py.Dataset, field: str | None, is_reversed: bool) -> StoredArray:
    view = dataset if field is None else dataset.fields(field)
    dtype = dataset.dtype if field is None else dataset.dtype[field]
    shape = dataset.shape or ()
    shape = shape[::-1] if is_reversed else shape

    def whole() -> np.ndarray:
        values = view[()]
        return values.T if is_reversed else values

    def blocks() -> Iterator[np.ndarray]:
        n_value = int(np.prod(shape[1:]))
        for rows in row_blocks(shape[0], n_value * max(dtype.itemsize, 1)):
            yield view[..., rows].T if is_reversed else view[rows]

    inner = () if dtype.subdtype is None else dtype.subdtype[1]
    return StoredArray((*shape, *inner), dtype.base.kind, whole, blocks)
