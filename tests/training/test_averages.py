"""The average of weights is what the formula says, and what is validated and handed out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_shards import make_shards
from quick_processes import train_together
from safetensors.torch import load_file
from test_loop import result_digests, train_apart, train_with_kills
from test_ranks import distance
from tiny import SMALL, TINY, small_run

from molnb.errors import InputError
from molnb.objectives.supervised import Supervised
from molnb.training.averages import average_decay
from molnb.training.checkpoints import AVERAGE, MODEL, below
from molnb.training.groups import score
from molnb.training.loop import prepare_run, train, validation_batches
from molnb.training.runs import Run, make_model
from molnb.training.session import Session

AVERAGED = {"ema_decay": 0.8, "checkpoint_every": 1, "keep_every": 1}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("trees"))


@pytest.fixture(scope="module")
def averaged(trees, tmp_path_factory) -> Run:
    """A run that keeps averages, with a checkpoint of every step; to be read, never changed."""
    folder = tmp_path_factory.mktemp("averaged") / "run"
    return train(small_run(trees, model=TINY, **AVERAGED), folder)


def checkpoint(run: Run, step: int) -> dict[str, torch.Tensor]:
    return load_file(run.path / f"checkpoints/step-{step:09d}.safetensors")


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.path / "weights.safetensors")


def test_early_averages_are_not_the_initial_weights():
    assert average_decay(0.999, 0) == 0.1 and average_decay(0.999, 1) == 2 / 11
    assert average_decay(0.999, 10**6) == 0.999 and average_decay(0.05, 0) == 0.05


def test_the_average_is_that_of_the_weights_after_each_step(averaged):
    """By hand, in float64, from the weights that checkpoints hold."""
    parameters = dict(make_model(averaged.config).named_parameters())
    by_hand = {name: p.detach().double() for name, p in parameters.items()}
    for step in range(12):
        decay = min(0.8, (1 + step) / (10 + step))
        after = below(MODEL, checkpoint(averaged, step + 1))
        by_hand = {n: decay * a + (1 - decay) * after[n].double() for n, a in by_hand.items()}
    kept = below(AVERAGE, checkpoint(averaged, 12))
    assert kept.keys() == by_hand.keys()
    for name, average in kept.items():
        assert average.dtype == torch.float32
        assert torch.allclose(average.double(), by_hand[name], rtol=1e-6, atol=1e-8)


def test_what_is_handed_out_is_the_average_with_all_else_as_it_is(averaged):
    stored = checkpoint(averaged, 12)
    own = below(MODEL, stored)
    expected = own | below(AVERAGE, stored)
    assert weights(averaged).keys() == own.keys()
    assert all(weights(averaged)[name].equal(expected[name]) for name in own)
    differing = [name for name in own if not own[name].equal(expected[name])]
    assert len(differing) > 20 and not any("seen" in name for name in differing)


def test_validation_is_that_of_the_average(averaged):
    session = Session(averaged, "cpu")
    model = averaged.load_model()
    for entry in validation_batches(session):
        terms = score(model, session.objective, entry.groups, session.device)
        row = averaged.last(entry.features)
        assert {name: row[name] for name in terms} == pytest.approx(terms, rel=1e-6)


def test_training_goes_on_with_its_own_weights(averaged, trees, tmp_path):
    plain = train(small_run(trees, model=TINY), tmp_path / "plain")
    assert plain.metrics("train") == averaged.metrics("train")
    own = below(MODEL, checkpoint(averaged, 12))
    assert all(tensor.equal(own[name]) for name, tensor in weights(plain).items())
    first, last = (run.metrics("val", "hidden") for run in (plain, averaged))
    assert first[0] == last[0] and first[-1]["loss"] != last[-1]["loss"]
    n_learning = sum(p.numel() for p in plain.load_model().parameters())
    more = averaged.status()["kept_mib"] - plain.status()["kept_mib"]
    assert more == pytest.approx(4 * n_learning / 2**20, abs=2e-3)


def test_weights_that_stay_as_they_are_have_no_average(averaged, trees, tmp_path):
    config = small_run(trees, model=TINY, start_from=str(averaged.path), frozen_layers=1)
    run = train(config, tmp_path / "plain")
    again = small_run(trees, model=TINY, start_from=str(averaged.path), frozen_layers=1, **AVERAGED)
    kept = train(again, tmp_path / "averaged")
    averages = below(AVERAGE, checkpoint(kept, 12))
    assert averages and all(not name.startswith("encoder.blocks") for name in averages)
    frozen = "encoder.blocks.0.ffn.expand.weight"
    assert weights(kept)[frozen].equal(weights(run)[frozen])


def test_a_killed_run_ends_in_the_same_bits(trees, tmp_path):
    config = small_run(trees, model=TINY, ema_decay=0.9, steps=30, checkpoint_every=4)
    undisturbed = train_apart(prepare_run(config, tmp_path / "undisturbed").path)
    prepare_run(config, tmp_path / "killed")
    killed = train_with_kills(tmp_path / "killed", 2, seed=1)
    assert result_digests(killed) == result_digests(undisturbed)
    assert checkpoint(killed, 30).keys() == checkpoint(undisturbed, 30).keys()
    for name, tensor in checkpoint(undisturbed, 30).items():
        assert tensor.equal(checkpoint(killed, 30)[name]), name


@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_keep_the_average_that_one_keeps(trees, tmp_path, shard):
    settings = {"hands": 2, "ema_decay": 0.9, "steps": 8, "eval_every": 8}
    config = small_run(trees, model=SMALL, **settings)
    alone = train(config, tmp_path / "one")
    together = prepare_run(config, tmp_path / "two")
    train_together(together.path, 2, shard=shard)
    assert distance(together, alone) < 1e-4
    ours, theirs = ([row["loss"] for row in run.metrics("val")] for run in (together, alone))
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_split_run_goes_on_with_the_averages_of_a_whole_one(trees, tmp_path):
    config = small_run(trees, model=SMALL, ema_decay=0.9)
    whole = train(config, tmp_path / "whole")
    begun = train(config, tmp_path / "r", watch=lambda report: report.step < 3)
    split = train(begun, watch=lambda report: report.step < 6, shard=True)
    done = train(split)
    assert distance(done, whole) < 1e-5


def test_with_patience_the_best_average_is_kept(trees, tmp_path):
    settings = AVERAGED | {"patience": 5, "eval_every": 2, "learning_rate": 3e-3}
    run = train(small_run(trees, model=TINY, **settings), tmp_path / "r")
    step = run.status()["weights_step"]
    assert 0 < step == run.best()["step"]
    kept = below(AVERAGE, checkpoint(run, step))
    assert all(weights(run)[name].equal(tensor) for name, tensor in kept.items())
    assert Path(run.path / "checkpoints/best.safetensors").exists()


def test_labels_are_scored_by_the_average(trees, tmp_path):
    config = small_run(trees, model=TINY, objective=Supervised(("of_molecule",)), ema_decay=0.9)
    run = train(config, tmp_path / "r")
    table = run.label_scores("val")
    by_average = table[table["metric"] == "mae"]["value"].item()
    assert by_average == pytest.approx(run.last()["molecule_label_mae_eV"], rel=1e-6)
    assert np.isfinite(by_average)


def test_a_checkpoint_without_averages_is_refused(trees, tmp_path):
    begun = train(
        small_run(trees, model=TINY), tmp_path / "r", watch=lambda report: report.step < 4
    )
    averaging = prepare_run(small_run(trees, model=TINY, ema_decay=0.9), tmp_path / "other")
    (begun.path / "checkpoints").rename(averaging.path / "checkpoints-of-the-other")
    (averaging.path / "checkpoints").rmdir()
    (averaging.path / "checkpoints-of-the-other").rename(averaging.path / "checkpoints")
    with pytest.raises(InputError, match="has no average of .*: it is of a run without ema_decay"):
        train(averaging)
