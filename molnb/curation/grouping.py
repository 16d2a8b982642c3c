"""Groups of rows that share a key, directly or through others: connected components, in SQL."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa


def group_rows(con: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str]) -> None:
    """Create the table ``groups`` (row, grp): rows joined by equal, known values of the columns.

    ``grp`` is the first row of its group; null and empty values join nothing. Every row starts as
    its own group and takes the smallest group of any neighbour until nothing changes.
    """
    keys = ", ".join(f"coalesce({column}, '') AS {column}" for column in columns)
    least = ", ".join(
        f"CASE WHEN {column} = '' THEN grp ELSE min(grp) OVER (PARTITION BY {column}) END"
        for column in columns
    )
    joined = f"SELECT row, {keys}, grp FROM {table} JOIN groups USING (row)"
    con.execute(f"CREATE OR REPLACE TABLE groups AS SELECT row, row AS grp FROM {table}")
    n_changed = 1
    while n_changed:
        con.execute(
            "CREATE OR REPLACE TABLE nearer AS "
            f"SELECT row, grp AS old, least(grp, {least}) AS grp FROM ({joined})"
        )
        counted = con.execute("SELECT count(*) FROM nearer WHERE grp <> old").fetchall()
        n_changed = counted[0][0]
        # Follow each chain once, the group of my group: far fewer rounds.
        con.execute(
            "CREATE OR REPLACE TABLE groups AS "
            "SELECT n.row, m.grp FROM nearer n JOIN nearer m ON m.row = n.grp"
        )
    con.execute("DROP TABLE nearer")


def connected_groups(table: pa.Table) -> np.ndarray:
    """The group of every row of a table of keys, numbered from 0 in the order of first rows.

    Rows belong together where they have an equal value in a column, directly or through others;
    null and empty values join nothing.
    """
    keys = table.append_column("row", pa.array(np.arange(len(table))))
    con = duckdb.connect()
    try:
        con.register("keys", keys)
        group_rows(con, "keys", table.column_names)
        groups = con.execute("SELECT grp FROM groups ORDER BY row").fetchnumpy()["grp"]
    finally:
        con.close()
    return np.unique(np.asarray(groups), return_inverse=True)[1]
