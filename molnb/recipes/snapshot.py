"""The rows of a source as one Parquet file, labels as numbers: what curation works from."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from .label_schema import Label
from .own_split import PartCounter
from .readers import column_names, read_records
from .readers.arrow_rows import whole_batch
from .readers.lines import foreign_lines
from .readers.record import (
    OWN_STRUCTURES,
    ROWS_PER_GROUP,
    TEXT_FORMATS,
    Record,
    file_format,
    record_structure,
    source_files,
)
from .schema import Recipe
from .source_schema import Source
from .sources import (
    LocatedSource,
    join_path,
    joined_source,
    refuse_missing_columns,
    source_path,
)
from .values.cells import EMPTY, FILTERED, ColumnReader, differences
from .values.column_reading import CellRows, read_column
from .values.lists import ListReader, read_geometry
from .values.row_filters import FILTER, FILTER_CELL, RowFilter
from .values.value_range import check_range

# What `read_geometry` reads of a row, where its geometry stands in columns.
GEOMETRY_FIELDS = [
    ("geometry_numbers", pa.list_(pa.uint8())),
    ("geometry_coords", pa.list_(pa.float64())),
    ("geometry_bonds", pa.list_(pa.float32())),
    ("geometry_charges", pa.list_(pa.int8())),
]


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
    names = column_names(source, file)
    columns = _source_columns(recipe, source, names)
    table = None
    if source.join is not None:
        table = _read_joined_table(recipe, located, set(recipe.where) - set(names))
    readers = {label.name: _make_reader(recipe, label) for label in recipe.source_labels}
    texts = recipe.text_columns
    own_splits = [split for split in recipe.splits.values() if split.kind == "column"]
    name_of_text = {column: name for name, column in texts.items()}
    parts = [(name_of_text[split.column], PartCounter(split)) for split in own_splits]
    schema = snapshot_schema(recipe)
    n_row = 0
    row_filter = RowFilter(recipe.where)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        records = enumerate(_records_of_parts(located, columns))
        while batch := list(itertools.islice(records, ROWS_PER_GROUP)):
            rows = [
                _snapshot_row(row, record, recipe, table, row_filter, texts)
                for row, record in batch
            ]
            values = _label_columns([record for _, record in batch], rows, recipe, table, readers)
            writer.write_table(_snapshot_table(rows, values, schema))
            n_row += len(batch)
            for name, counter in parts:
                for row in rows:
                    counter.add(row[name])
    if n_row == 0:
        raise InputError(f"{file} is empty: 0 rows. Give a file with at least one molecule.")
    for _, counter in parts:
        counter.check(str(file))
    row_filter.check(str(file), n_row)
    for reader in readers.values():
        reader.check(str(file), n_row)
        check_range(reader, str(file), path)
    counts = {
        "rows": n_row,
        "missing": {
            name: {reason: unread.n for reason, unread in reader.unread.items()}
            for name, reader in readers.items()
        },
        "columns": {name: _describe_column(reader) for name, reader in readers.items()},
    }
    foreign = _count_foreign_lines(located)
    if foreign is not None:
        counts["foreign_lines"] = foreign
    if table is not None:
        counts["repeated_join_keys"] = table.n_repeated
    return counts


def _records_of_parts(located: LocatedSource, columns: list[str]) -> Iterator[Record]:
    """The rows of all files of a source, in order; each must have the columns."""
    for part in located.each:
        file = source_path(part, located.folder)
        refuse_missing_columns(file, columns, column_names(part, file))
        yield from read_records(part, file, columns)


def _count_foreign_lines(located: LocatedSource) -> dict[str, int] | None:
    """How many lines of all files are no UTF-8, and the first of them; None without any."""
    n_foreign = 0
    first = None
    for part in located.each:
        files = source_files(part, source_path(part, located.folder))
        if file_format(part) in TEXT_FORMATS and len(files) == 1:
            n_more, line = foreign_lines(files[0])
            n_foreign += n_more
            first = first or line
    return {"n": n_foreign, "first": first} if n_foreign else None


def check_row_number(recipe: Recipe, located: LocatedSource, n_row: int) -> None:
    """Raise InputError where a source has another number of rows than its recipe states."""
    n_stated = recipe.source.rows
    if n_stated is None or n_row == n_stated:
        return
    name = source_path(located.source, located.folder).name
    files = f"{name} and {len(located.each) - 1} parts more" if len(located.each) > 1 else name
    raise InputError(
        f"{files}: {n_row:,} rows, recipe '{recipe.name}' states {n_stated:,}: it is another "
        "version, or not the whole. If these rows are meant, give the file with --source FILE "
        "(source=PATH), or leave source.rows out of the recipe."
    )


def _describe_column(reader: ColumnReader) -> dict[str, Any]:
    """What the manifest says of a label's column: values that are none, classes, an example."""
    described: dict[str, Any] = {"known": reader.n_known}
    expected = (EMPTY, FILTERED)
    strange = {reason: u for reason, u in reader.unread.items() if reason not in expected}
    if strange:
        described["unread"] = {reason: unread._asdict() for reason, unread in strange.items()}
    if reader.kind != "regression":
        described["classes"] = reader.class_counts()
    if reader.label.transform is not None and reader.example is not None:
        described["example"] = reader.example
    if reader.looks_binary:
        described["looks_binary"] = True
    if reader.relations:
        described["relations"] = dict(reader.relations)
    if reader.outside is not None:
        first, line = reader.outside
        described["outside"] = {"n": reader.n_outside, "first": first, "line": line}
    return described


