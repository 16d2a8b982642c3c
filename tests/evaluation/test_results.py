"""Results are one row a prediction: stored, read back and merged without changing a number."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from molnb.errors import InputError
from molnb.evaluation.benchmark import BenchmarkTask
from molnb.evaluation.comparison import Comparison, Fitted, compare
from molnb.evaluation.folds import make_folds
from molnb.evaluation.report import comparison_table
from molnb.evaluation.results import (
    COLUMNS,
    empty_results,
    fold_scores,
    load_results,
    write_results,
)


def made_comparison(names: str = "LightGBM kNN net", seed: int = 0, dataset: str = "made-0"):
    """A comparison of methods that are wrong by chance, on 40 rows; `net` is a network."""
    n = 40
    values = np.random.default_rng(9).normal(size=n)
    shards = SimpleNamespace(path=f"data/{dataset}")
    ids = np.arange(n) * 2
    benchmark = BenchmarkTask(shards, "t", "act", "log", ids, ("C",) * n, values, np.arange(n))

    def method(name):
        draw = np.random.default_rng([seed, *name.encode()])

        def fit(benchmark, fold, number):
            training = benchmark.values[fold.train] + 0.1 * draw.normal(size=len(fold.train))
            training[:2] = np.nan
            test = benchmark.values[fold.test] + draw.normal(size=len(fold.test))
            return Fitted(training, test)

        return fit

    methods = {name: method(name) for name in names.split()}
    network = {"net": methods.pop("net")} if "net" in methods else {}
    folds = make_folds(benchmark.groups, 4, seed)
    return compare(benchmark, folds, methods, network, progress=False, seed=seed)


def test_every_prediction_is_one_row():
    comparison = made_comparison()
    results = comparison.results
    assert results.dtypes.astype(str).to_dict() == COLUMNS
    assert results.groupby(["method", "part"]).size().to_dict() == {
        (method, part): n
        for method in comparison.methods
        for part, n in (("test", 40), ("train", 120))
    }
    assert set(results["kind"][results["method"] == "net"]) == {"network"}
    rows = results[(results["method"] == "kNN") & (results["part"] == "test")].set_index("row")
    ids = comparison.benchmark.ids
    assert (rows["truth"][ids].to_numpy() == comparison.benchmark.values).all()
    assert (rows["prediction"][ids].to_numpy() == comparison.predictions("kNN")).all()
    for number, fold in enumerate(comparison.folds):
        assert set(rows.index[rows["fold"] == number]) == set(ids[fold.test])


def test_what_was_written_is_read_back_and_makes_the_same_table(tmp_path):
    results = made_comparison().results
    write_results(results, tmp_path / "results.parquet")
    stored = load_results(tmp_path / "results.parquet")
    pd.testing.assert_frame_equal(stored, results)
    pd.testing.assert_frame_equal(comparison_table(stored), comparison_table(results))


def test_tables_of_several_comparisons_are_merged():
    """Methods that were compared elsewhere, on the same folds, stand in one table."""
    whole = comparison_table(made_comparison().results).drop(columns="seconds")
    parts = [made_comparison("LightGBM").results, made_comparison("kNN net").results]
    merged = comparison_table(pd.concat(parts)).drop(columns="seconds")
    pd.testing.assert_frame_equal(merged, whole)


def test_folds_of_several_seeds_are_all_paired():
    seeds = [made_comparison(seed=seed).results for seed in range(3)]
    scores = fold_scores(pd.concat(seeds))
    assert scores.index.tolist() == [(seed, fold) for seed in range(3) for fold in range(4)]
    for seed in range(3):
        pd.testing.assert_frame_equal(scores.loc[[seed]], fold_scores(seeds[seed]))
    table = comparison_table(pd.concat(seeds)).set_index("method")
    assert np.isclose(table["difference"]["kNN"], (scores["kNN"] - scores["LightGBM"]).mean())
    assert (table["n"] == 40).all()


@pytest.mark.parametrize("metric", ["mae", "rmse", "spearman"])
def test_scores_are_those_of_each_fold(metric):
    comparison = made_comparison()
    prediction = comparison.predictions("kNN")
    truth = comparison.benchmark.values
    scores = fold_scores(comparison.results, metric)["kNN"]
    for number, fold in enumerate(comparison.folds):
        error = prediction[fold.test] - truth[fold.test]
        ranks = [pd.Series(x[fold.test]).rank() for x in (prediction, truth)]
        expected = {
            "mae": np.abs(error).mean(),
            "rmse": (error**2).mean() ** 0.5,
            "spearman": np.corrcoef(*ranks)[0, 1],
        }
        assert np.isclose(scores[0, number], expected[metric])


def test_rows_that_were_not_learnt_from_count_in_no_training_score():
    results = made_comparison().results
    scores = fold_scores(results, part="train")
    assert np.isfinite(scores).all(axis=None) and (scores < 0.2).all(axis=None)
    nothing = results.assign(prediction=results["prediction"].where(results["part"] == "test"))
    assert fold_scores(nothing, part="train").columns.tolist() == ["LightGBM", "kNN", "net"]
    assert not np.isfinite(fold_scores(nothing, part="train")).any(axis=None)


def test_what_cannot_be_compared_is_refused(tmp_path):
    comparison = made_comparison()
    results = comparison.results
    other_folds = made_comparison("LightGBM", seed=1).results.assign(method="other", seed=0)
    for table, message in (
        (pd.concat([results, results]), "480 predictions are in the table twice, the first is"),
        (results.drop(columns="fold"), "this one has no fold"),
        (
            pd.concat([results, made_comparison(dataset="made-1").results]),
            "act of made-0, act of made-1: compare methods on one of them",
        ),
        (
            pd.concat([results, other_folds]),
            "was tested on 40 of .* rows: differences need the same",
        ),
        (
            results.drop(index=results.index[results["part"] == "test"][-1]),
            "'net' was tested on 39",
        ),
    ):
        with pytest.raises(InputError, match=message):
            comparison_table(table)
    with pytest.raises(InputError, match=r"'kN' was not compared \(did you mean 'kNN'\?\): there"):
        comparison.predictions("kN")
    with pytest.raises(InputError, match="is no file"):
        load_results(tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(InputError, match="not readable as Parquet"):
        load_results(tmp_path / "text.parquet")
    with pytest.raises(InputError, match="this one has no truth"):
        write_results(results.drop(columns="truth"), tmp_path / "partial.parquet")
    assert not (tmp_path / "partial.parquet").exists()


def test_a_comparison_starts_empty():
    benchmark = made_comparison().benchmark
    assert Comparison(benchmark, []).methods == []
    assert empty_results().dtypes.astype(str).to_dict() == COLUMNS
