"""Known labels: unknown ones count nothing, and every task present counts the same."""

from __future__ import annotations

import pytest
import torch

from molnb.objectives.supervised import Supervised, in_units, label_scores
from molnb.objectives.targets import ScaledTask


def test_unknown_labels_count_nothing():
    task = ScaledTask(
        "t", "molecule", "regression", "mae", ("a", "b"), ("eV", "D"), (1.0, 0.0), (2.0, 1.0)
    )
    truth = torch.tensor([[3.0, float("nan")], [float("nan"), 4.0]])
    guess = torch.zeros(2, 2, requires_grad=True)
    scores = label_scores(task, guess, truth)
    assert scores["a_mae_eV"].item() == pytest.approx(2.0)
    assert scores["b_mae_D"].item() == pytest.approx(4.0)
    assert scores["t_loss"].item() == pytest.approx(1.0 + 4.0)
    scores["t_loss"].backward()
    assert torch.isfinite(guess.grad).all() and guess.grad[0, 1] == 0


def test_a_binary_label_is_scored_by_the_class_and_told_as_a_probability():
    task = ScaledTask("t", "molecule", "binary", "bce", ("wet",), ("1",), (0.0,), (1.0,))
    logits = torch.tensor([[2.0], [-1.0], [3.0], [1.0]])
    truth = torch.tensor([[1.0], [1.0], [0.0], [float("nan")]])
    scores = label_scores(task, logits, truth)
    assert float(scores["wet_wrong_share"]) == 2
    probability = in_units(task, logits)[:, 0]
    expected = -torch.log(torch.stack([probability[0], probability[1], 1 - probability[2]])).sum()
    assert float(scores["t_loss"]) == pytest.approx(float(expected), rel=1e-5)


def test_every_task_that_is_present_counts_the_same():
    tasks = [
        ScaledTask(name, "molecule", "regression", "mae", (name,), ("eV",), (0.0,), (1.0,))
        for name in ("a", "b", "c")
    ]
    objective = Supervised(("a", "b", "c"), tuple(tasks))
    weights = objective.weights({"a_loss": 100.0, "b_loss": 1.0, "c_loss": 0.0})
    assert weights == {"a_loss": 0.5, "b_loss": 0.5}
