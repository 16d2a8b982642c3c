"""Graph networks: features and encodings of atoms and bonds, layers of messages, pooled atoms.

Source: Graphium (arXiv 2310.04292) and its released code, where text and code disagree the code;
layers have sources of their own (`layers`).

Differs from Graphium:

- Features are read as integers: what is linear in a one-hot column is a row of a table, and bonds
  are networks of their kinds. In training, dropout of bond features falls on a kind of bond in a
  batch, and not on each direction of each bond.
- Eigenvectors get random signs in training; its configurations give signs to the eigenvalues
  instead. Pairs that pad small molecules are left out (`padded_pairs` keeps them). Eigenvectors are
  orthogonal, since the matrix is taken as the symmetric one that it is.
- Numbers are float32; it computes features in float16.
- Widths are trained at one learning rate unless width transfer is asked for; there it is always on,
  and half the nominal rate.
- Values of features never seen in training contribute zero and are named (`vocabulary`).
- Molecules that show no features show no bonds either, so their atoms are alone.
- Logsum multiplies by log(1 + atoms), not by log(atoms), which is zero for a single atom.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.batch import LEVELS, MolBatch, pad_atoms
from ...data.encodings.catalogue import with_encodings
from ...data.encodings.padded import pair_encoding
from ...data.masked import MaskedBatch
from ...shapes import Float, Int
from ..dropout import Dropout
from ..heads import TokenHead
from ..interface import Counts, Encoder
from .config import GraphConfig
from .dense import Dense
from .encoding import GraphEncoding
from .flops import GraphCounter, count_multiplications
from .inputs import AtomNetwork, BondNetwork, GraphInputs, PairBias, make_inputs
from .layers import Graph, States, make_layer
from .pooling import pool
from .vocabulary import SeenValues


class Block(nn.Module):
    """A layer with norm, activation and dropout behind it, and the virtual node that follows it.

    Attention layers (gps) bring their own.
    """

    def __init__(self, config: GraphConfig, d_in: int, d_out: int, last: bool):
        super().__init__()
        self.layer = make_layer(config, d_in, d_out)
        self.complete = config.layer == "gps"
        self.norm = nn.Identity() if self.complete else nn.LayerNorm(d_out)
        self.dropout = Dropout(config.dropout)
        self.pooling = config.virtual_node
        self.virtual = None
        if config.virtual_node != "none" and not last:
            self.virtual = Dense(d_out, d_out, F.gelu, dropout=config.dropout)

    def forward(
        self,
        graph: Graph,
        states: States,
        node: Float[Tensor, "mol d_out"] | None,
        residual: bool,
    ) -> tuple[States, Float[Tensor, "mol d_out"] | None]:
        """New states and the new virtual node; as a `residual` atoms are added as they were."""
        # given once: of two arguments that are one tensor, what collects a split block would have
        # gradients added in another order than autograd has
        before = states.atoms
        states = self.layer(graph, states)
        x = states.atoms
        if not self.complete:
            x = self.dropout(F.gelu(self.norm(x)))
            if residual:
                x = x + before
        if self.virtual is not None:
            pooled = pool(self.pooling, graph, x)
            node = self.virtual(pooled if node is None else pooled + node)
            x = x + node.index_select(0, graph.mol_of_atom)
        # made anew: what `_replace` gives is empty behind compiled code of torch 2.11
        return States(x, states.bonds, states.row_of_edge, states.molecules), node


class GraphEncoder(Encoder):
    """Messages along bonds, as a `GraphConfig` says."""

    own_dropout = True

    def __init__(self, config: GraphConfig):
        super().__init__()
        c = config
        self.config = config
        self.n_block = c.n_layer
        self.atoms = AtomNetwork(c)
        self.bonds = BondNetwork(c) if c.reads_bonds else None
        biased = c.layer == "gps" and (c.pair_encodings or c.n_kernel)
        self.pair_bias = PairBias(c, c.pair_encodings) if biased else None
        self.blocks = nn.ModuleList(
            Block(c, *widths, last=depth == c.n_layer)
            for depth, widths in enumerate(c.layer_widths(), 1)
        )
        self.molecule = nn.Linear(c.width_out, c.width_molecule)
        self.seen: SeenValues | None = SeenValues(c.features)

    def width(self, level: str) -> int:
        c = self.config
        if level == "molecule":
            return c.width_molecule
        if level == "atom":
            return c.width_out
        return 2 * c.width_out + (c.d_bond if level == "bond" and c.reads_bonds else 0)

    def layer_width(self, level: str, layer: int) -> int:
        _, d_atom = self.config.layer_widths()[layer - 1]
        if level in ("molecule", "atom"):
            return d_atom
        return 2 * d_atom + (self.config.d_bond if level == "bond" and self.bonds else 0)

    def depth_of(self, parameter: str) -> int:
        return self.n_block if parameter.startswith("molecule.") else super().depth_of(parameter)

    def count_parameters(self) -> Counts:
        """N counts what lies in blocks and behind them; the networks in front are left out."""
        return super().count_parameters()

    def count_flops(self, n_atom: int, n_bond: int) -> int:
        """Two for each multiplication of `flops.count_multiplications`."""
        return 2 * sum(count_multiplications(self, n_atom, n_bond).values())

    def make_counter(
        self, levels: Collection[str], device: torch.device, item_size: int
    ) -> GraphCounter:
        return GraphCounter(self, levels, item_size)

    def fuse(self, **options) -> None:
        """Compile the blocks, for batches of any size.

        What stands before them depends on the data in ways that no graph of operations holds.
        """
        super().fuse(**{"fullgraph": True} | options)

    def forward(
        self,
        masked: MaskedBatch,
        levels: Collection[str] = LEVELS,
        keep_layers: bool = False,
    ) -> GraphEncoding:
        batch = with_encodings(masked.batch, self.config.encodings)
        masked = masked._replace(batch=batch)
        inputs = make_inputs(masked, self.config)
        seen = self.seen
        if self.training and seen is not None and self.atoms.second.linear.weight.requires_grad:
            seen.mark(inputs.numbers, inputs.feats, batch.bond_feats[inputs.shown].long())
        seen = None if self.training else seen
        atoms = self.atoms(inputs, batch, seen)
        bonds = None
        row_of_edge = torch.arange(2 * len(inputs.ends), device=batch.device)
        if self.bonds is not None:
            bonds, row_of_edge = self.bonds(inputs, seen)
        graph = self.make_graph(inputs, batch)
        molecules = None
        if self.config.message_layer == "mpnn":
            molecules = atoms.new_zeros(batch.n_mol, self.config.d_bond)
        states = States(atoms, bonds, row_of_edge, molecules)
        after = self.encode(graph, states)
        shown = inputs.shown if "bond" in levels else None
        return self.wrap(graph, after, batch, shown, keep_layers)

    def make_graph(self, inputs: GraphInputs, batch: MolBatch) -> Graph:
        """Both directions of every bond that is shown, and what attention needs."""
        sender, receiver = inputs.ends.unbind(1)
        edge_index = torch.stack([torch.cat([sender, receiver]), torch.cat([receiver, sender])])
        graph = Graph(edge_index, inputs.mol_of_atom, batch.n_mol)
        if not self.config.padded:
            return graph
        n = batch.longest
        real = pad_atoms(torch.ones_like(inputs.mol_of_atom, dtype=torch.bool), batch, n)
        place = inputs.mol_of_atom * n + batch.position()
        graph = graph._replace(real=real, place=place)
        if self.pair_bias is None:
            return graph
        adjacent = torch.zeros(batch.n_mol, n, n, dtype=torch.bool, device=batch.device)
        position = batch.position()[inputs.ends]  # bond 2
        adjacent[inputs.mol_of_bond, position[:, 0], position[:, 1]] = True
        adjacent = adjacent | adjacent.transpose(1, 2)
        encodings = [pair_encoding(name, adjacent, real) for name in self.config.pair_encodings]
        bias = self.pair_bias(encodings, pad_atoms(inputs.coords, batch, n), real)
        return graph._replace(bias=bias)

    def encode(self, graph: Graph, states: States) -> list[States]:
        """The states after each block."""
        after: list[States] = []
        node = None
        for depth, block in enumerate(self.blocks, 1):
            states, node = block(graph, states, node, self._has_residual(depth))
            after.append(states)
        return after

    def _has_residual(self, depth: int) -> bool:
        """Whether a block (the first is 1) adds what the one before it gave."""
        if self.config.residual == "inner":
            return 1 < depth < self.n_block
        d_in, d_out = self.config.layer_widths()[depth - 1]
        return self.config.residual == "all" and d_in == d_out

    def wrap(
        self,
        graph: Graph,
        after: list[States],
        batch: MolBatch,
        shown: Int[Tensor, " bond"] | None,
        keep_layers: bool,
    ) -> GraphEncoding:
        """States as an encoding of the batch they are of; those of the last block are the output.

        `shown` are the bonds that have states; None where nobody asks for bonds.
        """
        encodings = []
        for depth, states in enumerate(after, 1):
            if not keep_layers and depth < len(after):
                continue
            pooled = pool(self.config.pooling, graph, states.atoms)
            bonds = None if shown is None else _bond_states(states, batch, shown)
            encodings.append(GraphEncoding(states.atoms, pooled, bonds, batch))
        last = encodings[-1]
        layers = tuple(encodings) if keep_layers else ()
        return last._replace(molecules=self.molecule(last.molecules), layers=layers)

    def begin_training(self) -> None:
        if self.seen is not None:
            self.seen.reset()

    def unseen_features(self) -> list[str]:
        return [] if self.seen is None else self.seen.unseen()

    def unseen_in(self, batch: MolBatch) -> list[tuple[str, ...]]:
        return super().unseen_in(batch) if self.seen is None else self.seen.unseen_in(batch)


def _bond_states(
    states: States, batch: MolBatch, shown: Int[Tensor, " shown"]
) -> Float[Tensor, "bond d"] | None:
    """The state of each bond of a batch, the mean of both directions; zeros for one not shown."""
    if states.bonds is None:
        return None
    one, other = states.edges().chunk(2)
    of_bonds = one.new_zeros(len(batch.bonds), one.shape[1])
    return of_bonds.index_copy(0, shown, 0.5 * (one + other))


def make_graph_network(config: GraphConfig) -> tuple[GraphEncoder, dict[str, nn.Module]]:
    """A new network with its head for masked atoms, filled from torch's global generator.

    It moves no atoms: pretraining on it learns masked atoms alone.
    """
    encoder = GraphEncoder(config)
    heads = {"tokens": TokenHead(config.width_out, config.width_transfer)}
    for part in (encoder, *heads.values()):
        for module in part.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    return encoder, heads
