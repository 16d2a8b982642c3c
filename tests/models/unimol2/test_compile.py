"""The compiled encoder: one graph, the same numbers, new code for a new length only.

Runs in a process of its own: the checks of shapes that tests put around every function cannot be
compiled.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch._dynamo.testing import CompileCounterWithBackend

from molnb.inference.featurizer import featurize, flat_batch
from molnb.models.model import Model
from molnb.models.unimol2.config import MOLNB, TwoTrackConfig
from molnb.models.unimol2.encoder import TwoTrack
from molnb.objectives.pretraining import Pretrain

CONFIG = TwoTrackConfig(
    2, d_atom=32, n_head=2, d_ffn=32, d_pair=16, d_hidden=4, n_kernel=16, conventions=MOLNB
)
SHORT = ["CCO", "CC(=O)N", "c1ccncc1", "CCN", "CC#N"]
LONG = ["CC(=O)Oc1ccccc1C(=O)O", "CN1CCC[C@H]1c1cccnc1", "Cn1cnc2c1c(=O)n(C)c(=O)n2C"]


def make_model() -> Model:
    torch.manual_seed(0)
    model = Model(TwoTrack(CONFIG), Pretrain())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def losses_and_gradients(model: Model, molecules) -> tuple[dict, dict]:
    question = Pretrain(mask_share=0.4).ask(flat_batch(molecules, hydrogens=False), 0, 0)
    model.zero_grad(set_to_none=True)
    terms = {name: term.total for name, term in Pretrain().terms(model, question).items()}
    sum(v for v in terms.values() if v.requires_grad).backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: float(v.detach()) for name, v in terms.items()}, found


def compare() -> int:
    """Assert that both give the same on batches of two lengths; returns how often code was made."""
    plain, compiled = make_model(), make_model()
    counter = CompileCounterWithBackend("aot_eager")
    compiled.encoder.compile(backend=counter, fullgraph=True)
    for smiles in (SHORT[:3], SHORT, SHORT[1:], LONG, LONG[:2]):
        molecules = [featurize(s) for s in smiles]
        (ours, ours_grad), (theirs, theirs_grad) = (
            losses_and_gradients(m, molecules) for m in (compiled, plain)
        )
        for name, value in theirs.items():
            assert abs(ours[name] - value) <= 1e-4 * abs(value), (name, ours[name], value)
        largest = max(float(g.abs().max()) for g in theirs_grad.values())
        for name, gradient in theirs_grad.items():
            assert torch.allclose(ours_grad[name], gradient, rtol=1e-3, atol=1e-5 * largest), name
    lengths = counter.frame_count
    losses, _ = losses_and_gradients(
        compiled.train(), [featurize(s) for s in SHORT]
    )  # with dropout
    assert all(math.isfinite(v) for v in losses.values())
    return lengths


def test_compiled_and_plain_give_the_same_losses_and_gradients_in_one_graph_a_length():
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # lengths 7 and 15, whatever the number of molecules
    assert int(done.stdout) == 2


if __name__ == "__main__":
    print(compare())
