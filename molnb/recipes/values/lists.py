"""Cells that hold a list of numbers: JSON or NumPy text, lists, arrays; also of atoms in space."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ...units import length_factor
from ...vocabulary import SYMBOLS
from ..label_schema import Label
from ..source_schema import GivenGeometry
from .cells import EMPTY, ColumnReader
from .transforms import parse_transform

NO_LIST = "not a list of numbers"
_NUMPY_TEXT = re.compile(r"[\[\](),;|\s]+")


def read_list(value: Any) -> tuple[np.ndarray | None, str | None]:
    """A cell as numbers, flat, float64, None among them as NaN; or None and why it is no list."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None, EMPTY
    if isinstance(value, float) and np.isnan(value):
        return None, EMPTY
    if isinstance(value, str):
        return _read_text(value.strip())
    try:
        return _flat(value), None
    except (TypeError, ValueError):
        return None, NO_LIST


def _read_text(text: str) -> tuple[np.ndarray | None, str | None]:
    """Numbers of a text: JSON, as NumPy prints an array, or between commas, blanks, ; or |."""
    try:
        content = json.loads(text)
    except ValueError:
        words = [word for word in _NUMPY_TEXT.split(text) if word]
        try:
            return np.array([float(word) for word in words], float), None
        except ValueError:
            return None, NO_LIST
    try:
        return _flat(content), None
    except (TypeError, ValueError):
        return None, NO_LIST


def _flat(value: Any) -> np.ndarray:
    """Numbers of a nested list or array, one after another."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.astype(float).ravel()
    if isinstance(value, list | tuple | np.ndarray):
        pieces = [_flat(item) for item in value]
        return np.concatenate([np.zeros(0), *pieces])
    if isinstance(value, bool | np.bool_) or isinstance(value, str | bytes | dict):
        raise ValueError(NO_LIST)
    return np.array([np.nan if value is None else float(value)])


class ListReader(ColumnReader):
    """Reads the cells of a label of atoms, bonds or pairs; keeps account likewise."""

    def __init__(self, label: Label, kind: str):
        super().__init__(label, kind)
        self._convert_list = _list_conversion(label)

    def read(self, value: Any, line: int | None, reason: str | None = None) -> list[float] | None:
        """The values to store, in the order of the input; `reason` says why there can be none."""
        numbers = None
        if reason is None:
            numbers, reason = read_list(value)
        if reason is not None:
            self.count_unread(reason, value, line)
            return None
        self.n_known += 1
        return self._convert_list(numbers).tolist()


def _list_conversion(label: Label) -> Callable[[np.ndarray], np.ndarray]:
    if label.transform is None:
        scale = label.scale
        return lambda numbers: numbers * scale
    apply = parse_transform(label.transform, label.source_unit).apply

    def convert(numbers: np.ndarray) -> np.ndarray:
        converted = [apply(number) for number in numbers.tolist()]
        return np.array([np.nan if number is None else number for number in converted], float)

    return convert


# ------------------------------------------------------------------------------ atoms in space


class GeometryCells(NamedTuple):
    """A geometry as a row's columns give it; `coords` of all conformers one after another, in Å."""

    numbers: list[int]
    coords: list[float]
    bonds: list[float] | None  # i, j, order of each
    charges: list[int] | None


def read_geometry(columns: GivenGeometry, fields: dict[str, Any]) -> GeometryCells | str | None:
    """The geometry of a row; what is wrong with it as a text; None where the row has none."""
    raw_numbers = fields.get(columns.numbers)
    coords, reason = read_list(fields.get(columns.coords))
    if raw_numbers is None or reason == EMPTY:
        return None
    numbers = _atomic_numbers(raw_numbers)
    if numbers is None:
        return f"'{columns.numbers}' holds no atomic numbers or symbols"
    if reason is not None:
        return f"'{columns.coords}' holds no coordinates: {reason}"
    n_place = len(numbers)
    if not n_place or not len(coords) or len(coords) % (3 * n_place):
        return f"{len(coords)} coordinates for {n_place} atoms"
    real = np.array(numbers) > 0  # arrays of one length for all molecules end in zeros
    n_atom = int(real.sum())
    if not real[:n_atom].all() or not n_atom:
        return f"'{columns.numbers}' has an atom of number 0"
    coords = coords.reshape(-1, n_place, 3)[:, :n_atom] * length_factor(columns.unit)
    bonds = _whole_list(fields, columns.bonds)
    if bonds is not None and len(bonds) % 3:
        return f"'{columns.bonds}' holds {len(bonds)} numbers: three are a bond (i, j, order)"
    if bonds is not None:
        bonds = bonds * np.tile([1.0, 1.0, columns.order_factor], len(bonds) // 3)
        ends = bonds.reshape(-1, 3)[:, :2]
        if len(ends) and (ends.min() < 0 or ends.max() >= n_atom):
            return f"'{columns.bonds}' names atom {ends.max():g} of {n_atom}"
    charges = _whole_list(fields, columns.charges)
    if charges is not None and len(charges) < n_atom:
        return f"{len(charges)} charges for {n_atom} atoms"
    return GeometryCells(
        numbers=[int(number) for number in numbers[:n_atom]],
        coords=coords.ravel().tolist(),
        bonds=None if bonds is None else bonds.tolist(),
        charges=None if charges is None else [int(charge) for charge in charges[:n_atom]],
    )


def _whole_list(fields: dict[str, Any], column: str | None) -> np.ndarray | None:
    return None if column is None else read_list(fields.get(column))[0]


def _atomic_numbers(value: Any) -> list[int] | None:
    """Atomic numbers of a list of numbers or of element symbols, also as text; None if neither."""
    numbers, _ = read_list(value)
    if numbers is not None:
        whole = np.isfinite(numbers).all() and (numbers == numbers.round()).all()
        return numbers.astype(int).tolist() if whole else None
    words = value
    if isinstance(value, str):
        words = [word for word in re.split(r"[\[\]'\",\s]+", value) if word]
    return _numbers_of_symbols(words)


def _numbers_of_symbols(symbols: Iterable[Any]) -> list[int] | None:
    try:
        return [1 + SYMBOLS.index(str(symbol).strip().capitalize()) for symbol in symbols]
    except (TypeError, ValueError):
        return None
