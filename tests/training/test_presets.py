"""Presets are full configurations; changes are checked by name and type."""

from __future__ import annotations

import pytest

from molnb.errors import InputError
from molnb.models.unimol2.sizes import LAPTOP, PAPER
from molnb.training.config import RunConfig
from molnb.training.overrides import change
from molnb.training.presets import PRESETS, make_preset, presets_table


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_configurations_with_a_stated_cost(name):
    config = make_preset(name, ["somewhere"])
    assert isinstance(config, RunConfig) and config.data == ("somewhere",)
    assert PRESETS[name].__doc__
    assert RunConfig.from_dict(config.to_dict()) == config


def test_fields_change_by_name():
    changes = {
        "steps": "7",
        "model.n_layer": 2,
        "objective.mask_share": "0.3",
        "split": "random",
        "learning_rate": 1,
    }
    config = make_preset("pretrain_tiny", ["x"], **changes)
    assert (config.steps, config.model.n_layer, config.objective.mask_share) == (7, 2, 0.3)
    assert config.split == "random" and config.learning_rate == 1.0


def test_a_run_may_be_given_a_name():
    assert make_preset("pretrain_tiny", ["x"], name="mine", data=["y"]).name == "mine"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tox", ("tox",)),
        ("tox,sol", ("tox", "sol")),
        ("tox, sol ", ("tox", "sol")),
        ("('tox', 'sol')", ("tox", "sol")),
        ("['tox']", ("tox",)),
        ("a_set/tox", ("a_set/tox",)),
        ("()", ()),
    ],
)
def test_names_of_tasks_can_be_given_as_they_are(text, names):
    config = make_preset("finetune_tiny", ["x"], **{"objective.task_names": text})
    assert config.objective.task_names == names


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
    with pytest.raises(InputError, match=message):
        make_preset("pretrain_tiny", ["x"], **changes)


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(
        InputError, match=r"unknown preset 'pretrain_tny' \(did you mean 'pretrain_tiny'\?\)"
    ):
        make_preset("pretrain_tny", ["x"])


def test_the_paper_and_the_laptop_family_are_presets_that_share_their_recipes():
    paper = [make_preset(f"pretrain_{size}", ["x"]) for size in PAPER]
    assert [config.model for config in paper] == list(PAPER.values())
    assert len({(c.steps, c.global_batch, c.learning_rate, c.warmup_steps) for c in paper}) == 1
    laptop = [make_preset(f"laptop_{size}", ["x"]) for size in LAPTOP]
    assert [config.model for config in laptop] == list(LAPTOP.values())
    assert len({(c.steps, c.global_batch, c.learning_rate * c.model.d_atom) for c in laptop}) == 1


def test_the_table_of_presets_gives_n_beside_the_total():
    rows = presets_table().set_index("preset").to_dict("index")
    assert set(rows) == set(PRESETS)
    assert (rows["pretrain_84m"]["N"], rows["pretrain_84m"]["total"]) == (80_658_496, 84_116_080)
    assert rows["pretrain_1100m"]["about"].startswith("The paper's 1.1B model")
    assert rows["laptop_0m25"]["about"].startswith("A 0.25M encoder")


@pytest.mark.parametrize("text", ["None", "none"])
def test_a_setting_is_none_where_it_may_be_and_refused_elsewhere(text):
    assert make_preset("finetune_tiny", ["data"], patience=text).patience is None
    with pytest.raises(InputError, match="setting 'steps' cannot be None: give a int, like 600"):
        make_preset("finetune_tiny", ["data"], steps=text)
    with pytest.raises(InputError, match="'model.n_layer' cannot be None"):
        make_preset("finetune_tiny", ["data"], **{"model.n_layer": text})


def test_one_value_is_enough_where_several_may_stand() -> None:
    config = make_preset("finetune_tiny", ["data"], train_ids=(3, 5))
    assert change(config, {"train_ids": "7"}).train_ids == (7,)
    assert change(config, {"train_ids": "7,8"}).train_ids == (7, 8)
    with pytest.raises(InputError, match="betas"):  # there are two, always
        change(config, {"betas": "0.5"})


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_learning_rate_that_teaches_nothing_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match="learning_rate is"):
        make_preset("finetune_tiny", ["data"], learning_rate=rate)
