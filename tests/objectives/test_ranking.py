"""Rankings are those of scikit-learn, ties included, and undefined where nothing can be ranked."""

from __future__ import annotations

import numpy as np
import pytest

from molnb.objectives.ranking import (
    auroc,
    average_precision,
    macro,
    rank_correlation,
    rank_draws,
)

metrics = pytest.importorskip("sklearn.metrics")


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("n_level", [1, 2, 5, 1000])
def test_rankings_with_ties_are_those_of_scikit_learn(seed, n_level):
    """Scores of few levels are tied throughout; positives are rare, common or nearly all."""
    random = np.random.default_rng([seed, n_level])
    n = int(random.integers(2, 300))
    positive = random.random(n) < random.choice([0.03, 0.3, 0.5, 0.97])
    positive[:2] = [True, False]
    scores = (random.integers(0, n_level, n) + 0.3 * positive * (n_level > 5)).astype(np.float32)
    expected = metrics.roc_auc_score(positive, scores)
    assert float(auroc(scores, positive)) == pytest.approx(expected, abs=1e-12)
    expected = metrics.average_precision_score(positive, scores)
    assert float(average_precision(scores, positive)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "positive", "area", "precision"),
    [
        ([0.9, 0.1], [1, 0], 1.0, 1.0),
        ([0.1, 0.9], [1, 0], 0.0, 0.5),
        ([0.5, 0.5], [1, 0], 0.5, 0.5),
        ([3, 2, 1], [1, 0, 1], 0.5, (1 + 2 / 3) / 2),
        ([3, 2, 2, 1], [0, 1, 0, 0], 0.5, 1 / 3),
        ([4, 3, 2, 1], [0, 0, 0, 1], 0.0, 0.25),
        ([4, 3, 2, 1], [1, 1, 0, 0], 1.0, 1.0),
        ([1, 1, 1, 0], [1, 0, 0, 0], 2 / 3, 1 / 3),
        ([-5, -7, -6], [1, 1, 0], 0.5, (1 + 2 / 3) / 2),
        ([2, 2, 1, 1], [1, 0, 1, 0], 0.5, 0.5),
    ],
)
def test_rankings_that_can_be_counted_by_hand(scores, positive, area, precision):
    scores = np.array(scores, float)
    positive = np.array(positive, bool)
    assert float(auroc(scores, positive)) == pytest.approx(area)
    assert float(average_precision(scores, positive)) == pytest.approx(precision)


@pytest.mark.parametrize("positive", [[], [True], [False], [True] * 5, [False] * 5])
def test_one_class_alone_cannot_be_ranked(positive):
    scores = np.arange(len(positive), dtype=float)
    assert np.isnan(auroc(scores, np.array(positive, bool)))
    assert np.isnan(average_precision(scores, np.array(positive, bool)))


@pytest.mark.parametrize("ranking", [auroc, average_precision])
def test_weights_are_what_repeating_the_items_gives(ranking):
    random = np.random.default_rng(0)
    scores = random.integers(0, 6, 50).astype(float)
    positive = random.random(50) < 0.4
    weights = random.integers(0, 4, (7, 50))
    values = ranking(scores, positive, weights)
    for value, weight in zip(values, weights, strict=True):
        repeated = np.repeat(np.arange(50), weight)
        assert value == pytest.approx(float(ranking(scores[repeated], positive[repeated])))


def test_the_mean_over_classes_is_that_of_scikit_learn_and_leaves_out_what_is_not_there():
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, 60).astype(float)
    probabilities = random.dirichlet(np.ones(3), 60).round(1)
    probabilities /= probabilities.sum(1, keepdims=True)
    expected = metrics.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
    assert float(macro(auroc, probabilities, truth)) == pytest.approx(expected, abs=1e-12)
    two = np.where(truth == 2, 1, truth)
    scored = [float(auroc(probabilities[:, c], two == c)) for c in (0, 1)]
    assert float(macro(auroc, probabilities, two)) == pytest.approx(np.mean(scored))
    assert np.isnan(macro(auroc, probabilities, np.zeros(60)))


@pytest.mark.parametrize("n_level", [1, 2, 5, 1000])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_both_rankings_of_many_sets_at_once_are_those_one_by_one(n_level, share):
    """Ties, sets without a positive or without a negative, weights of zero."""
    random = np.random.default_rng([n_level, int(100 * share)])
    positive = random.random(40) < share
    positive[:2] = [True, False]
    scores = (random.integers(0, n_level, 40) / n_level).astype(np.float32)
    weights = random.poisson(1, (30, 40)).astype(np.uint8)
    weights[0, positive] = 0
    weights[1, ~positive] = 0
    ranked = rank_draws(scores, positive, weights.T)
    for values, ranking in zip(ranked, (auroc, average_precision), strict=True):
        expected = ranking(scores, positive, weights)
        assert values == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert np.isnan(values[:2]).all()
    assert np.isnan(rank_draws(scores, np.zeros(40, bool), weights.T).auroc).all()


def test_ranks_correlate_as_scipy_says_and_weights_are_repeats():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(4)
    truth = random.integers(0, 8, 60).astype(float)
    guess = np.round(truth + random.normal(size=60), 1)
    weights = random.poisson(1, (9, 60))
    values = rank_correlation(truth, guess, weights)
    for value, weight in zip(values, weights, strict=True):
        items = np.repeat(np.arange(60), weight)
        expected = stats.spearmanr(truth[items], guess[items]).statistic
        assert value == pytest.approx(expected, abs=1e-12)
    assert not rank_correlation(truth, np.ones(60), weights).any()
