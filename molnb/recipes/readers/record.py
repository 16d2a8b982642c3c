"""One row of a source, and the formats that are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InputError
from ..schema import Source

ROWS_PER_GROUP = 1024  # of the Parquet files that slices are read from
FORMATS = {".smi": "smi", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "csv",
           ".sdf": "sdf", ".sd": "sdf", ".parquet": "parquet", ".pq": "parquet"}  # fmt: skip


class Record(NamedTuple):
    """One data row: the line it starts on, its fields by column, and what is wrong with it."""

    line: int | None  # 1-based; None in a file without lines
    fields: dict[str, Any]
    problem: str | None = None


def file_format(source: Source) -> str:
    """The format of a source: as declared, or by the ending of its file, also before ``.gz``."""
    if source.format is not None:
        return source.format
    name = Path(source.file or source.url).name.lower().removesuffix(".gz")
    ending = Path(name).suffix
    if ending not in FORMATS:
        raise InputError(
            f"{name}: the ending '{ending}' tells no format; known: {', '.join(FORMATS)} "
            "(or set source.format)."
        )
    return FORMATS[ending]
