"""The compiled encoder, whole or block by block: the same numbers, new code for a new length only.

Runs in a process of its own, since the checks of shapes that tests put around every function
cannot be compiled.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
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


def make_model() -> Model:
    torch.manual_seed(0)
    model = Model(*make_two_track(CONFIG))
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


def compare(whole: bool) -> tuple[int, int]:
    """Assert that both give the same, as a `whole` on batches of two lengths and else of one.

    Returns how often code was made for the encoder, whole or block by block, and for the movement
    head.
    """
    plain = make_model()
    compiled = make_model()
    encoder_counter = CompileCounterWithBackend("aot_eager")
    movement_counter = CompileCounterWithBackend("aot_eager")
    if whole:
        compiled.encoder.fuse(backend=encoder_counter)
        compiled.heads["movement"].fuse(backend=movement_counter)
    else:
        compiled.encoder.fuse_parts(backend=encoder_counter)
    batches = [SHORT[:3], SHORT, SHORT[1:]]
    for smiles in [*batches, LONG, LONG[:2]] if whole else batches:
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
    n_compiled = (encoder_counter.frame_count, movement_counter.frame_count)
    compiled.train()  # with dropout
    losses, _ = losses_and_gradients(compiled, [featurize(s) for s in SHORT])
    assert all(math.isfinite(loss) for loss in losses.values())
    return n_compiled


# lengths 7 and 15, whatever the number of molecules and of blocks
@pytest.mark.parametrize(("how", "n_compiled"), [("whole", "2 2"), ("by blocks", "1 0")])
def test_compiled_and_plain_give_the_same_losses_and_gradients_in_one_graph_a_length(
    how, n_compiled
):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.run(
        [sys.executable, __file__, how], capture_output=True, text=True, env=environment
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout.strip() == n_compiled


if __name__ == "__main__":
    print(*compare(sys.argv[1] == "whole"))
