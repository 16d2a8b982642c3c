"""Tables that read well in a notebook: rows in, aligned text and a plain HTML table out."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import Refused


class Table:
    """Rows to look at, as text in a shell and as an HTML table in a notebook."""

    def __init__(self, names: Sequence[str], cells: Sequence[Sequence[str]]):
        self.names, self.cells = list(names), [list(row) for row in cells]

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.names, *self.cells)]
        lines = [[*self.names], *self.cells]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.names)
        rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in self.cells)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def show_table(rows: Sequence[Mapping[str, Any]], digits: int = 3) -> Table:
    """Rows (column -> value) as a table; floats are rounded to `digits` significant digits, None is left blank.

    Columns stand in the order in which rows first name them.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise Refused("there is nothing to show: the table has no rows")
    return Table(names, [[as_text(row.get(name), digits) for name in names] for row in rows])


def as_text(value: Any, digits: int = 3) -> str:
    """A value for people: thousands separated, floats with `digits` significant digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        if value and not 1e-4 <= abs(value) < 1e6:
            return f"{value:.{digits - 1}e}"
        places = digits - 1 - int(np.floor(np.log10(abs(value)))) if value else 1
        return f"{value:,.{max(places, 0)}f}"
    return str(value)
