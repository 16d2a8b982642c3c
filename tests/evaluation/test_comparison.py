"""Folds part no group, intervals do not cry wolf, tables say no more than their numbers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from molnb.errors import InputError
from molnb.evaluation.benchmark import BenchmarkTask, load_benchmark
from molnb.evaluation.comparison import Fitted, compare, extend
from molnb.evaluation.folds import Fold, inner_split, make_folds, random_folds
from molnb.evaluation.report import NOT_CONCLUDED, comparison_table, conclusions, readable_table
from molnb.evaluation.statistics import corrected_interval


def made_assay(values, groups=None) -> BenchmarkTask:
    """An assay of nothing but values and groups."""
    values = np.asarray(values, float)
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    ids = np.arange(len(values)) * 3
    return BenchmarkTask(None, "t", "act", "log", ids, tuple("C" for _ in values), values, groups)


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
        smiles=lambda: ["C" * (i + 1) for i in range(n)],
    )


# ---------------------------------------------------------------------------------------------------- folds


@pytest.mark.parametrize("seed", range(3))
def test_folds_part_no_group_cover_all_and_are_of_like_size(seed):
    groups = np.random.default_rng(seed).integers(0, 60, 500) ** 2 // 40  # some large, many small
    folds = make_folds(groups, 5, seed)
    assert sorted(np.concatenate([f.test for f in folds])) == list(range(500))
    for fold in folds:
        assert not set(groups[fold.train]) & set(groups[fold.test])
        assert sorted([*fold.train, *fold.test]) == list(range(500))
    sizes = [len(f.test) for f in folds]
    assert max(sizes) - min(sizes) <= np.bincount(groups).max()


def test_equal_seeds_give_equal_folds_and_others_do_not():
    one, same, other = (random_folds(100, 5, seed) for seed in (0, 0, 1))
    assert all((a.test == b.test).all() for a, b in zip(one, same))
    assert any((a.test != b.test).any() for a, b in zip(one, other))


@pytest.mark.parametrize(
    "groups", [np.arange(40), np.repeat(np.arange(10), 4), np.zeros(40, int), [0] * 36 + [1] * 4]
)
def test_the_inner_split_uses_training_rows_only_and_parts_no_group_that_it_can_keep(groups):
    benchmark, fold = made_assay(range(40), groups), Fold(np.arange(30), np.arange(30, 40))
    learn, stop = inner_split(benchmark, fold, seed=1)
    assert sorted([*learn, *stop]) == list(range(30)) and len(learn) and len(stop)
    if len(set(groups)) > 5:
        assert not set(benchmark.groups[learn]) & set(benchmark.groups[stop]) and len(stop) <= 8


# ------------------------------------------------------------------------------------------------ intervals


def test_the_plain_interval_cries_wolf_and_the_corrected_one_does_not():
    """Two equally good methods, 5 x 5 repeated folds: how often does an interval exclude zero?"""
    draw, n, k, times, repeats = np.random.default_rng(0), 60, 5, 5, 200
    plain = corrected = 0
    for _ in range(repeats):
        x, noise = draw.normal(size=(2, n, 4)), draw.normal(size=n)
        y = (
            x[0].sum(1) * 0.5 + x[1].sum(1) * 0.5 + noise
        )  # both sets of features say the same amount
        differences = []
        for _ in range(times):
            for test in np.array_split(draw.permutation(n), k):
                train = np.setdiff1d(np.arange(n), test)
                error = []
                for one in x:
                    weights = np.linalg.solve(
                        one[train].T @ one[train] + np.eye(4), one[train].T @ y[train]
                    )
                    error.append(np.abs(one[test] @ weights - y[test]).mean())
                differences.append(error[0] - error[1])
        for kind, ratio in (("plain", 0.0), ("corrected", 1 / (k - 1))):
            found = corrected_interval(np.array(differences), ratio)
            wolf = found.low > 0 or found.high < 0
            assert wolf == (found.p < 0.05)
            plain, corrected = (
                plain + (wolf and kind == "plain"),
                corrected + (wolf and kind == "corrected"),
            )
    assert plain / repeats > 0.3
    assert corrected / repeats < 0.1


def test_intervals_agree_with_the_formula_and_refuse_what_they_cannot_judge():
    found = corrected_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 0.25)
    half = 2.7764451 * (2.5 * (1 / 5 + 0.25)) ** 0.5  # t of 4 degrees of freedom; variance 2.5
    assert np.allclose([found.mean, found.low, found.high], [3, 3 - half, 3 + half])
    assert corrected_interval(np.zeros(5), 0.25) == (0, 0, 0, 1)
    for bad in ([1.0], [1.0, np.nan]):
        with pytest.raises(InputError, match="at least 2 folds with finite differences"):
            corrected_interval(np.array(bad), 0.25)


# ---------------------------------------------------------------------------------------------------- tables


def off_by(test, train=0.0, learn=slice(None)):
    """A method whose error is known: its answers are wrong by `test` on test rows and by `train`
    on training rows.
    """

    def fit(benchmark, fold, number):
        answers = np.full(len(fold.train), np.nan)
        answers[learn] = benchmark.values[fold.train][learn] + train
        return Fitted(answers, benchmark.values[fold.test] + test * (1 + 0.01 * number))

    return fit


@pytest.fixture
def benchmark():
    return made_assay(np.random.default_rng(0).normal(size=50))


def test_a_network_that_has_not_passed_knn_is_marked_and_kept_out_of_conclusions(benchmark):
    methods = {"LightGBM": off_by(0.4), "kNN": off_by(0.6, 0.5)}
    networks = {
        "lazy": off_by(0.1, train=0.7),
        "good": off_by(0.2, train=0.3),
        "poor": off_by(0.8, train=0.3),
    }
    result = compare(benchmark, make_folds(benchmark.groups), methods, networks, progress=False)
    rows = comparison_table(result)
    assert [r["method"] for r in rows] == ["lazy", "good", "LightGBM", "kNN", "poor"]
    assert {r["method"]: r["note"] for r in rows if r["note"]} == {"lazy": NOT_CONCLUDED}
    said = conclusions(rows, "log")
    assert said[0].startswith("1 of 2 networks beat LightGBM; the best is good (-0.20")
    assert any("Networks worse than LightGBM beyond the interval: poor" in s for s in said)
    assert any(s.startswith("Not trained to conclusion, so without a verdict: lazy") for s in said)
    assert not any("lazy" in s for s in said if "verdict" not in s)
    assert said[-1].endswith("in log.")
    assert readable_table(rows)[2]["MAE minus LightGBM"] == "reference"
    only = [r for r in rows if r["method"] not in ("good", "poor")]
    assert (
        conclusions(only, "")[0]
        == "No network was trained to conclusion: this table says nothing about networks."
    )
    losing = [r for r in rows if r["method"] not in ("good", "lazy")]
    assert conclusions(losing, "")[0].startswith("No network beats LightGBM; the best is poor")


def test_training_errors_count_only_rows_that_were_learnt_from(benchmark):
    result = compare(
        benchmark,
        make_folds(benchmark.groups),
        {"half": off_by(0.2, 0.3, slice(0, None, 2))},
        progress=False,
    )
    assert np.allclose(result.train_mae["half"], 0.3)
    assert np.isfinite(result.learnt["half"]).sum() < 50 or np.isfinite(result.learnt["half"]).all()


def test_differences_are_to_the_reference_and_zero_for_itself(benchmark):
    result = compare(
        benchmark, make_folds(benchmark.groups), {"LightGBM": off_by(0.4)}, progress=False
    )
    extend(result, {"other": off_by(0.5)}, progress=False)
    rows = {r["method"]: r for r in comparison_table(result)}
    assert (
        rows["LightGBM"]["difference"] == rows["LightGBM"]["low"] == rows["LightGBM"]["high"] == 0
    )
    assert np.isclose(rows["other"]["difference"], 0.1 * 1.02) and rows["other"]["n"] == 50
    with pytest.raises(InputError, match="'kNN' was not compared: there are LightGBM, other"):
        comparison_table(result, reference="kNN")


def test_rows_can_be_left_out_of_the_judgement_without_fitting_again(benchmark):
    calls = []

    def counted(benchmark, fold, number):
        calls.append(number)
        guess = np.where(benchmark.values[fold.test] > 1, 9.0, benchmark.values[fold.test])
        return Fitted(benchmark.values[fold.train], guess)

    result = compare(benchmark, make_folds(benchmark.groups), {"LightGBM": counted}, progress=False)
    assert comparison_table(result)[0]["mae"] > 0.1
    kept = comparison_table(result, keep=benchmark.values <= 1)[0]
    assert kept["mae"] == 0 and kept["n"] == (benchmark.values <= 1).sum() and len(calls) == 5
    first = result.folds[0].test
    with pytest.raises(InputError, match="fold 0 has no test rows left"):
        comparison_table(result, keep=~np.isin(np.arange(50), first))


def test_ranks_are_compared_within_folds():
    """A method that only knows each fold's mean has no rank correlation, though over all rows it
    would have one.
    """
    benchmark = made_assay(np.repeat([0.0, 10.0], 20) + np.random.default_rng(0).normal(size=40))
    folds = [Fold(np.arange(20, 40), np.arange(20)), Fold(np.arange(20), np.arange(20, 40))]
    guess = lambda a, f, i: Fitted(a.values[f.train], np.full(20, a.values[f.test].mean()))  # noqa: E731
    assert (
        comparison_table(compare(benchmark, folds, {"LightGBM": guess}, progress=False))[0][
            "spearman"
        ]
        == 0
    )


# ------------------------------------------------------------------------------------------------- bad input


def test_a_fold_without_labels_and_answers_of_another_shape_are_refused(benchmark):
    with pytest.raises(InputError, match="fold 1 has 50 labelled training and 0 test molecules"):
        compare(
            benchmark,
            [Fold(np.arange(25), np.arange(25, 50)), Fold(np.arange(50), np.arange(0))],
            {},
        )
    with pytest.raises(
        InputError, match=r"'short', fold 0: test predictions have shape \(3,\), not"
    ):
        short = lambda a, f, i: Fitted(a.values[f.train], np.zeros(3))  # noqa: E731
        compare(benchmark, make_folds(benchmark.groups), {"short": short}, progress=False)
    with pytest.raises(InputError, match="'nan', fold 0: 10 test predictions are no number"):
        nan = lambda a, f, i: Fitted(a.values[f.train], np.full(len(f.test), np.nan))  # noqa: E731
        compare(benchmark, make_folds(benchmark.groups), {"nan": nan}, progress=False)


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
