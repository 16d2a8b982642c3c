"""Folds part no group, cover every row and are of like size."""

from __future__ import annotations

import numpy as np
import pytest
from made_benchmarks import made_benchmark

from molnb.errors import InputError
from molnb.evaluation.folds import Fold, inner_split, make_folds, random_folds


@pytest.mark.parametrize("seed", range(3))
def test_folds_part_no_group_cover_all_and_are_of_like_size(seed):
    groups = np.random.default_rng(seed).integers(0, 60, 500) ** 2 // 40  # some large, many small
    folds = make_folds(groups, 5, seed)
    assert sorted(np.concatenate([f.test for f in folds])) == list(range(500))
    for fold in folds:
        assert not set(groups[fold.train]) & set(groups[fold.test])
        assert sorted([*fold.train, *fold.test]) == list(range(500))
    sizes = [len(f.test) for f in folds]
    assert np.bincount(groups).max() > 40, "a large group, and yet"
    assert max(sizes) - min(sizes) < 10


def test_equal_seeds_give_equal_folds_and_others_do_not():
    def rows_by_fold(seed: int) -> list[list[int]]:
        return [fold.test.tolist() for fold in random_folds(100, 5, seed)]

    assert rows_by_fold(0) == rows_by_fold(0) != rows_by_fold(1)


@pytest.mark.parametrize(
    "groups", [np.arange(40), np.repeat(np.arange(10), 4), np.zeros(40, int), [0] * 36 + [1] * 4]
)
def test_the_inner_split_uses_training_rows_only_and_parts_no_group_that_it_can_keep(groups):
    benchmark = made_benchmark(range(40), groups)
    fold = Fold(np.arange(30), np.arange(30, 40))
    learn, stop = inner_split(benchmark, fold, seed=1)
    assert sorted([*learn, *stop]) == list(range(30)) and len(learn) and len(stop)
    if len(set(groups)) > 5:
        assert not set(benchmark.groups[learn]) & set(benchmark.groups[stop])
        assert len(stop) <= 8


def test_groups_that_cannot_fill_the_folds_are_refused():
    with pytest.raises(InputError, match="2 groups cannot fill 5 folds"):
        make_folds(np.array([0, 0, 1, 1]))
    with pytest.raises(InputError, match="1 folds"):
        make_folds(np.arange(9), 1)
