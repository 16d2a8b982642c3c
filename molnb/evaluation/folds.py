"""Folds that never part what belongs together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..rng import hash64
from ..shapes import Int
from .benchmark import BenchmarkTask


class Fold(NamedTuple):
    """Rows of an assay: what a method may learn from, and what it is judged by."""

    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]


def make_folds(groups: Int[np.ndarray, " row"], n_fold: int = 5, seed: int = 0) -> list[Fold]:
    """Folds that never part a group: the largest groups first, each into the fold that is emptiest.

    Groups of one size come in an order drawn from `seed`. Raises InputError if there are fewer
    groups than folds.
    """
    if n_fold < 2:
        raise InputError(
            f"{n_fold} folds leave nothing to learn from or nothing to judge by: use 2 or more"
        )
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < n_fold:
        raise InputError(
            f"{len(names)} groups cannot fill {n_fold} folds: use fewer folds, or random_folds by molecule"
        )
    filled, fold_of = np.zeros(n_fold), np.zeros(len(names), int)
    for group in np.lexsort((hash64(seed, names), -sizes)):
        fold_of[group] = filled.argmin()
        filled[filled.argmin()] += sizes[group]
    side = fold_of[inverse]
    return [Fold(np.flatnonzero(side != k), np.flatnonzero(side == k)) for k in range(n_fold)]


def random_folds(n: int, n_fold: int = 5, seed: int = 0) -> list[Fold]:
    """Folds by molecule: interpolation inside a series, for comparison with grouped folds."""
    return make_folds(np.arange(n), n_fold, seed)


def inner_split(
    benchmark: BenchmarkTask, fold: Fold, share: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Training rows of a fold divided once more, by group, for early stopping: (learn from, stop
    by).

    No test row is looked at. Groups are drawn until `share` of the rows is reached; a group of more
    than twice that is passed over, and single molecules are drawn where no group fits.
    """
    groups = benchmark.groups[fold.train]
    names = np.unique(groups)
    wanted, held, count = share * len(fold.train), [], 0
    for name in names[np.argsort(hash64(seed, 1, names))]:
        size = int((groups == name).sum())
        if count < wanted and size <= max(2 * wanted, 1):
            held.append(name)
            count += size
    stop = np.isin(groups, held)
    if stop.all() or not stop.any():  # one group, or none small enough
        stop = hash64(seed, 2, np.arange(len(groups))) % np.uint64(round(1 / share)) == 0
    if stop.all() or not stop.any():
        stop = np.arange(len(groups)) == 0
    return fold.train[~stop], fold.train[stop]
