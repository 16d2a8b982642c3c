"""The loop learns, repeats itself exactly, survives being killed, and changes nothing unasked."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from quick_processes import start_training
from tiny import STEADY, small_run

import molnb.objectives.pretraining
from molnb.errors import InputError
from molnb.files import file_digest
from molnb.objectives.pretraining import Pretrain
from molnb.objectives.supervised import Supervised
from molnb.training.loop import Session, fit, train
from molnb.training.runs import Run, start_run

RESULTS = ("weights.safetensors", "metrics.jsonl")


def result_digests(run: Run) -> dict[str, str]:
    """Digests of the files that a run is for."""
    return {name: file_digest(run.path / name) for name in RESULTS}


# ---------------------------------------------------------------------------------------- learning


def test_eight_molecules_are_learnt_by_heart(nci, tmp_path):
    config = small_run(
        nci,
        objective=Pretrain(drop_features=0.0),
        model=replace(STEADY, d_atom=64),
        n_train=8,
        steps=130,
        learning_rate=4e-3,
        eval_every=130,
        checkpoint_every=130,
    )
    rows = train(config, tmp_path / "r").metrics("train")
    early = sum(row["loss"] for row in rows[:20])
    late = sum(row["loss"] for row in rows[-20:])
    assert late < 0.35 * early
    assert sum(row["token_accuracy"] for row in rows[-20:]) / 20 > 0.95


def test_labels_are_learnt_by_heart(nci, tmp_path):
    config = small_run(
        nci,
        objective=Supervised(("nci_orbitals", "nci_charges", "nci_bond_orders")),
        model=replace(STEADY, d_atom=64),
        n_train=8,
        steps=90,
        learning_rate=3e-3,
        eval_every=90,
    )
    run = train(config, tmp_path / "r")
    rows = run.metrics("train")
    assert rows[-1]["loss"] < 0.2 * rows[0]["loss"]
    assert {"homo_mae_eV", "charge_mulliken_mae_e", "wiberg_mae"} <= rows[-1].keys()
    bars = run.baselines()
    assert bars["lookup"]["charge_mulliken_mae_e"] < bars["mean"]["charge_mulliken_mae_e"]


# ---------------------------------------------------------------------------------------- repeating


def test_equal_seeds_give_equal_metrics_and_weights(finished, nci, tmp_path):
    again = train(small_run(nci), tmp_path / "again")
    assert result_digests(again) == result_digests(finished)
    other = train(small_run(nci, seed=1), tmp_path / "other")
    assert not result_digests(other).items() & result_digests(finished).items()


def test_stopping_leaves_a_run_that_can_be_used_and_resumed(finished, nci, tmp_path):
    stopped = train(small_run(nci), tmp_path / "part", watch=lambda report: report.step < 5)
    assert stopped.status()["state"] == "stopped" and stopped.status()["step"] == 5
    assert stopped.load_model() is not None
    resumed = train(tmp_path / "part")
    assert resumed.status()["state"] == "done"
    assert result_digests(resumed) == result_digests(finished)


def test_fit_in_a_notebook_does_what_train_does(finished, nci, tmp_path):
    steps = []
    awaited = asyncio.run(
        fit(small_run(nci), tmp_path / "a", watch=lambda report: steps.append(report.step))
    )
    assert steps == list(range(1, 13))
    assert result_digests(awaited) == result_digests(finished)


def test_validation_shows_every_run_the_same(finished, nci, tmp_path):
    other = train(small_run(nci, seed=1, steps=1), tmp_path / "other")
    assert other.baselines() == finished.baselines() != {}
    assert {row["features"] for row in other.metrics("val")} == {"hidden", "visible"}


# --------------------------------------------------------------------------------- killed, resumed

N_THREAD = 2  # their sums must come in one order, too
TWO_THREADS = os.environ | {"OMP_NUM_THREADS": str(N_THREAD)}


def train_apart(folder: Path) -> Run:
    """Train to the end in a process of its own."""
    child = start_training(folder, N_THREAD)
    child.join(300)
    assert child.exitcode == 0
    return Run(folder)


def train_with_kills(folder: Path, kills: int, seed: int) -> Run:
    """Train in a child process that is killed at random moments, then to the end."""
    draw = random.Random(seed)
    metrics = folder / "metrics.jsonl"
    steps = Run(folder).config.steps
    for kill in range(kills):
        child = start_training(folder, N_THREAD)
        target = (kill + draw.random()) * steps / kills  # a random step, later with every kill
        while child.is_alive() and last_step(metrics) < target:
            time.sleep(0.005)
        time.sleep(draw.random() * 0.05)
        child.kill()
        child.join()
    return train_apart(folder)


def last_step(metrics: Path) -> int:
    """The last step that is logged whole; 0 before the first."""
    if not metrics.exists():
        return 0
    lines = [line for line in metrics.read_text().splitlines() if line.endswith("}")]
    return json.loads(lines[-1])["step"] if lines else 0


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_runs_end_in_the_same_bits(nci, tmp_path, kills):
    config = small_run(nci, steps=40, checkpoint_every=3, eval_every=10)
    undisturbed = start_run(config, tmp_path / "undisturbed")
    train_apart(undisturbed.path)
    start_run(config, tmp_path / "killed")
    killed = train_with_kills(tmp_path / "killed", kills, seed=kills)
    assert result_digests(killed) == result_digests(undisturbed)


# ------------------------------------------------------------------------------------ side effects


def test_building_a_session_changes_nothing_on_disk_and_training_no_global_state(nci, tmp_path):
    run = train(small_run(nci), tmp_path / "r", watch=lambda report: report.step < 5)

    def contents() -> dict[Path, bytes]:
        return {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}

    before = contents()
    random_state = torch.random.get_rng_state()
    environment = dict(os.environ)
    Session(run, "cpu")
    assert contents() == before
    train(run)
    assert contents() != before
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert os.environ == environment


def test_a_loss_that_is_no_number_stops_the_run(nci, tmp_path, monkeypatch):
    def broken_scores(*_):
        return {"token_ce_nats": torch.tensor(float("nan"), requires_grad=True)}

    monkeypatch.setattr(molnb.objectives.pretraining, "token_scores", broken_scores)
    message = "the loss is nan at step 1 of 12: lower the learning rate"
    with pytest.raises(InputError, match=message):
        train(small_run(nci, n_val=1), tmp_path / "r")
    assert Run(tmp_path / "r").status()["state"] == "failed"
