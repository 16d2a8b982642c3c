"""Folds part no group, cover every row and are of like size."""

from __future__ import annotations

from dataclasses import replace

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


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.04, 0.3, 0.9])
def test_folds_of_a_binary_label_hold_both_classes_and_part_no_group(seed, share):
    random = np.random.default_rng([seed, int(100 * share)])
    groups = random.integers(0, 60, 500) ** 2 // 40
    values = (random.random(500) < share).astype(float)
    folds = make_folds(groups, 5, seed, values)
    assert sorted(np.concatenate([f.test for f in folds])) == list(range(500))
    for fold in folds:
        assert not set(groups[fold.train]) & set(groups[fold.test])
        assert set(values[fold.train]) == set(values[fold.test]) == {0, 1}
    sizes = [len(f.test) for f in folds]
    assert max(sizes) - min(sizes) < 50
    rarer = values == (share < 0.5)
    shares = [rarer[f.test].sum() / rarer.sum() for f in folds]
    assert max(shares) < 0.5, "no fold has most of the rarer class"


def test_where_every_molecule_is_a_group_the_classes_are_dealt_out_evenly():
    values = (np.arange(100) % 10 == 0).astype(float)
    folds = random_folds(100, 5, 0, values)
    assert [int(values[f.test].sum()) for f in folds] == [2] * 5
    assert [len(f.test) for f in folds] == [20] * 5


def test_too_few_groups_with_a_class_are_refused():
    values = np.r_[np.ones(6), np.zeros(34)]
    message = "the 6 rows of class 1 lie in 3 groups and cannot be in each of 5 folds"
    with pytest.raises(InputError, match=message):
        make_folds(np.r_[[0, 0, 1, 1, 2, 2], np.arange(3, 37)], 5, values=values)
    with pytest.raises(InputError, match="the values are of 40 kinds"):
        make_folds(np.arange(40), 5, values=np.arange(40))
    with pytest.raises(InputError, match="the 34 rows of class 0 lie in 2 groups"):
        make_folds(np.r_[np.arange(6), [7] * 30, [8] * 4], 5, values=values)


def test_the_inner_split_leaves_both_classes_to_learn_from():
    """Whatever is drawn, the only positive group stays."""
    values = np.zeros(40)
    values[:3] = 1
    groups = np.r_[[0, 0, 0], np.arange(1, 38)]
    benchmark = replace(made_benchmark(values, groups), kind="binary")
    for seed in range(20):
        learn, stop = inner_split(benchmark, Fold(np.arange(30), np.arange(30, 40)), 0.3, seed)
        assert set(values[learn]) == {0, 1} and len(stop) >= 9
        assert sorted([*learn, *stop]) == list(range(30))


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
