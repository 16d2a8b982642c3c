"""Layers that send messages along bonds, on PyTorch Geometric's `MessagePassing`.

A layer takes a graph and the states of its atoms (and bonds, and molecules), and returns new
states; norm, activation, dropout and residuals stand around it (`encoder`). Each bond is an edge in
both directions: row 0 of `edge_index` sends, row 1 receives.

As in Graphium, "gcn" is a plain sum of linear messages without degree normalisation and without a
message to oneself, and the eps of GIN and GINE is 0 and not trained. MPNN++ follows its description
and GPS++ (arXiv 2302.02947): states of atoms, bonds and the molecule, each updated by a network of
the others; GPS is a local layer beside attention (arXiv 2205.12454).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import MessagePassing

from ...shapes import Bool, Float, Int
from ..dropout import Dropout
from ..precision import at_least_float32
from .config import GraphConfig
from .dense import Dense


class Graph(NamedTuple):
    """Who is bonded to whom in a batch; the rest where atoms attend to each other.

    That is a padded view with an atom where it is `real`, the `place` of each atom in it, counted
    over all rows, and a `bias` of pairs.
    """

    edge_index: Int[Tensor, "2 edge"]
    mol_of_atom: Int[Tensor, " atom"]
    n_mol: int
    real: Bool[Tensor, "mol n"] | None = None
    place: Int[Tensor, " atom"] | None = None
    bias: Float[Tensor, "mol head n n"] | None = None

    def sum_by_molecule(self, x: Float[Tensor, "atom d"]) -> Float[Tensor, "mol d"]:
        """Sums over the atoms of each molecule."""
        return self._summed(self.mol_of_atom, x)

    def sum_of_edges(self, x: Float[Tensor, "edge d"]) -> Float[Tensor, "mol d"]:
        """Sums over the edges of each molecule."""
        return self._summed(self.mol_of_atom.index_select(0, self.edge_index[1]), x)

    def count_atoms(self, like: Tensor) -> Float[Tensor, "mol 1"]:
        """Atoms of each molecule, on the device of `like`."""
        return self.sum_by_molecule(like.new_ones(len(self.mol_of_atom), 1))

    def _summed(
        self, owner: Int[Tensor, " row"], x: Float[Tensor, "row d"]
    ) -> Float[Tensor, "mol d"]:
        """Sums of rows by their molecule, in float32 or wider: bf16 would lose what is small."""
        x = at_least_float32(x)
        return x.new_zeros(self.n_mol, x.shape[1]).index_add(0, owner, x)


class States(NamedTuple):
    """States between layers. An edge's state is row `row_of_edge` of `bonds`.

    Before a layer has changed them, `bonds` has a row for each kind of bond, which is all that a
    linear layer needs to see; later one for each edge. `molecules` are None without them.
    """

    atoms: Float[Tensor, "atom d_atom"]
    bonds: Float[Tensor, "row d_bond"] | None
    row_of_edge: Int[Tensor, " edge"]
    molecules: Float[Tensor, "mol d_mol"] | None = None

    def edges(self, linear: nn.Module | None = None) -> Float[Tensor, "edge d"]:
        """The states of edges, through a linear layer if one is given."""
        rows = self.bonds if linear is None else linear(self.bonds)
        return rows.index_select(0, self.row_of_edge)

    def with_edges(self, edges: Float[Tensor, "edge d_bond"]) -> States:
        """The same with new states of edges, one each."""
        every = torch.arange(len(edges), device=edges.device)
        return self._replace(bonds=edges, row_of_edge=every)


class GCN(MessagePassing):
    """x_i' = sum over neighbours j of W x_j, and a bias."""

    def __init__(self, d_in: int, d_out: int):
        super().__init__(aggr="sum")
        self.linear = nn.Linear(d_in, d_out, bias=False)
        self.bias = nn.Parameter(torch.zeros(d_out))

    def forward(self, graph: Graph, states: States) -> States:
        summed = self.propagate(graph.edge_index, x=self.linear(states.atoms))
        return states._replace(atoms=summed + self.bias)

    def message(self, x_j: Tensor) -> Tensor:
        return x_j


