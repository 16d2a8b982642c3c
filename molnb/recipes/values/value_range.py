"""Values outside the range that their label can have: a wrong unit shows in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ...errors import InputError
from ...units import readable
from .cells import ColumnReader


def check_range(reader: ColumnReader, file: str, snapshot: Path) -> None:
    """Raise InputError where more than half of a label's values lie outside its range.

    ``snapshot`` holds them, in the label's unit.
    """
    label = reader.label
    if label.range is None or 2 * reader.n_outside <= reader.n_known:
        return
    values = pq.read_table(snapshot, columns=[label.name]).column(0).drop_null().to_numpy()
    low, high = label.range
    unit = label.source_unit or label.unit
    raise InputError(
        f"{file}: {reader.n_outside:,} of {reader.n_known:,} values of label '{label.name}' lie "
        f"outside its range, {low:g} to {high:g} in {label.unit}; their median is "
        f"{readable(float(np.median(values)))} {label.unit}. The unit of column '{label.column}', "
        f"source_unit '{unit}', is probably wrong: correct source_unit, or the range"
    )
