"""Cells of a label's column: a number or a class, or the reason why there is none."""

from __future__ import annotations

import pytest

from molnb.errors import InputError
from molnb.recipes.label_schema import Label
from molnb.recipes.values.cells import (
    TRUE_FALSE,
    ColumnReader,
    differences,
    read_class,
    read_number,
)

MEANING = {"quantity": "q", "unit": "1", "theory": "assay", "geometry": "none", "column": "c"}
BOUNDED = "bounded or approximate (<, >, ~)"
COMMA = "comma in the number (decimal or thousands)"
BEHIND = "text behind the number"


def column_of(cells: list, kind: str = "regression", **keys) -> ColumnReader:
    """A column with these cells, from line 2 on."""
    reader = ColumnReader(Label(name="y", **MEANING | keys), kind)
    for line, cell in enumerate(cells, 2):
        reader.read(cell, line)
    return reader


@pytest.mark.parametrize(
    ("cell", "number", "reason"),
    [
        ("1.5", 1.5, None),
        (" -2e-3 ", -0.002, None),
        ("1e39", 1e39, None),  # beyond float32
        (1e300, 1e300, None),
        ("1000000000.01", 1000000000.01, None),
        ("", None, "empty"),
        ("  ", None, "empty"),
        (None, None, "empty"),
        ("nan", None, "NaN or infinite"),
        ("1e999", None, "NaN or infinite"),
        ("<-0.77", None, BOUNDED),
        (">10000", None, BOUNDED),
        ("~3", None, BOUNDED),
        ("≥ 5", None, BOUNDED),
        ("-0,77", None, COMMA),
        ("1,200", None, COMMA),
        ("1,200.5", None, COMMA),
        ("True", None, "true or false, not a number"),
        (False, None, "true or false, not a number"),
        ("45 %", None, "percent sign"),
        ("12 nM", None, BEHIND),
        ("ND", None, "marked as missing (NA, -, ...)"),
        ("-", None, "marked as missing (NA, -, ...)"),
        ("1_000", None, "not a number"),
        ("high", None, "not a number"),
        ("2020-01-01", None, "not a number"),
    ],
)
def test_a_cell_is_a_number_or_has_a_reason(
    cell: object, number: float | None, reason: str | None
) -> None:
    assert read_number(cell) == (number, reason)


@pytest.mark.parametrize(
    ("cell", "numbers", "number"),
    [
        ("0", TRUE_FALSE, 0),
        ("1.0", TRUE_FALSE, 1),
        (1.0, TRUE_FALSE, 1),
        (1, TRUE_FALSE, 1),
        (True, TRUE_FALSE, 1),
        ("FALSE", TRUE_FALSE, 0),
        ("true", TRUE_FALSE, 1),
        ("0.5", TRUE_FALSE, None),
        ("-1", TRUE_FALSE, None),
        ("2", TRUE_FALSE, None),
        ("yes", TRUE_FALSE, None),
        ("Mutagens", {"mutagens": 1, "nonmutagens": 0}, 1),
        ("a", {"a": 0, "A": 1}, 0),
        ("A", {"a": 0, "A": 1}, 1),
        (2.0, {"1": 0, "2": 1}, 1),
        ("-", {"-": 0, "+": 1}, 0),
        ("unclear", {"-": 0, "+": 1}, None),
    ],
)
def test_a_cell_is_a_class_or_has_a_reason(cell: object, numbers: dict, number: int | None) -> None:
    value, reason = read_class(cell, numbers)
    assert value == number
    assert (reason is None) == (number is not None)


def test_the_first_cell_of_each_reason_is_kept() -> None:
    reader = column_of(["1", "<2", "x", "<3", "", "4"])
    assert reader.n_known == 2
    assert {reason: (u.n, u.first, u.line) for reason, u in reader.unread.items()} == {
        BOUNDED: (2, "<2", 3),
        "not a number": (1, "x", 4),
        "empty": (1, "", 6),
    }


@pytest.mark.parametrize(
    ("cells", "foreign"),
    [
        (["1", "2"] * 5, "2"),
        (["-1", "1", "1"], "-1"),
        (["0", "0.5", "1"], "0.5"),
        (["yes", "no"], "yes"),
        (["active", "inactive", ""], "active"),
        (["0", "1", "2"], "2"),
        (["0", "1", "inconclusive"], "inconclusive"),
        (["Y", "N"], "Y"),
        ([1.0, 2.0], "2.0"),
        (["+", "-"], "+"),
        (["0", "1", "1.5"], "1.5"),
    ],
)
def test_a_binary_label_of_anything_but_0_and_1_is_refused_with_its_values(
    cells: list, foreign: str
) -> None:
    reader = column_of(cells, "binary")
    with pytest.raises(InputError, match="neither 0 nor 1") as refused:
        reader.check("mine.csv", len(cells))
    assert f"'{foreign}'" in str(refused.value) and "binary(" in str(refused.value)


