"""Official weights become a run and come back bit for bit, and nothing in their file runs."""

from __future__ import annotations

import argparse
import gzip
import io
import os
import pickle
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from molnb.cli import main
from molnb.errors import InputError
from molnb.inference.predictor import load_run
from molnb.models.unimol2.config import MOLNB, REFERENCE
from molnb.models.unimol2.official import ReferenceModel, load_reference
from molnb.models.unimol2.sizes import PAPER, find_paper_size
from molnb.objectives.supervised import Supervised
from molnb.training.checkpoints import write_weights
from molnb.training.config import RunConfig
from molnb.training.conversion import (
    OfficialCheckpoint,
    _official_names,
    convert,
    infer_config,
    read_checkpoint,
)
from molnb.training.loop import train
from molnb.training.presets import make_preset
from molnb.training.runs import Run, make_model, start_run

# Two steps of Uni-Core's Trainer and its save_checkpoint: benchmarks/checkpoint.py
SAVED = Path(__file__).parents[1] / "fixtures" / "checkpoint.pt.gz"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(gzip.decompress(SAVED.read_bytes()))
    return file


@cache
def authors_state() -> dict[str, torch.Tensor]:
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = gzip.decompress(SAVED.read_bytes())
        return torch.load(io.BytesIO(content), weights_only=True)["model"]


def rewritten(file: Path, content: object) -> Path:
    torch.save(content, file)
    return file


def test_what_the_authors_code_saved_becomes_a_run(saved, tmp_path):
    done = convert(saved, tmp_path / "out")
    config = Run(done.path).config.model
    assert (config.n_layer, config.d_atom, config.n_head, config.d_ffn) == (2, 8, 2, 8)
    assert (config.d_pair, config.d_hidden, config.n_kernel) == (4, 2, 128)
    assert config.conventions == REFERENCE
    assert Run(done.path).status()["state"] == "done"
    notes = " ".join(done.notes)
    assert "no published size" in notes and "left out: args, loss, optimizer_history" in notes
    assert "last_optimizer_state" in notes and "kept aside" not in notes


def test_the_runs_encoder_is_the_authors(saved, tmp_path):
    model = Run(convert(saved, tmp_path / "out").path).load_model()
    widths = {"encoder_layers": 2, "encoder_embed_dim": 8, "encoder_attention_heads": 2}
    widths |= {"encoder_ffn_embed_dim": 8, "pair_embed_dim": 4, "pair_hidden_dim": 2}
    expected = load_reference(authors_state(), widths).encoder.state_dict()
    tensors = model.encoder.state_dict()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors.items())


def test_a_converted_run_embeds_and_can_be_started_from(saved, tmp_path):
    out = convert(saved, tmp_path / "out").path
    vectors = load_run(out, device="cpu").embed(["CCO", "c1ccccc1"])
    assert vectors.shape == (2, 8) and np.isfinite(vectors).all()
    config = make_preset("finetune_tiny", ["somewhere"], start_from=str(out))
    assert config.model == Run(out).config.model and config.model.conventions == REFERENCE


def test_a_run_that_learnt_labels_goes_back_with_the_masking_heads_it_began_with(
    saved, nci, tmp_path
):
    began = convert(saved, tmp_path / "began").path
    data = (str(nci.path),)
    labels = dict(objective=Supervised(("nci_dipole",)), start_from=str(began), steps=2, n_val=4)
    run = train(RunConfig("t", data, Run(began).config.model, **labels), tmp_path / "tuned")
    done = convert(run.path, tmp_path / "back.pt")
    assert "left out: molnb's heads nci_dipole" in " ".join(done.notes)
    tensors = read_checkpoint(done.path).tensors
    assert set(tensors) == set(authors_state())
    unchanged = {k for k, tensor in authors_state().items() if torch.equal(tensors[k], tensor)}
    assert {"lm_head.dense.weight", "movement_pred_head.q_proj.weight"} <= unchanged
    assert "embed_tokens.weight" not in unchanged, "the encoder has learnt"


