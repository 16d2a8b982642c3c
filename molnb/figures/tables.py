"""Tables that read well: a DataFrame as aligned text in a shell, as plain HTML in a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

LONG_WORD = 24  # characters; longer ones may be broken between any two


def show_table(rows: pd.DataFrame | Sequence[Mapping[str, Any]], digits: int = 3) -> Table:
    """A DataFrame, or rows as dicts, as a table to look at.

    Floats are rounded to `digits` significant digits, missing values are blank. Columns of dicts
    stand in the order in which rows first name them. A named index is shown, numbers of rows are
    not.
    """
    if not isinstance(rows, pd.DataFrame):
        # As objects: beside a gap or a float a whole number would become a float.
        rows = pd.DataFrame([dict(row) for row in rows], dtype=object)
    return Table(rows, digits)


class Table:
    """How a DataFrame is displayed; `frame` is the DataFrame itself."""

    def __init__(self, frame: pd.DataFrame, digits: int = 3):
        self.frame = frame
        if any(name is not None for name in frame.index.names):
            frame = frame.reset_index()
        columns = [list(values) for _, values in frame.items()]
        texts = [[as_text(value, digits) for value in column] for column in columns]
        self.names = [str(name) for name in frame.columns] or ["no rows"]
        self.cells = list(zip(*texts))
        self.styles = [_column_style(column) for column in columns] or [""]

    def __repr__(self) -> str:
        lines = [self.names, *self.cells]
        widths = [max(map(len, column)) for column in zip(*lines)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        head = _html_line(self.names, self.styles, "th")
        body = "".join(_html_line(cells, self.styles, "td") for cells in self.cells)
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _column_style(values: Sequence[Any]) -> str:
    """Style of a column: words are set to the left; long ones, such as SMILES, may be broken."""
    texts = [value for value in values if isinstance(value, str)]
    if not texts:
        return ""
    longest = max((len(word) for text in texts for word in text.split()), default=0)
    return "text-align:left" + (";overflow-wrap:anywhere" if longest > LONG_WORD else "")


def _html_line(cells: Sequence[str], styles: Sequence[str], tag: str) -> str:
    """A line of an HTML table."""
    line = ""
    for cell, style in zip(cells, styles):
        attribute = f' style="{style}"' if style else ""
        line += f"<{tag}{attribute}>{html.escape(cell)}</{tag}>"
    return f"<tr>{line}</tr>"


def as_text(value: Any, digits: int = 3) -> str:
    """A value for people: thousands separated, floats with `digits` significant digits.

    Missing values (None, NaN, NA) are empty.
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        return _float_as_text(float(value), digits)
    return str(value)


def _float_as_text(value: float, digits: int) -> str:
    if np.isnan(value):
        return ""
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    places = digits - 1 - int(np.floor(np.log10(abs(value)))) if value else 1
    return f"{value:,.{max(places, 0)}f}"
