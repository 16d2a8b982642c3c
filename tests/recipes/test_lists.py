"""Cells that hold lists of numbers, in whatever way they are written."""

from __future__ import annotations

import numpy as np
import pytest

from molnb.recipes.source_schema import GivenGeometry
from molnb.recipes.values.cells import EMPTY
from molnb.recipes.values.lists import NO_LIST, read_geometry, read_list


@pytest.mark.parametrize(
    "cell",
    [
        [1, 2.5, 3],
        (1, 2.5, 3),
        np.array([1, 2.5, 3]),
        np.array([[1, 2.5, 3]], np.float32),
        "[1, 2.5, 3]",
        "[[1.0], [2.5], [3]]",
        "[1.  2.5 3. ]",
        "1 2.5 3",
        "1;2.5;3",
        "1|2.5|3",
    ],
    ids=str,
)
def test_a_list_of_numbers_is_read_in_every_way_it_is_written(cell) -> None:
    numbers, reason = read_list(cell)
    assert (numbers.tolist(), reason) == ([1, 2.5, 3], None)


def test_unknown_values_inside_a_list_are_nan() -> None:
    numbers, _ = read_list([1.0, None, 2.0])
    assert np.isnan(numbers).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "cell, reason",
    [
        (None, EMPTY),
        ("", EMPTY),
        (float("nan"), EMPTY),
        ("carbon", NO_LIST),
        ({"a": 1}, NO_LIST),
        (["1", "b"], NO_LIST),
        ([True, False], NO_LIST),
    ],
    ids=str,
)
def test_what_is_no_list_says_why(cell, reason: str) -> None:
    assert read_list(cell) == (None, reason)


WATER = {"z": [8, 1, 1], "xyz": [0, 0, 0, 0, 0, 1, 0, 1, 0]}


def test_numbers_may_be_symbols_and_units_are_converted() -> None:
    columns = GivenGeometry(numbers="z", coords="xyz", unit="1e-1 nm")
    for atoms in ([8, 1, 1], "O H H", ["O", "h", "H"], np.array([8, 1, 1])):
        cells = read_geometry(columns, WATER | {"z": atoms})
        assert cells.numbers == [8, 1, 1]
        assert cells.coords == pytest.approx(WATER["xyz"])


def test_padded_arrays_lose_their_padding_and_conformers_follow_one_another() -> None:
    columns = GivenGeometry(numbers="z", coords="xyz")
    one = np.arange(15.0).reshape(5, 3)
    cells = read_geometry(columns, {"z": [8, 1, 1, 0, 0], "xyz": [one, one + 100]})
    assert cells.numbers == [8, 1, 1]
    assert cells.coords == [*range(9), *range(100, 109)]


def test_a_row_without_geometry_has_none() -> None:
    columns = GivenGeometry(numbers="z", coords="xyz")
    assert read_geometry(columns, {"z": None, "xyz": None}) is None


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"xyz": [0, 0]}, "2 coordinates for 3 atoms"),
        ({"z": ["O", "Xx", "H"]}, "no atomic numbers or symbols"),
        ({"z": [8, 0, 1]}, "atom of number 0"),
        ({"b": [0, 1]}, "three are a bond"),
        ({"b": [0, 7, 1]}, "names atom 7 of 3"),
        ({"q": [0]}, "1 charges for 3 atoms"),
        ({"xyz": "abc"}, "no coordinates"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_geometry_is_said(fields: dict, message: str) -> None:
    columns = GivenGeometry(numbers="z", coords="xyz", bonds="b", charges="q")
    problem = read_geometry(columns, WATER | {"b": [0, 1, 1, 0, 2, 1], "q": [0, 0, 0]} | fields)
    assert isinstance(problem, str) and message in problem
