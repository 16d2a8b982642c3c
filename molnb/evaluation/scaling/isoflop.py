"""Which size is best for a budget of compute: curves of equal FLOPs, without a law of losses.

Of each training the loss at a budget is interpolated between its points. Over sizes these losses
have a minimum, found by a parabola of log loss in log N (Hoffmann et al. 2022, approach 2). FLOPs
are those that the runs counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ...errors import InputError
from ...shapes import Bool, Float
from ...texts import rounded
from .resampling import N_DRAW, Strata, draw_runs, make_strata, stretched_interval

N_BUDGET = 5
LEAST_SIZES = 3  # that a parabola goes through
MOST_LOST = 0.1  # share of draws without a minimum inside, from which nothing is said
EDGE = "the budget lies at the edge"
_N_TRIED = 200  # budgets among which the default ones are found


@dataclass(frozen=True)
class IsoFlops:
    """Curves of equal FLOPs, their minima, and how the best size grows with the budget.

    `curves` has a row a budget and training that passed it: the loss and samples there. `minima`
    has a row a budget: `best`, the size with the lowest loss, the ends of its interval, `samples`
    and `loss` there; where nothing can be said they are missing, and `reason` says why. `growth` is
    the exponent p of N ~ C^p with its interval, missing for fewer than two minima.
    """

    curves: pd.DataFrame
    minima: pd.DataFrame
    growth: dict[str, float]
    is_lower_bound: bool

    def sentences(self) -> list[str]:
        """What budgets and sizes have to do with each other, in words."""
        said = []
        for row in self.minima.to_dict("records"):
            what = row["reason"]
            if not what:
                ends = _ends_text(rounded(row["low"]), rounded(row["high"]), row["low"])
                what = (
                    f"the best size is {rounded(row['best'])}{ends}, trained on "
                    f"{rounded(row['samples'])} molecules"
                )
            said.append(f"{row['flops']:.3g} FLOPs: {what}.")
        if np.isfinite(self.growth["value"]):
            value, low, high = (f"{number:.2f}" for number in self.growth.values())
            ends = _ends_text(low, high, self.growth["low"])
            said.append(f"The best size grows as C^{value}{ends}.")
        if self.is_lower_bound:
            said.append(
                "Some sizes have a single run: what is said is less certain than it looks, and "
                "intervals are lower bounds."
            )
        return said


def _ends_text(low: str, high: str, known: float) -> str:
    """An interval in brackets; nothing where it is not known."""
    return f" ({low} to {high})" if np.isfinite(known) else ""


class _Minimum(NamedTuple):
    """Minima of parabolas over log N, and whether each is one and lies inside the sizes."""

    log_size: Float[np.ndarray, " draw"]
    log_loss: Float[np.ndarray, " draw"]
    bends: Bool[np.ndarray, " draw"]  # upwards, so that there is a minimum
    inside: Bool[np.ndarray, " draw"]


def find_optima(
    points: pd.DataFrame,
    budgets: Sequence[float] | None = None,
    n_draw: int = N_DRAW,
    seed: int = 0,
) -> IsoFlops:
    """The best size for budgets of FLOPs (default: five that three sizes or more passed).

    Points are those of trainings on their way (`later_points`), or where runs branch into
    cool-downs the ends of these (`final_points`). Intervals come from runs drawn anew among those
    of their size. A minimum outside the sizes that passed a budget is none: a smaller or larger one
    may be better. Raises InputError for points without FLOPs, for budgets that fewer than three
    sizes passed, and where cool-downs are mixed with what they branched from.
    """
    points = points[points["flops"] > 0].reset_index(drop=True)
    if not len(points):
        raise InputError("the points have no FLOPs: train the runs with a molnb that counts them")
    _refuse_mixed(points)
    chosen = _choose_budgets(points) if budgets is None else [float(flops) for flops in budgets]
    strata = make_strata(points)
    counts = draw_runs(strata, n_draw, np.random.default_rng(seed)).astype(np.float64)
    number_of = dict(zip(points["trunk"], strata.run))
    curves = []
    minima = []
    drawn = []
    for budget in chosen:
        curve = iso_curve(points, budget)
        weights = counts[:, curve["trunk"].map(number_of)]
        minimum, of_draws = _find_minimum(curve, weights, strata)
        curves.append(curve)
        minima.append({"flops": budget, **minimum})
        drawn.append(of_draws)
    table = pd.DataFrame(minima)
    growth = _find_growth(table, np.stack(drawn, 1), strata)
    return IsoFlops(pd.concat(curves, ignore_index=True), table, growth, bool(strata.single_sizes))


def iso_curve(points: pd.DataFrame, budget: float) -> pd.DataFrame:
    """The losses of trainings when they had computed as much as a budget, a row each.

    Interpolated between points, logarithms in log FLOPs; those that began later, or ended before,
    are left out. Raises InputError where fewer than three sizes are left.
    """
    rows = []
    for trunk, training in points.sort_values("flops").groupby("trunk", sort=False):
        flops = training["flops"].to_numpy(np.float64)
        if not flops[0] <= budget <= flops[-1] or len(flops) < 2:
            continue
        at = np.log(flops)
        loss, samples = (
            float(np.exp(np.interp(np.log(budget), at, np.log(training[name].astype(float)))))
            for name in ("loss", "samples")
        )
        first = training.iloc[0]
        of_run = {name: first[name] for name in ("name", "N", "seed")}
        rows.append({"flops": budget, "trunk": trunk, **of_run, "samples": samples, "loss": loss})
    curve = pd.DataFrame(rows)
    n_size = curve["N"].nunique() if rows else 0
    if n_size < LEAST_SIZES:
        raise InputError(
            f"{n_size} sizes passed {budget:.3g} FLOPs, and a minimum needs {LEAST_SIZES}: choose "
            "another budget, or train more sizes past it"
        )
    return curve


def _refuse_mixed(points: pd.DataFrame) -> None:
    """Raise InputError where points of a stable run stand among those of its cool-downs."""
    by_trunk = points.groupby("trunk").agg(runs=("run", "nunique"), final=("final", "all"))
    mixed = by_trunk[(by_trunk["runs"] > 1) & ~by_trunk["final"]]
    if len(mixed):
        raise InputError(
            f"{mixed.index[0]} and its cool-downs are mixed, whose losses are no single curve: "
            "take final_points(points), or the stable runs alone"
        )


def _choose_budgets(points: pd.DataFrame) -> list[float]:
    """Budgets at even ratios that as many sizes passed as a minimum needs."""
    ends = points.groupby("trunk").agg(
        N=("N", "first"), first=("flops", "min"), last=("flops", "max")
    )
    tried = np.geomspace(ends["first"].min(), ends["last"].max(), _N_TRIED)
    n_passed = [
        ends["N"][(ends["first"] <= flops) & (flops <= ends["last"])].nunique() for flops in tried
    ]
    fit = tried[np.array(n_passed) >= LEAST_SIZES]
    if not len(fit):
        raise InputError(
            f"no budget was passed by {LEAST_SIZES} sizes: train small models longer, or validate "
            "large ones earlier and more often"
        )
    return np.geomspace(fit[0], fit[-1], N_BUDGET).tolist()


def _find_minimum(
    curve: pd.DataFrame, weights: Float[np.ndarray, "draw run"], strata: Strata
) -> tuple[dict[str, Any], Float[np.ndarray, " draw"]]:
    """The row of a budget, and log sizes of the minima in all draws, NaN where there is none."""
    log_sizes = np.log(curve["N"].to_numpy(np.float64))
    log_losses = np.log(curve["loss"].to_numpy(np.float64))
    found = _parabolas(log_sizes, log_losses, np.ones((1, len(curve))))
    drawn = _parabolas(log_sizes, log_losses, weights)
    of_draws = np.clip(drawn.log_size, log_sizes.min(), log_sizes.max())
    of_draws = np.where(drawn.bends, of_draws, np.nan)
    lost = 1 - float((drawn.bends & drawn.inside).mean())
    row = {name: np.nan for name in ("best", "low", "high", "samples", "loss")}
    reason = _why_no_minimum(found, log_sizes, lost)
    if reason:
        return {**row, "reason": reason}, np.full(len(weights), np.nan)
    best = found.log_size[0]
    row["best"] = float(np.exp(best))
    row["loss"] = float(np.exp(found.log_loss[0]))
    by_size = np.log(curve.groupby("N")["samples"].mean())
    row["samples"] = float(np.exp(np.interp(best, np.log(by_size.index), by_size)))
    if strata.can_be_drawn:
        found_draws = of_draws[np.isfinite(of_draws)]
        low, high = np.exp(stretched_interval(float(best), found_draws, strata.stretch))
        row |= {"low": float(low), "high": float(high)}
    return {**row, "reason": ""}, of_draws


def _why_no_minimum(found: _Minimum, log_sizes: Float[np.ndarray, " run"], lost: float) -> str:
    """Why nothing can be said of a budget; empty where something can."""
    if not found.bends[0]:
        return "losses have no minimum over sizes, they bend the other way"
    if not found.inside[0]:
        is_below = found.log_size[0] < log_sizes.min()
        size = np.exp(log_sizes.min() if is_below else log_sizes.max())
        beyond = "smaller" if is_below else "larger"
        return f"{EDGE}: {beyond} models than {rounded(size)} may be better"
    if lost > MOST_LOST:
        return f"{EDGE}: in {100 * lost:.0f} % of draws there is no minimum among the sizes"
    return ""


def _parabolas(
    log_sizes: Float[np.ndarray, " run"],
    log_losses: Float[np.ndarray, " run"],
    weights: Float[np.ndarray, "draw run"],
) -> _Minimum:
    """Minima of the parabolas of log loss in log N that fit best, by weights of the runs."""
    centre = log_sizes.mean()
    powers = np.stack([np.ones(len(log_sizes)), log_sizes - centre, (log_sizes - centre) ** 2])
    squares = (powers * weights[:, None]) @ powers.T  # draw power power
    sides = weights @ (powers * log_losses).T
    squares += 1e-12 * np.eye(3)  # draws in which a size is missing are not singular
    height, slope, bend = np.linalg.solve(squares, sides[:, :, None])[:, :, 0].T
    bends = bend > 0
    at = np.where(bends, -slope / (2 * np.where(bends, bend, 1.0)), np.nan)
    log_size = at + centre
    inside = bends & (log_size >= log_sizes.min()) & (log_size <= log_sizes.max())
    return _Minimum(log_size, height + slope * at / 2, bends, inside)


def _find_growth(
    minima: pd.DataFrame, drawn: Float[np.ndarray, "draw budget"], strata: Strata
) -> dict[str, float]:
    """The exponent of the best size in the budget, by the budgets that have a minimum."""
    has_minimum = (minima["reason"] == "").to_numpy()
    growth = {name: float("nan") for name in ("value", "low", "high")}
    if has_minimum.sum() < 2:
        return growth
    log_flops = np.log(minima["flops"].to_numpy()[has_minimum])
    log_best = np.log(minima["best"].to_numpy()[has_minimum])
    growth["value"] = float(_slopes(log_flops, log_best[None])[0])
    of_draws = _slopes(log_flops, drawn[:, has_minimum])
    of_draws = of_draws[np.isfinite(of_draws)]
    if strata.can_be_drawn and len(of_draws):
        low, high = stretched_interval(growth["value"], of_draws, strata.stretch)
        growth |= {"low": low, "high": high}
    return growth


def _slopes(
    x: Float[np.ndarray, " budget"], y: Float[np.ndarray, "draw budget"]
) -> Float[np.ndarray, " draw"]:
    """Slopes of the straight lines through y over x."""
    centred = x - x.mean()
    return (y @ centred) / (centred @ centred)
