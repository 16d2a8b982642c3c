"""Answers of a model to the labels of a batch, and how well answers to classes rank.

A ranking (area under the ROC curve, average precision) is of all rows together and no sum over
batches: `label_metrics` gathers what it is made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
    probabilities: Sequence[Shaped[np.ndarray, "_ output"]],
    truths: Sequence[Shaped[np.ndarray, "_ label"]],
) -> Scores:
    """The scores of `known_scores`, from a row an item in which unknown truths are NaN.

    Rows are given in pieces, which are joined a label at a time.
    """
    return known_scores(task, _each_label(task, probabilities, truths))


def _each_label(
    task: ScaledTask, probabilities: Sequence[np.ndarray], truths: Sequence[np.ndarray]
) -> Iterator[KnownAnswers]:
    """What is known of one label after another."""
    for column in range(len(task.labels)):
        guesses = []
        known = []
        for guess, truth in zip(probabilities, truths, strict=True):
            is_known = np.isfinite(truth[:, column])
            guesses.append(guess[is_known, task.outputs_of(column)])
            known.append(truth[is_known, column])
        guess = np.concatenate(guesses)
        yield KnownAnswers(guess if task.kind == "classes" else guess[:, 0], np.concatenate(known))


def known_scores(task: ScaledTask, of_labels: Iterable[KnownAnswers]) -> Scores:
    """How well probabilities tell the classes of each label apart, by name; None if undefined.

    Of a binary label: `<label>_auroc`, `<label>_ap` (average precision), and how many labels are
    positive and known: `<label>_positives`, `<label>_n`. Of several classes the first two are means
    over each class against the rest, of the classes that occur among others, and `<label>_rarest`
    is how many labels the rarest class has. Of several labels in one task also the means over those
    that can be scored, `<task>_mean_auroc` and `<task>_mean_ap`; of very many these alone. Labels
    that are not learnt have no score.
    """
    scores: Scores = {}
    ranked: dict[str, list[float]] = {name: [] for name in RANKINGS}
    for column, (label, (guess, truth)) in enumerate(zip(task.labels, of_labels, strict=True)):
        if task.learnt and not task.learnt[column]:
            continue
        values = _rankings(task, guess, truth)
        for name, value in values.items():
            ranked[name].append(value)
        if not task.is_wide:
            scores |= {f"{label}_{name}": _or_none(value) for name, value in values.items()}
            scores |= _counted(task, label, truth, guess)
    if len(task.labels) > 1:
        for name, values in ranked.items():
            defined = [value for value in values if np.isfinite(value)]
            mean = float(np.mean(defined)) if defined else None
            scores[f"{task.key}_mean_{name}"] = mean
    return scores


def _rankings(
    task: ScaledTask, guess: Shaped[np.ndarray, " n *class"], truth: Shaped[np.ndarray, " n"]
) -> dict[str, float]:
    """Each ranking of one label, of which all truths are known; NaN where it is undefined."""
    if task.kind == "classes":
        return {name: float(macro(r, guess, truth)) for name, r in RANKINGS.items()}
    return {name: float(r(guess, truth > 0.5)) for name, r in RANKINGS.items()}


def _counted(
    task: ScaledTask,
    label: str,
    truth: Shaped[np.ndarray, " n"],
    guess: Shaped[np.ndarray, " n *class"],
) -> dict[str, int]:
    """How many labels of one column are known, and positive or of the rarest class."""
    if task.kind == "classes":
        rarest = count_rarest(truth, guess.shape[1])
        return {f"{label}_rarest": rarest, f"{label}_n": len(truth)}
    return {f"{label}_positives": int((truth > 0.5).sum()), f"{label}_n": len(truth)}


def _or_none(value: float) -> float | None:
    """A number for a file of JSON, which has no NaN."""
    return value if np.isfinite(value) else None
