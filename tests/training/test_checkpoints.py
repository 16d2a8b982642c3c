"""Checkpoints are whole or passed over, and fit the model they belong to or are refused."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny import SMALL, small_run

import molnb.training.checkpoints
from molnb.errors import InputError
from molnb.training.checkpoints import copy_to_cpu, last_checkpoint, write_tensors
from molnb.training.loop import train
from molnb.training.runs import Run, start_run


@pytest.fixture
def copied(finished, tmp_path) -> Run:
    """A copy of the finished run, to be damaged."""
    return Run(shutil.copytree(finished.path, tmp_path / "copied"))


def test_the_last_two_checkpoints_are_kept(finished):
    names = sorted(file.name for file in (finished.path / "checkpoints").iterdir())
    assert names == ["step-000000008.safetensors", "step-000000012.safetensors"]
    assert last_checkpoint(finished.path / "checkpoints").step == 12


def test_a_checkpoint_of_another_model_is_refused(finished, nci, tmp_path):
    wide = start_run(small_run(nci, model=replace(SMALL, d_atom=64)), tmp_path / "wide")
    shutil.copytree(finished.path / "checkpoints", wide.path / "checkpoints", dirs_exist_ok=True)
    message = r"belongs to another model: \S+ is \(.*32.*\) there and \(.*64.*\) in this one"
    with pytest.raises(InputError, match=message):
        train(wide)


def test_a_damaged_checkpoint_is_passed_over(copied):
    older, newest = sorted((copied.path / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:1000])
    assert last_checkpoint(copied.path / "checkpoints").step == 8
    older.write_bytes(b"")
    assert last_checkpoint(copied.path / "checkpoints") is None


def test_damaged_weights_are_refused(copied):
    (copied.path / "weights.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(InputError, match="weights.safetensors is damaged"):
        copied.load_model()


def test_a_full_disk_names_the_file_and_keeps_the_last_checkpoint(nci, tmp_path, monkeypatch):
    def fill(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = train(small_run(nci), tmp_path / "r", watch=lambda report: report.step < 5)
    monkeypatch.setattr(molnb.training.checkpoints, "save_file", fill)
    with pytest.raises(InputError, match="disk is full.*step-000000008"):
        train(run)
    monkeypatch.undo()
    assert train(run).status()["state"] == "done"


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_copies_are_of_the_moment_and_are_written_as_they_are(device, tmp_path):
    """Of every kind of number, also turned around and empty ones; changed right after."""
    wide = torch.randn(2_000, 1_500, device=device)
    tensors = {
        "turned": wide.T,
        "narrow": torch.randn(7, device=device).bfloat16(),
        "steps": torch.tensor(3.0),  # on the CPU, as AdamW's own
        "flags": torch.tensor([True, False, True], device=device),
        "none": torch.empty(0, 4, device=device),
        "rows": torch.arange(5, device=device),
    }
    expected = {name: tensor.cpu().clone() for name, tensor in tensors.items()}
    copies = copy_to_cpu(tensors)
    for tensor in tensors.values():
        tensor.zero_()
    copies.wait()
    write_tensors(copies.tensors, tmp_path / "kept.safetensors")
    written = load_file(tmp_path / "kept.safetensors")
    for kept in (copies.tensors, written):
        assert kept.keys() == expected.keys()
        for name, tensor in expected.items():
            assert kept[name].dtype == tensor.dtype
            assert torch.equal(kept[name], tensor), name
