"""Intervals of a fitted law: it is fitted again to runs that are drawn anew (`resampling`)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ...errors import InputError
from ...shapes import Float
from ...texts import some_of
from .descent import descend, log_losses
from .fitting import LawFit
from .laws import Law
from .problem import Problem, from_lines, frontier_mask, make_problem, to_lines
from .resampling import (
    N_DRAW,
    Spread,
    Strata,
    draw_residuals,
    draw_runs,
    make_strata,
    residual_stretch,
    spread_over_seeds,
    stretched_ends,
    stretched_interval,
)

_AT_ONCE = 64  # draws that are fitted together: their arrays stay in the cache
_MAX_STEPS = 60
_TOLERANCE = 1e-7  # far below what draws differ by


@dataclass(frozen=True)
class Bootstrap:
    """A law, and what its numbers are when its runs are drawn again.

    `draws` are parameters in the order of the law's. `spread` is that of single runs about what is
    expected of them. Where `is_lower_bound`, intervals are narrower than they ought to be, since
    runs have no replicates; `reason` says which.
    """

    fit: LawFit
    draws: Float[np.ndarray, "draw parameter"]
    stretch: float
    spread: Spread
    reason: str = ""

    @property
    def law(self) -> Law:
        """The law that was fitted to all points."""
        return self.fit.law

    @property
    def is_lower_bound(self) -> bool:
        """Whether intervals are narrower than they ought to be."""
        return bool(self.reason)

    def parameters(self) -> pd.DataFrame:
        """A row a parameter: its value, and the ends of its 95 % interval.

        Coefficients of powers are resampled on a logarithmic scale: they change by orders of
        magnitude with their exponent, and together they mean little.
        """
        rows = []
        for (name, value), draws in zip(self.law.parameters.items(), self.draws.T):
            is_power = any(term.coefficient == name and term.exponent for term in self.law.terms)
            if is_power and value > 0:
                of_log = np.log(np.maximum(draws, np.finfo(float).tiny))
                low, high = map(math.exp, stretched_interval(math.log(value), of_log, self.stretch))
            else:
                low, high = _on_side_of(value, *stretched_interval(value, draws, self.stretch))
            rows.append({"parameter": name, "value": value, "low": low, "high": high})
        return pd.DataFrame(rows).assign(lower_bound=self.is_lower_bound)

    def predict(self, points: Any, new_run: bool = False) -> pd.DataFrame:
        """The expected loss at points with its 95 % interval, a row each; see `Law.predict`.

        For a `new_run` the interval has the spread over seeds too: one run lies in it.
        """
        value = np.log(self.law.predict(points))
        draws = np.log(self.law.losses(points, self.draws))
        low, high = stretched_ends(value, draws, self.stretch)
        if new_run:
            low = value - np.hypot(value - low, self.spread.half_width)
            high = value + np.hypot(high - value, self.spread.half_width)
        table = pd.DataFrame({"loss": np.exp(value), "low": np.exp(low), "high": np.exp(high)})
        return table.assign(lower_bound=self.is_lower_bound)

    def sentences(self) -> list[str]:
        """The law with its exponents and their intervals in words, and what limits them."""
        kind = "lower bounds of 95 % intervals" if self.is_lower_bound else "95 % intervals"
        numbers = [
            f"{row.parameter} = {row.value:.3g} ({row.low:.3g} to {row.high:.3g})"
            for row in self.parameters().itertuples()
        ]
        said = [f"{self.law.equation()}.", f"With {kind}: {', '.join(numbers)}."]
        return said + [text for text in (self.reason, *self.fit.notes) if text]


def _on_side_of(value: float, low: float, high: float) -> tuple[float, float]:
    """An interval that does not go beyond zero, where the value cannot."""
    return (max(low, 0.0), high) if value >= 0 else (low, min(high, 0.0))


def bootstrap_law(fit: LawFit, n_draw: int = N_DRAW, seed: int = 0) -> Bootstrap:
    """Intervals of a fitted law, from so many draws of its runs.

    Runs are drawn among those of their size, all points of one together. Where most have no
    replicate, residuals are dealt out anew in pieces of runs, which says little of how lucky a seed
    is: such intervals are lower bounds, and so they are where some size has a single run. Raises
    InputError where there are as few points as numbers in the law.
    """
    if n_draw < 2:
        raise InputError(f"n_draw is {n_draw}: give some hundreds")
    strata = make_strata(fit.points)
    problem = make_problem(fit.law, fit.points)
    random = np.random.default_rng(seed)
    start = to_lines(problem, fit.law)
    if strata.can_be_drawn:
        pairs = _drawn_runs(fit, problem, strata, n_draw, random)
        stretch = strata.stretch
    else:
        pairs = _drawn_residuals(fit, problem, start, n_draw, random)
        stretch = residual_stretch(int(problem.weights.sum()), len(start))
    found = [_refit(problem, start, *pair, fit.delta) for pair in pairs]
    spread = spread_over_seeds(fit.points) or _spread_about(fit)
    return Bootstrap(fit, np.concatenate(found), stretch, spread, _why_lower_bound(fit, strata))


Pair = tuple[np.ndarray, np.ndarray]  # logarithms of losses, and weights, of some draws


def _refit(
    problem: Problem, start: np.ndarray, log_loss: np.ndarray, weights: np.ndarray, delta: float
) -> Float[np.ndarray, "draw parameter"]:
    """Parameters of the law, fitted to some draws from where the fit to all points ended."""
    n_draw = max(len(np.atleast_2d(log_loss)), len(np.atleast_2d(weights)))
    starts = np.repeat(start[None], n_draw, 0)
    found = descend(problem.lines, starts, log_loss, weights, delta, _MAX_STEPS, _TOLERANCE)
    return from_lines(problem, found.parameters)


def _drawn_runs(
    fit: LawFit, problem: Problem, strata: Strata, n_draw: int, random: np.random.Generator
) -> Iterator[Pair]:
    """The same losses, with weights as often as the run of each was drawn."""
    counts = draw_runs(strata, n_draw, random)
    for start in range(0, n_draw, _AT_ONCE):
        weights = counts[start : start + _AT_ONCE][:, strata.run]
        if fit.law.on_frontier:
            weights = frontier_mask(fit.points, weights > 0)
        yield problem.log_loss, weights.astype(np.float64)


def _drawn_residuals(
    fit: LawFit,
    problem: Problem,
    start: np.ndarray,
    n_draw: int,
    random: np.random.Generator,
) -> Iterator[Pair]:
    """What the law says, with residuals dealt out anew, and the same weights."""
    expected = log_losses(problem.lines, start[None])[0]
    residuals = problem.log_loss - expected
    points = fit.points.reset_index(drop=True)
    if fit.law.on_frontier:
        on_it = points[problem.weights > 0]
        sequences = [on_it.sort_values("flops").index.to_numpy()]
    else:
        in_order = points.sort_values("step")
        sequences = [np.array(rows) for rows in in_order.groupby("run").groups.values()]
    for begin in range(0, n_draw, _AT_ONCE):
        n = min(_AT_ONCE, n_draw - begin)
        dealt = draw_residuals(residuals, sequences, n, random)
        yield expected + dealt, problem.weights


def _spread_about(fit: LawFit) -> Spread:
    """The spread of points about the law, where no replicates tell that of seeds."""
    used = fit.used
    residuals = np.log(used["loss"].to_numpy(np.float64) / fit.law.predict(used))
    n_free = max(len(used) - len(fit.law.parameters), 1)
    return Spread(float(np.sqrt((residuals**2).sum() / n_free)), n_free)


def _why_lower_bound(fit: LawFit, strata: Strata) -> str:
    """Why intervals are lower bounds; empty where they are not."""
    single = [f"{size:,.0f}" for size in strata.single_sizes]
    if not single:
        return ""
    which = "every size" if len(single) == fit.points["N"].nunique() else f"N = {some_of(single)}"
    return (
        f"There is one run of {which}: what its seed did is not in the intervals, which are lower "
        "bounds."
    )
