"""Metrics by name: one number for measured and predicted values, and which way is better."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from ..errors import InputError, did_you_mean


class Metric(NamedTuple):
    """A score of predictions, and how tables and sentences speak of it."""

    score: Callable[[np.ndarray, np.ndarray], float]  # (truth, prediction)
    heading: str
    words: str
    in_unit: bool = True  # of the label
    higher_is_better: bool = False


def mean_absolute_error(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Mean size of the errors, in the unit of the values."""
    return float(np.abs(prediction - truth).mean())


def root_mean_square_error(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Root of the mean squared error, in the unit of the values."""
    return float(np.sqrt(np.mean((prediction - truth) ** 2)))


def rank_correlation(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Spearman's correlation; 0 where all predictions, or all measured values, are the same."""
    if np.ptp(prediction) <= 1e-6 or np.ptp(truth) == 0:
        return 0.0
    return float(stats.spearmanr(prediction, truth).statistic)


METRICS = {
    "mae": Metric(mean_absolute_error, "MAE", "mean absolute error"),
    "rmse": Metric(root_mean_square_error, "RMSE", "root mean square error"),
    "spearman": Metric(
        rank_correlation, "Spearman", "rank correlation", in_unit=False, higher_is_better=True
    ),
}


def find_metric(name: str) -> Metric:
    """A metric by its name; raises InputError for one that does not exist."""
    if name not in METRICS:
        raise InputError(
            f"unknown metric {name!r}{did_you_mean(name, METRICS)}: "
            f"choose one of {', '.join(METRICS)}"
        )
    return METRICS[name]
