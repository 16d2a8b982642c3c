"""The global pass, out of core: exact duplicates, loose groups, and the list of molecules to keep.

Rows are duplicates when their canonical isomeric SMILES is the same (charge and tautomer as drawn).
A loose group joins everything that shares the first block of the InChIKey or the
tautomer-insensitive key, directly or through others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ..files import writing
from ..recipes.readers.record import ROWS_PER_GROUP
from ..recipes.schema import Recipe
from ..shards import DROPPED_SCHEMA
from .chunks import Job, source_label_columns


def connect(spill: Path) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that spills to ``spill`` when tables outgrow the memory."""
    return duckdb.connect(config={"temp_directory": str(spill), "preserve_insertion_order": False})


_LOST = """
CREATE VIEW lost AS
SELECT row, line, id, input_smiles, step, reason, detail FROM read WHERE reason IS NOT NULL
UNION ALL
SELECT r.row, r.line, r.id, r.input_smiles, 'duplicate', 'same molecule as an earlier row', 'row ' || f.first
FROM read r JOIN first f USING (smiles) WHERE r.row <> f.first
"""
_LOST_LOOSE = """
UNION ALL
SELECT r.row, r.line, r.id, r.input_smiles, 'duplicate', 'stereoisomer or tautomer of an earlier row', 'row ' || g.grp
FROM read r JOIN groups g USING (row) WHERE g.grp <> g.row
"""


def merge(job: Job) -> dict[str, Any]:
    """Write ``kept.parquet`` (molecules to embed, in source order) and ``merged.parquet``
    (dropped so far); count.
    """
    con = connect(job.work / "spill")
    con.execute(
        f"CREATE VIEW read AS SELECT * FROM read_parquet({_quoted(job.work / 'read' / '*.parquet')})"
    )
    con.execute(
        f"CREATE VIEW source AS SELECT * FROM read_parquet({_quoted(job.work / 'source.parquet')})"
    )
    con.execute(
        "CREATE TABLE first AS SELECT smiles, min(row) AS first, count(*) AS copies FROM read "
        "WHERE reason IS NULL GROUP BY smiles"
    )
    con.execute(
        "CREATE TABLE distinct_rows AS SELECT r.* FROM read r JOIN first f ON r.row = f.first"
    )
    keep = ""
    if job.recipe.structure.loose_duplicates == "drop":
        loose_groups(con, "distinct_rows", ["inchikey14", "tautomer_key"])
        keep = "JOIN groups g ON g.row = d.row AND g.grp = d.row"
    con.execute(_LOST + (_LOST_LOOSE if keep else ""))
    columns = [*(f's."{name}"' for name in source_label_columns(job.recipe)), *_flags(job.recipe)]
    kept = (
        f"SELECT {', '.join(['d.* EXCLUDE (step, reason, detail)', *columns])} "
        f"FROM distinct_rows d JOIN source s ON s.row = d.row {keep} ORDER BY d.row"
    )
    n_kept = stream(con, kept, job.work / "kept.parquet")
    stream(con, "SELECT * FROM lost ORDER BY row", job.work / "merged.parquet", DROPPED_SCHEMA)
    counts = _duplicates(con, job.recipe)
    con.close()
    return {"n_kept": n_kept, "duplicates": counts}


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _flags(recipe: Recipe) -> list[str]:
    return [
        f'coalesce(s."{flag.label}" IN ({", ".join(map(repr, flag.equals))}), false) AS "{name}"'
        for name, flag in recipe.flags.items()
    ]


def _duplicates(con: duckdb.DuckDBPyConnection, recipe: Recipe) -> dict[str, int]:
    """How many rows were copies, and in how many molecules the copies disagree about a label, or
    know more.
    """
    copies = con.execute("SELECT coalesce(sum(copies - 1), 0)::BIGINT FROM first").fetchall()[0][0]
    counts = {"copies": copies, "conflicting": 0, "known_only_in_a_copy": 0}
    labels = source_label_columns(recipe)
    if not labels:
        return counts
    differ = " OR ".join(f'count(DISTINCT s."{name}") > 1' for name in labels)
    lost = " OR ".join(
        f'(count(s."{name}") > 0 AND count(s."{name}") FILTER (s.row = f.first) = 0)'
        for name in labels
    )
    query = (
        f"SELECT count(*) FILTER (differs), count(*) FILTER (lost) FROM (SELECT {differ} AS differs, {lost} AS lost "
        "FROM read r JOIN first f USING (smiles) JOIN source s ON s.row = r.row WHERE copies > 1 GROUP BY smiles)"
    )
    counts["conflicting"], counts["known_only_in_a_copy"] = con.execute(query).fetchall()[0]
    return counts


def loose_groups(con: duckdb.DuckDBPyConnection, table: str, columns: list[str]) -> None:
    """Create the table ``groups`` (row, grp): connected components over equal, non-empty values of
    the columns.

    Labels start as the row and are replaced by the smallest of any neighbour until nothing changes;
    ``grp`` is the first row of its group.
    """
    least = ", ".join(
        f"CASE WHEN {c} = '' THEN grp ELSE min(grp) OVER (PARTITION BY {c}) END" for c in columns
    )
    con.execute(f"CREATE OR REPLACE TABLE groups AS SELECT row, row AS grp FROM {table}")
    changed = 1
    while changed:
        joined = f"SELECT row, {', '.join(columns)}, grp FROM {table} JOIN groups USING (row)"
        con.execute(
            f"CREATE OR REPLACE TABLE nearer AS SELECT row, grp AS old, least(grp, {least}) AS grp FROM ({joined})"
        )
        changed = con.execute("SELECT count(*) FROM nearer WHERE grp <> old").fetchall()[0][0]
        # Follow each chain once, the group of my group: far fewer rounds.
        con.execute(
            "CREATE OR REPLACE TABLE groups AS SELECT n.row, m.grp FROM nearer n JOIN nearer m ON m.row = n.grp"
        )
    con.execute("DROP TABLE nearer")


def stream(
    con: duckdb.DuckDBPyConnection, query: str, path: Path, schema: pa.Schema | None = None
) -> int:
    """Write the result of a query to Parquet batch by batch, without holding it; returns the
    number of rows.
    """
    reader = con.sql(query).to_arrow_reader(ROWS_PER_GROUP)
    schema, n = schema or reader.schema, 0
    with writing(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_table(
                pa.Table.from_batches([batch]).cast(schema), row_group_size=ROWS_PER_GROUP
            )
            n += batch.num_rows
    return n
