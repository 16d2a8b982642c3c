"""A table of results summed up: one row a method, an interval on each difference, sentences.

Differences are paired by fold; their interval uses the variance of Nadeau and Bengio (Machine
Learning 52, 239, 2003), since the training sets of folds overlap and the plain interval is far too
narrow.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..errors import InputError, did_you_mean
from ..units import UNITLESS, readable
from .metrics import BINARY, DEFAULT, METRICS, REGRESSION, find_metric
from .results import NETWORK, check_results, fold_scores, kind_of
from .statistics import corrected_interval

NOT_CONCLUDED = "not trained to conclusion"
REFERENCE_METHOD = "LightGBM"  # what differences are to
_DECIMALS = {"spearman": 2}  # of a score in a table that people read, where not three
BAR_METHOD = "kNN"  # the method whose test error a network's training error must pass


def comparison_table(
    results: pd.DataFrame,
    reference: str = REFERENCE_METHOD,
    bar: str = BAR_METHOD,
    metric: str | None = None,
    test_rows: Iterable[int] | None = None,
) -> pd.DataFrame:
    """One row a method, best first: its scores, and the paired difference to the reference.

    `results` is the long table of one dataset and label. `mae`, `spearman` and `train_<metric>` are
    means over folds, `rmse` is over all rows; errors are in the label's unit. Of a binary label
    they are `auroc`, `ap` (average precision) and `brier`, means over folds, and `positives` counts
    the tested rows of class 1. `low` to `high` is the corrected 95 % interval of `difference`,
    which is of the metric (default: mae, of a binary label auroc). A network whose training
    score has not passed the test score of `bar` is marked in `note`: it says nothing about its
    kind. `test_rows` judges by some rows of the dataset only; nothing is fitted again.

    Raises InputError where the reference was not compared, where there are networks and no such
    `bar` beside them, and where methods were not tested on the same rows of the same folds.
    """
    check_results(results)
    task_kind = kind_of(results)
    metric = metric or DEFAULT[task_kind]
    find_metric(metric, task_kind)
    kinds = results.groupby("method", sort=False)["kind"].first()
    not_networks = kinds.index[kinds != NETWORK]
    _require_method(reference, kinds.index, "reference")
    has_network = len(not_networks) < len(kinds)
    if has_network or bar != BAR_METHOD:  # without networks only a bar that was named
        _require_method(bar, not_networks, "bar (a method that is no network)")
    _check_pairs(results)
    ratio = _test_to_train(results)
    judged = results if test_rows is None else _tested_on(results, test_rows)

    tested = judged[judged["part"] == "test"].groupby("method")
    fits = results.drop_duplicates(["method", "seed", "fold"]).groupby("method")
    scores = fold_scores(judged, metric)
    training = fold_scores(judged, metric, "train").mean(skipna=False)
    intervals = {
        name: corrected_interval((scores[name] - scores[reference]).to_numpy(), ratio)
        for name in kinds.index
    }
    table = pd.DataFrame(
        {
            "kind": kinds,
            **_mean_scores(judged, task_kind),
            f"train_{metric}": training,
            "difference": {name: interval.mean for name, interval in intervals.items()},
            "low": {name: interval.low for name, interval in intervals.items()},
            "high": {name: interval.high for name, interval in intervals.items()},
            "n": tested["row"].nunique(),
            **_positives(judged, task_kind),
            "seconds": fits["seconds"].sum(),
        },
        index=kinds.index,
    )
    table["note"] = ""
    if bar in not_networks:
        sign = -1 if find_metric(metric).higher_is_better else 1
        passed = sign * training < sign * scores[bar].mean()
        table.loc[(kinds == NETWORK) & ~passed, "note"] = NOT_CONCLUDED
    best_first = scores.mean().sort_values(
        ascending=not find_metric(metric).higher_is_better, kind="stable"
    )
    return table.loc[best_first.index].rename_axis("method").reset_index()


def _mean_scores(judged: pd.DataFrame, task_kind: str) -> dict[str, pd.Series | dict]:
    """The scores of each method that stand in a table of this kind of task, by name."""
    if task_kind == BINARY:
        return {name: fold_scores(judged, name).mean() for name in ("auroc", "ap", "brier")}
    tested = judged[judged["part"] == "test"].groupby("method")
    return {
        "mae": fold_scores(judged, "mae").mean(),
        "rmse": {
            name: METRICS["rmse"].score(rows["truth"], rows["prediction"]) for name, rows in tested
        },
        "spearman": fold_scores(judged, "spearman").mean(),
    }


def _positives(judged: pd.DataFrame, task_kind: str) -> dict[str, pd.Series]:
    """How many of the tested rows are of class 1; nothing for numbers."""
    if task_kind != BINARY:
        return {}
    positive = judged[(judged["part"] == "test") & (judged["truth"] == 1)]
    return {"positives": positive.groupby("method")["row"].nunique()}


def _require_method(name: str, methods: Iterable[str], role: str) -> None:
    """Raise InputError unless a method of that name was compared."""
    methods = list(methods)
    if name not in methods:
        raise InputError(
            f"{name!r} was not compared{did_you_mean(name, methods)}: there are "
            f"{', '.join(methods)}. Add it, or name another {role}"
        )


def _check_pairs(results: pd.DataFrame) -> None:
    """Raise InputError unless all methods were tested on the same rows of the same folds."""
    datasets = results[["dataset", "label"]].drop_duplicates()
    if len(datasets) > 1:
        names = ", ".join(f"{row.label} of {row.dataset}" for row in datasets.itertuples())
        raise InputError(f"the results are of {names}: compare methods on one of them at a time")
    tested = results[(results["part"] == "test") & results["prediction"].notna()]
    n_row = len(tested[["seed", "fold", "row"]].drop_duplicates())
    counts = tested.groupby("method", sort=False).size()
    short = counts[counts < n_row]
    if len(short):
        raise InputError(
            f"{short.index[0]!r} was tested on {short.iloc[0]} of {n_row} rows: differences need "
            "the same rows in the same folds for all methods, so compare it on the others' folds"
        )


def _test_to_train(results: pd.DataFrame) -> float:
    """Mean over folds of the number of test rows by that of training rows."""
    fold_rows = results.drop_duplicates(["seed", "fold", "part", "row"])
    counts = fold_rows.groupby(["seed", "fold", "part"]).size().unstack("part")
    return float((counts["test"] / counts["train"]).mean())


def _tested_on(results: pd.DataFrame, test_rows: Iterable[int]) -> pd.DataFrame:
    """The results without the test rows that are not among some rows of the dataset."""
    test_rows = np.asarray(list(test_rows))
    if test_rows.dtype == bool:
        raise InputError("test_rows are row numbers of the dataset: give benchmark.ids[mask]")
    tested = results["part"] == "test"
    judged = results[~tested | results["row"].isin(test_rows)]
    folds = results[tested].groupby(["seed", "fold"]).groups
    filled = judged[judged["part"] == "test"].groupby(["seed", "fold"]).groups
    for seed, fold in folds:
        if (seed, fold) not in filled:
            raise InputError(
                f"fold {fold} has no test rows left: keep more of them, or use fewer folds"
            )
    if kind_of(results) == BINARY:
        _check_classes_left(judged)
    return judged


def _check_classes_left(judged: pd.DataFrame) -> None:
    """Raise InputError where the test rows that are left in a fold are of one class."""
    tested = judged[judged["part"] == "test"]
    for (_, fold), truth in tested.groupby(["seed", "fold"])["truth"]:
        if truth.nunique() < 2:
            raise InputError(
                f"fold {fold} has test rows of class {truth.iloc[0]:g} alone left: keep more of "
                "them, or use fewer folds"
            )


def readable_table(
    table: pd.DataFrame, reference: str = REFERENCE_METHOD, metric: str | None = None
) -> pd.DataFrame:
    """The columns of a `comparison_table` that people read, rounded, as text."""
    metric = metric or default_metric(table)
    check_table(table, reference, metric)
    heading = find_metric(metric).heading
    is_reference = table["method"] == reference
    in_unit = find_metric(metric).in_unit
    texts = {
        name: table[name].map(lambda value: readable(value, sign="+", in_unit=in_unit))
        for name in ("low", "difference", "high")
    }
    interval = texts["low"] + " to " + texts["high"]
    scores = {
        METRICS[name].heading: [
            readable(value, _DECIMALS.get(name, 3), in_unit=METRICS[name].in_unit)
            for value in table[name]
        ]
        for name in METRICS
        if name in table
    }
    return pd.DataFrame(
        {
            "method": table["method"],
            **scores,
            f"training {heading}": [
                readable(value, in_unit=in_unit) for value in table[f"train_{metric}"]
            ],
            f"{heading} minus {reference}": texts["difference"].mask(is_reference, "reference"),
            "95 % interval": interval.mask(is_reference, ""),
            "note": table["note"],
        }
    )


def default_metric(table: pd.DataFrame) -> str:
    """The metric that a `comparison_table` was made of by default: that of its kind of task."""
    return DEFAULT[BINARY if DEFAULT[BINARY] in table else REGRESSION]


def check_table(table: pd.DataFrame, reference: str, metric: str) -> None:
    """Raise InputError unless the differences of a table are to this reference, in this metric."""
    find_metric(metric)
    differences = table.set_index("method")["difference"]
    if differences.get(reference) != 0:
        raise InputError(
            f"the differences of this table are not to {reference!r}: "
            "give the reference that comparison_table was given"
        )
    if f"train_{metric}" not in table:
        raise InputError(
            f"the differences of this table are not of {metric!r}: "
            "give the metric that comparison_table was given"
        )


def conclusions(
    table: pd.DataFrame, unit: str, reference: str = REFERENCE_METHOD, metric: str | None = None
) -> list[str]:
    """What a `comparison_table` allows to say, in sentences; the first is about networks.

    Better or worse means that the corrected interval of the difference excludes zero; nothing else
    counts. Networks that were not trained to conclusion are named, not judged.
    """
    metric = metric or default_metric(table)
    check_table(table, reference, metric)
    described = find_metric(metric)
    better = table["low"] > 0 if described.higher_is_better else table["high"] < 0
    worse = table["high"] < 0 if described.higher_is_better else table["low"] > 0
    network = table["kind"] == NETWORK
    concluded = network & (table["note"] == "")

    sentences = [_sentence_on_networks(table, concluded, better, reference, described.in_unit)]
    for kind, members in (("Networks", concluded), ("Other methods", ~network)):
        for verdict, judged in (("better", better), ("worse", worse)):
            if (members & judged).any():
                methods = _with_differences(table[members & judged], described.in_unit)
                sentences.append(
                    f"{kind} {verdict} than {reference} beyond the interval: {methods}."
                )
    unclear = ~better & ~worse & (table["method"] != reference)
    if (unclear & (concluded | ~network)).any():
        methods = [*table["method"][unclear & concluded], *table["method"][unclear & ~network]]
        sentences.append(
            f"Not to be told apart from {reference} with these folds: {', '.join(methods)}."
        )
    unfinished = table[network & ~concluded]
    if len(unfinished):
        methods = ", ".join(
            f"{name} ({readable(score, 2, in_unit=described.in_unit)} on its own training rows)"
            for name, score in zip(unfinished["method"], unfinished[f"train_{metric}"])
        )
        sentences.append(f"{NOT_CONCLUDED.capitalize()}, so without a verdict: {methods}.")
    if described.in_unit and unit not in UNITLESS:
        sentences.append(f"Numbers are differences of {described.words}s, in {unit}.")
    if BINARY in described.of_kind:
        sentences.append(f"Numbers are differences of the {described.words}.")
    return sentences


def _sentence_on_networks(
    table: pd.DataFrame, concluded: pd.Series, better: pd.Series, reference: str, in_unit: bool
) -> str:
    """What a table says about networks, in one sentence."""
    if not (table["kind"] == NETWORK).any():
        return f"No network was compared; {reference} is what the other methods are held against."
    if not concluded.any():
        return "No network was trained to conclusion: this table says nothing about networks."
    best = _with_differences(table[concluded].head(1), in_unit)  # methods stand best first
    n_better = int((concluded & better).sum())
    if n_better:
        n_network = int(concluded.sum())
        return f"{n_better} of {n_network} networks beat {reference}; the best is {best}."
    return f"No network beats {reference}; the best is {best}."


def _with_differences(table: pd.DataFrame, in_unit: bool) -> str:
    """Methods with their difference and its interval, as text."""

    def signed(value: float) -> str:
        return readable(value, 2, "+", in_unit)

    return ", ".join(
        f"{row.method} ({signed(row.difference)}, 95 % {signed(row.low)} to {signed(row.high)})"
        for row in table.itertuples()
    )
