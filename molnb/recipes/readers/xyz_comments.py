"""Comments of XYZ frames that are lists of numbers, as QM7b and QM9 have them: columns by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from .record import Record


def comment_columns(header: bool | list[str]) -> list[str]:
    """The columns that a header of names makes of a comment's words."""
    return header if isinstance(header, list) else []


def named_words(
    records: Iterable[Record], path: Path, header: bool | list[str]
) -> Iterator[Record]:
    """Frames whose comments hold a word for each name of a header; without names, as they are.

    Such a frame is named after the file and its number. Another number of words is a malformed row.
    """
    names = comment_columns(header)
    stem = path.name.split(".")[0]
    for number, record in enumerate(records, 1):
        if not names or record.problem is not None:
            yield record
            continue
        words = str(record.fields["name"]).split()
        fields = {"name": f"{stem} {number}"}
        if len(words) != len(names):
            problem = f"{len(words)} words in the comment where the header names {len(names)}"
            yield record._replace(fields=fields, problem=problem)
            continue
        yield record._replace(fields=fields | dict(zip(names, words, strict=True)))
