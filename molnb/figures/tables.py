"""Tables that read well in a notebook: rows in, aligned text and a plain HTML table out."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LONG_WORD = 24  # characters; longer ones may be broken between any two


class Table:
    """Rows to look at, as text in a shell and as an HTML table in a notebook; columns of words
    are set to the left.
    """

    def __init__(
        self,
        names: Sequence[str],
        cells: Sequence[Sequence[str]],
        words: Sequence[bool] | None = None,
    ):
        self.names, self.cells = list(names), [list(row) for row in cells]
        self.words = [False] * len(self.names) if words is None else list(words)

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.names, *self.cells)]
        lines = [[*self.names], *self.cells]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        longest = [
            max((len(word) for cell in column for word in cell.split()), default=0)
            for column in zip(*self.cells)
        ]
        broken = [
            ";overflow-wrap:anywhere" if length > LONG_WORD else "" for length in longest or [0]
        ]  # such as SMILES
        styles = [
            f' style="text-align:left{how}"' if words else ""
            for words, how in zip(self.words, broken)
        ]

        def line(cells: Sequence[str], tag: str) -> str:
            return "".join(
                f"<{tag}{style}>{html.escape(cell)}</{tag}>" for cell, style in zip(cells, styles)
            )

        body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in self.cells)
        return (
            f"<table><thead><tr>{line(self.names, 'th')}</tr></thead><tbody>{body}</tbody></table>"
        )


def show_table(rows: Sequence[Mapping[str, Any]], digits: int = 3) -> Table:
    """Rows (column -> value) as a table; floats are rounded to `digits` significant digits, None is
    left blank.

    Columns stand in the order in which rows first name them.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        return Table(["no rows"], [])
    words = [any(isinstance(row.get(name), str) for row in rows) for name in names]
    return Table(names, [[as_text(row.get(name), digits) for name in names] for row in rows], words)


def as_text(value: Any, digits: int = 3) -> str:
    """A value for people: thousands separated, floats with `digits` significant digits, nothing
    for None.
    """
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
