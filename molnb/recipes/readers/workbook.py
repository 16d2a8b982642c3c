"""Rows of the first sheet of an .xlsx workbook, where openpyxl is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...extras import how_to_install
from .archives import Member, on_disk
from .names import checked_names
from .record import Record


def workbook_columns(path: Path | Member) -> list[str]:
    """The columns of a workbook: the first row with a value in it."""
    return _table(path)[0]


def workbook_records(path: Path | Member) -> Iterator[Record]:
    """Every row of the first sheet below its header that holds a value."""
    names, rows = _table(path)
    for line, fields in rows:
        yield Record(line, dict(zip(names, fields, strict=True)))


def _table(path: Path | Member) -> tuple[list[str], list[tuple[int, list[Any]]]]:
    """The names of the columns, and the rows that hold a value, each with its number."""
    rows = [
        (line, fields)
        for line, fields in enumerate(_cells(path), 1)
        if any(field is not None for field in fields)
    ]
    if not rows:
        raise InputError(f"{path} is empty: 0 rows in its first sheet.")
    line, header = rows[0]
    written = ["" if name is None else str(name) for name in header]
    return checked_names(path, line, written), rows[1:]


def _cells(path: Path | Member) -> list[list[Any]]:
    """The cells of the first sheet, None where one is empty."""
    if importlib.util.find_spec("openpyxl") is None:
        raise InputError(
            f"{path}: a workbook needs openpyxl ({how_to_install('openpyxl')}); or save the sheet "
            "as CSV and name that file."
        )
    import pandas as pd

    try:
        # As text and numbers that stand there: "NA" is no missing value but sodium with an A.
        sheet = pd.read_excel(on_disk(path), header=None, dtype=object, keep_default_na=False)
    except Exception as error:  # whatever openpyxl meets in a damaged file
        raise InputError(
            f"{path} is not a readable workbook ({type(error).__name__}: {error}). Save the sheet "
            "as CSV and name that file."
        ) from None
    return [[_value(cell) for cell in row] for row in sheet.to_numpy().tolist()]


def _value(cell: Any) -> Any:
    is_empty = cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())
    return None if is_empty else cell
