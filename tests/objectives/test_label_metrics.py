"""Scores of each label are those of scikit-learn and scipy, whatever batches they came in."""

from __future__ import annotations

import numpy as np
import pytest
from made_answers import (
    answered,
    by_name,
    class_task,
    gathered,
    made_batch,
    number_task,
)

from molnb.objectives import kept_answers, label_metrics
from molnb.objectives.element_counts import ElementFit
from molnb.objectives.label_metrics import LabelMetrics, References, task_means
from molnb.objectives.label_sums import N_BIN
from molnb.objectives.poisson_draws import draw_counts, ends

metrics = pytest.importorskip("sklearn.metrics")
stats = pytest.importorskip("scipy.stats")


def made_numbers(n: int = 200, n_label: int = 3, offset: float = 0.0, spread: float = 1.0):
    """Answers and truth with a third unknown, tied in the last label."""
    random = np.random.default_rng(0)
    truth = offset + spread * random.normal(size=(n, n_label))
    guess = truth + 0.5 * spread * random.normal(size=(n, n_label))
    truth[:, -1] = offset + spread * random.integers(0, 5, n)
    truth[random.random((n, n_label)) < 0.3] = np.nan
    return guess, truth


def made_probabilities(n: int, n_label: int, n_class: int):
    """Answers and truth of classes, a third unknown, probabilities rounded so that some tie."""
    random = np.random.default_rng(1)
    truth = random.integers(0, n_class, (n, n_label)).astype(float)
    guess = random.dirichlet(np.ones(n_class), (n, n_label))
    guess[:, 0] = np.round(guess[:, 0], 1)
    guess /= guess.sum(-1, keepdims=True)
    truth[random.random((n, n_label)) < 0.3] = np.nan
    return guess.astype(np.float32), truth


@pytest.mark.parametrize(("offset", "spread"), [(0.0, 1.0), (-40_000.0, 5.0), (1e6, 1e-3)])
@pytest.mark.parametrize("n_batch", [1, 7])
def test_scores_of_numbers_are_those_of_scikit_learn_and_scipy(offset, spread, n_batch):
    guess, truth = made_numbers(offset=offset, spread=spread)
    task = number_task(3, mean=offset, scale=2 * spread)
    rows = by_name(gathered(task, guess, truth, n_batch).rows())
    for number, label in enumerate(task.labels):
        is_known = np.isfinite(truth[:, number])
        known = (truth[is_known, number], guess[is_known, number])
        expected = {
            "mae": metrics.mean_absolute_error(*known),
            "rmse": metrics.mean_squared_error(*known) ** 0.5,
            "r2": metrics.r2_score(*known),
            "pearson": stats.pearsonr(*known).statistic,
            "spearman": stats.spearmanr(*known).statistic,
        }
        for name, value in expected.items():
            row = rows[label, name]
            assert row["value"] == pytest.approx(value, rel=1e-6, abs=1e-9), (label, name)
            assert row["low"] <= row["value"] <= row["high"]
            assert row["n"] == is_known.sum()
            assert row["unit"] == ("eV" if name in ("mae", "rmse") else "")
        mae = rows[label, "mae"]
        assert mae["in_sd"] == pytest.approx(mae["value"] / (2 * spread), rel=1e-12)
        assert mae["sd"] == 2 * spread and rows[label, "r2"]["in_sd"] is None
        bar = np.abs(known[0] - offset).mean()
        assert mae["baseline"] == pytest.approx(bar, rel=1e-6), "the training mean"
        assert rows[label, "pearson"]["baseline"] == 0
        expected = metrics.r2_score(known[0], np.full_like(known[0], offset))
        assert rows[label, "r2"]["baseline"] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_a_small_spread_far_from_the_training_mean_keeps_its_digits():
    """Sums of squares would leave none of twelve."""
    guess, truth = made_numbers(offset=1e6, spread=1e-4)
    task = number_task(3)  # mean 0, scale 1
    rows = by_name(gathered(task, guess, truth, 5).rows())
    is_known = np.isfinite(truth[:, 0])
    known = (truth[is_known, 0], guess[is_known, 0])
    assert rows["y0", "r2"]["value"] == pytest.approx(metrics.r2_score(*known), rel=1e-5)
    expected = stats.pearsonr(*known).statistic
    assert rows["y0", "pearson"]["value"] == pytest.approx(expected, rel=1e-5)


def calibration(confidence, hit):
    """The calibration error, bin by bin."""
    place = np.minimum((confidence * N_BIN).astype(int), N_BIN - 1)
    gaps = [abs((confidence - hit)[place == number].sum()) for number in range(N_BIN)]
    return sum(gaps) / len(hit)


