"""Read the rows of SMI, CSV, TSV, SDF and Parquet files one by one, each with its first line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..schema import Source
from .parquet import open_parquet, parquet_records
from .record import Record, file_format
from .sdf import sdf_columns, sdf_records
from .text import csv_columns, csv_records, smi_records


def read_records(source: Source, path: Path, columns: list[str] | None = None) -> Iterator[Record]:
    """Every data row of a file, in its order; blank lines are no rows.

    ``columns`` spares a Parquet file the reading of the others.
    """
    kind = file_format(source)
    if kind == "smi":
        return smi_records(path)
    if kind == "sdf":
        return sdf_records(path)
    if kind == "parquet":
        return parquet_records(path, columns)
    return csv_records(source, path, kind)


def column_names(source: Source, path: Path) -> list[str]:
    """The columns of a file: from its header, its schema, or the properties of all SDF records."""
    kind = file_format(source)
    if kind == "smi":
        return ["smiles", "name"]
    if kind == "parquet":
        return list(open_parquet(path).schema_arrow.names)
    if kind == "sdf":
        return sdf_columns(path)
    return csv_columns(source, path, kind)
