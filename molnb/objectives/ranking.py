"""How well scores tell positives from negatives: ROC area and average precision, ties included.

Both are those of scikit-learn on the same scores, in numpy alone, and undefined (NaN) where there
is no positive or no negative. `weights` say how often each item counts, one row a resampled set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ..shapes import Bool, Float, Shaped

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


RANKINGS: Mapping[str, Ranking] = {"auroc": auroc, "ap": average_precision}


def count_rarest(truth: Shaped[np.ndarray, " n"], n_class: int) -> int:
    """How many of some known labels belong to the class that has fewest."""
    return int(np.bincount(truth.astype(np.int64), minlength=n_class).min())
