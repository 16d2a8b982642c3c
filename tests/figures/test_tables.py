"""Tables are for people: numbers rounded to what they mean, gaps blank, no code for a browser."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from molnb.figures.tables import as_text, show_table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        (pd.NA, ""),
        (True, "yes"),
        (12345, "12,345"),
        (0.012345, "0.0123"),
        (-1234.5, "-1,234"),
        (0.0, "0.0"),
        (3.2e-7, "3.20e-07"),
        (float("inf"), "inf"),
        ("CCO", "CCO"),
    ],
)
def test_values_are_written_for_people(value: Any, text: str) -> None:
    assert as_text(value) == text


def test_columns_are_those_of_all_rows_in_order() -> None:
    table = show_table([{"a": 1}, {"b": "x"}])
    assert table.names == ["a", "b"]
    assert table.cells == [("1", ""), ("", "x")], "a whole number beside a gap stays whole"
    assert repr(table).splitlines()[0].split() == ["a", "b"]
    assert show_table([{"value": 3}, {"value": 0.5}]).cells == [("3",), ("0.500",)]


def test_a_dataframe_and_the_same_rows_look_alike() -> None:
    rows = [{"run": "tiny", "loss": 0.123456, "step": 1200}, {"run": "small", "loss": None}]
    frame = pd.DataFrame(rows).astype({"step": "Int64"})
    assert repr(show_table(frame)) == repr(show_table(rows))
    assert show_table(frame)._repr_html_() == show_table(rows)._repr_html_()
    assert repr(show_table(frame)).splitlines() == [
        "run    loss   step",
        "tiny   0.123  1,200",
        "small",
    ]
    assert show_table(frame).frame is frame
    assert list(show_table(rows).frame.columns) == ["run", "loss", "step"]


def test_a_named_index_is_a_column_and_numbers_of_rows_are_not() -> None:
    frame = pd.DataFrame({"mae": [0.5, 0.25]}, index=pd.Index(["kNN", "mean"], name="method"))
    assert show_table(frame).names == ["method", "mae"]
    assert show_table(frame.reset_index()[1:]).names == ["method", "mae"]


def test_words_stand_to_the_left_and_numbers_do_not() -> None:
    page = show_table([{"name": "kNN", "mae": 0.5}])._repr_html_()
    assert '<td style="text-align:left">kNN</td><td>0.500</td>' in page


def test_a_smiles_cannot_become_markup_and_may_be_broken() -> None:
    page = show_table([{"smiles": "<script>" + 30 * "C", "n": 2}])._repr_html_()
    assert "<script>" not in page and page.count("overflow-wrap:anywhere") == 2


def test_no_rows_is_no_error() -> None:
    assert repr(show_table([])) == "no rows"
    assert "no rows" in show_table(pd.DataFrame())._repr_html_()
