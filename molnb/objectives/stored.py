"""Objectives as plain data for `config.json`, and back."""

from __future__ import annotations

from dataclasses import asdict

from ..errors import InputError, did_you_mean
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
    values = {name: value for name, value in stored.items() if name != "kind"}
    if "task_names" in values:
        values["task_names"] = tuple(values["task_names"])
    if "tasks_scaled" in values:
        values["tasks_scaled"] = tuple(map(_load_task, values["tasks_scaled"]))
    return OBJECTIVES[kind](**values)


def _load_task(stored: dict) -> ScaledTask:
    return ScaledTask(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()})
