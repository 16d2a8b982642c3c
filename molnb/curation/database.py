"""SQL over Parquet files, out of core: DuckDB connections, files as tables, results as files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.dataset import dataset

from ..files import writing
from ..recipes.readers.record import ROWS_PER_GROUP


def connect(spill: Path) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that spills to a folder when its tables outgrow the memory."""
    return duckdb.connect(config={"temp_directory": str(spill), "preserve_insertion_order": False})


def quoted(name: str) -> str:
    """A column's name in SQL, whatever letters it holds."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def parquet_table(con: duckdb.DuckDBPyConnection, paths: Iterable[Path]) -> str:
    """SQL that reads exactly these Parquet files as one table, whatever their paths hold."""
    paths = list(paths)
    if any("\\" in str(path) and set("[*?") & set(str(path)) for path in paths):
        # DuckDB takes the backslash for a separator of folders as soon as a path is a pattern.
        name = f"files_{len(con.execute('SHOW TABLES').fetchall())}"
        con.register(name, dataset(list(map(str, paths)), format="parquet", partitioning=None))
        return name
    # Else DuckDB makes a column of every folder on the way that is named like "kind=assay".
    return f"read_parquet([{', '.join(map(_quoted_path, paths))}], hive_partitioning = false)"


def _quoted_path(path: Path) -> str:
    # DuckDB takes a path for a pattern: [, * and ? stand for themselves only inside brackets.
    literal = "".join(f"[{letter}]" if letter in "[*?" else letter for letter in str(path))
    return "'" + literal.replace("'", "''") + "'"


def write_query(
    con: duckdb.DuckDBPyConnection, query: str, path: Path, schema: pa.Schema | None = None
) -> int:
    """Write the result of a query to Parquet, batch by batch; returns the number of rows."""
    reader = con.sql(query).to_arrow_reader(ROWS_PER_GROUP)
    schema = schema or reader.schema
    n_row = 0
    with writing(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for batch in reader:
            table = pa.Table.from_batches([batch]).cast(schema)
            writer.write_table(table, row_group_size=ROWS_PER_GROUP)
            n_row += batch.num_rows
    return n_row