@pytest.mark.parametrize("n_batch", [1, 6])
def test_scores_of_binary_labels_are_those_of_scikit_learn(n_batch):
    guess, truth = made_probabilities(150, 2, 2)
    task = class_task(2)
    references = References({}, {"t": np.array([[0.7, 0.3], [0.4, 0.6]])})
    rows = by_name(gathered(task, guess[..., 1], truth, n_batch, references).rows())
    for number, label in enumerate(task.labels):
        is_known = np.isfinite(truth[:, number])
        positive = truth[is_known, number]
        probability = guess[is_known, number, 1]
        share = references.shares["t"][number, 1]
        constant = np.full(len(positive), share)
        expected = {
            "auroc": (metrics.roc_auc_score(positive, probability), 0.5),
            "ap": (metrics.average_precision_score(positive, probability), positive.mean()),
            "brier": (
                metrics.brier_score_loss(positive, probability),
                metrics.brier_score_loss(positive, constant),
            ),
            "accuracy": (
                metrics.accuracy_score(positive, probability > 0.5),
                metrics.accuracy_score(positive, constant > 0.5),
            ),
            "ece": (calibration(probability.astype(float), positive), abs(share - positive.mean())),
        }
        for name, (value, bar) in expected.items():
            row = rows[label, name]
            assert row["value"] == pytest.approx(value, abs=1e-6), (label, name)
            assert row["baseline"] == pytest.approx(bar, abs=1e-6), (label, name)
            assert (row["n"], row["n_positive"]) == (is_known.sum(), positive.sum())
            assert row["low"] < row["high"]


@pytest.mark.parametrize("n_label", [1, 2])
def test_scores_of_several_classes_are_those_of_scikit_learn(n_label):
    guess, truth = made_probabilities(150, n_label, 3)
    task = class_task(n_label, 3)
    frequency = np.tile([0.5, 0.3, 0.2], (n_label, 1))
    given = guess[:, 0] if n_label == 1 else guess
    references = References({}, {"t": frequency})
    rows = by_name(gathered(task, given, truth, 4, references).rows())
    for number, label in enumerate(task.labels):
        is_known = np.isfinite(truth[:, number])
        classes = truth[is_known, number].astype(int)
        probabilities = guess[is_known, number].astype(float)
        one_hot = np.eye(3)[classes]
        expected = {
            "auroc": metrics.roc_auc_score(one_hot, probabilities, average="macro"),
            "ap": metrics.average_precision_score(one_hot, probabilities, average="macro"),
            "accuracy": (probabilities.argmax(1) == classes).mean(),
            "brier": ((probabilities - one_hot) ** 2).sum(1).mean(),
            "ece": calibration(probabilities.max(1), probabilities.argmax(1) == classes),
        }
        for name, value in expected.items():
            assert rows[label, name]["value"] == pytest.approx(value, abs=1e-5), name
        bar = ((frequency[number] - one_hot) ** 2).sum(1).mean()
        assert rows[label, "brier"]["baseline"] == pytest.approx(bar)
        assert rows[label, "accuracy"]["baseline"] == pytest.approx((classes == 0).mean())
        assert rows[label, "auroc"]["n_positive"] is None


def test_intervals_are_those_of_scores_of_molecules_drawn_as_often_as_the_weights_say():
    """A slow plain version: each set written out, each score by scikit-learn."""
    guess, truth = made_numbers(60, 1)
    binary = (truth > 0).astype(float)
    binary[np.isnan(truth)] = np.nan
    probability = 1 / (1 + np.exp(-guess))
    counts = draw_counts(np.arange(60), 200)
    is_known = np.isfinite(truth[:, 0])
    numbers = by_name(gathered(number_task(1), guess, truth, 3).rows())
    classes = by_name(gathered(class_task(1), probability.astype(np.float32), binary, 3).rows())
    drawn = [np.repeat(np.flatnonzero(is_known), count[is_known]) for count in counts]
    scores = {
        "mae": lambda i: metrics.mean_absolute_error(truth[i], guess[i]),
        "rmse": lambda i: metrics.mean_squared_error(truth[i], guess[i]) ** 0.5,
        "r2": lambda i: metrics.r2_score(truth[i], guess[i]),
        "pearson": lambda i: stats.pearsonr(truth[i, 0], guess[i, 0]).statistic,
        "spearman": lambda i: stats.spearmanr(truth[i, 0], guess[i, 0]).statistic,
    }
    of_classes = {
        "auroc": lambda i: metrics.roc_auc_score(binary[i], probability[i]),
        "ap": lambda i: metrics.average_precision_score(binary[i], probability[i]),
        "brier": lambda i: metrics.brier_score_loss(binary[i], probability[i]),
        "accuracy": lambda i: ((probability[i] > 0.5) == binary[i]).mean(),
        "ece": lambda i: calibration(probability[i, 0], binary[i, 0]),
    }
    for rows, functions in ((numbers, scores), (classes, of_classes)):
        for name, score in functions.items():
            expected = np.quantile([score(items) for items in drawn], [0.025, 0.975])
            row = rows["y0", name]
            assert [row["low"], row["high"]] == pytest.approx(expected, rel=1e-4), name
            assert row["draws"] == 200


