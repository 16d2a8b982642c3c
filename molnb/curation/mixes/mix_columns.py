"""The columns and tasks of a mix: what means the same in several members is one, else renamed.

Labels mean the same where name, quantity, unit, level of theory, geometry, level and classes agree.
A residual depends on the training rows of its dataset, so it is no other's. What bears the name of
something else is called ``<member>_<name>``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from ...errors import InputError
from ...recipes.label_schema import RESERVED
from .mix_plan import MemberRows

DATASET = "dataset"
IDENTITY = "identity"
SPLIT = "mix"  # the only split of a mix
MEANING = ("name", "quantity", "unit", "theory", "geometry")  # of a label, and its classes
_COUNTED = ("known", "missing", "class_counts")  # of a member's molecules, not of the mix's
_TAKEN = RESERVED | {DATASET, IDENTITY, f"split_{SPLIT}"}


class MixColumn(NamedTuple):
    """A column of a mix, and what it is called in each member that has it.

    ``label`` is what the manifest says of it, None where it is no label (a flag, a text);
    ``residual_of`` names the column of the mix that a residual label is of.
    """

    name: str
    members: dict[str, str]
    label: dict[str, Any] | None = None
    residual_of: str | None = None


class MixTask(NamedTuple):
    """A task of a mix: what its members declare of it, and the columns of its labels."""

    name: str
    declared: dict[str, Any]  # level, kind, loss, fold
    labels: tuple[str, ...]


def join_columns(members: list[MemberRows]) -> list[MixColumn]:
    """The columns of a mix beside those that all shards have: labels, flags, kept texts."""
    columns = _distinct_columns(members)
    names = _distinct_names([column.name for column in columns], columns, _TAKEN)
    named = [column._replace(name=name) for name, column in zip(names, columns, strict=True)]
    return [column._replace(residual_of=_base(column, named, members)) for column in named]


def join_tasks(members: list[MemberRows], columns: list[MixColumn]) -> list[MixTask]:
    """The tasks of a mix; tasks of two members that mean the same are one."""
    tasks: list[MixTask] = []
    owners: list[MixColumn] = []
    for member in members:
        for name, stored in member.shards.tasks.items():
            declared = {key: value for key, value in stored.items() if key != "labels"}
            labels = tuple(
                name_in_mix(columns, member.name, label["name"]) for label in stored["labels"]
            )
            task = MixTask(name, declared, labels)
            if task not in tasks:
                tasks.append(task)
                owners.append(MixColumn(name, {member.name: name}))
    names = _distinct_names([task.name for task in tasks], owners, frozenset())
    return [task._replace(name=name) for name, task in zip(names, tasks, strict=True)]


def name_in_mix(columns: Iterable[MixColumn], member: str, name: str) -> str:
    """What a member's column is called in the mix."""
    return next(column.name for column in columns if column.members.get(member) == name)


def _distinct_columns(members: list[MemberRows]) -> list[MixColumn]:
    """Columns in the order of members, those of one meaning joined, under their members' names."""
    labels: dict[tuple, MixColumn] = {}
    others: list[MixColumn] = []
    for member in members:
        manifest = member.shards.manifest
        for name, label in manifest["labels"].items():
            described = {key: value for key, value in label.items() if key not in _COUNTED}
            column = labels.setdefault(_meaning(member, label), MixColumn(name, {}, described))
            column.members[member.name] = name
        taken = RESERVED | set(manifest["labels"])
        others += [
            MixColumn(name, {member.name: name})
            for name in pq.read_schema(member.shards.parts()[0]).names
            if name not in taken
        ]
    return [*labels.values(), *others]


def _meaning(member: MemberRows, label: dict[str, Any]) -> tuple:
    """What must agree where labels of two members are one."""
    declared = tuple(str(label.get(key, "")) for key in MEANING)
    shape = (label["level"], label.get("pairs", "unordered"))
    is_residual = label["name"] in member.shards.manifest["fits"]
    classes = tuple(label.get("classes", ()))
    return declared, classes, shape, member.name if is_residual else None


def _base(column: MixColumn, columns: list[MixColumn], members: list[MemberRows]) -> str | None:
    """The column that a residual label is of; None for any other."""
    for member in members:
        fit = member.shards.manifest["fits"].get(column.members.get(member.name))
        if fit is not None:
            return name_in_mix(columns, member.name, fit["of"])
    return None


def _distinct_names(
    names: list[str], columns: list[MixColumn], taken: frozenset[str] | set[str]
) -> list[str]:
    """Each name, or with its first member's before it where several, or what is taken, have it."""
    counts = Counter(name.lower() for name in names)
    distinct = []
    for name, column in zip(names, columns, strict=True):
        if counts[name.lower()] > 1 or name.lower() in taken:
            name = f"{next(iter(column.members))}_{name}"
        distinct.append(name)
    for name, count in Counter(name.lower() for name in distinct).items():
        if count > 1:
            raise InputError(
                f"{count} columns or tasks of this mix would be called '{name}': give a member or "
                "a label of it another name"
            )
    return distinct
