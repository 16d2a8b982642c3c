"""The two-track encoder of Uni-Mol2: atoms attend under a bias from pairs, pairs hear from atoms
and triangles.

Source: Uni-Mol2 (arXiv 2406.14969), section 3, and the authors' released code where text and code
disagree.

Differs from the paper and from its code, under ``Conventions`` ``MOLNB`` (``REFERENCE`` restores
the first four):

- Length normalisation: the code divides by the padded length of the batch, so its answers change
  with the company a molecule keeps. Here N is the molecule's own number of nodes, and nothing needs
  to be padded.
- Pair types: the code fills them from the chirality column. Here they are the two elements, and a
  hidden atom shows the mask's type, so the answer does not leak.
- Chirality: RDKit's tag depends on the order of neighbours. Here it is the parity over canonical
  neighbour ranks.
- Initialisation: the code overwrites its own with N(0, 0.02) everywhere, which multiplies distances
  by 0.03 at the start. Here it is the intended one: residual branches end in zero, the distance
  stretch starts at one.

Under both:

- Equation 4 shows no residual sum around attention and equation 5 feeds pairs to the outer product;
  the code, and this module, add what was there and feed atoms. Hydrogens are not seen unless the
  configuration says so. The movement head looks from an atom to the others (the paper's sign is the
  opposite one).
- Losses are sums and counts, divided once: nothing masked is a term of zero, where the code's mean
  is NaN (``objectives``). Noise is Gaussian on all atoms, as in the paper and unlike the code's
  defaults; depictions in 2D, which the code mixes in and the paper does not mention, are not.
- Large molecules are cropped with their graph, features and coordinates together; the code crops
  coordinates only (``crops``). Fragments without a path between them have their own row, never that
  of hidden features. Chirality tags and bond stereo that the code's lists lack (allenes,
  atropisomers) are "other" and "none", where it stops.
- Features never seen in training contribute zero and are named (``unseen``), where the code adds a
  random vector.
- What shifts all logits of a softmax alike (`attention.bias.bias`) is kept for the weights' sake
  and left out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...shapes import Bool, Float, Int
from .config import Conventions, TwoTrackConfig
from .inputs import (
    N_BOND_VALUE,
    N_DEGREE,
    N_FEATURE,
    N_HOP,
    N_PAIR_TYPE,
    N_TOKEN,
    EncoderInputs,
    bond_kinds,
)
from .layers import Block, DistanceKernel, MovementHead
from .packing import Layout, packed_layout, padded_layout

# what one run more costs on a CPU, in numbers of the pair track (flat from 4,000 to 64,000)
RUN_COST = 16_000


class TwoTrackEncoding(NamedTuple):
    """The encoder's answer. Both tracks are flat, without padding; `coords` are the denoised ones,
    padded, in Å.

    `atoms`, `pairs` and `molecule` are views for reading: one row a molecule, in the order of the
    batch, the virtual node first.
    """

    nodes: Float[Tensor, "node d_atom"]
    pair_rows: Float[Tensor, "pair d_pair"]
    coords: Float[Tensor, "mol n xyz"]
    real: Bool[Tensor, "mol n"]
    layout: Layout

    @property
    def molecule(self) -> Float[Tensor, "mol d_atom"]:
        """The virtual node, which stands for the molecule."""
        return self.nodes[self.layout.first_node]

    @property
    def atoms(self) -> Float[Tensor, "mol n_node d_atom"]:
        """The atom track, padded; padding holds no meaning."""
        return self.layout.spread_nodes(self.nodes)

    @property
    def pairs(self) -> Float[Tensor, "mol n_node n_node d_pair"]:
        """The pair track, padded; padding holds no meaning."""
        return self.layout.spread_pairs(self.pair_rows)

    def atoms_at(self, mol: Int[Tensor, " k"], i: Int[Tensor, " k"]) -> Float[Tensor, "k d_atom"]:
        """Rows of atoms, given as molecule and number of the atom in it."""
        return self.nodes[self.layout.first_node[mol] + 1 + i]

    def pairs_at(
        self, mol: Int[Tensor, " k"], i: Int[Tensor, " k"], j: Int[Tensor, " k"]
    ) -> Float[Tensor, "k d_pair"]:
        """Rows of pairs of atoms, given as molecule and the numbers of both atoms in it."""
        row = self.layout.first_pair[mol] + (1 + i) * self.layout.stride[mol] + 1 + j
        return self.pair_rows[row]


class TwoTrack(nn.Module):
    """The encoder with its two pretraining heads: masked tokens and movement of atoms."""

    def __init__(self, config: TwoTrackConfig):
        super().__init__()
        self.config = c = config
        self.tokens = nn.Embedding(N_TOKEN, c.d_atom, padding_idx=0)
        self.features = nn.Embedding(N_FEATURE, c.d_atom, padding_idx=0)
        self.degrees = nn.Embedding(N_DEGREE, c.d_atom, padding_idx=0)
        self.virtual_atom = nn.Embedding(1, c.d_atom)
        self.bonds = nn.Embedding(N_BOND_VALUE, c.d_pair, padding_idx=0)
        self.hops = nn.Embedding(N_HOP, c.d_pair, padding_idx=0)
        self.virtual_pair = nn.Embedding(1, c.d_pair)
        self.kernel = DistanceKernel(c.n_kernel, N_PAIR_TYPE, c.d_pair)
        self.norm = nn.LayerNorm(c.d_atom)
        self.pair_norm = nn.LayerNorm(c.d_pair)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.n_layer))
        self.token_head = TokenHead(c.d_atom)
        self.movement_head = MovementHead(c.d_atom, c.d_pair, c.n_head)
        self.register_buffer("bond_rows", bond_kinds(), persistent=False)
        initialize(self, c.conventions)

    @property
    def compiled(self) -> bool:
        """True after `compile()`."""
        return self._compiled_call_impl is not None

    def padded_length(self, longest: int, device: torch.device) -> int:
        """Atoms that a batch is padded to: on a CPU its longest molecule, else up to full eights of
        nodes.

        Compiled code is made for each length, and a GPU's attention wants a bias whose rows are
        aligned.
        """
        if device.type == "cpu" and not self.compiled:
            return longest
        return -(-(longest + 1) // 8) * 8 - 1

    def make_layout(self, codes: EncoderInputs) -> Layout:
        """Packed runs on the CPU, where all work saved counts; one padded run elsewhere, so that
        shapes are few.
        """
        real = torch.cat([torch.ones_like(codes.real[:, :1]), codes.real], 1)  # mol n_node
        padded_norm = self.config.conventions.length_norm == "padded"
        if real.device.type == "cpu" and not torch.compiler.is_compiling():
            return packed_layout(real, padded_norm, slack=RUN_COST // self.config.d_pair)
        return padded_layout(real, padded_norm)

    def embed_atoms(
        self, codes: EncoderInputs, layout: Layout | None = None
    ) -> Float[Tensor, "node d_atom"]:
        """Sum of the embeddings of token, features and degree; the virtual node first."""
        layout = layout or self.make_layout(codes)
        tokens, feats, degree = (
            layout.take_nodes(_after_virtual(c)) for c in (codes.tokens, codes.feats, codes.degree)
        )
        x = self.features(feats).sum(-2) + self.degrees(degree) + self.tokens(tokens)
        virtual = layout.take_nodes(_is_virtual(codes.real))[:, None]
        return torch.where(virtual, self.virtual_atom.weight, x)

    def embed_pairs(
        self, codes: EncoderInputs, layout: Layout | None = None
    ) -> Float[Tensor, "pair d_pair"]:
        """Shortest path, bond and distance of each pair; one learned row for pairs with the
        virtual node.
        """
        layout = layout or self.make_layout(codes)
        distance = torch.linalg.vector_norm(
            codes.coords[:, None] - codes.coords[:, :, None], dim=-1
        )
        stretched = self.kernel.stretch(distance, codes.pair_left, codes.pair_right)
        wanted = (codes.hops, codes.bond_kind, stretched)
        hops, bond_kind, stretched = (layout.take_pairs(_after_virtual(c, 2)) for c in wanted)
        bond_table = self.bonds(self.bond_rows).mean(-2)  # 63 d_pair
        # an embedding and not an index: the backward of an index adds in any order, this one always
        # in the same
        inner = self.hops(hops) + F.embedding(bond_kind, bond_table) + self.kernel(stretched)
        virtual = _is_virtual(codes.real)
        virtual = layout.take_pairs(virtual[:, :, None] | virtual[:, None, :])[:, None]
        return torch.where(virtual, self.virtual_pair.weight, inner)

    def forward(self, codes: EncoderInputs, molecule_only: bool = False) -> TwoTrackEncoding:
        """Both tracks and the moved coordinates.

        `molecule_only` skips what only pairs and coordinates need: the last pair update and the
        movement head.
        """
        layout = self.make_layout(codes)
        atoms = self.norm(self.embed_atoms(codes, layout))
        pairs = self.pair_norm(self.embed_pairs(codes, layout))
        if torch.is_autocast_enabled(
            pairs.device.type
        ):  # the kernel of distances is float32, the track is not
            pairs = pairs.to(torch.get_autocast_dtype(pairs.device.type))
        for depth, block in enumerate(self.blocks):
            atoms, pairs = block(
                atoms, pairs, layout, not (molecule_only and depth == len(self.blocks) - 1)
            )
        if molecule_only:
            return TwoTrackEncoding(atoms, pairs, codes.coords, codes.real, layout)
        return TwoTrackEncoding(
            atoms, pairs, self.movement_head(atoms, pairs, codes.coords, layout), codes.real, layout
        )


def _after_virtual(values: Tensor, axes: int = 1) -> Tensor:
    """Room for the virtual node in front of the atoms, on the first or the first two axes after
    the molecules.
    """
    kept = values.ndim - 1 - axes
    return F.pad(values, (0, 0) * kept + (1, 0) * axes)


def _is_virtual(real: Bool[Tensor, "mol n"]) -> Bool[Tensor, "mol n_node"]:
    return F.pad(torch.zeros_like(real), (1, 0), value=True)


class TokenHead(nn.Module):
    """Which element hides behind a masked atom: one logit for each of 128 tokens."""

    def __init__(self, d_atom: int):
        super().__init__()
        self.norm = nn.LayerNorm(d_atom)
        self.dense = nn.Linear(d_atom, d_atom)
        self.out = nn.Linear(d_atom, N_TOKEN)

    def forward(self, atoms: Float[Tensor, "*rows d_atom"]) -> Float[Tensor, "*rows 128"]:
        return self.out(F.gelu(self.dense(self.norm(atoms))))


def initialize(model: TwoTrack, conventions: Conventions) -> None:
    """Fill parameters from torch's global generator, under the conventions' rule."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            if conventions.init == "normal":
                nn.init.normal_(module.weight, std=0.02)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
            if module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx])
    if conventions.init == "intended":
        _initialize_as_intended(model)


def _initialize_as_intended(model: TwoTrack) -> None:
    """Residual branches end in zero, gates start open, distances enter the kernel unstretched."""
    for block in model.blocks:
        for final in (
            block.attention.out,
            block.ffn.contract,
            block.outer.out,
            block.triangle.out,
            block.pair_ffn.contract,
        ):
            nn.init.zeros_(final.weight)
        for gate in (block.triangle.gate, block.triangle.out_gate):
            nn.init.zeros_(gate.weight)
            nn.init.ones_(gate.bias)
    nn.init.zeros_(model.movement_head.force.weight)
    # two pair-type codes add up, so a half each stretches a distance by one
    nn.init.constant_(model.kernel.mul.weight[1:], 0.5)
    nn.init.zeros_(model.kernel.bias.weight)
