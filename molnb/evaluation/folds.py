"""Folds of a benchmark for cross-validation, which never part relatives, and their inner split."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..rng import hash64
from ..shapes import Int, Shaped
from .benchmark import BenchmarkTask
from .metrics import BINARY


class Fold(NamedTuple):
    """Rows of a benchmark: those a method may learn from, and those it is tested on."""

    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]


def make_folds(
    groups: Int[np.ndarray, " row"],
    n_fold: int = 5,
    seed: int = 0,
    values: Shaped[np.ndarray, " row"] | None = None,
) -> list[Fold]:
    """Training and test rows of each fold: the largest groups first, each into the emptiest fold.

    No group is parted. Groups of one size come in an order drawn from `seed`. With `values` of
    a binary label, groups that hold the rarer class are dealt out before the others, each to the
    fold that has least of it, and every fold has both classes on both sides. Raises InputError if
    there are fewer groups than folds, in all or of one class.
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
    order = np.lexsort((hash64(seed, names), -sizes))
    if values is None:
        fold_of_group = _dealt_by_size(order, sizes, n_fold)
    else:
        n_rare = _rarer_in_group(np.asarray(values), group_of_row, n_fold)
        fold_of_group = _dealt_by_class(order, sizes, n_rare, n_fold)
    fold_of_row = fold_of_group[group_of_row]
    folds = [
        Fold(np.flatnonzero(fold_of_row != number), np.flatnonzero(fold_of_row == number))
        for number in range(n_fold)
    ]
    if values is not None:
        for number, fold in enumerate(folds):
            check_both_classes(np.asarray(values), fold, number)
    return folds


def _dealt_by_size(order: np.ndarray, sizes: np.ndarray, n_fold: int) -> np.ndarray:
    """The fold of each group: in their order, each into the fold with fewest rows so far."""
    n_in_fold = np.zeros(n_fold)
    fold_of_group = np.zeros(len(order), int)
    for group in order:
        emptiest = n_in_fold.argmin()
        fold_of_group[group] = emptiest
        n_in_fold[emptiest] += sizes[group]
    return fold_of_group


def _dealt_by_class(
    order: np.ndarray, sizes: np.ndarray, n_rare: np.ndarray, n_fold: int
) -> np.ndarray:
    """The fold of each group: those with most of the rarer class first, to where least of it is.

    The others follow in their order, each into the fold with fewest rows.
    """
    rows_in_fold = np.zeros(n_fold)
    rare_in_fold = np.zeros(n_fold)
    fold_of_group = np.zeros(len(order), int)
    for group in order[np.argsort(-n_rare[order], kind="stable")]:
        keys = (rows_in_fold, rare_in_fold) if n_rare[group] else (rows_in_fold,)
        chosen = np.lexsort(keys)[0]
        fold_of_group[group] = chosen
        rows_in_fold[chosen] += sizes[group]
        rare_in_fold[chosen] += n_rare[group]
    return fold_of_group


def _rarer_in_group(values: np.ndarray, group_of_row: np.ndarray, n_fold: int) -> np.ndarray:
    """How many rows of the rarer class each group has; refused where too few groups have one."""
    classes, counts = np.unique(values, return_counts=True)
    if len(classes) != 2:
        raise InputError(
            f"the values are of {len(classes)} kinds: folds are balanced for the two of a binary "
            "label"
        )
    n_of_class = [np.bincount(group_of_row, values == of_class) for of_class in classes]
    for value, count, of_groups in zip(classes, counts, n_of_class):
        n_group = int((of_groups > 0).sum())
        if n_group < n_fold:
            raise InputError(
                f"the {count} rows of class {value:g} lie in {n_group} groups and cannot be in "
                f"each of {n_fold} folds: use fewer folds, or random_folds by molecule"
            )
    return n_of_class[int(counts.argmin())]


def check_both_classes(values: np.ndarray, fold: Fold, number: int) -> None:
    """Raise InputError unless both sides of a fold have both classes of a binary label."""
    for side, rows in zip(("training", "test"), fold):
        if len(np.unique(values[rows])) < 2:
            raise InputError(
                f"fold {number}: all {len(rows)} {side} rows are of class {values[rows][0]:g}, so "
                "there is nothing to tell apart. Make the folds with make_folds(groups, "
                "values=benchmark.values), or fewer of them"
            )


def random_folds(
    n: int, n_fold: int = 5, seed: int = 0, values: Shaped[np.ndarray, " row"] | None = None
) -> list[Fold]:
    """Folds by molecule: interpolation inside a series, for comparison with grouped folds."""
    return make_folds(np.arange(n), n_fold, seed, values)


def inner_split(
    benchmark: BenchmarkTask, fold: Fold, share: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Training rows of a fold, divided by group for early stopping: (learn from, stop by).

    No test row is looked at. Groups are drawn until `share` of the rows is reached; a group of more
    than twice that is passed over, and so is one that holds the last rows of a class of a binary
    label. Single molecules are drawn where no group fits.
    """
    groups = benchmark.groups[fold.train]
    names = np.unique(groups)
    target = share * len(fold.train)
    stop_groups = []
    n_stop = 0
    values = benchmark.values[fold.train]
    for name in names[np.argsort(hash64(seed, 1, names))]:
        size = int((groups == name).sum())
        fits = n_stop < target and size <= max(2 * target, 1)
        if fits and benchmark.kind == BINARY:
            left = ~np.isin(groups, [*stop_groups, name])
            fits = len(np.unique(values[left])) == 2
        if fits:
            stop_groups.append(name)
            n_stop += size
    stop = np.isin(groups, stop_groups)
    if stop.all() or not stop.any():  # one group, or none small enough
        stop = hash64(seed, 2, np.arange(len(groups))) % np.uint64(round(1 / share)) == 0
    if stop.all() or not stop.any():  # so few rows that the draw took all or none
        stop = np.arange(len(groups)) == 0
    return fold.train[~stop], fold.train[stop]
