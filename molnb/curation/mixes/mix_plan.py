"""Which rows of a mix's members become which sample, and what its members know of each other.

Rows of several members are one sample where they are one molecule (canonical isomeric SMILES and
stereo groups, charge and tautomer as drawn), their geometry follows the same rule, and they stand
on the same side of their members' splits. Else they stay samples of their own, with one identity
key. A row of the mix is numbered by the rows of all members' sources, one after another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from ...shards import LOOSE_KEYS, Shards
from ..database import connect, parquet_table, quoted
from ..grouping import group_rows
from ..splitting.splits import TEST, TRAIN, VAL

MEMORY = "384MB"  # of DuckDB: what is larger goes to disk
NO_SIDE = -1
HELD_OUT = (VAL, TEST)  # what may not be trained on; rows of test_seen are seen on purpose
_JOINING = "molecule, rule, side, apart"


class MemberRows(NamedTuple):
    """A curated member: its shards, its split, and the number of its first row in the mix."""

    name: str
    shards: Shards
    split: str
    first_row: int

    @property
    def geometry_rule(self) -> str | None:
        """What geometries are made by; None for given ones, which no other dataset has."""
        conformers = self.shards.manifest["recipe"].get("conformers", {})
        if conformers.get("kind", "made") == "given":
            return None
        rule = {"seed": 0, "n": 1, "flat": False} | conformers
        return f"seed {rule['seed']}, {rule['n']} conformers, flat {rule['flat']}"


class Plan(NamedTuple):
    """The samples of a mix in their order, and what became of the members' rows."""

    samples: pa.Table  # row, dataset, identity, side, smiles, group
    rows: list[pa.Table]  # of each member, in its sample order: row, sample (the row that it joins)
    account: dict[str, Any]  # counts for the manifest


def make_plan(members: list[MemberRows], spill: Path, drop_leaks: bool) -> Plan:
    """Join the rows of curated members; with ``drop_leaks`` leaks are taken out of training."""
    con = connect(spill)
    con.execute(f"SET memory_limit = '{MEMORY}'")
    _join_rows(con, members)
    leaks = _count_leaks(con, members)
    n_leaking = con.execute("SELECT count(*) FROM leaking").fetchall()[0][0]
    side = f"CASE WHEN row IN (SELECT row FROM leaking) THEN {NO_SIDE} ELSE side END"
    if not drop_leaks:
        side = "side"
    samples = con.sql(
        f"SELECT row, dataset, left(md5(molecule), 16) AS identity, {side} AS side, smiles, grp "
        'AS "group" FROM samples JOIN groups USING (row) ORDER BY row'
    ).to_arrow_table()
    rows = [
        con.sql(
            f"SELECT row, sample FROM joined WHERE member = {number} ORDER BY row"
        ).to_arrow_table()
        for number in range(len(members))
    ]
    account = {
        "joined": _count_joined(con),
        "apart": _count_apart(con),
        "leaks": leaks,
        "leaking": n_leaking,
        "loose_duplicates": _count_loose(samples),
    }
    con.close()
    return Plan(samples, rows, account)


def _join_rows(con: duckdb.DuckDBPyConnection, members: list[MemberRows]) -> None:
    """Create the tables ``joined`` (all rows), ``samples`` and ``groups`` (of loose duplicates)."""
    rules = dict.fromkeys(member.geometry_rule for member in members)
    numbers = {rule: number for number, rule in enumerate(rules)}
    tables = []
    for number, member in enumerate(members):
        parts = parquet_table(con, member.shards.parts())
        splits = parquet_table(con, [member.shards.path / "splits.parquet"])
        is_given = member.geometry_rule is None
        # a rule of its own for every dataset of given geometries, and rows that join nothing
        rule = len(numbers) + number if is_given else numbers[member.geometry_rule]
        apart = f"{member.first_row} + p.row" if is_given else "-1"
        tables.append(
            f"SELECT {number} AS member, {member.first_row} + p.row AS row, p.smiles, "
            "p.smiles || ' ' || coalesce(p.stereo_groups, '') AS molecule, "
            f"{', '.join(f'p.{key}' for key in LOOSE_KEYS)}, {rule} AS rule, {apart} AS apart, "
            f"s.{quoted(f'split_{member.split}')} AS side "
            f"FROM {parts} p JOIN {splits} s USING (row)"
        )
    con.execute(f"CREATE TABLE rows AS {' UNION ALL '.join(tables)}")
    con.execute(
        "CREATE TABLE joined AS SELECT r.*, first.sample FROM rows r JOIN "
        f"(SELECT {_JOINING}, min(row) AS sample FROM rows GROUP BY {_JOINING}) first "
        f"USING ({_JOINING})"
    )
    names = " ".join(f"WHEN {i} THEN '{member.name}'" for i, member in enumerate(members))
    con.execute(
        "CREATE TABLE samples AS SELECT r.row, r.smiles, r.molecule, r.side, d.dataset, "
        f"{', '.join(f'r.{key}' for key in LOOSE_KEYS)} FROM joined r JOIN "
        f"(SELECT sample, string_agg(CASE member {names} END, '+' ORDER BY member) AS dataset "
        "FROM joined GROUP BY sample) d ON r.row = d.sample"
    )
    group_rows(con, "samples", LOOSE_KEYS)


def _count_leaks(con: duckdb.DuckDBPyConnection, members: list[MemberRows]) -> list[dict[str, Any]]:
    """Samples in training of a member that another holds out, by pair; creates ``leaking``.

    What counts is the loose group: stereoisomers and tautomers of a molecule leak too.
    """
    con.execute(
        "CREATE TABLE leak AS WITH of_group AS "
        "(SELECT DISTINCT member, sample, side, grp FROM joined JOIN groups g ON g.row = sample), "
        "held AS (SELECT DISTINCT member, grp FROM of_group "
        f"WHERE side IN ({', '.join(map(str, HELD_OUT))})) "
        "SELECT t.sample, t.member AS train, held.member AS tested FROM of_group t "
        f"JOIN held ON held.grp = t.grp AND held.member <> t.member WHERE t.side = {TRAIN}"
    )
    con.execute("CREATE TABLE leaking AS SELECT DISTINCT sample AS row FROM leak")
    pairs = con.execute(
        "SELECT train, tested, count(DISTINCT sample) FROM leak GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [
        {"train": members[train].name, "held_out_by": members[tested].name, "n": n}
        for train, tested, n in pairs
    ]


def _count_joined(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Samples of several members, by their names."""
    return dict(
        con.execute(
            "SELECT dataset, count(*) FROM samples WHERE contains(dataset, '+') GROUP BY dataset "
            "ORDER BY count(*) DESC, dataset"
        ).fetchall()
    )


def _count_apart(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Molecules of several members that are several samples, by what keeps these apart."""
    several = "HAVING count(DISTINCT member) > 1 AND count(DISTINCT {what}) > 1"
    geometry = f"SELECT molecule FROM joined GROUP BY molecule {several.format(what='rule')}"
    side = f"SELECT DISTINCT molecule FROM joined GROUP BY molecule, rule {several}"
    counts = {}
    for reason, query in (("geometry", geometry), ("side", side.format(what="side"))):
        counts[reason] = con.execute(f"SELECT count(*) FROM ({query})").fetchall()[0][0]
    return counts


def _count_loose(samples: pa.Table) -> int:
    groups = samples.column("group").to_numpy()
    return len(groups) - len(np.unique(groups))
