"""Labels on which members of a mix, or rows of one member, disagree, as a mix lists them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...shards import CONFLICTS_SCHEMA
from .mix_columns import DATASET, MixColumn
from .mix_files import MixFiles, Piece
from .mix_plan import MemberRows

SAME = 1e-6  # of two values of a label, relative: less is rounding and no conflict
CONFLICT_SCHEMA = CONFLICTS_SCHEMA.append(pa.field(DATASET, pa.string()))


def differing(
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


def members_conflicts(files: MixFiles, member: MemberRows) -> pa.Table:
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
