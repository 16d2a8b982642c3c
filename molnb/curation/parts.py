"""The parts of shards, read one at a time: columns, and list columns as flat numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def read_parts(parts: Sequence[Path], columns: list[str]) -> Iterator[pa.Table]:
    """Some columns of each part in turn, so that memory stays small however many there are."""
    for path in parts:
        with pq.ParquetFile(path) as file:  # read_table takes three times as long for a small file
            yield file.read(columns=columns).combine_chunks()


def flat_values(table: pa.Table, column: str) -> np.ndarray:
    """The numbers of a list column, one after another."""
    return table.column(column).combine_chunks().flatten().to_numpy(zero_copy_only=False)


def list_lengths(table: pa.Table, column: str) -> np.ndarray:
    """How many numbers each row of a list column holds; 0 for a null."""
    lengths = pc.list_value_length(table.column(column))
    return pc.fill_null(lengths, 0).to_numpy().astype(np.int64)
