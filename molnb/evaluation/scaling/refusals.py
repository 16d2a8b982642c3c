"""Tables of points that cannot tell the numbers of a law apart, refused with the reason."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from ...errors import InputError
from ...shapes import Float
from ...texts import some_of
from .descent import descend, keep_terms, log_losses
from .laws import Law, Term
from .problem import compute_frontier, make_problem, make_starts

ALIKE = 0.05  # p value above which sizes differ no more than seeds do
ONE_LINE = 0.999  # correlation of size and data above which they are one thing
_SIZES = ("N", "M", "C")  # quantities in which a size is
_WORDS = {
    "N": ("size", "train other sizes"),
    "M": ("size", "train other sizes"),
    "D": ("amount of data", "train for other numbers of steps, or take later_points(points)"),
    "S": ("number of steps", "train for other numbers of steps, or take later_points(points)"),
    "C": ("amount of compute", "train other sizes, or for other numbers of steps"),
}


def check_points(law: Law, points: pd.DataFrame) -> None:
    """Raise InputError for points that a law cannot be fitted to, with the reason and a way out."""
    if not len(points):
        raise InputError("there are no points to fit a law to: name runs that were validated")
    _check_losses(points)
    _check_quantities(law, points)
    used = compute_frontier(points) if law.on_frontier else points
    _check_settings(law, used)
    if not law.on_frontier:
        _check_sizes_differ(law, used)


def _check_losses(points: pd.DataFrame) -> None:
    """Losses are of one kind, and have logarithms."""
    for name in ("part", "features", "term"):
        kinds = points[name].unique().tolist()
        if len(kinds) > 1:
            raise InputError(
                f"the losses are of several kinds of {name} ({some_of(kinds)}): fit one at a time"
            )
    loss = points["loss"].to_numpy(np.float64)
    is_bad = ~(np.isfinite(loss) & (loss > 0))
    if is_bad.any():
        first = points[is_bad].iloc[0]
        raise InputError(
            f"{is_bad.sum()} of {len(points)} losses are not positive numbers (the first is "
            f"{first['loss']} of {first['run']}, step {first['step']}): laws are fitted to their "
            "logarithms; leave these points out"
        )


def _check_quantities(law: Law, points: pd.DataFrame) -> None:
    """What the terms are powers of is known, and above zero."""
    for name, values in law.quantities(points).items():
        is_bad = ~(np.isfinite(values) & (values > 0))
        if not is_bad.any():
            continue
        first = points[is_bad].iloc[0]
        where = f"{is_bad.sum()} of {len(points)} points, the first of {first['run']}"
        if name in ("D", "S", "C") and (points["step"][is_bad] == 0).all():
            raise InputError(
                f"{name} is 0 at {where}, before its first step: leave beginnings out with "
                "later_points(points), or take final_points(points)"
            )
        raise InputError(
            f"{name} is unknown at {where}: leave such runs out (sizes are counted where the "
            "model's packages are installed, FLOPs are logged by this molnb, different molecules "
            "are known where all are drawn evenly)"
        )


def _check_settings(law: Law, points: pd.DataFrame) -> None:
    """There are enough different sizes and amounts of data, and they do not go together."""
    quantities = {name: np.log(values) for name, values in law.quantities(points).items()}
    has_constant = any(term.quantity is None for term in law.terms)
    needed = 3 if has_constant else 2
    for term in law.terms:
        if term.quantity is not None:
            _check_different(term, quantities[term.quantity], needed, law)
    settings = np.unique(np.round(np.stack([*quantities.values()], 1), 3), axis=0)
    n_parameter = len(law.parameter_names())
    if len(settings) < n_parameter:
        raise InputError(
            f"there are {len(settings)} different settings, and the law of {law.name} has "
            f"{n_parameter} numbers: train more sizes, or for more numbers of steps"
        )
    if {"N", "D"} <= set(quantities):
        correlation = np.corrcoef(quantities["N"], quantities["D"])[0, 1]
        if abs(correlation) > ONE_LINE:
            raise InputError(
                "size and data change together (the correlation of their logarithms is "
                f"{correlation:.4f}), so what comes of which cannot be told: train some sizes on "
                "several amounts of data"
            )


def _check_different(term: Term, values: np.ndarray, needed: int, law: Law) -> None:
    """Raise InputError where a quantity has too few different values."""
    words, way_out = _WORDS[term.quantity]
    different = np.unique(np.round(values, 3))
    numbers = f"{term.coefficient} and {term.exponent}"
    if len(different) == 1:
        instead = "; fit_law(points, 'size') is for this" if term.quantity == "D" else ""
        raise InputError(
            f"all points have one {words} ({term.quantity} = {np.exp(values[0]):.4g}), which says "
            f"nothing of {numbers}: {way_out}{instead}"
        )
    if len(different) < needed:
        raise InputError(
            f"there are two values of {term.quantity}, the {words}, and behind a constant the two "
            f"numbers {numbers} need three: {way_out}"
        )


def _check_sizes_differ(law: Law, points: pd.DataFrame) -> None:
    """Raise InputError where sizes differ no more than replicates of a size do."""
    p = size_p_value(law, points)
    if p is not None and p > ALIKE:
        sizes = some_of([f"{n:,.0f}" for n in sorted(points["N"].unique())])
        raise InputError(
            f"the losses of sizes {sizes} differ no more than those of seeds (p = {p:.2f}), so "
            "nothing can be said of how they fall with size: train sizes that are farther apart, "
            "or longer, or more seeds"
        )


def size_p_value(law: Law, points: pd.DataFrame) -> float | None:
    """The p value of no difference between sizes beyond that of seeds; None without replicates.

    From the mean of each run's residuals about the same law without its size (F test).
    """
    residuals = _without_sizes(law, points)
    runs = (
        points.assign(residual=residuals)
        .groupby("run")
        .agg(residual=("residual", "mean"), group=("group", "first"), N=("N", "first"))
    )
    n_free = len(runs) - runs["group"].nunique()
    n_size = runs["N"].nunique()
    if not n_free or n_size < 2:
        return None
    within = runs["residual"] - runs.groupby("group")["residual"].transform("mean")
    between = runs.groupby("N")["residual"].transform("mean") - runs["residual"].mean()
    noise = float((within**2).sum()) / n_free
    signal = float((between**2).sum()) / (n_size - 1)
    return float(stats.f.sf(signal / noise, n_size - 1, n_free)) if noise else 0.0


def _without_sizes(law: Law, points: pd.DataFrame) -> Float[np.ndarray, " point"]:
    """Residuals of log losses about the law's terms that know no size."""
    problem = make_problem(law, points)
    quantities = [term.quantity for term in law.terms]
    kept = [number for number, name in enumerate(quantities) if name not in _SIZES]
    if not any(quantities[number] for number in kept):
        return problem.log_loss - problem.log_loss.mean()
    lines = keep_terms(problem.lines, kept)
    starts = make_starts(lines, problem.log_loss, n_random=0)
    found = descend(lines, starts, problem.log_loss, problem.weights, delta=1.0)
    best = found.parameters[[found.objective.argmin()]]
    return problem.log_loss - log_losses(lines, best)[0]
