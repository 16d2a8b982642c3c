"""Numbers are shown so that one sees their size."""

from __future__ import annotations

import pytest

from molnb.units import readable


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (-0.0, "0.000"),
        (0.5949, "0.595"),
        (12.3456, "12.346"),
        (-3.5, "-3.500"),
        (0.0012, "0.001"),
        (0.00099, "9.90e-04"),
        (5.82e-8, "5.82e-08"),
        (-2e-9, "-2.00e-09"),
        (999_999.0, "999999.000"),
        (1_234_567.0, "1.23e+06"),
        (1.5e39, "1.50e+39"),
        (float("nan"), "nan"),
    ],
)
def test_a_number_in_a_unit_is_never_rounded_to_nothing(value, text):
    assert readable(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00004, "0.000"), (-0.0004, "0.000"), (0.8126, "0.813"), (-3e7, "-3.00e+07")],
)
def test_a_score_without_a_unit_may_be_rounded_to_zero(value, text):
    assert readable(value, in_unit=False) == text


def test_a_difference_has_its_sign_and_as_many_decimals_as_are_asked_for():
    assert readable(0.126, 2, "+") == "+0.13"
    assert readable(0.004, 2, "+") == "+4.00e-03"
    assert readable(-0.001, 2, "+", in_unit=False) == "+0.00"
