"""A column read at once gives the values and the accounts that its cells give one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from molnb.recipes.label_schema import Label
from molnb.recipes.values.cells import ColumnReader
from molnb.recipes.values.column_reading import CellRows, read_column

MEANING = {"name": "y", "quantity": "q", "unit": "1", "theory": "t", "geometry": "none"}
LOGARITHM = {"unit": "-log10(M)", "source_unit": "nM", "transform": "-log10:nM->M"}
KEYS = {
    "plain": {},
    "scaled": {"unit": "eV", "source_unit": "Hartree"},
    "logarithm": LOGARITHM,
    "factor": {"unit": "b", "source_unit": "a", "transform": "1e200:a->b"},
    "range": {"range": (-1, 1)},
}


def make_reader(kind: str, keys: dict) -> ColumnReader:
    """A reader of numbers or classes."""
    return ColumnReader(Label(column="c", **MEANING | keys), kind)


def accounts(reader: ColumnReader) -> tuple:
    """All that a reader keeps account of, in the order it came."""
    return (
        list(reader.unread.items()), list(reader.counts.items()), list(reader.no_class.items()),
        reader.example, reader.n_known, reader.n_outside, reader.outside, reader.relations,
    )  # fmt: skip


def assert_read_alike(kind: str, keys: dict, groups: Sequence[tuple], lines: bool) -> None:
    """Groups of cells, as Arrow or as a list, are read at once as they are one by one."""
    at_once = make_reader(kind, keys)
    one_by_one = make_reader(kind, keys)
    line = 2
    for cells in groups:
        rows = [line + k if lines else None for k in range(len(cells))]
        line += len(cells)
        values, _ = read_column(at_once, cells, CellRows(rows, [None] * len(cells), 0))
        listed = cells.to_pylist() if isinstance(cells, pa.Array) else cells
        expected = [one_by_one.read(cell, k) for cell, k in zip(listed, rows, strict=True)]
        assert values.to_pylist() == expected
    assert accounts(at_once) == accounts(one_by_one)


def odd_numbers(n: int, seed: int) -> np.ndarray:
    """Numbers of every size, few and many values, none, infinite, zero and below."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=n) * 10.0 ** random.integers(-3, 200, n)
    rounded = np.round(random.normal(size=n), 1)
    numbers = np.where(random.random(n) < 0.7, rounded, numbers)
    odd = random.choice([math.nan, math.inf, -math.inf, 0.0, -0.0], n)
    return np.where(random.random(n) < 0.1, odd, numbers)


@pytest.mark.parametrize("keys", KEYS.values(), ids=list(KEYS))
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int8"])
def test_arrow_columns_of_numbers(keys: dict, dtype: str) -> None:
    groups = []
    for seed in range(4):
        numbers = odd_numbers(200, seed)
        if dtype.startswith("int"):
            numbers = np.nan_to_num(np.clip(numbers, -100, 100))
        absent = np.random.default_rng(seed).random(200) < 0.3
        with np.errstate(over="ignore"):
            groups.append(pa.array(numbers.astype(dtype), mask=absent))
    assert_read_alike("regression", keys, groups, lines=False)


@pytest.mark.parametrize("keys", KEYS.values(), ids=list(KEYS))
@pytest.mark.parametrize("odd", [[], ["<3", "1,5", "nan", " 7 ", "+1", "1_0", "True", "é", "\0"]])
def test_texts(keys: dict, odd: list) -> None:
    random = np.random.default_rng(1)
    groups = []
    for _ in range(4):
        plain = [f"{x:.3g}" for x in np.round(random.normal(size=100), 1)]
        cells = [*plain, *[""] * 20, None, "1e5", ".5", "5.", "-2E-3", *odd]
        groups.append([cells[k] for k in random.permutation(len(cells))])
    assert_read_alike("regression", keys, groups, lines=True)


@pytest.mark.parametrize(
    ("kind", "classes", "cells"),
    [
        ("binary", None, pa.array([0.0, 1.0, None, 2.0, math.nan, -0.0, 1.0] * 3)),
        ("binary", None, pa.array([0, 1, None, 7, 1] * 3)),
        ("binary", None, pa.array([True, None, False])),
        ("binary", None, pa.array(["0", "1", "", "True", "x", None, "na"] * 3)),
        ("binary", None, ["0", "1.0", "", "True", "x", None, " 1"] * 3),
        ("binary", None, [0, 1.0, "1", None, True]),
        ("classes", {"low": 0, "mid": 1, "high": 2}, ["low", "HIGH", "mid", "", "none", "odd"] * 2),
        ("classes", {"1": 0, "2": 1, "3": 2}, pa.array([1.0, 2.0, 3.0, 4.0, None])),
    ],
)
def test_classes(kind: str, classes: dict | None, cells: pa.Array | list) -> None:
    assert_read_alike(kind, {"classes": classes}, [cells, cells], lines=True)


@pytest.mark.parametrize(
    "cells", [pa.array([True, False]), pa.array(["<1", "2"]), [1, "2", None, 3.5], pa.nulls(3)]
)
def test_other_columns_are_read_cell_by_cell(cells: pa.Array | list) -> None:
    assert_read_alike("regression", {}, [cells], lines=True)


def test_rows_that_can_give_no_value_are_counted_by_their_reason() -> None:
    reader = make_reader("regression", {})
    rows = CellRows([2, 3, 4], [None, "malformed row", None], 1)
    values, _ = read_column(reader, pa.array([1.0, 2.0, None]), rows)
    assert values.to_pylist() == [1.0, None, None]
    assert {reason: u.n for reason, u in reader.unread.items()} == {"malformed row": 1, "empty": 1}


def test_decimal_commas_and_percent_signs_are_never_read_past() -> None:
    reader = make_reader("regression", {"decimal": ","})
    values, _ = read_column(reader, ["1.5", "2"], CellRows([2, 3], [None, None], 0))
    assert values.to_pylist() == [None, 2.0]
