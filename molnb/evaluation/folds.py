"""Folds of a benchmark for cross-validation, which never part relatives, and their inner split."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..rng import hash64
from ..shapes import Int
from .benchmark import BenchmarkTask


class Fold(NamedTuple):
    """Rows of a benchmark: those a method may learn from, and those it is tested on."""

    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]


def make_folds(groups: Int[np.ndarray, " row"], n_fold: int = 5, seed: int = 0) -> list[Fold]:
    """Training and test rows of each fold: the largest groups first, each into the emptiest fold.

    No group is parted. Groups of one size come in an order drawn from `seed`. Raises InputError if
    there are fewer groups than folds.
    """
    if n_fold < 2:
        raise InputError(
            f"{n_fold} folds leave nothing to learn from or nothing to judge by: use 2 or more"
        )
    names, group_of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < n_fold:
        raise InputError(
            f"{len(names)} groups cannot fill {n_fold} folds: "
            "use fewer folds, or random_folds by molecule"
        )
    n_in_fold = np.zeros(n_fold)
    fold_of_group = np.zeros(len(names), int)
    for group in np.lexsort((hash64(seed, names), -sizes)):
        emptiest = n_in_fold.argmin()
        fold_of_group[group] = emptiest
        n_in_fold[emptiest] += sizes[group]
    fold_of_row = fold_of_group[group_of_row]
    return [
        Fold(np.flatnonzero(fold_of_row != number), np.flatnonzero(fold_of_row == number))
        for number in range(n_fold)
    ]


def random_folds(n: int, n_fold: int = 5, seed: int = 0) -> list[Fold]:
    """Folds by molecule: interpolation inside a series, for comparison with grouped folds."""
    return make_folds(np.arange(n), n_fold, seed)


def inner_split(
    benchmark: BenchmarkTask, fold: Fold, share: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Training rows of a fold, divided by group for early stopping: (learn from, stop by).

    No test row is looked at. Groups are drawn until `share` of the rows is reached; a group of more
    than twice that is passed over, and single molecules are drawn where no group fits.
    """
    groups = benchmark.groups[fold.train]
    names = np.unique(groups)
    target = share * len(fold.train)
    stop_groups = []
    n_stop = 0
    for name in names[np.argsort(hash64(seed, 1, names))]:
        size = int((groups == name).sum())
        if n_stop < target and size <= max(2 * target, 1):
            stop_groups.append(name)
            n_stop += size
    stop = np.isin(groups, stop_groups)
    if stop.all() or not stop.any():  # one group, or none small enough
        stop = hash64(seed, 2, np.arange(len(groups))) % np.uint64(round(1 / share)) == 0
    if stop.all() or not stop.any():  # so few rows that the draw took all or none
        stop = np.arange(len(groups)) == 0
    return fold.train[~stop], fold.train[stop]
