"""The files of a mix, written from those of its members, a part at a time.

A sample has the structure and geometry of its first member's row, and the labels, flags and texts
of all its rows: the first member that knows a value gives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..files import write_table, writing
from ..shards import CONFLICTS, CONFLICTS_SCHEMA, DROPPED_SCHEMA
from .database import connect, parquet_table, write_query
from .mix_columns import DATASET, IDENTITY, MixColumn
from .mix_plan import MEMORY, MemberRows, Plan
from .parts import read_parts

MISSING = "missing"  # why computed labels are absent: of the first member that says so
SAME = 1e-6  # of two values of a label, relative: less is rounding and no conflict
CONFLICT_SCHEMA = CONFLICTS_SCHEMA.append(pa.field(DATASET, pa.string()))
JOINED = "same molecule in an earlier member, labels joined"  # the reason of rows in `mix`
_SOURCE = ("row", "line", "id", "input_smiles")  # of a joined row, for conflicts and lost rows


class Piece(NamedTuple):
    """Rows of one member that samples of a part are made of, beside these; null where none is."""

    member: str
    table: pa.Table


class MixFiles:
    """Where a mix is written to, from which members, by which plan."""

    def __init__(
        self, folder: Path, members: list[MemberRows], columns: list[MixColumn], plan: Plan
    ):
        self.folder = folder
        self.members = members
        self.columns = columns
        self.plan = plan
        self.work = folder / "work"
        # residual labels lie in a file of their own, as members have them
        self.stored = [column for column in columns if column.residual_of is None]

    def joined_file(self, member: MemberRows) -> Path:
        """The rows of a member that join a sample of an earlier one, in the order of samples."""
        return self.work / f"joined-{member.name}.parquet"

    def schema(self) -> pa.Schema:
        """The columns of the parts: those of structures, then those of the mix."""
        fields: dict[str, pa.Field] = {}
        schemas = {m.name: pq.read_schema(m.shards.parts()[0]) for m in self.members}
        of_mix = {(member, name) for c in self.stored for member, name in c.members.items()}
        for member, schema in schemas.items():
            for field in schema:
                if (member, field.name) not in of_mix:
                    fields.setdefault(field.name, field)
        about = {"about": "the members of the mix that have this sample, joined by +"}
        fields[DATASET] = pa.field(DATASET, pa.string(), metadata=about)
        about = {"about": "one key for all samples of a molecule, whatever their geometry or split"}
        fields[IDENTITY] = pa.field(IDENTITY, pa.string(), metadata=about)
        for column in self.stored:
            member, name = next(iter(column.members.items()))
            fields[column.name] = schemas[member].field(name).with_name(column.name)
        return pa.schema(fields.values())


def write_parts(files: MixFiles) -> list[Path]:
    """Write the parts of a mix, and the conflicts of its members; returns the parts."""
    con = connect(files.work / "spill")
    con.execute(f"SET memory_limit = '{MEMORY}'")
    for number in range(1, len(files.members)):
        _write_joined(con, files, number)
    schema = files.schema()
    conflicts = [_members_conflicts(files, member) for member in files.members]
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
            conflicts += _differing(files, column, known, values, base)
    whole = [
        arrays[field.name] if field.name in arrays else pa.nulls(len(base), field.type)
        for field in schema
    ]
    part = pa.Table.from_arrays(whole, schema=schema)
    return part, pa.Table.from_pylist(conflicts, CONFLICT_SCHEMA)


def _array(table: pa.Table, name: str) -> pa.Array:
    return table.column(name).combine_chunks()


def _differing(
    files: MixFiles, column: MixColumn, pieces: list[Piece], values: list[pa.Array], base: pa.Table
) -> Iterator[dict]:
    """The samples of which members know different values of a label; the first one is kept."""
    n_known = sum(pc.is_valid(value).to_numpy(zero_copy_only=False).astype(int) for value in values)
    for i in np.flatnonzero(n_known > 1).tolist():
        known = [(piece, value[i].as_py()) for piece, value in zip(pieces, values, strict=True)]
        known = [(piece, value) for piece, value in known if value is not None]
        stated = _different_numbers([value for _, value in known])
        if stated is None:
            continue
        yield {
            "row": base.column("row")[i].as_py(),
            "smiles": base.column("smiles")[i].as_py(),
            "label": column.name,
            "kept": stated[0],
            "values": stated,
            "rows": [_source_row(files, piece, i) for piece, _ in known],
            "lines": [piece.table.column("line")[i].as_py() for piece, _ in known],
            DATASET: "+".join(piece.member for piece, _ in known),
        }


def _different_numbers(values: list) -> list[float] | None:
    """The numbers in which values of one label differ; None where they agree.

    Of lists (labels of atoms, bonds, pairs) the numbers where they differ most.
    """
    flat = [np.atleast_1d(np.asarray(value, float)) for value in values]
    if len({len(value) for value in flat}) > 1:
        return [float(len(value)) for value in flat]
    numbers = np.stack(flat)
    spread = np.ptp(numbers, axis=0)
    allowed = SAME * np.abs(numbers).max(axis=0)
    if not numbers.shape[1] or (spread <= allowed).all():
        return None
    return numbers[:, int(np.argmax(spread - allowed))].tolist()


def _source_row(files: MixFiles, piece: Piece, i: int) -> int:
    """The row of the member's own source."""
    row = piece.table.column("row")[i].as_py()
    return row - next(m.first_row for m in files.members if m.name == piece.member)


def _members_conflicts(files: MixFiles, member: MemberRows) -> pa.Table:
    """What a member's own rows disagree on, by the sample and the label of the mix."""
    table = member.shards.conflicts()
    names = {column.members.get(member.name): column.name for column in files.columns}
    rows = files.plan.rows[files.members.index(member)]
    molecule = pc.add(table.column("row"), member.first_row)
    position = pc.index_in(molecule, value_set=rows.column("row"))
    labels = [names.get(label, label) for label in table.column("label").to_pylist()]
    replaced = {
        "row": rows.column("sample").take(position),
        "label": pa.array(labels, pa.string()),
        DATASET: pa.array([member.name] * len(table), pa.string()),
    }
    columns = [
        replaced[name] if name in replaced else table.column(name) for name in CONFLICT_SCHEMA.names
    ]
    # a molecule that got no conformer is among the lost rows, and its conflicts with it
    return pa.Table.from_arrays(columns, schema=CONFLICT_SCHEMA).filter(pc.is_valid(position))


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
