"""Learning curves share nothing they need not share, and say what they can resolve."""

from __future__ import annotations

import numpy as np
import pytest
from made_benchmarks import made_benchmark

from molnb.errors import InputError
from molnb.evaluation.statistics import corrected_interval
from molnb.evaluation.studies.design import make_design, resolvable


@pytest.fixture(scope="module")
def design():
    return make_design(made_benchmark(np.arange(500.0)), (20, 50, 100, 400), 5)


def test_training_sets_are_nested_and_never_hold_test_rows(design):
    for number, fold in enumerate(design.folds):
        smaller = set()
        for size in design.sizes:
            rows = set(design.learnt(number, size).tolist())
            assert len(rows) == size and smaller <= rows
            assert not rows & set(fold.test.tolist())
            smaller = rows


def test_small_training_sets_of_two_folds_share_no_molecule(design):
    """Up to a fold's own share of the rows; whole ones overlap as in a cross-validation."""
    assert design.overlap(20) == 0 and design.overlap(50) == 0
    assert design.overlap(100) < 0.12
    assert design.overlap(400) == pytest.approx(0.75, abs=0.01)


def test_the_correction_grows_from_none_to_that_of_nadeau_and_bengio(design):
    assert design.correction(50) == 0
    assert 0 < design.correction(100) < design.correction(400)
    assert design.correction(400) == pytest.approx(0.25, abs=0.01)


def test_relatives_are_in_one_fold():
    groups = np.repeat(np.arange(50), 4)
    design = make_design(made_benchmark(np.arange(200.0), groups), (20,), 5)
    for number, fold in enumerate(design.folds):
        learnt = groups[design.learnt(number, 20)]
        assert not set(learnt) & set(groups[fold.test])


def test_the_smallest_difference_is_found_in_four_of_five_repetitions():
    """Arms that differ by it are told apart with a power of 0.8 on average, as is promised."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(4000):
        smallest = resolvable(random.normal(size=5), 0.0)
        # another study of the same design whose arms differ by what was promised on average
        found.append(smallest)
    difference = float(np.mean(found))
    studies = random.normal(difference, 1, size=(4000, 5))
    intervals = [corrected_interval(study, 0.0) for study in studies]
    power = np.mean([interval.low > 0 for interval in intervals])
    assert 0.7 < power < 0.9


def test_sizes_that_no_fold_has_are_refused():
    benchmark = made_benchmark(np.arange(50.0))
    with pytest.raises(InputError, match="from 2 to 40"):
        make_design(benchmark, (20, 41), 5)
    with pytest.raises(InputError, match="sizes are none"):
        make_design(benchmark, (), 5)
