"""Rows that a recipe leaves out by the cells of a column: ``where: {Standard Units: nM}``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ...errors import InputError

# Columns of the snapshot: the column that a row is left out by, and its cell. No label's name ends
# in a space.
FILTER = "where "
FILTER_CELL = "where cell "
_FEW = 20  # texts of cells kept for the message

Value = str | float | bool


class RowFilter:
    """Keeps the rows whose cells hold one of the wanted values, and counts what others hold."""

    def __init__(self, where: Mapping[str, Value | list[Value]]):
        self.wanted = {
            column: list(values) if isinstance(values, list) else [values]
            for column, values in where.items()
        }
        self._plain = {
            column: {plain_cell(value) for value in values}
            for column, values in self.wanted.items()
        }
        self.left_out: dict[str, Counter[str]] = {column: Counter() for column in self.wanted}
        self.n_left_out = 0

    def judge(
        self, fields: Mapping[str, Any], joined: Mapping[str, Any]
    ) -> tuple[str, str] | tuple[None, None]:
        """The column and the cell that a row is left out by, or nothing for one that stays.

        What the row itself does not have is looked up in the ``joined`` fields.
        """
        for column, wanted in self._plain.items():
            cell = fields[column] if column in fields else joined.get(column)
            if plain_cell(cell) not in wanted:
                text = "" if cell is None else str(cell).strip()[:80]
                self.n_left_out += 1
                counts = self.left_out[column]
                if text in counts or len(counts) < _FEW:
                    counts[text] += 1
                return column, text
        return None, None

    def check(self, file: str, n_row: int) -> None:
        """Raise InputError where no row is left."""
        if not self.wanted or self.n_left_out < n_row:
            return
        column, counts = max(self.left_out.items(), key=lambda item: item[1].total())
        texts = ", ".join(f"'{text}' {n:,}" for text, n in counts.most_common(5))
        wanted = " or ".join(f"'{value}'" for value in self.wanted[column])
        raise InputError(
            f"{file}: where keeps none of {n_row:,} rows: column '{column}' should hold {wanted}, "
            f"it holds {texts}. Name a value that it has, or take 'where' out"
        )


def plain_cell(value: Any) -> str | float:
    """A cell to be compared: a number by its value, any other text without blanks around it.

    True and false are texts, whatever their case; an empty cell is the empty text.
    """
    text = "" if value is None else str(value).strip()
    if text.lower() in ("true", "false"):
        return text.lower()
    try:
        number = math.nan if "_" in text else float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text
