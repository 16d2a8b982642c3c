"""Fine-tuning: a run starts from another one, freezes what it should, and stops at its best."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import SMALL, small_run

from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.objectives.supervised import Supervised
from molnb.recipes.sources import recipe_for_file
from molnb.training.loop import Session, train, validate, validation_batches
from molnb.training.presets import make_preset
from molnb.training.runs import Run, start_run


def changed_tensors(before: Run, after: Run) -> set[str]:
    """Names of the encoder's tensors that two runs do not share."""
    tensors_before = before.load_model().encoder.state_dict()
    tensors_after = after.load_model().encoder.state_dict()
    assert tensors_before.keys() == tensors_after.keys()
    return {
        name
        for name, tensor in tensors_before.items()
        if not torch.equal(tensor, tensors_after[name])
    }


def test_of_a_frozen_encoder_nothing_learns_but_the_head(finished, nci, tmp_path):
    """At a rate at which every parameter that may learn does."""
    dipoles = small_run(
        nci, objective=Supervised(("nci_dipole",)), start_from=str(finished.path), steps=3
    )
    frozen = train(replace(dipoles, frozen_layers=2), tmp_path / "frozen")
    assert changed_tensors(finished, frozen) == set()
    head = frozen.load_model().heads["nci_dipole"]
    assert head.out.weight.abs().max() > 0, "the head starts at zero and has learnt"
    half = train(replace(dipoles, frozen_layers=1), tmp_path / "half")
    changed = changed_tensors(finished, half)
    assert changed and all(name.startswith("blocks.1.") for name in changed)
    free = train(dipoles, tmp_path / "free")
    assert {"tokens.weight", "features.weight", "norm.weight"} < changed_tensors(finished, free)


def test_pretraining_goes_on_with_the_masking_heads_of_the_run_it_starts_from(
    finished, nci, tmp_path
):
    """At a rate at which nothing moves."""
    settings = {"steps": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    config = small_run(nci, start_from=str(finished.path), **settings)
    heads = finished.load_model().heads.state_dict()
    heads_after = train(config, tmp_path / "again").load_model().heads.state_dict()
    assert heads.keys() == heads_after.keys()
    assert all(torch.allclose(heads[name], heads_after[name], atol=1e-6) for name in heads)
    fresh = train(replace(config, start_from=None), tmp_path / "fresh").load_model().heads
    assert not torch.allclose(fresh["tokens"].out.weight, heads["tokens.out.weight"], atol=1e-6)


def test_a_run_of_another_architecture_cannot_be_started_from(finished, nci, tmp_path):
    other = small_run(nci, start_from=str(finished.path), model=replace(SMALL, d_pair=32))
    message = r"another architecture \(d_pair differ\): use its model"
    with pytest.raises(InputError, match=message):
        train(other, tmp_path / "other")
    preset = make_preset("finetune_tiny", [nci], start_from=str(finished.path))
    assert preset.model == SMALL, "a preset takes the model over"


def test_a_run_without_weights_cannot_be_started_from(nci, tmp_path):
    empty = start_run(small_run(nci), tmp_path / "empty")
    with pytest.raises(InputError, match=r"empty has no weights yet \(it is new\)"):
        train(small_run(nci, start_from=str(empty.path)), tmp_path / "run")
    assert not (tmp_path / "run").exists(), "refused before anything is written"
    with pytest.raises(InputError, match="is no run"):
        make_preset("finetune_tiny", [nci], start_from=str(tmp_path / "absent"))


def test_without_labels_there_is_nothing_to_fine_tune(home, tmp_path):
    (tmp_path / "bare.csv").write_text("smiles\nCCO\nCCN\nCCC\n")
    recipe = recipe_for_file(tmp_path / "bare.csv")
    bare = curate(recipe, workers=0, home=home, progress=False)
    with pytest.raises(InputError, match="has no labels to learn"):
        train(make_preset("finetune_tiny", [bare]), tmp_path / "run")


def test_early_stopping_keeps_the_best_weights(nci, tmp_path):
    config = small_run(
        nci,
        objective=Supervised(("nci_dipole",)),
        steps=60,
        eval_every=2,
        patience=2,
        n_train=6,
        learning_rate=2e-2,
        warmup_steps=1,
    )
    run = train(config, tmp_path / "r")
    losses = [row["loss"] for row in run.metrics("val")]
    best = losses.index(min(losses))
    assert run.status()["step"] < 60 and len(losses) == best + 3
    assert run.status()["state"] == "done"
    session = Session(run, "cpu")
    session.model.load_state_dict(run.load_model().state_dict())
    (row,) = validate(session, validation_batches(session))
    assert row["loss"] == pytest.approx(min(losses), rel=1e-6)
