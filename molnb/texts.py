"""Texts for people in a terminal: sizes, shares, aligned columns, lines of a width."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 100  # characters of a line
GAP = "  "  # between two columns
LEAST = 4  # characters of a last column that is cut


def readable_bytes(n: int) -> str:
    """A size in the unit that keeps it below a thousand: 82 MB."""
    units = ["B", "kB", "MB", "GB", "TB"]
    size = float(n)
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    digits = 1 if size < 10 and units[0] != "B" else 0
    return f"{size:.{digits}f} {units[0]}"


def readable_share(n: int, of: int) -> str:
    """How many percent n of some are; empty where there are none."""
    return f"{100 * n / of:.1f} %" if of else ""


def rounded(value: float, digits: int = 3) -> str:
    """A large number with so many significant digits: 973,000."""
    return f"{float(f'{value:.{digits}g}'):,.0f}"


def some_of(names: Sequence[str], most: int = 8) -> str:
    """Names in a sentence: the first few, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shortened(text: str, width: int) -> str:
    """A text of at most so many characters; three dots stand for what was cut."""
    return text if len(text) <= width else text[: max(width - 3, 0)].rstrip() + "..."


def wrapped(text: str, indent: str = GAP, first: str | None = None) -> list[str]:
    """A text in lines of `WIDTH`, all indented; `first` opens the first of them instead."""
    lines = textwrap.wrap(
        " ".join(text.split()),
        WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [indent.rstrip()]


def described(terms: Iterable[tuple[str, str | None]], width: int = 12) -> list[str]:
    """Terms and what is said of them, in two columns; a term without a text is left out."""
    lines = []
    for term, text in terms:
        if text:
            indent = GAP + " " * (width + len(GAP))
            lines += wrapped(text, indent, f"{GAP}{term:<{width}}{GAP}")
    return lines


def aligned(
    rows: Sequence[Sequence[str]],
    right: Sequence[int] = (),
    indent: str = "",
    cut: bool = False,
    widest_first: int = WIDTH,
) -> list[str]:
    """Rows of texts in columns as wide as their longest; those numbered in `right` end together.

    Columns without any text are left out. What the last one has beyond `WIDTH` goes on in a line of
    its own, or is cut. A first text of more than `widest_first` pushes its own row to the right.
    """
    filled = [number for number, texts in enumerate(zip(*rows)) if any(texts)]
    widths = [max(len(row[number]) for row in rows) for number in filled[:-1]]
    widths[:1] = [min(width, widest_first) for width in widths[:1]]
    rest = " " * (len(indent) + sum(widths) + len(GAP) * len(widths))
    lines = []
    for row in rows:
        cells = [
            row[number].rjust(width) if number in right else row[number].ljust(width)
            for number, width in zip(filled, widths)
        ]
        first = indent + "".join(cell + GAP for cell in cells)
        last = row[filled[-1]]
        if cut:
            lines.append((first + shortened(last, max(WIDTH - len(first), LEAST))).rstrip())
        else:
            lines += wrapped(last, rest, first) if last else [first.rstrip()]
    return lines
