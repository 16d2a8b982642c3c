"""The updates of the tracks, each one exact step from x to x + drop(update) that keeps little.

Read `packing` and `pair_ops` first: the steps and their gradients stand there. Here they become
functions that torch can differentiate, which decide what is kept for the backward pass.

What a matrix product of full width produced is kept; elementwise work (norms, GELU, sigmoid, masks
applied), residual sums and products of small width are done again in the backward pass. For 512
channels that leaves about 8 kB a pair and layer, where plain autograd keeps 25, for a thirtieth
more multiplications.

Gradients are written out by hand and held against automatic differentiation of the plain equations
in the tests. Source: Uni-Mol2 (arXiv 2406.14969) section 3 and its released code; after AlphaFold 2
(Jumper et al. 2021, supplement, algorithms 10 to 12).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ...shapes import Bool, Float
from ..dropout import keep_mask
from .packing import Layout
from .pair_ops import (
    OuterFactors,
    OuterWeights,
    SavedTransition,
    SavedTriangle,
    TransitionWeights,
    TriangleWeights,
    add_dropped,
    add_dropped_backward,
    contract_right,
    drop_rows,
    drop_rows_backward,
    outer,
    outer_backward,
    transition,
    transition_backward,
    triangle,
    triangle_backward,
    triangle_readout,
)

Record = TypeVar("Record", bound=tuple)  # a NamedTuple of tensors


def take(record: type[Record], tensors: Iterator[Tensor]) -> Record:
    """The next tensors of an iterator as a named tuple: as many as it has fields."""
    return record(*[next(tensors) for _ in record._fields])


# ------------------------------------------------------------------------------------ joint product


def joint_product(
    x: Float[Tensor, "node d"], *weights: Float[Tensor, "_ d"]
) -> Float[Tensor, "node columns"]:
    """x times several matrices that read it, as one product; the joined matrix is not kept."""
    return _JointProduct.apply(x, *weights)


class _JointProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, *weights):
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x = x.to(dtype)
            weights = [weight.to(dtype) for weight in weights]
        ctx.save_for_backward(x, *weights)
        return x @ torch.cat(list(weights)).t()

    @staticmethod
    def backward(ctx, grad):
        x, *weights = ctx.saved_tensors
        d_weights = (grad.t() @ x).split([len(weight) for weight in weights])
        return grad @ torch.cat(weights), *d_weights


# -------------------------------------------------------------------------------- transition update


def transition_update(
    x: Float[Tensor, "row d"], weights: TransitionWeights, dropout: float
) -> Float[Tensor, "row d"]:
    """x + drop(W₂ gelu(W₁ norm(x) + β₁) + β₂), for the atom track."""
    return _TransitionUpdate.apply(x, dropout, *weights)


class SavedTransitionUpdate(NamedTuple):
    """What a transition update keeps: its input, what its first product made, and the mask."""

    x: Tensor
    step: SavedTransition
    keep: Tensor | None
    weights: TransitionWeights

    def pack(self) -> tuple[Tensor | None, ...]:
        """All tensors in a row, as `save_for_backward` wants them."""
        return (self.x, *self.step, self.keep, *self.weights)

    @classmethod
    def unpack(cls, tensors: Iterable[Tensor | None]) -> SavedTransitionUpdate:
        """The inverse of `pack`."""
        tensors = iter(tensors)
        return cls(
            x=next(tensors),
            step=take(SavedTransition, tensors),
            keep=next(tensors),
            weights=take(TransitionWeights, tensors),
        )


class _TransitionUpdate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dropout, *weights):
        weights = _cast_products(TransitionWeights(*weights), x)
        update, step = transition(x, weights)
        keep = keep_mask(update.shape, dropout, x.device) if dropout else None
        ctx.save_for_backward(*SavedTransitionUpdate(x, step, keep, weights).pack())
        ctx.dropout = dropout
        return add_dropped(x, update, keep, dropout)

    @staticmethod
    def backward(ctx, grad):
        saved = SavedTransitionUpdate.unpack(ctx.saved_tensors)
        d_update = add_dropped_backward(grad, saved.keep, ctx.dropout)
        d_x, d_weights = transition_backward(
            d_update.to(saved.step.expanded.dtype), saved.x, saved.step, saved.weights
        )
        return d_x.add_(grad), None, *d_weights  # x, dropout, weights


def _cast_products(weights: TransitionWeights, x: Tensor) -> TransitionWeights:
    """Weights as autocast wants them: products narrow, the norm as wide as the atom track x."""
    narrow = x.dtype
    if torch.is_autocast_enabled(x.device.type):
        narrow = torch.get_autocast_dtype(x.device.type)
    return TransitionWeights(
        norm_weight=weights.norm_weight.to(x.dtype),
        norm_bias=weights.norm_bias.to(x.dtype),
        expand_weight=weights.expand_weight.to(narrow),
        expand_bias=weights.expand_bias.to(narrow),
        contract_weight=weights.contract_weight.to(narrow),
        contract_bias=weights.contract_bias.to(narrow),
    )


# -------------------------------------------------------------------------------------- pair update


class PairDropout(NamedTuple):
    """Probabilities of dropout in a pair update."""

    elements: float  # of the outer product and of the transition
    rows: float  # of the triangle update, one draw for all i of a molecule


class PairMasks(NamedTuple):
    """What dropout keeps in a pair update; None or no rows where nothing is dropped."""

    outer: Bool[Tensor, "pair d_pair"] | None
    transition: Bool[Tensor, "pair d_pair"] | None
    rows: tuple[Tensor, ...]  # [m, 1, n, d_pair] of each size group


class PairWeights(NamedTuple):
    """The weights (or their gradients) of the three steps of a pair update."""

    outer: OuterWeights
    triangle: TriangleWeights
    transition: TransitionWeights

    def pack(self) -> tuple[Tensor, ...]:
        """All tensors in a row: torch finds a tensor that learns only among plain arguments."""
        return (*self.outer, *self.triangle, *self.transition)

    @classmethod
    def unpack(cls, tensors: Iterable[Tensor]) -> PairWeights:
        """The inverse of `pack`."""
        tensors = iter(tensors)
        return cls(
            outer=take(OuterWeights, tensors),
            triangle=take(TriangleWeights, tensors),
            transition=take(TransitionWeights, tensors),
        )


class SavedPairUpdate(NamedTuple):
    """What a pair update keeps: its input and what products of full width made."""

    pairs: Tensor
    factors: OuterFactors
    triangle: SavedTriangle
    transition: SavedTransition
    weights: PairWeights
    masks: PairMasks

    def pack(self) -> tuple[Tensor | None, ...]:
        """All tensors in a row, as `save_for_backward` wants them."""
        steps = (*self.factors, *self.triangle, *self.transition)
        masks = (self.masks.outer, self.masks.transition, *self.masks.rows)
        return (self.pairs, *steps, *self.weights.pack(), *masks)

    @classmethod
    def unpack(cls, tensors: Iterable[Tensor | None]) -> SavedPairUpdate:
        """The inverse of `pack`."""
        tensors = iter(tensors)
        return cls(
            pairs=next(tensors),
            factors=take(OuterFactors, tensors),
            triangle=take(SavedTriangle, tensors),
            transition=take(SavedTransition, tensors),
            weights=PairWeights.unpack(tensors),
            masks=PairMasks(next(tensors), next(tensors), tuple(tensors)),
        )


def pair_update(
    pairs: Float[Tensor, "pair d_pair"],
    factors: OuterFactors,
    weights: PairWeights,
    dropout: PairDropout,
    layout: Layout,
) -> Float[Tensor, "pair d_pair"]:
    """The pair track after a block: outer product, triangles and transition, each added to it.

    - x_ij += drop(W vec(a_i ⊗ b_j) + scale·β). Reassociated: b_j is contracted with W once for each
      node, so the h² numbers a pair that the equation names are never formed (1/n + 1/h of the
      multiplications), and W is read in the order in which it is stored.
    - x_ij += droprow(g_ij ⊙ (W norm(y_ij) + β)), y_ij = Σ_k a_ik b_jk + Σ_k a_ki b_kj: both
      directions in one sum. The gate g has no sigmoid, as in the reference and unlike AlphaFold 2.
    - x_ij += drop(W₂ gelu(W₁ norm(x_ij) + β₁) + β₂).
    """
    # Every step is as narrow as the track. On a GPU autocast would widen norms to float32, their
    # inputs and results too, and narrow the results again.
    with torch.autocast(pairs.device.type, enabled=False):
        return _PairUpdate.apply(pairs, *factors, layout, dropout, *weights.pack())


def _draw_masks(pairs: Tensor, dropout: PairDropout, layout: Layout) -> PairMasks:
    """Masks of a pair update in the order of its steps, so that a seed always gives the same."""
    outer_mask = None
    transition_mask = None
    row_masks = []
    if dropout.elements:
        outer_mask = keep_mask(pairs.shape, dropout.elements, pairs.device)
    if dropout.rows:
        for group in layout.groups:
            shape = (group.n_mol, 1, group.n_node, pairs.shape[1])
            row_masks.append(keep_mask(shape, dropout.rows, pairs.device))
    if dropout.elements:
        transition_mask = keep_mask(pairs.shape, dropout.elements, pairs.device)
    return PairMasks(outer_mask, transition_mask, tuple(row_masks))


class _PairUpdate(torch.autograd.Function):
    """Outer product, triangles, transition; sums in between are not kept but made again."""

    @staticmethod
    def forward(ctx, pairs, left, right, bias_scale, layout, dropout, *weights):
        factors = OuterFactors(left.to(pairs.dtype), right.to(pairs.dtype), bias_scale)
        weights = PairWeights.unpack([weight.to(pairs.dtype) for weight in weights])
        masks = _draw_masks(pairs, dropout, layout)

        matrices = contract_right(factors.right, weights.outer.weight)  # node (d_pair h)
        update = outer(factors, matrices, weights.outer.bias, layout)  # pair d_pair
        after_outer = add_dropped(pairs, update, masks.outer, dropout.elements)  # pair d_pair
        del matrices, update

        saved_triangle = triangle(after_outer, weights.triangle, layout)
        readout = triangle_readout(saved_triangle.sums, weights.triangle)
        update = readout.ungated.mul_(saved_triangle.gate)  # pair d_pair
        update = drop_rows(update, masks.rows, dropout.rows, layout)
        after_triangle = update.add_(after_outer)  # pair d_pair
        del after_outer, readout, update

        update, saved_transition = transition(after_triangle, weights.transition)  # pair d_pair
        saved = SavedPairUpdate(pairs, factors, saved_triangle, saved_transition, weights, masks)
        ctx.save_for_backward(*saved.pack())
        ctx.layout = layout
        ctx.dropout = dropout
        return add_dropped(after_triangle, update, masks.transition, dropout.elements)

    @staticmethod
    def backward(ctx, grad):
        saved = SavedPairUpdate.unpack(ctx.saved_tensors)
        weights = saved.weights
        masks = saved.masks
        layout = ctx.layout
        dropout = ctx.dropout

        # What lies between the steps, made again from what their products left: two more arrays
        # of full width a layer would be kept otherwise. The outer product costs little (1/n + 1/h
        # of the equation's), the readout is a product of small width.
        matrices = contract_right(saved.factors.right, weights.outer.weight)  # node (d_pair h)
        update = outer(saved.factors, matrices, weights.outer.bias, layout)  # pair d_pair
        after_outer = add_dropped(saved.pairs, update, masks.outer, dropout.elements)  # pair d_pair
        readout = triangle_readout(saved.triangle.sums, weights.triangle)
        update = drop_rows(readout.ungated * saved.triangle.gate, masks.rows, dropout.rows, layout)
        after_triangle = update.add_(after_outer)  # pair d_pair
        del update

        # From the last step to the first. Each adds its update to its input, so the gradient of
        # the input is what comes through the step and the gradient as it came.
        d_update = add_dropped_backward(grad, masks.transition, dropout.elements)  # pair d_pair
        d_pairs, d_transition = transition_backward(
            d_update, after_triangle, saved.transition, weights.transition
        )
        grad = d_pairs.add_(grad)  # pair d_pair, of after_triangle
        del after_triangle, d_update

        d_update = drop_rows_backward(grad, masks.rows, dropout.rows, layout)  # pair d_pair
        d_pairs, d_triangle = triangle_backward(
            d_update, after_outer, saved.triangle, readout, weights.triangle, layout
        )
        grad = d_pairs.add_(grad)  # pair d_pair, of after_outer
        del after_outer, readout, d_update

        d_update = add_dropped_backward(grad, masks.outer, dropout.elements)  # pair d_pair
        d_left, d_right, d_outer = outer_backward(
            d_update, saved.factors, matrices, weights.outer.weight, layout
        )
        d_weights = PairWeights(d_outer, d_triangle, d_transition)
        # pairs, left, right, bias_scale, layout, dropout, weights
        return grad, d_left, d_right, None, None, None, *d_weights.pack()
