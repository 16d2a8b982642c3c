"""The files of a mix, written from those of its members, a part at a time.

A sample has the structure and geometry of its first member's row, and the labels, flags and texts
of all its rows: the first member that knows a value gives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...files import write_table, writing
from ...shards import CONFLICTS, DROPPED_SCHEMA
from ..database import connect, parquet_table, write_query
from ..parts import read_parts
from .mix_columns import DATASET, IDENTITY
from .mix_conflicts import CONFLICT_SCHEMA, differing, members_conflicts
from .mix_files import MixFiles, Piece
from .mix_plan import MEMORY

MISSING = "missing"  # why computed labels are absent: of the first member that says so
JOINED = "same molecule in an earlier member, labels joined"  # the reason of rows in `mix`
_SOURCE = ("row", "line", "id", "input_smiles")  # of a joined row, for conflicts and lost rows


def write_parts(files: MixFiles) -> list[Path]:
    """Write the parts of a mix, and the conflicts of its members; returns the parts."""
    con = connect(files.work / "spill")
    con.execute(f"SET memory_limit = '{MEMORY}'")
    for number in range(1, len(files.members)):
        _write_joined(con, files, number)
    schema = files.schema()
    conflicts = [members_conflicts(files, member) for member in files.members]
    parts: list[Path] = []
    for number, member in enumerate(files.members):
        for table, is_first in _marked_parts(files, number):
            chosen = table.filter(pa.array(is_first))
            if not len(chosen):
                continue
            pieces = [Piece(member.name, chosen), *_later_pieces(con, files, number, chosen)]
            path = files.folder / "shards" / f"part-{len(parts):05d}.parquet"
            part, differing = _make_part(files, pieces, schema)
            write_table(part, path)
            parts.append(path)
            conflicts.append(differing)
    con.close()
    by_row = pa.concat_tables(conflicts).sort_by([("row", "ascending"), ("label", "ascending")])
    write_table(by_row, files.folder / CONFLICTS)
    return parts


def _marked_parts(
    files: MixFiles, number: int, columns: list[str] | None = None
) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """The parts of a member with their rows numbered as in the mix, and which begin a sample."""
    member = files.members[number]
    rows = files.plan.rows[number]
    row = rows.column("row").to_numpy()
    is_first = row == rows.column("sample").to_numpy()
    start = 0
    for table in read_parts(member.shards.parts(), columns):
        end = start + len(table)
        position = table.schema.get_field_index("row")
        yield table.set_column(position, "row", pa.array(row[start:end])), is_first[start:end]
        start = end


def _write_joined(con: duckdb.DuckDBPyConnection, files: MixFiles, number: int) -> None:
    """Write the rows of a member that join samples of earlier ones, sorted by these samples."""
    member = files.members[number]
    samples = files.plan.rows[number].column("sample").to_numpy()
    names = [
        column.members[member.name] for column in files.stored if member.name in column.members
    ]
    columns = list(dict.fromkeys([*_SOURCE, MISSING, *names]))
    schema = pq.read_schema(member.shards.parts()[0])
    fields = [schema.field(name) for name in columns]
    unsorted = files.work / f"unsorted-{member.name}.parquet"
    start = 0
    with (
        writing(unsorted) as partial,
        pq.ParquetWriter(partial, pa.schema([("sample", pa.int64()), *fields])) as writer,
    ):
        for table, is_first in _marked_parts(files, number, columns):
            table = table.select(columns)
            table = table.add_column(0, "sample", pa.array(samples[start : start + len(table)]))
            start += len(table)
            writer.write_table(table.filter(pa.array(~is_first)).cast(writer.schema))
    with writing(files.joined_file(member)) as partial:
        con.execute(
            f"COPY (SELECT * FROM {parquet_table(con, [unsorted])} ORDER BY sample) TO "
            f"'{str(partial).replace(chr(39), chr(39) * 2)}' (FORMAT parquet, ROW_GROUP_SIZE 4096)"
        )
    unsorted.unlink()


def _later_pieces(
    con: duckdb.DuckDBPyConnection, files: MixFiles, number: int, chosen: pa.Table
) -> Iterator[Piece]:
    """What later members add to the samples of a part, a row for each sample."""
    row = chosen.column("row").to_numpy()
    for member in files.members[number + 1 :]:
        joined = con.sql(
            f"SELECT * FROM {parquet_table(con, [files.joined_file(member)])} "
            f"WHERE sample BETWEEN {row[0]} AND {row[-1]}"
        ).to_arrow_table()
        samples = joined.column("sample").to_numpy()
        is_here = np.isin(samples, row)
        if not is_here.any():
            continue
        position = np.full(len(row), -1)
        position[np.searchsorted(row, samples[is_here])] = np.flatnonzero(is_here)
        yield Piece(member.name, joined.take(pa.array(position, mask=position < 0)))


def _make_part(
    files: MixFiles, pieces: list[Piece], schema: pa.Schema
) -> tuple[pa.Table, pa.Table]:
    """A part of the mix, and the labels on which its members disagree."""
    base = pieces[0].table
    row = base.column("row").to_numpy()
    samples = files.plan.samples
    position = np.searchsorted(samples.column("row").to_numpy(), row)
    arrays = {name: _array(base, name) for name in base.column_names if name in schema.names}
    for name in (DATASET, IDENTITY):
        arrays[name] = samples.column(name).take(pa.array(position)).combine_chunks()
    arrays[MISSING] = pc.coalesce(*(_array(piece.table, MISSING) for piece in pieces))
    conflicts = []
    for column in files.stored:
        known = [piece for piece in pieces if piece.member in column.members]
        values = [_array(piece.table, column.members[piece.member]) for piece in known]
        kind = schema.field(column.name).type
        if not known:
            arrays[column.name] = pa.nulls(len(base), kind)
            continue
        values = [value.cast(kind) for value in values]
        arrays[column.name] = pc.coalesce(*values) if len(values) > 1 else values[0]
        if len(values) > 1 and column.label is not None:
            conflicts += differing(files, column, known, values, base)
    whole = [
        arrays[field.name] if field.name in arrays else pa.nulls(len(base), field.type)
        for field in schema
    ]
    part = pa.Table.from_arrays(whole, schema=schema)
    return part, pa.Table.from_pylist(conflicts, CONFLICT_SCHEMA)


def _array(table: pa.Table, name: str) -> pa.Array:
    return table.column(name).combine_chunks()


def write_derived(files: MixFiles) -> None:
    """Write the residual labels of members as they are, where there are any."""
    residuals = [column for column in files.columns if column.residual_of is not None]
    if not residuals:
        return
    row = files.plan.samples.column("row").to_numpy()
    table = pa.table({"row": row})
    for column in residuals:
        name, in_member = next(iter(column.members.items()))
        number = [member.name for member in files.members].index(name)
        stored = pq.read_table(files.members[number].shards.path / "derived.parquet")
        samples = files.plan.rows[number].column("sample").to_numpy()
        position = np.full(len(row), -1)
        position[np.searchsorted(row, samples)] = np.arange(len(samples))
        values = stored.column(in_member).take(pa.array(position, mask=position < 0))
        field = stored.schema.field(in_member).with_name(column.name)
        table = table.append_column(field, values)
    write_table(table, files.folder / "derived.parquet")


def write_lost(files: MixFiles) -> None:
    """Write the rows of all members that are no sample, those that joined another among them."""
    con = connect(files.work / "spill")
    tables = []
    for number, member in enumerate(files.members):
        row = f"row + {member.first_row} AS row"
        dataset = f"'{member.name}' AS {DATASET}"
        lost = parquet_table(con, [member.shards.path / "dropped.parquet"])
        tables.append(f"SELECT * REPLACE ({row}), {dataset} FROM {lost}")
        if number:
            joined = parquet_table(con, [files.joined_file(member)])
            tables.append(
                f"SELECT {', '.join(_SOURCE)}, 'mix' AS step, '{JOINED}' AS reason, "
                f"'row ' || sample AS detail, {dataset} FROM {joined}"
            )
    schema = DROPPED_SCHEMA.append(pa.field(DATASET, pa.string()))
    columns = ", ".join(schema.names)
    query = " UNION ALL ".join(f"SELECT {columns} FROM ({table})" for table in tables)
    write_query(con, f"{query} ORDER BY row", files.folder / "dropped.parquet", schema)
    con.close()
