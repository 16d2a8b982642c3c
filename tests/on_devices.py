"""What tests need that run on the CPU here and, marked `gpu`, on a GPU where there is one."""

from __future__ import annotations

from contextlib import ExitStack
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from molnb.data.masked import MaskedBatch
from molnb.models.model import Model
from molnb.models.unimol2.encoder import TwoTrack
from molnb.models.unimol2.packing import padded_layout
from molnb.objectives.interface import Objective

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def shaken(model: Model) -> Model:
    """The model with no parameter at a special value: branches that start at zero say nothing."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.2
            parameter.add_(torch.randn_like(parameter), alpha=scale)
    return model


def padded_as_on_a_gpu() -> ExitStack:
    """A context in which the CPU pads a batch to one length of full eights, as a GPU does."""

    length_of_encoder = TwoTrack.padded_length

    def padded_length(self, longest, _device):
        return length_of_encoder(self, longest, torch.device("cuda"))

    def make_layout(self, inputs):
        real = torch.cat([torch.ones_like(inputs.real[:, :1]), inputs.real], 1)
        return padded_layout(real, self.config.conventions.length_norm == "padded")

    contexts = ExitStack()
    for method in (padded_length, make_layout):
        contexts.enter_context(patch.object(TwoTrack, method.__name__, method))
    return contexts


def terms_and_gradients(
    model: Model,
    objective: Objective,
    masked: MaskedBatch,
    device: str,
    narrow: bool = False,
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Each term of an objective and the gradient of their sum, on the CPU in float64.

    With `narrow` the forward pass, and it alone, is in bf16, as in training.
    """
    model = model.to(device).train()
    model.zero_grad(set_to_none=True)
    with torch.autocast(device, torch.bfloat16, enabled=narrow):
        terms = objective.loss_terms(model, masked.to(device))
    totals = {name: term.total for name, term in terms.items()}
    sum(total for total in totals.values() if total.requires_grad).backward()
    gradients = {
        name: parameter.grad.cpu().double()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return {name: float(total.detach()) for name, total in totals.items()}, gradients


def relative_error(gradients: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """The length of the difference of two gradients, all parameters together, over that of one."""
    assert gradients.keys() == exact.keys()
    difference = sum(float((gradients[name] - exact[name]).square().sum()) for name in exact)
    length = sum(float(gradient.square().sum()) for gradient in exact.values())
    return (difference / length) ** 0.5
