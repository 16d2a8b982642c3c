"""The global pass, out of core: exact and loose duplicates, and the list of molecules to keep.

Rows are duplicates when their canonical isomeric SMILES is the same (charge and tautomer as drawn).
A loose group joins everything that shares the first block of the InChIKey or the
tautomer-insensitive key, directly or through others.
"""

from __future__ import annotations

from typing import Any

import duckdb

from ..recipes.schema import Recipe
from ..shards import DROPPED_SCHEMA, LOOSE_KEYS
from .chunks import Job
from .database import connect, parquet_table, write_query
from .grouping import group_rows

_LOST = """
CREATE VIEW lost AS
SELECT row, line, id, input_smiles, step, reason, detail FROM read WHERE reason IS NOT NULL
UNION ALL
SELECT r.row, r.line, r.id, r.input_smiles, 'duplicate',
       'same molecule as an earlier row', 'row ' || f.first
FROM read r JOIN first f USING (smiles) WHERE r.row <> f.first
"""
_LOST_LOOSE = """
UNION ALL
SELECT r.row, r.line, r.id, r.input_smiles, 'duplicate',
       'stereoisomer or tautomer of an earlier row', 'row ' || g.grp
FROM read r JOIN groups g USING (row) WHERE g.grp <> g.row
"""


def merge(job: Job) -> dict[str, Any]:
    """Write the molecules to keep and the rows dropped so far; returns counts.

    ``kept.parquet`` holds the molecules in source order, ``merged.parquet`` the dropped rows.
    """
    con = connect(job.work / "spill")
    read_files = sorted((job.work / "read").glob("*.parquet"))
    con.execute(f"CREATE VIEW read AS SELECT * FROM {parquet_table(read_files)}")
    source = parquet_table([job.work / "source.parquet"])
    con.execute(f"CREATE VIEW source AS SELECT * FROM {source}")
    con.execute(
        "CREATE TABLE first AS SELECT smiles, min(row) AS first, count(*) AS copies FROM read "
        "WHERE reason IS NULL GROUP BY smiles"
    )
    con.execute(
        "CREATE TABLE distinct_rows AS SELECT r.* FROM read r JOIN first f ON r.row = f.first"
    )
    drop_loose = job.recipe.structure.loose_duplicates == "drop"
    if drop_loose:
        group_rows(con, "distinct_rows", LOOSE_KEYS)
    con.execute(_LOST + _LOST_LOOSE if drop_loose else _LOST)
    n_kept = write_query(con, _molecules_to_keep(job.recipe, drop_loose), job.work / "kept.parquet")
    write_query(con, "SELECT * FROM lost ORDER BY row", job.work / "merged.parquet", DROPPED_SCHEMA)
    duplicates = _count_duplicates(con, job.recipe)
    with_coords = "SELECT count(*) FROM read WHERE given_coords AND reason IS NULL"
    n_given = con.execute(with_coords).fetchall()[0][0]
    con.close()
    return {"n_kept": n_kept, "duplicates": duplicates, "given_coords_replaced": n_given}


def _molecules_to_keep(recipe: Recipe, drop_loose: bool) -> str:
    """SQL for the molecules to keep, with the labels of the source and the flags."""
    labels = [f's."{label.name}"' for label in recipe.source_labels]
    flags = [
        f'coalesce(s."{flag.label}" IN ({", ".join(map(repr, flag.equals))}), false) AS "{name}"'
        for name, flag in recipe.flags.items()
    ]
    columns = ", ".join(["d.* EXCLUDE (step, reason, detail)", *labels, *flags])
    # Of a loose group only its first row.
    only_first = "JOIN groups g ON g.row = d.row AND g.grp = d.row" if drop_loose else ""
    return (
        f"SELECT {columns} FROM distinct_rows d JOIN source s ON s.row = d.row {only_first} "
        "ORDER BY d.row"
    )


def _count_duplicates(con: duckdb.DuckDBPyConnection, recipe: Recipe) -> dict[str, int]:
    """How many rows were copies, and of how many molecules the copies disagree, or know more."""
    copies = con.execute("SELECT coalesce(sum(copies - 1), 0)::BIGINT FROM first").fetchall()[0][0]
    counts = {"copies": copies, "conflicting": 0, "known_only_in_a_copy": 0}
    columns = [f's."{label.name}"' for label in recipe.source_labels]
    if not columns:
        return counts
    differ = " OR ".join(f"count(DISTINCT {column}) > 1" for column in columns)
    lost = " OR ".join(
        f"(count({column}) > 0 AND count({column}) FILTER (s.row = f.first) = 0)"
        for column in columns
    )
    by_molecule = (
        f"SELECT {differ} AS differs, {lost} AS lost FROM read r JOIN first f USING (smiles) "
        "JOIN source s ON s.row = r.row WHERE copies > 1 GROUP BY smiles"
    )
    query = f"SELECT count(*) FILTER (differs), count(*) FILTER (lost) FROM ({by_molecule})"
    counts["conflicting"], counts["known_only_in_a_copy"] = con.execute(query).fetchall()[0]
    return counts