class GIN(MessagePassing):
    """x_i' = network(x_i + sum over neighbours j of x_j)."""

    def __init__(self, d_in: int, d_out: int):
        super().__init__(aggr="sum")
        self.network = nn.Sequential(Dense(d_in, d_in, F.gelu), nn.Linear(d_in, d_out))

    def forward(self, graph: Graph, states: States) -> States:
        summed = self.propagate(graph.edge_index, x=states.atoms)
        return states._replace(atoms=self.network(states.atoms + summed))

    def message(self, x_j: Tensor) -> Tensor:
        return x_j


class GINE(MessagePassing):
    """x_i' = network(x_i + sum over neighbours j of relu(x_j + W e_ij))."""

    def __init__(self, d_in: int, d_out: int, d_bond: int):
        super().__init__(aggr="sum")
        self.bond = nn.Linear(d_bond, d_in)
        self.network = nn.Sequential(Dense(d_in, d_in, F.gelu), nn.Linear(d_in, d_out))

    def forward(self, graph: Graph, states: States) -> States:
        summed = self.propagate(graph.edge_index, x=states.atoms, edges=states.edges(self.bond))
        return states._replace(atoms=self.network(states.atoms + summed))

    def message(self, x_j: Tensor, edges: Tensor) -> Tensor:
        return F.relu(x_j + edges)


class GatedGCN(MessagePassing):
    """Messages B x_j with gates of their own for each channel (arXiv 1711.07553).

    With e_ij' = D x_i + E x_j + C e_ij and gates s_ij = sigmoid(e_ij'),
    x_i' = A x_i + sum_j s_ij B x_j / sum_j s_ij.
    """

    def __init__(self, d_in: int, d_out: int, d_bond: int, dropout: float):
        super().__init__(aggr="sum")
        self.own = nn.Linear(d_in, d_out)
        self.sent = nn.Linear(d_in, d_out)
        self.bond = nn.Linear(d_bond, d_out)
        self.receiver = nn.Linear(d_in, d_out)
        self.sender = nn.Linear(d_in, d_out)
        self.bond_out = nn.Linear(d_out, d_bond)
        self.dropout = Dropout(dropout)

    def forward(self, graph: Graph, states: States) -> States:
        x = states.atoms
        sender, receiver = graph.edge_index
        edges = states.edges(self.bond)
        edges = edges + self.receiver(x).index_select(0, receiver)
        edges = edges + self.sender(x).index_select(0, sender)
        gates = torch.sigmoid(edges)
        messages = gates * self.sent(x).index_select(0, sender)
        both = self.propagate(
            graph.edge_index, messages=torch.cat([messages, gates], 1), size=(len(x), len(x))
        )
        summed, total = both.chunk(2, 1)
        atoms = self.own(x) + summed / (total + 1e-5)
        return states._replace(atoms=atoms).with_edges(self.dropout(self.bond_out(edges)))

    def message(self, messages: Tensor) -> Tensor:
        return messages


class MPNN(MessagePassing):
    """States of atoms, bonds and the molecule, each updated by a network of the others.

    e_ij' = network(x_i, x_j, e_ij, m); x_i' = network(x_i, sums over bonds of e' received and sent
    and of neighbours, m); m' = network(m, sum of x', sum of e'). Bonds and molecules are added to
    what they were. Sums over a molecule are divided by its number of atoms.
    """

    def __init__(self, d_in: int, d_out: int, d_bond: int, d_mol: int, dropout: float):
        super().__init__(aggr="sum")
        self.bond_network = _expanding(2 * d_in + d_bond + d_mol, 2 * d_bond, d_bond, dropout)
        self.atom_network = _expanding(2 * d_in + 2 * d_bond + d_mol, 2 * d_in, d_out, dropout)
        self.molecule_network = _expanding(d_mol + d_out + d_bond, 2 * d_mol, d_mol, dropout)

    def forward(self, graph: Graph, states: States) -> States:
        x = states.atoms
        sender, receiver = graph.edge_index
        mol_of_edge = graph.mol_of_atom.index_select(0, receiver)
        edges = states.edges()
        seen_by_bond = torch.cat(
            [
                x.index_select(0, receiver),
                x.index_select(0, sender),
                edges,
                states.molecules.index_select(0, mol_of_edge),
            ],
            1,
        )
        edges = edges + self.bond_network(seen_by_bond)
        received = self.propagate(graph.edge_index, x=x, edges=edges)  # neighbours, bonds
        sent = x.new_zeros(len(x), edges.shape[1]).index_add(0, sender, edges)
        of_molecule = states.molecules.index_select(0, graph.mol_of_atom)
        atoms = self.atom_network(torch.cat([x, received, sent, of_molecule], 1))
        n_atom = graph.count_atoms(x)
        seen_by_molecule = torch.cat(
            [
                states.molecules,
                graph.sum_by_molecule(atoms) / n_atom,
                graph.sum_of_edges(edges) / n_atom,
            ],
            1,
        )
        molecules = states.molecules + self.molecule_network(seen_by_molecule)
        return states._replace(atoms=atoms, molecules=molecules).with_edges(edges)

    def message(self, x_j: Tensor, edges: Tensor) -> Tensor:
        return torch.cat([x_j, edges], 1)


