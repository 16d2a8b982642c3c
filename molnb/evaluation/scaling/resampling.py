"""Which runs are replicates of each other, how they are drawn again, and how much seeds matter.

Points of a run err together, so runs are drawn and never points; and only among those of their
size, since sizes were chosen. Of n runs that are drawn from n, the spread is too small by
(n - 1) / n, and it is known from few: with three seeds of five sizes an interval of percentiles
covers 82 to 90 % where it says 95 (`benchmarks/law_coverage.py`). So ends are moved away from the
estimate by `stretch`, the root of n / (n - 1) times Student's quantile over the normal one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ...errors import InputError
from ...shapes import Float, Int
from ..intervals import LEVEL

N_DRAW = 1000
_UPPER = 0.5 + LEVEL / 2


class Strata(NamedTuple):
    """Runs and their strata: which run each point is of, and which stratum each run.

    A run and the cool-downs that branch from it are one: their noise is the same. Runs are in one
    stratum that differ in the seed alone, and those without such replicates if they are of one
    size.
    """

    run: Int[np.ndarray, " point"]
    stratum: Int[np.ndarray, " run"]
    sizes: Float[np.ndarray, " run"]

    @property
    def counts(self) -> Int[np.ndarray, " stratum"]:
        """How many runs there are in each stratum."""
        return np.bincount(self.stratum)

    @property
    def can_be_drawn(self) -> bool:
        """Whether most strata have more than one run: else drawing moves too little."""
        return bool((self.counts > 1).mean() >= 0.5)

    @property
    def single_sizes(self) -> list[float]:
        """Sizes with a run that is alone in its stratum: how lucky it was nobody knows."""
        return sorted({*self.sizes[self.counts[self.stratum] == 1].tolist()})

    @property
    def n_free(self) -> int:
        """Degrees of freedom that the spread within strata is known with."""
        return int((self.counts - 1).sum())

    @property
    def stretch(self) -> float:
        """How much farther from the estimate ends of intervals are than percentiles of draws."""
        n_drawn = int(self.counts[self.counts > 1].sum())
        shrunk = np.sqrt(n_drawn / self.n_free)
        return float(shrunk * stats.t.ppf(_UPPER, self.n_free) / stats.norm.ppf(_UPPER))


def residual_stretch(n_point: int, n_parameter: int) -> float:
    """The same factor where residuals are dealt out: a fit makes them smaller than errors are.

    Raises InputError where there are no more points than parameters.
    """
    n_free = n_point - n_parameter
    if n_free < 1:
        raise InputError(
            f"{n_point} points and {n_parameter} numbers leave nothing over that would say how "
            "well these are known: train several seeds, or more sizes"
        )
    shrunk = np.sqrt(n_point / n_free)
    return float(shrunk * stats.t.ppf(_UPPER, n_free) / stats.norm.ppf(_UPPER))


class Spread(NamedTuple):
    """Standard deviation over seeds of the logarithm of a loss, and its degrees of freedom."""

    deviation: float
    n_free: int

    @property
    def half_width(self) -> float:
        """Within which a run lies, with the probability of all intervals."""
        return float(self.deviation * stats.t.ppf(_UPPER, self.n_free))


def make_strata(points: pd.DataFrame) -> Strata:
    """The runs of points, sorted into strata."""
    run, names = pd.factorize(points["trunk"])
    groups = points.groupby("trunk")["group"].agg(lambda group: "+".join(sorted(set(group))))
    groups = groups.loc[names]
    sizes = points.groupby("trunk")["N"].first().loc[names].to_numpy(np.float64)
    is_alone = ~groups.duplicated(keep=False).to_numpy()
    labels = [
        f"size {size:g}" if alone else group for size, alone, group in zip(sizes, is_alone, groups)
    ]
    stratum, _ = pd.factorize(np.array(labels, object))
    return Strata(run.astype(np.int64), stratum.astype(np.int64), sizes)


def draw_runs(
    strata: Strata, n_draw: int, random: np.random.Generator
) -> Int[np.ndarray, "draw run"]:
    """How often each run is in each draw, with replacement, of as many as its stratum has."""
    counts = np.zeros((n_draw, len(strata.stratum)), np.int64)
    for stratum, n in enumerate(strata.counts):
        members = np.flatnonzero(strata.stratum == stratum)
        counts[:, members] = random.multinomial(n, np.full(n, 1 / n), n_draw)
    return counts


def spread_over_seeds(points: pd.DataFrame) -> Spread | None:
    """How much the last losses of replicates differ; None where no run has a replicate."""
    last = points.sort_values("step").groupby("run").tail(1)
    last = last.assign(log_loss=np.log(last["loss"].to_numpy(np.float64)))
    by_group = last.groupby(["group", "step"])["log_loss"]
    n_free = len(last) - by_group.ngroups
    if not n_free:
        return None
    squares = ((last["log_loss"] - by_group.transform("mean")) ** 2).sum()
    return Spread(float(np.sqrt(squares / n_free)), n_free)


def draw_residuals(
    residuals: Float[np.ndarray, " point"],
    sequences: Sequence[Int[np.ndarray, " _"]],
    n_draw: int,
    random: np.random.Generator,
) -> Float[np.ndarray, "draw point"]:
    """Residuals dealt out anew, where no run has a replicate.

    In pieces of a quarter of a run, which keep what neighbours have in common, from any run to any
    other. What a whole run has in common is lost to the fit: intervals of the exponent of size hold
    it in 89 % of tables where points err alone, and in 61 % where neighbours err alike. `sequences`
    are the points of each run in order.
    """
    longest = max(map(len, sequences))
    width = max(1, min(longest // 4, *map(len, sequences)))
    windows = [np.lib.stride_tricks.sliding_window_view(seq, width) for seq in sequences]
    pieces = np.concatenate(windows)  # piece width
    drawn = np.empty((n_draw, len(residuals)))
    for sequence in sequences:
        n_piece = -(-len(sequence) // width)
        chosen = random.integers(0, len(pieces), (n_draw, n_piece))
        laid = pieces[chosen].reshape(n_draw, n_piece * width)
        drawn[:, sequence] = residuals[laid[:, : len(sequence)]]
    return drawn


def stretched_ends(
    value: Float[np.ndarray, " item"],
    draws: Float[np.ndarray, "draw item"],
    stretch: float,
) -> tuple[Float[np.ndarray, " item"], Float[np.ndarray, " item"]]:
    """The ends of the intervals of values: percentiles of their draws, moved away from them."""
    low, high = np.quantile(draws, [1 - _UPPER, _UPPER], axis=0)
    below = stretch * np.maximum(value - low, 0)
    above = stretch * np.maximum(high - value, 0)
    return value - below, value + above


def stretched_interval(
    value: float, draws: Float[np.ndarray, " draw"], stretch: float
) -> tuple[float, float]:
    """The same of one value."""
    (low,), (high,) = stretched_ends(np.array([value]), draws[:, None], stretch)
    return float(low), float(high)
