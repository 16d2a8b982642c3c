"""Tables that read well: a DataFrame as aligned text in a shell, as plain HTML in a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

LONG_WORD = 24  # characters; longer ones may be broken between any two


def show_table(rows: pd.DataFrame | Sequence[Mapping[str, Any]], digits: int = 3) -> Table:
    """A DataFrame, or rows as dicts, as a table to look at.

    Floats are rounded to `digits` significant digits, missing values are blank. Columns of dicts
    stand in the order in which rows first name them. A named index is shown, numbers of rows are
    not.
    """
    return Table(rows, digits)


class Table:
    """How a DataFrame, or rows as dicts, are displayed; the latter without pandas."""

    def __init__(self, rows: pd.DataFrame | Sequence[Mapping[str, Any]], digits: int = 3):
        self.rows = rows if hasattr(rows, "columns") else list(rows)
        names, columns = _columns(self.rows)
        texts = [[as_text(value, digits) for value in column] for column in columns]
        self.names = [str(name) for name in names] or ["no rows"]
        self.cells = list(zip(*texts))
        self.styles = [_column_style(column) for column in columns] or [""]

    @property
    def frame(self) -> pd.DataFrame:
        """The DataFrame itself, or one of the rows."""
        import pandas as pd

        if hasattr(self.rows, "columns"):
            return self.rows
        # As objects: beside a gap or a float a whole number would become a float.
        return pd.DataFrame([dict(row) for row in self.rows], dtype=object)

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


def _columns(
    rows: pd.DataFrame | Sequence[Mapping[str, Any]],
) -> tuple[list[Any], list[list[Any]]]:
    """Names and values of columns; None where a row has no value."""
    if hasattr(rows, "columns"):  # a DataFrame
        if any(name is not None for name in rows.index.names):
            rows = rows.reset_index()
        return list(rows.columns), [list(values) for _, values in rows.items()]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names, [[row.get(name) for row in rows] for name in names]


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
    # The latter two are pandas' own, which need not be there to be known.
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
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
