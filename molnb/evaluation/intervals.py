"""Scores of predictions with their intervals, over molecules drawn again with replacement.

Relatives are drawn together (a cluster bootstrap): they err alike, and an interval over single
molecules would be too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..shapes import Float, Int, Shaped
from .metrics import scores_of

MAX_WEIGHTS = 2**22  # in memory at once (32 MiB)
MAX_DRAWN = 2 * 10**8  # items in all draws; of millions of atoms fewer draws are enough
FEWEST_DRAWS = 100
LEVEL = 0.95

Truth = Shaped[np.ndarray, " n"]


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
    functions = scores_of(kind)
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
