"""The blocks of the two-track encoder, each an exact rewrite of the paper's equations that does
less work.

Parameters keep the paper's factorisation (and so its weights); what is fused is fused in the
forward pass. TwoTrackEncoding are flat (see ``layout``); what changes a track is in ``updates``.
Source: Uni-Mol2 (arXiv 2406.14969) section 3 and its released code; the outer product and the
triangle update go back to AlphaFold 2 (Jumper et al. 2021, supplement, algorithms 10 to 12).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...shapes import Float, Int
from .packing import Layout
from .pair_autograd import joint_product, keep_mask, pair_update, transition_update
from .pair_ops import transition_weights, triangle_weights


def attention_bias(layer: nn.Linear, pairs: Float[Tensor, "pair d_pair"], layout: Layout) -> Tensor:
    """One scalar a head for each pair of nodes, `[mol, head, n, n]`; -inf where the key is padding.

    The layer's own bias shifts all logits of a softmax alike, so it is left out: its gradient is
    zero, not round-off.
    """
    bias = layout.spread_pairs(F.linear(pairs, layer.weight)).permute(0, 3, 1, 2)
    return bias + layout.masked.to(bias.dtype)


class PairBiasAttention(nn.Module):
    """Self-attention over atoms whose logits are biased by the pair track, one scalar for each
    head.

    Computed on the padded view: it is a hundredth of the multiplications, and one call for all
    molecules.
    """

    def __init__(self, d_atom: int, d_pair: int, n_head: int, dropout: float):
        super().__init__()
        self.n_head, self.dropout = n_head, dropout
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
        joint = joint_product(atoms, self.query.weight, self.key.weight, self.value.weight)
        q, k, v = (
            layout.spread_nodes(joint).unflatten(-1, (3, self.n_head, -1)).permute(2, 0, 3, 1, 4)
        )
        bias = attention_bias(self.bias, pairs, layout)
        mixed = attend(
            q, k, v, bias.to(q.dtype), self.dropout if self.training else 0.0
        )  # mol head n d_head
        return self.out(layout.take_nodes(mixed.transpose(1, 2).flatten(2)))


def attend(q, k, v, bias, dropout: float) -> Float[Tensor, "mol head n d_head"]:
    """Softmax attention with an additive bias that learns."""
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias.contiguous(), dropout_p=dropout
        )
    # torch's own kernel for the CPU takes no bias with a gradient, and falls back to this with a
    # slower dropout
    weights = torch.softmax(torch.matmul(q * q.shape[-1] ** -0.5, k.mT) + bias, -1)
    return torch.matmul(apply_dropout(weights, dropout), v)


def apply_dropout(x: Tensor, p: float) -> Tensor:
    """Dropout with masks that are cheap to draw."""
    return torch.where(keep_mask(x.shape, p, x.device), x / (1 - p), 0) if p else x


class Transition(nn.Module):
    """Two linear layers with a GELU between (see `transition_update`)."""

    def __init__(self, d: int, d_inner: int):
        super().__init__()
        self.expand = nn.Linear(d, d_inner)
        self.contract = nn.Linear(d_inner, d)


class OuterProduct(nn.Module):
    """What two atoms tell the pair between them: z_ij = W vec(a_i ⊗ b_j) + β.

    With N the number of nodes, a_i and b_j are scaled by N^-½ and the sum divided by 10^-3 + 1/N,
    which multiplies β by nearly N.
    """

    def __init__(self, d_atom: int, d_pair: int, d_hidden: int):
        super().__init__()
        self.d_hidden = d_hidden
        self.project = nn.Linear(d_atom, 2 * d_hidden)
        self.out = nn.Linear(d_hidden**2, d_pair)

    def factors(
        self, atoms: Float[Tensor, "node d_atom"], layout: Layout
    ) -> tuple[Tensor, Tensor, Tensor]:
        """a and b of each node, a with all normalisation; and for each molecule what multiplies
        β.
        """
        scale = 1.0 / (1e-3 + 1.0 / layout.length)
        left, right = self.project(atoms).split(self.d_hidden, -1)
        return left * layout.per_node(scale / layout.length)[:, None].to(left.dtype), right, scale


class TriangleUpdate(nn.Module):
    """What a third atom tells a pair: y_ij = Σ_k a_ik b_jk + Σ_k a_ki b_kj, both directions in
    one sum.
    """

    def __init__(self, d_pair: int, d_hidden: int):
        super().__init__()
        self.project = nn.Linear(d_pair, 2 * d_hidden)
        self.gate = nn.Linear(d_pair, 2 * d_hidden)
        self.out_gate = nn.Linear(d_pair, d_pair)
        self.norm = nn.LayerNorm(d_hidden)
        self.out = nn.Linear(d_hidden, d_pair)


class Block(nn.Module):
    """One layer of the encoder: atoms attend and transform, then pairs hear from atoms,
    triangles and themselves.
    """

    def __init__(
        self, d_atom, d_ffn, n_head, d_pair, d_hidden, dropout, attention_dropout, pair_dropout
    ):
        super().__init__()
        self.attention_norm = nn.LayerNorm(d_atom)
        self.attention = PairBiasAttention(d_atom, d_pair, n_head, attention_dropout)
        self.ffn_norm = nn.LayerNorm(d_atom)
        self.ffn = Transition(d_atom, d_ffn)
        self.outer_norm = nn.LayerNorm(d_atom)
        self.outer = OuterProduct(d_atom, d_pair, d_hidden)
        self.triangle_norm = nn.LayerNorm(d_pair)
        self.triangle = TriangleUpdate(d_pair, d_hidden)
        self.pair_ffn_norm = nn.LayerNorm(d_pair)
        self.pair_ffn = Transition(d_pair, d_pair)
        self.dropout, self.pair_dropout = dropout, pair_dropout

    def forward(
        self,
        atoms: Float[Tensor, "node d_atom"],
        pairs: Float[Tensor, "pair d_pair"],
        layout: Layout,
        update_pairs: bool = True,
    ) -> tuple[Float[Tensor, "node d_atom"], Float[Tensor, "pair d_pair"]]:
        drop, drop_rows = (self.dropout, self.pair_dropout) if self.training else (0.0, 0.0)
        atoms = atoms + apply_dropout(
            self.attention(self.attention_norm(atoms), pairs, layout), drop
        )
        atoms = transition_update(atoms, self.ffn_norm, self.ffn, drop)
        if update_pairs:
            pairs = pair_update(
                pairs,
                *self.outer.factors(self.outer_norm(atoms), layout),
                layout,
                (drop, drop_rows),
                (self.outer.out.weight, self.outer.out.bias),
                triangle_weights(self.triangle_norm, self.triangle),
                transition_weights(self.pair_ffn_norm, self.pair_ffn),
            )
        return atoms, pairs


def gaussians(
    u: Float[Tensor, " pair"], mean: Float[Tensor, " kernel"], width: float
) -> Float[Tensor, "pair kernel"]:
    """Normal densities of this width about each mean."""
    # 3.14159 and not π: the reference's constant, visible at float32 precision
    height = 1.0 / ((2 * 3.14159) ** 0.5 * width)
    exponent = (u[:, None] - mean).div_(width).square_().mul_(-0.5)
    # exp takes ten times as long where it underflows; below -87 the true value is less than 2e-38
    return exponent.clamp_(min=-87.0).exp_().mul_(height)


class _KernelNetwork(torch.autograd.Function):
    """W₂ gelu(W₁ gaussians(u) + β₁) + β₂; keeps one number a pair, and does the rest again in
    backward.
    """

    @staticmethod
    def forward(ctx, u, mean, width, w1, b1, w2, b2):
        ctx.save_for_backward(u, mean, w1, b1, w2)
        ctx.width = width
        return F.linear(F.gelu(F.linear(gaussians(u, mean, width), w1, b1)), w2, b2)

    @staticmethod
    def backward(ctx, grad):
        u, mean, w1, b1, w2 = ctx.saved_tensors
        density = gaussians(u, mean, ctx.width)
        inner = F.linear(density, w1, b1)
        d_w2, d_b2 = grad.t() @ F.gelu(inner), grad.sum(0)
        d_inner = torch.ops.aten.gelu_backward(grad @ w2, inner)
        del inner
        d_w1, d_b1 = d_inner.t() @ density, d_inner.sum(0)
        d_u = density.mul_(d_inner @ w1).mul_(u[:, None] - mean).sum(1) / -(ctx.width**2)
        return d_u, None, None, d_w1, d_b1, d_w2, d_b2


class DistanceKernel(nn.Module):
    """Distances as the pair track reads them: Gaussians of an affinely stretched distance, then a
    small network.

    u = (Σ|mul|)·d + Σ bias over the two pair-type codes of a pair; 128 Gaussians (in the paper's
    presets) on 0 to 9, as wide as they are apart. Always in float32. No gradient flows to the
    coordinates.
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
        # in the reference's order: a gradient that is all but cancelled depends on how the sum is
        # rounded
        return mul * distance.detach().float() + (self.bias(left) + self.bias(right).mT)

    def forward(self, stretched: Float[Tensor, " pair"]) -> Float[Tensor, "pair d_pair"]:
        with torch.autocast(stretched.device.type, enabled=False):
            first, second = self.inner, self.out
            of_network = first.weight, first.bias, second.weight, second.bias
            return _KernelNetwork.apply(stretched, self.mean, self.width, *of_network)


