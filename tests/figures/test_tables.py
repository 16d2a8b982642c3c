"""Tables are for people: numbers rounded to what they mean, words to the left, nothing that a
browser could run.
"""

from __future__ import annotations

import pytest

from molnb.figures.tables import as_text, show_table


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "yes"), (12345, "12,345"), (0.012345, "0.0123"), (-1234.5, "-1,234"), (0.0, "0.0"),
     (3.2e-7, "3.20e-07"), (float("nan"), "nan"), (float("inf"), "inf"), ("CCO", "CCO")],
)  # fmt: skip
def test_values_are_written_for_people(value, text) -> None:
    assert as_text(value) == text


def test_columns_are_those_of_all_rows_in_order() -> None:
    table = show_table([{"a": 1}, {"b": "x"}])
    assert table.names == ["a", "b"] and table.cells == [["1", ""], ["", "x"]]
    assert repr(table).splitlines()[0].split() == ["a", "b"]


def test_a_smiles_cannot_become_markup_and_may_be_broken() -> None:
    page = show_table([{"smiles": "<script>" + 30 * "C", "n": 2}])._repr_html_()
    assert "<script>" not in page and page.count("overflow-wrap:anywhere") == 2


def test_no_rows_is_no_error() -> None:
    assert repr(show_table([])) == "no rows"
