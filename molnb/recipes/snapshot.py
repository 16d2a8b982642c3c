"""The rows of a source as one Parquet file, labels as numbers: what curation works from."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from .cells import EMPTY, ColumnReader
from .own_split import PartCounter
from .readers import column_names, read_records
from .readers.lines import foreign_lines
from .readers.record import (
    OWN_STRUCTURES,
    ROWS_PER_GROUP,
    TEXT_FORMATS,
    Record,
    file_format,
    record_structure,
)
from .schema import Recipe
from .source_schema import Source
from .sources import LocatedSource, join_path, refuse_missing_columns, source_path


class JoinedTable(NamedTuple):
    """A second table by its key; of rows with an equal key the first counts."""

    rows: dict[str, dict[str, Any]]
    n_repeated: int  # rows whose key stood in an earlier row


def write_snapshot(recipe: Recipe, located: LocatedSource, path: Path) -> dict[str, Any]:
    """Stream a source into one normalised Parquet file at ``path``; returns what was counted.

    A label that gives no value is null, and counted by its reason with the first such cell. Rows of
    a joined table that are not used, because their key stood before, are counted too. Raises
    InputError when a column is missing, a label has no value at all or only one class, a binary
    label is none, or there are no rows.
    """
    source = located.source
    file = source_path(source, located.folder)
    table = _read_joined_table(recipe, located) if source.join is not None else None
    columns = _source_columns(recipe, source)
    refuse_missing_columns(file, columns, column_names(source, file))
    readers = {
        label.name: ColumnReader(label, recipe.kind_of(label.name))
        for label in recipe.source_labels
    }
    texts = recipe.text_columns
    split_columns = {split.column for split in recipe.splits.values() if split.kind == "column"}
    parts = {name: PartCounter(c) for name, c in texts.items() if c in split_columns}
    schema = snapshot_schema(recipe)
    n_row = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        records = enumerate(read_records(source, file, columns))
        while batch := list(itertools.islice(records, ROWS_PER_GROUP)):
            rows = [
                _snapshot_row(row, record, recipe, table, readers, texts) for row, record in batch
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema))
            n_row += len(batch)
            for name, counter in parts.items():
                for row in rows:
                    counter.add(row[name])
    if n_row == 0:
        raise InputError(f"{file} is empty: 0 rows. Give a file with at least one molecule.")
    for counter in parts.values():
        counter.check(str(file))
    for reader in readers.values():
        reader.check(str(file), n_row)
    counts = {
        "rows": n_row,
        "missing": {
            name: {reason: unread.n for reason, unread in reader.unread.items()}
            for name, reader in readers.items()
        },
        "columns": {name: _describe_column(reader) for name, reader in readers.items()},
    }
    if file_format(source) in TEXT_FORMATS:
        n_foreign, first = foreign_lines(file)
        if n_foreign:
            counts["foreign_lines"] = {"n": n_foreign, "first": first}
    if table is not None:
        counts["repeated_join_keys"] = table.n_repeated
    return counts


def _describe_column(reader: ColumnReader) -> dict[str, Any]:
    """What the manifest says of a label's column: values that are none, classes, an example."""
    described: dict[str, Any] = {"known": reader.n_known}
    strange = {reason: u for reason, u in reader.unread.items() if reason != EMPTY}
    if strange:
        described["unread"] = {reason: unread._asdict() for reason, unread in strange.items()}
    if reader.kind != "regression":
        described["classes"] = reader.class_counts()
    if reader.label.transform is not None and reader.example is not None:
        described["example"] = reader.example
    if reader.looks_binary:
        described["looks_binary"] = True
    return described


def snapshot_schema(recipe: Recipe) -> pa.Schema:
    """Columns of the snapshot: what a row is and where it stood, then its labels as numbers."""
    row = [
        ("row", pa.int64()),
        ("line", pa.int64()),
        ("id", pa.string()),
        ("structure", pa.string()),
        ("problem", pa.string()),
    ]
    labels = [(label.name, pa.float64()) for label in recipe.source_labels]
    texts = [(name, pa.string()) for name in recipe.text_columns]
    return pa.schema(row + labels + texts)


def _source_columns(recipe: Recipe, source: Source) -> list[str]:
    """The columns that are read of the source itself."""
    columns = [recipe.columns.smiles] if recipe.columns.smiles else []
    # Records of an SDF need not all have a property.
    if recipe.columns.id and file_format(source) not in OWN_STRUCTURES:
        columns.append(recipe.columns.id)
    columns += recipe.text_columns.values()
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
        if record.problem is not None:  # its fields may have moved to other columns
            continue
        key = _join_key(record.fields.get(join.column))
        if key:  # rows without a key belong to no molecule
            rows.setdefault(key, record.fields)
            n_row += 1
    return JoinedTable(rows, n_row - len(rows))


def _join_key(value: Any) -> str:
    """A key as text without blanks around it; an empty one joins nothing."""
    return "" if value is None else str(value).strip()


def _snapshot_row(
    row: int,
    record: Record,
    recipe: Recipe,
    table: JoinedTable | None,
    readers: dict[str, ColumnReader],
    texts: dict[str, str],
) -> dict[str, Any]:
    """One row as the snapshot has it.

    ``readers`` keep account of labels without a value; ``texts`` are the recipe's `text_columns`.
    """
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
    for name, column in texts.items():
        text = fields.get(column)
        # Fields of a malformed row may have moved to other columns.
        columns[name] = None if text is None or problem is not None else str(text)
    values = fields
    reason = None if problem is None else "malformed row"
    if table is not None:
        values = table.rows.get(_join_key(fields.get(recipe.source.join.key)), {})
        reason = reason or (None if values else "no row in the joined table")
    for name, reader in readers.items():
        columns[name] = reader.read(values.get(reader.label.column), record.line, reason)
    return columns
