"""Read the rows of text tables, structure files, workbooks and folders, each with its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..source_schema import Source
from .collection import folder_columns, folder_records
from .delimited import csv_columns, csv_records
from .parquet import parquet_columns, parquet_records
from .record import Record, file_format
from .sdf import sdf_columns, sdf_records
from .smi import smi_columns, smi_records
from .workbook import workbook_columns, workbook_records
from .xyz import xyz_records
from .xyz_comments import comment_columns, named_words


def read_records(source: Source, path: Path, columns: list[str] | None = None) -> Iterator[Record]:
    """Every data row of a file, in its order; blank lines are no rows.

    ``columns`` spares a Parquet file the reading of the others.
    """
    kind = file_format(source)
    if kind == "parquet":
        return parquet_records(path, columns)
    if kind in ("csv", "tsv"):
        return csv_records(source, path, kind)
    if kind == "mol":
        return sdf_records(path, with_stem=True)
    if kind == "xyz":
        return named_words(xyz_records(path), path, source.header)
    read = {
        "smi": smi_records,
        "sdf": sdf_records,
        "folder": folder_records,
        "xlsx": workbook_records,
    }
    return read[kind](path)


def column_names(source: Source, path: Path) -> list[str]:
    """The columns of a file: from its header, its schema, or the properties of all records."""
    kind = file_format(source)
    if kind == "parquet":
        return parquet_columns(path)
    if kind in ("csv", "tsv"):
        return csv_columns(source, path, kind)
    if kind == "xyz":
        return ["name", *comment_columns(source.header)]
    if kind == "mol":
        return list(dict.fromkeys(["name", *sdf_columns(path)]))
    read = {
        "smi": smi_columns,
        "sdf": sdf_columns,
        "folder": folder_columns,
        "xlsx": workbook_columns,
    }
    return read[kind](path)
