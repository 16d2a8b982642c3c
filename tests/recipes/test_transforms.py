"""Transforms: what becomes of a number, and of its unit."""

from __future__ import annotations

import pytest

from molnb.recipes.values.transforms import parse_transform


@pytest.mark.parametrize(
    ("text", "unit", "value", "result", "result_unit"),
    [
        ("-log10:nM->M", "nM", 1.0, 9.0, "-log10(M)"),
        ("-log10:uM->M", "uM", 10.0, 5.0, "-log10(M)"),
        ("-log10:µM->M", "µM", 100.0, 4.0, "-log10(M)"),
        ("log10:mM->M", "mM", 1.0, -3.0, "log10(M)"),
        ("log10", "mg/L", 1000.0, 3.0, "log10(mg/L)"),
        ("log10:nM->uM", "nM", 1000.0, 0.0, "log10(uM)"),
        ("log1p", "1", 0.0, 0.0, "log1p(1)"),
        ("0.001:mg/L->g/L", "mg/L", 450.0, 0.45, "g/L"),
        ("-1:dG->-dG", "dG", 2.5, -2.5, "-dG"),
        ("27.211386:Hartree->eV", "Hartree", -1.0, -27.211386, "eV"),
        ("-log10:nM->M", "nM", 0.0, None, "-log10(M)"),
        ("log10", "1", -3.0, None, "log10(1)"),
        ("log1p", "1", -1.0, None, "log1p(1)"),
    ],
)
def test_values_and_units_follow_the_transform(
    text: str, unit: str, value: float, result: float | None, result_unit: str
) -> None:
    transform = parse_transform(text, unit)
    assert transform.unit == result_unit
    expected = None if result is None else pytest.approx(result)
    assert transform.apply(value) == expected


@pytest.mark.parametrize("unit", ["\u03bcM", "\u00b5M"])
@pytest.mark.parametrize("source", ["\u03bcM", "\u00b5M"])
def test_both_micro_signs_are_one(unit: str, source: str) -> None:
    assert parse_transform(f"-log10:{source}->M", unit).apply(100) == pytest.approx(4)
