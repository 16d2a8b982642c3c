"""The loop learns, repeats itself exactly, survives being killed, and refuses what it cannot do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rdkit import Chem

from molnb import curate
from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.models.families import count_parameters
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.objectives.pretraining import Pretrain
from molnb.objectives.supervised import Supervised
from molnb.recipes.sources import recipe_for_file
from molnb.training.checkpoints import last_checkpoint
from molnb.training.config import RunConfig
from molnb.training.device import choose_device
from molnb.training.loop import Session, fit, train, training_steps
from molnb.training.optimizer import learning_rate, rate_share
from molnb.training.rows import training_rows
from molnb.training.runs import Run, load_runs, make_model, runs_table, start_run

SMALL = TwoTrackConfig(2, 32, 4, 32, 16, 4, n_kernel=16, dropout=0.1)


def config(nci, **changes) -> RunConfig:
    start = dict(
        name="t", data=(str(nci.path),), model=SMALL, steps=12, global_batch=8, learning_rate=1e-3
    )
    start |= dict(warmup_steps=3, n_val=8, eval_every=6, checkpoint_every=4)
    return RunConfig(**(start | changes))


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_equal_seeds_give_equal_metrics_and_weights(nci, tmp_path):
    first, second = (train(config(nci), tmp_path / name) for name in "ab")
    assert (first.path / "metrics.jsonl").read_text() == (second.path / "metrics.jsonl").read_text()
    assert digest(first.path / "weights.safetensors") == digest(second.path / "weights.safetensors")
    other = train(config(nci, seed=1), tmp_path / "c")
    assert digest(other.path / "weights.safetensors") != digest(first.path / "weights.safetensors")


def test_eight_molecules_are_learnt_by_heart(nci, tmp_path):
    objective = Pretrain(drop_features=0.0)
    model = replace(SMALL, d_atom=64, dropout=0.0, attention_dropout=0.0, pair_dropout=0.0)
    run = train(
        config(
            nci,
            objective=objective,
            model=model,
            n_train=8,
            steps=250,
            learning_rate=4e-3,
            eval_every=250,
            checkpoint_every=250,
        ),
        tmp_path / "r",
    )
    rows = run.metrics("train")
    early, late = (sum(r["loss"] for r in part) / 20 for part in (rows[:20], rows[-20:]))
    assert late < 0.35 * early
    assert sum(r["token_accuracy"] for r in rows[-20:]) / 20 > 0.95


def test_labels_are_learnt_by_heart(nci, tmp_path):
    objective = Supervised(("nci_orbitals", "nci_charges", "nci_bond_orders"))
    model = replace(SMALL, d_atom=64, dropout=0.0, attention_dropout=0.0, pair_dropout=0.0)
    changes = dict(
        objective=objective, model=model, n_train=8, steps=150, learning_rate=3e-3, eval_every=150
    )
    run = train(config(nci, **changes), tmp_path / "r")
    rows = run.metrics("train")
    assert rows[-1]["loss"] < 0.2 * rows[0]["loss"]
    assert {"homo_mae_eV", "charge_mulliken_mae_e", "wiberg_mae"} <= rows[-1].keys()
    assert (
        run.baselines()["lookup"]["charge_mulliken_mae_e"]
        < run.baselines()["mean"]["charge_mulliken_mae_e"]
    )


def test_stopping_leaves_a_run_that_can_be_used_and_resumed(nci, tmp_path):
    whole = train(config(nci), tmp_path / "whole")
    stopped = train(config(nci), tmp_path / "part", watch=lambda report: report.step < 5)
    assert stopped.status()["state"] == "stopped" and stopped.status()["step"] == 5
    assert stopped.load_model() is not None
    resumed = train(tmp_path / "part")
    assert resumed.status()["state"] == "done"
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert digest(resumed.path / name) == digest(whole.path / name)


def test_fit_in_a_notebook_does_what_train_does(nci, tmp_path):
    seen = []
    awaited = asyncio.run(
        fit(config(nci), tmp_path / "a", watch=lambda report: seen.append(report.step))
    )
    plain = train(config(nci), tmp_path / "b")
    assert seen == list(range(1, 13))
    assert digest(awaited.path / "weights.safetensors") == digest(
        plain.path / "weights.safetensors"
    )


TWO_THREADS = os.environ | {
    "OMP_NUM_THREADS": "2"
}  # sums of two threads must come in one order, too


def training_command(folder: Path) -> list[str]:
    return [sys.executable, "-c", f"from molnb import train; train({str(folder)!r})"]


def killed_and_resumed(folder: Path, kills: int, seed: int) -> Run:
    """Train in a child process that is killed at random moments, then to the end."""
    command = training_command(folder)
    draw, metrics = random.Random(seed), folder / "metrics.jsonl"
    steps = Run(folder).config.steps
    for kill in range(kills):
        child = subprocess.Popen(command, env=TWO_THREADS)
        target = (kill + draw.random()) * steps / kills  # a random step, later with every kill
        while child.poll() is None and (not metrics.exists() or _last_step(metrics) < target):
            time.sleep(0.005)
        time.sleep(draw.random() * 0.05)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert subprocess.run(command, timeout=300, env=TWO_THREADS).returncode == 0
    return Run(folder)


def _last_step(metrics: Path) -> int:
    whole = [line for line in metrics.read_text().splitlines() if line.endswith("}")]
    return json.loads(whole[-1])["step"] if whole else 0


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_runs_end_in_the_same_bits(nci, tmp_path, kills):
    asked = config(nci, steps=40, checkpoint_every=3, eval_every=10)
    whole = start_run(asked, tmp_path / "whole")
    subprocess.run(training_command(whole.path), env=TWO_THREADS, check=True)
    start_run(asked, tmp_path / "killed")
    killed = killed_and_resumed(tmp_path / "killed", kills, seed=kills)
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert digest(killed.path / name) == digest(whole.path / name), name


def test_validation_is_asked_the_same_by_every_run(nci, tmp_path):
    first, second = (train(config(nci, seed=s, steps=1), tmp_path / str(s)) for s in (0, 1))
    assert first.baselines() == second.baselines()
    assert {r["features"] for r in first.metrics("val")} == {"hidden", "visible"}
    table = first.losses("val", "hidden")
    assert table["loss"].tolist() == [row["loss"] for row in first.metrics("val", "hidden")]


def test_the_learning_rate_rises_and_falls(nci):
    asked = config(nci, steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(asked, s) for s in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0) and rates[-1] < 0.02
    assert rates.index(max(rates)) == 9


def changed(before: Run, after: Run) -> set[str]:
    """Names of the encoder's tensors that two runs do not share."""
    first, second = (run.load_model().encoder.state_dict() for run in (before, after))
    return {name for name in first if not torch.equal(first[name], second[name])}