@pytest.mark.parametrize("cells", [["1"] * 4, ["0", ""], ["true", "TRUE"], [0.0, 0.0]])
def test_a_label_of_one_class_is_refused(cells: list) -> None:
    with pytest.raises(InputError, match="are of one class"):
        column_of(cells, "binary").check("mine.csv", len(cells))


@pytest.mark.parametrize("cells", [["", ""], ["<1", "<2"], ["n/a"], ["1,5", "2,5"], ["nan"]])
def test_a_label_without_a_value_is_refused_with_the_reasons(cells: list) -> None:
    reader = column_of(cells)
    with pytest.raises(InputError, match="has no value in any of") as refused:
        reader.check("mine.csv", len(cells))
    assert next(iter(reader.unread)) in str(refused.value)


def test_words_in_a_column_of_numbers_are_named_as_the_classes_they_may_be() -> None:
    with pytest.raises(InputError, match="--label 'c:binary.mutagens,nonmutagens.'"):
        column_of(["mutagens", "nonmutagens", "mutagens"]).check("mine.csv", 3)
    with pytest.raises(InputError, match="--label 'c:classes.high,low,mid.'"):
        column_of(["low", "mid", "high"]).check("mine.csv", 3)
    with pytest.raises(InputError) as refused:
        column_of(["see text"] * 3).check("mine.csv", 3)
    assert "classes" not in str(refused.value)


def test_declared_classes_count_what_is_none_of_them() -> None:
    classes = {"mutagens": 1, "nonmutagens": 0}
    reader = column_of(
        ["mutagens", "nonmutagens", "nonmutagens", "equivocal"], "binary", classes=classes
    )
    reader.check("mine.csv", 4)
    assert reader.class_counts() == {"nonmutagens": 2, "mutagens": 1}
    assert reader.unread["no declared class"].first == "equivocal"


def test_a_column_of_0_and_1_declared_as_numbers_is_noticed() -> None:
    assert column_of(["0", "1", "1.0"]).looks_binary
    assert not column_of(["0", "1", "2"]).looks_binary
    assert not column_of(["1", "1"]).looks_binary
    assert not column_of(["0", "1"], "binary").looks_binary


def test_a_transform_keeps_the_first_value_before_and_after() -> None:
    keys = {"unit": "-log10(M)", "source_unit": "nM", "transform": "-log10:nM->M"}
    reader = column_of(["0", "10", "100"], **keys)
    assert reader.example == (10.0, pytest.approx(8.0))
    assert reader.unread["zero or less: no logarithm"].n == 1


@pytest.mark.parametrize(
    ("declared", "cells", "numbers"),
    [
        ({"-1": 0, "+1": 1}, ["+1", "-1", "1", "1.0", -1, -1.0], [1, 0, 1, 1, 0, 0]),
        ({"0.0": 0, "1.0": 1}, ["0", "1.0", 1, "1e0", "0.00"], [0, 1, 1, 1, 0]),
        ({"01": 0, "02": 1}, ["01", "2", "02.0"], [0, 1, 1]),
        ({"1": 0, "01": 1}, ["1", "01", "1.0"], [0, 1, None]),  # two classes of one number
        ({"1_1": 0, "1_2": 1}, ["1_1", "1_2", "11", "12"], [0, 1, None, None]),
        ({"1e5": 0, "2e5": 1}, ["1e5", "200000", "1E5"], [0, 1, 0]),
        ({"0.5": 0, "0.25": 1}, ["0.50", ".25", "0.75"], [0, 1, None]),
        ({"I": 0, "II": 1}, ["i", "II", "Ii", "l"], [0, 1, 1, None]),
        ({"a": 0, "A": 1}, ["a", "A"], [0, 1]),
        ({"Inf": 0, "1": 1}, ["inf", "Inf", "1"], [0, 0, 1]),
        ({"none": 0, "some": 1}, ["none", "some", "None"], [0, 1, None]),
        ({"-": 0, "+": 1}, ["-", "+", "--"], [0, 1, None]),
    ],
)
def test_a_class_that_is_a_number_is_known_by_its_value(
    declared: dict[str, int], cells: list, numbers: list
) -> None:
    assert [read_class(cell, declared)[0] for cell in cells] == numbers


