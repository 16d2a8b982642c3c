"""The steps that the updates of the tracks are made of, each with its gradient written out.

Plain functions of tensors: `f` gives the value and what its gradient needs, `f_backward` the
gradients. They overwrite what they are told to. Source: Uni-Mol2 (arXiv 2406.14969) section 3 and
its released code; after AlphaFold 2 (Jumper et al. 2021, supplement, algorithms 10 to 12).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ...shapes import Float
from .packing import Layout, SizeGroup

NORM_EPSILON = 1e-5


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.native_layer_norm(x, (x.shape[-1],), weight, bias, NORM_EPSILON)


def norm_backward(grad, x, stats, weight, bias) -> tuple[Tensor, Tensor, Tensor]:
    shape = (x.shape[-1],)
    return torch.ops.aten.native_layer_norm_backward(
        grad, x, shape, *stats, weight, bias, [True, True, True]
    )


def add_dropped(x: Tensor, update: Tensor, keep: Tensor | None, p: float) -> Tensor:
    """x + drop(update); overwrites `update`."""
    if keep is not None:
        update.mul_(keep.view(torch.uint8)).mul_(1 / (1 - p))
    return update.add_(x) if update.dtype == x.dtype else x + update


def through_dropout(grad: Tensor, keep: Tensor | None, p: float) -> Tensor:
    return grad if keep is None else (grad * keep.view(torch.uint8)).mul_(1 / (1 - p))


def joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


# ------------------------------------------------------------------------------------------------ transition


class TransitionWeights(NamedTuple):
    gain: Tensor
    shift: Tensor
    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor


def transition(x: Tensor, w: TransitionWeights) -> tuple[Tensor, Tensor, list[Tensor]]:
    """W₂ gelu(W₁ norm(x) + β₁) + β₂; also what GELU is applied to, and the statistics of the
    norm.
    """
    z, *stats = layer_norm(x, w.gain, w.shift)
    inner = F.linear(z.to(w.w1.dtype), w.w1, w.b1)
    del z
    return F.linear(F.gelu(inner), w.w2, w.b2), inner, stats


def transition_backward(d_update: Tensor, x: Tensor, inner: Tensor, stats, w: TransitionWeights):
    """Gradient of x without the residual, and of the weights."""
    d_w2, d_b2 = d_update.t() @ F.gelu(inner), d_update.sum(0)
    d_inner = torch.ops.aten.gelu_backward(d_update @ w.w2, inner)
    d_w1, d_b1 = d_inner.t() @ layer_norm(x, w.gain, w.shift)[0].to(d_inner.dtype), d_inner.sum(0)
    d_x, d_gain, d_shift = norm_backward((d_inner @ w.w1).to(x.dtype), x, stats, w.gain, w.shift)
    return d_x, (d_gain, d_shift, d_w1, d_b1, d_w2, d_b2)


def transition_weights(norm, layer) -> TransitionWeights:
    """The parameters of a `Transition` behind its norm."""
    first, second = layer.expand, layer.contract
    return TransitionWeights(
        norm.weight, norm.bias, first.weight, first.bias, second.weight, second.bias
    )


# ------------------------------------------------------------------------------------------------ outer product


def half_outer(
    right: Float[Tensor, "node h"], w: Float[Tensor, "d_pair h2"]
) -> Float[Tensor, "node d_pair_h"]:
    """Σ_d W_{p, cd} b_jd for each node j, `[node, (d_pair c)]`, with the weight as it is stored."""
    return right @ w.view(-1, right.shape[-1]).t()


def _columns(half: Tensor, run: SizeGroup, h: int) -> Float[Tensor, "m n_d_pair h"]:
    return half[run.nodes].view(run.m, -1, h)


def _run_products(
    layout: Layout, shape, rows: str, factors: Callable[[SizeGroup], tuple[Tensor, Tensor]]
) -> Tensor:
    """A matrix product for each molecule, all in one tensor; `rows` says which of its rows a run
    fills.
    """
    if len(layout.runs) == 1:
        return torch.bmm(*factors(layout.runs[0])).view(shape)
    found = None
    for run in layout.runs:
        a, b = factors(run)
        found = a.new_empty(shape) if found is None else found
        torch.bmm(a, b, out=found[getattr(run, rows)].view(run.m, a.shape[1], b.shape[2]))
    return found


def outer(
    half: Tensor, left: Tensor, bias: Tensor, scale: Tensor, layout: Layout
) -> Float[Tensor, "pair d_pair"]:
    """W vec(a_i ⊗ b_j) + scale·β with b already contracted with W (`_half`)."""
    h, d_pair = left.shape[-1], bias.shape[0]
    shape = (layout.n_pair, d_pair)
    update = _run_products(
        layout,
        shape,
        "pairs",
        lambda run: (left[run.nodes].view(run.m, run.n, h), _columns(half, run, h).mT),
    )
    for run, mols in layout.walk():
        update[run.pairs].view(run.m, -1, d_pair).add_(
            (scale[mols, None] * bias).to(update.dtype)[:, None]
        )
    return update


def outer_backward(d_update, half, left, right, w, scale, layout: Layout):
    """Gradients of left, right, W and β."""
    h, d_pair = left.shape[-1], d_update.shape[-1]

    def rows(run: SizeGroup) -> Float[Tensor, "m i j_d_pair"]:
        return d_update[run.pairs].view(run.m, run.n, -1)

    d_left = _run_products(
        layout, left.shape, "nodes", lambda run: (rows(run), _columns(half, run, h))
    )
    d_half = _run_products(
        layout,
        half.shape,
        "nodes",
        lambda run: (rows(run).mT, left[run.nodes].view(run.m, run.n, h)),
    )
    d_right = d_half @ w.view(-1, h)
    d_weight = (d_half.view(-1, d_pair * h).t() @ right).view(w.shape)
    totals = [
        d_update[run.pairs].view(run.m, -1, d_pair).sum(1).to(scale.dtype) for run in layout.runs
    ]
    return d_left, d_right, d_weight, (scale[:, None] * joined(totals)).sum(0)


# ------------------------------------------------------------------------------------------------ triangles


class TriangleWeights(NamedTuple):
    gain: Tensor
    shift: Tensor
    w_ab: Tensor  # values of a and b, then their gates
    b_ab: Tensor
    w_gate: Tensor
    b_gate: Tensor
    inner_gain: Tensor
    inner_shift: Tensor
    w_out: Tensor
    b_out: Tensor


def triangle_weights(norm, layer) -> TriangleWeights:
    """The parameters of a `TriangleUpdate` behind its norm, those that read the same input
    joined.
    """
    return TriangleWeights(
        norm.weight,
        norm.bias,
        torch.cat([layer.project.weight, layer.gate.weight]),
        torch.cat([layer.project.bias, layer.gate.bias]),
        layer.out_gate.weight,
        layer.out_gate.bias,
        layer.norm.weight,
        layer.norm.bias,
        layer.out.weight,
        layer.out.bias,
    )


def triangle(x: Tensor, w: TriangleWeights, layout: Layout) -> tuple[Tensor, ...]:
    """The values and gates of a and b `[4h, pair]`, the outer gate, y `[pair, h]`, and the
    statistics of the norm.
    """
    z, *stats = layer_norm(x, w.gain, w.shift)
    # channels first, as the sums over k want them; a product in that order takes longer than
    # turning it round
    joint = F.linear(z, w.w_ab, w.b_ab).t().contiguous()
    gate = F.linear(z, w.w_gate, w.b_gate)
    del z
    return joint, gate, _triangle_sums(_gated(joint, layout), layout), *stats


def triangle_backward(
    d_update, update, inner, inner_stats, x, joint, gate, y, stats, w: TriangleWeights, layout
):
    """Gradient of x without the residual, and of the weights; `update` is what `gate`
    multiplies, `inner` norm(y).
    """
    d_gate = update.mul_(d_update)
    d_update = d_update * gate
    d_w_out, d_b_out = d_update.t() @ inner, d_update.sum(0)
    d_y, d_inner_gain, d_inner_shift = norm_backward(
        d_update @ w.w_out, y, inner_stats, w.inner_gain, w.inner_shift
    )
    del d_update
    d_joint = _gated_backward(
        joint, _triangle_sums_backward(d_y, _gated(joint, layout), layout), layout
    )
    z = layer_norm(x, w.gain, w.shift)[0]
    d_w_ab, d_b_ab = d_joint @ z, d_joint.sum(1)
    d_w_gate, d_b_gate = d_gate.t() @ z, d_gate.sum(0)
    del z
    d_z = torch.addmm(d_joint.t() @ w.w_ab, d_gate, w.w_gate)
    d_x, d_gain, d_shift = norm_backward(d_z, x, stats, w.gain, w.shift)
    return d_x, (
        d_gain,
        d_shift,
        d_w_ab,
        d_b_ab,
        d_w_gate,
        d_b_gate,
        d_inner_gain,
        d_inner_shift,
        d_w_out,
        d_b_out,
    )


def _gated(joint: Float[Tensor, "h4 pair"], layout: Layout) -> Float[Tensor, "h2 pair"]:
    """a and b of the triangle sums: value times sigmoid of its gate; zero on padded pairs."""
    value, gate = joint.chunk(2)
    ab = value * torch.sigmoid(gate)
    return ab if layout.real_pairs is None else ab * layout.real_pairs


def _gated_backward(joint, d_ab, layout: Layout) -> Float[Tensor, "h4 pair"]:
    value, gate = joint.chunk(2)
    if layout.real_pairs is not None:
        d_ab = d_ab * layout.real_pairs
    gate = torch.sigmoid(gate)
    d_value = d_ab * gate
    return torch.cat([d_value, d_value * value * (1 - gate)])


def _squares(channels: Float[Tensor, "h pair"], run: SizeGroup) -> Float[Tensor, "hm n n"]:
    return channels[:, run.pairs].reshape(-1, run.n, run.n)


def _triangle_sums(ab: Float[Tensor, "h2 pair"], layout: Layout) -> Float[Tensor, "pair h"]:
    """y_ij = (Σ_k a_ik b_jk + Σ_k a_ki b_kj) / N: both directions, molecule by molecule."""
    found = []
    for run, mols in layout.walk():
        a, b = (_squares(half, run) for half in ab.chunk(2))
        y = torch.bmm(a.mT, b).baddbmm_(a, b.mT).view(-1, run.m, run.n * run.n)
        found.append(y.div_(layout.length[mols, None].to(y.dtype)).flatten(1).t())
    return joined(found).contiguous()


def _triangle_sums_backward(
    d_y: Float[Tensor, "pair h"], ab, layout: Layout
) -> Float[Tensor, "h2 pair"]:
    channels, d_ab = d_y.t().contiguous(), torch.empty_like(ab)
    of_a, of_b = d_ab.chunk(2)
    for run, mols in layout.walk():
        a, b = (_squares(half, run) for half in ab.chunk(2))
        d = channels[:, run.pairs].unflatten(1, (run.m, -1)) / layout.length[mols, None].to(
            d_y.dtype
        )
        d = d.reshape(-1, run.n, run.n)
        of_a[:, run.pairs] = torch.bmm(b, d.mT).baddbmm_(d, b).view(len(of_a), -1)
        of_b[:, run.pairs] = torch.bmm(a, d).baddbmm_(d.mT, a).view(len(of_b), -1)
    return d_ab


def drop_rows(update: Float[Tensor, "pair d_pair"], keep: list[Tensor], layout: Layout) -> Tensor:
    """Row-wise dropout of AlphaFold 2, one mask for all i of a molecule; overwrites `update`."""
    for run, mask in zip(layout.runs, keep):
        update[run.pairs].view(run.m, run.n, run.n, -1).mul_(mask.view(torch.uint8))
    return update
