"""The two-track encoder of Uni-Mol2: atoms attend with a bias from pairs, pairs learn from both.

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
- Features never seen in training contribute zero and are named (``vocabulary``), where the code
  adds a random vector.
- What shifts all logits of a softmax alike (`attention.bias.bias`) is kept for the weights' sake
  and left out.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.batch import LEVELS, MolBatch, distances
from ...data.masked import MaskedBatch
from ...shapes import Bool, Float, Int
from ..heads import N_TOKEN, TokenHead
from ..interface import Counts, Encoder
from .config import REFERENCE, Conventions, TwoTrackConfig
from .encoding import Tracks, TwoTrackEncoding
from .flops import Planned, TwoTrackCounter, count_multiplications, encoder_counter
from .inputs import (
    N_BOND_VALUE,
    N_DEGREE,
    N_FEATURE,
    N_HOP,
    N_PAIR_TYPE,
    EncoderInputs,
    bond_kinds,
    make_inputs,
)
from .layers import Block, DistanceKernel
from .movement import MovementHead
from .packing import (
    MAX_GRAPHS,
    Layout,
    group_sizes,
    packed_layout,
    padded_layout,
)
from .vocabulary import SeenRows, names_of_rows, unseen_in

# What one more size group costs on a CPU, in numbers of the pair track; speed is the same from
# 4,000 to 64,000.
GROUP_COST = 16_000
_WITHOUT_TABLES = ("blocks", "norm", "pair_norm")  # what N counts


class TwoTrack(Encoder):
    """The transformer over atoms and pairs.

    Rows of the embedding tables that no training molecule has read contribute nothing
    (`vocabulary`), except under the conventions of the reference, which knows no such rule.
    """

    own_dropout = True

    def __init__(self, config: TwoTrackConfig):
        super().__init__()
        c = config
        self.config = config
        self.n_block = c.n_layer
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
        self.register_buffer("bond_rows", bond_kinds(), persistent=False)
        self.seen = None if c.conventions.name == REFERENCE.name else SeenRows()
        self.fused = False  # whether its blocks are compiled

    def width(self, level: str) -> int:
        return self.config.d_pair if level in ("bond", "pair") else self.config.d_atom

    def count_parameters(self) -> Counts:
        """N leaves out what does not grow with the work: tables and the distance kernel."""
        sizes = [(name.partition(".")[0], p.numel()) for name, p in self.named_parameters()]
        n = sum(size for part, size in sizes if part in _WITHOUT_TABLES)
        return Counts(n, sum(size for _, size in sizes))

    def count_flops(self, n_atom: int, n_bond: int = 0) -> int:
        """Two for each multiplication of `flops.count_multiplications`; bonds cost nothing."""
        return 2 * sum(count_multiplications(self.config, n_atom).values())

    def make_counter(
        self, levels: Collection[str], device: torch.device, item_size: int
    ) -> TwoTrackCounter:
        last_pairs = not {"bond", "pair"}.isdisjoint(levels)

        def plan(n_atoms: Int[np.ndarray, " mol"]) -> Planned:
            return self.plan_sizes(n_atoms, device)

        return encoder_counter(self.config, self.first_learning, last_pairs, plan, item_size)

    def plan_sizes(self, n_atoms: Int[np.ndarray, " mol"], device: torch.device) -> Planned:
        """The sizes that molecules of so many atoms are computed at, as `make_layout` lays them."""
        length = self.padded_length(int(n_atoms.max()), device) + 1
        if device.type == "cpu" and not self.fused:
            nodes = sorted((n_atoms + 1).tolist(), reverse=True)
            return Planned(group_sizes(nodes, self._slack), length)
        return Planned([(length, len(n_atoms))], length)

    @property
    def _slack(self) -> int:
        """Pairs that the CPU pads rather than have one more size group."""
        return GROUP_COST // self.config.d_pair

    def fuse(self, **options) -> None:
        """Compile each block: one graph for each padded length, which all share."""
        for block in self.blocks:
            block.fuse(**options)
        self.fused = True

    def padded_length(self, longest: int, device: torch.device) -> int:
        """Atoms that a batch is padded to: those of its longest molecule, or full eights of nodes.

        Compiled code is made for each length, and a GPU's attention wants a bias with aligned rows.
        """
        if device.type == "cpu" and not self.fused:
            return longest
        return -(-(longest + 1) // 8) * 8 - 1

    def make_layout(self, inputs: EncoderInputs) -> Layout:
        """Packed groups on the CPU, where all work saved counts; one padded group elsewhere.

        On a GPU, and for compiled code, shapes should be few.
        """
        real = torch.cat([torch.ones_like(inputs.real[:, :1]), inputs.real], 1)  # mol n_node
        padded_norm = self.config.conventions.length_norm == "padded"
        if real.device.type == "cpu" and not self.fused:
            return packed_layout(real, padded_norm, slack=self._slack)
        return padded_layout(real, padded_norm)

    def _embed(self, table: str, rows: Tensor) -> Tensor:
        """Rows of a table; in evaluation those that training never read are zero."""
        embedding = getattr(self, table)
        if self.training or self.seen is None:
            return embedding(rows)
        return F.embedding(rows, embedding.weight * self.seen.mask(table))

    def embed_atoms(
        self, inputs: EncoderInputs, layout: Layout | None = None
    ) -> Float[Tensor, "node d_atom"]:
        """Sum of the embeddings of token, features and degree; the virtual node first."""
        layout = layout or self.make_layout(inputs)
        tokens = layout.take_nodes(_after_virtual(inputs.tokens))
        feats = layout.take_nodes(_after_virtual(inputs.feats))
        degree = layout.take_nodes(_after_virtual(inputs.degree))
        x = self._embed("features", feats).sum(-2)
        x = x + self._embed("degrees", degree) + self._embed("tokens", tokens)
        virtual = layout.take_nodes(_is_virtual(inputs.real))[:, None]
        return torch.where(virtual, self.virtual_atom.weight, x)

    def embed_pairs(
        self, inputs: EncoderInputs, layout: Layout | None = None
    ) -> Float[Tensor, "pair d_pair"]:
        """Sum of the embeddings of shortest path, bond and distance of each pair.

        Pairs with the virtual node have one row of their own.
        """
        layout = layout or self.make_layout(inputs)
        stretched = self.kernel.stretch(
            distances(inputs.coords), inputs.pair_left, inputs.pair_right
        )
        hops = layout.take_pairs(_after_virtual(inputs.hops, 2))
        bond_kind = layout.take_pairs(_after_virtual(inputs.bond_kind, 2))
        stretched = layout.take_pairs(_after_virtual(stretched, 2))
        bond_table = self._embed("bonds", self.bond_rows).mean(-2)  # 63 d_pair
        # an embedding and not an index: the backward of an index adds in any order, this one always
        # in the same
        x = self._embed("hops", hops) + F.embedding(bond_kind, bond_table) + self.kernel(stretched)
        virtual = _is_virtual(inputs.real)
        virtual = layout.take_pairs(virtual[:, :, None] | virtual[:, None, :])[:, None]
        return torch.where(virtual, self.virtual_pair.weight, x)

    def encode(
        self, inputs: EncoderInputs, last_pairs: bool = True, keep_layers: bool = False
    ) -> list[Tracks]:
        """The tracks after the last block, or after each.

        Without `last_pairs` the last update of pairs is left out, which only pairs need.
        """
        layout = self.make_layout(inputs)
        nodes = self.norm(self.embed_atoms(inputs, layout))
        pairs = self.pair_norm(self.embed_pairs(inputs, layout))
        if torch.is_autocast_enabled(pairs.device.type):
            # the kernel of distances is float32, the track is not
            pairs = pairs.to(torch.get_autocast_dtype(pairs.device.type))
        after = []
        for depth, block in enumerate(self.blocks, 1):
            nodes, pairs = block(nodes, pairs, layout, last_pairs or depth < self.n_block)
            after.append(Tracks(nodes, pairs, layout))
        return after if keep_layers else after[-1:]

    def forward(
        self,
        masked: MaskedBatch,
        levels: Collection[str] = LEVELS,
        keep_layers: bool = False,
    ) -> TwoTrackEncoding:
        batch = masked.batch
        length = self.padded_length(batch.longest, batch.device)
        inputs = make_inputs(masked, self.config.conventions, length)
        if self.training and self.seen is not None and self.tokens.weight.requires_grad:
            self.seen.mark(inputs, self.bond_rows)
        last_pairs = not {"bond", "pair"}.isdisjoint(levels)
        if not self.fused:
            return self.wrap(inputs, self.encode(inputs, last_pairs, keep_layers), batch)
        with torch._dynamo.config.patch(recompile_limit=MAX_GRAPHS):
            after = self.encode(inputs, last_pairs, keep_layers)
        return self.wrap(inputs, after, batch)

    def wrap(
        self, inputs: EncoderInputs, after: list[Tracks], batch: MolBatch | None = None
    ) -> TwoTrackEncoding:
        """Tracks (those of the last block stand last) as an encoding of the batch they are of."""
        encodings = [
            TwoTrackEncoding(t.nodes, t.pairs, inputs.coords, inputs.real, t.layout, batch)
            for t in after
        ]
        layers = tuple(encodings) if len(encodings) > 1 else ()
        return encodings[-1]._replace(layers=layers)

    def begin_training(self) -> None:
        if self.seen is not None:
            self.seen.reset()

    def unseen_features(self) -> list[str]:
        if self.seen is None:
            return []
        return names_of_rows(self.seen.unseen(self._reads_parity), self._reads_parity)

    def unseen_in(self, batch: MolBatch) -> list[tuple[str, ...]]:
        if self.seen is None:
            return super().unseen_in(batch)
        return unseen_in(self.seen.unseen(self._reads_parity), batch, self._reads_parity)

    @property
    def _reads_parity(self) -> bool:
        return self.config.conventions.chirality == "parity"

    @torch.no_grad()
    def forget_unseen(self) -> None:
        """Set the rows of tables that training never read to zero."""
        if self.seen is not None:
            for table in self.seen.tables:
                getattr(self, table).weight *= self.seen.mask(table)


def _after_virtual(values: Tensor, axes: int = 1) -> Tensor:
    """Zeros for the virtual node before the atoms, on the first axis (or two) after molecules."""
    n_last = values.ndim - 1 - axes
    return F.pad(values, (0, 0) * n_last + (1, 0) * axes)


def _is_virtual(real: Bool[Tensor, "mol n"]) -> Bool[Tensor, "mol n_node"]:
    return F.pad(torch.zeros_like(real), (1, 0), value=True)


class MaskingHeads(NamedTuple):
    """The heads of pretraining: elements of masked atoms, coordinates of moved ones."""

    tokens: TokenHead
    movement: MovementHead


def make_two_track(config: TwoTrackConfig) -> tuple[TwoTrack, dict[str, nn.Module]]:
    """A new encoder with its masking heads, filled from torch's global generator."""
    encoder = TwoTrack(config)
    heads = MaskingHeads(
        tokens=TokenHead(config.d_atom),
        movement=MovementHead(config.d_atom, config.d_pair, config.n_head),
    )
    initialize(encoder, heads, config.conventions)
    return encoder, heads._asdict()


def initialize(encoder: TwoTrack, heads: MaskingHeads, conventions: Conventions) -> None:
    """Fill parameters of an encoder and its heads, in this order, under the conventions' rule."""
    for part in (encoder, *heads):
        for module in part.modules():
            _initialize_module(module, conventions.init)
    if conventions.init == "intended":
        _initialize_as_intended(encoder)
        nn.init.zeros_(heads.movement.force.weight)


def _initialize_module(module: nn.Module, rule: str) -> None:
    if isinstance(module, nn.Linear):
        if rule == "normal":
            nn.init.normal_(module.weight, std=0.02)
        else:
            nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
        if module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx])


def _initialize_as_intended(encoder: TwoTrack) -> None:
    """Residual branches end in zero, gates start open, distances enter the kernel unstretched."""
    for block in encoder.blocks:
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
    # two pair-type codes add up, so a half each stretches a distance by one
    nn.init.constant_(encoder.kernel.mul.weight[1:], 0.5)
    nn.init.zeros_(encoder.kernel.bias.weight)
