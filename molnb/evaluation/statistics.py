"""Intervals on differences between methods."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from ..errors import InputError
from ..shapes import Float


class Interval(NamedTuple):
    """A mean difference with its 95 % interval, and the p value of no difference."""

    mean: float
    low: float
    high: float
    p: float


def corrected_interval(
    differences: Float[np.ndarray, " fold"], test_to_train: float, level: float = 0.95
) -> Interval:
    """Nadeau and Bengio's interval on a mean difference, from the differences in k folds.

    The mean has the variance (1/k + n_test/n_train) s², and k - 1 degrees of freedom. With
    `test_to_train` 0 this is the plain interval over folds, which is too narrow, since the training
    sets of folds overlap. Raises InputError for less than two folds and for missing differences.
    """
    differences = np.asarray(differences, float)
    k = len(differences)
    if k < 2 or not np.isfinite(differences).all():
        raise InputError(
            "an interval needs at least 2 folds with finite differences, "
            f"there are {differences.tolist()}"
        )
    mean = float(differences.mean())
    deviation = float(differences.std(ddof=1))
    error = deviation * (1 / k + test_to_train) ** 0.5
    half_width = float(error * stats.t.ppf(0.5 + level / 2, k - 1))
    p = float(2 * stats.t.sf(abs(mean) / error, k - 1)) if error else float(mean == 0)
    return Interval(mean, mean - half_width, mean + half_width, p)