def test_scores_do_not_depend_on_how_molecules_come_in_batches():
    """Values in another order of sums agree to the last digits, ends to all that are kept."""
    guess, truth = made_numbers(120, 2)
    task = number_task(2, mean=0.3)
    whole = gathered(task, guess, truth, 1).rows()
    order = np.random.default_rng(2).permutation(120)
    pieces = gathered(task, guess[order], truth[order], 11, ids=order).rows()
    for one, other in zip(whole, pieces, strict=True):
        for name in ("value", "low", "high", "baseline"):
            assert one[name] == pytest.approx(other[name], rel=2e-6, abs=1e-12)


def test_atoms_of_a_molecule_are_drawn_together():
    """Labels that are the same in a molecule tell as much as one: the interval stays as wide."""
    guess, truth = made_numbers(80, 1)
    truth = np.nan_to_num(truth)
    once = gathered(number_task(1), guess, truth).rows()
    batch = made_batch(np.arange(80), truth, numbers=(6,) * 5)
    atoms = batch.labels["t"]._replace(
        index=batch.mol_of_atom().argsort(stable=True),
        values=batch.labels["t"].values.repeat_interleave(5, 0),
    )
    task = number_task(1)._replace(level="atom")
    batch = made_batch(np.arange(80), truth, numbers=(6,) * 5)
    batch.labels["t"] = atoms
    gathering = LabelMetrics([task], [batch])
    gathering.add(batch, answered(task, guess.repeat(5, 0)))
    for one, five in zip(once, gathering.rows(), strict=True):
        assert five["n"] == 5 * one["n"]
        for name in ("value", "low", "high"):
            assert five[name] == pytest.approx(one[name], rel=1e-5), one["metric"]


def test_labels_that_cannot_be_scored_say_so():
    """Unknown throughout; one value; one molecule; answers that are the same; infinite answers."""
    random = np.random.default_rng(3)
    truth = random.normal(size=(30, 5))
    guess = truth + random.normal(size=(30, 5))
    truth[:, 0] = np.nan
    truth[:, 1] = 2.0
    truth[1:, 2] = np.nan
    guess[:, 3] = 0.5
    guess[4, 4] = np.inf
    truth[7, 3] = np.inf
    rows = by_name(gathered(number_task(5), guess, truth, 3).rows())
    names = ("mae", "rmse", "r2", "pearson", "spearman")
    assert all(rows["y0", name]["value"] is None and rows["y0", name]["n"] == 0 for name in names)
    assert rows["y1", "mae"]["value"] > 0
    assert [rows["y1", name]["value"] for name in names[2:]] == [None] * 3
    assert rows["y2", "mae"]["value"] is not None and rows["y2", "mae"]["n"] == 1
    assert rows["y2", "mae"]["low"] is None, "of one molecule there is no other set"
    assert rows["y2", "r2"]["value"] is None
    assert rows["y3", "pearson"]["value"] == rows["y3", "spearman"]["value"] == 0
    assert rows["y3", "mae"]["n"] == 29, "an infinite truth is none"
    assert rows["y3", "r2"]["value"] <= 0
    for name in names:
        assert rows["y4", name]["value"] is None and rows["y4", name]["low"] is None
        assert rows["y3", name]["value"] is not None, "an infinite answer spoils its label alone"


def test_classes_of_which_there_is_one_are_not_ranked_but_counted():
    truth = np.zeros((20, 2))
    truth[:5, 1] = np.nan
    guess = np.random.default_rng(0).random((20, 2)).astype(np.float32)
    guess[:, 1] = np.nan
    gathering = gathered(class_task(2), guess, truth, 2)
    rows = by_name(gathering.rows())
    assert rows["y0", "auroc"]["value"] is None and rows["y0", "ap"]["value"] is None
    assert rows["y0", "auroc"]["baseline"] is None
    assert rows["y0", "accuracy"]["value"] == (guess[:, 0] <= 0.5).mean()
    assert (rows["y0", "brier"]["n"], rows["y0", "brier"]["n_positive"]) == (20, 0)
    for name in ("auroc", "ap", "brier", "ece", "accuracy"):
        assert rows["y1", name]["value"] is None, "an answer that is no number"
    assert task_means(gathering.rows())["t_mean_auroc"] is None