def _make_reader(recipe: Recipe, label: Label) -> ColumnReader:
    reader = ColumnReader if label.level == "molecule" else ListReader
    return reader(label, recipe.kind_of(label.name))


def snapshot_schema(recipe: Recipe) -> pa.Schema:
    """Columns of the snapshot: what a row is and where it stood, then its labels as numbers.

    Labels of atoms, bonds and pairs are in the order of the input; a geometry stands in columns of
    its own where the source keeps it so.
    """
    row = [
        ("row", pa.int64()),
        ("line", pa.int64()),
        ("id", pa.string()),
        ("structure", pa.string()),
        ("problem", pa.string()),
    ]
    if recipe.where:
        row += [(FILTER, pa.string()), (FILTER_CELL, pa.string())]
    labels = [(label.name, _snapshot_type(label)) for label in recipe.source_labels]
    names = [*recipe.relation_columns.values(), *recipe.text_columns]
    texts = [(name, pa.string()) for name in names]
    geometry = GEOMETRY_FIELDS if recipe.columns.geometry is not None else []
    return pa.schema(row + geometry + labels + texts)


def _snapshot_type(label: Label) -> pa.DataType:
    return pa.float64() if label.level == "molecule" else pa.list_(pa.float64())


def _source_columns(recipe: Recipe, source: Source, names: list[str]) -> list[str]:
    """The columns that are read of the source itself, whose columns have these names.

    Those of ``where`` stand in the source or, where that has none of the name, in a joined table.
    """
    columns = [recipe.columns.smiles] if recipe.columns.smiles else []
    # Records of an SDF need not all have a property.
    if recipe.columns.id and file_format(source) not in OWN_STRUCTURES:
        columns.append(recipe.columns.id)
    columns += recipe.text_columns.values()
    if recipe.columns.geometry is not None:
        columns += recipe.columns.geometry.names
    if source.join is not None:
        in_source = [column for column in recipe.where if column in names]
        return [*columns, *in_source, source.join.key]
    return list(dict.fromkeys([*columns, *recipe.where, *_measured_columns(recipe)]))


def _measured_columns(recipe: Recipe) -> list[str]:
    """The columns of labels, and those that stand beside them."""
    labels = recipe.source_labels
    beside = [column for label in labels for column in (label.relation, label.minus)]
    return [label.column for label in labels] + [name for name in beside if name is not None]


