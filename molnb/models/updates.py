"""The updates of the tracks, each one exact step from x to x + drop(update) that keeps little for backward.

What a matrix product of full width produced is kept; elementwise work (norms, GELU, sigmoid, masks applied), residual
sums and products of small width are done again in the backward pass. For 512 channels that leaves about 8 kB a pair and
layer, where plain autograd keeps 25, for a thirtieth more multiplications.

Gradients are written out by hand and held against automatic differentiation of the plain equations in the tests.
Source: Uni-Mol2 (arXiv 2406.14969) section 3 and its released code; after AlphaFold 2 (Jumper et al. 2021, supplement,
algorithms 10 to 12).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..shapes import Bool, Float
from .layout import Layout, Run

NORM_EPSILON = 1e-5


def keep_mask(shape: tuple[int, ...], p: float, device: torch.device) -> Bool[Tensor, "*shape"]:
    """True with probability 1 - p, from torch's global generator; p is met to 1/65536.

    On the CPU four draws are taken from each 64-bit number, a quarter of the time of torch's own dropout.
    """
    if device.type != "cpu":
        return torch.rand(shape, device=device) >= p
    count = torch.Size(shape).numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), 2**63 - 1)
    return (bits.view(torch.int16)[:count] >= round(p * 65536) - 32768).view(shape)


def joint_product(x: Float[Tensor, "node d"], *weights: Float[Tensor, "_ d"]) -> Float[Tensor, "node columns"]:
    """x times several matrices that read the same input, as one product; the joined matrix is not kept."""
    return _JointProduct.apply(x, *weights)


class _JointProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, *weights):
        if torch.is_autocast_enabled(x.device.type):
            kind = torch.get_autocast_dtype(x.device.type)
            x, weights = x.to(kind), [w.to(kind) for w in weights]
        ctx.save_for_backward(x, *weights)
        return x @ torch.cat(list(weights)).t()

    @staticmethod
    def backward(ctx, grad):
        x, *weights = ctx.saved_tensors
        d_weights = (grad.t() @ x).split([len(w) for w in weights])
        return grad @ torch.cat(weights), *d_weights


# ------------------------------------------------------------------------------------------------ small steps


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.native_layer_norm(x, (x.shape[-1],), weight, bias, NORM_EPSILON)


def _norm_backward(grad, x, stats, weight, bias) -> tuple[Tensor, Tensor, Tensor]:
    shape = (x.shape[-1],)
    return torch.ops.aten.native_layer_norm_backward(grad, x, shape, *stats, weight, bias, [True, True, True])


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if x.device.type != "cpu":
        return torch.addmm(bias, x, weight.t())
    return torch.mm(x, weight.t()).add_(bias)  # on a CPU addmm first copies the bias to every row: a tenth slower


def _add_dropped(x: Tensor, update: Tensor, keep: Tensor | None, p: float) -> Tensor:
    """x + drop(update); overwrites `update`."""
    if keep is not None:
        update.mul_(keep.view(torch.uint8)).mul_(1 / (1 - p))
    return update.add_(x)


def _through_dropout(grad: Tensor, keep: Tensor | None, p: float) -> Tensor:
    return grad if keep is None else (grad * keep.view(torch.uint8)).mul_(1 / (1 - p))


def _joined(parts: list[Tensor], dim: int = 0) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


# ------------------------------------------------------------------------------------------------ transition


class TransitionWeights(NamedTuple):
    gain: Tensor
    shift: Tensor
    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor


def _transition(x: Tensor, w: TransitionWeights) -> tuple[Tensor, Tensor, list[Tensor]]:
    """W₂ gelu(W₁ norm(x) + β₁) + β₂; also what GELU is applied to, and the statistics of the norm."""
    z, *stats = _norm(x, w.gain, w.shift)
    inner = _linear(z, w.w1, w.b1)
    del z
    return _linear(F.gelu(inner), w.w2, w.b2), inner, stats


def _transition_backward(d_update: Tensor, x: Tensor, inner: Tensor, stats, w: TransitionWeights):
    """Gradient of x without the residual, and of the weights."""
    d_w2, d_b2 = d_update.t() @ F.gelu(inner), d_update.sum(0)
    d_inner = torch.ops.aten.gelu_backward(d_update @ w.w2, inner)
    d_w1, d_b1 = d_inner.t() @ _norm(x, w.gain, w.shift)[0], d_inner.sum(0)
    d_x, d_gain, d_shift = _norm_backward(d_inner @ w.w1, x, stats, w.gain, w.shift)
    return d_x, (d_gain, d_shift, d_w1, d_b1, d_w2, d_b2)


class _TransitionUpdate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, p, *weights):
        w = TransitionWeights(*(t.to(x.dtype) for t in weights))
        update, inner, stats = _transition(x, w)
        keep = keep_mask(update.shape, p, x.device) if p else None
        ctx.save_for_backward(x, inner, *stats, keep, *w)
        ctx.p = p
        return _add_dropped(x, update, keep, p)

    @staticmethod
    def backward(ctx, grad):
        x, inner, mean, rstd, keep, *weights = ctx.saved_tensors
        d_update = _through_dropout(grad, keep, ctx.p)
        d_x, d_weights = _transition_backward(d_update, x, inner, (mean, rstd), TransitionWeights(*weights))
        return d_x.add_(grad), None, *d_weights


def transition_weights(norm, layer) -> TransitionWeights:
    """The parameters of a `Transition` behind its norm."""
    first, second = layer.expand, layer.contract
    return TransitionWeights(norm.weight, norm.bias, first.weight, first.bias, second.weight, second.bias)


def transition_update(x: Float[Tensor, "rows d"], norm, layer, p: float) -> Float[Tensor, "rows d"]:
    """x + drop(W₂ gelu(W₁ norm(x) + β₁) + β₂), for the atom track."""
    return _TransitionUpdate.apply(x, p, *transition_weights(norm, layer))


# ------------------------------------------------------------------------------------------------ outer product


def _half(right: Float[Tensor, "node h"], w: Float[Tensor, "d_pair h2"]) -> Float[Tensor, "node d_pair_h"]:
    """Σ_d W_{p, cd} b_jd for each node j, `[node, (d_pair c)]`, with the weight as it is stored."""
    return right @ w.view(-1, right.shape[-1]).t()


def _columns(half: Tensor, run: Run, h: int) -> Float[Tensor, "m n_d_pair h"]:
    return half[run.nodes].view(run.m, -1, h)


def _run_products(layout: Layout, shape, rows: str, factors: Callable[[Run], tuple[Tensor, Tensor]]) -> Tensor:
    """A matrix product for each molecule, all in one tensor; `rows` says which of its rows a run fills."""
    if len(layout.runs) == 1:
        return torch.bmm(*factors(layout.runs[0])).view(shape)
    found = None
    for run in layout.runs:
        a, b = factors(run)
        found = a.new_empty(shape) if found is None else found
        torch.bmm(a, b, out=found[getattr(run, rows)].view(run.m, a.shape[1], b.shape[2]))
    return found


def _outer(half: Tensor, left: Tensor, bias: Tensor, scale: Tensor, layout: Layout) -> Float[Tensor, "pair d_pair"]:
    """W vec(a_i ⊗ b_j) + scale·β with b already contracted with W (`_half`)."""
    h, d_pair = left.shape[-1], bias.shape[0]
    shape = (layout.n_pair, d_pair)
    update = _run_products(
        layout, shape, "pairs", lambda run: (left[run.nodes].view(run.m, run.n, h), _columns(half, run, h).mT)
    )
    for run, mols in layout.walk():
        update[run.pairs].view(run.m, -1, d_pair).add_((scale[mols, None] * bias).to(update.dtype)[:, None])
    return update


def _outer_backward(d_update, half, left, right, w, scale, layout: Layout):
    """Gradients of left, right, W and β."""
    h, d_pair = left.shape[-1], d_update.shape[-1]
    rows = {run: d_update[run.pairs].view(run.m, run.n, -1) for run in layout.runs}  # mol i (j d_pair)
    d_left = _run_products(layout, left.shape, "nodes", lambda run: (rows[run], _columns(half, run, h)))
    d_half = _run_products(
        layout, half.shape, "nodes", lambda run: (rows[run].mT, left[run.nodes].view(run.m, run.n, h))
    )
    d_right = d_half @ w.view(-1, h)
    d_weight = (d_half.view(-1, d_pair * h).t() @ right).view(w.shape)
    totals = [d_update[run.pairs].view(run.m, -1, d_pair).sum(1).to(scale.dtype) for run in layout.runs]
    return d_left, d_right, d_weight, (scale[:, None] * _joined(totals)).sum(0)


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
    """The parameters of a `TriangleUpdate` behind its norm, those that read the same input joined."""
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


def _triangle(x: Tensor, w: TriangleWeights, layout: Layout) -> tuple[Tensor, ...]:
    """The values and gates of a and b `[4h, pair]`, the outer gate, y `[pair, h]`, and the statistics of the norm."""
    z, *stats = _norm(x, w.gain, w.shift)
    # channels first, as the sums over k want them; a product in that order takes longer than turning it round
    joint = _linear(z, w.w_ab, w.b_ab).t().contiguous()
    gate = _linear(z, w.w_gate, w.b_gate)
    del z
    return joint, gate, _triangle_sums(_gated(joint, layout), layout), *stats


def _triangle_backward(d_update, update, inner, inner_stats, x, joint, gate, y, stats, w: TriangleWeights, layout):
    """Gradient of x without the residual, and of the weights; `update` is what `gate` multiplies, `inner` norm(y)."""
    d_gate = update.mul_(d_update)
    d_update = d_update * gate
    d_w_out, d_b_out = d_update.t() @ inner, d_update.sum(0)
    d_y, d_inner_gain, d_inner_shift = _norm_backward(d_update @ w.w_out, y, inner_stats, w.inner_gain, w.inner_shift)
    del d_update
    d_joint = _gated_backward(joint, _triangle_sums_backward(d_y, _gated(joint, layout), layout), layout)
    z = _norm(x, w.gain, w.shift)[0]
    d_w_ab, d_b_ab = d_joint @ z, d_joint.sum(1)
    d_w_gate, d_b_gate = d_gate.t() @ z, d_gate.sum(0)
    del z
    d_z = torch.addmm(d_joint.t() @ w.w_ab, d_gate, w.w_gate)
    d_x, d_gain, d_shift = _norm_backward(d_z, x, stats, w.gain, w.shift)
    return d_x, (d_gain, d_shift, d_w_ab, d_b_ab, d_w_gate, d_b_gate, d_inner_gain, d_inner_shift, d_w_out, d_b_out)


def _gated(joint: Float[Tensor, "h4 pair"], layout: Layout) -> Float[Tensor, "h2 pair"]:
    """a and b of the triangle sums: value times sigmoid of its gate; zero on padded pairs."""
    value, gate = joint.chunk(2)
    ab = value * torch.sigmoid(gate)
    return ab if layout.real is None else ab * layout.real_pairs()


def _gated_backward(joint, d_ab, layout: Layout) -> Float[Tensor, "h4 pair"]:
    value, gate = joint.chunk(2)
    if layout.real is not None:
        d_ab = d_ab * layout.real_pairs()
    gate = torch.sigmoid(gate)
    d_value = d_ab * gate
    return torch.cat([d_value, d_value * value * (1 - gate)])


def _squares(channels: Float[Tensor, "h pair"], run: Run) -> Float[Tensor, "hm n n"]:
    return channels[:, run.pairs].reshape(-1, run.n, run.n)


def _triangle_sums(ab: Float[Tensor, "h2 pair"], layout: Layout) -> Float[Tensor, "pair h"]:
    """y_ij = (Σ_k a_ik b_jk + Σ_k a_ki b_kj) / N: both directions, molecule by molecule."""
    found = []
    for run, mols in layout.walk():
        a, b = (_squares(half, run) for half in ab.chunk(2))
        y = torch.bmm(a.mT, b).add_(torch.bmm(a, b.mT)).view(-1, run.m, run.n * run.n)
        found.append((y / layout.length[mols, None].to(y.dtype)).flatten(1))
    return _joined(found, 1).t().contiguous()


def _triangle_sums_backward(d_y: Float[Tensor, "pair h"], ab, layout: Layout) -> Float[Tensor, "h2 pair"]:
    channels, found = d_y.t().contiguous(), []
    for run, mols in layout.walk():
        a, b = (_squares(half, run) for half in ab.chunk(2))
        d = channels[:, run.pairs].unflatten(1, (run.m, -1)) / layout.length[mols, None].to(d_y.dtype)
        d = d.reshape(-1, run.n, run.n)
        d_a = torch.bmm(b, d.mT).add_(torch.bmm(d, b))
        d_b = torch.bmm(a, d).add_(torch.bmm(d.mT, a))
        found.append(torch.cat([d_a, d_b]).view(2 * d_y.shape[1], -1))
    return _joined(found, 1)


def _drop_rows(update: Float[Tensor, "pair d_pair"], keep: list[Tensor], layout: Layout) -> Tensor:
    """Row-wise dropout of AlphaFold 2, one mask for all i of a molecule; overwrites `update`."""
    for run, mask in zip(layout.runs, keep):
        update[run.pairs].view(run.m, run.n, run.n, -1).mul_(mask.view(torch.uint8))
    return update


# ------------------------------------------------------------------------------------------------ the pair track


class _PairUpdate(torch.autograd.Function):
    """Outer product, triangles, transition. Keeps the input and what wide products made; sums in between are redone."""

    @staticmethod
    def forward(ctx, x, left, right, scale, layout, drops, *weights):
        left, right = left.to(x.dtype), right.to(x.dtype)
        weights = [t.to(x.dtype) for t in weights]
        w_outer, b_outer = weights[:2]
        triangle, transition = TriangleWeights(*weights[2:12]), TransitionWeights(*weights[12:])
        p, p_rows = drops
        first = keep_mask(x.shape, p, x.device) if p else None
        rows = [keep_mask((r.m, 1, r.n, x.shape[1]), p_rows, x.device) for r in layout.runs] if p_rows else []
        last = keep_mask(x.shape, p, x.device) if p else None

        after_outer = _add_dropped(x, _outer(_half(right, w_outer), left, b_outer, scale, layout), first, p)
        joint, gate, y, *stats = _triangle(after_outer, triangle, layout)
        inner = _norm(y, triangle.inner_gain, triangle.inner_shift)[0]
        update = _drop_rows(_linear(inner, triangle.w_out, triangle.b_out).mul_(gate), rows, layout)
        after_triangle = update.mul_(1 / (1 - p_rows)).add_(after_outer) if rows else update.add_(after_outer)
        del after_outer, update
        update, expanded, last_stats = _transition(after_triangle, transition)
        ctx.save_for_backward(
            x, left, right, scale, first, last, joint, gate, y, *stats, expanded, *last_stats, *weights, *rows
        )
        ctx.layout, ctx.drops = layout, drops
        return _add_dropped(after_triangle, update, last, p)

    @staticmethod
    def backward(ctx, grad):
        x, left, right, scale, first, last, joint, gate, y, mean, rstd, expanded, *rest = ctx.saved_tensors
        last_stats, weights, rows = rest[:2], rest[2:20], rest[20:]
        w_outer, b_outer = weights[:2]
        triangle, transition = TriangleWeights(*weights[2:12]), TransitionWeights(*weights[12:])
        layout, (p, p_rows) = ctx.layout, ctx.drops

        # once more what lies between the updates
        half = _half(right, w_outer)
        after_outer = _add_dropped(x, _outer(half, left, b_outer, scale, layout), first, p)
        inner, *inner_stats = _norm(y, triangle.inner_gain, triangle.inner_shift)
        ungated = _linear(inner, triangle.w_out, triangle.b_out)
        update = _drop_rows(ungated * gate, rows, layout)
        after_triangle = update.mul_(1 / (1 - p_rows)).add_(after_outer) if rows else update.add_(after_outer)
        del update

        d_x, d_transition = _transition_backward(
            _through_dropout(grad, last, p), after_triangle, expanded, last_stats, transition
        )
        grad = d_x.add_(grad)
        del after_triangle
        d_update = _drop_rows(grad * (1 / (1 - p_rows)), rows, layout) if rows else grad
        d_x, d_triangle = _triangle_backward(
            d_update, ungated, inner, inner_stats, after_outer, joint, gate, y, (mean, rstd), triangle, layout
        )
        grad = d_x.add_(grad)
        del after_outer, d_update, ungated
        d_left, d_right, *d_outer = _outer_backward(
            _through_dropout(grad, first, p), half, left, right, w_outer, scale, layout
        )
        return grad, d_left, d_right, None, None, None, *d_outer, *d_triangle, *d_transition


def pair_update(
    pairs: Float[Tensor, "pair d_pair"],
    left: Float[Tensor, "node h"],
    right: Float[Tensor, "node h"],
    scale: Float[Tensor, " mol"],
    layout: Layout,
    drops: tuple[float, float],
    outer: tuple[Tensor, Tensor],
    triangle: TriangleWeights,
    transition: TransitionWeights,
) -> Float[Tensor, "pair d_pair"]:
    """The pair track after one block: outer product, triangle update and transition, each added to what was there.

    - x_ij += drop(W vec(a_i ⊗ b_j) + scale·β), `left` a and `right` b, normalisation already within `left`.
      Reassociated: b_j is contracted with W once for each node, so the h² numbers a pair that the equation names are
      never formed (1/n + 1/h of the multiplications), and W is read in the order in which it is stored.
    - x_ij += droprow(g_ij ⊙ W norm(y_ij)), y_ij = Σ_k a_ik b_jk + Σ_k a_ki b_kj: both directions in one sum. The
      gate g has no sigmoid, as in the reference and unlike AlphaFold 2.
    - x_ij += drop(W₂ gelu(W₁ norm(x_ij) + β₁) + β₂).

    `drops` are the elementwise and the row-wise dropout.
    """
    return _PairUpdate.apply(pairs, left, right, scale, layout, drops, *outer, *triangle, *transition)
