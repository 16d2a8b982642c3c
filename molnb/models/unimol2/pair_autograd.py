"""The updates of the tracks, each one exact step from x to x + drop(update) that keeps little for
backward.

What a matrix product of full width produced is kept; elementwise work (norms, GELU, sigmoid, masks
applied), residual sums and products of small width are done again in the backward pass. For 512
channels that leaves about 8 kB a pair and layer, where plain autograd keeps 25, for a thirtieth
more multiplications.

Gradients are written out by hand and held against automatic differentiation of the plain equations
in the tests. Source: Uni-Mol2 (arXiv 2406.14969) section 3 and its released code; after AlphaFold 2
(Jumper et al. 2021, supplement, algorithms 10 to 12).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...shapes import Bool, Float
from .packing import Layout
from .pair_ops import (
    TransitionWeights,
    TriangleWeights,
    add_dropped,
    drop_rows,
    half_outer,
    layer_norm,
    outer,
    outer_backward,
    through_dropout,
    transition,
    transition_backward,
    transition_weights,
    triangle,
    triangle_backward,
)


def keep_mask(shape: tuple[int, ...], p: float, device: torch.device) -> Bool[Tensor, "*shape"]:
    """True with probability 1 - p, from torch's global generator; p is met to 1/65536.

    On the CPU four draws are taken from each 64-bit number, a quarter of the time of torch's own
    dropout.
    """
    if device.type != "cpu" or torch.compiler.is_compiling():
        return torch.rand(shape, device=device) >= p
    count = torch.Size(shape).numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), 2**63 - 1)
    return (bits.view(torch.int16)[:count] >= round(p * 65536) - 32768).view(shape)


def joint_product(
    x: Float[Tensor, "node d"], *weights: Float[Tensor, "_ d"]
) -> Float[Tensor, "node columns"]:
    """x times several matrices that read the same input, as one product; the joined matrix is
    not kept.
    """
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


class _TransitionUpdate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, p, *weights):
        # under autocast the products are narrow, the atom track and its norm are not
        kind = (
            torch.get_autocast_dtype(x.device.type)
            if torch.is_autocast_enabled(x.device.type)
            else x.dtype
        )
        w = TransitionWeights(
            *(t.to(x.dtype) for t in weights[:2]), *(t.to(kind) for t in weights[2:])
        )
        update, inner, stats = transition(x, w)
        keep = keep_mask(update.shape, p, x.device) if p else None
        ctx.save_for_backward(x, inner, *stats, keep, *w)
        ctx.p = p
        return add_dropped(x, update, keep, p)

    @staticmethod
    def backward(ctx, grad):
        x, inner, mean, rstd, keep, *weights = ctx.saved_tensors
        d_update = through_dropout(grad, keep, ctx.p).to(inner.dtype)
        d_x, d_weights = transition_backward(
            d_update, x, inner, (mean, rstd), TransitionWeights(*weights)
        )
        return d_x.add_(grad), None, *d_weights


def transition_update(x: Float[Tensor, "rows d"], norm, layer, p: float) -> Float[Tensor, "rows d"]:
    """x + drop(W₂ gelu(W₁ norm(x) + β₁) + β₂), for the atom track."""
    return _TransitionUpdate.apply(x, p, *transition_weights(norm, layer))


class _PairUpdate(torch.autograd.Function):
    """Outer product, triangles, transition.

    Keeps the input and what wide products made; sums in between are redone.
    """

    @staticmethod
    def forward(ctx, x, left, right, scale, layout, drops, *weights):
        left, right = left.to(x.dtype), right.to(x.dtype)
        weights = [t.to(x.dtype) for t in weights]
        w_outer, b_outer = weights[:2]
        of_triangle, of_transition = (
            TriangleWeights(*weights[2:12]),
            TransitionWeights(*weights[12:]),
        )
        p, p_rows = drops
        first = keep_mask(x.shape, p, x.device) if p else None
        rows = (
            [keep_mask((r.m, 1, r.n, x.shape[1]), p_rows, x.device) for r in layout.runs]
            if p_rows
            else []
        )
        last = keep_mask(x.shape, p, x.device) if p else None

        after_outer = add_dropped(
            x, outer(half_outer(right, w_outer), left, b_outer, scale, layout), first, p
        )
        joint, gate, y, *stats = triangle(after_outer, of_triangle, layout)
        inner = layer_norm(y, of_triangle.inner_gain, of_triangle.inner_shift)[0]
        update = drop_rows(
            F.linear(inner, of_triangle.w_out, of_triangle.b_out).mul_(gate), rows, layout
        )
        after_triangle = (
            update.mul_(1 / (1 - p_rows)).add_(after_outer) if rows else update.add_(after_outer)
        )
        del after_outer, update
        update, expanded, last_stats = transition(after_triangle, of_transition)
        ctx.save_for_backward(
            x,
            left,
            right,
            scale,
            first,
            last,
            joint,
            gate,
            y,
            *stats,
            expanded,
            *last_stats,
            *weights,
            *rows,
        )
        ctx.layout, ctx.drops = layout, drops
        return add_dropped(after_triangle, update, last, p)

    @staticmethod
    def backward(ctx, grad):
        x, left, right, scale, first, last, joint, gate, y, mean, rstd, expanded, *rest = (
            ctx.saved_tensors
        )
        last_stats, weights, rows = rest[:2], rest[2:20], rest[20:]
        w_outer, b_outer = weights[:2]
        of_triangle, of_transition = (
            TriangleWeights(*weights[2:12]),
            TransitionWeights(*weights[12:]),
        )
        layout, (p, p_rows) = ctx.layout, ctx.drops

        # once more what lies between the updates
        half = half_outer(right, w_outer)
        after_outer = add_dropped(x, outer(half, left, b_outer, scale, layout), first, p)
        inner, *inner_stats = layer_norm(y, of_triangle.inner_gain, of_triangle.inner_shift)
        ungated = F.linear(inner, of_triangle.w_out, of_triangle.b_out)
        update = drop_rows(ungated * gate, rows, layout)
        after_triangle = (
            update.mul_(1 / (1 - p_rows)).add_(after_outer) if rows else update.add_(after_outer)
        )
        del update

        d_x, d_transition = transition_backward(
            through_dropout(grad, last, p), after_triangle, expanded, last_stats, of_transition
        )
        grad = d_x.add_(grad)
        del after_triangle
        d_update = drop_rows(grad * (1 / (1 - p_rows)), rows, layout) if rows else grad
        d_x, d_triangle = triangle_backward(
            d_update,
            ungated,
            inner,
            inner_stats,
            after_outer,
            joint,
            gate,
            y,
            (mean, rstd),
            of_triangle,
            layout,
        )
        grad = d_x.add_(grad)
        del after_outer, d_update, ungated
        d_left, d_right, *d_outer = outer_backward(
            through_dropout(grad, first, p), half, left, right, w_outer, scale, layout
        )
        return grad, d_left, d_right, None, None, None, *d_outer, *d_triangle, *d_transition


def pair_update(
    pairs: Float[Tensor, "pair d_pair"],
    left: Float[Tensor, "node h"],
    right: Float[Tensor, "node h"],
    scale: Float[Tensor, " mol"],
    layout: Layout,
    drops: tuple[float, float],
    of_outer: tuple[Tensor, Tensor],
    of_triangle: TriangleWeights,
    of_transition: TransitionWeights,
) -> Float[Tensor, "pair d_pair"]:
    """The pair track after one block: outer product, triangle update and transition, each added to
    what was there.

    - x_ij += drop(W vec(a_i ⊗ b_j) + scale·β), `left` a and `right` b, normalisation already within
      `left`. Reassociated: b_j is contracted with W once for each node, so the h² numbers a pair
      that the equation names are never formed (1/n + 1/h of the multiplications), and W is read in
      the order in which it is stored.
    - x_ij += droprow(g_ij ⊙ W norm(y_ij)), y_ij = Σ_k a_ik b_jk + Σ_k a_ki b_kj: both directions in
      one sum. The gate g has no sigmoid, as in the reference and unlike AlphaFold 2.
    - x_ij += drop(W₂ gelu(W₁ norm(x_ij) + β₁) + β₂).

    `drops` are the elementwise and the row-wise dropout.
    """
    return _PairUpdate.apply(
        pairs, left, right, scale, layout, drops, *of_outer, *of_triangle, *of_transition
    )
