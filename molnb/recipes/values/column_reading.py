"""Whole columns of cells at once, where nothing in them can be odd; else cell by cell.

Values and accounts are those that `ColumnReader` gives cell by cell, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .cells import (
    EMPTY,
    FEW,
    NO_LOGARITHM,
    NOT_FINITE,
    TOO_LARGE,
    ColumnReader,
)

# What became of a cell, by number; 0 is a value.
_REASONS = (None, EMPTY, NOT_FINITE, NO_LOGARITHM, TOO_LARGE)

Cells = pa.Array | Sequence[Any]


class CellRows(NamedTuple):
    """What is known of a group of rows before their cells are read."""

    lines: list[int | None]
    reasons: list[str | None]  # why a row can give no value
    n_reason: int  # rows that have one


def read_column(
    reader: ColumnReader, cells: Cells, rows: CellRows, relations: Sequence[Any] | None = None
) -> tuple[pa.Array, list[str | None]]:
    """The values of a column, null where there is none, and their relations.

    ``relations`` are the cells of the label's relation column. There are no relations of numbers
    that need none.
    """
    plain = None
    if not rows.n_reason and relations is None:
        if reader.kind == "regression":
            plain = _read_numbers(reader, cells, rows.lines)
        else:
            plain = _read_classes(reader, cells, rows.lines)
    if plain is not None:
        return plain, []
    if isinstance(cells, pa.Array):
        cells = cells.to_pylist()
    marks = [None] * len(cells) if relations is None else relations
    stored = [
        reader.read_qualified(cell, line, reason, mark)
        for cell, line, reason, mark in zip(cells, rows.lines, rows.reasons, marks, strict=True)
    ]
    values = pa.array([cell.value for cell in stored], pa.float64())
    return values, [cell.relation for cell in stored]


def _read_numbers(reader: ColumnReader, cells: Cells, lines: list) -> pa.Array | None:
    """A column of numbers; None where a cell needs a closer look."""
    array = _plain_numbers(reader, cells)
    if array is None:
        return None
    known = array.is_valid().to_numpy(zero_copy_only=False)
    numbers = array.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float64)
    codes = np.where(known, np.where(np.isfinite(numbers), 0, 2), 1)
    if not isinstance(cells, pa.Array) and np.any(codes == 2):
        return None  # a text that Arrow and Python may not read alike
    _convert(reader, numbers, codes)
    first = np.flatnonzero(codes == 0)[:1]
    if first.size and reader.example is None:
        before = array[int(first[0])].as_py()
        reader.example = (float(before), float(numbers[first[0]]))
    for code in _by_first(codes):
        place = int(np.argmax(codes == code))
        if code:
            n = int(np.count_nonzero(codes == code))
            reader.count_unread(_REASONS[code], _cell(cells, place), lines[place], n)
    _count_numbers(reader, numbers, codes == 0, lines)
    return pa.array(numbers, mask=codes != 0)


def _plain_numbers(reader: ColumnReader, cells: Cells) -> pa.Array | None:
    """Cells as Arrow has numbers, where they are numbers or plain texts of such."""
    if isinstance(cells, pa.Array):
        kind = cells.type
        is_number = pa.types.is_integer(kind) or kind in (pa.float32(), pa.float64())
        return cells if is_number else None
    if reader.label.decimal != "." or reader.label.percent:
        return None
    texts = _texts(cells)
    if texts is None:
        return None
    try:
        return pc.if_else(pc.equal(texts, ""), None, texts).cast(pa.float64())
    except pa.ArrowInvalid:  # one that is no number, or written in another way
        return None


def _texts(cells: Sequence[Any]) -> pa.Array | None:
    """Cells as an Arrow column of texts; None where they are something else."""
    try:
        return pa.array(cells, pa.string())
    except (pa.ArrowException, TypeError, ValueError):
        return None


def _convert(reader: ColumnReader, numbers: np.ndarray, codes: np.ndarray) -> None:
    """Convert numbers in place as `ColumnReader.convert` does, with a code where there is none."""
    known = codes == 0
    if reader.transform.function is None:
        with np.errstate(over="ignore"):
            numbers[known] *= reader.transform.factor
        codes[known & ~np.isfinite(numbers)] = _REASONS.index(TOO_LARGE)
        return
    for place in np.flatnonzero(known):  # the logarithms of math and of numpy differ in last bits
        value, reason = reader.convert(float(numbers[place]))
        if reason is None:
            numbers[place] = value
        else:
            codes[place] = _REASONS.index(reason)


def _count_numbers(
    reader: ColumnReader, numbers: np.ndarray, known: np.ndarray, lines: list
) -> None:
    """Keep account of the known numbers, each value once, in the order of their first cells."""
    places = np.flatnonzero(known)
    values, firsts, counts = np.unique(numbers[known], return_index=True, return_counts=True)
    telling = np.ones(len(values), bool)
    if len(reader.counts) >= FEW:  # values that are not among those counted change nothing
        low, high = reader.label.range or (-np.inf, np.inf)
        telling = np.isin(values, list(reader.counts)) | (values < low) | (values > high)
        reader.n_known += int(counts[~telling].sum())
    for k in np.flatnonzero(telling)[np.argsort(firsts[telling])]:
        line = lines[int(places[firsts[k]])]
        reader.count_known(float(values[k]), line, int(counts[k]))


def _read_classes(reader: ColumnReader, cells: Cells, lines: list) -> pa.Array | None:
    """A column of classes, each text or number looked up once; None where cells are mixed."""
    array = cells if isinstance(cells, pa.Array) else _texts(cells)
    if array is None or pa.types.is_nested(array.type):
        return None
    coded = array.dictionary_encode(null_encoding="encode")
    codes = coded.indices.to_numpy(zero_copy_only=False)
    texts = coded.dictionary.to_pylist()
    numbers = np.full(len(texts), np.nan)
    found, firsts, counts = np.unique(codes, return_index=True, return_counts=True)
    for k in np.argsort(firsts):
        text = texts[found[k]]
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        number, reason = reader.read_class(text)
        line = lines[int(firsts[k])]
        if reason is None:
            numbers[found[k]] = number
            reader.count_known(number, line, int(counts[k]))
        else:
            reader.count_unread(reason, text, line, int(counts[k]))
    values = numbers[codes]
    return pa.array(values, mask=np.isnan(values))


def _by_first(codes: np.ndarray) -> list[int]:
    """The codes that occur, by their first place."""
    values, firsts = np.unique(codes, return_index=True)
    return [int(values[k]) for k in np.argsort(firsts)]


def _cell(cells: Cells, place: int) -> Any:
    return cells[place].as_py() if isinstance(cells, pa.Array) else cells[place]