def test_there_and_back_is_the_same_to_the_last_bit(saved, tmp_path):
    out = convert(saved, tmp_path / "out").path
    back = convert(out, tmp_path / "back.pt")
    # the authors' code reads its checkpoints as any pickle
    stored = torch.load(back.path, weights_only=False)
    assert set(stored["model"]) == set(authors_state())
    for name, tensor in authors_state().items():
        assert stored["model"][name].dtype == tensor.dtype, name
        assert torch.equal(stored["model"][name], tensor), name
    assert stored["args"].encoder_layers == 2 and stored["args"].encoder_attention_heads == 2
    assert convert(back.path, tmp_path / "again").path.is_dir()


def test_prefixes_bare_states_half_precision_and_other_heads_come_back_too(tmp_path):
    extra = {"classification_heads.homo.dense.weight": torch.randn(8, 8)}
    extra |= {"classification_heads.homo.out_proj.weight": torch.randn(1, 8)}
    state = {k: v.half() for k, v in (authors_state() | extra).items()}
    prefixed = {f"module.{k}": v for k, v in state.items()}
    for number, content in enumerate((prefixed, {"model": state})):
        done = convert(rewritten(tmp_path / f"{number}.pt", content), tmp_path / f"out{number}")
        assert any("fine-tuning heads homo" in note for note in done.notes)
        back = read_checkpoint(convert(done.path, tmp_path / f"back{number}.pt").path).tensors
        assert set(back) == set(state)
        assert {tensor.dtype for tensor in back.values()} == {torch.float16}
        assert all(torch.equal(back[k], v) for k, v in state.items())


def test_without_a_token_head_a_fresh_one_is_told_of_and_not_written_back(tmp_path):
    state = {k: v for k, v in authors_state().items() if not k.startswith("lm_head.")}
    done = convert(rewritten(tmp_path / "a.pt", {"model": state}), tmp_path / "out")
    assert any("no lm_head" in note and "random weights" in note for note in done.notes)
    assert set(read_checkpoint(convert(done.path, tmp_path / "back.pt").path).tensors) == set(state)


@pytest.mark.parametrize("size", PAPER)
def test_published_sizes_are_recognised_by_their_shapes(size):
    names = _official_names(PAPER[size])
    with torch.device("meta"):
        weights = ReferenceModel(replace(PAPER[size], conventions=REFERENCE), {}).state_dict()
    tensors = {names[name]: tensor for name, tensor in weights.items()}
    assert find_paper_size(infer_config(OfficialCheckpoint(tensors, {}, ()))) == size


# ---------------------------------------------------------------------------------------- refusals


