"""Answers of a model to the labels of a batch, and how well answers to classes rank.

A ranking (area under the ROC curve, average precision) is of all rows together and no sum over
batches: `label_metrics` gathers what it is made of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..shapes import Float, Shaped
from .ranking import RANKINGS, count_rarest, macro
from .targets import ScaledTask

Scores = dict[str, float | int | None]


class Answers:
    """What a model answered to the labels of one batch, task by task: numbers or probabilities."""

    def __init__(self):
        self._guesses: dict[str, np.ndarray] = {}

    def add(self, task: ScaledTask, guess: Float[Tensor, " k *output"]) -> None:
        """Keep the answers to a task, one a labelled item of the batch."""
        self._guesses[task.key] = guess.cpu().numpy()

    def guess(self, key: str) -> Shaped[np.ndarray, " k *output"] | None:
        """The answers to a task; None where the batch has no label of it."""
        return self._guesses.get(key)


class KnownAnswers(NamedTuple):
    """Probabilities and truth of one label where that is known."""

    guess: Shaped[np.ndarray, " n *class"]
    truth: Shaped[np.ndarray, " n"]


def class_scores(
    task: ScaledTask,
    probabilities: Shaped[np.ndarray, "k output"],
    truth: Shaped[np.ndarray, "k label"],
) -> Scores:
    """The scores of `known_scores`, from a row an item in which unknown truths are NaN."""
    n_class = task.n_output if task.kind == "classes" else 1
    of_labels = []
    for number, column in enumerate(truth.T):
        is_known = np.isfinite(column)
        guess = probabilities[is_known, number * n_class : (number + 1) * n_class]
        of_labels.append(
            KnownAnswers(guess if task.kind == "classes" else guess[:, 0], column[is_known])
        )
    return known_scores(task, of_labels)


def known_scores(task: ScaledTask, of_labels: Iterable[KnownAnswers]) -> Scores:
    """How well probabilities tell the classes of each label apart, by name; None if undefined.

    Of a binary label: `<label>_auroc`, `<label>_ap` (average precision), and how many labels are
    positive and known: `<label>_positives`, `<label>_n`; of several of them in one task also the
    mean over those that can be scored, `<task>_mean_auroc`. Of several classes the first two are
    means over each class against the rest, of the classes that occur among others, and
    `<label>_rarest` is how many labels the rarest class has.
    """
    scores: Scores = {}
    for label, (guess, truth) in zip(task.labels, of_labels, strict=True):
        positive = truth > 0.5
        for name, ranking in RANKINGS.items():
            if task.kind == "classes":
                value = macro(ranking, guess, truth)
            else:
                value = ranking(guess, positive)
            scores[f"{label}_{name}"] = _or_none(value)
        if task.kind == "classes":
            scores[f"{label}_rarest"] = count_rarest(truth, guess.shape[1])
        else:
            scores[f"{label}_positives"] = int(positive.sum())
        scores[f"{label}_n"] = len(truth)
    if len(task.labels) > 1:
        areas = [scores[f"{label}_auroc"] for label in task.labels]
        defined = [area for area in areas if area is not None]
        scores[f"{task.key}_mean_auroc"] = float(np.mean(defined)) if defined else None
    return scores


def _or_none(value: np.ndarray) -> float | None:
    """A number for a file of JSON, which has no NaN."""
    return float(value) if np.isfinite(value) else None
