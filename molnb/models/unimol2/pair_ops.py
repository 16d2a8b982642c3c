"""The steps that the updates of the tracks are made of, each with its gradient written out.

Read `packing` first (what a track and a size group are); `pair_autograd` puts the steps together.

Plain functions of tensors, which torch's automatic differentiation never sees: `step` gives the
value and what its gradient needs, `step_backward` the gradients, in the same fields as the weights.
A function overwrites an argument only where its docstring says so. Widths are `d_pair` and, inside
the outer product and the triangles, `h`. Source: Uni-Mol2 (arXiv 2406.14969) section 3 and its
released code; after AlphaFold 2 (Jumper et al. 2021, supplement, algorithms 10 to 12).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ...shapes import Bool, Float
from ..dropout import kept
from .packing import Layout, SizeGroup

NORM_EPSILON = 1e-5


class Normed(NamedTuple):
    """The result of a layer norm, and the statistics of each row that its gradient needs."""

    value: Float[Tensor, "row d"]
    mean: Float[Tensor, "row 1"]
    rstd: Float[Tensor, "row 1"]  # one over the standard deviation


def layer_norm(
    x: Float[Tensor, "row d"], weight: Float[Tensor, " d"], bias: Float[Tensor, " d"]
) -> Normed:
    """Layer norm over the last axis, with its statistics."""
    return Normed(*torch.native_layer_norm(x, (x.shape[-1],), weight, bias, NORM_EPSILON))


def layer_norm_backward(
    grad: Float[Tensor, "row d"],
    x: Float[Tensor, "row d"],
    mean: Float[Tensor, "row 1"],
    rstd: Float[Tensor, "row 1"],
    weight: Float[Tensor, " d"],
    bias: Float[Tensor, " d"],
) -> tuple[Float[Tensor, "row d"], Float[Tensor, " d"], Float[Tensor, " d"]]:
    """Gradients of x, of the weight and of the bias."""
    return torch.ops.aten.native_layer_norm_backward(
        grad, x, (x.shape[-1],), mean, rstd, weight, bias, [True, True, True]
    )


# ------------------------------------------------------------------------------------------ dropout


def add_dropped(
    x: Float[Tensor, "row d"],
    update: Float[Tensor, "row d"],
    keep: Bool[Tensor, "row d"] | None,
    dropout: float,
) -> Float[Tensor, "row d"]:
    """x + drop(update), without a mask x + update; overwrites `update`."""
    if keep is not None:
        update = kept(update, keep, dropout, in_place=True)
    # compiled code of torch 2.11 gives what a function wrote in place and returns no gradient
    in_place = update.dtype == x.dtype and not torch.compiler.is_compiling()
    return update.add_(x) if in_place else x + update


def add_dropped_backward(
    grad: Float[Tensor, "row d"], keep: Bool[Tensor, "row d"] | None, dropout: float
) -> Float[Tensor, "row d"]:
    """Gradient of the update; that of x is `grad` itself."""
    return grad if keep is None else kept(grad, keep, dropout)


def drop_rows(
    update: Float[Tensor, "pair d_pair"], keep: Sequence[Tensor], dropout: float, layout: Layout
) -> Float[Tensor, "pair d_pair"]:
    """Row-wise dropout of AlphaFold 2: one mask for all i of a molecule; overwrites `update`.

    `keep` holds a mask `[m, 1, n, d_pair]` for each size group; if empty, nothing is dropped.
    """
    for group, mask in zip(layout.groups, keep):
        squares = update[group.pairs].view(group.n_mol, group.n_node, group.n_node, -1)  # m i j d
        squares.mul_(mask.to(update.dtype).mul_(1 / (1 - dropout)))
    return update


def drop_rows_backward(
    grad: Float[Tensor, "pair d_pair"], keep: Sequence[Tensor], dropout: float, layout: Layout
) -> Float[Tensor, "pair d_pair"]:
    """Gradient of the update before `drop_rows`."""
    return drop_rows(grad.clone(), keep, dropout, layout) if keep else grad


# --------------------------------------------------------------------------------------- transition


class TransitionWeights(NamedTuple):
    """Weights (or their gradients) of W₂ gelu(W₁ norm(x) + β₁) + β₂."""

    norm_weight: Float[Tensor, " d"]
    norm_bias: Float[Tensor, " d"]
    expand_weight: Float[Tensor, "d_inner d"]  # W₁
    expand_bias: Float[Tensor, " d_inner"]
    contract_weight: Float[Tensor, "d d_inner"]  # W₂
    contract_bias: Float[Tensor, " d"]


class SavedTransition(NamedTuple):
    """What the gradient of a transition needs beside x."""

    expanded: Float[Tensor, "row d_inner"]  # W₁ norm(x) + β₁, to which GELU is applied
    mean: Float[Tensor, "row 1"]
    rstd: Float[Tensor, "row 1"]


def transition(
    x: Float[Tensor, "row d"], weights: TransitionWeights
) -> tuple[Float[Tensor, "row d"], SavedTransition]:
    """W₂ gelu(W₁ norm(x) + β₁) + β₂, and what its gradient needs."""
    normed, mean, rstd = layer_norm(x, weights.norm_weight, weights.norm_bias)  # row d
    expanded = F.linear(
        normed.to(weights.expand_weight.dtype), weights.expand_weight, weights.expand_bias
    )  # row d_inner
    del normed
    update = F.linear(F.gelu(expanded), weights.contract_weight, weights.contract_bias)  # row d
    return update, SavedTransition(expanded, mean, rstd)


def transition_backward(
    d_update: Float[Tensor, "row d"],
    x: Float[Tensor, "row d"],
    saved: SavedTransition,
    weights: TransitionWeights,
) -> tuple[Float[Tensor, "row d"], TransitionWeights]:
    """Gradient of x without the residual sum, and of the weights."""
    d_contract_weight = d_update.t() @ F.gelu(saved.expanded)
    d_contract_bias = d_update.sum(0)
    d_expanded = torch.ops.aten.gelu_backward(
        d_update @ weights.contract_weight, saved.expanded
    )  # row d_inner
    # norm(x) once more: elementwise work is cheap beside the memory that it would take
    normed = layer_norm(x, weights.norm_weight, weights.norm_bias).value
    d_expand_weight = d_expanded.t() @ normed.to(d_expanded.dtype)
    del normed
    d_expand_bias = d_expanded.sum(0)
    d_normed = (d_expanded @ weights.expand_weight).to(x.dtype)  # row d
    d_x, d_norm_weight, d_norm_bias = layer_norm_backward(
        d_normed, x, saved.mean, saved.rstd, weights.norm_weight, weights.norm_bias
    )
    return d_x, TransitionWeights(
        norm_weight=d_norm_weight,
        norm_bias=d_norm_bias,
        expand_weight=d_expand_weight,
        expand_bias=d_expand_bias,
        contract_weight=d_contract_weight,
        contract_bias=d_contract_bias,
    )


# ------------------------------------------------------------------------------------ outer product


class OuterWeights(NamedTuple):
    """Weights (or their gradients) of W vec(a_i ⊗ b_j) + β."""

    weight: Float[Tensor, "d_pair h*h"]  # W; the column of a's channel c and b's channel d is c·h+d
    bias: Float[Tensor, " d_pair"]  # β


class OuterFactors(NamedTuple):
    """What the outer product of two atoms reads, in the order of the size groups."""

    left: Float[Tensor, "node h"]  # a, the normalisation of the product within it
    right: Float[Tensor, "node h"]  # b
    bias_scale: Float[Tensor, " mol"]  # what multiplies β


def _multiply(
    factors: list[tuple[Tensor, Tensor]], rows: list[slice], shape: Sequence[int]
) -> Tensor:
    """A product of two factors for each size group, all in one tensor of this shape.

    Factors are `[m, i, k]` and `[m, k, j]`; `rows` says which rows of the tensor a group fills.
    """
    if len(factors) == 1:
        left, right = factors[0]
        return torch.bmm(left, right).view(shape)
    result = factors[0][0].new_empty(shape)
    for (left, right), group_rows in zip(factors, rows):
        # written where it belongs, since joining the products of the groups would copy them
        out = result[group_rows].view(left.shape[0], left.shape[1], right.shape[2])
        torch.bmm(left, right, out=out)
    return result


def contract_right(
    right: Float[Tensor, "node h"], weight: Float[Tensor, "d_pair h*h"]
) -> Float[Tensor, "node d_pair*h"]:
    """One matrix `[d_pair, h]` for each node j, Σ_d W_{p, cd} b_jd, with W as it is stored.

    Times a_i it gives the pair ij, so the h² numbers a pair that the equation names are never made.
    """
    return right @ weight.view(-1, right.shape[-1]).t()


def _left_of(factors: OuterFactors, group: SizeGroup) -> Float[Tensor, "m n h"]:
    return factors.left[group.nodes].view(group.n_mol, group.n_node, -1)


def _matrices_of(
    matrices: Float[Tensor, "node d_pair_h"], h: int, group: SizeGroup
) -> Float[Tensor, "m n_d_pair h"]:
    return matrices[group.nodes].view(group.n_mol, -1, h)


def outer(
    factors: OuterFactors,
    matrices: Float[Tensor, "node d_pair_h"],
    bias: Float[Tensor, " d_pair"],
    layout: Layout,
) -> Float[Tensor, "pair d_pair"]:
    """W vec(a_i ⊗ b_j) + scale·β of each pair; `matrices` are those of `contract_right`."""
    h = factors.left.shape[-1]
    d_pair = bias.shape[0]
    products = []
    for group in layout.groups:  # m i h times m h (j d_pair): all pairs of an i in one row
        products.append((_left_of(factors, group), _matrices_of(matrices, h, group).mT))
    rows = [group.pairs for group in layout.groups]
    update = _multiply(products, rows, (layout.n_pair, d_pair))
    for group, molecules in layout.walk():
        scaled_bias = (factors.bias_scale[molecules, None] * bias).to(update.dtype)  # m d_pair
        update[group.pairs].view(group.n_mol, -1, d_pair).add_(scaled_bias[:, None])
    return update


def outer_backward(
    d_update: Float[Tensor, "pair d_pair"],
    factors: OuterFactors,
    matrices: Float[Tensor, "node d_pair_h"],
    weight: Float[Tensor, "d_pair h2"],
    layout: Layout,
) -> tuple[Float[Tensor, "node h"], Float[Tensor, "node h"], OuterWeights]:
    """Gradients of a, of b, and of W and β."""
    h = factors.left.shape[-1]
    d_pair = d_update.shape[-1]
    left_products = []
    matrix_products = []
    bias_totals = []
    for group in layout.groups:
        group_rows = d_update[group.pairs]  # (m i j) d_pair
        squares = group_rows.view(group.n_mol, group.n_node, -1)  # m i (j d_pair)
        left_products.append((squares, _matrices_of(matrices, h, group)))
        matrix_products.append((squares.mT, _left_of(factors, group)))
        total = group_rows.view(group.n_mol, -1, d_pair).sum(1)  # m d_pair
        bias_totals.append(total.to(factors.bias_scale.dtype))
    rows = [group.nodes for group in layout.groups]
    d_left = _multiply(left_products, rows, factors.left.shape)  # node h
    d_matrices = _multiply(matrix_products, rows, matrices.shape)  # node (d_pair h)
    d_right = d_matrices @ weight.view(-1, h)  # node h
    d_weight = (d_matrices.view(-1, d_pair * h).t() @ factors.right).view(weight.shape)
    d_bias = (factors.bias_scale[:, None] * _join(bias_totals)).sum(0)  # d_pair
    return d_left, d_right, OuterWeights(d_weight, d_bias)


def _join(parts: list[Tensor]) -> Tensor:
    """The parts one after another; a single part as it is, without a copy."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


