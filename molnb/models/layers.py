"""The blocks of the two-track encoder, each an exact rewrite of the paper's equations that does less work.

Parameters keep the paper's factorisation (and so its weights); what is fused is fused in the forward pass.
Source: Uni-Mol2 (arXiv 2406.14969) section 3 and its released code; the outer product and the triangle update go back
to AlphaFold 2 (Jumper et al. 2021, supplement, algorithms 10 to 12).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..shapes import Bool, Float, Int


def real_pairs(real: Bool[Tensor, "mol n_node"]) -> Bool[Tensor, "mol n_node n_node"]:
    """True where both atoms are real."""
    return real[:, :, None] & real[:, None, :]


class PairBiasAttention(nn.Module):
    """Self-attention over atoms whose logits are biased by the pair track, one scalar for each head."""

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
        atoms: Float[Tensor, "mol n_node d_atom"],
        pairs: Float[Tensor, "mol n_node n_node d_pair"],
        masked: Float[Tensor, "mol 1 1 n_node"],
    ) -> Float[Tensor, "mol n_node d_atom"]:
        mol, n, d = atoms.shape
        joint = F.linear(atoms, torch.cat([self.query.weight, self.key.weight, self.value.weight]))
        q, k, v = joint.view(mol, n, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)  # mol head n_node d_head
        bias = self.bias(pairs).permute(0, 3, 1, 2) + masked.to(pairs.dtype)  # mol head n_node n_node
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), dropout_p=dropout)
        return self.out(mixed.transpose(1, 2).reshape(mol, n, d))


class Transition(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, d: int, d_inner: int):
        super().__init__()
        self.expand = nn.Linear(d, d_inner)
        self.contract = nn.Linear(d_inner, d)

    def forward(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        return self.contract(F.gelu(self.expand(x)))


class OuterProduct(nn.Module):
    """What two atoms tell the pair between them: z_ij = W vec(a_i ⊗ b_j) + β.

    Reassociated: a_i is contracted with W once for each atom, so the h² numbers a pair that the equation names are
    never formed (1/n + 1/h of the multiplications). `length` is the number of nodes N in the paper's normalisation
    (a_i and b_j scaled by N^-½, the sum divided by 10^-3 + 1/N), which multiplies β by nearly N.
    """

    def __init__(self, d_atom: int, d_pair: int, d_hidden: int):
        super().__init__()
        self.d_hidden = d_hidden
        self.project = nn.Linear(d_atom, 2 * d_hidden)
        self.out = nn.Linear(d_hidden**2, d_pair)

    def forward(
        self, atoms: Float[Tensor, "mol n_node d_atom"], length: Float[Tensor, "mol 1 1"]
    ) -> Float[Tensor, "mol n_node n_node d_pair"]:
        mol, n, _ = atoms.shape
        h = self.d_hidden
        norm = 1.0 / (1e-3 + 1.0 / length)  # mol 1 1
        left, right = self.project(atoms).split(h, -1)
        left = left * (norm / length).to(left.dtype)
        weight = self.out.weight.view(-1, h, h).permute(1, 2, 0).reshape(h, -1)  # c, (d d_pair)
        half = (left @ weight.to(left.dtype)).view(mol, n, h, -1)  # mol n_node d d_pair
        bias = (norm * self.out.bias).to(left.dtype)  # mol 1 d_pair
        return torch.matmul(right[:, None], half) + bias[:, :, None]


class TriangleUpdate(nn.Module):
    """What a third atom tells a pair: y_ij = Σ_k a_ik b_jk + Σ_k a_ki b_kj, both directions in one sum.

    The gate `linear_g` has no sigmoid, as in the reference and unlike AlphaFold 2. The four projections of the pair
    track read the same input and are one product; the two sums over k are one product of doubled length.
    """

    def __init__(self, d_pair: int, d_hidden: int):
        super().__init__()
        self.d_hidden = d_hidden
        self.project = nn.Linear(d_pair, 2 * d_hidden)
        self.gate = nn.Linear(d_pair, 2 * d_hidden)
        self.out_gate = nn.Linear(d_pair, d_pair)
        self.norm = nn.LayerNorm(d_hidden)
        self.out = nn.Linear(d_hidden, d_pair)

    def forward(
        self,
        pairs: Float[Tensor, "mol n_node n_node d_pair"],
        weight: Float[Tensor, "mol n_node n_node 1"],
    ) -> Float[Tensor, "mol n_node n_node d_pair"]:
        h = self.d_hidden
        parts = (self.project, self.gate, self.out_gate)
        joint = F.linear(pairs, torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts]))
        value, gate, out_gate = joint.split([2 * h, 2 * h, joint.shape[-1] - 4 * h], -1)
        a, b = (value * torch.sigmoid(gate) * weight.to(value.dtype)).permute(0, 3, 1, 2).split(h, 1)  # mol d i k
        y = torch.cat([a, a.mT], -1) @ torch.cat([b.mT, b], -2)  # mol d i j
        return out_gate * self.out(self.norm(y.permute(0, 2, 3, 1)))


class Block(nn.Module):
    """One layer of the encoder: atoms attend and transform, then pairs hear from atoms, triangles and themselves."""

    def __init__(self, d_atom, d_ffn, n_head, d_pair, d_hidden, dropout, attention_dropout, pair_dropout):
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
        self.drop = nn.Dropout(dropout)
        self.pair_dropout = pair_dropout

    def _drop_rows(self, update: Float[Tensor, "mol i j d_pair"]) -> Float[Tensor, "mol i j d_pair"]:
        """Dropout with one mask for all i (AlphaFold 2's row-wise dropout)."""
        mask = update.new_ones(update.shape[0], 1, *update.shape[2:])
        return update * F.dropout(mask, self.pair_dropout, self.training)

    def forward(self, atoms, pairs, masked, length, triangle_weight, update_pairs=True):
        atoms = atoms + self.drop(self.attention(self.attention_norm(atoms), pairs, masked))
        atoms = atoms + self.drop(self.ffn(self.ffn_norm(atoms)))
        if update_pairs:
            pairs = pairs + self.drop(self.outer(self.outer_norm(atoms), length))
            pairs = pairs + self._drop_rows(self.triangle(self.triangle_norm(pairs), triangle_weight))
            pairs = pairs + self.drop(self.pair_ffn(self.pair_ffn_norm(pairs)))
        return atoms, pairs


class DistanceKernel(nn.Module):
    """Distances as the pair track reads them: Gaussians of an affinely stretched distance, then a small network.

    u = (Σ|mul|)·d + Σ bias over the two pair-type codes of a pair; 128 Gaussians (in the paper's presets) on 0 to 9,
    as wide as they are apart. Always in float32. No gradient flows to the coordinates.
    """

    def __init__(self, n_kernel: int, n_type: int, d_pair: int):
        super().__init__()
        self.mul = nn.Embedding(n_type, 1, padding_idx=0)
        self.bias = nn.Embedding(n_type, 1, padding_idx=0)
        self.inner = nn.Linear(n_kernel, n_kernel)
        self.out = nn.Linear(n_kernel, d_pair)
        self.register_buffer("mean", torch.linspace(0, 9, n_kernel))
        self.width = 9.0 / (n_kernel - 1)

    def forward(
        self, distance: Float[Tensor, "mol n n"], left: Int[Tensor, "mol n"], right: Int[Tensor, "mol n"]
    ) -> Float[Tensor, "mol n n d_pair"]:
        with torch.autocast(distance.device.type, enabled=False):
            mul = self.mul(left).abs() + self.mul(right).abs().mT  # mol n n
            bias = self.bias(left) + self.bias(right).mT
            stretched = mul * distance.detach().float() + bias
            # 3.14159 and not π: the reference's constant, visible at float32 precision
            height = 1.0 / ((2 * 3.14159) ** 0.5 * self.width)
            scaled = (stretched[..., None] - self.mean) / self.width
            gaussians = torch.exp(-0.5 * scaled**2) * height
            return self.out(F.gelu(self.inner(gaussians)))


class MovementHead(nn.Module):
    """Where atoms move: an attention over atoms whose values are displacements, so it turns with the molecule.

    f_i = Σ_j (Σ_h p_ij^h s_j^h) (r_j - r_i), where s^h is the value projection and the final projection folded into
    one vector a head. Invariant to translation, equivariant to rotation. Coordinates stay in float32.
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
        atoms: Float[Tensor, "mol n d_atom"],
        pairs: Float[Tensor, "mol n n d_pair"],
        coords: Float[Tensor, "mol n xyz"],
        masked: Float[Tensor, "mol 1 1 n"],
    ) -> Float[Tensor, "mol n xyz"]:
        mol, n, d = atoms.shape
        x = self.norm(atoms)
        q = self.query(x).view(mol, n, self.n_head, -1).transpose(1, 2)
        k = self.key(x).view(mol, n, self.n_head, -1).transpose(1, 2)
        folded = (self.value.weight.view(self.n_head, -1, d) * self.force.weight.view(self.n_head, -1, 1)).sum(1)
        strength = F.linear(x, folded).transpose(1, 2)  # mol head n
        bias = self.bias(self.pair_norm(pairs)).permute(0, 3, 1, 2)
        logits = (q * (d // self.n_head) ** -0.5) @ k.mT + bias
        attention = torch.softmax(logits.float() + masked, -1)
        attention = F.dropout(attention, self.dropout, self.training)  # mol head i j
        with torch.autocast(coords.device.type, enabled=False):
            pull = torch.einsum("bhij,bhj->bij", attention.float(), strength.float())
            displacement = (coords[:, None] - coords[:, :, None]).detach()  # r_j - r_i
            return coords + torch.einsum("bij,bijx->bix", pull, displacement)
