"""Do the CPU and the device compute the same? Both against float64 on the CPU.

Two models, the tiny one of the presets and two layers as wide as 84M, with random weights at which
no branch is zero, dropout off, on eight molecules of all sizes. Compared are each term of the loss,
the gradients, and the vectors of molecules, atoms and pairs in evaluation mode, all in float32 with
TF32 off. On a CPU the device's side is the same code in the layout of a GPU: one group, padded to
full eights of nodes, which shares neither sizes nor sums with the packed groups of the other side.

Limits: a term 1e-5 of itself, vectors 1e-4 of their length, gradients 1e-4 of theirs, all
parameters together; of one parameter 1e-3 of its gradient, or of a thousandth of the whole where
that is longer, for some are sums that all but cancel. Measured between packed and padded groups on
a CPU: 5e-7, 1e-6, 2e-6 and 7e-6. TF32 has an eighth of the error of bf16, whose gradients are off
by 2e-2; a wrong mask or divisor is far above that. bf16 is told and not judged, but is finite.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from gpu_setting import Setting
from torch import Tensor

from molnb.data.dataset import Corpus
from molnb.data.masked import MaskedBatch
from molnb.models.model import Model
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.models.unimol2.encoder import make_two_track
from molnb.models.unimol2.packing import padded_layout
from molnb.models.unimol2.sizes import PAPER
from molnb.objectives.pretraining import Pretrain
from molnb.training.presets import TINY

N_MOL = 8
LIMITS = {"terms": 1e-5, "vectors": 1e-4, "gradients": 1e-4, "worst_parameter": 1e-3}
SHARE_OF_WHOLE = 1e-3
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "pair_dropout": 0.0}
MODELS = {
    "tiny": replace(TINY, **NO_DROPOUT),
    "two layers of 84M": replace(PAPER["84m"], n_layer=2, **NO_DROPOUT),
}
OBJECTIVE = Pretrain()


class Answers(NamedTuple):
    """What a model gives for a batch, on the CPU in float64."""

    terms: dict[str, float]
    gradients: dict[str, Tensor]
    vectors: dict[str, Tensor]


def agree(setting: Setting) -> dict[str, Any]:
    """Errors of the CPU and of the device in float32, by model; `ok` if all keep the limits."""
    torch.set_float32_matmul_precision("highest")
    masked = make_batch(setting)
    models = {name: compare(config, masked, setting) for name, config in MODELS.items()}
    sides = [errors for sides in models.values() for errors in (sides["cpu"], sides["device"])]
    worst = {name: max(errors[name] for errors in sides) for name in LIMITS}
    finite = all(sides["bfloat16_finite"] for sides in models.values())
    shares = ", ".join(f"{name} {worst[name]:.0e} of {LIMITS[name]:.0e}" for name in LIMITS)
    narrow = max(sides["bfloat16"]["gradients"] for sides in models.values())
    return {
        "ok": finite and all(worst[name] <= limit for name, limit in LIMITS.items()),
        "line": f"float32, largest relative error: {shares}; bf16 gradients {narrow:.0e}",
        "limits": LIMITS,
        "models": models,
    }


def make_batch(setting: Setting) -> MaskedBatch:
    """Eight molecules, from the smallest to the largest of the data but for a twentieth of them."""
    corpus = Corpus([setting.data])
    by_size = np.argsort(corpus.n_atoms, kind="stable")
    ranks = np.linspace(0, 0.95, N_MOL) * (corpus.n - 1)
    return OBJECTIVE.corrupt(corpus.batch(by_size[ranks.astype(int)]), 0, 0)


def compare(config: TwoTrackConfig, masked: MaskedBatch, setting: Setting) -> dict[str, Any]:
    """Errors of the CPU, of the device, of both from each other, and of bf16 on the device."""
    exact = answers(make_model(config).double(), masked, torch.device("cpu"))
    cpu = answers(make_model(config), masked, torch.device("cpu"))
    device = answers(as_on_a_gpu(make_model(config)), masked, setting.device)
    narrow = answers(as_on_a_gpu(make_model(config)), masked, setting.device, narrow=True)
    return {
        "cpu": errors(cpu, exact),
        "device": errors(device, exact),
        "device_from_cpu": errors(device, cpu),
        "bfloat16": errors(narrow, exact),
        "bfloat16_finite": all(bool(values.isfinite().all()) for values in _tensors(narrow)),
    }


def _tensors(answer: Answers) -> list[Tensor]:
    return [*answer.gradients.values(), *answer.vectors.values()]


def make_model(config: TwoTrackConfig) -> Model:
    """A model whose weights are all random: branches that start at zero would hide what follows."""
    torch.manual_seed(0)
    model = Model(*make_two_track(config))
    model.heads["movement"].dropout = 0.0  # which no configuration says
    with torch.no_grad():
        for parameter in model.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.1
            parameter.add_(torch.randn_like(parameter), alpha=scale)
    return model


def as_on_a_gpu(model: Model) -> Model:
    """The model made to lay batches out as on a GPU, wherever it computes."""
    encoder = model.encoder
    length_of_encoder = encoder.padded_length

    def padded_length(longest, _device):
        return length_of_encoder(longest, torch.device("cuda"))

    def make_layout(inputs):
        real = torch.cat([torch.ones_like(inputs.real[:, :1]), inputs.real], 1)
        return padded_layout(real, encoder.config.conventions.length_norm == "padded")

    encoder.padded_length = padded_length
    encoder.make_layout = make_layout
    return model


def answers(
    model: Model, masked: MaskedBatch, device: torch.device, narrow: bool = False
) -> Answers:
    """Terms, gradients of their sum, and vectors; with `narrow` forward passes are in bf16."""
    model = model.to(device).train()
    masked = masked.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=narrow):
        totals = {name: term.total for name, term in OBJECTIVE.loss_terms(model, masked).items()}
    sum(total for total in totals.values() if total.requires_grad).backward()
    gradients = {
        name: parameter.grad.cpu().double()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=narrow):
        encoding = model.eval()(masked.batch).encoding
    every_atom = torch.arange(len(masked.batch.numbers), device=device)
    every_mol = torch.arange(masked.batch.n_mol, device=device)
    first_pair = torch.stack([every_mol, 0 * every_mol, 0 * every_mol], 1)  # all have an atom
    index = {"molecule": every_mol, "atom": every_atom, "pair": first_pair}
    vectors = {level: encoding.rows(level, rows).cpu().double() for level, rows in index.items()}
    terms = {name: float(total.detach()) for name, total in totals.items()}
    return Answers(terms, gradients, vectors)


def errors(answer: Answers, exact: Answers) -> dict[str, Any]:
    """Relative errors: the worst term, the worst level of vectors, all gradients, the worst one."""
    if answer.gradients.keys() != exact.gradients.keys():
        names = sorted(answer.gradients.keys() ^ exact.gradients.keys())
        raise ValueError(f"gradients on one side only: {', '.join(names)}")
    lengths = {name: float(gradient.norm()) for name, gradient in exact.gradients.items()}
    off = {name: float((answer.gradients[name] - exact.gradients[name]).norm()) for name in lengths}
    whole = float(np.linalg.norm(list(lengths.values())))
    shares = {name: off[name] / max(lengths[name], SHARE_OF_WHOLE * whole) for name in off}
    worst = max(shares, key=shares.get)
    return {
        "terms": max(
            abs(answer.terms[name] - value) / max(abs(value), 1.0)
            for name, value in exact.terms.items()
        ),
        "vectors": max(
            float((answer.vectors[level] - values).norm() / values.norm())
            for level, values in exact.vectors.items()
        ),
        "gradients": float(np.linalg.norm(list(off.values()))) / whole,
        "worst_parameter": shares[worst],
        "worst_name": worst,
    }