def test_answers_that_are_all_the_same_rank_as_chance():
    truth = np.arange(20)[:, None] % 2.0
    guess = np.full((20, 1), 0.25, np.float32)
    rows = by_name(gathered(class_task(1), guess, truth).rows())
    assert rows["y0", "auroc"]["value"] == 0.5 == rows["y0", "ap"]["value"]
    assert rows["y0", "ece"]["value"] == pytest.approx(0.25)
    assert rows["y0", "accuracy"]["value"] == 0.5


def test_of_an_extensive_label_what_counting_explains_is_taken_out():
    """Errors stay as they are; explained variance is that of what the fit leaves over."""
    random = np.random.default_rng(0)
    n_carbon = random.integers(1, 10, 60)
    left = random.normal(size=60)
    truth = (100.0 * n_carbon + left)[:, None]
    guess = truth + 0.5 * random.normal(size=(60, 1))
    task = number_task(1, mean=500.0, scale=250.0)
    prices = np.zeros((128, 1))
    prices[0] = -500 / 250
    prices[6] = 100 / 250
    references = References({"t": ElementFit(prices, np.array([True]))}, {})
    gathering = LabelMetrics([task], [], references)
    for n in range(1, 10):
        chosen = np.flatnonzero(n_carbon == n)
        batch = made_batch(chosen, truth[chosen], numbers=(6,) * n)
        gathering.add(batch, answered(task, guess[chosen]))
    rows = by_name(gathering.rows())
    assert not {("y0", "r2"), ("y0", "pearson"), ("y0", "spearman")} & rows.keys()
    residual = (left, (guess - truth)[:, 0] + left)
    assert rows["y0", "r2_residual"]["value"] == pytest.approx(metrics.r2_score(*residual))
    assert rows["y0", "r2_residual"]["value"] < 0.9 < metrics.r2_score(truth, guess)
    expected = stats.spearmanr(*residual).statistic
    assert rows["y0", "spearman_residual"]["value"] == pytest.approx(expected, abs=1e-6)
    mae = rows["y0", "mae"]
    assert mae["value"] == pytest.approx(metrics.mean_absolute_error(truth, guess))
    assert mae["baseline"] == pytest.approx(np.abs(left).mean()), "the fit is what is to be beaten"
    means = task_means(gathering.rows())
    assert "t_mean_r2" not in means and means["t_mean_r2_residual_n"] == 1


def test_a_label_that_is_counting_has_no_explained_variance():
    truth = np.arange(1.0, 9.0)[:, None]
    prices = np.zeros((128, 1))
    prices[6] = 1.0
    references = References({"t": ElementFit(prices, np.array([True]))}, {})
    gathering = LabelMetrics([number_task(1)], [], references)
    for n in range(1, 9):
        batch = made_batch(np.array([n]), truth[n - 1 : n], numbers=(6,) * n)
        gathering.add(batch, answered(number_task(1), truth[n - 1 : n] + 0.1))
    rows = by_name(gathering.rows())
    assert rows["y0", "mae"]["value"] == pytest.approx(0.1)
    for name in ("r2_residual", "pearson_residual", "spearman_residual"):
        assert rows["y0", name]["value"] is None


def test_means_of_a_task_are_over_labels_that_can_be_scored():
    guess, truth = made_numbers(50, 3)
    truth[:, 1] = np.nan
    rows = gathered(number_task(3, scale=2.0), guess, truth).rows()
    means = task_means(rows)
    of = by_name(rows)
    expected = np.mean([of["y0", "mae"]["in_sd"], of["y2", "mae"]["in_sd"]])
    assert means["t_mean_mae_sd"] == pytest.approx(expected) and means["t_mean_mae_sd_n"] == 2
    expected = np.mean([of["y0", "r2"]["value"], of["y2", "r2"]["value"]])
    assert means["t_mean_r2"] == pytest.approx(expected)


