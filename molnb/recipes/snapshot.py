"""The rows of a source as one Parquet file, labels as numbers: what curation works from."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from .readers import column_names, read_records
from .readers.record import ROWS_PER_GROUP, Record, file_format
from .schema import Join, Label, Recipe, Source
from .sources import LocatedSource, _refuse_missing, join_path, source_path

# ----------------------------------------------------------------------------------------------------- snapshot


def write_snapshot(recipe: Recipe, found: LocatedSource, path: Path) -> dict[str, Any]:
    """Stream a source into one normalised Parquet file at ``path``; returns what was counted.

    A label that is empty, NaN or no number is null and counted by its reason. Raises InputError
    when a column is missing or there are no rows.
    """
    file = source_path(found.source, found.folder)
    columns = [label for label in recipe.labels if label.column is not None]
    side = _side_table(found, columns) if found.source.join is not None else None
    wanted = _wanted_columns(recipe, found, side)
    _refuse_missing(file, wanted, column_names(found.source, file))
    counts: dict[str, Counter] = {label.name: Counter() for label in columns}
    schema = snapshot_schema(recipe)
    n = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        rows = enumerate(read_records(found.source, file, wanted))
        while batch := list(itertools.islice(rows, ROWS_PER_GROUP)):
            prepared = [
                _snapshot_row(row, record, recipe, columns, side, counts) for row, record in batch
            ]
            writer.write_table(pa.Table.from_pylist(prepared, schema))
            n += len(batch)
    if n == 0:
        raise InputError(f"{file} is empty: 0 rows. Give a file with at least one molecule.")
    return {"rows": n, "missing": {name: dict(count) for name, count in counts.items()}}


def snapshot_schema(recipe: Recipe) -> pa.Schema:
    """Columns of the snapshot: row, line, id, structure, problem, then a column for each label
    of the file.
    """
    text = [("id", pa.string()), ("structure", pa.string()), ("problem", pa.string())]
    labels = [(label.name, pa.float64()) for label in recipe.labels if label.column is not None]
    return pa.schema([("row", pa.int64()), ("line", pa.int64()), *text, *labels])


def _wanted_columns(recipe: Recipe, found: LocatedSource, side: dict | None) -> list[str]:
    wanted = [recipe.columns.smiles] if recipe.columns.smiles else []
    if recipe.columns.id and file_format(found.source) != "sdf":
        wanted.append(recipe.columns.id)
    if side is None:
        return wanted + [label.column for label in recipe.labels if label.column is not None]
    return [*wanted, found.source.join.key]


def _side_table(found: LocatedSource, labels: list[Label]) -> dict[str, dict]:
    """The joined table by its key; the first row of a key counts."""
    join: Join = found.source.join
    path = join_path(found.source, found.folder)
    source = Source(kind="file", file=str(path), format=join.format)
    _refuse_missing(
        path, [join.column, *(label.column for label in labels)], column_names(source, path)
    )
    table: dict[str, dict] = {}
    for record in read_records(source, path):
        table.setdefault(str(record.fields.get(join.column)), record.fields)
    return table


def _snapshot_row(
    row: int,
    record: Record,
    recipe: Recipe,
    labels: list[Label],
    side: dict | None,
    counts: dict[str, Counter],
) -> dict[str, Any]:
    fields = record.fields
    structure, name = (
        fields.get(recipe.columns.smiles or "molblock"),
        fields.get(recipe.columns.id or "name"),
    )
    out = {
        "row": row,
        "line": record.line,
        "id": None if name is None else str(name),
        "structure": None
        if structure is None
        else str(structure).strip()
        if recipe.columns.smiles
        else structure,
        "problem": record.problem,
    }
    values = fields
    if side is not None:
        values = side.get(str(fields.get(recipe.source.join.key)), {})
    for label in labels:
        value, reason = read_number(values.get(label.column))
        if reason is not None:
            counts[label.name][
                "no row in the joined table" if side is not None and not values else reason
            ] += 1
        out[label.name] = None if value is None else value * label.scale
    return out


def read_number(value: Any) -> tuple[float | None, str | None]:
    """A label's value as a finite number, or None and why there is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None, "empty"
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None, "not a number"
    return (number, None) if math.isfinite(number) else (None, "NaN or infinite")
