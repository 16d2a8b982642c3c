"""Records of SDF files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .record import Record
from .text import open_text

# "> <NAME>", also with a record number before or behind. A value may begin with ">", as in ">10".
_HEADER = re.compile(r">[^<]*<(.*)>")


def sdf_records(path: Path) -> Iterator[Record]:
    """Every record of an SDF file: its mol block, its title as ``name``, and its properties."""
    with open_text(path) as file:
        lines: list[str] = []
        start = 1
        for number, text in enumerate(file, 1):
            if text.startswith("$$$$"):
                yield _make_record(start, lines)
                lines = []
                start = number + 1
            else:
                lines.append(text.rstrip("\r\n"))
        if any(text.strip() for text in lines):
            yield _make_record(start, lines)


def sdf_columns(path: Path) -> list[str]:
    """Names of all properties that any record has, and ``name``, in the order of appearance."""
    names: dict[str, None] = {}
    for record in sdf_records(path):
        names |= dict.fromkeys(record.fields)
    names.pop("molblock", None)
    return list(names)


def _make_record(start: int, lines: list[str]) -> Record:
    """One SDF record: the mol block up to ``M  END``, then the properties."""
    end = next((i + 1 for i, text in enumerate(lines) if text.startswith("M  END")), None)
    title = lines[0].strip() if lines else ""
    fields: dict[str, Any] = {"molblock": "\n".join(lines[:end]) + "\n", "name": title or None}
    if end is None:
        return Record(start, fields, "no 'M  END' in the record")
    return Record(start, fields | _properties(lines[end:]))


def _properties(lines: list[str]) -> dict[str, str]:
    """Values by name; a value goes on to the next blank line, and keeps all its lines."""
    properties: dict[str, str] = {}
    name = None
    value: list[str] = []
    for text in [*lines, ""]:
        header = _HEADER.match(text)
        if value and (header or not text.strip()):
            properties[name] = "\n".join(value).strip()
            name = None
            value = []
        if header:
            name = header[1]
        elif name is not None and text.strip():
            value.append(text.rstrip())
    return properties
