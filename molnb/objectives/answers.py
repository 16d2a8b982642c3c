"""Answers of a model to questions of class, gathered over batches, and how well they rank.

A ranking (area under the ROC curve, average precision) is of all rows together and no sum over
batches: of the rows that are scored the probabilities are kept, as float32 on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..shapes import Float, Shaped
from .ranking import RANKINGS, count_rarest, macro
from .targets import ScaledTask

Scores = dict[str, float | int | None]


class Answers:
    """Probabilities and truths of each task, in pieces."""

    def __init__(self):
        self._probabilities: dict[str, list[np.ndarray]] = {}
        self._truths: dict[str, list[np.ndarray]] = {}

    def add(
        self,
        task: ScaledTask,
        probabilities: Float[Tensor, "k output"],
        truth: Float[Tensor, "k label"],
    ) -> None:
        """Keep the answers of a batch."""
        self._probabilities.setdefault(task.key, []).append(probabilities.cpu().numpy())
        self._truths.setdefault(task.key, []).append(truth.cpu().numpy())

    def join(self, others: Answers) -> None:
        """Keep the answers of another gathering after those that are there."""
        for key, pieces in others._probabilities.items():
            self._probabilities.setdefault(key, []).extend(pieces)
            self._truths.setdefault(key, []).extend(others._truths[key])

    def scores(self, task: ScaledTask) -> Scores:
        """The scores of a task over all batches; none where no batch had a label of it."""
        if task.key not in self._truths:
            return {}
        return class_scores(task, self._probabilities[task.key], self._truths[task.key])


def class_scores(
    task: ScaledTask,
    probabilities: Sequence[Shaped[np.ndarray, "_ output"]],
    truths: Sequence[Shaped[np.ndarray, "_ label"]],
) -> Scores:
    """How well probabilities tell the classes of each label apart, by name; None if undefined.

    Of a binary label: `<label>_auroc`, `<label>_ap` (average precision), and how many labels are
    positive and known: `<label>_positives`, `<label>_n`. Of several classes the first two are means
    over each class against the rest, of the classes that occur among others, and `<label>_rarest`
    is how many labels the rarest class has. Of several labels in one task also the means over those
    that can be scored, `<task>_mean_auroc` and `<task>_mean_ap`; of very many these alone. Labels
    that are not learnt have no score. Both are given in pieces, which are joined a label at a time.
    """
    scores: Scores = {}
    ranked: dict[str, list[float]] = {name: [] for name in RANKINGS}
    for column, label in enumerate(task.labels):
        if task.learnt and not task.learnt[column]:
            continue
        known = [np.isfinite(piece[:, column]) for piece in truths]
        of_label = np.concatenate(
            [piece[rows, column] for rows, piece in zip(known, truths, strict=True)]
        )
        outputs = task.outputs_of(column)
        guess = np.concatenate(
            [piece[rows, outputs] for rows, piece in zip(known, probabilities, strict=True)]
        )
        values = _rankings(task, guess, of_label)
        for name, value in values.items():
            ranked[name].append(value)
        if not task.is_wide:
            scores |= {f"{label}_{name}": _or_none(value) for name, value in values.items()}
            scores |= _counted(task, label, of_label, guess.shape[1])
    if len(task.labels) > 1:
        for name, values in ranked.items():
            defined = [value for value in values if np.isfinite(value)]
            mean = float(np.mean(defined)) if defined else None
            scores[f"{task.key}_mean_{name}"] = mean
    return scores


def _rankings(
    task: ScaledTask,
    probabilities: Shaped[np.ndarray, "n class"],
    truth: Shaped[np.ndarray, " n"],
) -> dict[str, float]:
    """Each ranking of one label, of which all truths are known; NaN where it is undefined."""
    if task.kind == "classes":
        return {name: float(macro(r, probabilities, truth)) for name, r in RANKINGS.items()}
    return {name: float(r(probabilities[:, 0], truth > 0.5)) for name, r in RANKINGS.items()}


def _counted(
    task: ScaledTask, label: str, truth: Shaped[np.ndarray, " n"], n_class: int
) -> dict[str, int]:
    """How many labels of one column are known, and positive or of the rarest class."""
    if task.kind == "classes":
        return {f"{label}_rarest": count_rarest(truth, n_class), f"{label}_n": len(truth)}
    return {f"{label}_positives": int((truth > 0.5).sum()), f"{label}_n": len(truth)}


def _or_none(value: float) -> float | None:
    """A number for a file of JSON, which has no NaN."""
    return value if np.isfinite(value) else None
