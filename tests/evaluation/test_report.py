"""Tables and sentences of a comparison say no more than their numbers."""

from __future__ import annotations

import numpy as np
import pytest
from made_benchmarks import compared, made_benchmark, off_by
from scipy.stats import spearmanr

from molnb.errors import InputError
from molnb.evaluation.comparison import Fitted, compare, extend
from molnb.evaluation.folds import Fold
from molnb.evaluation.report import NOT_CONCLUDED, comparison_table, conclusions, readable_table


@pytest.fixture
def benchmark():
    return made_benchmark(np.random.default_rng(0).normal(size=50))


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
    verdict = "Not trained to conclusion, so without a verdict: lazy"
    assert any(s.startswith(verdict) for s in sentences)
    assert not any("lazy" in s for s in sentences if "verdict" not in s)
    assert sentences[-1].endswith("in log.")
    assert readable_table(table)["MAE minus LightGBM"][2] == "reference"
    unfinished = table[~table["method"].isin(["good", "poor"])]
    silence = "No network was trained to conclusion: this table says nothing about networks."
    assert conclusions(unfinished, "")[0] == silence
    losing = table[~table["method"].isin(["good", "lazy"])]
    assert conclusions(losing, "")[0].startswith("No network beats LightGBM; the best is poor")


def test_no_network_is_judged_without_a_bar(benchmark):
    """Whatever the methods are called, a lazy network is marked or the table refused."""
    methods = {"LightGBM": off_by(0.4), "neighbours": off_by(0.6, 0.5)}
    networks = {"lazy": off_by(0.1, train=0.7), "keen": off_by(0.1, train=0.2)}
    results = compared(benchmark, methods, networks).results
    message = "'kNN' was not compared: there are LightGBM, neighbours. Add it, or name"
    with pytest.raises(InputError, match=message):
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
    for metric in ("mae", "rmse", "spearman"):
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
