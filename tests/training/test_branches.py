"""A branch goes on as its parent would have, to the bit, and one run gives many ends."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from made_shards import make_shards
from safetensors.torch import load_file
from test_loop import result_digests, train_apart, train_with_kills
from tiny import TINY, small_run

import molnb
from molnb.errors import InputError
from molnb.training.branches import check_branch, cool_downs
from molnb.training.checkpoints import kept_steps
from molnb.training.config import RunConfig
from molnb.training.loop import prepare_run, train
from molnb.training.runs import Run
from molnb.training.session import Session

SETTINGS = {
    "model": TINY,
    "schedule": "stable",
    "steps": 16,
    "decay_steps": 4,
    "keep_every": 4,
    "checkpoint_every": 6,
    "eval_every": 8,
}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("trees"))


@pytest.fixture(scope="module", params=["adamw", "muon"])
def parent(request, trees, tmp_path_factory) -> Run:
    """A stable run of 16 steps with all that a checkpoint may hold; to be read, never changed."""
    more = {"optimizer": request.param, "ema_decay": 0.9} if request.param == "muon" else {}
    return train(small_run(trees, **SETTINGS, **more), tmp_path_factory.mktemp("parent") / "run")


def branch_of(parent: Run, step: int, **changes) -> RunConfig:
    settings = {"name": "b", "branch": str(parent.path), "branch_step": step, "keep_every": None}
    return replace(parent.config, **settings | changes)


def rows_after(run: Run, step: int) -> list[dict]:
    return [row for row in run.metrics() if row["step"] > step]


def test_checkpoints_at_multiples_are_kept_beside_the_last_two(parent):
    assert kept_steps(parent.path / "checkpoints") == [4, 8, 12, 16]


def test_a_branch_with_the_fall_of_its_parent_gives_its_bits(parent, tmp_path):
    """Weights, losses, and what was computed so far."""
    branch = train(branch_of(parent, 8), tmp_path / "b")
    assert branch.metrics() == rows_after(parent, 8) != []
    assert branch.metrics("train")[0]["molecules"] == 9 * 8
    names = ("weights.safetensors",)
    assert [result_digests(branch)[n] for n in names] == [result_digests(parent)[n] for n in names]
    checkpoints = [run.path / "checkpoints/step-000000016.safetensors" for run in (branch, parent)]
    ours, theirs = map(load_file, checkpoints)
    assert ours.keys() == theirs.keys() and all(ours[n].equal(theirs[n]) for n in ours)
    status = (branch.status(), parent.status())
    assert status[0]["flops"] == status[1]["flops"] and status[0]["step"] == 16


def test_a_branch_reads_the_molecules_that_its_parent_would(parent, trees, tmp_path):
    """Also beyond the parent's end, as a longer run does."""
    branch = prepare_run(branch_of(parent, 12, steps=40, decay_steps=8), tmp_path / "b")
    longer = prepare_run(replace(parent.config, steps=40), tmp_path / "longer")
    sessions = [Session(run, "cpu") for run in (branch, longer)]
    for step in range(12, 40):
        samples = [session.sample(step) for session in sessions]
        assert np.array_equal(*samples)


def test_a_killed_branch_ends_in_the_same_bits(parent, tmp_path):
    config = branch_of(parent, 4, steps=30, decay_steps=6, checkpoint_every=5, eval_every=15)
    undisturbed = train_apart(prepare_run(config, tmp_path / "undisturbed").path)
    prepare_run(config, tmp_path / "killed")
    killed = train_with_kills(tmp_path / "killed", 2, seed=0)
    assert killed.metrics("train")[0]["step"] == 5
    assert result_digests(killed) == result_digests(undisturbed)