def test_a_conversion_that_leaves_the_numbers_is_counted_and_not_stored() -> None:
    reader = ColumnReader(
        Label(name="y", **MEANING | {"unit": "pM"}, source_unit="nM", transform="1000:nM->pM"),
        "regression",
    )
    assert [reader.read(cell, line) for line, cell in enumerate(["1e308", "2"], 2)] == [None, 2000]
    assert reader.describe_unread() == (
        "too large once it is converted 1 (first '1e308' in line 2)"
    )
    assert reader.example == (2, 2000)


@pytest.mark.parametrize(
    ("cells", "kind", "advice"),
    [
        (["True", "False", ""], "regression", "--label 'c:binary'"),
        ([True, False, None], "regression", "--label 'c:binary'"),
        (["0", "1", "2"], "binary", "--label 'c=y:classes(0,1,2)'"),
        (["1", "2", "2"], "binary", "--label 'c=y:binary(1=0,2=1)'"),
        (["yes", "no", "maybe"], "binary", "--label 'c=y:classes(maybe,no,yes)'"),
    ],
)
def test_a_refused_column_is_told_the_declaration_that_takes_all_of_it(
    cells: list, kind: str, advice: str
) -> None:
    with pytest.raises(InputError) as error:
        column_of(cells, kind).check("f.csv", len(cells))
    assert advice in str(error.value)


def test_a_column_of_ever_other_words_is_not_told_to_be_classes() -> None:
    with pytest.raises(InputError, match="neither 0 nor 1") as error:
        column_of([f"w{k}" for k in range(100)], "binary").check("f.csv", 100)
    assert "classes(" not in str(error.value)


@pytest.mark.parametrize(
    ("cell", "number", "reason"),
    [
        ("4,5", 4.5, None),
        ("-0,77", -0.77, None),
        ("1,5e-3", 0.0015, None),
        ("12", 12.0, None),
        (4.5, 4.5, None),  # a number of the file itself has no comma to be written with
        ("4.5", None, "point in a column of decimal commas"),
        ("1.234,5", None, "point in a column of decimal commas"),
        ("1,234,567", None, COMMA),
        ("n.d.", None, "marked as missing (NA, -, ...)"),
        ("<4,5", None, BOUNDED),
        ("4,5 %", None, "percent sign"),
    ],
)
def test_decimal_commas_are_read_where_the_column_has_them(
    cell: object, number: float | None, reason: str | None
) -> None:
    assert read_number(cell, decimal=",") == (number, reason)


@pytest.mark.parametrize(
    ("cell", "number", "reason"),
    [
        ("45 %", 45.0, None),
        ("45%", 45.0, None),
        ("-1.5e1 %", -15.0, None),
        ("45", 45.0, None),
        ("%", None, "percent sign"),
        ("45 %%", None, "percent sign"),
        ("45 % w/w", None, BEHIND),
        ("45,5 %", None, COMMA),
    ],
)
def test_a_percent_sign_is_cut_off_where_the_label_says_so(
    cell: str, number: float | None, reason: str | None
) -> None:
    assert read_number(cell, percent=True) == (number, reason)


@pytest.mark.parametrize(
    ("cell", "relation", "value", "sign"),
    [
        ("50", "=", 50, None),
        ("50", "", 50, None),
        ("50", None, 50, None),
        (50.0, float("nan"), 50, None),
        ("50", "'='", 50, None),  # as ChEMBL writes it
        ("50", ">", 50, ">"),
        ("50", "'>>'", 50, ">"),
        ("50", "≤", 50, "<="),
        ("50", "=<", 50, "<="),
        (50.0, "~", 50, "~"),
        (">50", "", 50, ">"),
        (">50", "=", 50, ">"),
        ("> 50", ">", 50, ">"),
        (">= 50", None, 50, ">="),
        ("=50", "=", 50, None),
        ("≈5e1", "", 50, "~"),
        (">-50", "", -50, ">"),
    ],
)
def test_what_stands_qualified_is_a_value_with_its_relation_or_missing(
    cell: object, relation: object, value: float, sign: str | None
) -> None:
    used = column_of([], relation="r", qualified="value")
    assert used.read_qualified(cell, 2, None, relation) == (value, sign)
    assert used.relations == ({} if sign is None else {sign: 1})
    strict = column_of([], relation="r")
    expected = (value, None) if sign is None else (None, None)
    assert strict.read_qualified(cell, 2, None, relation) == expected
    assert [u.n for u in strict.unread.values()] == ([] if sign is None else [1])


