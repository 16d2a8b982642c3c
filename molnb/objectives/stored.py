"""Objectives as plain data for `config.json`, and back."""

from __future__ import annotations

from dataclasses import asdict

from ..data.tasks import ZERO_AND_ONE
from ..errors import InputError, did_you_mean
from ..files import with_tuples
from .interface import Objective
from .pretraining import Pretrain
from .supervised import Supervised
from .targets import ScaledTask

OBJECTIVES: dict[str, type[Objective]] = {c.kind: c for c in (Pretrain, Supervised)}


def describe(objective: Objective) -> dict:
    """An objective as plain data."""
    stored = {"kind": objective.kind, **asdict(objective)}
    if isinstance(objective, Supervised):
        stored["tasks_scaled"] = [task._asdict() for task in objective.tasks_scaled]
    return stored


def make_objective(stored: dict) -> Objective:
    """Undo `describe`. Raises InputError for a kind of objective that there is not."""
    kind = stored.get("kind")
    if kind not in OBJECTIVES:
        near = did_you_mean(str(kind), OBJECTIVES)
        raise InputError(f"unknown objective {kind!r}{near}: known are {', '.join(OBJECTIVES)}")
    values = with_tuples({name: value for name, value in stored.items() if name != "kind"})
    if "tasks_scaled" in values:
        values["tasks_scaled"] = tuple(map(_make_task, values["tasks_scaled"]))
    return OBJECTIVES[kind](**values)


def _make_task(stored: dict) -> ScaledTask:
    """A task from its stored form; one from before tasks named their classes has 0 and 1."""
    task = ScaledTask(**with_tuples(stored))
    if task.kind == "binary" and not task.classes:
        return task._replace(classes=(ZERO_AND_ONE,) * len(task.labels))
    return task