# ---------------------------------------------------------------------------------------- triangles


class TriangleWeights(NamedTuple):
    """Weights (or their gradients) of a triangle update.

    Four matrices that read the same input stand joined: values of a, of b, gates of a, of b.
    """

    norm_weight: Float[Tensor, " d_pair"]
    norm_bias: Float[Tensor, " d_pair"]
    joint_weight: Float[Tensor, "4*h d_pair"]
    joint_bias: Float[Tensor, " 4*h"]
    gate_weight: Float[Tensor, "d_pair d_pair"]
    gate_bias: Float[Tensor, " d_pair"]
    sums_norm_weight: Float[Tensor, " h"]
    sums_norm_bias: Float[Tensor, " h"]
    out_weight: Float[Tensor, "d_pair h"]
    out_bias: Float[Tensor, " d_pair"]


class SavedTriangle(NamedTuple):
    """What the products of a triangle update made, and the statistics of the first norm."""

    joint: Float[Tensor, "4*h pair"]  # values of a and b, then their gates before the sigmoid
    gate: Float[Tensor, "pair d_pair"]  # g, of the whole update
    sums: Float[Tensor, "pair h"]  # y
    mean: Float[Tensor, "pair 1"]
    rstd: Float[Tensor, "pair 1"]


class TriangleReadout(NamedTuple):
    """What is read from the sums y of a triangle update, before the gate."""

    normed: Normed  # norm(y), `[pair, h]`
    ungated: Float[Tensor, "pair d_pair"]  # W norm(y) + β


