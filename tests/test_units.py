"""Numbers are shown so that one sees their size."""

from __future__ import annotations

import pytest

from molnb.units import CONVERSIONS, conversion_factor, readable


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


@pytest.mark.parametrize(
    ("value", "source", "target", "converted"),
    [
        (-395.999594594, "kcal/mol", "eV", -17.172),  # atomisation of methane in QM9
        (1.0, "eV", "kcal/mol", 23.0605),
        (1.0, "Hartree", "kcal/mol", 627.5095),
        (1.0, "a0", "\u00c5", 0.529177),
        (2.0, "bohr", "\u00c5", 1.058354),
        (35.3641, "a0^2", "\u00c5^2", 9.903),
        (1.0, "e a0", "D", 2.541746),
        (1.85, "Debye", "D", 1.85),
        (3.0, "ug/mL", "mg/L", 3.0),
        (3.0, "g/L", "ug/mL", 3000.0),
    ],
)
def test_units_convert_by_their_factor(value, source, target, converted):
    assert value * conversion_factor(source, target) == pytest.approx(converted, rel=1e-4)


def test_units_that_convert_both_ways_are_each_other_s_inverse():
    both = [pair for pair in CONVERSIONS if pair[::-1] in CONVERSIONS]
    assert ("eV", "kcal/mol") in both and ("mg/L", "ng/mL") in both
    for source, target in both:
        there_and_back = CONVERSIONS[source, target] * CONVERSIONS[target, source]
        assert there_and_back == pytest.approx(1, rel=1e-12), (source, target)


def test_a_mass_in_a_volume_is_no_number_of_moles():
    with pytest.raises(ValueError, match="no conversion from ug/mL to uM"):
        conversion_factor("ug/mL", "uM")
