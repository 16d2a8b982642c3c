"""The compiled encoder and movement head: the same numbers, new code for a new length only.

Runs in a process of its own, since the checks of shapes that tests put around every function
cannot be compiled.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from molnb.inference.featurizer import featurize, flat_batch
from molnb.models.model import Model
from molnb.models.unimol2.config import MOLNB, TwoTrackConfig
from molnb.models.unimol2.encoder import make_two_track
from molnb.objectives.pretraining import Pretrain

CONFIG = TwoTrackConfig(
    n_layer=2, d_atom=32, n_head=2, d_ffn=32, d_pair=16, d_hidden=4, n_kernel=16, conventions=MOLNB
)
SHORT = ["CCO", "CC(=O)N", "c1ccncc1", "CCN", "CC#N"]
LONG = ["CC(=O)Oc1ccccc1C(=O)O", "CN1CCC[C@H]1c1cccnc1", "Cn1cnc2c1c(=O)n(C)c(=O)n2C"]


def make_model(n_layer: int) -> Model:
    torch.manual_seed(0)
    model = Model(*make_two_track(replace(CONFIG, n_layer=n_layer)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def losses_and_gradients(model: Model, molecules) -> tuple[dict, dict]:
    batch = Pretrain(mask_share=0.4).corrupt(flat_batch(molecules, hydrogens=False), 0, 0)
    model.zero_grad(set_to_none=True)
    totals = {name: term.total for name, term in Pretrain().loss_terms(model, batch).items()}
    sum(total for total in totals.values() if total.requires_grad).backward()
    losses = {name: float(total.detach()) for name, total in totals.items()}
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return losses, gradients


def fuse(model: Model) -> list[CompileCounterWithBackend]:
    """Compile a model's blocks and movement head; returns what counts how often code is made."""
    encoder = CompileCounterWithBackend("aot_eager")
    movement = CompileCounterWithBackend("aot_eager")
    model.encoder.fuse(backend=encoder)
    model.heads["movement"].fuse(backend=movement)
    return [encoder, movement]


def compare() -> list[int]:
    """Assert that both give the same; returns how often code was made for batches of one length."""
    plain = make_model(n_layer=2)
    compiled = make_model(n_layer=2)
    counters = fuse(compiled)
    for smiles in (SHORT[:3], SHORT, SHORT[1:]):
        molecules = [featurize(s) for s in smiles]
        compiled_losses, compiled_gradients = losses_and_gradients(compiled, molecules)
        plain_losses, plain_gradients = losses_and_gradients(plain, molecules)
        for name, loss in plain_losses.items():
            difference = abs(compiled_losses[name] - loss)
            assert difference <= 1e-4 * abs(loss), (name, compiled_losses[name], loss)
        largest = max(float(gradient.abs().max()) for gradient in plain_gradients.values())
        for name, gradient in plain_gradients.items():
            close = torch.allclose(
                compiled_gradients[name], gradient, rtol=1e-3, atol=1e-5 * largest
            )
            assert close, name
    return [counter.frame_count for counter in counters]


def train_at_two_lengths() -> list[int]:
    """Assert that losses with dropout are finite; returns how often code was made.

    Of one layer, too.
    """
    compiled = make_model(1).train()
    counters = fuse(compiled)
    for smiles in (SHORT[:3], SHORT, LONG, LONG[:2]):
        losses, _ = losses_and_gradients(compiled, [featurize(s) for s in smiles])
        assert all(math.isfinite(loss) for loss in losses.values())
    return [counter.frame_count for counter in counters]


# of a block and of the movement head, whatever the number of molecules and of blocks
CODES = [("one length", "1 1"), pytest.param("two lengths", "2 2", marks=pytest.mark.slow)]


@pytest.mark.parametrize(("lengths", "n_compiled"), CODES)
def test_compiled_and_plain_give_the_same_losses_and_gradients_in_one_graph_a_length(
    lengths, n_compiled
):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.run(
        [sys.executable, __file__, lengths], capture_output=True, text=True, env=environment
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout.strip() == n_compiled


if __name__ == "__main__":
    print(*(train_at_two_lengths() if sys.argv[1] == "two lengths" else compare()))
