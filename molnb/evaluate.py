"""An honest table: the same grouped folds for every method, baselines beside every network, an interval on each
difference.

Scaling, early stopping and every choice see training rows only. Differences are paired by fold; their interval uses
the variance of Nadeau and Bengio (Machine Learning 52, 239, 2003), since the training sets of folds overlap and the
plain interval is far too narrow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .draws import hash64
from .errors import Refused
from .shapes import Bool, Float, Int
from .shards import Shards

NOT_CONCLUDED = "not trained to conclusion"


class Fold(NamedTuple):
    """Rows of a table: what a method may learn from, and what it is judged by."""

    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]


class Fitted(NamedTuple):
    """A method's predictions for its own training rows and for the test rows of a fold, in the label's unit."""

    train: Float[np.ndarray, " train"]
    test: Float[np.ndarray, " test"]


Method = Callable[["Assay", Fold, int], Fitted]  # (assay, fold, number of the fold)


@dataclass(frozen=True)
class Assay:
    """The labelled molecules of one dataset: ids in its corpus, SMILES, values in `unit`, and who belongs together."""

    shards: Shards
    task: str
    label: str
    unit: str
    ids: Int[np.ndarray, " row"]
    smiles: tuple[str, ...]
    values: Float[np.ndarray, " row"]
    groups: Int[np.ndarray, " row"]
    features: dict[str, np.ndarray] = field(default_factory=dict, compare=False)

    def cached(self, name: str, make: Callable[[tuple[str, ...]], np.ndarray]) -> np.ndarray:
        """A feature table of all rows, computed once."""
        if name not in self.features:
            self.features[name] = make(self.smiles)
        return self.features[name]


def load_assay(shards: Shards, task: str | None = None, keep: Bool[np.ndarray, " mol"] | None = None) -> Assay:
    """The labelled molecules of a task with one label (default: the dataset's only task).

    Groups join what shares a scaffold or a loose key, so relatives stay in one fold. `keep` selects molecules of the
    dataset. Raises Refused for a task that cannot be compared: no such task, several labels, too few molecules, all
    values equal or not finite.
    """
    tasks = shards.manifest["tasks"]
    if task is None and len(tasks) == 1:
        task = next(iter(tasks))
    if task not in tasks or tasks[task]["level"] != "molecule" or len(tasks[task]["labels"]) != 1:
        fitting = [t for t, d in tasks.items() if d["level"] == "molecule" and len(d["labels"]) == 1]
        raise Refused(
            f"{shards.path} has no task {task!r} with one label a molecule: choose among {', '.join(fitting) or 'none'}"
        )
    ids, values = (
        np.asarray(shards.array(f"{task}.index")),
        np.asarray(shards.array(f"{task}.values"), np.float64)[:, 0],
    )
    chosen = np.isfinite(values) if keep is None else np.isfinite(values) & keep[ids]
    ids, values = ids[chosen], values[chosen]
    if len(ids) < 10:
        raise Refused(
            f"task {task!r} of {shards.path} has {len(ids)} labelled molecules: a comparison needs at least 10"
        )
    if np.ptp(values) == 0:
        raise Refused(f"all {len(ids)} values of task {task!r} are {values[0]:g}: there is nothing to learn")
    label = tasks[task]["labels"][0]
    smiles = shards.smiles()
    kept = tuple(smiles[i] for i in ids)
    return Assay(shards, task, label["name"], label["unit"], ids, kept, values, _groups(shards, ids))


def _groups(shards: Shards, ids: np.ndarray) -> np.ndarray:
    """Connected components over equal scaffolds (acyclic ones apart) and equal loose keys."""
    table = shards.table(["scaffold", "inchikey14", "tautomer_key"]).take(ids)
    n, links = len(ids), [(0, 0)]
    for column in (c.to_pylist() for c in table.columns):
        first: dict[str, int] = {}
        links += [(first.setdefault(key, i), i) for i, key in enumerate(column) if key]
    left, right = np.array(links).T
    return connected_components(coo_matrix((np.ones(len(links)), (left, right)), (n, n)), directed=False)[1]


def make_folds(groups: Int[np.ndarray, " row"], n_fold: int = 5, seed: int = 0) -> list[Fold]:
    """Folds that never part a group: the largest groups first, each into the fold that is emptiest.

    Groups of one size come in an order drawn from `seed`. Raises Refused if there are fewer groups than folds.
    """
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < n_fold:
        raise Refused(f"{len(names)} groups cannot fill {n_fold} folds: use fewer folds, or a split by molecule")
    order = np.lexsort((hash64(seed, names), -sizes))
    filled, fold_of = np.zeros(n_fold), np.zeros(len(names), int)
    for group in order:
        fold_of[group] = filled.argmin()
        filled[filled.argmin()] += sizes[group]
    side = fold_of[inverse]
    return [Fold(np.flatnonzero(side != k), np.flatnonzero(side == k)) for k in range(n_fold)]


def random_folds(n: int, n_fold: int = 5, seed: int = 0) -> list[Fold]:
    """Folds by molecule: interpolation inside a series, for comparison with grouped folds."""
    return make_folds(np.arange(n), n_fold, seed)


def inner_split(assay: Assay, fold: Fold, share: float = 0.15, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Training rows of a fold divided once more, by group, for early stopping: (learn from, stop by)."""
    groups = assay.groups[fold.train]
    names = np.unique(groups)
    wanted, held, count = share * len(fold.train), [], 0
    for name in names[np.argsort(hash64(seed, 1, names))]:
        size = int((groups == name).sum())
        if count < wanted and size <= max(2 * wanted, 1):
            held.append(name)
            count += size
    stop = np.isin(groups, held)
    if stop.all() or not stop.any():  # one group, or none small enough
        stop = hash64(seed, 2, np.arange(len(groups))) % np.uint64(round(1 / share)) == 0
    return fold.train[~stop], fold.train[stop]


@dataclass
class Comparison:
    """Predictions of all methods on the test rows of all folds, and errors on their own training rows."""

    assay: Assay
    folds: list[Fold]
    predicted: dict[str, Float[np.ndarray, " row"]] = field(default_factory=dict)
    train_mae: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def fold_mae(self, method: str, keep: np.ndarray | None = None) -> np.ndarray:
        """Mean absolute error of a method on each fold's test rows (of those in `keep`, if given)."""
        error = np.abs(self.predicted[method] - self.assay.values)
        chosen = np.isfinite(error) if keep is None else np.isfinite(error) & keep
        return np.array([error[f.test][chosen[f.test]].mean() for f in self.folds])


def compare(
    assay: Assay, folds: list[Fold], methods: Mapping[str, Method], report: Callable | None = None
) -> Comparison:
    """Every method on every fold; `report(method, fold number)` is called before each."""
    if any(len(f.test) == 0 or len(f.train) == 0 for f in folds):
        raise Refused("a fold has no labelled molecules: use fewer folds")
    result = Comparison(assay, folds)
    for name, method in methods.items():
        predicted, errors, began = np.full(len(assay.values), np.nan), [], time.monotonic()
        for number, fold in enumerate(folds):
            if report:
                report(name, number)
            fitted = method(assay, fold, number)
            predicted[fold.test] = fitted.test
            errors.append(float(np.nanmean(np.abs(fitted.train - assay.values[fold.train]))))
        result.predicted[name], result.train_mae[name] = predicted, errors
        result.seconds[name] = time.monotonic() - began
    return result


class Interval(NamedTuple):
    """A mean difference with its 95 % interval, and the p value of no difference."""

    mean: float
    low: float
    high: float
    p: float


def corrected_interval(differences: Float[np.ndarray, " fold"], test_to_train: float, level: float = 0.95) -> Interval:
    """Nadeau-Bengio: a mean over k folds has the variance (1/k + n_test/n_train) s², and k - 1 degrees of freedom."""
    k = len(differences)
    if k < 2:
        raise Refused(f"an interval needs at least 2 folds, there is {k}")
    mean, spread = float(np.mean(differences)), float(np.std(differences, ddof=1))
    error = spread * (1 / k + test_to_train) ** 0.5
    half = error * stats.t.ppf(0.5 + level / 2, k - 1)
    p = float(2 * stats.t.sf(abs(mean) / error, k - 1)) if error else float(mean == 0)
    return Interval(mean, mean - half, mean + half, p)


def table_of(result: Comparison, reference: str = "LightGBM", keep: np.ndarray | None = None) -> list[dict]:
    """One row a method, best first: errors in the label's unit, and the paired difference to the reference.

    A network (a method whose name is not a classical one) whose training error has not passed the kNN's test error is
    marked: it says nothing about its kind.
    """
    ratio = float(np.mean([len(f.test) / len(f.train) for f in result.folds]))
    against = result.fold_mae(reference, keep)
    bar = float(result.fold_mae("kNN", keep).mean()) if "kNN" in result.predicted else np.inf
    truth, rows = result.assay.values, []
    for name, predicted in result.predicted.items():
        mae = result.fold_mae(name, keep)
        known = np.isfinite(predicted) if keep is None else np.isfinite(predicted) & keep
        difference = corrected_interval(mae - against, ratio)
        concluded = float(np.mean(result.train_mae[name])) < bar
        ranked = stats.spearmanr(predicted[known], truth[known]).statistic if np.ptp(predicted[known]) else 0.0
        rows.append({
            "method": name,
            "mae": float(mae.mean()),
            "rmse": float(np.sqrt(np.mean((predicted - truth)[known] ** 2))),
            "spearman": float(ranked),
            "train_mae": float(np.mean(result.train_mae[name])),
            "difference": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "n": int(known.sum()),
            "seconds": result.seconds[name],
            "note": "" if concluded or name in CLASSICAL else NOT_CONCLUDED,
        })  # fmt: skip
    return sorted(rows, key=lambda row: row["mae"])


CLASSICAL = (
    "mean",
    "1-NN",
    "kNN",
    "ridge",
    "random forest",
    "LightGBM",
    "LightGBM, with descriptors",
    "Free-Wilson",
)
