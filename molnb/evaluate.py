"""An honest table: the same grouped folds for every method, baselines beside every network, an interval on each
difference.

Scaling, early stopping and every choice see training rows only. Differences are paired by fold; their interval uses
the variance of Nadeau and Bengio (Machine Learning 52, 239, 2003), since the training sets of folds overlap and the
plain interval is far too narrow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy import stats

from .assays import Assay, Fold
from .errors import Refused
from .progress import Progress
from .shapes import Bool, Float

NOT_CONCLUDED = "not trained to conclusion"
REFERENCE, BAR = "LightGBM", "kNN"  # what differences are to; whose test error a network's training error must pass
NETWORK, PLAIN = "network", "other"


class Fitted(NamedTuple):
    """A method's predictions in the label's unit: for its training rows (NaN: not learnt from) and the test rows."""

    train: Float[np.ndarray, " train"]
    test: Float[np.ndarray, " test"]


Method = Callable[[Assay, Fold, int], Fitted]  # (assay, fold, number of the fold)


@dataclass
class Comparison:
    """Predictions of all methods on the test rows of all folds, and errors on the rows they learnt from.

    `learnt` is the mean prediction for a row over the folds that had it for training.
    """

    assay: Assay
    folds: list[Fold]
    networks: set[str] = field(default_factory=set)
    predicted: dict[str, Float[np.ndarray, " row"]] = field(default_factory=dict)
    learnt: dict[str, Float[np.ndarray, " row"]] = field(default_factory=dict)
    train_mae: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def fold_mae(self, method: str, keep: Bool[np.ndarray, " row"] | None = None) -> Float[np.ndarray, " fold"]:
        """Mean absolute error of a method on each fold's test rows (of those in `keep`, if given)."""
        if method not in self.predicted:
            raise Refused(f"{method!r} was not compared: there are {', '.join(self.predicted)}")
        error = np.abs(self.predicted[method] - self.assay.values)
        chosen = self._chosen(keep)
        return np.array([error[rows].mean() for rows in chosen])

    def _chosen(self, keep: np.ndarray | None) -> list[np.ndarray]:
        """Test rows of each fold, those in `keep`."""
        rows = [f.test if keep is None else f.test[keep[f.test]] for f in self.folds]
        empty = [number for number, found in enumerate(rows) if not len(found)]
        if empty:
            raise Refused(f"fold {empty[0]} has no test rows left: keep more of them, or use fewer folds")
        return rows

    def fold_spearman(self, method: str, keep: Bool[np.ndarray, " row"] | None = None) -> float:
        """Mean over folds of the rank correlation; 0 where a method says the same of all rows."""
        found = []
        for rows in self._chosen(keep):
            guess, truth = self.predicted[method][rows], self.assay.values[rows]
            ranked = np.ptp(guess) > 1e-6 and np.ptp(truth) > 0
            found.append(stats.spearmanr(guess, truth).statistic if ranked else 0.0)
        return float(np.mean(found))


def compare(
    assay: Assay,
    folds: Sequence[Fold],
    methods: Mapping[str, Method],
    networks: Mapping[str, Method] | None = None,
    progress: bool = True,
) -> Comparison:
    """Every method on every fold. `networks` are those that must be trained to conclusion to count.

    Raises Refused for a fold without rows and for a method that answers with something else than one finite number a
    test row.
    """
    for number, fold in enumerate(folds):
        if not len(fold.train) or not len(fold.test):
            raise Refused(
                f"fold {number} has {len(fold.train)} labelled training and {len(fold.test)} test molecules: "
                "use fewer folds"
            )
    result = Comparison(assay, list(folds))
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
    with Progress("methods on folds", len(every) * len(result.folds), progress and bool(every)) as shown:
        for name, method in every.items():
            began = time.monotonic()
            fitted = []
            for number, fold in enumerate(result.folds):
                shown.advance(0, f"{name}, fold {number}")
                fitted.append(method(result.assay, fold, number))
                _check(name, number, fold, fitted[-1])
                shown.advance(1)
            _keep(result, name, fitted)
            result.seconds[name] = time.monotonic() - began
    result.networks |= set(networks or {})


def _keep(result: Comparison, name: str, fitted: Sequence[Fitted]) -> None:
    """Lay the answers of all folds over the rows of the assay."""
    values = result.assay.values
    predicted, learnt = np.full(len(values), np.nan), np.full((len(fitted), len(values)), np.nan)
    for row, fold, found in zip(learnt, result.folds, fitted):
        predicted[fold.test] = found.test
        row[fold.train] = found.train
    count = np.isfinite(learnt).sum(0)
    result.predicted[name] = predicted
    result.learnt[name] = np.where(count, np.nansum(learnt, 0) / np.maximum(count, 1), np.nan)
    result.train_mae[name] = np.nanmean(np.abs(learnt - values), 1).tolist()


def _check(name: str, number: int, fold: Fold, fitted: Fitted) -> None:
    for part, rows, values in (("train", fold.train, fitted.train), ("test", fold.test, fitted.test)):
        if np.shape(values) != rows.shape:
            raise Refused(
                f"{name!r}, fold {number}: {part} predictions have shape {np.shape(values)}, not {rows.shape}"
            )
    if not np.isfinite(fitted.test).all():
        raise Refused(
            f"{name!r}, fold {number}: {int((~np.isfinite(fitted.test)).sum())} test predictions are no number"
        )


class Interval(NamedTuple):
    """A mean difference with its 95 % interval, and the p value of no difference."""

    mean: float
    low: float
    high: float
    p: float