class MovementHead(nn.Module):
    """Where atoms move: an attention over atoms whose values are displacements, so it turns with
    the molecule.

    f_i = Σ_j (Σ_h p_ij^h s_j^h) (r_j - r_i), where s^h is the value projection and the final
    projection folded into one vector a head. Invariant to translation, equivariant to rotation.
    Coordinates stay in float32.
    """

    def __init__(self, d_atom: int, d_pair: int, n_head: int, dropout: float = 0.1):
        super().__init__()
        self.n_head, self.dropout = n_head, dropout
        self.norm = nn.LayerNorm(d_atom)
        self.query = nn.Linear(d_atom, d_atom, bias=False)
        self.key = nn.Linear(d_atom, d_atom, bias=False)
        self.value = nn.Linear(d_atom, d_atom, bias=False)
        self.force = nn.Linear(d_atom, 1, bias=False)
        self.pair_norm = nn.LayerNorm(d_pair)
        self.bias = nn.Linear(d_pair, n_head)

    def forward(
        self,
        atoms: Float[Tensor, "node d_atom"],
        pairs: Float[Tensor, "pair d_pair"],
        coords: Float[Tensor, "mol n xyz"],
        layout: Layout,
    ) -> Float[Tensor, "mol n xyz"]:
        d = atoms.shape[-1]
        x = self.norm(atoms)
        folded = (
            self.value.weight.view(self.n_head, -1, d) * self.force.weight.view(self.n_head, -1, 1)
        ).sum(1)
        joint = joint_product(x, self.query.weight, self.key.weight, folded)
        q, k, strength = joint.split([d, d, self.n_head], -1)
        scale, dropout = (d // self.n_head) ** -0.5, self.dropout if self.training else 0.0
        q, k, strength = (
            layout.spread_nodes(t)[:, 1:].unflatten(-1, (self.n_head, -1)) for t in (q, k, strength)
        )
        bias = attention_bias(self.bias, self.pair_norm(pairs), layout)[:, :, 1:, 1:]
        logits = (q.transpose(1, 2) * scale) @ k.permute(0, 2, 3, 1)
        # gradients of what shifts all logits alike cancel over a row; float64 is free here on a
        # CPU, and not elsewhere
        wide = torch.float64 if coords.device.type == "cpu" else torch.float32
        attention = apply_dropout(
            torch.softmax(logits.to(wide) + bias.to(wide), -1), dropout
        )  # mol head i j
        with torch.autocast(coords.device.type, enabled=False):
            pull = (attention * strength.to(wide).permute(0, 2, 3, 1)).sum(1)  # mol i j
            displacement = (coords[:, None] - coords[:, :, None]).detach().to(wide)  # r_j - r_i
            return coords + torch.einsum("mij,mijx->mix", pull, displacement).to(coords.dtype)
