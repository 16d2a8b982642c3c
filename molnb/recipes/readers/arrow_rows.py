"""Rows of an Arrow batch whose cells become Python objects only where somebody looks at them.

A table of a thousand columns of numbers passes through as Arrow columns (`whole_batch`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from .array_table import text_or_bytes
from .record import Record


class BatchColumns:
    """The columns of one batch, each made into Python objects when it is first asked for."""

    def __init__(self, batch: pa.RecordBatch):
        self.batch = batch
        self.names = batch.schema.names
        self._places = {name: place for place, name in enumerate(self.names)}
        self._values: dict[str, list] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def array(self, name: str) -> pa.Array:
        """A column as Arrow has it."""
        return self.batch.column(self._places[name])

    def values(self, name: str) -> list:
        """A column as Python objects; bytes that are text are so, as some programs write it."""
        if name not in self._values:
            values = self.array(name).to_pylist()
            self._values[name] = [
                text_or_bytes(value) if isinstance(value, bytes) else value for value in values
            ]
        return self._values[name]


class BatchRow(Mapping):
    """The fields of one row of a batch, by column."""

    __slots__ = ("columns", "place")

    def __init__(self, columns: BatchColumns, place: int):
        self.columns = columns
        self.place = place

    def __getitem__(self, name: str) -> Any:
        if name not in self.columns:
            raise KeyError(name)
        return self.columns.values(name)[self.place]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns.names)

    def __len__(self) -> int:
        return len(self.columns.names)


def batch_records(batch: pa.RecordBatch) -> Iterator[Record]:
    """Every row of a batch."""
    columns = BatchColumns(batch)
    for place in range(batch.num_rows):
        yield Record(None, BatchRow(columns, place))


def whole_batch(fields: Sequence[Mapping[str, Any]]) -> BatchColumns | None:
    """The batch of which some rows are all, in its order; None where they are of no one batch."""
    first = fields[0] if fields else None
    if not isinstance(first, BatchRow) or len(fields) != first.columns.batch.num_rows:
        return None
    in_order = (
        isinstance(row, BatchRow) and row.columns is first.columns and row.place == place
        for place, row in enumerate(fields)
    )
    return first.columns if all(in_order) else None
