"""Folds part no group, intervals do not cry wolf, tables say no more than their numbers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import spearmanr

from molnb.errors import InputError
from molnb.evaluation.benchmark import BenchmarkTask, load_benchmark
from molnb.evaluation.comparison import Fitted, compare, extend
from molnb.evaluation.folds import Fold, inner_split, make_folds, random_folds
from molnb.evaluation.metrics import METRICS
from molnb.evaluation.report import NOT_CONCLUDED, comparison_table, conclusions, readable_table
from molnb.evaluation.statistics import corrected_interval


def made_benchmark(values, groups=None) -> BenchmarkTask:
    """A benchmark of nothing but values and groups."""
    values = np.asarray(values, float)
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    ids = np.arange(len(values)) * 3
    smiles = tuple("C" for _ in values)
    shards = SimpleNamespace(path="data/made-0")
    return BenchmarkTask(shards, "t", "act", "log", ids, smiles, values, groups)


def made_shards(values, kind="regression", labels=1, missing=None, flags=None):
    """What `load_benchmark` asks of shards, for molecules without relatives."""
    values = np.asarray(values, float)
    n = len(values)
    label = {"name": "act", "unit": "log", "missing": missing or {}}
    task = {"level": "molecule", "kind": kind, "labels": [label] * labels}
    columns = {
        "scaffold": [""] * n,
        "inchikey14": [f"k{i}" for i in range(n)],
        "tautomer_key": [f"t{i}" for i in range(n)],
    }
    table = pa.table(columns | (flags or {}))
    return SimpleNamespace(
        path="data/x",
        n=n,
        manifest={"tasks": {"t": task}},
        array=lambda name: np.arange(n) if name == "t.index" else values[:, None],
        table=lambda names=None: table.select(names) if names else table,
        columns=table.column_names,
        smiles=lambda: ["C" * (i + 1) for i in range(n)],
    )


# -------------------------------------------------------------------------------------------- folds


@pytest.mark.parametrize("seed", range(3))
def test_folds_part_no_group_cover_all_and_are_of_like_size(seed):
    groups = np.random.default_rng(seed).integers(0, 60, 500) ** 2 // 40  # some large, many small
    folds = make_folds(groups, 5, seed)
    assert sorted(np.concatenate([f.test for f in folds])) == list(range(500))
    for fold in folds:
        assert not set(groups[fold.train]) & set(groups[fold.test])
        assert sorted([*fold.train, *fold.test]) == list(range(500))
    sizes = [len(f.test) for f in folds]
    assert np.bincount(groups).max() > 40, "a large group, and yet"
    assert max(sizes) - min(sizes) < 10


def test_equal_seeds_give_equal_folds_and_others_do_not():
    one, same, other = (random_folds(100, 5, seed) for seed in (0, 0, 1))
    assert all((a.test == b.test).all() for a, b in zip(one, same))
    assert any((a.test != b.test).any() for a, b in zip(one, other))


@pytest.mark.parametrize(
    "groups", [np.arange(40), np.repeat(np.arange(10), 4), np.zeros(40, int), [0] * 36 + [1] * 4]
)
def test_the_inner_split_uses_training_rows_only_and_parts_no_group_that_it_can_keep(groups):
    benchmark, fold = made_benchmark(range(40), groups), Fold(np.arange(30), np.arange(30, 40))
    learn, stop = inner_split(benchmark, fold, seed=1)
    assert sorted([*learn, *stop]) == list(range(30)) and len(learn) and len(stop)
    if len(set(groups)) > 5:
        assert not set(benchmark.groups[learn]) & set(benchmark.groups[stop]) and len(stop) <= 8


# ---------------------------------------------------------------------------------------- intervals


def test_the_plain_interval_cries_wolf_and_the_corrected_one_does_not():
    """Two equally good methods, 5 x 5 repeated folds: how often does an interval exclude zero?"""
    draw = np.random.default_rng(0)
    n, k, times, repeats = 60, 5, 5, 200
    alarms = {"plain": 0, "corrected": 0}
    for _ in range(repeats):
        x = draw.normal(size=(2, n, 4))
        noise = draw.normal(size=n)
        # Both sets of features say the same amount.
        y = x[0].sum(1) * 0.5 + x[1].sum(1) * 0.5 + noise
        differences = []
        for _ in range(times):
            for test in np.array_split(draw.permutation(n), k):
                train = np.setdiff1d(np.arange(n), test)
                errors = []
                for features in x:
                    known = features[train]
                    weights = np.linalg.solve(known.T @ known + np.eye(4), known.T @ y[train])
                    errors.append(np.abs(features[test] @ weights - y[test]).mean())
                differences.append(errors[0] - errors[1])
        for kind, ratio in (("plain", 0.0), ("corrected", 1 / (k - 1))):
            interval = corrected_interval(np.array(differences), ratio)
            excludes_zero = interval.low > 0 or interval.high < 0
            assert excludes_zero == (interval.p < 0.05)
            alarms[kind] += excludes_zero
    assert alarms["plain"] / repeats > 0.3
    assert alarms["corrected"] / repeats < 0.1


def test_intervals_agree_with_the_formula_and_refuse_what_they_cannot_judge():
    interval = corrected_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 0.25)
    half = 2.7764451 * (2.5 * (1 / 5 + 0.25)) ** 0.5  # t of 4 degrees of freedom; variance 2.5
    assert np.allclose([interval.mean, interval.low, interval.high], [3, 3 - half, 3 + half])
    assert corrected_interval(np.zeros(5), 0.25) == (0, 0, 0, 1)
    for bad in ([1.0], [1.0, np.nan]):
        with pytest.raises(InputError, match="at least 2 folds with finite differences"):
            corrected_interval(np.array(bad), 0.25)


# ------------------------------------------------------------------------------------------- tables


def off_by(test, train=0.0, learns=None):
    """A method whose answers are wrong by `test` on test rows and by `train` on training rows.

    `learns` says row by row whether it learns from a training row; by default it does.
    """

    def fit(benchmark, fold, number):
        training = benchmark.values[fold.train] + train
        if learns is not None:
            training[~learns[fold.train]] = np.nan
        return Fitted(training, benchmark.values[fold.test] + test * (1 + 0.01 * number))

    return fit


@pytest.fixture
def benchmark():
    return made_benchmark(np.random.default_rng(0).normal(size=50))


def compared(benchmark, methods, networks=None):
    folds = make_folds(benchmark.groups)
    return compare(benchmark, folds, methods, networks, progress=False)


def test_a_network_that_has_not_passed_knn_is_marked_and_kept_out_of_conclusions(benchmark):
    methods = {"LightGBM": off_by(0.4), "kNN": off_by(0.6, 0.5)}
    networks = {
        "lazy": off_by(0.1, train=0.7),
        "good": off_by(0.2, train=0.3),
        "poor": off_by(0.8, train=0.3),
    }
    table = comparison_table(compared(benchmark, methods, networks).results)
    assert table["method"].tolist() == ["lazy", "good", "LightGBM", "kNN", "poor"]
    notes = dict(zip(table["method"], table["note"]))
    assert {name: note for name, note in notes.items() if note} == {"lazy": NOT_CONCLUDED}
    sentences = conclusions(table, "log")
    assert sentences[0].startswith("1 of 2 networks beat LightGBM; the best is good (-0.20")
    assert any("Networks worse than LightGBM beyond the interval: poor" in s for s in sentences)
    assert any(
        s.startswith("Not trained to conclusion, so without a verdict: lazy") for s in sentences
    )
    assert not any("lazy" in s for s in sentences if "verdict" not in s)
    assert sentences[-1].endswith("in log.")
    assert readable_table(table)["MAE minus LightGBM"][2] == "reference"
    unfinished = table[~table["method"].isin(["good", "poor"])]
    assert (
        conclusions(unfinished, "")[0]
        == "No network was trained to conclusion: this table says nothing about networks."
    )
    losing = table[~table["method"].isin(["good", "lazy"])]
    assert conclusions(losing, "")[0].startswith("No network beats LightGBM; the best is poor")


def test_no_network_is_judged_without_a_bar(benchmark):
    """Whatever the methods are called, a lazy network is marked or the table refused."""
    methods = {"LightGBM": off_by(0.4), "neighbours": off_by(0.6, 0.5)}
    networks = {"lazy": off_by(0.1, train=0.7), "keen": off_by(0.1, train=0.2)}
    results = compared(benchmark, methods, networks).results
    with pytest.raises(
        InputError, match="'kNN' was not compared: there are LightGBM, neighbours. Add it, or name"
    ):
        comparison_table(results)
    table = comparison_table(results, bar="neighbours").set_index("method")
    assert table["note"].to_dict() == {
        "lazy": NOT_CONCLUDED,
        "keen": "",
        "LightGBM": "",
        "neighbours": "",
    }
    with pytest.raises(InputError, match=r"'keen' was not compared.*bar \(a method that is no net"):
        comparison_table(results, bar="keen")  # one network is no bar for another
    with pytest.raises(InputError, match="a method and a network have one name"):
        compared(benchmark, methods, {"neighbours": off_by(0.1)})


def test_a_network_without_training_predictions_was_not_trained_to_conclusion(benchmark):
    methods = {"LightGBM": off_by(0.4), "kNN": off_by(0.6)}
    networks = {"silent": off_by(0.1, learns=np.zeros(50, bool))}
    table = comparison_table(compared(benchmark, methods, networks).results)
    assert table["note"].tolist() == [NOT_CONCLUDED, "", ""]


def test_a_bar_is_asked_for_only_where_a_network_is_judged(benchmark):
    results = compared(benchmark, {"LightGBM": off_by(0.4), "other": off_by(0.5)}).results
    assert not comparison_table(results)["note"].any()
    with pytest.raises(InputError, match=r"'othr' was not compared \(did you mean 'other'\?\)"):
        comparison_table(results, bar="othr")


def test_training_errors_count_only_rows_that_were_learnt_from(benchmark):
    learns = benchmark.values > 0
    comparison = compared(benchmark, {"half": off_by(0.2, 0.3, learns)})
    table = comparison_table(comparison.results, reference="half")
    assert np.isclose(table["train_mae"][0], 0.3)
    training = comparison.predictions("half", "train")
    assert 0 < learns.sum() < 50 and (np.isfinite(training) == learns).all()
    assert np.allclose(training[learns], benchmark.values[learns] + 0.3)


def test_differences_are_to_the_reference_and_zero_for_itself(benchmark):
    comparison = compared(benchmark, {"LightGBM": off_by(0.4)})
    extend(comparison, {"other": off_by(0.5)}, progress=False)
    rows = comparison_table(comparison.results).set_index("method")
    assert (rows.loc["LightGBM", ["difference", "low", "high"]] == 0).all()
    assert np.isclose(rows["difference"]["other"], 0.1 * 1.02) and rows["n"]["other"] == 50
    swapped = comparison_table(comparison.results, reference="other").set_index("method")
    assert np.isclose(swapped["difference"]["LightGBM"], -0.1 * 1.02)
    with pytest.raises(InputError, match="'kNN' was not compared: there are LightGBM, other"):
        comparison_table(comparison.results, reference="kNN")


def test_sentences_are_refused_for_another_reference_or_metric_than_the_tables(benchmark):
    results = compared(benchmark, {"LightGBM": off_by(0.4), "other": off_by(0.5)}).results
    table = comparison_table(results)
    for speak in (readable_table, lambda t, **named: conclusions(t, "", **named)):
        with pytest.raises(InputError, match="the differences of this table are not to 'other'"):
            speak(table, reference="other")
        with pytest.raises(InputError, match="the differences of this table are not of 'rmse'"):
            speak(table, metric="rmse")
    other = conclusions(comparison_table(results, reference="other"), "", reference="other")
    assert any("better than other beyond the interval: LightGBM" in s for s in other)


def test_a_method_that_is_compared_again_takes_its_place(benchmark):
    comparison = compared(benchmark, {"LightGBM": off_by(0.4), "other": off_by(0.5)})
    extend(comparison, {"other": off_by(0.1)}, progress=False)
    rows = comparison_table(comparison.results).set_index("method")
    assert len(rows) == 2 and np.isclose(rows["mae"]["other"], 0.102)


def test_other_metrics_know_which_way_is_better(benchmark):
    def noisy(scale):
        noise = np.random.default_rng(1).normal(size=50) * scale

        def fit(benchmark, fold, number):
            training = benchmark.values[fold.train] + noise[fold.train]
            return Fitted(training, benchmark.values[fold.test] + noise[fold.test])

        return fit

    methods = {"LightGBM": noisy(3.0), "kNN": noisy(5.0)}
    networks = {"good": noisy(0.01), "bad": noisy(50.0)}
    results = compared(benchmark, methods, networks).results
    for metric in METRICS:
        table = comparison_table(results, metric=metric)
        assert table["method"][0] == "good" and table["method"][3] == "bad"
        assert table["note"].tolist() == ["", "", "", NOT_CONCLUDED]
        assert conclusions(table, "log", metric=metric)[0].startswith("1 of 1 networks beat")
    assert comparison_table(results, metric="spearman")["difference"][0] > 0
    with pytest.raises(InputError, match=r"unknown metric 'rmsd' \(did you mean 'rmse'\?\)"):
        comparison_table(results, metric="rmsd")


def test_rows_can_be_left_out_of_the_judgement_without_fitting_again(benchmark):
    calls = []

    def counted(benchmark, fold, number):
        calls.append(number)
        prediction = np.where(benchmark.values[fold.test] > 1, 9.0, benchmark.values[fold.test])
        return Fitted(benchmark.values[fold.train], prediction)

    comparison = compared(benchmark, {"LightGBM": counted})
    results = comparison.results
    assert comparison_table(results)["mae"][0] > 0.1
    small = benchmark.values <= 1
    judged = comparison_table(results, test_rows=benchmark.ids[small])
    assert judged["mae"][0] == 0 and judged["n"][0] == small.sum() and len(calls) == 5
    first = comparison.folds[0].test
    with pytest.raises(InputError, match="fold 0 has no test rows left"):
        comparison_table(results, test_rows=np.delete(benchmark.ids, first))
    with pytest.raises(InputError, match=r"give benchmark.ids\[mask\]"):
        comparison_table(results, test_rows=small)


def test_ranks_are_compared_within_folds():
    """A method that knows only the mean of each fold has no rank correlation within folds."""
    values = np.repeat([0.0, 10.0], 20) + np.random.default_rng(0).normal(size=40)
    benchmark = made_benchmark(values)
    folds = [Fold(np.arange(20, 40), np.arange(20)), Fold(np.arange(20), np.arange(20, 40))]

    def fold_mean(benchmark, fold, number):
        mean = benchmark.values[fold.test].mean()
        return Fitted(benchmark.values[fold.train], np.full(20, mean))

    comparison = compare(benchmark, folds, {"LightGBM": fold_mean}, progress=False)
    assert spearmanr(comparison.predictions("LightGBM"), values).statistic > 0.5
    assert comparison_table(comparison.results)["spearman"][0] == 0


# ---------------------------------------------------------------------------------------- bad input


def test_a_fold_without_labels_and_answers_of_another_shape_are_refused(benchmark):
    with pytest.raises(InputError, match="fold 1 has 50 labelled training and 0 test molecules"):
        compare(
            benchmark,
            [Fold(np.arange(25), np.arange(25, 50)), Fold(np.arange(50), np.arange(0))],
            {},
        )

    def answers(test):
        return {"bad": lambda benchmark, fold, number: Fitted(benchmark.values[fold.train], test)}

    with pytest.raises(InputError, match=r"'bad', fold 0: test predictions have shape \(3,\), not"):
        compared(benchmark, answers(np.zeros(3)))
    with pytest.raises(InputError, match="'bad', fold 0: 10 test predictions are no number"):
        compared(benchmark, answers(np.full(10, np.nan)))


def test_groups_that_cannot_fill_the_folds_are_refused():
    with pytest.raises(InputError, match="2 groups cannot fill 5 folds"):
        make_folds(np.array([0, 0, 1, 1]))
    with pytest.raises(InputError, match="1 folds"):
        make_folds(np.arange(9), 1)


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        (made_shards([1.0]), "1 of 1 molecules have a label, a comparison needs at least 10"),
        (
            made_shards([np.nan] * 12, missing={"not a number": 12}),
            "0 of 12 .*missing: not a number: 12",
        ),
        (made_shards([5.0] * 12), "all 12 values of task 't' are 5: there is nothing to learn"),
        (made_shards([*range(11), np.inf]), "1 values of task 't' are infinite"),
        (made_shards(range(12), kind="binary"), "task 't' is binary"),
        (made_shards(range(12), labels=2), "no task was named; choose among none"),
    ],
)
def test_assays_that_cannot_be_compared_are_refused(shards, message):
    with pytest.raises(InputError, match=message):
        load_benchmark(shards)


def test_unknown_labels_are_left_out_and_flags_follow_the_rows():
    flags = {"odd": pa.array([None, *[i % 2 == 1 for i in range(1, 14)]])}
    benchmark = load_benchmark(made_shards([*range(12), np.nan, np.nan], flags=flags), "t")
    assert len(benchmark.ids) == 12 and benchmark.axis == "act (log)"
    assert (
        benchmark.flag("odd").tolist() == [i % 2 == 1 for i in range(12)]
        and not benchmark.flag("absent").any()
    )
    with pytest.raises(InputError, match="no task 'x'"):
        load_benchmark(made_shards(range(12)), "x")