def _read_joined_table(
    recipe: Recipe, located: LocatedSource, filtering: Collection[str]
) -> JoinedTable:
    """The table that is joined to a source; ``filtering`` are columns of it that rows go by."""
    join = located.source.join
    path = join_path(located.source, located.folder)
    source = joined_source(located.source, path)
    columns = [join.column, *_measured_columns(recipe), *sorted(filtering)]
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
    row_filter: RowFilter,
    texts: dict[str, str],
) -> dict[str, Any]:
    """One row as the snapshot has it, but for its labels.

    ``texts`` are the recipe's `text_columns`; ``row_filter`` says whether the row is left out.
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
    if recipe.columns.geometry is not None and problem is None:
        geometry = read_geometry(recipe.columns.geometry, fields)
        if isinstance(geometry, str):
            problem = columns["problem"] = geometry
        elif geometry is not None:
            columns |= {f"geometry_{name}": value for name, value in geometry._asdict().items()}
    for name, column in texts.items():
        text = fields.get(column)
        # Fields of a malformed row may have moved to other columns.
        columns[name] = None if text is None or problem is not None else str(text)
    if recipe.where and problem is None:
        joined = {} if table is None else _joined_fields(record, recipe, table)
        columns[FILTER], columns[FILTER_CELL] = row_filter.judge(fields, joined)
    return columns


def _joined_fields(record: Record, recipe: Recipe, table: JoinedTable) -> Mapping[str, Any]:
    """What the joined table says of a row; nothing where it does not have its key."""
    return table.rows.get(_join_key(record.fields.get(recipe.source.join.key)), {})


def _label_columns(
    records: list[Record],
    rows: list[dict[str, Any]],
    recipe: Recipe,
    table: JoinedTable | None,
    readers: dict[str, ColumnReader],
) -> dict[str, pa.Array]:
    """Labels of some rows as the snapshot has them, and the relations of those that keep some.

    ``readers`` keep account of labels without a value.
    """
    fields = [record.fields for record in records]
    if table is not None:
        fields = [_joined_fields(record, recipe, table) for record in records]
    reasons = [
        _why_unlabelled(row, table is None or bool(known))
        for row, known in zip(rows, fields, strict=True)
    ]
    cell_rows = CellRows(
        [record.line for record in records], reasons, len(reasons) - reasons.count(None)
    )
    batch = whole_batch(fields)
    relation_columns = recipe.relation_columns
    columns: dict[str, pa.Array] = {}
    for name, reader in readers.items():
        label = reader.label
        if label.minus is not None:
            cells = differences(label, fields)
        elif batch is None or label.level != "molecule":
            cells = [known.get(label.column) for known in fields]
        else:
            cells = batch.array(label.column)
        marks = None
        if label.relation is not None:
            marks = [known.get(label.relation) for known in fields]
        if label.level != "molecule":
            columns[name] = _read_lists(reader, cells, cell_rows)
            continue
        columns[name], relations = read_column(reader, cells, cell_rows, marks)
        if name in relation_columns:
            nothing = [None] * len(records)
            columns[relation_columns[name]] = pa.array(relations or nothing, pa.string())
    return columns


def _read_lists(reader: ColumnReader, cells: list[Any], rows: CellRows) -> pa.Array:
    """The lists of a column of labels of atoms, bonds or pairs, null where there is none."""
    lists = [
        reader.read(cell, line, reason)
        for cell, line, reason in zip(cells, rows.lines, rows.reasons, strict=True)
    ]
    return pa.array(lists, pa.list_(pa.float64()))


def _why_unlabelled(row: dict[str, Any], is_joined: bool) -> str | None:
    """Why a row can have no label, whatever its cells hold."""
    if row["problem"] is not None:
        return "malformed row"
    if row.get(FILTER) is not None:
        return FILTERED
    return None if is_joined else "no row in the joined table"


def _snapshot_table(
    rows: list[dict[str, Any]], values: dict[str, pa.Array], schema: pa.Schema
) -> pa.Table:
    """Rows and the columns of their labels as one table."""
    others = pa.schema([field for field in schema if field.name not in values])
    table = pa.Table.from_pylist(rows, others)
    columns = [values[name] if name in values else table.column(name) for name in schema.names]
    return pa.Table.from_arrays(columns, schema=schema)
