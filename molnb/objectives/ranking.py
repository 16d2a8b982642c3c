"""Rankings, ties included: ROC area and average precision of classes, Spearman's correlation.

The former two are those of scikit-learn on the same scores, in numpy alone, and undefined (NaN)
where there is no positive or no negative. `weights` say how often each item counts, one row a
resampled set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ..shapes import Bool, Float, Int, Shaped

RARE = 5  # of a class; with fewer a ranking says little, and it is said

Ranking = Callable[..., Float[np.ndarray, "*draw"]]  # (scores, positive, weights)


class _Steps(NamedTuple):
    """Weight of positives and of negatives at each distinct score, the highest score first."""

    hits: Float[np.ndarray, "*draw step"]
    misses: Float[np.ndarray, "*draw step"]


def _steps(
    scores: Shaped[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    weights: Shaped[np.ndarray, "*draw n"] | None,
) -> _Steps:
    """The weights of tied scores added up, so that no order among them counts."""
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    if not len(scores):
        nothing = np.zeros((*weights.shape[:-1], 0))
        return _Steps(nothing, nothing)
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    hits = np.add.reduceat(weights[..., order] * positive[order], starts, axis=-1)
    everything = np.add.reduceat(weights[..., order], starts, axis=-1)
    return _Steps(hits, everything - hits)


def _defined(value: np.ndarray | float, steps: _Steps) -> Float[np.ndarray, "*draw"]:
    """A score where there are positives and negatives, NaN elsewhere."""
    has_both = (steps.hits.sum(-1) > 0) & (steps.misses.sum(-1) > 0)
    return np.where(has_both, value, np.nan)


def auroc(
    scores: Shaped[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    weights: Shaped[np.ndarray, "*draw n"] | None = None,
) -> Float[np.ndarray, "*draw"]:
    """Share of (positive, negative) pairs in which the positive scores higher; a tie is half."""
    steps = _steps(scores, positive, weights)
    above = np.cumsum(steps.hits, -1) - steps.hits / 2
    n_pair = steps.hits.sum(-1) * steps.misses.sum(-1)
    value = (steps.misses * above).sum(-1) / np.where(n_pair > 0, n_pair, 1)
    return _defined(value, steps)


def average_precision(
    scores: Shaped[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    weights: Shaped[np.ndarray, "*draw n"] | None = None,
) -> Float[np.ndarray, "*draw"]:
    """Precision at the score of each positive, averaged over positives; tied scores are one."""
    steps = _steps(scores, positive, weights)
    n_found = np.cumsum(steps.hits, -1)
    n_named = n_found + np.cumsum(steps.misses, -1)
    precision = n_found / np.where(n_named > 0, n_named, 1)
    n_positive = steps.hits.sum(-1)
    value = (steps.hits * precision).sum(-1) / np.where(n_positive > 0, n_positive, 1)
    return _defined(value, steps)


class Ranked(NamedTuple):
    """Both rankings of each resampled set."""

    auroc: Float[np.ndarray, " draw"]
    ap: Float[np.ndarray, " draw"]


def rank_draws(
    scores: Shaped[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    weights: Shaped[np.ndarray, "n draw"],
) -> Ranked:
    """`auroc` and `average_precision` of many resampled sets, ten times as fast.

    Here an item is a row of the weights. Items are sorted and added up once for both scores, which
    then look at those sums only where a positive stands.
    """
    if not positive.any() or positive.all():
        nothing = np.full(weights.shape[1], np.nan)
        return Ranked(nothing, nothing)
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.flatnonzero(np.concatenate([ordered[1:] != ordered[:-1], [True]]))
    n_positive = np.cumsum(positive[order])[last]  # of distinct scores down to each
    has_positive = np.diff(n_positive, prepend=0) > 0
    last = last[has_positive]
    first = np.searchsorted(-ordered, -ordered[last])
    named = _running_sums(weights[order])
    found = _running_sums(weights[order[positive[order]]])
    found_to = found[n_positive[has_positive]].astype(np.float64)
    named_to = named[last + 1]
    hits = np.diff(found_to, axis=0, prepend=0.0)
    n_hit = found_to[-1]
    n_miss = named[-1] - n_hit
    # a negative counts as above where it scores more, and as half where it is tied
    above = (named_to + named[first] + hits) / 2 - found_to
    n_pair = n_hit * n_miss
    area = (hits * (n_miss - above)).sum(0) / np.where(n_pair > 0, n_pair, 1)
    precision = found_to / np.where(named_to > 0, named_to, 1)
    mean_precision = (hits * precision).sum(0) / np.where(n_hit > 0, n_hit, 1)
    return Ranked(*(np.where(n_pair > 0, value, np.nan) for value in (area, mean_precision)))


def _running_sums(weights: Shaped[np.ndarray, "n draw"]) -> Int[np.ndarray, "upto draw"]:
    """Sums of the weights of the first 0, 1, 2, ... items: counts, which stay exact."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]), np.int32)
    np.cumsum(weights, 0, out=sums[1:])
    return sums