class Hostile:
    """Unpickled by anything trusting, this writes a file."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("form", ["torch", "plain pickle", "in the arguments"])
def test_a_file_that_could_run_code_is_refused_and_does_not_run(form, tmp_path):
    trap = tmp_path / "executed"
    file = tmp_path / "hostile.pt"
    content = {"model": authors_state(), "extra": Hostile(trap)}
    if form == "in the arguments":
        content = {"model": authors_state(), "args": argparse.Namespace(lr=Hostile(trap))}
    if form == "plain pickle":
        file.write_bytes(pickle.dumps(Hostile(trap), 2))
    else:
        torch.save(content, file)
    message = r"hostile.pt asks for \w+\.system, which could run code.*nothing was run"
    with pytest.raises(InputError, match=message):
        convert(file, tmp_path / "out")
    assert not trap.exists() and not (tmp_path / "out").exists()


def test_what_was_admitted_elsewhere_is_not_admitted_here(tmp_path):
    torch.serialization.add_safe_globals([Path])
    try:
        file = rewritten(tmp_path / "a.pt", {"model": authors_state(), "where": Path("x")})
        with pytest.raises(InputError, match="asks for pathlib"):
            convert(file, tmp_path / "out")
        assert Path in torch.serialization.get_safe_globals()
    finally:
        torch.serialization.clear_safe_globals()


def test_files_that_are_no_checkpoints_are_refused(saved, tmp_path):
    whole = saved.read_bytes()
    contents = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"<html>not found</html>",
        "word": b"junk\n",
    }
    for name, content in contents.items():
        file = tmp_path / f"{name}.pt"
        file.write_bytes(content)
        message = rf"{name}.pt \([\d,]+ bytes\) is no readable checkpoint \(.*[a-z]{{3}}.*\)"
        with pytest.raises(InputError, match=message):
            convert(file, tmp_path / "out")
    with pytest.raises(InputError, match="holds no model"):
        convert(rewritten(tmp_path / "list.pt", [1, 2]), tmp_path / "out")
    with pytest.raises(InputError, match="no file"):
        convert(tmp_path / "nowhere.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: {k: v for k, v in s.items() if ".layers.1.opm" not in k},
            "the weights lack 'encoder.layers.1.opm",
        ),
        (
            lambda s: {k: v for k, v in s.items() if k != "lm_head.bias"},
            "the weights lack 'lm_head.bias'",
        ),
        (
            lambda s: s | {"encoder.final.weight": torch.zeros(1)},
            "has no tensor 'encoder.final.weight'",
        ),
        (lambda s: s | {"lm_head.bias": torch.zeros(7)}, r"lm_head.bias has shape \(7,\)"),
        (lambda s: {"embed_tokens.weight": s["embed_tokens.weight"]}, "no encoder.layers"),
        (
            lambda s: s | {"se3_invariant_kernel.gaussian.mean": torch.linspace(0, 12, 128)},
            "the distance kernel stands at 0 to 12",
        ),
    ],
)
def test_weights_that_are_not_whole_are_refused_by_name(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        convert(rewritten(tmp_path / "a.pt", {"model": change(authors_state())}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_arguments_that_contradict_the_tensors_are_refused():
    for argument in ({"encoder_layers": 3}, {"gaussian_std_width": 2.0}):
        with pytest.raises(InputError, match=next(iter(argument))):
            infer_config(OfficialCheckpoint(authors_state(), argument, ()))


def test_nothing_is_overwritten(saved, tmp_path):
    out = convert(saved, tmp_path / "out").path
    with pytest.raises(InputError, match="exists and would be overwritten"):
        convert(saved, out)
    with pytest.raises(InputError, match="exists and would be overwritten"):
        convert(out, saved)


def test_nothing_is_converted_for_a_place_that_cannot_be(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "load", pytest.fail)
    for out in (saved, saved / "run", tmp_path, Path("/dev/null"), Path("/dev/null/run")):
        with pytest.raises(InputError, match="would be overwritten|is a file and no folder"):
            convert(saved, out)


def test_official_weights_answer_for_molecules_as_large_as_they_were_trained_on(saved, tmp_path):
    assert Run(convert(saved, tmp_path / "out").path).max_heavy_atoms == 256


def test_a_run_of_our_own_conventions_does_not_go_back(tmp_path):
    config = make_preset("laptop_0m1", ["x"], **{"model.n_layer": 1})
    run = start_run(config, tmp_path / "mine")
    write_weights(make_model(config), run.path / "weights.safetensors")
    assert config.model.conventions == MOLNB
    with pytest.raises(InputError, match="has the conventions 'molnb'"):
        convert(run.path, tmp_path / "mine.pt")


def test_the_command_converts_both_ways(saved, tmp_path, capsys):
    assert main(["convert", str(saved), str(tmp_path / "out")]) == 0
    assert "2 layers, atoms 8, 2 heads, pairs 4" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "out"), str(tmp_path / "back.pt")]) == 0
    assert main(["convert", str(saved), str(tmp_path / "out")]) == 2
    assert "exists and would be overwritten" in capsys.readouterr().err
