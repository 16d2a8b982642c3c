"""Tasks as they are learnt: their labels, and the spread or classes of each in training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..data.dataset import Corpus
from ..data.tasks import DatasetTask, find_tasks
from ..errors import InputError
from ..shapes import Bool, Float, Int, Shaped
from .class_counts import (
    balanced_weights,
    check_class_weights,
    check_classes,
    check_told_apart,
    count_classes,
)

CHUNK = 4096  # labelled molecules whose labels are in memory at once


class ScaledTask(NamedTuple):
    """A group of label columns with one head: their scale on training rows, and how it is scored.

    `key` is that of `data.tasks`. `labels` are names that no other task of the run bears: plain
    ones where that is clear, else with the key before them. `mean` and `scale` are one number a
    label, in its unit; labels that are classes have mean 0 and scale 1, the names of their
    `classes` by number, and, where these are weighed, how much a label of each counts in the loss.
    """

    key: str
    level: str
    kind: str
    loss: str
    labels: tuple[str, ...]
    units: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    classes: tuple[tuple[str, ...], ...] = ()
    class_weights: tuple[tuple[float, ...], ...] = ()

    @property
    def of_classes(self) -> bool:
        """True where its labels are classes, False where they are numbers."""
        return self.kind != "regression"

    @property
    def n_output(self) -> int:
        """Numbers that the head gives: one a class of the one label, else one a label."""
        return len(self.classes[0]) if self.kind == "classes" else len(self.labels)


class Moments:
    """Mean and standard deviation of columns, gathered in pieces; NaN is left out."""

    def __init__(self, n_column: int):
        self.count = np.zeros(n_column)
        self.mean = np.zeros(n_column)
        self.squares = np.zeros(n_column)  # sums of squared deviations from the mean
        self.lowest = np.full(n_column, np.inf)
        self.highest = np.full(n_column, -np.inf)

    def add(self, values: Float[np.ndarray, "row column"]) -> None:
        """Take in more rows (Chan, Golub & LeVeque 1983: two sets of moments as one)."""
        is_known = np.isfinite(values)
        count = is_known.sum(0)
        if not count.any():
            return
        with np.errstate(over="ignore", invalid="ignore"):  # `_check_spread` refuses what follows
            self._add(values, is_known, count)

    def _add(
        self,
        values: Float[np.ndarray, "row column"],
        is_known: Bool[np.ndarray, "row column"],
        count: Int[np.ndarray, " column"],
    ) -> None:
        self.lowest = np.fmin(self.lowest, np.fmin.reduce(values))
        self.highest = np.fmax(self.highest, np.fmax.reduce(values))
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
    corpus: Corpus, names: Sequence[str], train_ids: np.ndarray, class_weights: str = "none"
) -> tuple[ScaledTask, ...]:
    """Tasks with the mean and spread, or the classes, of each label over training rows.

    `class_weights` says what a label counts in the loss: "none", or "balanced", n / (k n_c) of a
    class with n_c of the n known labels, where k classes occur. Raises InputError for a task or
    label without a value on any training row, with values against its kind, or with nothing to
    learn.
    """
    check_class_weights(class_weights)
    keys = find_tasks(corpus.tasks, names)
    # How many of the tasks have a label of this name.
    n_task = Counter(label.name for key in keys for label in corpus.tasks[key].labels)
    return tuple(_scale_task(corpus, key, train_ids, n_task, class_weights) for key in keys)


def _scale_task(
    corpus: Corpus, key: str, train_ids: np.ndarray, n_task: Counter[str], class_weights: str
) -> ScaledTask:
    task = corpus.tasks[key]
    n_label = len(task.labels)
    if task.kind == "regression":
        moments = _moments(corpus, key, train_ids)
        _check_known(task, moments.count)
        _check_spread(task, moments)
        mean = moments.mean
        scale = moments.deviation
        weights = ()
    else:
        _check_one_label(task)
        check_classes(task, label_values(corpus, key))
        counts = count_classes(task, label_values(corpus, key, train_ids))
        _check_known(task, counts.sum(1))
        check_told_apart(task, counts)
        mean = np.zeros(n_label)
        scale = np.ones(n_label)
        weights = balanced_weights(counts) if class_weights == "balanced" else ()
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
        classes=tuple(label.classes for label in task.labels if label.classes),
        class_weights=weights,
    )


def _check_one_label(task: DatasetTask) -> None:
    """Raise InputError for a task of several labels of several classes: heads have no place."""
    if task.kind == "classes" and len(task.labels) > 1:
        raise InputError(
            f"task {task.key!r} has {len(task.labels):,} labels of several classes, a head learns "
            "one: curate it with a task for each label to learn, or leave this task out and name "
            "the others (--set objective.task_names NAME,NAME)"
        )


def _check_known(task: DatasetTask, count: Shaped[np.ndarray, " label"]) -> None:
    """Raise InputError where a task, or one of its labels, has no value on any training row."""
    if not count.any():
        raise InputError(
            f"task {task.key!r} has no label on any training row: choose another split, or name "
            "the tasks to learn (--set objective.task_names NAME,NAME)"
        )
    unknown = [label.name for label, n in zip(task.labels, count, strict=True) if not n]
    if unknown:
        raise InputError(
            f"task {task.key!r}: {_named(unknown)} without a value on any training row, so there "
            "is nothing to learn it from. Curate again without it, or leave this task out and name "
            "the others (--set objective.task_names NAME,NAME)"
        )


def _named(labels: Sequence[str]) -> str:
    """Labels in a sentence: label 'a' is, labels 'a', 'b' are."""
    names = ", ".join(map(repr, labels))
    return f"label {names} is" if len(labels) == 1 else f"labels {names} are"


def _check_spread(task: DatasetTask, moments: Moments) -> None:
    """Raise InputError where all values of all labels are one, or a spread is no 64-bit number."""
    varied = moments.highest > moments.lowest
    measured = (moments.deviation > 0) & np.isfinite(moments.deviation)
    for column in np.flatnonzero(varied & ~measured):
        raise InputError(
            f"the training values of label {task.labels[column].name!r} (task {task.key!r}) lie "
            f"between {moments.lowest[column]:g} and {moments.highest[column]:g}: their variance "
            "is no 64-bit number. Curate them in another unit (--transform NAME:FACTOR:UNIT->UNIT)"
        )
    if not varied.any():
        raise InputError(
            f"all {int(moments.count[0])} training values of task {task.key!r} are "
            f"{moments.mean[0]:g}: there is nothing to learn"
        )


def _moments(corpus: Corpus, key: str, train_ids: np.ndarray) -> Moments:
    """Moments of a task's labels over training rows, a chunk of molecules at a time."""
    moments = Moments(len(corpus.tasks[key].labels))
    for values in label_values(corpus, key, train_ids):
        if np.isinf(values).any():
            raise InputError(
                f"task {key!r} has infinite values: correct them in the table and curate it again"
            )
        moments.add(values)
    return moments


def label_values(
    corpus: Corpus, key: str, ids: np.ndarray | None = None
) -> Iterator[Float[np.ndarray, "row label"]]:
    """A task's labels of some molecules (None: of all), a chunk of molecules at a time."""
    labelled = corpus.labelled([key])
    ids = labelled if ids is None else np.intersect1d(ids, labelled)
    for start in range(0, len(ids), CHUNK):
        yield corpus.labels(ids[start : start + CHUNK], [key])[key].values.double().numpy()
