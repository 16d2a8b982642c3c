"""Labels of molecules that stand in several rows: one value a label, and a list of what disagreed.

The policy is the recipe's: the median or the mean of all known values, the first known one, or none
where they differ (``drop``). Of classes the most frequent counts; where several are equally
frequent there is no value. Labels of a geometry are those of the row whose geometry is kept. Of
values further apart than ``max_spread`` none is kept, whatever the policy.

Known values are made into a long table, a row each, so that thousands of labels which few molecules
have cost what their values cost.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ..files import write_table
from ..recipes.schema import Recipe
from ..recipes.values.relations import MIXED
from ..shards import CONFLICTS_SCHEMA
from .database import quoted, write_query

# Columns beside those of the labels: no label's name ends in a space.
_FIRST = '"first row "'
_LABEL = '"label "'
_VALUE = '"value "'

# Of each label of each molecule: its least and largest value, that of the first row, the first.
_RANGES = f"""
CREATE TABLE ranges AS
SELECT {_FIRST}, {_LABEL}, min({_VALUE}) AS low, max({_VALUE}) AS high,
       max({_VALUE}) FILTER (row = {_FIRST}) AS at_first, arg_min({_VALUE}, row) AS earliest
FROM measured GROUP BY {_FIRST}, {_LABEL}
"""
# Classes: the most frequent, if it is so alone. Numbers: by the policy, which fills the gap.
_SEVERAL = f"""
CREATE TABLE several AS
SELECT m.{_FIRST}, m.{_LABEL}, {{number}} AS number,
       list_sort(map_values(histogram({_VALUE})), 'DESC') AS frequencies,
       mode({_VALUE}) AS frequent,
       list({_VALUE} ORDER BY row) AS "values", list(row ORDER BY row) AS "rows",
       list(line ORDER BY row) AS "lines"
FROM measured m JOIN ranges r ON r.{_FIRST} = m.{_FIRST} AND r.{_LABEL} = m.{_LABEL}
WHERE r.low <> r.high GROUP BY m.{_FIRST}, m.{_LABEL}
"""
_KEPT = f"""
CREATE TABLE kept_values AS
SELECT r.{_FIRST}, r.{_LABEL}, r.high - r.low > rule.spread AS apart, CASE
    WHEN r.high - r.low > rule.spread THEN NULL
    WHEN rule.of_geometry THEN r.at_first
    WHEN r.low = r.high THEN r.low
    WHEN {{policy}} = 'first' THEN r.earliest
    WHEN {{policy}} = 'drop' THEN NULL
    WHEN NOT rule.is_class THEN s.number
    WHEN s.frequencies[1] = s.frequencies[2] THEN NULL
    ELSE s.frequent END AS kept
