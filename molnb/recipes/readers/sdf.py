"""Records of SDF and mol files, also of mol files written one behind the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .archives import Member
from .lines import read_lines
from .record import Record

# "> <NAME>", also with a record number before or behind. A value may begin with ">" too, as in
# ">10": where no blank line stands before, only the plain form is a header.
_HEADER = re.compile(r">(?!>)[^<>]*<(.+)>\s*(?:\([^()]*\)|\d+|DT\d+)?\s*")
_PLAIN_HEADER = re.compile(r">\s*(?:\d+\s*|\([^()<>]*\)\s*)?<([^<>]+)>\s*(?:\([^()]*\))?\s*")
_NUMBERED = re.compile(r">\s+(DT\d+)\s*")
# "  3  2  0 ...  0999 V2000"; of fewer numbers it may be a title or a value.
_COUNTS = re.compile(r"\s*\d+(?:\s+\d+){2,}\D*V[23]000\s*")
_END = "M  END"


def sdf_records(path: Path | Member, with_stem: bool = False) -> Iterator[Record]:
    """Every mol block of a file, with its properties; what is between them and no property too.

    The column ``name`` is the property of that name, or else the title, or else, ``with_stem``, the
    name of the file.
    """
    n_record = 0
    for record in _records(path):
        n_record += 1
        if with_stem and not record.fields.get("name"):
            stem = path.name.split(".")[0]
            record.fields["name"] = stem if n_record == 1 else f"{stem} {n_record}"
        yield record


def sdf_columns(path: Path | Member) -> list[str]:
    """Names of all properties that any record has, and ``name`` where one has a title."""
    names: dict[str, None] = {}
    for record in sdf_records(path):
        for name, value in record.fields.items():
            if name != "name" or value:
                names[name] = None
    return list(names)


def _records(path: Path | Member) -> Iterator[Record]:
    """Records end at ``$$$$``; where it is missing, at the next mol block."""
    lines: list[str] = []
    start = 1  # number of the first of them
    has_counts = False
    for number, text in enumerate(read_lines(path), 1):
        if text.startswith("$$$$"):
            yield from _block_records(start, lines or [""])
            lines = []
            start = number + 1
            has_counts = False
            continue
        lines.append(text)
        if _is_counts(text):
            # Where four lines are all there is, the first is a title that looks like counts.
            if has_counts and len(lines) > 4 and not _is_value(lines):
                before, lines = _cut_before_header(lines)
                yield from _block_records(start, before)
                start = number + 1 - len(lines)
            has_counts = True
    if any(text.strip() for text in lines):
        yield from _block_records(start, lines)


def _is_counts(text: str) -> bool:
    """Whether a line states the numbers of atoms and bonds, the fourth of a mol block."""
    return ("V2000" in text or "V3000" in text) and _COUNTS.fullmatch(text) is not None


def _is_value(lines: list[str]) -> bool:
    """Whether the mol block whose counts line comes last is the value of a property."""
    return len(lines) > 4 and _PLAIN_HEADER.fullmatch(lines[-5]) is not None


def _cut_before_header(lines: list[str]) -> tuple[list[str], list[str]]:
    """Lines up to the three before a counts line, and those; a block may have fewer of them.

    Where files without a last line end were joined, the title stands behind ``M  END``.
    """
    cut = len(lines) - 4
    ends = [k for k in range(cut, len(lines)) if lines[k].startswith(_END)]
    if not ends:
        return lines[:cut], lines[cut:]
    end = ends[-1]
    title = lines[end][len(_END) :]
    header = lines[end + 1 : -1]
    missing = [""] * (2 - len(header))
    return [*lines[:end], _END], [title, *missing, *header, lines[-1]]


# ------------------------------------------------------------------------------ one mol block


def _block_records(start: int, lines: list[str]) -> Iterator[Record]:
    """The record of one mol block; further ones for text before and behind it that is lost.

    Text before the first block of a file is a heading.
    """
    n_before = _lines_before(lines)
    heading = [k for k, text in enumerate(lines[:n_before]) if text.strip()]
    if heading and start > 1:
        yield _malformed(start + heading[0], lines[heading[0]], "text before the mol block")
    lines = lines[n_before:]
    start += n_before
    end = next((k for k, text in enumerate(lines, 1) if text.startswith(_END)), None)
    title = lines[0].strip()
    molblock = "\n".join(lines[:end]) + "\n"
    fields: dict[str, Any] = {"name": title or None}
    if end is None:
        is_empty = not any(text.strip() for text in lines)
        problem = "an empty record" if is_empty else "no 'M  END' in the record"
        yield Record(start, fields, problem, molblock)
        return
    properties, lost, n_read = _properties(lines, end)
    if title and properties.get("name"):
        fields["title"] = title
    properties["name"] = properties.get("name") or fields["name"]
    problem = "a NUL character stands in the record" if "\0" in molblock else None
    yield Record(start, fields | properties, problem, molblock)
    while lost is not None:  # a damaged block, and what is lost behind it
        problem = "text that is neither a mol block nor a property"
        yield _malformed(start + end + lost, lines[end + lost], problem)
        end += n_read
        _, lost, n_read = _properties(lines, end)


def _lines_before(lines: list[str]) -> int:
    """How many lines stand before the title of a block, which is three before its counts."""
    for k, text in enumerate(lines):
        if _is_counts(text):
            return max(k - 3, 0)
        if text.startswith(_END):
            break
    return 0


def _malformed(line: int, text: str, problem: str) -> Record:
    return Record(line, {"name": None}, f"{problem}: {text.strip()[:60]!r}")


def _properties(lines: list[str], start: int) -> tuple[dict[str, Any], int | None, int]:
    """The values by name, the first line that is lost, as no value, and how many lines were read.

    Lines are read, and counted, from ``start`` on. A value ends at a blank line; lines behind it
    that are no header belong to it nevertheless. A second ``M  END`` shows that they are a damaged
    mol block, and what follows belongs to that.
    """
    values: list[tuple[str, list[str]]] = []
    lost: int | None = None
    behind_blank = True
    in_block = False  # a mol block that is a value
    for k in range(len(lines) - start):
        text = lines[start + k]
        is_end = text.startswith(_END)
        header = None if in_block else _header(text, behind_blank)
        if header is not None:
            values.append((header, []))
        elif is_end and not in_block:
            n_lost = _take_off_block(values)
            lost = k - n_lost if lost is None else lost
            return _joined_values(values), lost, k + 1
        elif values:
            in_block = not is_end if in_block else _is_counts(text)
            values[-1][1].append(text.rstrip())
        elif text.strip() and lost is None:
            lost = k
        behind_blank = not text.strip()
    return _joined_values(values), lost, len(lines) - start


def _take_off_block(values: list[tuple[str, list[str]]]) -> int:
    """Take a damaged mol block, all behind a blank line, off the last value; how many lines."""
    if not values:
        return 0
    value = values[-1][1]
    n_own = next((k for k, text in enumerate(value) if not text), len(value))
    n_block = len(value[n_own:]) - next((k for k, text in enumerate(value[n_own:]) if text), 0)
    del value[n_own:]
    return n_block


def _header(text: str, behind_blank: bool) -> str | None:
    """The name in the header of a property; None for any other line."""
    if not text.startswith(">"):
        return None
    header = (_HEADER if behind_blank else _PLAIN_HEADER).fullmatch(text)
    if header is None and behind_blank:
        header = _NUMBERED.fullmatch(text)
    return header[1] if header else None


def _joined_values(values: list[tuple[str, list[str]]]) -> dict[str, Any]:
    """Properties by name; of one that stands twice with two values, both count."""
    properties: dict[str, Any] = {}
    for name, value in values:
        text = "\n".join(value).strip()
        if properties.get(name) and text and text != properties[name]:
            text = f"{properties[name]}\n{text}"
        properties[name] = text or properties.get(name) or ""
    return properties
