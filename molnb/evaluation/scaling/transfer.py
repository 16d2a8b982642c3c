"""Does a lower pretraining loss make a better model of an assay? Errors against losses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ...errors import InputError
from ...training.config import RunConfig
from ...training.runs import Run
from ..benchmark import BenchmarkTask
from ..comparison import Method, compare
from ..folds import Fold
from ..networks import frozen_encoder
from ..results import fold_scores
from .points import loss_points

FEWEST = 15  # encoders that a slope is drawn through
TRAINED = "trained"
RANDOM = "random weights"
N_DRAW = 2_000
LEVEL = 0.95


class Slope(NamedTuple):
    """By how many percent the error falls when the loss falls by one, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int  # encoders

    def __str__(self) -> str:
        return (
            f"{self.value:+.2f} % of the error for 1 % of the loss "
            f"({self.low:+.2f} to {self.high:+.2f}; {self.n} encoders)"
        )


def transfer_points(
    runs: Sequence[Run],
    benchmark: BenchmarkTask,
    folds: Sequence[Fold],
    features: str = "hidden",
    part: str = "val",
    term: str = "loss",
    progress: bool = True,
) -> pd.DataFrame:
    """A row an encoder: its pretraining loss, and the error on an assay of ridge on its vectors.

    The columns are those of `loss_points` at the end of each run, `error`, the mean absolute error
    over test folds in the unit of the label, and `kind`: beside the trained encoders stands one
    with random weights for each run that began with such, at its loss before the first step.
    Raises InputError for runs that may have seen molecules of the assay in pretraining.
    """
    if not runs:
        raise InputError("there are no runs: name some that are trained")
    for run in runs:
        _check_excluded(run.config, benchmark)
    encoders: dict[str, pd.DataFrame] = {}
    methods: dict[str, Method] = {}
    for number, run in enumerate(runs):
        points = loss_points([run], features, part, term).sort_values("step", kind="stable")
        encoders[f"{TRAINED} {number}"] = points.tail(1).assign(kind=TRAINED)
        methods[f"{TRAINED} {number}"] = frozen_encoder(run)
        if points["step"].iloc[0] == 0:  # a cool-down begins where another run stood
            encoders[f"{RANDOM} {number}"] = points.head(1).assign(kind=RANDOM)
            methods[f"{RANDOM} {number}"] = frozen_encoder(run.config)
    errors = fold_scores(compare(benchmark, folds, methods, progress=progress).results).mean()
    table = pd.concat(encoders.values(), ignore_index=True)
    return table.assign(error=errors[list(encoders)].to_numpy())


def _check_excluded(config: RunConfig, benchmark: BenchmarkTask) -> None:
    """Raise InputError where pretraining may have seen molecules of the test folds."""
    if benchmark.dataset not in {Path(name).name for name in config.exclude}:
        raise InputError(
            f"{config.name} may have seen molecules of {benchmark.dataset}: train it with "
            f"exclude=({benchmark.dataset!r},), which leaves out what the two share"
        )


def transfer_slope(points: pd.DataFrame, within_sizes: bool = False, seed: int = 0) -> Slope | None:
    """The slope of the error against the loss of trained encoders, both as logarithms.

    The interval is over trainings drawn again with replacement, each with all its stages: stages
    of one training err alike. With `within_sizes` only differences between encoders of one size
    count, so that what size itself does to vectors is left out. None for fewer than `FEWEST`
    encoders, or where losses do not differ.
    """
    trained = points[points["kind"] == TRAINED]
    if len(trained) < FEWEST:
        return None
    x = np.log(trained["loss"].to_numpy())
    y = np.log(trained["error"].to_numpy())
    sizes = trained["N"].to_numpy()
    training = trained.groupby("trunk").ngroup().to_numpy()
    members = [np.flatnonzero(training == number) for number in range(training.max() + 1)]
    random = np.random.default_rng(seed)
    value = _slope(x, y, sizes if within_sizes else None)
    if not np.isfinite(value):
        return None
    draws = []
    for _ in range(N_DRAW):
        drawn = random.integers(0, len(members), len(members))
        rows = np.concatenate([members[number] for number in drawn])
        draws.append(_slope(x[rows], y[rows], sizes[rows] if within_sizes else None))
    low, high = np.nanquantile(draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return Slope(value, float(low), float(high), len(trained))


def _slope(x: np.ndarray, y: np.ndarray, sizes: np.ndarray | None) -> float:
    """Least squares through all points, or through their differences from the mean of a size."""
    groups = np.zeros(len(x), int) if sizes is None else np.unique(sizes, return_inverse=True)[1]
    counts = np.bincount(groups)
    x = x - (np.bincount(groups, x) / counts)[groups]
    y = y - (np.bincount(groups, y) / counts)[groups]
    spread = float(x @ x)
    return float(x @ y) / spread if spread > 1e-12 else float("nan")