def triangle(
    x: Float[Tensor, "pair d_pair"], weights: TriangleWeights, layout: Layout
) -> SavedTriangle:
    """Gate g and sums y of the update g ⊙ (W norm(y) + β), and what their gradient needs."""
    normed, mean, rstd = layer_norm(x, weights.norm_weight, weights.norm_bias)  # pair d_pair
    # channels first, as the sums over k want them; a product that gives this order takes longer
    # than one that is turned round afterwards
    joint = F.linear(normed, weights.joint_weight, weights.joint_bias).t().contiguous()  # 4h pair
    gate = F.linear(normed, weights.gate_weight, weights.gate_bias)  # pair d_pair
    del normed
    sums = _triangle_sums(_apply_gates(joint, layout), layout)  # pair h
    return SavedTriangle(joint, gate, sums, mean, rstd)


def triangle_readout(sums: Float[Tensor, "pair h"], weights: TriangleWeights) -> TriangleReadout:
    """W norm(y) + β for the sums y."""
    normed = layer_norm(sums, weights.sums_norm_weight, weights.sums_norm_bias)  # pair h
    return TriangleReadout(normed, F.linear(normed.value, weights.out_weight, weights.out_bias))


def triangle_backward(
    d_update: Float[Tensor, "pair d_pair"],
    x: Float[Tensor, "pair d_pair"],
    saved: SavedTriangle,
    readout: TriangleReadout,
    weights: TriangleWeights,
    layout: Layout,
) -> tuple[Float[Tensor, "pair d_pair"], TriangleWeights]:
    """Gradient of x without the residual sum, and of the weights; overwrites `readout.ungated`."""
    d_gate = readout.ungated.mul_(d_update)  # pair d_pair
    d_ungated = d_update * saved.gate  # pair d_pair
    d_out_weight = d_ungated.t() @ readout.normed.value
    d_out_bias = d_ungated.sum(0)
    d_sums, d_sums_norm_weight, d_sums_norm_bias = layer_norm_backward(
        d_ungated @ weights.out_weight,
        saved.sums,
        readout.normed.mean,
        readout.normed.rstd,
        weights.sums_norm_weight,
        weights.sums_norm_bias,
    )  # pair h
    del d_ungated
    # a and b once more from their values and gates: a sigmoid costs less than 2h numbers a pair;
    # calls within calls, so that no name keeps a temporary alive, since memory peaks at this line
    d_joint = _apply_gates_backward(
        _triangle_sums_backward(d_sums, _apply_gates(saved.joint, layout), layout),
        saved.joint,
        layout,
    )  # 4h pair
    normed = layer_norm(x, weights.norm_weight, weights.norm_bias).value  # pair d_pair, once more
    d_joint_weight = d_joint @ normed
    d_joint_bias = d_joint.sum(1)
    d_gate_weight = d_gate.t() @ normed
    d_gate_bias = d_gate.sum(0)
    del normed
    d_normed = torch.addmm(d_joint.t() @ weights.joint_weight, d_gate, weights.gate_weight)
    d_x, d_norm_weight, d_norm_bias = layer_norm_backward(
        d_normed, x, saved.mean, saved.rstd, weights.norm_weight, weights.norm_bias
    )  # pair d_pair
    return d_x, TriangleWeights(
        norm_weight=d_norm_weight,
        norm_bias=d_norm_bias,
        joint_weight=d_joint_weight,
        joint_bias=d_joint_bias,
        gate_weight=d_gate_weight,
        gate_bias=d_gate_bias,
        sums_norm_weight=d_sums_norm_weight,
        sums_norm_bias=d_sums_norm_bias,
        out_weight=d_out_weight,
        out_bias=d_out_bias,
    )