def test_of_a_frozen_encoder_nothing_learns_but_the_head(nci, tmp_path):
    """At a rate at which every parameter that may learn does."""
    first = train(config(nci, steps=4), tmp_path / "first")
    labels = dict(objective=Supervised(("nci_dipole",)), start_from=str(first.path), steps=3)
    frozen = train(config(nci, **labels, frozen_layers=2), tmp_path / "frozen")
    assert changed(first, frozen) == set()
    head = frozen.load_model().heads["nci_dipole"]
    assert head.out.weight.abs().max() > 0, "the head starts at zero and has learnt"
    half = changed(first, train(config(nci, **labels, frozen_layers=1), tmp_path / "half"))
    assert half and all(name.startswith("blocks.1.") for name in half)
    free = changed(first, train(config(nci, **labels), tmp_path / "free"))
    assert {"tokens.weight", "features.weight", "norm.weight"} < free


def test_pretraining_goes_on_with_the_masking_heads_of_the_run_it_starts_from(nci, tmp_path):
    first = train(config(nci, steps=4), tmp_path / "first")
    again = config(nci, steps=1, start_from=str(first.path), learning_rate=1e-12, weight_decay=0.0)
    heads, taken_over = (
        run.load_model().heads.state_dict() for run in (first, train(again, tmp_path / "again"))
    )
    assert heads.keys() == taken_over.keys()
    assert all(torch.allclose(heads[name], taken_over[name], atol=1e-6) for name in heads)


def test_a_run_of_another_architecture_cannot_be_started_from(nci, tmp_path):
    first = train(config(nci, steps=1), tmp_path / "first")
    other = config(nci, start_from=str(first.path), model=replace(SMALL, d_pair=32))
    with pytest.raises(InputError, match=r"another architecture \(d_pair differ"):
        train(other, tmp_path / "third")


# ------------------------------------------------------------------------------------------ owners


def test_a_run_has_one_owner_and_a_second_training_is_refused(nci, tmp_path):
    run = start_run(config(nci), tmp_path / "r")
    steps = training_steps(run)
    next(steps)
    assert run.state == "running"
    with pytest.raises(InputError, match=f"is being trained by process {os.getpid()} on "):
        train(run)
    steps.close()
    assert run.state == "stopped"
    assert train(run).state == "done"


