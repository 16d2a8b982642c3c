"""Blocks that are split over processes train as whole ones do, in half the memory for each."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from quick_processes import train_together
from safetensors.torch import load_file, save_file
from test_ranks import SETTINGS, distance, losses, train_with_kills
from tiny import SMALL, SMALL_GRAPH, STEADY, STEADY_GRAPH, small_run

from molnb.errors import InputError
from molnb.models.families import build_encoder
from molnb.models.interface import Encoder
from molnb.models.model import Model
from molnb.objectives.supervised import Supervised
from molnb.training.checkpoints import last_checkpoint
from molnb.training.loop import prepare_run, train
from molnb.training.runs import Run
from molnb.training.sharding import clip_gradients, shard_blocks

# blocks hold nearly all of it, as they do in every model that is too large for one GPU
WIDE = replace(SMALL, n_layer=4, d_atom=128, d_ffn=2048)
WIDE_GRAPH = replace(SMALL_GRAPH, n_layer=16, d_atom=192, virtual_node="sum")
LABELS = Supervised(("nci_orbitals", "nci_charges"))


FEW = SETTINGS | {"steps": 8, "eval_every": 8, "checkpoint_every": 4}


def families(nci) -> dict:
    return {
        "two tracks": small_run(nci, model=WIDE, **FEW),
        "graph": small_run(nci, model=WIDE_GRAPH, objective=LABELS, **FEW),
    }


@pytest.fixture(params=["two tracks", "graph"])
def config(request, nci):
    if request.param == "graph":
        pytest.importorskip("torch_geometric")
    return families(nci)[request.param]


def test_two_processes_with_half_of_the_blocks_each_do_what_one_does(config, tmp_path):
    whole = train(config, tmp_path / "whole")
    split = prepare_run(config, tmp_path / "split")
    train_together(split.path, 2, shard=True)
    assert split.state == "done" and split.config == whole.config
    # the same bits; a process more rounds the sums of losses that are logged once more
    assert distance(split, whole) == 0
    assert np.abs(losses(split) / losses(whole) - 1).max() < 1e-6
    assert [row["loss"] for row in split.metrics("val")] == pytest.approx(
        [row["loss"] for row in whole.metrics("val")], rel=1e-6
    )
    kept = [run.status()["kept_mib"] for run in (split, whole)]
    assert 0.45 * kept[1] < kept[0] <= 0.55 * kept[1]
    # a file a process, neither with more than its part
    (checkpoint,) = (split.path / "checkpoints").glob("step-000000008")
    sizes = [file.stat().st_size for file in checkpoint.glob("*.safetensors")]
    assert len(sizes) == 2 and max(sizes) < 0.6 * sum(sizes)


def test_vectors_whose_parts_would_be_rounded_otherwise_stay_whole(nci, tmp_path):
    """Parts of 12 numbers of 24: AdamW takes 8 or 16 at once, and the rest one by one."""
    pytest.importorskip("torch_geometric")
    config = small_run(nci, model=SMALL_GRAPH, objective=LABELS, **FEW)
    runs = [prepare_run(config, tmp_path / name) for name in ("whole", "split")]
    for run, shard in zip(runs, (False, True)):
        train_together(run.path, 2, shard)
    assert (losses(runs[0]) == losses(runs[1])).all() and distance(*runs) == 0


def test_gradients_are_scaled_down_to_a_norm():
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(shape, generator=generator) for shape in [(300, 40), (7,), (3, 5)]]
    norm = torch.nn.utils.get_total_norm(gradients)
    for limit in (0.5, 2 * float(norm)):
        parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient.clone()
        unused = torch.nn.Parameter(torch.zeros(2))
        assert clip_gradients([*parameters, unused], limit) == pytest.approx(float(norm), rel=1e-6)
        for parameter, gradient in zip(parameters, gradients):
            scaled = gradient * min(1.0, limit / float(norm))
            torch.testing.assert_close(parameter.grad, scaled)
    assert clip_gradients([unused], 1.0) == 0 and unused.grad is None


def test_any_kind_of_training_goes_on_with_any_kind_of_checkpoint(nci, tmp_path):
    config = small_run(nci, **SETTINGS | {"steps": 60, "eval_every": 30})
    alone = train(config, tmp_path / "one")
    killed = prepare_run(config, tmp_path / "killed")
    train_with_kills(killed.path, [2, 1, 2], seed=1, shard=[True, False, True])
    assert killed.state == "done"
    samples = [[row["samples"] for row in run.metrics("train")] for run in (alone, killed)]
    assert samples[0] == samples[1]
    assert np.abs(losses(killed) / losses(alone) - 1).max() < 1e-5


def test_one_process_that_is_split_alone_gives_the_same_numbers(config, tmp_path):
    """The same code on one process, which also goes on with what was begun without it."""
    whole = train(config, tmp_path / "whole")
    begun = train(config, tmp_path / "split", watch=lambda report: report.step < 3)
    stopped = train(begun, watch=lambda report: report.step < 5, shard=True)
    assert sorted(path.name for path in (begun.path / "checkpoints").iterdir()) == [
        "step-000000004",
        "step-000000005",
    ]
    done = train(stopped)
    assert np.abs(losses(done) / losses(whole) - 1).max() < 1e-6
    assert not torch.distributed.is_initialized()


COMPILED = """
import sys, torch
from functools import partial
torch.compile = partial(torch.compile, backend="aot_eager")  # code itself would take minutes
from molnb import train
train(sys.argv[1], shard=True)
print(torch._dynamo.utils.counters["stats"]["unique_graphs"])
"""
# so fast that blocks which a new model leaves out are of use in the second step
COMPILED_RUN = {"steps": 2, "n_val": 0, "global_batch": 4, "learning_rate": 0.02, "warmup_steps": 0}


@pytest.mark.slow
@pytest.mark.parametrize("model", [STEADY, STEADY_GRAPH], ids=["two tracks", "graph"])
def test_parts_are_compiled_one_by_one(model, nci, tmp_path):
    """In a process of its own: checks of shapes, which tests put everywhere, cannot be compiled."""
    pytest.importorskip("torch_geometric")
    config = small_run(nci, model=replace(model, n_layer=5), objective=LABELS, **COMPILED_RUN)
    plain = train(config, tmp_path / "plain", shard=True)
    compiled = prepare_run(replace(config, compile=True), tmp_path / "compiled")
    command = [sys.executable, "-c", COMPILED, str(compiled.path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    # blocks share their code: of two tracks one graph for the last and one for all before it, at
    # each of two padded lengths at most
    assert 0 < int(done.stdout) <= 4
    for ours, theirs in zip(compiled.metrics("train"), plain.metrics("train"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert ours["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=1e-4)


def test_with_patience_the_best_weights_are_kept_whole(nci, tmp_path):
    settings = SETTINGS | {"steps": 12, "eval_every": 3, "patience": 2, "learning_rate": 0.5}
    runs = [
        train(small_run(nci, **settings), tmp_path / name, shard=shard)
        for name, shard in (("whole", False), ("split", True))
    ]
    steps = {run.status()["weights_step"] for run in runs}
    assert len(steps) == 1 and steps < set(range(10))  # the best are not the last
    assert distance(*runs) < 1e-4


@pytest.fixture
def begun(nci, tmp_path) -> Run:
    """A split run of four steps with two checkpoints, after 2 and 4."""
    settings = {"steps": 8, "checkpoint_every": 2, "eval_every": 8}
    return train(
        small_run(nci, **settings),
        tmp_path / "r",
        watch=lambda report: report.step < 4,
        shard=True,
    )


def test_a_damaged_part_is_passed_over(begun):
    folder = begun.path / "checkpoints"
    (part,) = (folder / "step-000000004").glob("*.safetensors")
    part.write_bytes(part.read_bytes()[:100])
    assert last_checkpoint(folder).step == 2
    assert train(begun, shard=True).state == "done"


def test_a_full_disk_is_one_clear_error_and_the_last_checkpoint_stays(begun, monkeypatch):
    from torch.distributed.checkpoint import HuggingFaceStorageWriter

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(HuggingFaceStorageWriter, "write_data", full)
    with pytest.raises(InputError, match="No space left.*free some space"):
        train(begun, shard=True)
    assert begun.state == "failed"
    folder = begun.path / "checkpoints"
    assert last_checkpoint(folder).step == 4
    monkeypatch.undo()
    assert (folder / "partial-step-000000006").exists()
    assert train(begun).state == "done"
    assert sorted(path.suffix for path in folder.iterdir()) == [".safetensors", ".safetensors"]


def test_weights_are_exported_as_one_file_that_every_run_has(begun):
    weights = load_file(begun.path / "weights.safetensors")
    parts = last_checkpoint(begun.path / "checkpoints").tensors
    assert all(weights[name].equal(parts["model." + name]) for name in weights)
    assert begun.load_model().state_dict().keys() == weights.keys()
    about = json.loads((begun.path / "checkpoints/step-000000004/checkpoint.json").read_text())
    assert about["step"] == "4" and int(about["flops"]) > 0


def test_nothing_that_could_run_code_is_kept(begun):
    """torch.distributed.checkpoint's own format is a pickle."""
    kinds = {file.suffix for file in (begun.path / "checkpoints").rglob("*") if file.is_file()}
    assert kinds == {".safetensors", ".json"}


