"""Scores of predictions with their intervals, over molecules drawn again with replacement.

Relatives are drawn together (a cluster bootstrap): they err alike, and an interval over single
molecules would be too narrow. A score of `weights` counts each item that often, one row a draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ..objectives.ranking import auroc, average_precision, macro
from ..shapes import Float, Int, Shaped

MAX_WEIGHTS = 2**22  # in memory at once (32 MiB)
MAX_DRAWN = 2 * 10**8  # items in all draws; of millions of atoms fewer draws are enough
FEWEST_DRAWS = 100
LEVEL = 0.95

Truth = Shaped[np.ndarray, " n"]
Weights = Shaped[np.ndarray, "*draw n"]
Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # truth, prediction, weights


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of values, a number a draw."""
    return (weights @ values) / weights.sum(-1)


def mean_absolute_error(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean size of the errors, in the unit of the values."""
    return _mean(np.abs(guess - truth), weights)


def root_mean_square_error(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Root of the mean squared error, in the unit of the values."""
    return np.sqrt(_mean((guess - truth) ** 2, weights))


def explained_variance(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """R²: 1 less the squared error over that of the mean of these values; NaN where all are one."""
    centred = truth - truth.mean()  # no digits are lost where the mean is large
    spread = _mean(centred**2, weights) - _mean(centred, weights) ** 2
    has_spread = spread > 1e-12 * np.ptp(truth) ** 2
    ratio = _mean((guess - truth) ** 2, weights) / np.where(has_spread, spread, 1.0)
    return np.where(has_spread, 1 - ratio, np.nan)


def rank_correlation(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's correlation; 0 where all predictions, or all values, are the same.

    Predictions are the same where they vary by a millionth of what the values vary: that is
    rounding, in any unit.
    """
    if np.ptp(guess) <= 1e-6 * np.ptp(truth) or np.ptp(truth) == 0:
        return np.zeros(weights.shape[:-1])
    ranks = [_midranks(values, weights) for values in (truth, guess)]
    total = weights.sum(-1)
    centred = [rank - ((weights * rank).sum(-1) / total)[..., None] for rank in ranks]
    first, second = (np.sqrt((weights * rank**2).sum(-1)) for rank in centred)
    shared = (weights * centred[0] * centred[1]).sum(-1)
    varies = (first > 1e-9 * total) & (second > 1e-9 * total)
    return np.where(varies, shared / np.where(varies, first * second, 1.0), 0.0)


def _midranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The rank of each value, that of ties in their middle, where items count as `weights` say."""
    _, step = np.unique(values, return_inverse=True)
    order = np.argsort(step, kind="stable")
    starts = np.searchsorted(step[order], np.arange(step.max() + 1))
    tied = np.add.reduceat(weights[..., order], starts, axis=-1)
    middle = np.cumsum(tied, -1) - tied / 2
    return middle[..., step]


def brier_score(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean squared error of the probability (Brier 1950)."""
    return _mean((guess - truth) ** 2, weights)


def accuracy(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of items whose likeliest class is the true one."""
    return _mean((guess.argmax(-1) == truth).astype(float), weights)


SCORES: Mapping[str, Mapping[str, Score]] = {
    "regression": {
        "mae": mean_absolute_error,
        "rmse": root_mean_square_error,
        "r2": explained_variance,
        "spearman": rank_correlation,
    },
    "binary": {
        "auroc": lambda truth, guess, weights: auroc(guess, truth > 0.5, weights),
        "ap": lambda truth, guess, weights: average_precision(guess, truth > 0.5, weights),
        "brier": brier_score,
    },
    "classes": {
        "accuracy": accuracy,
        "auroc": lambda truth, guess, weights: macro(auroc, guess, truth, weights),
        "ap": lambda truth, guess, weights: macro(average_precision, guess, truth, weights),
    },
}
"""Scores by the kind of task; those of several classes are means of each against the rest."""


def draw_weights(groups: Int[np.ndarray, " n"], n_draw: int, seed: int) -> Iterator[np.ndarray]:
    """How often each item is in each draw of as many groups as there are, some draws at a time."""
    names, group = np.unique(groups, return_inverse=True)
    random = np.random.default_rng(seed)
    n_block = max(MAX_WEIGHTS // max(len(groups), 1), 1)
    for start in range(0, n_draw, n_block):
        n = min(n_block, n_draw - start)
        drawn = random.integers(0, len(names), (n, len(names)))
        counts = np.stack([np.bincount(line, minlength=len(names)) for line in drawn])
        yield counts[:, group].astype(np.float64)


def scored(
    kind: str,
    truth: Truth,
    guess: Shaped[np.ndarray, "n *class"],
    groups: Int[np.ndarray, " n"],
    n_draw: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Each score of a kind of task, with the ends of its 95 % interval: `mae`, `mae_low`, ...

    The ends are percentiles over draws in which the score is defined; of more than 200,000 items
    fewer than 1,000 draws are made, 100 at least. NaN where a score is not defined, and for the
    ends of the interval where no draw can be made (one group).
    """
    truth = np.asarray(truth, np.float64)
    guess = np.asarray(guess, np.float64)
    functions = SCORES[kind]
    n_draw = min(n_draw, max(MAX_DRAWN // max(len(truth), 1), FEWEST_DRAWS))
    plain = np.ones(len(truth))
    values = {name: float(score(truth, guess, plain)) for name, score in functions.items()}
    draws: dict[str, list[np.ndarray]] = {name: [] for name in functions}
    if len(np.unique(groups)) > 1:
        for weights in draw_weights(groups, n_draw, seed):
            for name, score in functions.items():
                draws[name].append(score(truth, guess, weights))
    columns: dict[str, float] = {}
    for name, value in values.items():
        low, high = _ends(np.concatenate([np.zeros(0), *draws[name]]))
        columns |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return columns


def _ends(draws: Float[np.ndarray, " draw"]) -> tuple[float, float]:
    """The percentiles of draws between which `LEVEL` of them lie."""
    defined = draws[np.isfinite(draws)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)