def test_a_killed_run_is_not_running_for_ever(nci, tmp_path):
    run = start_run(config(nci, steps=4000), tmp_path / "r")
    child = subprocess.Popen(training_command(run.path), env=TWO_THREADS)
    while child.poll() is None and run.read("status.json").get("state") != "running":
        time.sleep(0.05)
    assert run.state == "running"
    with pytest.raises(InputError, match=f"trained by process {child.pid} on"):
        train(run)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert run.state == "killed"


def test_building_a_session_changes_nothing_on_disk_and_training_no_global_state(nci, tmp_path):
    run = train(config(nci), tmp_path / "r", watch=lambda report: report.step < 5)
    before = {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}
    numbers, environment = torch.random.get_rng_state(), dict(os.environ)
    Session(run, "cpu")
    assert {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()} == before
    train(run)
    assert torch.equal(torch.random.get_rng_state(), numbers) and os.environ == environment


def test_a_run_from_before_families_is_refused_in_one_message(nci, tmp_path):
    run = start_run(config(nci), tmp_path / "r")
    stored = run.read("config.json")
    del stored["model"]["family"]
    (run.path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="was made by an older molnb .* train it again"):
        train(run)
    assert runs_table(tmp_path)["family"].isna().all(), "and still listed"


# ------------------------------------------------------------------------------------------------ refusals


