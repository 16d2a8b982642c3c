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


@pytest.mark.parametrize(
    "objective",
    [Pretrain(noise_angstrom=0.1), Supervised(("a",), (TASK,)), Supervised(("a", "b"))],
)
def test_objectives_survive_storage(objective):
    stored = json.loads(json.dumps(describe(objective)))
    assert make_objective(stored) == objective


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'pretrian' \(did you mean 'pretrain'\?\)"):
        make_objective({"kind": "pretrian"})
