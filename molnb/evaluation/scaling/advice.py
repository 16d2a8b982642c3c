"""What to train for a budget: the size and the number of molecules of which a law expects most.

What a molecule costs at a size, and how fast it is computed, are read from the runs' own accounts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...errors import InputError
from ...shapes import Float
from ...texts import rounded, some_of
from .bootstrap import Bootstrap
from .laws import SAMPLES, SizeDataLaw
from .points import LEFT_OUT, later_points
from .resampling import stretched_interval

FARTHEST = 10.0  # factor beyond trained sizes from which nothing is advised
_LEAST = 3  # sizes, and amounts of data
_N_TRIED = 2001  # sizes among which the best is sought
_FLAT = 0.01  # share of the loss within which sizes are as good
_HOUR = 3600.0


@dataclass(frozen=True)
class Advice:
    """The best size for a budget, and what may be expected of it.

    `low` and `high` are the ends of the interval of `size`; `loss_low` and `loss_high` those within
    which one run lies. `flops_per_second` are those at this size, of runs on the `device` (None
    where they were given), None without a budget in hours. `curve` has a row a size that was
    considered: `samples` that the budget allows, and the `loss` expected there.
    """

    size: float
    low: float
    high: float
    samples: float
    flops: float
    flops_per_second: float | None
    hours: float | None
    device: str | None
    loss: float
    loss_low: float
    loss_high: float
    curve: pd.DataFrame
    points: pd.DataFrame
    is_lower_bound: bool

    def sentences(self) -> list[str]:
        """The advice in plain words, and what it leans on."""
        said = [self._budget(), self._best(), self._expected(), self._flat()]
        return [text for text in [*said, self._beyond_sizes(), self._beyond_data()] if text]

    def _budget(self) -> str:
        if self.hours is None:
            return f"The budget is {self.flops:.3g} FLOPs."
        whose = f"of the runs ({self.device})" if self.device else "that was given"
        return (
            f"In {self.hours:g} h {self.flops:.3g} FLOPs are computed, at the "
            f"{self.flops_per_second:.3g} a second {whose}."
        )

    def _best(self) -> str:
        kind = ", a lower bound" if self.is_lower_bound else ""
        trained = self.points[["N", "name"]].drop_duplicates()
        nearest = trained.iloc[int(np.abs(np.log(trained["N"] / self.size)).argmin())]
        return (
            f"Train a model of N = {rounded(self.size)} ({rounded(self.low)} to "
            f"{rounded(self.high)}{kind}) on {rounded(self.samples)} molecules drawn; of the sizes "
            f"that were trained {nearest['name']} (N = {nearest['N']:,.0f}) is nearest."
        )

    def _flat(self) -> str:
        good = self.curve[self.curve["loss"] <= (1 + _FLAT) * self.loss]["N"]
        return (
            f"Sizes from {rounded(good.min())} to {rounded(good.max())} are expected to reach it "
            f"within {100 * _FLAT:g} %."
        )

    def _expected(self) -> str:
        return (
            f"Expected loss: {self.loss:.4g}; a single run lies between {self.loss_low:.4g} and "
            f"{self.loss_high:.4g}."
        )

    def _beyond_sizes(self) -> str:
        smallest = self.points["N"].min()
        largest = self.points["N"].max()
        factor = max(smallest / self.size, self.size / largest)
        if factor <= 1:
            return ""
        side = "below the smallest" if self.size < smallest else "above the largest"
        return (
            f"This is extrapolation: the size is {side} that was trained by a factor of "
            f"{factor:.2g} (N = {smallest:,.0f} to {largest:,.0f})."
        )

    def _beyond_data(self) -> str:
        said = []
        most = self.points["samples"].max()
        if self.samples > most:
            said.append(
                f"This is extrapolation: no run drew more than {most:,.0f} molecules, "
                f"{self.samples / most:.2g} times fewer."
            )
        corpus = self.points["corpus"].max()
        if self.samples > corpus:
            most_seen = (self.points["samples"] / self.points["corpus"]).max()
            said.append(
                f"The corpus has {corpus:,.0f} training molecules: each would be drawn "
                f"{self.samples / corpus:.2g} times, and runs drew them {most_seen:.2g} times at "
                "most."
            )
        return " ".join(said)


def advise(
    resampled: Bootstrap,
    points: pd.DataFrame,
    hours: float | None = None,
    flops: float | None = None,
    flops_per_second: float | None = None,
) -> Advice:
    """The best size and number of molecules for a budget in hours, or in FLOPs.

    The law is one of size and data. `points` are those of all runs, `loss_points`: what a molecule
    costs is interpolated between their sizes, and so is how many FLOPs they computed in a second of
    all that they took, validations too; `flops_per_second` replaces the latter. Raises InputError
    where a budget is best spent more than ten times beyond the sizes that were trained, and where
    the runs do not say what they cost.
    """
    law = resampled.law
    if not isinstance(law, SizeDataLaw):
        raise InputError(
            f"the law is one of {law.name}: what to train for a budget follows from one of "
            f"{SizeDataLaw.name}, fit_law(points, {SizeDataLaw.name!r})"
        )
    _check_budget(hours, flops, flops_per_second)
    costs = size_costs(points)
    tried = _try_sizes(costs, points, hours, flops, flops_per_second)
    at = {"N": tried["N"], law.data: _counted(law.data, tried["samples"], points)}
    losses = law.predict(at)
    best = int(losses.argmin())
    _refuse_far(best, costs)
    of_draws = np.log(tried["N"])[law.losses(at, resampled.draws).argmin(1)]
    ends = stretched_interval(float(np.log(tried["N"][best])), of_draws, resampled.stretch)
    low, high = np.clip(np.exp(ends), tried["N"][0], tried["N"][-1])
    at_best = {name: values[[best]] for name, values in at.items()}
    (expected,) = resampled.predict(at_best, new_run=True).to_dict("records")
    return Advice(
        size=float(tried["N"][best]),
        low=float(low),
        high=float(high),
        samples=float(tried["samples"][best]),
        flops=float(tried["flops"][best]),
        flops_per_second=None if hours is None else float(tried["rate"][best]),
        hours=hours,
        device=None if hours is None or flops_per_second else points["device"].iloc[0],
        loss=expected["loss"],
        loss_low=expected["low"],
        loss_high=expected["high"],
        curve=pd.DataFrame({"N": tried["N"], "samples": tried["samples"], "loss": losses}),
        points=points,
        is_lower_bound=resampled.is_lower_bound,
    )


def choose_points(points: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The points to fit a law of size and data to, and a sentence on them.

    Those are the ends of trainings, where there are three sizes and three amounts of data of them;
    else the points behind the first quarter of each.
    """
    ends = points[points["final"]]
    if min(ends["N"].nunique(), ends["samples"].nunique()) >= _LEAST:
        return ends.reset_index(drop=True), f"Fitted to the ends of {len(ends)} trainings."
    later = later_points(points)
    return later, (
        f"Fitted to {len(later)} validations of {later['run'].nunique()} trainings, without their "
        f"first {100 * LEFT_OUT:g} %. At most of them the learning rate had not fallen: trainings "
        "that end there reach lower losses, so the loss that is expected may be too high, and how "
        "it falls with data is less certain than intervals say."
    )


