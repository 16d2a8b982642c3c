"""Where a mix is written to, and from what: its members, its columns, its plan."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from .mix_columns import DATASET, IDENTITY, MixColumn
from .mix_plan import MemberRows, Plan


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
