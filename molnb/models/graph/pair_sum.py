"""Sums over the eigenpairs of an atom behind a linear layer, ReLU and dropout, and their gradient.

There are eight pairs an atom and 64 numbers a pair, so most of what the network in front of the
layers computes is this. On the CPU one array is kept of it, written in place: a number of it is
above zero exactly where the gradient passes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...shapes import Float
from ..dropout import apply_dropout, keep_factors


def sum_of_pairs(
    pairs: Float[Tensor, "atom pair number"],
    weight: Float[Tensor, "d number"],
    dropout: float,
) -> Float[Tensor, "atom d"]:
    """relu(weight x) of each pair, entries dropped and the others scaled up, added up over pairs.

    Pairs are data and get no gradient.
    """
    if pairs.device.type != "cpu" or torch.compiler.is_compiling():
        return apply_dropout(F.relu(F.linear(pairs, weight)), dropout).sum(1)
    summed: Tensor = _SumOfPairs.apply(pairs, weight, dropout)
    return summed


class _SumOfPairs(torch.autograd.Function):
    """`sum_of_pairs` on the CPU, in float32 whatever autocast says."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, pairs: Tensor, weight: Tensor, dropout: float) -> Tensor:
        kept = F.linear(pairs, weight).relu_()  # atom pair d
        if dropout:
            kept.mul_(keep_factors(kept.shape, dropout, kept.dtype))
        ctx.save_for_backward(pairs, kept)
        ctx.scale = 1 / (1 - dropout)
        return kept.sum(1).mul_(ctx.scale)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, gradient: Tensor) -> tuple[None, Tensor, None]:
        pairs, kept = ctx.saved_tensors
        passed = kept.sign().mul_((gradient * ctx.scale)[:, None])
        n_number = pairs.shape[-1]
        return None, passed.flatten(0, 1).T @ pairs.reshape(-1, n_number), None