class GPS(nn.Module):
    """A local layer beside attention among all atoms of a molecule, then a network of both.

    Both branches and the network are added to what was there, then normalised.
    """

    def __init__(self, config: GraphConfig, d_in: int, d_out: int):
        super().__init__()
        self.local = make_message_layer(config, config.local_layer, d_in, d_out)
        self.entry = nn.Linear(d_in, d_out) if d_in != d_out else nn.Identity()
        self.n_head = config.n_head
        # 1 / √(width of a head) as usual; with width transfer 1 / width (`models.width_transfer`)
        self.scale = (d_out // config.n_head * config.width_transfer) ** -0.5
        self.query_key_value = nn.Linear(d_out, 3 * d_out)
        self.attention_out = nn.Linear(d_out, d_out)
        self.local_norm = nn.LayerNorm(d_out)
        self.attention_norm = nn.LayerNorm(d_out)
        self.network = _expanding(d_out, 2 * d_out, d_out, config.dropout)
        self.dropout = Dropout(config.dropout)

    def forward(self, graph: Graph, states: States) -> States:
        x = self.entry(states.atoms)
        local = self.local(graph, states)
        attended = self.dropout(self.attend(graph, x))
        x = self.local_norm(x + self.dropout(local.atoms)) + self.attention_norm(x + attended)
        return local._replace(atoms=x + self.network(x))

    def attend(self, graph: Graph, x: Float[Tensor, "atom d"]) -> Float[Tensor, "atom d"]:
        """Attention of each atom to all atoms of its molecule, biased by pairs where given."""
        real = graph.real
        mol, n = real.shape
        d = x.shape[1]
        padded = x.new_zeros(mol * n, d).index_copy(0, graph.place, x)
        heads = self.query_key_value(padded).view(mol, n, 3, self.n_head, d // self.n_head)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # mol head n d_head each
        hidden = torch.zeros(mol, 1, 1, n, dtype=x.dtype, device=x.device)
        hidden = hidden.masked_fill(~real[:, None, None, :], float("-inf"))
        bias = hidden if graph.bias is None else hidden + graph.bias
        bias = bias.to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=self.scale)
        mixed = mixed.transpose(1, 2).reshape(mol * n, d)
        return self.attention_out(mixed.index_select(0, graph.place))


def _expanding(d_in: int, d_inner: int, d_out: int, dropout: float) -> nn.Sequential:
    """A network of two layers with a wider one between."""
    return nn.Sequential(Dense(d_in, d_inner, F.gelu, dropout=dropout), nn.Linear(d_inner, d_out))


def make_message_layer(config: GraphConfig, kind: str, d_in: int, d_out: int) -> MessagePassing:
    """A layer that sends messages along bonds."""
    if kind == "gcn":
        return GCN(d_in, d_out)
    if kind == "gin":
        return GIN(d_in, d_out)
    if kind == "gine":
        return GINE(d_in, d_out, config.d_bond)
    if kind == "gated_gcn":
        return GatedGCN(d_in, d_out, config.d_bond, config.dropout)
    return MPNN(d_in, d_out, config.d_bond, config.d_bond, config.dropout)


def make_layer(config: GraphConfig, d_in: int, d_out: int) -> nn.Module:
    """A layer of the network: of messages, or of messages and attention."""
    if config.layer == "gps":
        return GPS(config, d_in, d_out)
    return make_message_layer(config, config.layer, d_in, d_out)
