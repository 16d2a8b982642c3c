"""Rows of SMI, CSV and TSV files."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..schema import Source
from .record import Record


def open_text(path: Path) -> io.TextIOBase:
    """A text file to read, unpacked where its name ends in .gz."""
    # utf-8-sig: spreadsheets write a byte order mark. A byte that is no UTF-8 must not stop the
    # other rows.
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def smi_records(path: Path) -> Iterator[Record]:
    """Every line of a SMILES file: ``smiles``, and ``name``, which is all that follows it."""
    with open_text(path) as file:
        for line, text in enumerate(file, 1):
            if words := text.split(None, 1):
                name = words[1].strip() if len(words) > 1 else None
                yield Record(line, {"smiles": words[0], "name": name})


def csv_columns(source: Source, path: Path, kind: str) -> list[str]:
    """The columns of a CSV or TSV file."""
    with open_text(path) as file:
        names, _ = _open_csv(source, path, file, kind)
    return names


def csv_records(source: Source, path: Path, kind: str) -> Iterator[Record]:
    """Every row of a CSV or TSV file; one that has too few or too many fields says so."""
    with open_text(path) as file:
        names, reader = _open_csv(source, path, file, kind)
        lines_before = reader.line_num
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:  # a quote that never closes swallows up to the field limit
                yield Record(lines_before + 1, {}, f"unreadable line ({error})")
                lines_before = reader.line_num
                continue
            if row is None:
                return
            if row:
                problem = None
                if len(row) != len(names):
                    problem = f"{len(row)} fields where the header has {len(names)}"
                yield Record(lines_before + 1, dict(zip(names, row, strict=False)), problem)
            lines_before = reader.line_num


def _open_csv(source: Source, path: Path, file: io.TextIOBase, kind: str) -> tuple[list[str], Any]:
    """The names of the columns, and a reader that stands before the first row of data."""
    start = file.tell()
    line = file.readline()
    file.seek(start)
    delimiter = source.delimiter or ("\t" if kind == "tsv" else max(",;\t", key=line.count))
    reader = csv.reader(file, delimiter=delimiter)
    first_row = next((row for row in reader if row), None)
    if first_row is None:
        raise InputError(f"{path} is empty: 0 rows. Give a file with at least one molecule.")
    if source.header is True:
        names = [name.strip() for name in first_row]
        _refuse_repeated(path, names)
        return names, reader
    file.seek(start)
    reader = csv.reader(file, delimiter=delimiter)
    names = source.header or [f"column_{i}" for i in range(1, len(first_row) + 1)]
    return names, reader


def _refuse_repeated(path: Path, names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(
                f"{path}: column '{name}' stands {count} times in the header; rename one."
            )
