"""The layers of the two-track encoder, each an exact rewrite of the paper's equations.

Parameters keep the paper's factorisation (and so its weights); what is fused is fused in the
forward pass. Tracks are flat (see `packing`); what changes a track is in `pair_autograd`. Source:
Uni-Mol2 (arXiv 2406.14969) section 3 and its released code; the outer product and the triangle
update go back to AlphaFold 2 (Jumper et al. 2021, supplement, algorithms 10 to 12).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...shapes import Float, Int
from ..dropout import apply_dropout
from ..precision import at_least_float32
from .config import TwoTrackConfig
from .packing import Layout, mark_shapes, remake_padded
from .pair_autograd import (
    PairDropout,
    PairWeights,
    joint_product,
    pair_update,
    transition_update,
)
from .pair_ops import (
    OuterFactors,
    OuterWeights,
    TransitionWeights,
    TriangleWeights,
)

LOG_NEGLIGIBLE = -20.0  # 2e-9: nothing in float32 beside the density at a mean
NO_DROPOUT = PairDropout(elements=0.0, rows=0.0)


def attention_bias(
    layer: nn.Linear, pairs: Float[Tensor, "pair d_pair"], layout: Layout
) -> Float[Tensor, "mol head n_node n_node"]:
    """One scalar a head for each pair of nodes, padded; -inf where the key is padding.

    The layer's own bias shifts all logits of a softmax alike, so it is left out: its gradient is
    zero, not round-off.
    """
    per_pair = F.linear(pairs, layer.weight)  # pair head
    bias = layout.spread_pairs(per_pair).permute(0, 3, 1, 2)  # mol head n_node n_node
    return bias + layout.key_mask.to(bias.dtype)


class PairBiasAttention(nn.Module):
    """Self-attention over atoms, its logits biased by the pair track: one scalar for each head.

    Computed on the padded view: it is a hundredth of the multiplications, and one call for all
    molecules.
    """

    def __init__(self, d_atom: int, d_pair: int, n_head: int, dropout: float):
        super().__init__()
        self.n_head = n_head
        self.dropout = dropout
        self.query = nn.Linear(d_atom, d_atom, bias=False)
        self.key = nn.Linear(d_atom, d_atom, bias=False)
        self.value = nn.Linear(d_atom, d_atom, bias=False)
        self.bias = nn.Linear(d_pair, n_head)
        self.out = nn.Linear(d_atom, d_atom)

    def forward(
        self,
        atoms: Float[Tensor, "node d_atom"],
        pairs: Float[Tensor, "pair d_pair"],
        layout: Layout,
    ) -> Float[Tensor, "node d_atom"]:
        """The update of the atom track, before dropout and residual sum."""
        joint = joint_product(atoms, self.query.weight, self.key.weight, self.value.weight)
        heads = layout.spread_nodes(joint).unflatten(-1, (3, self.n_head, -1))
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each: mol head n_node d_head
        bias = attention_bias(self.bias, pairs, layout).to(q.dtype)  # mol head n_node n_node
        mixed = attend(q, k, v, bias, self.dropout if self.training else 0.0)
        return self.out(layout.take_nodes(mixed.transpose(1, 2).flatten(2)))  # node d_atom


def attend(
    q: Float[Tensor, "mol head n_node d_head"],
    k: Float[Tensor, "mol head n_node d_head"],
    v: Float[Tensor, "mol head n_node d_head"],
    bias: Float[Tensor, "mol head n_node n_node"],
    dropout: float,
) -> Float[Tensor, "mol head n_node d_head"]:
    """Softmax attention with an additive bias that learns."""
    # compiled, its parts are few kernels, and torch 2.11 hands a fused one a bias that it refuses
    if q.device.type != "cpu" and not torch.compiler.is_compiling():
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias.contiguous(), dropout_p=dropout
        )
    # torch's own kernel for the CPU takes no bias with a gradient, and falls back to this with a
    # slower dropout
    logits = torch.matmul(q * q.shape[-1] ** -0.5, k.mT) + bias  # mol head n_node n_node
    return torch.matmul(apply_dropout(torch.softmax(logits, -1), dropout), v)


class Transition(nn.Module):
    """Two linear layers with a GELU between; computed by `transition_update` and `pair_update`."""

    def __init__(self, d: int, d_inner: int):
        super().__init__()
        self.expand = nn.Linear(d, d_inner)
        self.contract = nn.Linear(d_inner, d)

    def weights(self, norm: nn.LayerNorm) -> TransitionWeights:
        """Its parameters with those of the norm before it."""
        return TransitionWeights(
            norm_weight=norm.weight,
            norm_bias=norm.bias,
            expand_weight=self.expand.weight,
            expand_bias=self.expand.bias,
            contract_weight=self.contract.weight,
            contract_bias=self.contract.bias,
        )


class OuterProduct(nn.Module):
    """What two atoms tell the pair between them: z_ij = W vec(a_i ⊗ b_j) + β.

    With N the number of nodes, a_i and b_j are scaled by N^-½ and the sum divided by 10^-3 + 1/N,
    which multiplies β by nearly N. The product itself stands in `pair_update`.
    """

    def __init__(self, d_atom: int, d_pair: int, d_hidden: int):
        super().__init__()
        self.d_hidden = d_hidden
        self.project = nn.Linear(d_atom, 2 * d_hidden)
        self.out = nn.Linear(d_hidden**2, d_pair)

    def factors(self, atoms: Float[Tensor, "node d_atom"], layout: Layout) -> OuterFactors:
        """a and b of each node, a with all normalisation; and what multiplies β."""
        bias_scale = 1.0 / (1e-3 + 1.0 / layout.length)  # mol
        left, right = self.project(atoms).split(self.d_hidden, -1)  # node h
        normalisation = layout.per_node(bias_scale / layout.length)[:, None]  # node 1
        return OuterFactors(left * normalisation.to(left.dtype), right, bias_scale)

    def weights(self) -> OuterWeights:
        """The parameters of the product; those of the projection act in `factors`."""
        return OuterWeights(self.out.weight, self.out.bias)


class TriangleUpdate(nn.Module):
    """What a third atom k tells a pair: Σ_k a_ik b_jk + Σ_k a_ki b_kj, gated; see `pair_update`."""

    def __init__(self, d_pair: int, d_hidden: int):
        super().__init__()
        self.project = nn.Linear(d_pair, 2 * d_hidden)
        self.gate = nn.Linear(d_pair, 2 * d_hidden)
        self.out_gate = nn.Linear(d_pair, d_pair)
        self.norm = nn.LayerNorm(d_hidden)
        self.out = nn.Linear(d_hidden, d_pair)

    def weights(self, norm: nn.LayerNorm) -> TriangleWeights:
        """Its parameters with those of the norm before it; what reads the same input is joined."""
        return TriangleWeights(
            norm_weight=norm.weight,
            norm_bias=norm.bias,
            joint_weight=torch.cat([self.project.weight, self.gate.weight]),
            joint_bias=torch.cat([self.project.bias, self.gate.bias]),
            gate_weight=self.out_gate.weight,
            gate_bias=self.out_gate.bias,
            sums_norm_weight=self.norm.weight,
            sums_norm_bias=self.norm.bias,
            out_weight=self.out.weight,
            out_bias=self.out.bias,
        )


class Block(nn.Module):
    """One layer of the encoder: atoms attend and transform, then pairs learn from both tracks."""

    def __init__(self, config: TwoTrackConfig):
        super().__init__()
        d_atom = config.d_atom
        d_pair = config.d_pair
        d_hidden = config.d_hidden
        self.attention_norm = nn.LayerNorm(d_atom)
        self.attention = PairBiasAttention(
            d_atom, d_pair, config.n_head, dropout=config.attention_dropout
        )
        self.ffn_norm = nn.LayerNorm(d_atom)
        self.ffn = Transition(d_atom, config.d_ffn)
        self.outer_norm = nn.LayerNorm(d_atom)
        self.outer = OuterProduct(d_atom, d_pair, d_hidden)
        self.triangle_norm = nn.LayerNorm(d_pair)
        self.triangle = TriangleUpdate(d_pair, d_hidden)
        self.pair_ffn_norm = nn.LayerNorm(d_pair)
        self.pair_ffn = Transition(d_pair, d_pair)
        self.dropout = config.dropout
        self.pair_dropout = config.pair_dropout
        self._fused = None

    def fuse(self, **options) -> None:
        """Compile the layer for padded layouts: one graph for each padded length.

        Layers that are alike share it.
        """
        options = {"fullgraph": True, "dynamic": None} | options
        self._fused = torch.compile(self._update_padded, **options)

    def forward(
        self,
        atoms: Float[Tensor, "node d_atom"],
        pairs: Float[Tensor, "pair d_pair"],
        layout: Layout,
        update_pairs: bool = True,
    ) -> tuple[Float[Tensor, "node d_atom"], Float[Tensor, "pair d_pair"]]:
        """Both tracks after the layer; pairs as they were where `update_pairs` is false."""
        if self._fused is None:
            return self._update(atoms, pairs, layout, update_pairs)
        arrays = (atoms, pairs, layout.key_mask, layout.length)
        mark_shapes(arrays)
        return self._fused(*arrays, update_pairs)

    def _update_padded(
        self,
        atoms: Float[Tensor, "node d_atom"],
        pairs: Float[Tensor, "pair d_pair"],
        key_mask: Float[Tensor, "mol 1 1 n_node"],
        length: Float[Tensor, " mol"],
        update_pairs: bool,
    ) -> tuple[Float[Tensor, "node d_atom"], Float[Tensor, "pair d_pair"]]:
        return self._update(atoms, pairs, remake_padded(key_mask, length), update_pairs)

    def _update(
        self,
        atoms: Float[Tensor, "node d_atom"],
        pairs: Float[Tensor, "pair d_pair"],
        layout: Layout,
        update_pairs: bool,
    ) -> tuple[Float[Tensor, "node d_atom"], Float[Tensor, "pair d_pair"]]:
        dropout = self.dropout if self.training else 0.0
        update = self.attention(self.attention_norm(atoms), pairs, layout)  # node d_atom
        atoms = atoms + apply_dropout(update, dropout)
        atoms = transition_update(atoms, self.ffn.weights(self.ffn_norm), dropout)
        if update_pairs:
            pairs = self.updated_pairs(atoms, pairs, layout)
        return atoms, pairs

    def updated_pairs(
        self,
        atoms: Float[Tensor, "node d_atom"],
        pairs: Float[Tensor, "pair d_pair"],
        layout: Layout,
    ) -> Float[Tensor, "pair d_pair"]:
        """The pair half of the layer: outer product, triangle update and transition."""
        dropout = PairDropout(elements=self.dropout, rows=self.pair_dropout)
        return pair_update(
            pairs,
            self.outer.factors(self.outer_norm(atoms), layout),
            PairWeights(
                outer=self.outer.weights(),
                triangle=self.triangle.weights(self.triangle_norm),
                transition=self.pair_ffn.weights(self.pair_ffn_norm),
            ),
            dropout if self.training else NO_DROPOUT,
            layout,
        )


def gaussians(
    u: Float[Tensor, " pair"], mean: Float[Tensor, " kernel"], width: float
) -> Float[Tensor, "pair kernel"]:
    """Normal densities of this width about each mean; zero where they are negligible.

    That is 6.3 widths from a mean. What follows from smaller densities, squares of gradients
    above all, is soon a subnormal number, for which some processors (Intel's) take many times
    as long as for others.
    """
    # 3.14159 and not π: the reference's constant, visible at float32 precision
    height = 1.0 / ((2 * 3.14159) ** 0.5 * width)
    exponent = (u[:, None] - mean).div_(width).square_().mul_(-0.5)
    # clamped first: exp takes ten times as long where it underflows
    density = exponent.clamp_(min=LOG_NEGLIGIBLE).exp_()
    return F.threshold_(density, 1.01 * math.exp(LOG_NEGLIGIBLE), 0.0).mul_(height)


class _KernelNetwork(torch.autograd.Function):
    """W₂ gelu(W₁ gaussians(u) + β₁) + β₂.

    Keeps one number a pair; Gaussians and the first product are made again in the backward pass.
    """

    @staticmethod
    def forward(ctx, u, mean, width, inner_weight, inner_bias, out_weight, out_bias):
        ctx.save_for_backward(u, mean, inner_weight, inner_bias, out_weight)
        ctx.width = width
        inner = F.linear(gaussians(u, mean, width), inner_weight, inner_bias)  # pair kernel
        return F.linear(F.gelu(inner), out_weight, out_bias)  # pair d_pair

    @staticmethod
    def backward(ctx, grad):
        u, mean, inner_weight, inner_bias, out_weight = ctx.saved_tensors
        density = gaussians(u, mean, ctx.width)  # pair kernel
        inner = F.linear(density, inner_weight, inner_bias)  # pair kernel
        d_out_weight = grad.t() @ F.gelu(inner)
        d_out_bias = grad.sum(0)
        d_inner = torch.ops.aten.gelu_backward(grad @ out_weight, inner)  # pair kernel
        del inner
        d_inner_weight = d_inner.t() @ density
        d_inner_bias = d_inner.sum(0)
        # the derivative of a Gaussian is itself times (mean - u) / width²
        slopes = density.mul_(d_inner @ inner_weight).mul_(u[:, None] - mean)  # pair kernel
        d_u = slopes.sum(1) / -(ctx.width**2)  # pair
        # u, mean, width, then the weights
        return d_u, None, None, d_inner_weight, d_inner_bias, d_out_weight, d_out_bias


class DistanceKernel(nn.Module):
    """Distances as the pair track reads them: Gaussians of a stretched distance, then a network.

    u = (Σ|mul|)·d + Σ bias over the two pair-type codes of a pair; 128 Gaussians (in the paper's
    presets) on 0 to 9, as wide as they are apart. Always in float32 or wider. No gradient flows to
    the coordinates.
    """

    def __init__(self, n_kernel: int, n_type: int, d_pair: int):
        super().__init__()
        self.mul = nn.Embedding(n_type, 1, padding_idx=0)
        self.bias = nn.Embedding(n_type, 1, padding_idx=0)
        self.inner = nn.Linear(n_kernel, n_kernel)
        self.out = nn.Linear(n_kernel, d_pair)
        self.register_buffer("mean", torch.linspace(0, 9, n_kernel))
        self.width = 9.0 / (n_kernel - 1)

    def stretch(
        self,
        distance: Float[Tensor, "mol n n"],
        left: Int[Tensor, "mol n"],
        right: Int[Tensor, "mol n"],
    ) -> Float[Tensor, "mol n n"]:
        """The affine map of distances (Å) by the types of both atoms."""
        mul = self.mul(left).abs() + self.mul(right).abs().mT  # mol n n
        bias = self.bias(left) + self.bias(right).mT  # mol n n
        # summed in the reference's order: a gradient that all but cancels depends on rounding
        return mul * at_least_float32(distance.detach()) + bias

    def forward(self, stretched: Float[Tensor, " pair"]) -> Float[Tensor, "pair d_pair"]:
        """What the pair track gets from the stretched distance of each pair."""
        with torch.autocast(stretched.device.type, enabled=False):
            return _KernelNetwork.apply(
                stretched,
                self.mean,
                self.width,
                self.inner.weight,
                self.inner.bias,
                self.out.weight,
                self.out.bias,
            )
