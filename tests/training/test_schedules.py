"""Learning rates rise, stay and fall as a formula says, and older runs know nothing of it."""

from __future__ import annotations

import hashlib
import json

import pytest
from made_shards import make_shards
from test_loop import result_digests
from tiny import TINY, small_run

from molnb.errors import InputError
from molnb.training.config import RunConfig
from molnb.training.loop import train
from molnb.training.schedules import fall_begins, learning_rate

LATER = {
    "schedule": "stable",
    "decay_power": 2.0,
    "keep_every": 4,
    "ema_decay": 0.9,
    "optimizer": "muon",
    "n_random_val": 4,
    "disjoint": True,
}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("trees"))


def rates(config: RunConfig) -> list[float]:
    return [learning_rate(config, step) for step in range(config.steps)]


@pytest.mark.parametrize(("steps", "warmup"), [(100, 10), (7, 0), (5, 9)])
def test_a_linear_schedule_rises_and_falls(trees, steps, warmup):
    config = small_run(trees, steps=steps, warmup_steps=warmup, learning_rate=1e-3)
    written_out = [
        1e-3 * min((step + 1) / max(warmup, 1), (steps - step) / max(steps - warmup, 1), 1.0)
        for step in range(steps)
    ]
    assert rates(config) == written_out


def test_a_fall_can_be_bent(trees):
    config = small_run(trees, steps=5, warmup_steps=1, learning_rate=1.0, decay_power=2.0)
    assert rates(config) == [1.0, 1.0, 0.75**2, 0.5**2, 0.25**2]


def test_a_stable_schedule_stays_until_it_falls(trees):
    settings = {"steps": 10, "warmup_steps": 2, "learning_rate": 1.0, "schedule": "stable"}
    config = small_run(trees, **settings, decay_steps=4)
    assert rates(config) == [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25] and fall_begins(config) == 6
    assert rates(small_run(trees, **settings)) == [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 0.5]  # a fifth
    assert rates(small_run(trees, **settings, decay_steps=0))[1:] == [1.0] * 9


def test_training_goes_at_these_rates(trees, tmp_path):
    config = small_run(trees, model=TINY, schedule="stable", decay_steps=6, eval_every=12)
    run = train(config, tmp_path / "r")
    assert [row["learning_rate"] for row in run.metrics("train")] == rates(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "stabel"}, "schedule is 'stabel'.*'stable'.*: choose linear or stable"),
        ({"schedule": "stable", "decay_steps": 13}, "decay_steps is 13, of 12 steps: give 0 to 12"),
        ({"schedule": "stable", "decay_steps": "4x"}, "decay_steps is '4x'"),
        ({"decay_steps": 4}, "decay_steps is 4, and the schedule is linear"),
        ({"decay_power": 0.0}, "decay_power is 0.0: give a number above 0"),
        ({"keep_every": 0}, "keep_every is 0: give a number of steps"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'.*: choose adamw or muon"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0: give a number between 0 and 1"),
        ({"ema_decay": 0.0}, "ema_decay is 0.0"),
        ({"ema_decay": "much"}, "ema_decay is 'much'"),
        ({"n_random_val": -1}, "n_random_val is -1: give 0 or more molecules"),
    ],
)
def test_what_makes_no_sense_is_refused(trees, changes, message):
    with pytest.raises(InputError, match=message):
        small_run(trees, **changes)


def test_an_id_is_as_it_was_where_nothing_later_is_used(trees):
    config = small_run(trees)
    later = {*LATER, "decay_steps", "branch", "branch_step"}
    before = {name: value for name, value in config.to_dict().items() if name not in later}
    before["pair_budget"] = 16_384  # which the default was then
    text = json.dumps(before, sort_keys=True)
    assert config.id == hashlib.blake2b(text.encode(), digest_size=3).hexdigest()
    ids = {small_run(trees, **{name: value}).id for name, value in LATER.items()}
    assert len(ids | {config.id}) == len(LATER) + 1


def test_a_run_that_was_begun_before_there_was_a_choice_goes_on(trees, tmp_path):
    whole = train(small_run(trees, model=TINY), tmp_path / "whole")
    config = small_run(trees, model=TINY)
    begun = train(config, tmp_path / "r", watch=lambda report: report.step < 5)
    file = begun.path / "config.json"
    stored = json.loads(file.read_text())
    later = {*LATER, "decay_steps", "branch", "branch_step"}
    older = {name: value for name, value in stored.items() if name not in later}
    file.write_text(json.dumps(older))
    assert begun.config == config
    assert result_digests(train(config, begun.path)) == result_digests(whole)
