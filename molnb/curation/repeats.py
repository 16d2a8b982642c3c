"""Labels of molecules that stand in several rows: one value a label, and a list of what disagreed.

The policy is the recipe's: the median or the mean of all known values, the first known one, or none
where they differ (``drop``). Of classes the most frequent counts; where several are equally
frequent there is no value. Labels of a geometry are those of the row whose geometry is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from ..files import write_table
from ..recipes.label_schema import Label
from ..recipes.schema import Recipe
from ..shards import CONFLICTS_SCHEMA
from .database import quoted, write_query

# Columns beside those of the labels: no label's name ends in a space.
_FIRST = '"first row "'
_VALUES = '"values "'
_ROWS = '"rows "'
_LINES = '"lines "'


def combine_labels(con: duckdb.DuckDBPyConnection, recipe: Recipe) -> None:
    """Create the table ``combined``: of each repeated molecule its first row, and its labels.

    Views ``read`` and ``source`` and the table ``first`` (of molecules) must be there.
    """
    con.execute(
        f"CREATE TABLE copies AS SELECT f.first AS {_FIRST}, r.smiles, s.* "
        "FROM read r JOIN first f USING (molecule) JOIN source s ON s.row = r.row "
        "WHERE f.copies > 1"
    )
    columns = [f"{_value(label, recipe)} AS {quoted(label.name)}" for label in recipe.source_labels]
    con.execute(
        f"CREATE TABLE combined AS SELECT {', '.join([f'{_FIRST} AS row', *columns])} "
        f"FROM copies GROUP BY {_FIRST}"
    )


def _value(label: Label, recipe: Recipe) -> str:
    """SQL for the one value that a label gets from all rows of a molecule."""
    column = quoted(label.name)
    policy = recipe.repeat_policy
    if label.geometry != "none":
        return f"max({column}) FILTER (row = {_FIRST})"
    if policy == "first":
        return f"first({column} ORDER BY row) FILTER ({column} IS NOT NULL)"
    if policy == "drop":
        return f"CASE WHEN count(DISTINCT {column}) > 1 THEN NULL ELSE max({column}) END"
    if recipe.kind_of(label.name) == "regression":
        return f"{'median' if policy == 'median' else 'avg'}({column})"
    counts = f"list_sort(map_values(histogram({column})), 'DESC')"
    return f"CASE WHEN {counts}[1] = {counts}[2] THEN NULL ELSE mode({column}) END"


def write_conflicts(con: duckdb.DuckDBPyConnection, recipe: Recipe, path: Path) -> None:
    """Write every label of a molecule whose rows disagree: all values, and which one is kept."""
    tables = []
    for label in recipe.source_labels:
        column = quoted(label.name)
        only_known = f"FILTER ({column} IS NOT NULL)"
        gathered = ", ".join(
            f"list({of} ORDER BY row) {only_known} AS {name}"
            for of, name in ((column, _VALUES), ("row", _ROWS), ("line", _LINES))
        )
        tables.append(
            "SELECT c.row, smiles, "
            f"{_text(label.name)} AS label, c.{column} AS kept, "
            f'{_VALUES} AS "values", {_ROWS} AS "rows", {_LINES} AS "lines" '
            f"FROM (SELECT {_FIRST}, any_value(smiles) AS smiles, {gathered} FROM copies "
            f"GROUP BY {_FIRST} HAVING count(DISTINCT {column}) > 1) g "
            f"JOIN combined c ON c.row = g.{_FIRST}"
        )
    if not tables:
        write_table(CONFLICTS_SCHEMA.empty_table(), path)
        return
    query = f"SELECT * FROM ({' UNION ALL '.join(tables)}) ORDER BY row, label"
    write_query(con, query, path, CONFLICTS_SCHEMA)


def _text(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def count_repeats(con: duckdb.DuckDBPyConnection, recipe: Recipe) -> dict[str, Any]:
    """How many rows were copies, of how many molecules copies disagree, or know more."""
    copies = con.execute("SELECT coalesce(sum(copies - 1), 0)::BIGINT FROM first").fetchall()[0][0]
    counts = {"copies": copies, "conflicting": 0, "known_only_in_a_copy": 0}
    columns = [quoted(label.name) for label in recipe.source_labels]
    if not columns:
        return counts
    differ = " OR ".join(f"count(DISTINCT {column}) > 1" for column in columns)
    known_later = " OR ".join(
        f"(count({column}) > 0 AND count({column}) FILTER (row = {_FIRST}) = 0)"
        for column in columns
    )
    by_molecule = (
        f"SELECT {differ} AS differs, {known_later} AS later FROM copies GROUP BY {_FIRST}"
    )
    query = f"SELECT count(*) FILTER (differs), count(*) FILTER (later) FROM ({by_molecule})"
    counts["conflicting"], counts["known_only_in_a_copy"] = con.execute(query).fetchall()[0]
    return counts | {"policy": recipe.repeat_policy}


def count_across(con: duckdb.DuckDBPyConnection, recipe: Recipe) -> dict[str, int]:
    """Molecules whose rows a column divides, into several parts or times, by split."""
    names = {column: name for name, column in recipe.text_columns.items()}
    counts = {}
    for name, split in recipe.splits.items():
        if split.column is not None:
            part = f"lower(trim({quoted(names[split.column])}))"
            several = f"SELECT 1 FROM copies GROUP BY {_FIRST} HAVING count(DISTINCT {part}) > 1"
            counts[name] = con.execute(f"SELECT count(*) FROM ({several})").fetchall()[0][0]
    return counts
