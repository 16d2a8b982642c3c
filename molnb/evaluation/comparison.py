"""An honest table: the same grouped folds for every method, baselines beside every network, an
interval on each difference.

Scaling, early stopping and every choice see training rows only. Differences are paired by fold;
their interval uses the variance of Nadeau and Bengio (Machine Learning 52, 239, 2003), since the
training sets of folds overlap and the plain interval is far too narrow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy import stats

from ..errors import InputError
from ..progress import Progress
from ..shapes import Bool, Float
from .benchmark import BenchmarkTask
from .folds import Fold


class Fitted(NamedTuple):
    """A method's predictions in the label's unit: for its training rows (NaN: not learnt from)
    and the test rows.
    """

    train: Float[np.ndarray, " train"]
    test: Float[np.ndarray, " test"]


Method = Callable[[BenchmarkTask, Fold, int], Fitted]  # (assay, fold, number of the fold)


@dataclass
class Comparison:
    """Predictions of all methods on the test rows of all folds, and errors on the rows they learnt
    from.

    `learnt` is the mean prediction for a row over the folds that had it for training.
    """

    benchmark: BenchmarkTask
    folds: list[Fold]
    networks: set[str] = field(default_factory=set)
    predicted: dict[str, Float[np.ndarray, " row"]] = field(default_factory=dict)
    learnt: dict[str, Float[np.ndarray, " row"]] = field(default_factory=dict)
    train_mae: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def fold_mae(
        self, method: str, keep: Bool[np.ndarray, " row"] | None = None
    ) -> Float[np.ndarray, " fold"]:
        """Mean absolute error of a method on each fold's test rows (of those in `keep`, if
        given).
        """
        if method not in self.predicted:
            raise InputError(f"{method!r} was not compared: there are {', '.join(self.predicted)}")
        error = np.abs(self.predicted[method] - self.benchmark.values)
        chosen = self._chosen(keep)
        return np.array([error[rows].mean() for rows in chosen])

    def _chosen(self, keep: np.ndarray | None) -> list[np.ndarray]:
        """Test rows of each fold, those in `keep`."""
        rows = [f.test if keep is None else f.test[keep[f.test]] for f in self.folds]
        empty = [number for number, found in enumerate(rows) if not len(found)]
        if empty:
            raise InputError(
                f"fold {empty[0]} has no test rows left: keep more of them, or use fewer folds"
            )
        return rows

    def fold_spearman(self, method: str, keep: Bool[np.ndarray, " row"] | None = None) -> float:
        """Mean over folds of the rank correlation; 0 where a method says the same of all rows."""
        found = []
        for rows in self._chosen(keep):
            guess, truth = self.predicted[method][rows], self.benchmark.values[rows]
            ranked = np.ptp(guess) > 1e-6 and np.ptp(truth) > 0
            found.append(stats.spearmanr(guess, truth).statistic if ranked else 0.0)
        return float(np.mean(found))


def compare(
    benchmark: BenchmarkTask,
    folds: Sequence[Fold],
    methods: Mapping[str, Method],
    networks: Mapping[str, Method] | None = None,
    progress: bool = True,
) -> Comparison:
    """Every method on every fold. `networks` are those that must be trained to conclusion to count.

    Raises InputError for a fold without rows and for a method that answers with something else than
    one finite number a test row.
    """
    for number, fold in enumerate(folds):
        if not len(fold.train) or not len(fold.test):
            raise InputError(
                f"fold {number} has {len(fold.train)} labelled training and {len(fold.test)} test molecules: "
                "use fewer folds"
            )
    result = Comparison(benchmark, list(folds))
    extend(result, methods, networks, progress)
    return result


def extend(
    result: Comparison,
    methods: Mapping[str, Method] | None = None,
    networks: Mapping[str, Method] | None = None,
    progress: bool = True,
) -> None:
    """More methods and networks for a comparison, on its folds (see `compare`)."""
    every = {**(methods or {}), **(networks or {})}
    with Progress(
        "methods on folds", len(every) * len(result.folds), progress and bool(every)
    ) as shown:
        for name, method in every.items():
            began = time.monotonic()
            fitted = []
            for number, fold in enumerate(result.folds):
                shown.advance(0, f"{name}, fold {number}")
                fitted.append(method(result.benchmark, fold, number))
                _check(name, number, fold, fitted[-1])
                shown.advance(1)
            _keep(result, name, fitted)
            result.seconds[name] = time.monotonic() - began
    result.networks |= set(networks or {})


def _keep(result: Comparison, name: str, fitted: Sequence[Fitted]) -> None:
    """Lay the answers of all folds over the rows of the assay."""
    values = result.benchmark.values
    predicted, learnt = np.full(len(values), np.nan), np.full((len(fitted), len(values)), np.nan)
    for row, fold, found in zip(learnt, result.folds, fitted):
        predicted[fold.test] = found.test
        row[fold.train] = found.train
    count = np.isfinite(learnt).sum(0)
    result.predicted[name] = predicted
    result.learnt[name] = np.where(count, np.nansum(learnt, 0) / np.maximum(count, 1), np.nan)
    result.train_mae[name] = np.nanmean(np.abs(learnt - values), 1).tolist()


def _check(name: str, number: int, fold: Fold, fitted: Fitted) -> None:
    for part, rows, values in (
        ("train", fold.train, fitted.train),
        ("test", fold.test, fitted.test),
    ):
        if np.shape(values) != rows.shape:
            raise InputError(
                f"{name!r}, fold {number}: {part} predictions have shape {np.shape(values)}, not {rows.shape}"
            )
    if not np.isfinite(fitted.test).all():
        raise InputError(
            f"{name!r}, fold {number}: {int((~np.isfinite(fitted.test)).sum())} test predictions are no number"
        )