def test_weights_of_another_shape_are_refused(begun):
    (file,) = (begun.path / "checkpoints/step-000000004").glob("*.safetensors")
    for path in (begun.path / "checkpoints").glob("step-*"):
        if path != file.parent:
            shutil.rmtree(path)
    tensors = last_checkpoint(begun.path / "checkpoints").tensors
    tensors["model.encoder.norm.weight"] = torch.ones(5)
    shutil.rmtree(file.parent)
    save_file(tensors, begun.path / "checkpoints/step-000000004.safetensors", {"step": "4"})
    with pytest.raises(InputError, match=r"encoder\.norm\.weight is \(5,\) there and \(32,\)"):
        train(begun, shard=True)


def test_an_encoder_without_parts_is_refused():
    encoder, heads = build_encoder(SMALL)
    model = Model(encoder, heads)
    model.encoder.parts = lambda: Encoder.parts(torch.nn.Linear(1, 1))
    with pytest.raises(InputError, match="name no parts that could be split"):
        shard_blocks(model, None)


def test_tasks_of_several_levels_need_a_torch_that_can_split_them(nci, tmp_path, monkeypatch):
    from torch.distributed.fsdp import FSDPModule

    monkeypatch.delattr(FSDPModule, "set_reduce_scatter_unused_params")
    with pytest.raises(InputError, match="install torch 2.13, or train without sharding"):
        train(small_run(nci, objective=LABELS), tmp_path / "labels", shard=True)
    # masked atoms and noise are of every group
    assert train(small_run(nci, steps=2, eval_every=2), tmp_path / "r", shard=True).state == "done"