def test_a_checkpoint_of_another_model_is_refused(nci, tmp_path):
    small = train(config(nci, steps=4), tmp_path / "small")
    wide = start_run(config(nci, steps=4, model=replace(SMALL, d_atom=64)), tmp_path / "wide")
    for file in (small.path / "checkpoints").iterdir():
        (wide.path / "checkpoints" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(
        InputError,
        match=r"belongs to another model: \S+ is \(.*32.*\) there and \(.*64.*\) in this one",
    ):
        train(wide)


def test_a_damaged_checkpoint_is_passed_over(nci, tmp_path):
    run = train(config(nci), tmp_path / "r")
    newest = sorted((run.path / "checkpoints").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    assert last_checkpoint(run.path / "checkpoints").step == 8


def test_damaged_weights_are_refused(nci, tmp_path):
    run = train(config(nci, steps=1), tmp_path / "r")
    (run.path / "weights.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(InputError, match="weights.safetensors is damaged"):
        run.load_model()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(
        InputError, match="'cuda' asked for, but torch .* sees no GPU: use --device cpu"
    ):
        choose_device("cuda")


def test_a_full_disk_names_the_file_and_keeps_the_last_checkpoint(nci, tmp_path, monkeypatch):
    import errno

    import molnb.training.checkpoints

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = train(config(nci), tmp_path / "r", watch=lambda report: report.step < 5)
    monkeypatch.setattr(molnb.training.checkpoints, "save_file", full)
    with pytest.raises(InputError, match="disk is full.*step-000000008"):
        train(run)
    monkeypatch.undo()
    assert train(run).status()["state"] == "done"


@pytest.mark.gpu
def test_a_compiled_bfloat16_run_resumed_on_a_gpu_stays_within_what_seeds_differ_by(nci, tmp_path):
    check_resumed_within_seeds(
        nci, tmp_path, steps=150, device="cuda", precision="bfloat16", compile=True
    )


@pytest.mark.slow
def test_a_resumed_run_stays_within_what_seeds_differ_by(nci, tmp_path):
    check_resumed_within_seeds(nci, tmp_path, steps=100, device="cpu")


def check_resumed_within_seeds(nci, folder, steps, device, **settings):
    """Stopped 50 steps before the end and resumed: the mean of those losses lies in the range of
    three seeds.
    """

    def last_losses(run) -> float:
        losses = [row["loss"] for row in run.metrics("train") if row["step"] > steps - 50]
        assert len(losses) == 50
        return sum(losses) / 50

    def asked(seed):
        return config(
            nci, steps=steps, seed=seed, checkpoint_every=steps - 50, eval_every=steps, **settings
        )

    undisturbed = [
        last_losses(train(asked(seed), folder / str(seed), device=device)) for seed in range(3)
    ]
    run = train(
        asked(0), folder / "resumed", watch=lambda report: report.step < steps - 50, device=device
    )
    assert run.status()["step"] == steps - 50
    resumed = last_losses(train(run, device=device))
    assert min(undisturbed) <= resumed <= max(undisturbed)


def test_a_loss_that_is_no_number_stops_the_run(nci, tmp_path, monkeypatch):
    import molnb.objectives.pretraining

    broken = lambda *_: {"token_ce_nats": torch.tensor(float("nan"), requires_grad=True)}  # noqa: E731
    monkeypatch.setattr(molnb.objectives.pretraining, "token_scores", broken)
    with pytest.raises(
        InputError, match="the loss is nan at step 1 of 12: lower the learning rate"
    ):
        train(config(nci, n_val=1), tmp_path / "r")
    assert Run(tmp_path / "r").status()["state"] == "failed"


def test_a_folder_with_another_run_is_refused(nci, tmp_path):
    start_run(config(nci), tmp_path / "r")
    with pytest.raises(InputError, match="differs in seed"):
        start_run(config(nci, seed=9), tmp_path / "r")


def test_what_is_no_run_is_refused(tmp_path, nci):
    with pytest.raises(InputError, match="is no run"):
        Run(tmp_path)
    with pytest.raises(InputError, match="no curated dataset at 'nowhere'"):
        train(config(nci, data=("nowhere",)), tmp_path / "r")
    with pytest.raises(InputError, match="no dataset of this run has the task 'colour'"):
        train(config(nci, objective=Supervised(("colour",))), tmp_path / "s")


def test_runs_are_listed(nci, home):
    run = train(config(nci, steps=2))
    assert run.path.parent == home / "runs" and run.path.name.endswith(f"_t_{run.config.id}")
    assert [r.path for r in load_runs()] == [run.path]
    (row,) = runs_table().to_dict("records")
    assert (row["state"], row["family"], row["step"], row["molecules"]) == (
        "done",
        "unimol2",
        2,
        16,
    )
    assert "token_ce_nats" in row and row["N"] == count_parameters(SMALL).n
    again = train(config(nci, steps=2))
    assert again.path.name == f"{run.path.name}-2"
    assert RunConfig.from_dict(json.loads((run.path / "config.json").read_text())) == run.config


# ---------------------------------------------------------------------------------------------- fine-tuning


def test_early_stopping_keeps_the_best_weights(nci, tmp_path):
    objective = Supervised(("nci_dipole",))
    asked = config(
        nci,
        objective=objective,
        steps=60,
        eval_every=2,
        patience=2,
        n_train=6,
        learning_rate=2e-2,
        warmup_steps=1,
    )
    run = train(asked, tmp_path / "r")
    losses = [row["loss"] for row in run.metrics("val")]
    best = losses.index(min(losses))
    assert run.status()["step"] < 60 and len(losses) == best + 3
    assert run.status()["state"] == "done"
    from molnb.training.loop import Session, validate, validation_batches

    session = Session(run, "cpu")
    session.model.load_state_dict(run.load_model().state_dict())
    (row,) = validate(session, validation_batches(session))
    assert row["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_lower_layers_and_heads_have_their_own_rates(nci):
    rates = config(nci, layer_decay=0.5, learning_rate=1e-3, head_learning_rate=1e-2)
    encoder = make_model(rates).encoder

    def share(name):
        return rate_share(rates, name, encoder.depth_of, encoder.n_block)

    assert share("encoder.blocks.1.ffn.expand.weight") == 1.0
    assert share("encoder.blocks.0.ffn.expand.weight") == 0.5
    assert share("encoder.tokens.weight") == share("encoder.norm.weight") == 0.25
    assert share("heads.t.out.weight") == pytest.approx(10.0)


def test_rows_can_be_given_and_molecules_of_another_dataset_left_out(nci, tmp_path):
    corpus = Corpus([nci])
    train_ids, val_ids = training_rows(corpus, config(nci, train_ids=(3, 1, 2), val_ids=(5,)))
    assert sorted(train_ids) == [1, 2, 3] and list(val_ids) == [5]
    with pytest.raises(InputError, match="no training molecules"):
        training_rows(corpus, config(nci, exclude=(str(nci.path),)))


def test_only_molecules_that_another_dataset_has_are_left_out(nci, tmp_path):
    """A salt and a respelling of two molecules are they by the loose keys, a stranger is not."""
    first, second = nci.smiles()[:2]
    respelt = Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(second), 1, randomSeed=1)[0]
    (tmp_path / "other.smi").write_text(f"{first}.Cl\n{respelt}\nFC(F)(F)C#CC1CCC1\n")
    recipe = recipe_for_file(tmp_path / "other.smi")
    other = curate(recipe, workers=0, home=tmp_path, progress=False)
    everything = tuple(range(nci.n))
    rows = config(nci, train_ids=everything, val_ids=(), exclude=(str(other.path),))
    kept = training_rows(Corpus([nci]), rows).train
    assert sorted(set(everything) - set(kept.tolist())) == [0, 1]
