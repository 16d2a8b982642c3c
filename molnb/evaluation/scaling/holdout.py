"""Does the law of small models say the losses of larger ones? Beside forecasts without a law."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ...errors import InputError
from .bootstrap import Bootstrap, bootstrap_law
from .fitting import fit_law
from .laws import SAMPLES, SizeDataLaw
from .resampling import N_DRAW

SAME = "same loss"  # as the next smaller size
LINE = "straight line"  # through the last two sizes, of log loss in log N
_LEAST = 3  # sizes that a law is fitted to


def holdout_table(
    points: pd.DataFrame,
    law: str = SizeDataLaw.name,
    data: str = SAMPLES,
    n_fitted: int | None = None,
    n_draw: int = N_DRAW,
    seed: int = 0,
) -> pd.DataFrame:
    """Forecasts of sizes that were not fitted to, a row a size, length of training and method.

    Each size behind the third is predicted by the law fitted to all smaller ones, or every larger
    one than the `n_fitted` smallest by the law of these. `measured` is the mean over the `runs` of
    that size at their last point, `percent` by how much the forecast is above it. Beside the law
    stand the loss of the largest size fitted to, and the straight line through its last two, of log
    loss in log N; both at the same amount of data, interpolated between points, and missing where
    these do not reach it. `low` and `high` are the law's interval for a new run, and `inside` the
    share of runs that lie in it. `best` is the method that missed least.
    """
    sizes = np.sort(points["N"].dropna().unique())
    if len(sizes) <= _LEAST:
        raise InputError(
            f"there are {len(sizes)} sizes: {_LEAST} are fitted to and the next is predicted, so "
            "train four at least"
        )
    if n_fitted is not None and not _LEAST <= n_fitted < len(sizes):
        raise InputError(
            f"n_fitted is {n_fitted}: give {_LEAST} to {len(sizes) - 1} of the {len(sizes)} sizes"
        )
    rows = []
    resampled = {}
    for number in range(n_fitted or _LEAST, len(sizes)):
        known = sizes[: n_fitted or number]
        smaller = points[points["N"].isin(known)]
        if len(known) not in resampled:
            resampled[len(known)] = bootstrap_law(fit_law(smaller, law, data), n_draw, seed)
        ends = _last_points(points[points["N"] == sizes[number]])
        for _, runs in ends.groupby(["group", "step"], sort=False):
            rows += _forecasts(smaller, resampled[len(known)], runs)
    return pd.DataFrame(rows)


def _last_points(points: pd.DataFrame) -> pd.DataFrame:
    """The last point of each run."""
    return points.sort_values("step").groupby("run").tail(1)


def _forecasts(
    smaller: pd.DataFrame, resampled: Bootstrap, runs: pd.DataFrame
) -> list[dict[str, Any]]:
    """A row a method for replicates of one size, which ended after as many steps."""
    loss = runs["loss"].to_numpy(np.float64)
    measured = float(np.exp(np.log(loss).mean()))
    first = runs.iloc[[0]]
    (of_law,) = resampled.predict(first, new_run=True).to_dict("records")
    inside = ((loss >= of_law["low"]) & (loss <= of_law["high"])).mean()
    interval = {"low": of_law["low"], "high": of_law["high"], "inside": float(inside)}
    guesses = {f"law of {resampled.law.name}": of_law["loss"], **_naive(smaller, first)}
    misses = {name: 100 * (guess / measured - 1) for name, guess in guesses.items()}
    nearest = pd.Series(misses).abs().idxmin()  # where a forecast is missing it is none
    rows = []
    for number, (name, guess) in enumerate(guesses.items()):
        row = {
            "N": first["N"].item(),
            "samples": first["samples"].item(),
            "runs": len(runs),
            "sizes fitted": smaller["N"].nunique(),
            "method": name,
            "predicted": guess,
            "measured": measured,
            "percent": misses[name],
            "best": name == nearest,
        }
        rows.append(row | (interval if number == 0 else {}))
    return rows


def _naive(smaller: pd.DataFrame, at: pd.DataFrame) -> dict[str, float]:
    """Forecasts without a law from the two largest sizes there are, at the same amount of data."""
    before, last = np.sort(smaller["N"].unique())[-2:]
    samples = at["samples"].item()
    log_before, log_last = (
        _log_loss_at(smaller[smaller["N"] == n], samples) for n in (before, last)
    )
    slope = (log_last - log_before) / np.log(last / before)
    ahead = np.log(at["N"].item() / last)
    return {SAME: float(np.exp(log_last)), LINE: float(np.exp(log_last + slope * ahead))}


def _log_loss_at(of_size: pd.DataFrame, samples: float) -> float:
    """The mean log loss of runs of a size at an amount of data, between points; NaN beyond them."""
    of_size = of_size.assign(log_loss=np.log(of_size["loss"].astype(float)))
    means = of_size.groupby("samples")["log_loss"].mean()
    at = np.log(means.index.to_numpy(np.float64))
    return float(np.interp(np.log(samples), at, means, left=np.nan, right=np.nan))
