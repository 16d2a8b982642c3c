"""Tables of answers as files: Parquet, or CSV and TSV by the ending of the name, row by row.

In CSV and TSV numbers have all their digits, lists are JSON, and what is missing is empty. A file
is known as one of ours by a word in the schema of Parquet, and by the header of a CSV or TSV: only
such a file is replaced without being told to.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..files import check_output, writing

if TYPE_CHECKING:
    import pandas as pd

PARQUET = (".parquet", ".pq")
TEXT = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
ENDINGS = (*PARQUET, *TEXT)
_MARK = {b"molnb": b"answers"}  # in the schema of a Parquet file


class TableWriter(Protocol):
    """A file that takes rows in pieces."""

    def write_table(self, table: pa.Table) -> None: ...


def is_answers(path: Path, schema: pa.Schema) -> bool:
    """Whether a file was written by `open_writer`: Parquet of any columns, or text of these."""
    with contextlib.suppress(pa.ArrowInvalid, OSError):
        metadata = pq.read_schema(path).metadata or {}
        return metadata.get(b"molnb") == _MARK[b"molnb"]
    for delimiter in ",\t":
        for opened in (_open_plain, _open_gzip):
            with contextlib.suppress(OSError, EOFError, UnicodeDecodeError, csv.Error):
                with opened(path) as file:
                    if next(csv.reader(file, delimiter=delimiter), None) == schema.names:
                        return True
    return False


def check_frame_output(out: str | Path, inputs: Iterable[str | Path], force: bool) -> Path:
    """The file that a table may be written to; InputError for a place that will not do.

    Only Parquet files of ours are replaced without `force`.
    """
    return check_output(out, inputs, ENDINGS, lambda path: is_answers(path, pa.schema([])), force)


def write_frame(table: pd.DataFrame, path: Path, name: str) -> None:
    """Write a DataFrame, whole or not at all, in the format of a file's `name`."""
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    with writing(path) as partial, open_writer(partial, name, arrow.schema) as writer:
        writer.write_table(arrow)


@contextlib.contextmanager
def open_writer(path: Path, name: str, schema: pa.Schema) -> Iterator[TableWriter]:
    """Yield a writer of tables of a schema to `path`, in the format of a file's `name`."""
    name = name.lower()
    if name.endswith(PARQUET):
        marked = schema.with_metadata({**(schema.metadata or {}), **_MARK})
        with pq.ParquetWriter(path, marked, compression="zstd") as writer:
            yield writer
        return
    delimiter = "\t" if name.removesuffix(".gz").endswith(".tsv") else ","
    with contextlib.ExitStack() as stack:
        binary = stack.enter_context(path.open("wb"))
        if name.endswith(".gz"):  # without a time, so that equal answers are equal files
            binary = stack.enter_context(gzip.GzipFile("", "wb", fileobj=binary, mtime=0))
        file = stack.enter_context(io.TextIOWrapper(binary, encoding="utf-8", newline=""))
        yield _TextWriter(file, delimiter, schema)


class _TextWriter:
    """A CSV or TSV file with a header, open for rows."""

    def __init__(self, file: io.TextIOBase, delimiter: str, schema: pa.Schema):
        self._file = file
        self._delimiter = delimiter
        self._quoted = re.compile(f'[{delimiter}"\r\n]')
        self._write_line(schema.names)

    def write_table(self, table: pa.Table) -> None:
        """Add the rows of a table."""
        columns = [_texts(column.combine_chunks()) for column in table.columns]
        for cells in zip(*columns, strict=True):
            self._write_line(cells)

    def _write_line(self, cells: Iterable[str | None]) -> None:
        """One line; csv.writer would leave a lone carriage return without quotes."""
        texts = []
        for cell in cells:
            text = cell or ""
            if self._quoted.search(text):
                text = '"' + text.replace('"', '""') + '"'
            texts.append(text)
        self._file.write(self._delimiter.join(texts) + "\n")


def _texts(column: pa.Array) -> list[str | None]:
    """Cells of a column as text; None where there is none."""
    if pa.types.is_list(column.type) and pa.types.is_floating(_innermost(column.type)):
        return [_numbers_text(cell) for cell in column]
    if pa.types.is_nested(column.type):
        cells = column.to_pylist()
        return [None if cell is None else json.dumps(cell, default=str) for cell in cells]
    if pa.types.is_floating(column.type):
        return column.cast(pa.string()).to_pylist()  # the shortest that reads as the same number
    return [None if cell is None else str(cell) for cell in column.to_pylist()]


def _innermost(kind: pa.DataType) -> pa.DataType:
    """The type of the numbers in lists, or lists of lists."""
    return _innermost(kind.value_type) if pa.types.is_list(kind) else kind


def _numbers_text(cell: pa.ListScalar) -> str | None:
    """A list of numbers, or of lists of them, as JSON; a number that is missing is null."""
    if cell.values is None:
        return None
    if pa.types.is_list(cell.values.type):
        return f"[{', '.join(_numbers_text(inner) or 'null' for inner in cell.values)}]"
    texts = cell.values.cast(pa.string()).to_pylist()
    return f"[{', '.join('null' if text in (None, 'nan') else text for text in texts)}]"


def _open_plain(path: Path) -> io.TextIOBase:
    return path.open(encoding="utf-8", newline="")


def _open_gzip(path: Path) -> io.TextIOBase:
    return gzip.open(path, "rt", encoding="utf-8", newline="")


def vectors_column(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Numbers, or arrays as lists, as an Arrow column without a Python object a number."""
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    arrays = [np.asarray(value, np.float32) for value in values if value is not None]
    empty = np.zeros(0, np.float32)
    flat = pa.array(np.concatenate([empty, *(array.reshape(-1) for array in arrays)]))
    if pa.types.is_list(kind.value_type):  # lists of vectors: the vectors first
        width = arrays[0].shape[-1] if arrays else 1
        offsets = np.arange(len(flat) // width + 1) * width
        flat = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)
    lengths = [0 if value is None else len(value) for value in values]
    ends = np.cumsum([0, *lengths])
    missing = pa.array([value is None for value in values])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat, mask=missing)