def _apply_gates(joint: Float[Tensor, "h4 pair"], layout: Layout) -> Float[Tensor, "h2 pair"]:
    """a and b of the triangle sums: value times sigmoid of its gate; zero on padded pairs."""
    value, gate = joint.chunk(2)
    gated = value * torch.sigmoid(gate)
    # of its own type: a product with a mask of bool is several times slower on a GPU
    return gated if layout.real_pairs is None else gated.mul_(layout.real_pairs.to(gated.dtype))


def _apply_gates_backward(
    d_gated: Float[Tensor, "h2 pair"], joint: Float[Tensor, "h4 pair"], layout: Layout
) -> Float[Tensor, "h4 pair"]:
    value, gate = joint.chunk(2)
    if layout.real_pairs is not None:
        d_gated = d_gated * layout.real_pairs.to(d_gated.dtype)
    gate = torch.sigmoid(gate)
    d_value = d_gated * gate
    return torch.cat([d_value, d_value * value * (1 - gate)])


def _squares(channels: Float[Tensor, "h pair"], group: SizeGroup) -> Float[Tensor, "hm n n"]:
    return channels[:, group.pairs].reshape(-1, group.n_node, group.n_node)


def _triangle_sums(gated: Float[Tensor, "h2 pair"], layout: Layout) -> Float[Tensor, "pair h"]:
    """y_ij = (Σ_k a_ik b_jk + Σ_k a_ki b_kj) / N: both directions, molecule by molecule."""
    channels_a, channels_b = gated.chunk(2)  # h pair
    parts = []
    for group, molecules in layout.walk():
        a = _squares(channels_a, group)  # (h m) n n
        b = _squares(channels_b, group)
        sums = torch.bmm(a.mT, b).baddbmm_(a, b.mT)  # (h m) i j
        sums = sums.view(-1, group.n_mol, group.n_node * group.n_node)  # h m (i j)
        sums.div_(layout.length[molecules, None].to(sums.dtype))
        parts.append(sums.flatten(1).t())  # pair h
    return _join(parts).contiguous()


def _triangle_sums_backward(
    d_sums: Float[Tensor, "pair h"], gated: Float[Tensor, "h2 pair"], layout: Layout
) -> Float[Tensor, "h2 pair"]:
    """Gradient of a and b, `gated`."""
    d_channels = d_sums.t().contiguous()  # h pair
    channels_a, channels_b = gated.chunk(2)
    d_gated = torch.empty_like(gated)
    d_a, d_b = d_gated.chunk(2)  # views, filled group by group
    for group, molecules in layout.walk():
        a = _squares(channels_a, group)  # (h m) n n
        b = _squares(channels_b, group)
        length = layout.length[molecules, None].to(d_sums.dtype)  # m 1
        d_y = d_channels[:, group.pairs].unflatten(1, (group.n_mol, -1)) / length  # h m (i j)
        d_y = d_y.reshape(-1, group.n_node, group.n_node)  # (h m) i j
        d_a[:, group.pairs] = torch.bmm(b, d_y.mT).baddbmm_(d_y, b).view(len(d_a), -1)
        d_b[:, group.pairs] = torch.bmm(a, d_y).baddbmm_(d_y.mT, a).view(len(d_b), -1)
    return d_gated
