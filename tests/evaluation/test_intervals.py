"""Scores are those of scikit-learn, intervals those of drawing molecules again in plain steps."""

from __future__ import annotations

import numpy as np
import pytest

metrics = pytest.importorskip("sklearn.metrics")
from scipy.stats import spearmanr

from molnb.evaluation import intervals
from molnb.evaluation.intervals import draw_weights, scored
from molnb.evaluation.metrics import scores_of

KINDS = ("regression", "binary", "classes")

N = 120


def made(kind: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth and guesses of a kind of task, with ties."""
    random = np.random.default_rng(seed)
    if kind == "regression":
        truth = random.normal(size=N).round(1)
        return truth, (truth + random.normal(size=N)).round(1)
    if kind == "binary":
        truth = (random.random(N) < 0.3).astype(float)
        return truth, np.clip(0.3 * truth + random.random(N), 0, 1).round(1)
    truth = random.integers(0, 3, N).astype(float)
    guess = random.dirichlet(np.ones(3), N) + 0.3 * np.eye(3)[truth.astype(int)]
    return truth, guess / guess.sum(1, keepdims=True)


def by_scikit_learn(kind: str, truth: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    if kind == "regression":
        return {
            "mae": metrics.mean_absolute_error(truth, guess),
            "rmse": metrics.root_mean_squared_error(truth, guess),
            "r2": metrics.r2_score(truth, guess),
            "spearman": spearmanr(truth, guess).statistic,
        }
    if kind == "binary":
        return {
            "auroc": metrics.roc_auc_score(truth, guess),
            "ap": metrics.average_precision_score(truth, guess),
            "brier": metrics.brier_score_loss(truth, guess),
        }
    one_hot = np.eye(3)[truth.astype(int)]
    return {
        "accuracy": metrics.accuracy_score(truth, guess.argmax(1)),
        "auroc": metrics.roc_auc_score(truth, guess, multi_class="ovr"),
        "ap": metrics.average_precision_score(one_hot, guess, average="macro"),
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_scikit_learn(kind, seed):
    truth, guess = made(kind, seed)
    columns = scored(kind, truth, guess, np.arange(N), n_draw=2)
    for name, value in by_scikit_learn(kind, truth, guess).items():
        assert columns[name] == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_of_a_draw_is_that_of_the_molecules_drawn(kind):
    """Groups of four are drawn whole; the score is that of the rows written out."""
    truth, guess = made(kind)
    groups = np.arange(N) // 4
    (weights,) = draw_weights(groups, 5, seed=1)
    values = {name: score(truth, guess, weights) for name, score in scores_of(kind).items()}
    for draw, weight in enumerate(weights.astype(int)):
        assert (weight.reshape(-1, 4) == weight[::4, None]).all() and weight.sum() == N
        rows = np.repeat(np.arange(N), weight)
        for name, value in by_scikit_learn(kind, truth[rows], guess[rows]).items():
            assert values[name][draw] == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_ends_of_an_interval_are_percentiles_of_the_draws_whatever_is_in_memory(kind, monkeypatch):
    truth, guess = made(kind)
    whole = scored(kind, truth, guess, np.arange(N), n_draw=200, seed=3)
    (weights,) = draw_weights(np.arange(N), 200, seed=3)
    for name, score in scores_of(kind).items():
        low, high = np.quantile(score(truth, guess, weights), [0.025, 0.975])
        assert (whole[f"{name}_low"], whole[f"{name}_high"]) == pytest.approx((low, high))
        assert low < whole[name] < high
    monkeypatch.setattr(intervals, "MAX_WEIGHTS", 7 * N)
    assert scored(kind, truth, guess, np.arange(N), n_draw=200, seed=3) == pytest.approx(whole)


def test_of_very_many_items_fewer_draws_are_made(monkeypatch):
    truth, guess = made("regression")
    monkeypatch.setattr(intervals, "MAX_DRAWN", 150 * N)
    many = scored("regression", truth, guess, np.arange(N), n_draw=10_000)
    assert many == scored("regression", truth, guess, np.arange(N), n_draw=150)
    monkeypatch.setattr(intervals, "MAX_DRAWN", N)
    fewest = scored("regression", truth, guess, np.arange(N), n_draw=10_000)
    assert fewest == scored("regression", truth, guess, np.arange(N), n_draw=100) != many


def test_relatives_that_err_alike_widen_the_interval():
    error = np.repeat(np.random.default_rng(0).normal(size=20), 6)
    truth = np.arange(N, dtype=float)
    alone = scored("regression", truth, truth + error, np.arange(N))
    related = scored("regression", truth, truth + error, np.arange(N) // 6)
    assert alone["mae"] == related["mae"]
    width = [columns["mae_high"] - columns["mae_low"] for columns in (alone, related)]
    assert width[1] > 1.8 * width[0]


@pytest.mark.parametrize("unit", [1e-30, 1e-9, 1e-3, 1.0, 1e9, 1e39])
def test_ranks_and_explained_variance_are_the_same_in_any_unit(unit):
    random = np.random.default_rng(1)
    truth = random.normal(size=40)
    guess = truth + random.normal(size=40)
    plain = scored("regression", truth, guess, np.arange(40), 50)
    scaled = scored("regression", truth * unit, guess * unit, np.arange(40), 50)
    assert plain["spearman"] == pytest.approx(spearmanr(truth, guess).statistic)
    for name in ("spearman", "spearman_low", "spearman_high", "r2", "r2_low", "r2_high"):
        assert scaled[name] == pytest.approx(plain[name])
    for name in ("mae", "mae_low", "rmse", "rmse_high"):
        assert scaled[name] == pytest.approx(plain[name] * unit)
    constant = truth.mean() + np.arange(40) % 2 * 1e-9
    assert scored("regression", truth * unit, constant * unit, np.arange(40), 9)["spearman"] == 0


def test_what_cannot_be_scored_is_no_number():
    one_class = scored("binary", np.zeros(8), np.arange(8) / 8, np.arange(8))
    assert np.isnan([one_class["auroc"], one_class["ap"], one_class["auroc_low"]]).all()
    assert np.isfinite(one_class["brier_low"])
    one_group = scored("regression", np.arange(8.0), np.arange(8.0) + 1, np.zeros(8, int))
    assert one_group["mae"] == 1 and np.isnan(one_group["mae_low"])
    constant = scored("regression", np.ones(8), np.arange(8.0), np.arange(8))
    assert np.isnan(constant["r2"]) and constant["spearman"] == 0
    rare = scored("binary", np.eye(30)[0], np.arange(30)[::-1] / 30, np.arange(30))
    assert rare["auroc"] == 1 and rare["auroc_low"] == 1, "draws without the one are left out"
