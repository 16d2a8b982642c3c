"""How far predicted losses are from measured ones: the paper's four measures (Eq. 13 to 16)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ...errors import InputError
from ...shapes import Float

MEASURES = ("rmae", "mse", "r2", "pearson")
_ROUNDING = 1e-12  # relative spread below which numbers are all one


def forecast_measures(measured: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """`rmae`, `mse`, `r2` and `pearson` of predictions.

    The mean of |y' - y| / |y|, the mean of (y' - y)², 1 less the sum of squared errors over that
    about the mean, and Pearson's correlation r. R² is at most r², which is that of the best line
    through the predictions. NaN where one is undefined: rmae where a measured value is 0, R² where
    all measured values are one, r where they or the predictions are. R² and r of few points that
    hardly fall say little: the mean of the measured values, which R² compares with, is known only
    afterwards. Raises InputError for no points, different numbers of them, or missing values.
    """
    measured = np.asarray(measured, np.float64)
    predicted = np.asarray(predicted, np.float64)
    if measured.shape != predicted.shape or measured.ndim != 1 or not len(measured):
        raise InputError(
            f"measured losses are {measured.shape}, predicted ones {predicted.shape}: give two "
            "lists of equal length, of at least one"
        )
    n_bad = int((~(np.isfinite(measured) & np.isfinite(predicted))).sum())
    if n_bad:
        raise InputError(f"{n_bad} of {len(measured)} pairs lack a number: leave them out")
    errors = predicted - measured
    squares = float((errors**2).sum())
    spread = _squares_about_mean(measured)
    return {
        "rmae": float((np.abs(errors) / np.abs(measured)).mean()) if measured.all() else np.nan,
        "mse": squares / len(measured),
        "r2": 1 - squares / spread if spread else np.nan,
        "pearson": _correlation(measured, predicted),
    }


def _squares_about_mean(values: Float[np.ndarray, " point"]) -> float:
    """The sum of squares about the mean; 0 where all values are one but for rounding."""
    if np.ptp(values) <= _ROUNDING * np.abs(values).max():
        return 0.0
    return float(((values - values.mean()) ** 2).sum())


def _correlation(first: Float[np.ndarray, " point"], second: Float[np.ndarray, " point"]) -> float:
    """Pearson's correlation; NaN where one of both does not vary."""
    product = _squares_about_mean(first) * _squares_about_mean(second)
    if not product:
        return float("nan")
    return float(((first - first.mean()) * (second - second.mean())).sum() / np.sqrt(product))
