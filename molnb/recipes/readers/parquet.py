"""Rows of Parquet files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import InputError
from .archives import Member, on_disk
from .arrow_rows import batch_records
from .record import ROWS_PER_GROUP, Record


def open_parquet(path: Path | Member) -> pq.ParquetFile:
    """A Parquet file to read from; raises InputError where it is none."""
    try:
        return pq.ParquetFile(on_disk(path))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {error}") from None


def parquet_columns(path: Path | Member) -> list[str]:
    """The columns of a Parquet file; raises InputError where two bear one name."""
    names = list(open_parquet(path).schema_arrow.names)
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(
                f"{path}: {count} columns are named '{name}'; rename all but one, or leave them out"
            )
    return names


def parquet_records(path: Path | Member, columns: list[str] | None) -> Iterator[Record]:
    """Every row of a Parquet file, with these columns or with all; lists are lists."""
    batches = open_parquet(path).iter_batches(batch_size=ROWS_PER_GROUP, columns=columns)
    for batch in batches:
        yield from batch_records(batch)
