"""Known labels: unknown ones count nothing, and every task present counts the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_data import ALKANES, make_binary
from tiny import STEADY

from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.models.model import Model
from molnb.models.unimol2.encoder import make_two_track
from molnb.objectives.interface import weighted_loss
from molnb.objectives.supervised import Supervised, in_units, label_scores
from molnb.objectives.targets import ScaledTask, scale_tasks


def test_unknown_labels_count_nothing():
    task = ScaledTask(
        "t", "molecule", "regression", "mae", ("a", "b"), ("eV", "D"), (1.0, 0.0), (2.0, 1.0)
    )
    truth = torch.tensor([[3.0, float("nan")], [float("nan"), 4.0]])
    guess = torch.zeros(2, 2, requires_grad=True)
    scores = label_scores(task, guess, truth)
    assert scores["t_scores"].tolist() == pytest.approx([2.0, 4.0])
    assert scores["t_loss"].item() == pytest.approx(1.0 + 4.0)
    scores["t_loss"].backward()
    assert torch.isfinite(guess.grad).all() and guess.grad[0, 1] == 0


BINARY = ScaledTask(
    "t", "molecule", "binary", "bce", ("wet",), ("1",), (0.0,), (1.0,), (("dry", "wet"),)
)
THREE = ScaledTask(
    "t", "molecule", "classes", "ce", ("c",), ("1",), (0.0,), (1.0,), (("low", "mid", "high"),)
)


def test_a_binary_label_is_scored_by_the_class_and_told_as_a_probability():
    logits = torch.tensor([[2.0], [-1.0], [3.0], [1.0]])
    truth = torch.tensor([[1.0], [1.0], [0.0], [float("nan")]])
    scores = label_scores(BINARY, logits, truth)
    assert scores["t_scores"].tolist() == [1]
    probability = in_units(BINARY, logits)[:, 0]
    expected = -torch.log(torch.stack([probability[0], probability[1], 1 - probability[2]])).sum()
    assert float(scores["t_loss"]) == pytest.approx(float(expected), rel=1e-5)


def test_several_classes_are_scored_by_cross_entropy_and_told_as_probabilities():
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 1.5, 0.0], [9.0, 0.0, 0.0]])
    logits.requires_grad_()
    truth = torch.tensor([[0.0], [2.0], [1.0], [float("nan")]])
    scores = label_scores(THREE, logits, truth)
    assert scores["t_scores"].tolist() == [2]
    probability = in_units(THREE, logits)
    assert torch.allclose(probability.sum(1), torch.ones(4))
    likely = torch.stack([probability[0, 0], probability[1, 2], probability[2, 1]])
    expected = -torch.log(likely).sum()
    assert float(scores["t_loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    scores["t_loss"].backward()
    assert torch.isfinite(logits.grad).all() and not logits.grad[3].any()


def test_a_weighed_class_counts_as_often_as_its_weight_says():
    weighed = BINARY._replace(class_weights=((0.5, 3.0),))
    logits = torch.tensor([[0.3], [-1.2], [0.8]])
    truth = torch.tensor([[1.0], [0.0], [float("nan")]])
    plain = [
        float(label_scores(BINARY, logits[i : i + 1], truth[i : i + 1])["t_loss"]) for i in (0, 1)
    ]
    total = float(label_scores(weighed, logits, truth)["t_loss"])
    assert total == pytest.approx(3.0 * plain[0] + 0.5 * plain[1], rel=1e-6)
    logits = torch.tensor([[0.3, 0.1, -1.0], [0.2, 0.9, 0.1]])
    truth = torch.tensor([[2.0], [0.0]])
    weighed = THREE._replace(class_weights=((2.0, 1.0, 7.0),))
    plain = [
        float(label_scores(THREE, logits[i : i + 1], truth[i : i + 1])["t_loss"]) for i in (0, 1)
    ]
    total = float(label_scores(weighed, logits, truth)["t_loss"])
    assert total == pytest.approx(7.0 * plain[0] + 2.0 * plain[1], rel=1e-6)


@pytest.mark.parametrize("task", [BINARY, THREE], ids=["binary", "classes"])
def test_weights_are_exact_also_where_logits_are_not(task):
    """A weight of 1.003 would be 1.0 in bfloat16."""
    logits = torch.tensor([[0.5] * task.n_output], dtype=torch.bfloat16)
    truth = torch.tensor([[1.0]])
    weighed = task._replace(class_weights=((1.003,) * len(task.classes[0]),))
    with torch.autocast("cpu", torch.bfloat16):
        scores = [float(label_scores(t, logits, truth)["t_loss"]) for t in (task, weighed)]
    assert scores[1] / scores[0] == pytest.approx(1.003, rel=1e-5)


@pytest.mark.parametrize("weights", [(), ((0.6, 3.0), (1.0, 1.0))], ids=["plain", "weighed"])
def test_the_loss_of_classes_does_not_depend_on_the_grouping(tmp_path, weights):
    """Labels of two columns, some unknown, in one group and in three of unlike composition."""
    labels = {"a": [1, 0, None, 0, 0, 0] * 2, "b": [None, 1, 0] * 4}
    corpus = Corpus([make_binary(tmp_path, "t", ALKANES, labels)])
    (task,) = scale_tasks(corpus, ["t"], np.arange(12))
    objective = Supervised(("t",), (task._replace(class_weights=weights),))
    torch.manual_seed(0)
    encoder, _ = make_two_track(STEADY)
    model = Model(encoder, objective.make_heads(encoder, {})).eval()
    torch.nn.init.normal_(model.heads["t"].out.weight)

    def loss_of(groups: list[np.ndarray]) -> float:
        masked = [objective.corrupt(corpus.batch(ids, ["t"]), 0, 0) for ids in groups]
        counts = {name: sum(group.counts[name] for group in masked) for name in masked[0].counts}
        parts = [
            weighted_loss(objective.loss_terms(model, group), objective.weights(counts), counts)
            for group in masked
        ]
        return float(sum(parts).detach())

    whole = loss_of([np.arange(12)])
    assert whole == pytest.approx(loss_of([np.r_[0, 6], np.r_[2:6], np.r_[1, 7:12]]), rel=1e-5)


def test_an_unknown_way_to_weigh_classes_is_refused():
    with pytest.raises(InputError, match="class_weights is 'even': choose one of none, balanced"):
        Supervised(class_weights="even")


def test_every_task_that_is_present_counts_the_same():
    tasks = [
        ScaledTask(name, "molecule", "regression", "mae", (name,), ("eV",), (0.0,), (1.0,))
        for name in ("a", "b", "c")
    ]
    objective = Supervised(("a", "b", "c"), tuple(tasks))
    weights = objective.weights({"a_loss": 100.0, "b_loss": 1.0, "c_loss": 0.0})
    assert weights == {"a_loss": 0.5, "b_loss": 0.5}