def test_one_run_gives_ends_at_many_steps(parent, tmp_path, home):
    assert molnb.cool_downs is cool_downs
    configs = cool_downs(parent, [6, 10, 20])
    told = [(c.name, c.branch_step, c.steps, c.decay_steps) for c in configs]
    assert told == [("t-6", 4, 6, 1), ("t-10", 8, 10, 2), ("t-20", 12, 20, 4)]
    assert all(config.keep_every is None and config.patience is None for config in configs)
    run = train(configs[0], tmp_path / "b")
    assert run.state == "done" and [row["step"] for row in run.metrics("train")] == [5, 6]
    assert run.last()["step"] == 6
    (half,) = cool_downs(parent.path, [16], share=0.5)
    assert (half.branch_step, half.decay_steps) == (8, 8)
    named = Run(shutil.copytree(parent.path, home / "runs/trunk"))
    assert cool_downs("trunk", [6])[0].branch == cool_downs(named, [6])[0].branch == "trunk"


def test_a_branch_needs_its_parent_only_to_begin(parent, tmp_path):
    copied = Run(shutil.copytree(parent.path, tmp_path / "copied"))
    config = branch_of(copied, 8, checkpoint_every=2)
    branch = train(config, tmp_path / "b", watch=lambda report: report.step < 11)
    shutil.rmtree(copied.path)
    assert train(config, branch.path).state == "done"
    assert branch.metrics() == rows_after(parent, 8)


def test_a_branch_of_split_blocks_begins_with_whole_ones(parent, tmp_path):
    branch = train(branch_of(parent, 8), tmp_path / "b", shard=True)
    ours, theirs = (
        np.array([row["loss"] for row in rows])
        for rows in (branch.metrics(), rows_after(parent, 8))
    )
    assert np.abs(ours / theirs - 1).max() < 1e-5


@pytest.mark.parametrize(
    ("step", "changes", "message"),
    [
        (8, {"seed": 1}, "it differs in seed: give it what its parent has there"),
        (8, {"global_batch": 4, "n_val": 2}, "it differs in global_batch, n_val"),
        (8, {"learning_rate": 1e-2}, "it differs in learning_rate"),
        (7, {}, r"no checkpoint of step 7 \(there are: 4, 8, 12, 16\)"),
        (16, {"steps": 40}, "branch_step is 16, and the rate of .* falls from step 12 on"),
    ],
)
def test_another_curve_and_a_step_that_was_not_kept_are_refused(
    parent, tmp_path, step, changes, message
):
    with pytest.raises(InputError, match=message):
        train(branch_of(parent, step, **changes), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_half_of_a_branch_and_one_in_its_own_fall_are_refused(trees):
    with pytest.raises(InputError, match="branch_step is None: a branch needs both"):
        small_run(trees, **SETTINGS, branch="r")
    with pytest.raises(InputError, match="branch is None: a branch needs both"):
        small_run(trees, **SETTINGS, branch_step=4)
    with pytest.raises(InputError, match="branch_step is 13, and the rate falls from step 12 of"):
        small_run(trees, **SETTINGS, branch="r", branch_step=13)
    with pytest.raises(InputError, match="schedule is linear, and a branch goes on"):
        small_run(trees, branch="r", branch_step=4)


def test_a_run_that_kept_nothing_or_too_little_is_not_cooled_down(trees, parent, tmp_path):
    plain = train(small_run(trees, model=TINY, steps=2, eval_every=2), tmp_path / "plain")
    with pytest.raises(InputError, match="its schedule is linear, its keep_every None"):
        cool_downs(plain, [2])
    with pytest.raises(InputError, match="needs a checkpoint of step 2 or before.*of 4, 8, 12, 16"):
        cool_downs(parent, [3])
    with pytest.raises(InputError, match="share is 1.0"):
        cool_downs(parent, [8], share=1.0)


def test_a_damaged_checkpoint_of_the_parent_is_named(parent, tmp_path):
    copied = Run(shutil.copytree(parent.path, tmp_path / "copied"))
    file = copied.path / "checkpoints/step-000000008.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    config = branch_of(copied, 8)
    check_branch(config)
    with pytest.raises(InputError, match="step-000000008.safetensors is damaged"):
        train(config, tmp_path / "b")
