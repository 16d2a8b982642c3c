"""The global pass, out of core: exact and loose duplicates, and the list of molecules to keep.

Rows are duplicates when their canonical isomeric SMILES and their stereo groups are the same
(charge and tautomer as drawn): a racemate is no duplicate of its enantiomers. Where the geometry is
given it is part of the identity.
A loose group joins everything that shares the first block of the InChIKey or the
tautomer-insensitive key, directly or through others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from ..recipes.schema import Recipe
from ..shards import CONFLICTS, DROPPED_SCHEMA, LOOSE_KEYS
from .chunks import Job
from .database import connect, parquet_table, quoted, write_query
from .flag_lists import count_marked, flag_columns
from .grouping import group_rows
from .repeats import (
    combine_labels,
    count_across,
    count_repeats,
    write_conflicts,
)

_LOST = """
CREATE VIEW lost AS
SELECT row, line, id, input_smiles, step, reason, detail FROM read WHERE reason IS NOT NULL
UNION ALL
SELECT r.row, r.line, r.id, r.input_smiles, 'duplicate',
       'same molecule as an earlier row', 'row ' || f.first
FROM read r JOIN first f USING (molecule) WHERE r.row <> f.first
"""
_LOST_LOOSE = """
UNION ALL
SELECT r.row, r.line, r.id, r.input_smiles, 'duplicate',
       'stereoisomer or tautomer of an earlier row', 'row ' || g.grp
FROM read r JOIN groups g USING (row) WHERE g.grp <> g.row
"""


def merge(job: Job) -> dict[str, Any]:
    """Write the molecules to keep and the rows dropped so far; returns counts.

    ``kept.parquet`` holds the molecules in source order, ``merged.parquet`` the dropped rows, and
    ``conflicts.parquet`` the labels on which rows of a molecule disagree.
    """
    con = connect(job.work / "spill")
    read_files = sorted((job.work / "read").glob("*.parquet"))
    con.execute(
        "CREATE VIEW read AS SELECT *, "
        "smiles || ' ' || stereo_groups || ' ' || coalesce(geometry_key, '') AS molecule "
        f"FROM {parquet_table(con, read_files)}"
    )
    source = parquet_table(con, [job.work / "source.parquet"])
    con.execute(f"CREATE VIEW source AS SELECT * FROM {source}")
    con.execute(
        "CREATE TABLE first AS SELECT molecule, min(row) AS first, count(*) AS copies FROM read "
        "WHERE reason IS NULL GROUP BY molecule"
    )
    con.execute(
        "CREATE TABLE distinct_rows AS SELECT r.* FROM read r JOIN first f ON r.row = f.first"
    )
    combine_labels(con, job.recipe)
    drop_loose = job.recipe.structure.loose_duplicates == "drop"
    if drop_loose:
        group_rows(con, "distinct_rows", LOOSE_KEYS)
    con.execute(_LOST + _LOST_LOOSE if drop_loose else _LOST)
    to_keep = _molecules_to_keep(con, job, drop_loose)
    n_kept = write_query(con, to_keep, job.work / "kept.parquet")
    marked = count_marked(con, job.recipe, job.work / "kept.parquet")
    labelled = _count_labelled(con, job.recipe, job.work / "kept.parquet")
    write_query(con, "SELECT * FROM lost ORDER BY row", job.work / "merged.parquet", DROPPED_SCHEMA)
    write_conflicts(con, job.recipe, job.folder / CONFLICTS)
    duplicates = count_repeats(con, job.recipe)
    duplicates["across_splits"] = count_across(con, job.recipe)
    with_coords = "SELECT count(*) FROM read WHERE given_coords AND reason IS NULL"
    n_given = con.execute(with_coords).fetchall()[0][0]
    con.close()
    return {
        "n_kept": n_kept,
        "n_labelled": labelled,
        "marked": marked,
        "duplicates": duplicates,
        "given_coords_replaced": n_given,
    }


def _count_labelled(con: duckdb.DuckDBPyConnection, recipe: Recipe, kept: Path) -> int:
    """How many molecules to keep have a label of the source."""
    conditions = [f"{quoted(label.name)} IS NOT NULL" for label in recipe.source_labels]
    has_label = " OR ".join(conditions) or "false"
    query = f"SELECT count(*) FROM {parquet_table(con, [kept])} WHERE {has_label}"
    return con.execute(query).fetchall()[0][0]


def _molecules_to_keep(con: duckdb.DuckDBPyConnection, job: Job, drop_loose: bool) -> str:
    """SQL for the molecules to keep, with the labels of the source, flags and kept texts."""
    recipe = job.recipe
    values = {
        label.name: f"CASE WHEN c.row IS NULL THEN s.{quoted(label.name)} "
        f"ELSE c.{quoted(label.name)} END"
        for label in recipe.molecule_labels
    }
    labels = [f"{value} AS {quoted(name)}" for name, value in values.items()]
    flags = [f"{marks} AS {quoted(name)}" for name, marks in flag_columns(con, job, values)]
    relations = [
        f"CASE WHEN {values[name]} IS NULL THEN NULL WHEN q.row IS NULL THEN s.{quoted(column)} "
        f"ELSE q.{quoted(column)} END AS {quoted(column)}"
        for name, column in recipe.relation_columns.items()
    ]
    with_relations = "LEFT JOIN combined_relations q ON q.row = d.row" if relations else ""
    texts = [f"s.{quoted(name)}" for name in recipe.text_columns]
    excluded = "EXCLUDE (step, reason, detail, molecule)"  # lists of labels are among the rest
    columns = ", ".join([f"d.* {excluded}", *labels, *flags, *relations, *texts])
    # Of a loose group only its first row.
    only_first = "JOIN groups g ON g.row = d.row AND g.grp = d.row" if drop_loose else ""
    return (
        f"SELECT {columns} FROM distinct_rows d JOIN source s ON s.row = d.row {only_first} "
        f"LEFT JOIN combined c ON c.row = d.row {with_relations} ORDER BY d.row"
    )
