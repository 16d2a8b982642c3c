"""Objectives as plain data for `config.json`, and back."""

from __future__ import annotations

from dataclasses import asdict

from .pretraining import Pretrain
from .supervised import Supervised
from .targets import ScaledTask


def make_objective(stored: dict) -> Pretrain | Supervised:
    """An objective from its stored form (see `describe`)."""
    stored = dict(stored)
    if stored["kind"] == "pretrain":
        return Pretrain(**stored)
    tasks = tuple(
        ScaledTask(**{k: tuple(v) if isinstance(v, list) else v for k, v in t.items()})
        for t in stored["tasks_scaled"]
    )
    return Supervised(
        **{**stored, "task_names": tuple(stored["task_names"]), "tasks_scaled": tasks}
    )


def describe(objective: Pretrain | Supervised) -> dict:
    """An objective as plain data for `config.json`."""
    found = asdict(objective)
    if isinstance(objective, Supervised):
        found["tasks_scaled"] = [t._asdict() for t in objective.tasks_scaled]
    return found
