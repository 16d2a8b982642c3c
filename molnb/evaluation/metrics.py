"""Metrics by name: one number for measured and predicted values, and which way is better.

Those of binary labels compare 0 and 1 with the predicted probability of 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from ..errors import InputError, did_you_mean
from ..objectives.ranking import auroc, average_precision
from .benchmark import BINARY, REGRESSION


class Metric(NamedTuple):
    """A score of predictions, and how tables and sentences speak of it."""

    score: Callable[[np.ndarray, np.ndarray], float]  # (truth, prediction)
    heading: str
    words: str
    in_unit: bool = True  # of the label
    higher_is_better: bool = False
    kind: str = REGRESSION  # of the tasks that it is for


def mean_absolute_error(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Mean size of the errors, in the unit of the values."""
    return float(np.abs(prediction - truth).mean())


def root_mean_square_error(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Root of the mean squared error, in the unit of the values."""
    return float(np.sqrt(np.mean((prediction - truth) ** 2)))


def rank_correlation(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Spearman's correlation; 0 where all predictions, or all measured values, are the same.

    Predictions are the same where they vary by a millionth of what the values vary: that is
    rounding, in any unit.
    """
    if np.ptp(prediction) <= 1e-6 * np.ptp(truth) or np.ptp(truth) == 0:
        return 0.0
    return float(stats.spearmanr(prediction, truth).statistic)


def roc_area(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Area under the ROC curve; NaN where one class is missing."""
    return float(auroc(np.asarray(prediction), np.asarray(truth) > 0.5))


def mean_precision(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Average precision; NaN where one class is missing."""
    return float(average_precision(np.asarray(prediction), np.asarray(truth) > 0.5))


def brier_score(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Mean squared error of the probability (Brier 1950)."""
    return float(np.mean((prediction - truth) ** 2))


_RANKS = {"in_unit": False, "higher_is_better": True}
METRICS = {
    "mae": Metric(mean_absolute_error, "MAE", "mean absolute error"),
    "rmse": Metric(root_mean_square_error, "RMSE", "root mean square error"),
    "spearman": Metric(rank_correlation, "Spearman", "rank correlation", **_RANKS),
    "auroc": Metric(roc_area, "AUROC", "area under the ROC curve", **_RANKS, kind=BINARY),
    "ap": Metric(mean_precision, "average precision", "average precision", **_RANKS, kind=BINARY),
    "brier": Metric(brier_score, "Brier", "Brier score", in_unit=False, kind=BINARY),
}
DEFAULT = {REGRESSION: "mae", BINARY: "auroc"}  # the metric that differences are of


def find_metric(name: str, kind: str | None = None) -> Metric:
    """A metric by its name; raises InputError for one that does not exist, or not for a kind."""
    if name not in METRICS:
        raise InputError(
            f"unknown metric {name!r}{did_you_mean(name, METRICS)}: "
            f"choose one of {', '.join(METRICS)}"
        )
    if kind is not None and METRICS[name].kind != kind:
        fitting = ", ".join(other for other, metric in METRICS.items() if metric.kind == kind)
        raise InputError(
            f"the metric {name!r} is for {METRICS[name].kind} and not for {kind}: choose one of "
            f"{fitting}"
        )
    return METRICS[name]
