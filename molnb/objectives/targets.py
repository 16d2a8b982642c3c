"""Tasks as they are learnt: their labels, and the mean and spread of each over training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..data.dataset import Corpus
from ..data.tasks import find_tasks
from ..errors import InputError
from ..shapes import Float

CHUNK = 4096  # labelled molecules whose labels are in memory at once


class ScaledTask(NamedTuple):
    """A group of label columns with one head: their scale on training rows, and how it is scored.

    `key` is that of `data.tasks`. `labels` are names that no other task of the run bears: plain
    ones where that is clear, else with the key before them. `mean` and `scale` are one number a
    label, in its unit; binary labels have mean 0 and scale 1.
    """

    key: str
    level: str
    kind: str
    loss: str
    labels: tuple[str, ...]
    units: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]


class Moments:
    """Mean and standard deviation of columns, gathered in pieces; NaN is left out."""

    def __init__(self, n_column: int):
        self.count = np.zeros(n_column)
        self.mean = np.zeros(n_column)
        self.squares = np.zeros(n_column)  # sums of squared deviations from the mean

    def add(self, values: Float[np.ndarray, "row column"]) -> None:
        """Take in more rows (Chan, Golub & LeVeque 1983: two sets of moments as one)."""
        is_known = np.isfinite(values)
        count = is_known.sum(0)
        if not count.any():
            return
        n = np.maximum(count, 1)
        mean = np.where(is_known, values, 0.0).sum(0) / n
        squares = (np.where(is_known, values - mean, 0.0) ** 2).sum(0)
        total = np.maximum(self.count + count, 1)
        shift = mean - self.mean
        self.squares += squares + shift**2 * self.count * count / total
        self.mean += shift * count / total
        self.count += count

    @property
    def deviation(self) -> Float[np.ndarray, " column"]:
        """The standard deviation of all rows (not of a sample)."""
        return np.sqrt(self.squares / np.maximum(self.count, 1))


def scale_tasks(
    corpus: Corpus, names: Sequence[str], train_ids: np.ndarray
) -> tuple[ScaledTask, ...]:
    """Tasks with the mean and spread of each label over training rows, read in one pass.

    Raises InputError for a task without a label on any training row, with infinite values, or with
    nothing to learn.
    """
    keys = find_tasks(corpus.tasks, names)
    # How many of the tasks have a label of this name.
    n_task = Counter(label.name for key in keys for label in corpus.tasks[key].labels)
    return tuple(_scale_task(corpus, key, train_ids, n_task) for key in keys)


def _scale_task(
    corpus: Corpus, key: str, train_ids: np.ndarray, n_task: Counter[str]
) -> ScaledTask:
    task = corpus.tasks[key]
    moments = _moments(corpus, key, train_ids)
    if not moments.count.any():
        raise InputError(
            f"task {key!r} has no label on any training row: choose another split, or another task"
        )
    mean = moments.mean
    scale = moments.deviation
    if task.kind == "binary":
        mean = np.zeros_like(mean)
        scale = np.ones_like(scale)
    elif not (scale > 0).any():
        raise InputError(
            f"all {int(moments.count[0])} training values of task {key!r} are {mean[0]:g}: there "
            "is nothing to learn"
        )
    labels = [
        label.name if n_task[label.name] == 1 else f"{key}/{label.name}" for label in task.labels
    ]
    return ScaledTask(
        key=key,
        level=task.level,
        kind=task.kind,
        loss=task.loss,
        labels=tuple(labels),
        units=tuple(label.unit for label in task.labels),
        mean=tuple(mean.tolist()),
        scale=tuple(np.where(scale > 0, scale, 1.0).tolist()),
    )


def _moments(corpus: Corpus, key: str, train_ids: np.ndarray) -> Moments:
    """Moments of a task's labels over training rows, a chunk of molecules at a time."""
    moments = Moments(len(corpus.tasks[key].labels))
    ids = np.intersect1d(train_ids, corpus.labelled([key]))
    for start in range(0, len(ids), CHUNK):
        labels = corpus.labels(ids[start : start + CHUNK], [key])[key]
        values = labels.values.double().numpy()
        if np.isinf(values).any():
            raise InputError(
                f"task {key!r} has infinite values: correct them in the table and curate it again"
            )
        moments.add(values)
    return moments