def corrected_interval(differences: Float[np.ndarray, " fold"], test_to_train: float, level: float = 0.95) -> Interval:
    """Nadeau-Bengio: a mean over k folds has the variance (1/k + n_test/n_train) s², and k - 1 degrees of freedom.

    With `test_to_train` 0 this is the plain interval over folds, which is too narrow.
    """
    differences = np.asarray(differences, float)
    k = len(differences)
    if k < 2 or not np.isfinite(differences).all():
        raise Refused(f"an interval needs at least 2 folds with finite differences, there are {differences.tolist()}")
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    error = spread * (1 / k + test_to_train) ** 0.5
    half = float(error * stats.t.ppf(0.5 + level / 2, k - 1))
    p = float(2 * stats.t.sf(abs(mean) / error, k - 1)) if error else float(mean == 0)
    return Interval(mean, mean - half, mean + half, p)


def table_of(
    result: Comparison, reference: str = REFERENCE, keep: Bool[np.ndarray, " row"] | None = None
) -> list[dict]:
    """One row a method, best first: errors in the label's unit, and the paired difference to the reference.

    `mae` and `spearman` are means over folds, `rmse` is over all rows; `low` to `high` is the corrected 95 % interval
    of the difference. A network whose training error has not passed the test error of kNN is marked in `note`: it says
    nothing about its kind. `keep` judges by some of the test rows; nothing is fitted again.
    """
    ratio = float(np.mean([len(f.test) / len(f.train) for f in result.folds]))
    against, truth, rows = result.fold_mae(reference, keep), result.assay.values, []
    bar = float(result.fold_mae(BAR, keep).mean()) if BAR in result.predicted else np.inf
    for name, predicted in result.predicted.items():
        mae = result.fold_mae(name, keep)
        known = np.isfinite(predicted) if keep is None else np.isfinite(predicted) & keep
        difference = corrected_interval(mae - against, ratio)
        learnt = float(np.mean(result.train_mae[name]))
        unfinished = name in result.networks and not learnt < bar
        rows.append({
            "method": name,
            "kind": NETWORK if name in result.networks else PLAIN,
            "mae": float(mae.mean()),
            "rmse": float(np.sqrt(np.mean((predicted - truth)[known] ** 2))),
            "spearman": result.fold_spearman(name, keep),
            "train_mae": learnt,
            "difference": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "n": int(known.sum()),
            "seconds": result.seconds[name],
            "note": NOT_CONCLUDED if unfinished else "",
        })  # fmt: skip
    return sorted(rows, key=lambda row: row["mae"])


def readable(rows: Sequence[dict], reference: str = REFERENCE) -> list[dict]:
    """The columns of a table that people read, rounded; the difference to the reference with its interval."""
    found = []
    for r in rows:
        low, middle, high = (round(r[name], 3) + 0.0 for name in ("low", "difference", "high"))  # + 0.0: no minus zero
        other = r["method"] != reference
        row = {"method": r["method"], "MAE": f"{r['mae']:.3f}", "RMSE": f"{r['rmse']:.3f}"}
        row |= {"Spearman": f"{r['spearman']:.2f}", "training MAE": f"{r['train_mae']:.3f}"}
        row |= {f"MAE minus {reference}": f"{middle:+.3f}" if other else "reference"}
        found.append(row | {"95 % interval": f"{low:+.3f} to {high:+.3f}" if other else "", "note": r["note"]})
    return found


def conclusions(rows: Sequence[dict], unit: str, reference: str = REFERENCE) -> list[str]:
    """What a table allows to say, in sentences; the first is about networks. Unfinished networks are named, not judged.

    Better or worse means that the corrected interval of the difference excludes zero; nothing else counts.
    """
    networks = [r for r in rows if r["kind"] == NETWORK]
    judged = [r for r in networks if not r["note"]]
    found = [_first_sentence(networks, judged, reference)]
    for kind, ours in (("network", judged), ("other method", [r for r in rows if r["kind"] != NETWORK])):
        for verdict, mine in (("better", "high"), ("worse", "low")):
            sure = [r for r in ours if (r["high"] < 0 if mine == "high" else r["low"] > 0)]
            if sure:
                named = ", ".join(f"{r['method']} ({_signed(r)})" for r in sure)
                found.append(f"{kind.capitalize()}s {verdict} than {reference} beyond the interval: {named}.")
    open_ones = [r["method"] for r in judged + [r for r in rows if r["kind"] != NETWORK] if r["low"] <= 0 <= r["high"]]
    open_ones = [name for name in open_ones if name != reference]
    if open_ones:
        found.append(f"Not to be told apart from {reference} with these folds: {', '.join(open_ones)}.")
    unfinished = [r for r in networks if r["note"]]
    if unfinished:
        named = ", ".join(f"{r['method']} ({r['train_mae']:.2f} on its own training rows)" for r in unfinished)
        found.append(f"{NOT_CONCLUDED.capitalize()}, so without a verdict: {named}.")
    return found + ([f"Numbers are differences of mean absolute errors, in {unit}."] if unit not in ("", "1") else [])


def _first_sentence(networks: Sequence[dict], judged: Sequence[dict], reference: str) -> str:
    better = [r for r in judged if r["high"] < 0]
    if not networks:
        return f"No network was compared; {reference} is what the other methods are held against."
    if not judged:
        return "No network was trained to conclusion: this table says nothing about networks."
    best = min(judged, key=lambda r: r["mae"])
    if better:
        return (
            f"{len(better)} of {len(judged)} networks beat {reference}; the best is {best['method']} ({_signed(best)})."
        )
    return f"No network beats {reference}; the best is {best['method']} ({_signed(best)})."


def _signed(row: dict) -> str:
    return f"{row['difference']:+.2f}, 95 % {row['low']:+.2f} to {row['high']:+.2f}"
