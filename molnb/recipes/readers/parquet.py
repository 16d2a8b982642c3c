"""Rows of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import InputError
from .record import ROWS_PER_GROUP, Record


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {error}") from None


def _parquet_records(path: Path, columns: list[str] | None) -> Iterator[Record]:
    for batch in _parquet(path).iter_batches(batch_size=ROWS_PER_GROUP, columns=columns):
        for fields in batch.to_pylist():
            yield Record(None, fields)
