"""Records of SDF files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .record import Record
from .text import _open_text


def _sdf_records(path: Path) -> Iterator[Record]:
    with _open_text(path) as file:
        lines: list[str] = []
        first = 1
        for number, text in enumerate(file, 1):
            if text.startswith("$$$$"):
                yield _sdf_record(first, lines)
                lines, first = [], number + 1
            else:
                lines.append(text.rstrip("\r\n"))
        if any(text.strip() for text in lines):
            yield _sdf_record(first, lines)


def _sdf_record(first: int, lines: list[str]) -> Record:
    """One SDF record: the mol block up to ``M  END``, then ``> <NAME>`` followed by its value."""
    end = next((i + 1 for i, text in enumerate(lines) if text.startswith("M  END")), None)
    title = lines[0].strip() if lines else ""
    fields: dict[str, Any] = {"molblock": "\n".join(lines[:end]) + "\n", "name": title or None}
    name = None
    for text in lines[end:] if end else []:
        if text.startswith(">"):
            name = text[text.find("<") + 1 : text.rfind(">")] if "<" in text else None
        elif name is not None and text.strip():
            fields[name] = text.strip()
            name = None
    return Record(first, fields, None if end else "no 'M  END' in the record")
