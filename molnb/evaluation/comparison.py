"""An honest comparison: the same grouped folds for every method, baselines beside every network.

Scaling, early stopping and every choice see training rows only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..errors import InputError, did_you_mean
from ..progress import Progress
from ..shapes import Float
from .benchmark import BINARY, BenchmarkTask
from .folds import Fold, check_both_classes
from .results import COLUMNS, NETWORK, OTHER, empty_results


class Fitted(NamedTuple):
    """A method's predictions for the training and the test rows of a fold, in the label's unit.

    Of a binary label they are probabilities of class 1. NaN stands for training rows that the
    method did not learn from.
    """

    train: Float[np.ndarray, " train"]
    test: Float[np.ndarray, " test"]


Method = Callable[[BenchmarkTask, Fold, int], Fitted]  # (benchmark, fold, number of the fold)


@dataclass
class Comparison:
    """A benchmark, its folds, and the predictions of all methods as one long table of results."""

    benchmark: BenchmarkTask
    folds: list[Fold]
    seed: int = 0  # of the folds
    results: pd.DataFrame = field(default_factory=empty_results, repr=False)

    @property
    def methods(self) -> list[str]:
        """Names of the methods that were compared, in their order."""
        return self.results["method"].unique().tolist()

    def predictions(self, method: str, part: str = "test") -> Float[np.ndarray, " row"]:
        """A method's prediction for each row of the benchmark, where the row was in `part`.

        The mean over folds where several had the row in that part; NaN where none had, or where the
        method did not learn from it.
        """
        if method not in self.methods:
            raise InputError(
                f"{method!r} was not compared{did_you_mean(method, self.methods)}: "
                f"there are {', '.join(self.methods)}"
            )
        rows = self.results[(self.results["method"] == method) & (self.results["part"] == part)]
        return rows.groupby("row")["prediction"].mean().reindex(self.benchmark.ids).to_numpy()


def compare(
    benchmark: BenchmarkTask,
    folds: Sequence[Fold],
    methods: Mapping[str, Method],
    networks: Mapping[str, Method] | None = None,
    progress: bool = True,
    seed: int = 0,
) -> Comparison:
    """Fit every method on every fold, and gather what each predicts.

    `networks` are those that must be trained to conclusion to count. `seed` is that of the folds,
    for the record. Raises InputError for a fold without rows, or without one of the classes of a
    binary label, and for a method that returns something else than one finite number a test row, of
    a binary label a probability.
    """
    for number, fold in enumerate(folds):
        if not len(fold.train) or not len(fold.test):
            raise InputError(
                f"fold {number} has {len(fold.train)} labelled training and {len(fold.test)} test "
                "molecules: use fewer folds"
            )
        if benchmark.kind == BINARY:
            check_both_classes(benchmark.values, fold, number)
    comparison = Comparison(benchmark, list(folds), seed)
    extend(comparison, methods, networks, progress)
    return comparison


def extend(
    comparison: Comparison,
    methods: Mapping[str, Method] | None = None,
    networks: Mapping[str, Method] | None = None,
    progress: bool = True,
) -> None:
    """Add methods and networks to a comparison, on its folds (see `compare`).

    A method of a name that was compared before takes its place. Raises InputError for a name that
    is both a method's and a network's.
    """
    methods = methods or {}
    networks = networks or {}
    shared = sorted(set(methods) & set(networks))
    if shared:
        raise InputError(
            f"{', '.join(shared)}: a method and a network have one name, give them two"
        )
    n_fit = (len(methods) + len(networks)) * len(comparison.folds)
    with Progress("methods on folds", n_fit, progress and n_fit > 0) as display:
        for name, method in {**methods, **networks}.items():
            tables = []
            for number, fold in enumerate(comparison.folds):
                display.advance(0, f"{name}, fold {number}")
                started = time.monotonic()
                fitted = method(comparison.benchmark, fold, number)
                seconds = time.monotonic() - started
                _check_fitted(name, number, fold, fitted, comparison.benchmark.kind)
                table = _fold_results(comparison, number, fitted)
                kind = NETWORK if name in networks else OTHER
                tables.append(table.assign(method=name, kind=kind, seconds=seconds))
                display.advance(1)
            of_other_methods = comparison.results[comparison.results["method"] != name]
            of_method = pd.concat(tables)[list(COLUMNS)].astype(COLUMNS)
            comparison.results = pd.concat([of_other_methods, of_method], ignore_index=True)


def _fold_results(comparison: Comparison, number: int, fitted: Fitted) -> pd.DataFrame:
    """Results of one fold, without the columns that are the method's."""
    benchmark = comparison.benchmark
    fold = comparison.folds[number]
    rows = np.concatenate([fold.train, fold.test])
    return pd.DataFrame(
        {
            "dataset": benchmark.dataset,
            "label": benchmark.label,
            "task_kind": benchmark.kind,
            "seed": comparison.seed,
            "fold": number,
            "part": np.repeat(["train", "test"], [len(fold.train), len(fold.test)]),
            "row": benchmark.ids[rows],
            "truth": benchmark.values[rows],
            "prediction": np.concatenate([fitted.train, fitted.test]),
        }
    )


def _check_fitted(name: str, number: int, fold: Fold, fitted: Fitted, kind: str) -> None:
    """Raise InputError unless a method returned one finite number, or probability, a test row."""
    for part, rows, values in (
        ("train", fold.train, fitted.train),
        ("test", fold.test, fitted.test),
    ):
        if np.shape(values) != rows.shape:
            raise InputError(
                f"{name!r}, fold {number}: {part} predictions have shape {np.shape(values)}, "
                f"not {rows.shape}"
            )
    n_bad = int((~np.isfinite(fitted.test)).sum())
    if n_bad:
        raise InputError(f"{name!r}, fold {number}: {n_bad} test predictions are no number")
    n_beyond = int(((fitted.test < 0) | (fitted.test > 1)).sum())
    if kind == BINARY and n_beyond:
        raise InputError(
            f"{name!r}, fold {number}: {n_beyond} test predictions are no probabilities: a method "
            "for a binary label returns that of class 1"
        )
