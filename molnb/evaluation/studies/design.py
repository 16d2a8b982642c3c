"""The design of a learning curve: who is learnt from, who is tested, what can be told apart at all.

Folds part relatives (`make_folds`). Of each fold's training rows nested subsets are learnt from.
They begin with rows that no other fold's begin with, so that small training sets of different folds
share nothing, and their results are as good as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from ...errors import InputError
from ...rng import hash64
from ...shapes import Float, Int
from ..benchmark import BenchmarkTask
from ..folds import Fold, make_folds
from ..statistics import Interval, corrected_interval

POWER = 0.8  # with which the smallest difference would be found
LEVEL = 0.95
_HOME, _ORDER = 301, 302  # channels of random numbers


@dataclass(frozen=True)
class Design:
    """Folds of an assay, and numbers of labels that are learnt from in each."""

    folds: tuple[Fold, ...]
    orders: tuple[Int[np.ndarray, " train"], ...]  # of a fold: its training rows as they are taken
    sizes: tuple[int, ...]

    def learnt(self, fold: int, size: int) -> Int[np.ndarray, " size"]:
        """The rows that are learnt from; those of a smaller size are among them."""
        return np.sort(self.orders[fold][:size])

    def overlap(self, size: int) -> float:
        """The share of a fold's training rows that another fold learns from too, on average."""
        pairs = combinations(range(len(self.folds)), 2)
        shared = [len(np.intersect1d(self.learnt(a, size), self.learnt(b, size))) for a, b in pairs]
        return float(np.mean(shared)) / size

    def correction(self, size: int) -> float:
        """What stands beside 1/k in the variance of a mean over k folds, as far as they overlap.

        Nadeau and Bengio's n_test / n_train is meant for training sets that overlap as those of a
        cross-validation do. Sets that share less are less dependent: here it is taken in
        proportion to what they share, and nothing is added where they share nothing.
        """
        n_fold = len(self.folds)
        if n_fold < 3:
            return 0.0  # two folds of a cross-validation learn from different rows
        of_whole_folds = (n_fold - 2) / (n_fold - 1)
        test_to_train = np.mean([len(fold.test) / len(fold.train) for fold in self.folds])
        return float(test_to_train * self.overlap(size) / of_whole_folds)


def make_design(
    benchmark: BenchmarkTask, sizes: Sequence[int], n_fold: int = 5, seed: int = 0
) -> Design:
    """Grouped folds of an assay and nested training sets of these sizes.

    Raises InputError for a size that some fold has no rows for.
    """
    folds = make_folds(benchmark.groups, n_fold, seed)
    smallest = min(len(fold.train) for fold in folds)
    sizes = tuple(sorted(dict.fromkeys(int(size) for size in sizes)))
    if not sizes or sizes[0] < 2 or sizes[-1] > smallest:
        raise InputError(
            f"sizes are {', '.join(map(str, sizes)) or 'none'}: give numbers of labels of "
            f"{benchmark.label} from 2 to {smallest}, the fewest training rows of a fold"
        )
    rows = np.arange(len(benchmark.ids))
    fold_of_test = np.zeros(len(rows), int)
    for number, fold in enumerate(folds):
        fold_of_test[fold.test] = number
    # each row belongs to one of the other folds, which takes it before rows that are not its own
    step = 1 + hash64(seed, _HOME, rows) % np.uint64(n_fold - 1)
    home = (fold_of_test + step.astype(int)) % n_fold
    orders = []
    for number, fold in enumerate(folds):
        drawn = hash64(seed, _ORDER, number, fold.train)
        orders.append(fold.train[np.lexsort((drawn, home[fold.train] != number))])
    return Design(tuple(folds), tuple(orders), sizes)


def relative_change(log_ratios: Float[np.ndarray, " fold"], correction: float) -> Interval:
    """A change in percent with its interval, from logarithms of ratios of errors, one a fold."""
    change = corrected_interval(log_ratios, correction)
    low, high = 100 * np.expm1([change.low, change.high])
    return Interval(float(100 * np.expm1(change.mean)), float(low), float(high), change.p)


def readable_change(change: Interval) -> str:
    """A change in percent with its interval, as text."""
    return f"{change.mean:+.1f} % ({change.low:+.1f} to {change.high:+.1f})"


def resolvable(differences: Float[np.ndarray, " fold"], correction: float) -> float:
    """The smallest difference that would be found in four of five repetitions of a design.

    From differences between two arms that differ in their seeds alone: what remains is noise. Arms
    that differ in more may vary more from fold to fold, so this is a lower limit. (Power 0.8 at a
    two-sided level of 0.05; the differences themselves need not have a mean of zero.)
    """
    k = len(differences)
    # around zero, which is known to be their mean: one degree of freedom is not spent
    spread = float(np.sqrt(np.mean(np.square(differences))))
    error = spread * (1 / k + correction) ** 0.5
    return float(error * (stats.t.ppf(0.5 + LEVEL / 2, k - 1) + stats.t.ppf(POWER, k - 1)))
