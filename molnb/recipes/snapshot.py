"""The rows of a source as one Parquet file, labels as numbers: what curation works from."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from .readers import column_names, read_records
from .readers.record import (
    OWN_STRUCTURES,
    ROWS_PER_GROUP,
    Record,
    file_format,
    record_structure,
)
from .schema import Recipe, Source
from .sources import LocatedSource, join_path, refuse_missing_columns, source_path


class JoinedTable(NamedTuple):
    """A second table by its key; of rows with an equal key the first counts."""

    rows: dict[str, dict[str, Any]]
    n_repeated: int  # rows whose key stood in an earlier row


def write_snapshot(recipe: Recipe, located: LocatedSource, path: Path) -> dict[str, Any]:
    """Stream a source into one normalised Parquet file at ``path``; returns what was counted.

    A label that is empty, NaN or no number is null and counted by its reason. Rows of a joined
    table that are not used, because their key stood before, are counted too. Raises InputError
    when a column is missing or there are no rows.
    """
    source = located.source
    file = source_path(source, located.folder)
    table = _read_joined_table(recipe, located) if source.join is not None else None
    columns = _source_columns(recipe, source)
    refuse_missing_columns(file, columns, column_names(source, file))
    missing: dict[str, Counter] = {label.name: Counter() for label in recipe.source_labels}
    schema = snapshot_schema(recipe)
    n_row = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        records = enumerate(read_records(source, file, columns))
        while batch := list(itertools.islice(records, ROWS_PER_GROUP)):
            rows = [_snapshot_row(row, record, recipe, table, missing) for row, record in batch]
            writer.write_table(pa.Table.from_pylist(rows, schema))
            n_row += len(batch)
    if n_row == 0:
        raise InputError(f"{file} is empty: 0 rows. Give a file with at least one molecule.")
    counts = {"rows": n_row, "missing": {name: dict(count) for name, count in missing.items()}}
    if table is not None:
        counts["repeated_join_keys"] = table.n_repeated
    return counts


def snapshot_schema(recipe: Recipe) -> pa.Schema:
    """Columns of the snapshot: what a row is and where it stood, then its labels as numbers."""
    row = [
        ("row", pa.int64()),
        ("line", pa.int64()),
        ("id", pa.string()),
        ("structure", pa.string()),
        ("problem", pa.string()),
    ]
    return pa.schema(row + [(label.name, pa.float64()) for label in recipe.source_labels])


def _source_columns(recipe: Recipe, source: Source) -> list[str]:
    """The columns that are read of the source itself."""
    columns = [recipe.columns.smiles] if recipe.columns.smiles else []
    # Records of an SDF need not all have a property.
    if recipe.columns.id and file_format(source) not in OWN_STRUCTURES:
        columns.append(recipe.columns.id)
    if source.join is not None:
        return [*columns, source.join.key]
    return columns + [label.column for label in recipe.source_labels]


def _read_joined_table(recipe: Recipe, located: LocatedSource) -> JoinedTable:
    join = located.source.join
    path = join_path(located.source, located.folder)
    source = Source(kind="file", file=str(path), format=join.format)
    columns = [join.column, *(label.column for label in recipe.source_labels)]
    refuse_missing_columns(path, columns, column_names(source, path))
    rows: dict[str, dict[str, Any]] = {}
    n_row = 0
    for record in read_records(source, path):
        rows.setdefault(str(record.fields.get(join.column)), record.fields)
        n_row += 1
    return JoinedTable(rows, n_row - len(rows))


def _snapshot_row(
    row: int,
    record: Record,
    recipe: Recipe,
    table: JoinedTable | None,
    missing: dict[str, Counter],
) -> dict[str, Any]:
    """One row as the snapshot has it; labels without a value are counted in ``missing``."""
    fields = record.fields
    structure, problem = record_structure(record, recipe.columns.smiles)
    identifier = fields.get(recipe.columns.id or "name")
    columns = {
        "row": row,
        "line": record.line,
        "id": None if identifier is None else str(identifier),
        "structure": structure,
        "problem": problem,
    }
    values = fields
    if table is not None:
        values = table.rows.get(str(fields.get(recipe.source.join.key)), {})
    for label in recipe.source_labels:
        value, reason = read_number(values.get(label.column))
        if reason is not None and table is not None and not values:
            reason = "no row in the joined table"
        if reason is not None:
            missing[label.name][reason] += 1
        columns[label.name] = None if value is None else value * label.scale
    return columns


def read_number(value: Any) -> tuple[float | None, str | None]:
    """A label's value as a finite number, or None and why there is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None, "empty"
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None, "not a number"
    return (number, None) if math.isfinite(number) else (None, "NaN or infinite")
