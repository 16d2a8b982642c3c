"""Rows of CSV and TSV files as people have them.

Fields may stand between quotes, and such a field may go over several lines. A quote that only
seems to open a field must not swallow rows: where it never closes, or where what it would swallow
looks like rows, its line is malformed and the following lines are read for themselves.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...errors import InputError
from ..source_schema import Source
from .archives import Member
from .lines import NumberedLines, read_lines
from .names import checked_names
from .record import Record

MAX_CELL_LINES = 10_000  # of one quoted field: as far as a closing quote is looked for
_N_SAMPLED = 50  # rows that tell the delimiter
_DELIMITERS = "\t;,|"  # the first of equals: decimal commas are many, semicolons in prose few
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_OPEN = -1  # where a quoted field ends that goes on in the next line
_INSIDE = re.compile(r'([^"]*+(?:""[^"]*+)*+)"')  # the rest of a quoted field; "" is one quote


_NUL = "a NUL character stands in the row"


class _Row(NamedTuple):
    """The fields of one row, the line it starts on, and why it is malformed."""

    line: int
    fields: list[str]
    problem: str | None = None


class _Table(NamedTuple):
    """A file whose next line is the first row of data."""

    lines: NumberedLines
    delimiter: str
    names: list[str]
    n_named: int  # columns up to the last that has a name


def csv_columns(source: Source, path: Path | Member, kind: str) -> list[str]:
    """The columns of a CSV or TSV file."""
    return _open_table(source, path, kind).names


def csv_records(source: Source, path: Path | Member, kind: str) -> Iterator[Record]:
    """Every row of a CSV or TSV file; one that has too few or too many fields says so."""
    table = _open_table(source, path, kind)
    names = table.names
    n_column = len(names)
    all_named = table.n_named == n_column
    for line, fields, problem in _rows(table.lines, table.delimiter, n_column):
        if problem is None and not (all_named and len(fields) == n_column):
            problem = _misfit(fields, table)
        yield Record(line, dict(zip(names, fields, strict=False)), problem)


def _misfit(fields: list[str], table: _Table) -> str | None:
    """Why the fields of a row do not fit the header; empty ones at the end may be there or not."""
    n_column = len(table.names)
    n_filled = len(fields)
    while n_filled and not fields[n_filled - 1].strip():
        n_filled -= 1
    if len(fields) < table.n_named or n_filled > n_column:
        return f"{len(fields)} fields where the header has {n_column}"
    if n_filled > table.n_named:
        # Most likely a delimiter inside a field moved this one to the right.
        return f"field {n_filled} stands where the header has no name"
    return None


# ------------------------------------------------------------------------------------ header


def _open_table(source: Source, path: Path | Member, kind: str) -> _Table:
    lines = NumberedLines(enumerate(read_lines(path), 1))
    separator = _skip_to_first_row(lines)
    first = next(iter(lines), None)
    if first is None:
        raise InputError(f"{path} is empty: 0 rows. Give a file with at least one molecule.")
    lines.put_back([first])
    delimiter = source.delimiter or separator or _guess_delimiter(lines, kind)
    row = next(_rows(lines, delimiter, None))
    if source.header is not True:
        names = source.header or [f"column_{k}" for k in range(1, len(row.fields) + 1)]
        lines = NumberedLines(enumerate(read_lines(path), 1))
        _skip_to_first_row(lines)
        return _Table(lines, delimiter, names, len(names))
    if row.problem is not None:
        raise InputError(f"{path}: line {row.line}, the header: {row.problem}. Correct that line.")
    named = [k for k, name in enumerate(row.fields, 1) if name.strip()]
    return _Table(
        lines, delimiter, checked_names(path, row.line, row.fields), max(named, default=0)
    )


def _skip_to_first_row(lines: NumberedLines) -> str | None:
    """Go to the first line with a word in it; returns the delimiter that ``sep=;`` states."""
    separator = None
    for number, text in lines:
        stated = _SEPARATOR_LINE.fullmatch(text.strip(" "))
        if stated and separator is None:
            separator = stated[1]
        elif text.strip(' \t,;|"\0'):
            lines.put_back([(number, text)])
            break
    return separator


def _guess_delimiter(lines: NumberedLines, kind: str) -> str:
    """The delimiter that gives most rows the number of fields that it gives the header.

    Delimiters inside quotes do not count.
    """
    sample = list(itertools.islice(lines, _N_SAMPLED))
    lines.put_back(sample)
    scores = {}
    for delimiter in _DELIMITERS + " ":
        widths = [len(row.fields) for row in _rows(NumberedLines(sample), delimiter, None)]
        n_alike = sum(width == widths[0] for width in widths)
        # Blanks stand inside fields too: they only separate where they do so in every row.
        if widths[0] > 1 and (delimiter != " " or 1 < len(widths) == n_alike and not scores):
            scores[delimiter] = (n_alike, widths[0])
    if kind == "tsv" and ("\t" in scores or not scores):
        return "\t"
    return max(scores, key=scores.get) if scores else ","


# -------------------------------------------------------------------------------------- rows


def _rows(lines: NumberedLines, delimiter: str, n_column: int | None) -> Iterator[_Row]:
    """Every row of the lines that come; blank lines are none."""
    false_ends: dict[int, int] = {}  # lines behind an open quote that closes in vain: its line
    for number, text in lines:
        problem = _NUL if "\0" in text else None
        if '"' not in text:
            if (text and not text.isspace()) or delimiter in text:
                yield _Row(number, text.split(delimiter), problem)
            continue
        fields, is_open = split_line(text, delimiter)
        if is_open:
            yield _row_of_lines(lines, (number, text), delimiter, n_column, false_ends)
            continue
        if number in false_ends and any('"' in field for field in fields):
            problem = f"a quote here belongs to the one left open on line {false_ends[number]}"
        yield _Row(number, fields, problem)


def _row_of_lines(
    lines: NumberedLines,
    first: tuple[int, str],
    delimiter: str,
    n_column: int | None,
    false_ends: dict[int, int],
) -> _Row:
    """The row whose last field is open at the end of its first line, and closes on a later one.

    Where it does not, or where it would swallow what looks like rows, the first line is malformed
    and the others are read again.
    """
    number, text = first
    fields, taken = _read_on(lines, text, delimiter)
    n_field = len(fields)
    if taken and fields:
        alone = _are_rows([text, *(line for _, line in taken)], delimiter, n_column or n_field)
        if n_field == (n_column or n_field) and not alone:
            whole = "\0" not in "".join(fields)
            return _Row(number, fields, None if whole else _NUL)
    lines.put_back(taken)
    written = text.split(delimiter)
    where = f"a quote opens field {len(split_line(text, delimiter)[0])}"
    if not fields:
        return _Row(number, written, f"{where} and does not close it")
    last = taken[-1][0]
    false_ends.update((line, number) for line, other in taken if '"' in other)
    return _Row(number, written, f"{where} and closes on line {last}, but that makes no row")


def _read_on(
    lines: NumberedLines, text: str, delimiter: str
) -> tuple[list[str], list[tuple[int, str]]]:
    """The fields of a row that goes over several lines, and the lines behind its first.

    There are no fields where its quoted field does not close.
    """
    fields, is_open = split_line(text, delimiter)
    pieces = [fields.pop()]
    taken: list[tuple[int, str]] = []
    for line in itertools.islice(lines, MAX_CELL_LINES):
        taken.append(line)
        more, is_open = split_line(line[1], delimiter, inside=True)
        if not more:
            break
        pieces.append(more[0])
        if len(more) > 1 or not is_open:
            fields.append("\n".join(pieces))
            fields += more[1:]
            pieces = [fields.pop()] if is_open else []
        if not is_open:
            return fields, taken
    return [], taken


def _are_rows(lines: list[str], delimiter: str, n_column: int) -> bool:
    """Whether lines that a quote joins look like rows, so that it was a quote too many.

    A delimiter before a blank is taken for prose.
    """
    delimiters = re.compile(re.escape(delimiter) + "(?! )")
    full = [len(delimiters.findall(text)) + 1 >= n_column for text in lines]
    swallowed = [full[k] and '"' not in lines[k] for k in range(1, len(lines) - 1)]
    return any(swallowed) or (full[0] and full[-1])


def split_line(text: str, delimiter: str, inside: bool = False) -> tuple[list[str], bool]:
    """The fields of one line, and whether the last is between quotes and goes on.

    With ``inside`` the line begins in a quoted field; where that ends amid a word, there are no
    fields.
    """
    fields: list[str] = []
    position = 0
    if inside:
        value, end = _quoted(text, 0, delimiter)
        if end is None:
            return [], True
    else:
        value, end = _field(text, 0, delimiter)
    while True:
        fields.append(value)
        if end == _OPEN:
            return fields, True
        if end == len(text):
            return fields, False
        position = end + len(delimiter)
        value, end = _field(text, position, delimiter)


def _field(text: str, start: int, delimiter: str) -> tuple[str, int]:
    """The field at a position and where it ends.

    A quote that does not enclose a whole field stands for itself.
    """
    opening = start
    while delimiter != " " and text.startswith(" ", opening):
        opening += 1
    if text.startswith('"', opening):
        value, end = _quoted(text, opening + 1, delimiter)
        if end is not None:
            return value, end
    end = text.find(delimiter, start)
    end = len(text) if end < 0 else end
    return text[start:end], end


def _quoted(text: str, start: int, delimiter: str) -> tuple[str, int | None]:
    """A field from behind its quote and where it ends: _OPEN, or None where it ends amid a word."""
    inside = _INSIDE.match(text, start)
    if inside is None:
        return text[start:].replace('""', '"'), _OPEN
    end = inside.end()
    while delimiter != " " and text.startswith(" ", end):
        end += 1
    if end != len(text) and not text.startswith(delimiter, end):
        return "", None
    return inside[1].replace('""', '"'), end