@pytest.mark.parametrize(
    ("cell", "relation", "reason"),
    [
        ("50", "@", "unknown relation"),
        ("<50", ">", "two relations that disagree"),
        ("<LOD", "", "not a number"),
        ("", ">", "empty"),
        (">", "", "empty"),
        ("5,0", ">", COMMA),
        ("±50", "", BOUNDED),
    ],
)
def test_a_relation_that_cannot_be_told_leaves_no_value(
    cell: str, relation: str, reason: str
) -> None:
    reader = column_of([], relation="r", qualified="value")
    assert reader.read_qualified(cell, 2, None, relation) == (None, None)
    assert list(reader.unread) == [reason]
    is_shown = "relation" in reason  # else the cell alone says why
    assert reader.unread[reason].first == (f"{relation} {cell}" if is_shown else cell)
    assert not reader.relations and not reader.n_known


@pytest.mark.parametrize(
    ("transform", "unit", "sign"),
    [
        ("-log10:uM->M", "-log10(M)", "<"),
        ("log10:uM->M", "log10(M)", ">"),
        ("log1p", "log1p(uM)", ">"),
        ("1000:uM->nM", "nM", ">"),
        ("-1:uM->minus uM", "minus uM", "<"),
    ],
)
def test_a_relation_turns_round_with_the_values(transform: str, unit: str, sign: str) -> None:
    keys = {"unit": unit, "source_unit": "uM", "transform": transform, "qualified": "value"}
    reader = column_of([], **keys)
    assert reader.read_qualified(">10", 2).relation == sign
    approximate = reader.read_qualified("~10", 3)
    assert approximate.relation == "~"


def test_ten_micromolar_at_least_is_a_pic50_of_five_at_most() -> None:
    keys = {"unit": "-log10(M)", "source_unit": "uM", "transform": "-log10:uM->M"}
    reader = column_of([], qualified="value", **keys)
    assert reader.read_qualified(">10", 2) == (pytest.approx(5.0), "<")


def test_values_outside_the_range_are_kept_and_counted_with_the_first() -> None:
    reader = column_of(["7", "-1", "14", "15", "x"], range=(0, 14))
    assert (reader.n_known, reader.n_outside, reader.outside) == (4, 2, (-1.0, 3))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"classes": {"a": 0, "b": 1}, "percent": True}, "is of classes"),
        ({"classes": {"a": 0, "b": 1}, "range": (0, 1)}, "is of classes"),
        ({"column": None, "computed": "xtb.gap", "range": (0, 9)}, "read from a column"),
        ({"column": None, "computed": "xtb.gap", "qualified": "value"}, "read from a column"),
        ({"range": (3, 1)}, "low, then high"),
        ({"decimal": ";"}, "decimal"),
    ],
)
def test_keys_of_numbers_are_refused_where_they_mean_nothing(keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Label(name="y", **MEANING | keys)


@pytest.mark.parametrize(
    ("whole", "part", "value", "reason"),
    [
        ("-14661.2", "-14660", -1.2, None),
        (-14661.2, "-14660", -1.2, None),
        ("5", "", None, "empty"),
        ("", "5", None, "empty"),
        ("5", "ND", None, "marked as missing (NA, -, ...)"),
        ("<5", "1", None, BOUNDED),
        ("5", ">1", None, BOUNDED),
        ("1e308", "-1e308", None, "NaN or infinite"),
    ],
)
def test_a_label_is_the_difference_of_two_columns(
    whole: object, part: object, value: float | None, reason: str | None
) -> None:
    label = Label(name="y", **MEANING, minus="m")
    (cell,) = differences(label, [{"c": whole, "m": part}])
    number, why = read_number(cell)
    assert why == reason
    assert number == (None if value is None else pytest.approx(value, abs=1e-9))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"relation": "r"}, "minus is for exact numbers"),
        ({"qualified": "value"}, "minus is for exact numbers"),
        ({"level": "atom"}, "minus is for exact numbers"),
        ({"classes": {"a": 0, "b": 1}}, "is of classes: minus"),
        ({"column": None, "computed": "xtb.energy"}, "minus, .* are for labels read from a column"),
    ],
)
def test_a_difference_of_anything_but_numbers_is_refused(keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Label(name="y", **MEANING | {"minus": "m"} | keys)


def test_a_difference_of_one_of_many_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="minus goes with one column"):
        Label(name="y_*", **MEANING | {"minus": "m", "column": "c_*"})
