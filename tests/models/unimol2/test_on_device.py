"""What one device computes another computes: losses, gradients, vectors, compiled code."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_shards import make_shards
from on_devices import (
    DEVICES,
    padded_as_on_a_gpu,
    relative_error,
    shaken,
    terms_and_gradients,
)
from tiny import STEADY

from molnb.data.dataset import Corpus
from molnb.data.masked import MaskedBatch
from molnb.models.model import Model
from molnb.models.unimol2 import pair_ops
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.models.unimol2.encoder import make_two_track
from molnb.objectives.pretraining import Pretrain

OBJECTIVE = Pretrain(mask_share=0.4)


def make_model(config: TwoTrackConfig = STEADY) -> Model:
    torch.manual_seed(0)
    model = shaken(Model(*make_two_track(config)))
    model.heads["movement"].dropout = 0.0  # which no configuration says
    return model


def make_masked(folder: Path, n_mol: int = 12) -> MaskedBatch:
    corpus = Corpus([make_shards(folder)])
    return OBJECTIVE.corrupt(corpus.batch(np.arange(n_mol)), 0, 0)


@pytest.mark.parametrize("device", DEVICES)
def test_losses_and_gradients_in_float32_are_those_of_float64_on_the_cpu(device, tmp_path):
    """On the CPU in the layout of a GPU, so that the same code is compared as there."""
    masked = make_masked(tmp_path)
    exact, exact_gradients = terms_and_gradients(make_model().double(), OBJECTIVE, masked, "cpu")
    with padded_as_on_a_gpu() if device == "cpu" else nullcontext():
        terms, gradients = terms_and_gradients(make_model(), OBJECTIVE, masked, device)
    assert terms == pytest.approx(exact, rel=1e-5)
    assert relative_error(gradients, exact_gradients) < 1e-4


def test_a_wrong_normalisation_of_the_padded_layout_would_be_seen(tmp_path):
    """Dividing by the padded length and not by a molecule's own, which the above compares."""
    masked = make_masked(tmp_path)
    _, exact = terms_and_gradients(make_model().double(), OBJECTIVE, masked, "cpu")
    conventions = replace(STEADY.conventions, length_norm="padded")
    spoilt = make_model(replace(STEADY, conventions=conventions))
    _, gradients = terms_and_gradients(spoilt, OBJECTIVE, masked, "cpu")
    assert relative_error(gradients, exact) > 1e-3


@pytest.mark.parametrize("device", DEVICES)
def test_in_bfloat16_gradients_stay_near_those_of_float32(device, tmp_path):
    masked = make_masked(tmp_path)
    _, exact = terms_and_gradients(make_model(), OBJECTIVE, masked, "cpu")
    with padded_as_on_a_gpu() if device == "cpu" else nullcontext():
        _, gradients = terms_and_gradients(make_model(), OBJECTIVE, masked, device, narrow=True)
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert relative_error(gradients, exact) < 0.1


@pytest.mark.parametrize("device", DEVICES)
def test_vectors_of_every_level_are_those_of_the_cpu(device, tmp_path):
    masked = make_masked(tmp_path)
    model = make_model().eval()
    with torch.no_grad():
        encoding = model(masked.batch).encoding
        with padded_as_on_a_gpu() if device == "cpu" else nullcontext():
            moved = model.to(device)(masked.batch.to(device)).encoding
    index = {
        "molecule": torch.tensor([0, 5]),
        "atom": torch.tensor([0, 7, 20]),
        "bond": torch.tensor([1, 6]),
        "pair": torch.tensor([[0, 0, 1], [4, 2, 0]]),
    }
    for level, rows in index.items():
        vectors = encoding.rows(level, rows)
        others = moved.rows(level, rows.to(device)).cpu()
        assert torch.allclose(vectors, others, rtol=1e-4, atol=1e-4), level


@pytest.mark.parametrize("device", DEVICES)
def test_norms_of_the_pair_track_are_not_widened_by_autocast(device, tmp_path, monkeypatch):
    """On a GPU autocast makes every norm float32; the track's own are as narrow as the track."""
    widths = []

    def watched(x, *weights):
        widths.append((x.dtype, torch.is_autocast_enabled(x.device.type)))
        return pair_norm(x, *weights)

    pair_norm = pair_ops.layer_norm
    monkeypatch.setattr(pair_ops, "layer_norm", watched)
    masked = make_masked(tmp_path)
    model = make_model().to(device)
    with torch.autocast(device, torch.bfloat16):
        model(masked.to(device))
    narrow = [widened for dtype, widened in widths if dtype == torch.bfloat16]
    assert len(narrow) >= 3 and not any(narrow)


# ---------------------------------------------------------------------------------------- compiled

# Checks of shapes, which tests put around every function, cannot be compiled: a process of its own.


def compare_compiled(folder: Path, device: str) -> dict[str, float]:
    """How far the compiled model's losses and gradients are from the plain one's."""
    masked = make_masked(folder)
    config = replace(STEADY, n_layer=1)  # compiling takes as long as there are layers
    compiled = make_model(config).to(device)
    backend = {} if device == "cuda" else {"backend": "aot_eager"}
    compiled.encoder.fuse(**backend)
    compiled.heads["movement"].fuse(**backend)
    plain_terms, plain_gradients = terms_and_gradients(
        make_model(config), OBJECTIVE, masked, device
    )
    terms, gradients = terms_and_gradients(compiled, OBJECTIVE, masked, device)
    term = max(abs(terms[name] - plain) / max(plain, 1) for name, plain in plain_terms.items())
    errors = {"term": term, "gradient": relative_error(gradients, plain_gradients)}
    if device == "cpu":  # on a GPU other code would be made, in another half minute
        _, narrow = terms_and_gradients(compiled, OBJECTIVE, masked, device, narrow=True)
        errors["bfloat16"] = relative_error(narrow, plain_gradients)
    return errors


# on a CPU test_compile shows the same of float32 in every run of tests
COMPILED = [
    pytest.param("cpu", marks=pytest.mark.slow),
    pytest.param("cuda", marks=pytest.mark.gpu),
]


@pytest.mark.parametrize("device", COMPILED)
def test_compiled_code_gives_the_losses_and_gradients_of_plain_code(device, tmp_path):
    root = Path(__file__).parents[3]
    paths = os.pathsep.join([str(root), str(root / "tests")])
    process = subprocess.run(
        [sys.executable, __file__, str(tmp_path / "shards"), device],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert process.returncode == 0, process.stderr[-3000:]
    errors = json.loads(process.stdout.splitlines()[-1])
    assert all(math.isfinite(error) for error in errors.values())
    assert errors["term"] < 1e-4 and errors["gradient"] < 1e-4
    assert 0 < errors.get("bfloat16", 0.1) < 0.2


if __name__ == "__main__":
    print(json.dumps(compare_compiled(Path(sys.argv[1]), *sys.argv[2:])))
