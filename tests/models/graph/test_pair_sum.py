"""Sums over eigenpairs are those of plain torch, and so are their gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from molnb.models.dropout import apply_dropout, drawing_from
from molnb.models.graph.pair_sum import sum_of_pairs


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_sums_and_gradients_are_those_of_plain_torch(dropout):
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randn(50, 8, 3, generator=generator)
    pairs[3:7, 5:] = 0
    weight = torch.randn(16, 3, generator=generator, requires_grad=True)
    gradient = torch.randn(50, 16, generator=generator)
    results = []
    for sums in (sum_of_pairs, plain):
        with drawing_from(1):
            summed = sums(pairs, weight, dropout)
        results.append((summed, *torch.autograd.grad(summed, weight, gradient)))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    with drawing_from(2):
        other = sum_of_pairs(pairs, weight, dropout)
    assert torch.equal(other, results[0][0]) is (dropout == 0)


def test_under_autocast_sums_are_of_float32_numbers():
    pairs = torch.randn(20, 8, 3)
    weight = torch.randn(16, 3, requires_grad=True)
    narrow = weight.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        summed = sum_of_pairs(pairs, weight, 0.0)
        from_narrow = sum_of_pairs(pairs, narrow, 0.0)
    assert summed.dtype == torch.float32
    assert torch.allclose(summed, plain(pairs, weight, 0.0), atol=1e-4)
    from_narrow.sum().backward()
    assert narrow.grad.dtype == torch.bfloat16


def plain(pairs: torch.Tensor, weight: torch.Tensor, dropout: float) -> torch.Tensor:
    return apply_dropout(F.relu(F.linear(pairs, weight)), dropout).sum(1)
