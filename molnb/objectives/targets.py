"""Tasks as they are learnt: their labels, and the spread or classes of each in training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import Corpus, KnownCells
from ..data.tasks import DatasetTask, find_tasks
from ..errors import InputError
from ..shapes import Bool, Float, Int, Shaped
from ..texts import some_of
from .class_counts import (
    balanced_weights,
    check_class_weights,
    check_classes,
    check_told_apart,
    count_classes,
)

CHUNK = 4096  # labelled molecules whose labels are in memory at once
MAX_NAMED = 64  # labels of a task that have scores of their own in a row; of more, their mean has


class ScaledTask(NamedTuple):
    """A group of label columns with one head: their scale on training rows, and how it is scored.

    `key` is that of `data.tasks`. `labels` are names that no other task of the run bears: plain
    ones where that is clear, else with the key before them. `mean` and `scale` are one number a
    label, in its unit; labels that are classes have mean 0 and scale 1, the names of their
    `classes` by number, and, where these are weighed, how much a label of each counts in the loss.
    `learnt` says of each label whether it is: not where no training row has a value (empty: all
    are). Such a label is unknown everywhere, and predicted as missing.
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
    learnt: tuple[bool, ...] = ()

    @property
    def of_classes(self) -> bool:
        """True where its labels are classes, False where they are numbers."""
        return self.kind != "regression"

    @property
    def n_class(self) -> int:
        """Numbers that the head gives a label: the most classes that one has, else 1."""
        return max(map(len, self.classes)) if self.kind == "classes" else 1

    @property
    def n_output(self) -> int:
        """Numbers that the head gives: `n_class` of the first label, then of the next."""
        return self.n_class * len(self.labels)

    def outputs_of(self, column: int) -> slice:
        """Which of the outputs are those of a label: one a class that it has, else one."""
        first = column * self.n_class
        n_own = len(self.classes[column]) if self.kind == "classes" else 1
        return slice(first, first + n_own)

    @property
    def absent_classes(self) -> Bool[np.ndarray, "label class"] | None:
        """True for outputs beyond the classes of a label; None where all have as many."""
        sizes = [len(names) for names in self.classes]
        if self.kind != "classes" or min(sizes) == max(sizes):
            return None
        return np.arange(max(sizes)) >= np.array(sizes)[:, None]

    @property
    def is_wide(self) -> bool:
        """True where the labels are too many for a score of each in a row."""
        return len(self.labels) > MAX_NAMED


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
    corpus: Corpus,
    names: Sequence[str],
    train_ids: np.ndarray,
    class_weights: str = "none",
    skip_unknown: bool = False,
) -> tuple[ScaledTask, ...]:
    """Tasks with the mean and spread, or the classes, of each label over training rows.

    `class_weights` says what a label counts in the loss: "none", or "balanced", n / (k n_c) of a
    class with n_c of the n known labels, where k classes occur. A label without a value on any
    training row is not `learnt`. A task without one is refused; with `skip_unknown` it is left out
    while others remain. Raises InputError too for values against their kind, and for tasks with
    nothing to learn.
    """
    check_class_weights(class_weights)
    keys = find_tasks(corpus.tasks, names)
    if skip_unknown:
        keys = [key for key in keys if _is_known(corpus, key, train_ids)] or keys
    # How many of the tasks have a label of this name.
    n_task = Counter(label.name for key in keys for label in corpus.tasks[key].labels)
    return tuple(_scale_task(corpus, key, train_ids, n_task, class_weights) for key in keys)


def _is_known(corpus: Corpus, key: str, train_ids: np.ndarray) -> bool:
    """Whether a task has a value on some training row."""
    return any(np.isfinite(values).any() for values in label_values(corpus, key, train_ids))


def _scale_task(
    corpus: Corpus, key: str, train_ids: np.ndarray, n_task: Counter[str], class_weights: str
) -> ScaledTask:
    task = corpus.tasks[key]
    n_label = len(task.labels)
    if task.kind == "regression":
        moments = _moments(corpus, key, train_ids)
        n_known = moments.count
        _check_known(task, n_known)
        _check_spread(task, moments)
        mean = moments.mean
        scale = moments.deviation
        weights = ()
    else:
        check_classes(task, label_cells(corpus, key))
        counts = count_classes(task, label_cells(corpus, key, train_ids))
        n_known = counts.sum(1)
        _check_known(task, n_known)
        check_told_apart(task, counts)
        mean = np.zeros(n_label)
        scale = np.ones(n_label)
        weights = balanced_weights(counts) if class_weights == "balanced" else ()
    labels = [
        label.name if n_task[label.name] == 1 else f"{key}/{label.name}" for label in task.labels
    ]
    learnt = n_known > 0
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
        learnt=() if learnt.all() else tuple(learnt.tolist()),
    )


def known_labels(task: ScaledTask, values: Float[Tensor, "k label"]) -> Float[Tensor, "k label"]:
    """Values of a task's labels, with those that are not learnt unknown (NaN)."""
    if not task.learnt:
        return values
    learnt = torch.tensor(task.learnt, device=values.device)
    return torch.where(learnt, values, torch.nan)


def unknown_notes(corpus: Corpus, names: Sequence[str], tasks: Sequence[ScaledTask]) -> list[str]:
    """Which labels, and which of the tasks that `names` stand for, are not learnt: a sentence each.

    That is for want of values on training rows.
    """
    notes = []
    learnt = {task.key for task in tasks}
    absent = [key for key in find_tasks(corpus.tasks, names) if key not in learnt]
    if absent:
        notes.append(
            f"Not learnt, for want of a label on any training row: {some_of(absent)} "
            f"({len(absent):,} of {len(absent) + len(learnt):,} tasks)."
        )
    for task in tasks:
        unknown = [label for label, known in zip(task.labels, task.learnt) if not known]
        if unknown:
            notes.append(
                f"Of the {len(task.labels):,} labels of task {task.key!r}, {len(unknown):,} have "
                f"no value on any training row ({some_of(unknown)}): they are left out of the "
                "loss and of scores, and predicted as missing."
            )
    return notes


def _check_known(task: DatasetTask, count: Shaped[np.ndarray, " label"]) -> None:
    """Raise InputError where a task has no value on any training row."""
    if not count.any():
        raise InputError(
            f"task {task.key!r} has no label on any training row: choose another split, or name "
            "the tasks to learn (--set objective.task_names NAME,NAME)"
        )


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
        first = np.flatnonzero(moments.count)[0]
        raise InputError(
            f"all {int(moments.count[first])} training values of task {task.key!r} are "
            f"{moments.mean[first]:g}: there is nothing to learn"
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
    of_classes = corpus.tasks[key].kind != "regression"
    for chunk in _labelled_chunks(corpus, key, ids):
        values = corpus.labels(chunk, [key])[key].values.numpy()
        # class numbers are exact as they are; of numbers, sums need the digits
        yield values if of_classes else values.astype(np.float64, copy=False)


def label_cells(corpus: Corpus, key: str, ids: np.ndarray | None = None) -> Iterator[KnownCells]:
    """The same without what is unknown, of which many labels may have nine times as much."""
    for chunk in _labelled_chunks(corpus, key, ids):
        yield corpus.known_cells(chunk, key)


def _labelled_chunks(corpus: Corpus, key: str, ids: np.ndarray | None) -> Iterator[np.ndarray]:
    """Molecules with a label of a task, of some or of all, a chunk at a time."""
    ids = corpus.labelled([key], ids)
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]