def size_costs(points: pd.DataFrame) -> pd.DataFrame:
    """What a drawn molecule costs in training, and how fast it goes, a row a size.

    `flops_per_sample` and `flops_per_second` are geometric means over runs. The latter is missing
    where nobody measured it: a branch has the FLOPs of its parent and not its seconds.
    """
    last = points.sort_values("step").groupby("run").tail(1)
    last = last[last["flops"] > 0]
    if not len(last):
        raise InputError(
            "the runs do not say how many FLOPs they took: train them with a molnb that counts them"
        )
    own = last["run"] == last["trunk"]
    last = last.assign(
        per_sample=np.log(last["flops"] / last["samples"]),
        per_second=np.log((last["flops"] / last["seconds"]).where(own & (last["seconds"] > 0))),
    )
    by_size = last.groupby("N")[["per_sample", "per_second"]].mean()
    return pd.DataFrame(
        {
            "N": by_size.index,
            "flops_per_sample": np.exp(by_size["per_sample"].to_numpy()),
            "flops_per_second": np.exp(by_size["per_second"].to_numpy()),
        }
    )


def _check_budget(hours: float | None, flops: float | None, per_second: float | None) -> None:
    """Raise InputError unless there is one budget, above zero."""
    if (hours is None) == (flops is None):
        raise InputError("give one budget: hours, or flops")
    given = {"hours": hours, "flops": flops, "flops_per_second": per_second}
    for name, value in given.items():
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} is {value:g}: give a number above 0")
    if hours is None and per_second is not None:
        raise InputError("flops_per_second is for a budget in hours: leave it out")


