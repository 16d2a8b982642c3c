"""The paper's measures, by hand, and where they are not defined."""

from __future__ import annotations

import math

import numpy as np
import pytest

from molnb import forecast_measures
from molnb.errors import InputError
from molnb.evaluation.scaling.measures import MEASURES

MEASURED = np.array([1.0, 2.0, 4.0])


def test_measures_are_those_of_the_equations():
    found = forecast_measures(MEASURED, np.array([1.1, 1.8, 4.4]))
    assert tuple(found) == MEASURES
    assert found["rmae"] == pytest.approx((0.1 + 0.1 + 0.1) / 3)
    assert found["mse"] == pytest.approx((0.01 + 0.04 + 0.16) / 3)
    spread = (4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2
    assert found["r2"] == pytest.approx(1 - 0.21 / spread)
    assert found["pearson"] == pytest.approx(np.corrcoef(MEASURED, [1.1, 1.8, 4.4])[0, 1])


def test_r2_is_never_above_the_square_of_the_correlation():
    random = np.random.default_rng(0)
    for _ in range(200):
        measured, predicted = random.normal(size=(2, 7)) + random.normal(size=(2, 1))
        found = forecast_measures(measured, predicted)
        assert found["r2"] <= found["pearson"] ** 2 + 1e-12


def test_a_perfect_forecast_and_a_line_of_it():
    assert forecast_measures(MEASURED, MEASURED) == {"rmae": 0, "mse": 0, "r2": 1, "pearson": 1}
    half = forecast_measures(MEASURED, MEASURED / 2)
    assert half["pearson"] == pytest.approx(1) and half["r2"] < 0 and half["rmae"] == 0.5


def test_what_is_not_defined_is_missing():
    flat = forecast_measures(np.full(3, 0.1), MEASURED)
    assert math.isnan(flat["r2"]) and math.isnan(flat["pearson"]) and flat["rmae"] > 0
    constant = forecast_measures(MEASURED, np.full(3, 0.1))
    assert math.isnan(constant["pearson"]) and math.isfinite(constant["r2"])
    zero = forecast_measures(np.array([0.0, 1.0]), np.array([0.5, 1.0]))
    assert math.isnan(zero["rmae"]) and zero["mse"] == 0.125
    one = forecast_measures(np.array([2.0]), np.array([1.0]))
    assert one["rmae"] == 0.5 and math.isnan(one["r2"])


@pytest.mark.parametrize(
    ("measured", "predicted", "message"),
    [
        ([], [], "of at least one"),
        ([1.0, 2.0], [1.0], r"\(2,\), predicted ones \(1,\)"),
        ([1.0, np.nan], [1.0, 2.0], "1 of 2 pairs lack a number"),
    ],
)
def test_what_cannot_be_compared_is_refused(measured, predicted, message):
    with pytest.raises(InputError, match=message):
        forecast_measures(measured, predicted)
