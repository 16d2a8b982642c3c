"""Metrics by name: one number for measured and predicted values, and which way is better.

A score is a function of (truth, prediction, weights), where `weights` count each item that often:
one row a draw of a bootstrap, or ones. Binary labels are 0 and 1, held against the predicted
probability of 1; several classes are numbers, held against the probabilities of all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ..errors import InputError, did_you_mean
from ..objectives.ranking import auroc, average_precision, macro, rank_correlation

REGRESSION = "regression"  # kinds of tasks that can be compared
BINARY = "binary"
CLASSES = "classes"  # a kind of task, beside those that can be compared
Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Metric(NamedTuple):
    """A score of predictions, and how tables and sentences speak of it."""

    of_kind: Mapping[str, Score]  # by the kinds of tasks that it is for
    heading: str
    words: str
    in_unit: bool = True  # of the label
    higher_is_better: bool = False

    def score(self, truth: np.ndarray, prediction: np.ndarray) -> float:
        """The score of values that all count once; of a metric for several kinds, the first."""
        score = next(iter(self.of_kind.values()))
        truth = np.asarray(truth)
        return float(score(truth, np.asarray(prediction), np.ones(len(truth))))


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of values, a number a draw."""
    return (weights @ values) / weights.sum(-1)


def mean_absolute_error(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean size of the errors, in the unit of the values."""
    return _mean(np.abs(guess - truth), weights)


def root_mean_square_error(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Root of the mean squared error, in the unit of the values."""
    return np.sqrt(_mean((guess - truth) ** 2, weights))


def explained_variance(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """R²: 1 less the squared error over that of the mean of these values; NaN where all are one."""
    centred = truth - truth.mean()  # no digits are lost where the mean is large
    spread = _mean(centred**2, weights) - _mean(centred, weights) ** 2
    has_spread = spread > 1e-12 * np.ptp(truth) ** 2
    ratio = _mean((guess - truth) ** 2, weights) / np.where(has_spread, spread, 1.0)
    return np.where(has_spread, 1 - ratio, np.nan)


def brier_score(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean squared error of the probability (Brier 1950)."""
    return _mean((guess - truth) ** 2, weights)


def accuracy(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of items whose likeliest class is the true one."""
    return _mean((guess.argmax(-1) == truth).astype(float), weights)


def roc_area(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve; NaN where one class is missing."""
    return auroc(guess, truth > 0.5, weights)


def mean_precision(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision; NaN where one class is missing."""
    return average_precision(guess, truth > 0.5, weights)


def mean_roc_area(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The area under the ROC curve of each class against the rest, their mean."""
    return macro(auroc, guess, truth, weights)


def mean_class_precision(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The average precision of each class against the rest, their mean."""
    return macro(average_precision, guess, truth, weights)


_HIGHER = {"in_unit": False, "higher_is_better": True}
METRICS = {
    "mae": Metric({REGRESSION: mean_absolute_error}, "MAE", "mean absolute error"),
    "rmse": Metric({REGRESSION: root_mean_square_error}, "RMSE", "root mean square error"),
    "r2": Metric({REGRESSION: explained_variance}, "R²", "explained variance", **_HIGHER),
    "spearman": Metric({REGRESSION: rank_correlation}, "Spearman", "rank correlation", **_HIGHER),
    "auroc": Metric(
        {BINARY: roc_area, CLASSES: mean_roc_area}, "AUROC", "area under the ROC curve", **_HIGHER
    ),
    "ap": Metric(
        {BINARY: mean_precision, CLASSES: mean_class_precision},
        "average precision",
        "average precision",
        **_HIGHER,
    ),
    "brier": Metric({BINARY: brier_score}, "Brier", "Brier score", in_unit=False),
    "accuracy": Metric({CLASSES: accuracy}, "accuracy", "accuracy", **_HIGHER),
}
DEFAULT = {REGRESSION: "mae", BINARY: "auroc"}  # the metric that differences are of


def find_metric(name: str, kind: str | None = None) -> Metric:
    """A metric by its name; raises InputError for one that does not exist, or not for a kind."""
    if name not in METRICS:
        raise InputError(
            f"unknown metric {name!r}{did_you_mean(name, METRICS)}: "
            f"choose one of {', '.join(METRICS)}"
        )
    metric = METRICS[name]
    if kind is not None and kind not in metric.of_kind:
        raise InputError(
            f"the metric {name!r} is for {' and '.join(metric.of_kind)} and not for {kind}: choose "
            f"one of {', '.join(scores_of(kind))}"
        )
    return metric


def scores_of(kind: str) -> dict[str, Score]:
    """The scores of a kind of task, by the name of the metric."""
    return {name: m.of_kind[kind] for name, m in METRICS.items() if kind in m.of_kind}