FROM ranges r JOIN rules rule USING ({_LABEL})
LEFT JOIN several s ON s.{_FIRST} = r.{_FIRST} AND s.{_LABEL} = r.{_LABEL}
"""


def combine_labels(con: duckdb.DuckDBPyConnection, recipe: Recipe) -> None:
    """Create the table ``combined``: of each repeated molecule its first row, and its labels.

    Views ``read`` and ``source`` and the table ``first`` (of molecules) must be there. A molecule
    of which nothing is known does not stand in it. ``combined_relations`` has the relations.
    """
    con.execute(
        f"CREATE TABLE copies AS SELECT f.first AS {_FIRST}, r.smiles, s.* "
        "FROM read r JOIN first f USING (molecule) JOIN source s ON s.row = r.row "
        "WHERE f.copies > 1"
    )
    names = [label.name for label in recipe.molecule_labels]
    if not names:
        con.execute(f"CREATE TABLE combined AS SELECT DISTINCT {_FIRST} AS row FROM copies")
        return
    columns = ", ".join(map(quoted, names))
    con.execute(
        f"CREATE TABLE measured AS SELECT * FROM (SELECT {_FIRST}, row, line, {columns} "
        f"FROM copies) UNPIVOT ({_VALUE} FOR {_LABEL} IN ({columns}))"
    )
    con.register("rules", _rules(recipe))
    con.execute(_RANGES)
    number = "avg" if recipe.repeat_policy == "mean" else "median"
    con.execute(_SEVERAL.format(number=f"{number}({_VALUE})"))
    con.execute(_KEPT.format(policy=_text(recipe.repeat_policy)))
    con.execute(
        f"CREATE TABLE combined AS SELECT * FROM (SELECT {_FIRST} AS row, {_LABEL}, kept "
        f"FROM kept_values) PIVOT (first(kept) FOR {_LABEL} IN ({', '.join(map(_text, names))}) "
        "GROUP BY row)"
    )
    _combine_relations(con, recipe)


def _rules(recipe: Recipe) -> pa.Table:
    """What is to be known of each label when its values are combined."""
    labels = recipe.molecule_labels
    return pa.table(
        {
            "label ": [label.name for label in labels],
            "is_class": [recipe.kind_of(label.name) != "regression" for label in labels],
            "of_geometry": [label.geometry != "none" for label in labels],
            "spread": [recipe.max_spread.get(label.name, math.inf) for label in labels],
        }
    )


def _combine_relations(con: duckdb.DuckDBPyConnection, recipe: Recipe) -> None:
    """Create ``combined_relations``: how the one value of a label stands to what was measured."""
    relations = []
    for label in recipe.molecule_labels:
        if label.name not in recipe.relation_columns:
            continue
        name = quoted(recipe.relation_columns[label.name])
        known = f"FILTER ({quoted(label.name)} IS NOT NULL)"
        if label.geometry != "none":
            relation = f"max({name}) FILTER (row = {_FIRST})"
        elif recipe.repeat_policy == "first":
            # Also a null is the relation of the first value: of an exact one.
            relation = f"nullif(first(coalesce({name}, '') ORDER BY row) {known}, '')"
        else:
            n_relation = f"count(DISTINCT coalesce({name}, '')) {known}"
            alike = f"max({name}) {known}"
            relation = f"CASE WHEN {n_relation} > 1 THEN {_text(MIXED)} ELSE {alike} END"
        relations.append(f"{relation} AS {name}")
    columns = ", ".join([f"{_FIRST} AS row", *relations])
    con.execute(
        f"CREATE TABLE combined_relations AS SELECT {columns} FROM copies GROUP BY {_FIRST}"
    )


def write_conflicts(con: duckdb.DuckDBPyConnection, recipe: Recipe, path: Path) -> None:
    """Write every label of a molecule whose rows disagree: all values, and which one is kept."""
    if not recipe.molecule_labels:
        write_table(CONFLICTS_SCHEMA.empty_table(), path)
        return
    query = (
        f"SELECT s.{_FIRST} AS row, smiles, s.{_LABEL} AS label, kept, "
        f's."values", s."rows", s."lines" FROM several s '
        f"JOIN kept_values k ON k.{_FIRST} = s.{_FIRST} AND k.{_LABEL} = s.{_LABEL} "
        f"JOIN (SELECT {_FIRST}, any_value(smiles) AS smiles FROM copies GROUP BY {_FIRST}) c "
        f"ON c.{_FIRST} = s.{_FIRST} ORDER BY row, label"
    )
    write_query(con, query, path, CONFLICTS_SCHEMA)


def _text(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def count_repeats(con: duckdb.DuckDBPyConnection, recipe: Recipe) -> dict[str, Any]:
    """How many rows were copies, of how many molecules copies disagree, or know more.

    Also how many values of each label there are none of, because they lie too far apart.
    """
    copies = con.execute("SELECT coalesce(sum(copies - 1), 0)::BIGINT FROM first").fetchall()[0][0]
    counts = {"copies": copies, "conflicting": 0, "known_only_in_a_copy": 0}
    if not recipe.molecule_labels:
        return counts
    query = (
        f"SELECT count(DISTINCT {_FIRST}) FILTER (low <> high), "
        f"count(DISTINCT {_FIRST}) FILTER (at_first IS NULL) FROM ranges"
    )
    counts["conflicting"], counts["known_only_in_a_copy"] = con.execute(query).fetchall()[0]
    if recipe.max_spread:
        query = f"SELECT {_LABEL}, count(*) FROM kept_values WHERE apart GROUP BY ALL ORDER BY ALL"
        counts["too_far_apart"] = dict(con.execute(query).fetchall())
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
