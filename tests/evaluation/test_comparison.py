"""A comparison fits every method on every fold, and takes no answer that is none."""

from __future__ import annotations

import numpy as np
import pytest
from made_benchmarks import compared, made_benchmark, off_by

from molnb.errors import InputError
from molnb.evaluation.comparison import Fitted, compare, extend
from molnb.evaluation.folds import Fold
from molnb.evaluation.report import comparison_table


@pytest.fixture
def benchmark():
    return made_benchmark(np.random.default_rng(0).normal(size=50))


def test_a_method_that_is_compared_again_takes_its_place(benchmark):
    comparison = compared(benchmark, {"LightGBM": off_by(0.4), "other": off_by(0.5)})
    extend(comparison, {"other": off_by(0.1)}, progress=False)
    rows = comparison_table(comparison.results).set_index("method")
    assert len(rows) == 2 and np.isclose(rows["mae"]["other"], 0.102)


def test_a_fold_without_test_molecules_is_refused(benchmark):
    folds = [Fold(np.arange(25), np.arange(25, 50)), Fold(np.arange(50), np.arange(0))]
    with pytest.raises(InputError, match="fold 1 has 50 labelled training and 0 test molecules"):
        compare(benchmark, folds, {})


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (np.zeros(3), r"'bad', fold 0: test predictions have shape \(3,\), not"),
        (np.full(10, np.nan), "'bad', fold 0: 10 test predictions are no number"),
    ],
)
def test_predictions_of_another_shape_or_that_are_no_number_are_refused(benchmark, test, message):
    def fit(benchmark, fold, number):
        return Fitted(benchmark.values[fold.train], test)

    with pytest.raises(InputError, match=message):
        compared(benchmark, {"bad": fit})
