"""Labels that are classes: how many there are of each, what they count, and what is none."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from ..data.dataset import KnownCells
from ..data.tasks import DatasetTask, LabelColumn
from ..errors import InputError, did_you_mean
from ..shapes import Int
from .ranking import RARE

CLASS_WEIGHTS = ("none", "balanced")


def check_class_weights(name: str) -> None:
    """Raise InputError for a way to weigh classes that there is not."""
    if name not in CLASS_WEIGHTS:
        raise InputError(
            f"class_weights is {name!r}{did_you_mean(str(name), CLASS_WEIGHTS)}: choose one of "
            f"{', '.join(CLASS_WEIGHTS)}"
        )


def check_classes(task: DatasetTask, pieces: Iterable[KnownCells]) -> None:
    """Raise InputError where a value among pieces of a task's labels is none of its classes."""
    n_label = len(task.labels)
    n_class = np.array([len(label.classes) for label in task.labels])
    n_wrong = np.zeros(n_label, int)
    n_known = np.zeros(n_label, int)
    first = np.full(n_label, np.nan)
    for label, values in pieces:
        is_wrong = ~((values >= 0) & (values < n_class[label]) & (values == np.floor(values)))
        n_known += np.bincount(label, minlength=n_label)
        n_wrong += np.bincount(label[is_wrong], minlength=n_label)
        columns, places = np.unique(label[is_wrong], return_index=True)
        is_new = np.isnan(first[columns])
        first[columns[is_new]] = values[is_wrong][places[is_new]]
    for column in np.flatnonzero(n_wrong):
        label = task.labels[column]
        counts = (int(n_wrong[column]), int(n_known[column]))
        raise _wrong_values(task, label, *counts, float(first[column]))


def _wrong_values(
    task: DatasetTask, label: LabelColumn, n_wrong: int, n_known: int, first: float
) -> InputError:
    """What to say of values that are none of the classes of a label."""
    if task.kind == "binary":
        expected = "neither 0 nor 1"
    else:
        expected = f"none of the class numbers 0 to {len(label.classes) - 1}"
    return InputError(
        f"task {task.key!r} is {task.kind}, but {n_wrong:,} of the {n_known:,} values of its label "
        f"{label.name!r} are {expected} (the first is {first:.7g}): say in the recipe which values "
        "stand for which class (the label's classes), or make the task a regression; then curate "
        "again"
    )


def count_classes(
    task: DatasetTask, pieces: Iterable[KnownCells]
) -> Int[np.ndarray, "label class"]:
    """How many labels belong to each class, from pieces of them; zero for classes a label lacks."""
    labels = task.labels
    counts = np.zeros((len(labels), max(len(label.classes) for label in labels)), np.int64)
    for label, values in pieces:
        for number in range(counts.shape[1]):
            counts[:, number] += np.bincount(label[values == number], minlength=len(labels))
    return counts


def check_told_apart(task: DatasetTask, counts: Int[np.ndarray, "label class"]) -> None:
    """Raise InputError where every label has one class only in the training rows."""
    if ((counts > 0).sum(1) > 1).any():
        return
    column = np.flatnonzero(counts.any(1))[0]  # others have no value at all
    label = task.labels[column]
    number = int(counts[column].argmax())
    words = "" if label.classes[number] == str(number) else f" ({label.classes[number]})"
    raise InputError(
        f"all {counts[column].sum():,} known training labels of {label.name!r} (task {task.key!r}) "
        f"are {number}{words}: there is nothing to tell apart. Choose another split, or curate "
        "more rows"
    )


def balanced_weights(
    counts: Int[np.ndarray, "label class"],
) -> tuple[tuple[float, ...], ...]:
    """What each class of each label counts: n / (k n_c), k the classes that occur; 1 for others."""
    weights = []
    for of_label in counts:
        present = of_label > 0
        balanced = of_label.sum() / (max(present.sum(), 1) * np.maximum(of_label, 1))
        weights.append(tuple(np.where(present, balanced, 1.0).tolist()))
    return tuple(weights)


def rare_classes(
    task: DatasetTask,
    names: Sequence[str],
    counts: Int[np.ndarray, "label class"],
    learnt: Sequence[bool] = (),
) -> list[str]:
    """What must be said of classes with few labels among some rows, a phrase a label.

    `names` are what the labels are called in the run; of those that are not `learnt` (empty: all
    are) nothing is said.
    """
    phrases = []
    columns = zip(names, task.labels, counts.tolist(), strict=True)
    for name, label, of_label in itertools.compress(columns, learnt or itertools.repeat(True)):
        few = [
            f"{n or 'none'} of class {of_class}"
            for of_class, n in zip(label.classes, of_label)
            if n < RARE
        ]
        if few:
            phrases.append(f"{name} {' and '.join(few)} ({sum(of_label)} known)")
    return phrases
