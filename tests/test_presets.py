"""Presets are full configurations; changes are checked by name and type."""

from __future__ import annotations

import pytest

from molnb.errors import Refused
from molnb.presets import PRESETS, make_preset
from molnb.runs import RunConfig


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_configurations_with_a_stated_cost(name):
    config = make_preset(name, ["somewhere"])
    assert isinstance(config, RunConfig) and config.data == ("somewhere",)
    assert PRESETS[name].__doc__
    assert RunConfig.from_dict(config.to_dict()) == config


def test_fields_change_by_name():
    changes = {"steps": "7", "model.n_layer": 2, "objective.mask_share": "0.3", "split": "random", "learning_rate": 1}
    config = make_preset("pretrain_tiny", ["x"], **changes)
    assert (config.steps, config.model.n_layer, config.objective.mask_share) == (7, 2, 0.3)
    assert config.split == "random" and config.learning_rate == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stepz": 3}, r"unknown setting 'stepz' \(did you mean 'steps'\?\)"),
        ({"model.layers": 3}, "unknown setting 'model.layers'"),
        ({"steps": "many"}, "setting 'steps' is 'many': give a int"),
        ({"steps": True}, "setting 'steps' is True"),
        ({"steps.more": 1}, "steps has no parts"),
        ({"steps": 0}, "steps is 0: give 1 or more"),
        ({"precision": "half"}, "unknown precision 'half'"),
    ],
)
def test_wrong_changes_are_refused(changes, message):
    with pytest.raises(Refused, match=message):
        make_preset("pretrain_tiny", ["x"], **changes)


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(Refused, match=r"unknown preset 'pretrain_tny' \(did you mean 'pretrain_tiny'\?\)"):
        make_preset("pretrain_tny", ["x"])