def _try_sizes(
    costs: pd.DataFrame,
    points: pd.DataFrame,
    hours: float | None,
    flops: float | None,
    flops_per_second: float | None,
) -> dict[str, np.ndarray]:
    """Sizes from far below to far above those that were trained, and what the budget buys of each.

    `N`, `flops` of the whole budget, `samples` that it allows, and with hours the `rate`.
    """
    log_known = np.log(costs["N"].to_numpy(np.float64))
    log_far = np.log(FARTHEST)
    log_sizes = np.linspace(log_known[0] - log_far, log_known[-1] + log_far, _N_TRIED)
    log_costs = np.log(costs["flops_per_sample"].to_numpy())
    per_sample = np.exp(_continued(log_sizes, log_known, log_costs))
    tried = {"N": np.exp(log_sizes)}
    if hours is None:
        tried["flops"] = np.full(_N_TRIED, float(flops))
    else:
        tried["rate"] = _rates(log_sizes, costs, points, flops_per_second)
        tried["flops"] = hours * _HOUR * tried["rate"]
    return tried | {"samples": tried["flops"] / per_sample}


def _refuse_far(best: int, costs: pd.DataFrame) -> None:
    """Raise InputError where the best of the sizes that were tried is the first or the last."""
    if 0 < best < _N_TRIED - 1:
        return
    side = "smaller" if best == 0 else "larger"
    way = "more" if best == 0 else "less"
    raise InputError(
        f"the best size for this budget is more than {FARTHEST:g} times {side} than any that was "
        f"trained (N = {costs['N'].min():,.0f} to {costs['N'].max():,.0f}): train {side} ones "
        f"first, or give {way}"
    )


def _rates(
    log_sizes: Float[np.ndarray, " size"],
    costs: pd.DataFrame,
    points: pd.DataFrame,
    flops_per_second: float | None,
) -> Float[np.ndarray, " size"]:
    """FLOPs a second at sizes: given, or as the runs had them, between sizes and as at the ends."""
    if flops_per_second is not None:
        return np.full(len(log_sizes), float(flops_per_second))
    devices = [str(name) for name in points["device"].unique()]
    if len(devices) > 1:
        raise InputError(
            f"the runs were trained on {len(devices)} devices ({some_of(devices)}): say how fast "
            "the one is that the budget is of (flops_per_second, --flops-per-second)"
        )
    known = costs[costs["flops_per_second"].notna()]
    if not len(known):
        raise InputError(
            "the runs do not say how fast they were: give flops_per_second (--flops-per-second)"
        )
    log_rates = np.log(known["flops_per_second"].to_numpy())
    return np.exp(np.interp(log_sizes, np.log(known["N"].to_numpy(np.float64)), log_rates))


def _continued(
    at: Float[np.ndarray, " size"],
    known: Float[np.ndarray, " known"],
    values: Float[np.ndarray, " known"],
) -> Float[np.ndarray, " size"]:
    """Values between known ones, and beyond them on the line through the last two."""
    between = np.interp(at, known, values)
    if len(known) < 2:
        return between + (at - known[0])  # in proportion to the size
    slopes = np.diff(values) / np.diff(known)
    below = values[0] + slopes[0] * (at - known[0])
    above = values[-1] + slopes[-1] * (at - known[-1])
    return np.where(at < known[0], below, np.where(at > known[-1], above, between))


def _counted(
    data: str, samples: Float[np.ndarray, " size"], points: pd.DataFrame
) -> Float[np.ndarray, " size"]:
    """What the law counts of so many molecules drawn: all, or at most those that there are."""
    return samples if data == SAMPLES else np.minimum(samples, float(points["corpus"].max()))
