"""Intervals of differences between folds do not cry wolf."""

from __future__ import annotations

import numpy as np
import pytest

from molnb.errors import InputError
from molnb.evaluation.statistics import corrected_interval


def test_the_plain_interval_cries_wolf_and_the_corrected_one_does_not():
    """Two equally good methods, 5 x 5 repeated folds: how often does an interval exclude zero?"""
    draw = np.random.default_rng(0)
    n = 60
    k = 5
    times = 5
    repeats = 200
    alarms = {"plain": 0, "corrected": 0}
    for _ in range(repeats):
        x = draw.normal(size=(2, n, 4))
        noise = draw.normal(size=n)
        # Both sets of features say the same amount.
        y = x[0].sum(1) * 0.5 + x[1].sum(1) * 0.5 + noise
        differences = []
        for _ in range(times):
            for test in np.array_split(draw.permutation(n), k):
                train = np.setdiff1d(np.arange(n), test)
                errors = []
                for features in x:
                    x_train = features[train]
                    squares = x_train.T @ x_train + np.eye(4)
                    weights = np.linalg.solve(squares, x_train.T @ y[train])
                    errors.append(np.abs(features[test] @ weights - y[test]).mean())
                differences.append(errors[0] - errors[1])
        for kind, ratio in (("plain", 0.0), ("corrected", 1 / (k - 1))):
            interval = corrected_interval(np.array(differences), ratio)
            excludes_zero = interval.low > 0 or interval.high < 0
            assert excludes_zero == (interval.p < 0.05)
            alarms[kind] += excludes_zero
    assert alarms["plain"] / repeats > 0.3
    assert alarms["corrected"] / repeats < 0.1


def test_intervals_agree_with_the_formula_and_refuse_what_they_cannot_judge():
    interval = corrected_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 0.25)
    half = 2.7764451 * (2.5 * (1 / 5 + 0.25)) ** 0.5  # t of 4 degrees of freedom; variance 2.5
    assert np.allclose([interval.mean, interval.low, interval.high], [3, 3 - half, 3 + half])
    assert corrected_interval(np.zeros(5), 0.25) == (0, 0, 0, 1)
    for bad in ([1.0], [1.0, np.nan]):
        with pytest.raises(InputError, match="at least 2 folds with finite differences"):
            corrected_interval(np.array(bad), 0.25)
