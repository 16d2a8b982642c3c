"""Objectives as plain data for a configuration file, and back."""

from __future__ import annotations

import json

import pytest

from molnb.errors import InputError
from molnb.objectives.pretraining import Pretrain
from molnb.objectives.stored import describe, make_objective
from molnb.objectives.supervised import Supervised
from molnb.objectives.targets import ScaledTask

TASK = ScaledTask("a", "atom", "regression", "mae", ("q",), ("e",), (0.0,), (1.0,))


WET = ScaledTask(
    "w",
    "molecule",
    "binary",
    "bce",
    ("wet", "cold"),
    ("1", "1"),
    (0.0, 0.0),
    (1.0, 1.0),
    (("no", "yes"), ("0", "1")),
    ((0.75, 1.5), (1.0, 1.0)),
)


@pytest.mark.parametrize(
    "objective",
    [
        Pretrain(noise_angstrom=0.1),
        Supervised(("a",), (TASK,)),
        Supervised(("a", "b")),
        Supervised(("a", "w"), (TASK, WET), class_weights="balanced"),
        Supervised(("w",), (WET._replace(learnt=(True, False)),), weighting="uncertainty"),
        Supervised(("a", "w"), (TASK, WET), task_weights={"w": 2, "a": 0.5}),
    ],
)
def test_objectives_survive_storage(objective):
    stored = json.loads(json.dumps(describe(objective)))
    assert make_objective(stored) == objective


def test_a_binary_task_from_before_classes_had_names_has_0_and_1():
    plain = WET._replace(classes=(("0", "1"), ("0", "1")), class_weights=())
    stored = json.loads(json.dumps(describe(Supervised(("a", "w"), (TASK, plain)))))
    del stored["class_weights"], stored["task_weights"], stored["weighting"]
    for task in stored["tasks_scaled"]:
        del task["classes"], task["class_weights"], task["learnt"]
    assert make_objective(stored) == Supervised(("a", "w"), (TASK, plain))


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'pretrian' \(did you mean 'pretrain'\?\)"):
        make_objective({"kind": "pretrian"})
