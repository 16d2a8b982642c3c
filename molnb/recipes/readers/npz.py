"""Rows of NPZ files, read in pieces; Python objects in them are refused, as they could run code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...errors import InputError
from .archives import Member, all_members, on_disk
from .array_table import (
    StoredArray,
    row_blocks,
    table_columns,
    table_records,
    without_index,
)
from .packing import DamagedError
from .record import Record

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def npz_columns(path: Path | Member) -> list[str]:
    """The columns of an NPZ file: its arrays whose first axis is the rows."""
    return table_columns(path, _arrays(path))


def npz_records(path: Path | Member, columns: Sequence[str] | None) -> Iterator[Record]:
    """Every row of an NPZ file, with these columns or with all."""
    arrays = _arrays(path)
    wanted = set(arrays) if columns is None else without_index(columns)
    for name in wanted & set(arrays):
        if arrays[name].kind == "O":
            raise InputError(
                f"{path}: the array '{name}' holds Python objects (a pickle), which could run code "
                "and are not read. Save numbers or text: numpy.array(values, dtype=float) or "
                "dtype=str."
            )
    return table_records(path, arrays, columns)


def _arrays(path: Path | Member) -> dict[str, StoredArray]:
    members = all_members(on_disk(path))
    return {m.full_name.removesuffix(".npy"): _stored(path, m) for m in members}


def _stored(path: Path | Member, member: Member) -> StoredArray:
    with _opened(path, member) as stream:
        shape, is_fortran, dtype = _header(path, member, stream)

    def whole() -> np.ndarray:
        with _opened(path, member) as stream:
            _header(path, member, stream)
            values = _read(stream, path, member, dtype, int(np.prod(shape)))
        return values.reshape(shape, order="F" if is_fortran else "C")

    def blocks() -> Iterator[np.ndarray]:
        if is_fortran and len(shape) > 1:  # its rows do not lie one after the other
            yield whole()
            return
        n_value = int(np.prod(shape[1:]))
        with _opened(path, member) as stream:
            _header(path, member, stream)
            for rows in row_blocks(shape[0], n_value * dtype.itemsize):
                n_row = rows.stop - rows.start
                values = _read(stream, path, member, dtype, n_row * n_value)
                yield values.reshape(n_row, *shape[1:])

    return StoredArray(tuple(shape), "O" if dtype.hasobject else dtype.kind, whole, blocks)


@contextlib.contextmanager
def _opened(path: Path | Member, member: Member) -> Iterator[BinaryIO]:
    try:
        with member.open() as stream:
            yield stream
    except DamagedError as error:
        raise _damaged(path, member, error) from None


def _header(
    path: Path | Member, member: Member, stream: BinaryIO
) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        version = np.lib.format.read_magic(stream)
        return _HEADERS[version](stream)
    except (ValueError, KeyError) as error:
        raise _damaged(path, member, error) from None


def _read(
    stream: BinaryIO, path: Path | Member, member: Member, dtype: np.dtype, n_value: int
) -> np.ndarray:
    data = stream.read(n_value * dtype.itemsize)
    if len(data) != n_value * dtype.itemsize:
        raise _damaged(path, member, "it ends early")
    return np.frombuffer(data, dtype)


def _damaged(path: Path | Member, member: Member, error: object) -> InputError:
    return InputError(
        f"{path} is no readable NPZ file: '{member.full_name}' is damaged ({error}). Fetch or save "
        "it again."
    )