def macro(
    ranking: Ranking,
    probabilities: Shaped[np.ndarray, "n class"],
    truth: Shaped[np.ndarray, " n"],
    weights: Shaped[np.ndarray, "*draw n"] | None = None,
) -> Float[np.ndarray, "*draw"]:
    """Mean of a ranking of each class against the rest, over the classes that can be scored."""
    values = [
        ranking(column, truth == number, weights) for number, column in enumerate(probabilities.T)
    ]
    table = np.stack(values)
    is_scored = np.isfinite(table)
    n_scored = is_scored.sum(0)
    mean = np.where(is_scored, table, 0.0).sum(0) / np.maximum(n_scored, 1)
    return np.where(n_scored > 0, mean, np.nan)


def rank_correlation(
    truth: Shaped[np.ndarray, " n"],
    guess: Shaped[np.ndarray, " n"],
    weights: Shaped[np.ndarray, "*draw n"],
) -> Float[np.ndarray, "*draw"]:
    """Spearman's correlation; 0 where all predictions, or all values, are the same.

    Predictions are the same where they vary by a millionth of what the values vary: that is
    rounding, in any unit.
    """
    if np.ptp(guess) <= 1e-6 * np.ptp(truth) or np.ptp(truth) == 0:
        return np.zeros(weights.shape[:-1])
    rows = np.moveaxis(weights, -1, 0).reshape(len(truth), -1).astype(np.float64)
    total = rows.sum(0)
    # of ranks, those of ties in their middle, the mean is half of all
    ranks = [_midranks(values, rows) - total / 2 for values in (truth, guess)]
    lengths = [np.sqrt(np.einsum("nd,nd,nd->d", rows, rank, rank)) for rank in ranks]
    product = lengths[0] * lengths[1]
    shared = np.einsum("nd,nd,nd->d", rows, *ranks)
    varies = (lengths[0] > 1e-9 * total) & (lengths[1] > 1e-9 * total)
    correlation = np.where(varies, shared / np.where(varies, product, 1.0), 0.0)
    return correlation.reshape(weights.shape[:-1])


def _midranks(
    values: Shaped[np.ndarray, " n"], weights: Float[np.ndarray, "n draw"]
) -> Float[np.ndarray, "n draw"]:
    """The rank of each value, that of ties in their middle, where items count as `weights` say."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    is_first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    tied = weights[order]
    if not is_first.all():
        tied = np.add.reduceat(tied, np.flatnonzero(is_first), axis=0)
    middle = np.cumsum(tied, 0) - tied / 2
    step = np.empty(len(values), np.int64)
    step[order] = np.cumsum(is_first) - 1
    return middle[step]


RANKINGS: Mapping[str, Ranking] = {"auroc": auroc, "ap": average_precision}


def count_rarest(truth: Shaped[np.ndarray, " n"], n_class: int) -> int:
    """How many of some known labels belong to the class that has fewest."""
    return int(np.bincount(truth.astype(np.int64), minlength=n_class).min())
