"""The honest table takes a binary label: probabilities, rankings, folds with both classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

metrics = pytest.importorskip("sklearn.metrics")
pytest.importorskip("lightgbm")
from made_benchmarks import compared, made_benchmark
from made_data import ALCOHOLS, ALKANES, make_binary
from tiny import TINY

from molnb.errors import InputError
from molnb.evaluation.benchmark import load_benchmark
from molnb.evaluation.classical import classical_methods, free_wilson
from molnb.evaluation.comparison import Fitted, compare
from molnb.evaluation.folds import Fold, make_folds, random_folds
from molnb.evaluation.metrics import METRICS
from molnb.evaluation.networks import frozen_encoder, trained_network
from molnb.evaluation.report import NOT_CONCLUDED, comparison_table, conclusions, readable_table
from molnb.evaluation.results import load_results, write_results
from molnb.training.presets import make_preset

RINGS = ["C" * n + "c1ccccc1" for n in range(1, 13)]
SMILES = [*ALKANES, *ALCOHOLS, *RINGS]
FAST = {"model": TINY, "steps": 3, "global_batch": 8, "warmup_steps": 1, "eval_every": 2}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Molecules that are alcohols or not; of a second label a half is known."""
    wet = [0] * 12 + [1] * 12 + [0] * 12
    odd = [None if n % 2 else n // 2 % 2 for n in range(36)]
    return make_binary(tmp_path_factory.mktemp("b"), "water", SMILES, {"wet": wet, "odd": odd})


@pytest.fixture(scope="module")
def benchmark(shards):
    return load_benchmark(shards, label="wet")


@pytest.fixture(scope="module")
def folds(benchmark):
    return random_folds(len(benchmark.ids), 3, values=benchmark.values)


def coin(values, groups=None):
    """A made benchmark of a binary label."""
    return replace(made_benchmark(values, groups), kind="binary", classes=("0", "1"))


def test_a_label_of_several_is_named(shards):
    wet = load_benchmark(shards, label="wet")
    odd = load_benchmark(shards, "water", label="odd")
    assert (wet.kind, wet.label, len(wet.ids)) == ("binary", "wet", 36)
    assert (odd.label, len(odd.ids)) == ("odd", 18)
    assert odd.values.tolist() == [n % 2 for n in range(18)]
    with pytest.raises(InputError, match=r"task 'water' has 2 labels; name one \(label=\): wet"):
        load_benchmark(shards, "water")
    with pytest.raises(
        InputError, match=r"no label 'we' \(did you mean 'wet'\?\); it has wet, odd"
    ):
        load_benchmark(shards, "water", label="we")
    with pytest.raises(InputError, match="no task was named; choose among none with a label 'dry'"):
        load_benchmark(shards, label="dry")


def test_a_class_is_called_by_its_number_and_name():
    named = replace(coin([0, 1]), classes=("inactive", "active"))
    assert (named.named(1.0), named.axis) == ("1 (active)", "act: active")
    assert (coin([0, 1]).named(0.0), coin([0, 1]).axis) == ("0", "act")


@pytest.mark.parametrize("name", classical_methods("binary"))
def test_methods_answer_with_probabilities_and_see_no_test_row(benchmark, folds, name):
    method = classical_methods("binary")[name]
    fold = folds[0]
    clean = method(benchmark, fold, 0)
    values = benchmark.values.copy()
    values[fold.test] = 1 - values[fold.test]
    other = method(replace(benchmark, values=values), fold, 0)
    assert np.array_equal(clean.test, other.test) and np.array_equal(clean.train, other.train)
    for part in clean:
        assert (part >= 0).all() and (part <= 1).all()


def test_simple_methods_are_shares(benchmark, folds):
    methods = classical_methods("binary")
    train_values = benchmark.values[folds[0].train]
    assert (methods["mean"](benchmark, folds[0], 0).test == train_values.mean()).all()
    assert set(methods["1-NN"](benchmark, folds[0], 0).test) <= {0.0, 1.0}
    with pytest.raises(InputError, match="there are no methods for 'classes'"):
        classical_methods("classes")


def test_what_can_be_learnt_is_learnt(benchmark, folds):
    """Alcohols have a hydroxyl group, and fingerprints see it."""
    comparison = compare(benchmark, folds, classical_methods("binary"), progress=False)
    table = comparison_table(comparison.results).set_index("method")
    assert table["auroc"]["mean"] == 0.5
    for name in ("logistic regression", "random forest", "kNN"):
        assert table["auroc"][name] > 0.9
        assert table["brier"][name] < table["brier"]["mean"]


def guessing(noise, seed=0):
    """A method that knows the truth but for noise, as probabilities."""

    def fit(benchmark, fold, number):
        draw = np.random.default_rng([seed, number])

        def guess(rows):
            return np.clip(benchmark.values[rows] + noise * draw.normal(size=len(rows)), 0, 1)

        return Fitted(guess(fold.train), guess(fold.test))

    return fit


@pytest.fixture(scope="module")
def comparison():
    values = (np.random.default_rng(0).random(400) < 0.3).astype(float)
    methods = {"LightGBM": guessing(0.9), "kNN": guessing(1.2), "mean": guessing(9.0)}
    networks = {"good": guessing(0.1), "lazy": guessing(6.0)}
    benchmark = coin(values)
    folds = make_folds(benchmark.groups, values=values)
    return compare(benchmark, folds, methods, networks, progress=False)


def test_the_table_holds_rankings_that_are_means_of_scikit_learn_over_folds(comparison):
    table = comparison_table(comparison.results).set_index("method")
    assert "mae" not in table and table.index[0] == "good"
    truth = comparison.benchmark.values
    for name in ("LightGBM", "kNN"):
        guess = comparison.predictions(name)
        by_fold = [(truth[fold.test], guess[fold.test]) for fold in comparison.folds]
        areas = [metrics.roc_auc_score(*pair) for pair in by_fold]
        assert table["auroc"][name] == pytest.approx(np.mean(areas))
        precisions = [metrics.average_precision_score(*pair) for pair in by_fold]
        assert table["ap"][name] == pytest.approx(np.mean(precisions))
        brier = [metrics.brier_score_loss(*pair) for pair in by_fold]
        assert table["brier"][name] == pytest.approx(np.mean(brier))
    difference = table["auroc"]["good"] - table["auroc"]["LightGBM"]
    assert table["difference"]["good"] == pytest.approx(difference) and difference > 0
    assert (table["positives"] == truth.sum()).all() and (table["n"] == 400).all()


def test_higher_is_better_and_networks_pass_knn_or_are_marked(comparison):
    for metric in (None, "auroc", "ap", "brier"):
        table = comparison_table(comparison.results, metric=metric)
        notes = dict(zip(table["method"], table["note"]))
        assert notes["lazy"] == NOT_CONCLUDED and notes["good"] == ""
        assert table["method"][0] == "good"
        sentences = conclusions(table, "1", metric=metric)
        assert sentences[0].startswith("1 of 1 networks beat LightGBM; the best is good")
        words = METRICS[metric or "auroc"].words
        assert sentences[-1] == f"Numbers are differences of the {words}."
        assert any("Other methods worse than LightGBM" in sentence for sentence in sentences)
    readable = readable_table(comparison_table(comparison.results))
    assert list(readable)[:4] == ["method", "AUROC", "average precision", "Brier"]
    assert "AUROC minus LightGBM" in readable
    with pytest.raises(InputError, match="the metric 'mae' is for regression and not for binary"):
        comparison_table(comparison.results, metric="mae")


def test_results_keep_the_kind_of_task_and_older_ones_are_of_numbers(comparison, tmp_path):
    write_results(comparison.results, tmp_path / "r.parquet")
    stored = load_results(tmp_path / "r.parquet")
    pd.testing.assert_frame_equal(comparison_table(stored), comparison_table(comparison.results))
    older = comparison.results.drop(columns="task_kind")
    older.to_parquet(tmp_path / "old.parquet")
    table = comparison_table(load_results(tmp_path / "old.parquet"))
    assert {"mae", "rmse", "spearman"} <= set(table)
    numbers = load_results(tmp_path / "old.parquet")
    mixed = pd.concat([stored, numbers[numbers["method"] == "mean"].assign(method="other")])
    with pytest.raises(InputError, match="the results are of binary and regression"):
        comparison_table(mixed)


def test_folds_of_one_class_and_answers_that_are_no_probabilities_are_refused(comparison):
    values = np.r_[np.ones(10), np.zeros(10)]
    halves = [Fold(np.arange(10, 20), np.arange(10)), Fold(np.arange(10), np.arange(10, 20))]
    message = r"fold 0: all 10 training rows are of class 0, so .*make_folds\(groups, values="
    with pytest.raises(InputError, match=message):
        compare(coin(values), halves, {"LightGBM": guessing(0.1)}, progress=False)

    def logits(benchmark, fold, number):
        return Fitted(benchmark.values[fold.train], 3 * benchmark.values[fold.test] - 1)

    mixed = coin(np.arange(50) % 2)
    with pytest.raises(InputError, match="'raw', fold 0: 10 test predictions are no probabilities"):
        compared(mixed, {"raw": logits})
    positive = comparison.benchmark.ids[comparison.benchmark.values == 1]
    with pytest.raises(InputError, match="fold 0 has test rows of class 1 alone left"):
        comparison_table(comparison.results, test_rows=positive)
    with pytest.raises(InputError, match="'act' is binary: leave free_wilson out"):
        free_wilson(None)(mixed, Fold(np.arange(40), np.arange(40, 50)), 0)


def test_networks_answer_with_the_probability_of_the_label_that_is_compared(
    shards, folds, tmp_path
):
    """Of a task of two labels; the encoder's vectors are read by logistic regression."""
    config = make_preset("finetune_tiny", [shards], **FAST)
    odd = load_benchmark(shards, label="odd")
    fold = random_folds(len(odd.ids), 3, values=odd.values)[0]
    fitted = trained_network(config, tmp_path / "net")(odd, fold, 0)
    assert fitted.test.shape == fold.test.shape
    assert ((fitted.test > 0) & (fitted.test < 1)).all()
    wet = trained_network(config, tmp_path / "other")(
        load_benchmark(shards, label="wet"), folds[0], 0
    )
    assert wet.test.shape == folds[0].test.shape
    frozen = frozen_encoder(config)(load_benchmark(shards, label="wet"), folds[0], 0)
    assert ((frozen.test >= 0) & (frozen.test <= 1)).all()
