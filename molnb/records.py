"""Read the rows of SMI, CSV, TSV, SDF and Parquet files one by one, with the line each starts on."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import Refused
from .recipes import Source

ROWS_PER_GROUP = 1024  # of the Parquet files that slices are read from
FORMATS = {".smi": "smi", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "csv",
           ".sdf": "sdf", ".sd": "sdf", ".parquet": "parquet", ".pq": "parquet"}  # fmt: skip


class Record(NamedTuple):
    """One data row: the line it starts on (1-based, None where there are no lines), its fields, what is wrong."""

    line: int | None
    fields: dict[str, Any]
    problem: str | None = None


def file_format(source: Source) -> str:
    """The format of a source: as declared, or by the ending of its file (``.gz`` after it is fine)."""
    if source.format is not None:
        return source.format
    name = Path(source.file or source.url).name.lower().removesuffix(".gz")
    ending = Path(name).suffix
    if ending not in FORMATS:
        raise Refused(
            f"{name}: the ending '{ending}' tells no format; known: {', '.join(FORMATS)} (or set source.format)."
        )
    return FORMATS[ending]


def _open_text(path: Path) -> io.TextIOBase:
    # utf-8-sig: spreadsheets write a byte order mark. A byte that is no UTF-8 must not stop the other rows.
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def records(source: Source, path: Path, columns: list[str] | None = None) -> Iterator[Record]:
    """Every data row of a file, in its order; blank lines are no rows. ``columns`` spares a Parquet file the others."""
    kind = file_format(source)
    if kind == "smi":
        return _smi_records(path)
    if kind == "sdf":
        return _sdf_records(path)
    if kind == "parquet":
        return _parquet_records(path, columns)
    return _csv_records(source, path, kind)


def column_names(source: Source, path: Path) -> list[str]:
    """The columns of a file: from its header, the schema, or the properties of an SDF's records."""
    kind = file_format(source)
    if kind == "smi":
        return ["smiles", "name"]
    if kind == "parquet":
        return list(_parquet(path).schema_arrow.names)
    if kind == "sdf":
        return list(
            dict.fromkeys(name for record in _sdf_records(path) for name in record.fields if name != "molblock")
        )
    with _open_text(path) as file:
        return _csv_header(source, path, file, kind)[0]


def _smi_records(path: Path) -> Iterator[Record]:
    with _open_text(path) as file:
        for line, text in enumerate(file, 1):
            if parts := text.split(None, 1):
                yield Record(line, {"smiles": parts[0], "name": parts[1].strip() if len(parts) > 1 else None})


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
        raise Refused(f"{path} is empty: 0 rows. Give a file with at least one molecule.")
    if source.header is True:
        names, rows = [name.strip() for name in peeked], reader
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise Refused(
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
                wrong = None if len(row) == len(names) else f"{len(row)} fields where the header has {len(names)}"
                yield Record(before + 1, dict(zip(names, row, strict=False)), wrong)
            before = reader.line_num


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


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise Refused(f"{path} is not a readable Parquet file: {error}") from None


def _parquet_records(path: Path, columns: list[str] | None) -> Iterator[Record]:
    for batch in _parquet(path).iter_batches(batch_size=ROWS_PER_GROUP, columns=columns):
        for fields in batch.to_pylist():
            yield Record(None, fields)
