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


def _open_text(path: Path) -> io.TextIOBase:
    # utf-8-sig: spreadsheets write a byte order mark. A byte that is no UTF-8 must not stop the
    # other rows.
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _smi_records(path: Path) -> Iterator[Record]:
    with _open_text(path) as file:
        for line, text in enumerate(file, 1):
            if parts := text.split(None, 1):
                yield Record(
                    line, {"smiles": parts[0], "name": parts[1].strip() if len(parts) > 1 else None}
                )


def _csv_header(
    source: Source, path: Path, file: io.TextIOBase, kind: str
) -> tuple[list[str], Iterator[list[str]], Any]:
    start = file.tell()
    first = file.readline()
    file.seek(start)
    delimiter = source.delimiter or ("\t" if kind == "tsv" else max(",;\t", key=first.count))
    reader = csv.reader(file, delimiter=delimiter)
    peeked = next((row for row in reader if row), None)
    if peeked is None:
        raise InputError(f"{path} is empty: 0 rows. Give a file with at least one molecule.")
    if source.header is True:
        names, rows = [name.strip() for name in peeked], reader
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise InputError(
                f"{path}: column '{twice[0]}' stands {names.count(twice[0])} times in the header; rename one."
            )
    else:
        file.seek(start)
        reader = csv.reader(file, delimiter=delimiter)
        names = source.header or [f"column_{i}" for i in range(1, len(peeked) + 1)]
        rows = reader
    return names, rows, reader


def _csv_records(source: Source, path: Path, kind: str) -> Iterator[Record]:
    with _open_text(path) as file:
        names, rows, reader = _csv_header(source, path, file, kind)
        before = reader.line_num
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:  # a quote that never closes swallows up to the field limit
                yield Record(before + 1, {}, f"unreadable line ({error})")
                before = reader.line_num
                continue
            if row is None:
                return
            if row:
                wrong = (
                    None
                    if len(row) == len(names)
                    else f"{len(row)} fields where the header has {len(names)}"
                )
                yield Record(before + 1, dict(zip(names, row, strict=False)), wrong)
            before = reader.line_num
