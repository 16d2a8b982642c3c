"""The benchmark on Tox21: what its scores are, and that all its networks can be made."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rdkit")
metrics = pytest.importorskip("sklearn.metrics")

from molnb import make_preset

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def benchmark(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import tox21

    return tox21


@pytest.fixture
def outcomes() -> tuple[np.ndarray, np.ndarray]:
    """Two assays of 200 molecules, a third of them unknown, and guesses that know a little."""
    random = np.random.default_rng(0)
    truth = (random.random((200, 2)) < 0.3).astype(float)
    guess = truth + random.normal(size=truth.shape)
    truth[random.random(truth.shape) < 1 / 3] = np.nan
    return truth, guess


def test_scores_are_means_over_assays_of_known_outcomes(benchmark, outcomes):
    truth, guess = outcomes
    expected = []
    for values, scores in zip(truth.T, guess.T):
        known = np.isfinite(values)
        pair = (values[known], scores[known])
        expected.append([metrics.roc_auc_score(*pair), metrics.average_precision_score(*pair)])
    assert benchmark.mean_scores(truth, guess) == pytest.approx(np.mean(expected, 0))


def test_a_difference_has_an_interval_around_it_and_guesses_do_not_differ_from_themselves(
    benchmark, outcomes
):
    truth, guess = outcomes
    groups = np.arange(len(truth))
    found, low, high = benchmark.difference(truth, guess, np.zeros_like(guess), groups)
    assert 0 < low < found < high
    assert benchmark.difference(truth, guess, guess, groups) == (0, 0, 0)


def test_what_is_not_better_than_a_classical_method_is_said_in_capitals(benchmark, outcomes):
    truth, guess = outcomes
    classical = dict.fromkeys(benchmark.CLASSICAL, guess)
    groups = np.arange(len(truth))
    sentences = benchmark.verdicts(benchmark.Method("net", [guess]), truth, classical, groups)
    assert len(sentences) == 4
    assert all("NOT above" in sentence and "by chance" in sentence for sentence in sentences)


def test_every_variant_learns_assays_and_stops_by_validation_rows(benchmark):
    for changes, start in benchmark.VARIANTS.values():
        config = make_preset(benchmark.PRESET, ["data"], **changes)
        assert start in (None, benchmark.BEFORE)
        assert benchmark.TASK in config.objective.task_names and config.patience is not None
    before = make_preset(benchmark.PRESET, ["data"], **benchmark.ELECTRONS)
    assert benchmark.TASK not in before.objective.task_names and before.patience is None


def test_an_unknown_variant_is_refused_in_one_line(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tox21.py", "data", "gin"])
    with pytest.raises(SystemExit) as refusal:
        benchmark.main()
    assert refusal.value.code == 2
    assert "invalid choice: 'gin'" in capsys.readouterr().err
