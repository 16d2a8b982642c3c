"""Read the rows of SMI, CSV, TSV, SDF and Parquet files one by one, with the line each starts
on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..schema import Source
from .parquet import _parquet, _parquet_records
from .record import Record, file_format
from .sdf import _sdf_records
from .text import _csv_header, _csv_records, _open_text, _smi_records


def read_records(source: Source, path: Path, columns: list[str] | None = None) -> Iterator[Record]:
    """Every data row of a file, in its order; blank lines are no rows. ``columns`` spares a
    Parquet file the others.
    """
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
            dict.fromkeys(
                name
                for record in _sdf_records(path)
                for name in record.fields
                if name != "molblock"
            )
        )
    with _open_text(path) as file:
        return _csv_header(source, path, file, kind)[0]