def test_of_very_many_answers_a_fixed_sample_of_molecules_is_kept_and_it_is_said(monkeypatch):
    """Sums are of all, whatever is kept; the sample is the same in any order."""
    monkeypatch.setattr(label_metrics, "kept_share", lambda n: kept_answers.kept_share(n, 400))
    guess, truth = made_probabilities(400, 5, 2)
    gathering = gathered(class_task(5), guess[..., 1], truth, 8)
    kept = gathering.tasks["t"].kept
    assert 250 < kept.n_known < 550, "about 400"
    rows = by_name(gathering.rows())
    is_known = np.isfinite(truth[:, 2])
    assert rows["y2", "auroc"]["n_ranked"] < rows["y2", "auroc"]["n"] == is_known.sum()
    expected = metrics.brier_score_loss(truth[is_known, 2], guess[is_known, 2, 1])
    assert rows["y2", "brier"]["value"] == pytest.approx(expected, abs=1e-6)
    assert rows["y2", "brier"]["n_ranked"] is None
    sample = np.isin(np.arange(400), kept.mols()) & is_known
    expected = metrics.roc_auc_score(truth[sample, 2], guess[sample, 2, 1])
    assert rows["y2", "auroc"]["value"] == pytest.approx(expected, abs=1e-6)
    order = np.random.default_rng(0).permutation(400)
    other = gathered(class_task(5), guess[order, :, 1], truth[order], 3, ids=order)
    assert set(other.tasks["t"].kept.mols()) == set(kept.mols())


def test_what_is_kept_is_known_labels_alone():
    """200,000 molecules with a tenth of 1,328 labels: 16 bytes a known label, none for others."""
    guess, truth = made_probabilities(200, 40, 2)
    truth[np.random.default_rng(0).random(truth.shape) > 0.1] = np.nan
    kept = gathered(class_task(40), guess[..., 1], truth, 4).tasks["t"].kept
    n_known = np.isfinite(truth).sum()
    whole = kept._gathered()
    assert sum(array.nbytes for array in whole) == 16 * n_known < 2 * truth.size
    for number, of_label in enumerate(kept.each_label()):
        is_known = np.isfinite(truth[:, number])
        assert np.array_equal(of_label.truth, truth[is_known, number])
        assert np.array_equal(of_label.guess, guess[is_known, number, 1])
        assert np.array_equal(kept.mols()[of_label.mols], np.flatnonzero(is_known))


def test_fewer_sets_are_drawn_where_there_is_very_much_to_draw_from(monkeypatch):
    guess, truth = made_probabilities(100, 3, 2)
    monkeypatch.setattr(label_metrics, "MAX_SUMMED", 300 * 120)
    monkeypatch.setattr(label_metrics, "MAX_RANKED", 1)
    rows = by_name(gathered(class_task(3), guess[..., 1], truth, 2).rows())
    assert rows["y0", "brier"]["draws"] == 120 and rows["y0", "auroc"]["draws"] == 50
    assert rows["y0", "auroc"]["low"] < rows["y0", "auroc"]["high"]


def test_draws_are_poisson_and_a_function_of_molecule_and_draw():
    ids = np.arange(5000)
    counts = draw_counts(ids, 40)
    assert abs(counts.mean() - 1) < 0.01 and abs(counts.var() - 1) < 0.02
    for k, share in enumerate(stats.poisson(1).pmf(range(5))):
        assert (counts == k).mean() == pytest.approx(share, abs=0.005)
    assert np.array_equal(draw_counts(ids[::-7], 9), counts[:9, ::-7])
    between = np.corrcoef(counts)[np.triu_indices(40, 1)]
    assert np.abs(between).max() < 0.08, "draws do not follow each other"


def test_ends_are_the_percentiles_of_numpy_without_what_is_undefined():
    draws = np.random.default_rng(0).normal(size=(57, 4))
    draws[:50, 1] = np.nan
    draws[:, 2] = np.nan
    draws[3, 3] = np.inf
    found = ends(draws)
    assert found[:, 0] == pytest.approx(np.quantile(draws[:, 0], [0.025, 0.975]))
    assert found[:, 1] == pytest.approx(np.quantile(draws[50:, 1], [0.025, 0.975]))
    assert np.isnan(found[:, 2]).all() and np.isfinite(found[:, 3]).all()


def test_an_interval_holds_the_score_of_the_whole_population_as_often_as_it_says():
    """Mean errors of 300 samples of 60 from one population: 95 % of the intervals hold its own."""
    random = np.random.default_rng(5)
    error = np.abs(random.normal(size=(60, 300)))
    rows = gathered(number_task(300), error, np.zeros((60, 300))).rows()
    expected = np.sqrt(2 / np.pi)
    held = [r["low"] <= expected <= r["high"] for r in rows if r["metric"] == "mae"]
    assert len(held) == 300 and 0.88 < np.mean(held) <= 1
