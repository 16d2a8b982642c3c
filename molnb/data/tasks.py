"""Tasks of several datasets read together: which of them are one task, and what each is called.

A task belongs to a dataset. Tasks of two datasets that bear one name are joined only if they mean
the same: level, kind and loss agree, and so do name, quantity, unit, level of theory, geometry and
classes of each of their labels. Else they stay apart, as `<dataset>/<task>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import InputError, did_you_mean
from ..shards import Shards

ZERO_AND_ONE = ("0", "1")  # the classes of a binary label that names none
_DECLARED = ("name", "quantity", "unit", "theory", "geometry")


class LabelColumn(NamedTuple):
    """One column of labels: two columns are the same label only if all six agree.

    `classes` are the names of a label's classes in the order of their numbers; numbers have none.
    """

    name: str
    quantity: str
    unit: str
    theory: str
    geometry: str
    classes: tuple[str, ...] = ()


class Member(NamedTuple):
    """Where a task's labels lie: the number of the dataset, and the task's name there."""

    dataset: int
    name: str


class DatasetTask(NamedTuple):
    """A task as one or several datasets declare it, and the datasets that have it.

    `fold` says what becomes of labels on hydrogens for a model that sees none (`sum`: added to the
    heavy atom; None: left out).
    """

    key: str
    level: str
    kind: str
    loss: str
    fold: str | None
    labels: tuple[LabelColumn, ...]
    members: tuple[Member, ...]

    def means_the_same_as(self, other: DatasetTask) -> bool:
        """True where labels of both may stand in one column."""
        neutral = {"key": "", "members": ()}
        return self._replace(**neutral) == other._replace(**neutral)


def dataset_names(datasets: Sequence[Shards]) -> list[str]:
    """One name a dataset, no two alike: the recipe's, else the folder's, else one with a number."""
    recipes = [shards.name for shards in datasets]  # letters, digits, underscores
    names = []
    for shards in datasets:
        is_unique = recipes.count(shards.name) == 1
        folder = shards.path.name.replace(".", "_")  # the key of a task must hold no dot
        names.append(shards.name if is_unique else folder)
    numbered = []
    for position, name in enumerate(names):
        number = names[:position].count(name) + 1
        numbered.append(name if names.count(name) == 1 else f"{name}:{number}")
    return numbered


def class_names(kind: str, label: dict) -> tuple[str, ...]:
    """The classes of a label as a manifest declares it, in the order of their numbers.

    A binary label without names has the classes 0 and 1; a label of numbers has none.
    """
    if kind == "regression":
        return ()
    return tuple(label.get("classes") or ZERO_AND_ONE)


def _declared_task(number: int, name: str, stored: dict) -> DatasetTask:
    """A task as the manifest of dataset `number` declares it."""
    labels = []
    for label in stored["labels"]:
        declared = {field: str(label.get(field, "")) for field in _DECLARED}
        labels.append(LabelColumn(**declared, classes=class_names(stored["kind"], label)))
    return DatasetTask(
        key=name,
        level=stored["level"],
        kind=stored["kind"],
        loss=stored["loss"],
        fold=stored.get("fold"),
        labels=tuple(labels),
        members=(Member(number, name),),
    )


def join_tasks(datasets: Sequence[Shards]) -> dict[str, DatasetTask]:
    """The tasks of all datasets by their key: joined where they mean the same, else apart.

    The key is the task's name where no other task bears it, else `<dataset>/<task>` after the first
    dataset that has it.
    """
    by_name: dict[str, list[DatasetTask]] = {}
    for number, shards in enumerate(datasets):
        for name, stored in shards.tasks.items():
            _join(by_name.setdefault(name, []), _declared_task(number, name, stored))
    tasks: dict[str, DatasetTask] = {}
    names = dataset_names(datasets)
    for name, distinct in by_name.items():
        for task in distinct:
            key = name
            if len(distinct) > 1:
                key = f"{names[task.members[0].dataset]}/{name}"
            tasks[key] = task._replace(key=key)
    return tasks


def _join(tasks: list[DatasetTask], task: DatasetTask) -> None:
    """Add a task to those of its name: to the one that means the same, or beside them."""
    for number, other in enumerate(tasks):
        if other.means_the_same_as(task):
            tasks[number] = other._replace(members=other.members + task.members)
            return
    tasks.append(task)


def find_tasks(tasks: dict[str, DatasetTask], names: Iterable[str]) -> list[str]:
    """Keys of the tasks that some names stand for: a key, or a name that several tasks bear.

    Raises InputError for a name that no task bears.
    """
    keys: list[str] = []
    for name in names:
        matching = [key for key, task in tasks.items() if name in (key, task.members[0].name)]
        if not matching:
            raise InputError(
                f"no dataset of this run has the task {name!r}{did_you_mean(name, tasks)}: they "
                f"have {', '.join(tasks) or 'none'}"
            )
        keys += [key for key in matching if key not in keys]
    return keys
