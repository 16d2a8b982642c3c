"""Each layer is its equations, written out atom by atom, or PyTorch Geometric's own layer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

pytest.importorskip("torch_geometric")
from torch_geometric.nn import GCNConv, GINConv, GINEConv, global_max_pool, global_mean_pool

from molnb.models.graph.config import GraphConfig
from molnb.models.graph.layers import GCN, GIN, GINE, GPS, MPNN, GatedGCN, Graph, States
from molnb.models.graph.pooling import pool

# A triangle with a tail, a pair, and an atom alone.
BONDS = torch.tensor([[0, 1], [1, 2], [0, 2], [2, 3], [4, 5]])
MOL = torch.tensor([0, 0, 0, 0, 1, 1, 2])
D = 6
D_OUT = 6
D_BOND = 4


@pytest.fixture
def graph() -> Graph:
    edges = torch.cat([BONDS, BONDS.flip(1)]).T
    return Graph(edges, MOL, 3)


@pytest.fixture
def states(graph) -> States:
    generator = torch.Generator().manual_seed(0)
    atoms = torch.randn(7, D, generator=generator)
    bonds = torch.randn(3, D_BOND, generator=generator)  # three kinds
    kinds = torch.tensor([0, 1, 0, 2, 1])
    molecules = torch.randn(3, D_BOND, generator=generator)
    return States(atoms, bonds, kinds.repeat(2), molecules)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    assert torch.allclose(a, b, atol=1e-5), float((a - b).abs().max())


def neighbours(graph: Graph, atom: int) -> list[tuple[int, int]]:
    """(sender, number of the edge) of all edges that an atom receives."""
    sender, receiver = graph.edge_index
    return [(int(sender[e]), e) for e in range(len(sender)) if receiver[e] == atom]


def test_gcn_is_a_sum_without_degrees_and_without_itself(graph, states):
    layer = GCN(D, D_OUT)
    nn.init.normal_(layer.bias)
    peer = GCNConv(D, D_OUT, add_self_loops=False, normalize=False)
    peer.load_state_dict({"bias": layer.bias, "lin.weight": layer.linear.weight})
    close(layer(graph, states).atoms, peer(states.atoms, graph.edge_index))
    close(layer(graph, states).atoms[6], layer.bias)


def test_gin_and_gine_are_those_of_pytorch_geometric(graph, states):
    layer = GIN(D, D_OUT)
    peer = GINConv(layer.network)  # which fills the network anew
    close(layer(graph, states).atoms, peer(states.atoms, graph.edge_index))
    layer = GINE(D, D_OUT, D_BOND)
    peer = GINEConv(nn.Linear(D, D_OUT), edge_dim=D_BOND)  # asks for the width of its network
    peer.nn = layer.network
    peer.lin = layer.bond
    close(layer(graph, states).atoms, peer(states.atoms, graph.edge_index, states.edges()))


def test_gated_gcn_is_its_equations(graph, states):
    layer = GatedGCN(D, D_OUT, D_BOND, dropout=0.0)
    after = layer(graph, states)
    x = states.atoms
    for atom in range(7):
        total = torch.zeros(D_OUT)
        weight = torch.zeros(D_OUT)
        for other, edge in neighbours(graph, atom):
            before = layer.bond(states.edges()[edge])
            edge_state = layer.receiver(x[atom]) + layer.sender(x[other]) + before
            gate = torch.sigmoid(edge_state)
            total = total + gate * layer.sent(x[other])
            weight = weight + gate
            close(after.edges()[edge], layer.bond_out(edge_state))
        close(after.atoms[atom], layer.own(x[atom]) + total / (weight + 1e-5))


def test_mpnn_is_its_equations(graph, states):
    layer = MPNN(D, D_OUT, D_BOND, D_BOND, dropout=0.0)
    after = layer(graph, states)
    x = states.atoms
    sender, receiver = graph.edge_index
    of_molecule = states.molecules[MOL]
    edges = []
    for edge, (i, j) in enumerate(zip(receiver.tolist(), sender.tolist())):
        before = states.edges()[edge]
        seen = torch.cat([x[i], x[j], before, of_molecule[i]])
        edges.append(before + layer.bond_network(seen))
        close(after.edges()[edge], edges[-1])
    for atom in range(7):
        received = sum((edges[e] for _, e in neighbours(graph, atom)), torch.zeros(D_BOND))
        around = sum((x[j] for j, _ in neighbours(graph, atom)), torch.zeros(D))
        sent = sum((edges[e] for e in range(len(edges)) if sender[e] == atom), torch.zeros(D_BOND))
        seen = torch.cat([x[atom], around, received, sent, of_molecule[atom]])
        close(after.atoms[atom], layer.atom_network(seen))
    for mol in range(3):
        atoms = after.atoms[mol == MOL]
        inside = [edges[e] for e in range(len(edges)) if MOL[receiver[e]] == mol]
        bonds = sum(inside, torch.zeros(D_BOND)) / len(atoms)
        seen = torch.cat([states.molecules[mol], atoms.mean(0), bonds])
        close(after.molecules[mol], states.molecules[mol] + layer.molecule_network(seen))


def test_gps_attends_within_a_molecule_beside_the_local_layer(graph, states):
    config = GraphConfig(layer="gps", local_layer="gin", d_atom=D, n_head=2, dropout=0.0)
    layer = GPS(config, D, D)
    real = torch.tensor([[True] * 4, [True, True, False, False], [True] + [False] * 3])
    bias = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    place = torch.nonzero(real.flatten()).flatten()
    graph = graph._replace(real=real, place=place, bias=bias)
    after = layer(graph, states).atoms
    x = states.atoms
    local = layer.local(graph, states).atoms
    first = [0, 4, 6]
    for atom in range(7):
        mol = int(MOL[atom])
        members = torch.nonzero(mol == MOL).flatten().tolist()
        mixed = []
        for head in range(2):
            part = slice(3 * head, 3 * head + 3)
            query, key, value = layer.query_key_value(x).chunk(3, 1)
            place = atom - first[mol]
            logits = torch.stack(
                [
                    query[atom, part] @ key[j, part] / 3**0.5
                    + bias[mol, head, place, j - first[mol]]
                    for j in members
                ]
            )
            mixed.append(logits.softmax(0) @ value[members][:, part])
        attended = layer.attention_out(torch.cat(mixed))
        both = layer.local_norm(x[atom] + local[atom]) + layer.attention_norm(x[atom] + attended)
        close(after[atom], both + layer.network(both))


def test_pooling_is_that_of_pytorch_geometric(graph, states):
    x = states.atoms
    close(pool("mean", graph, x), global_mean_pool(x, MOL))
    close(pool("max", graph, x), global_max_pool(x, MOL))
    sums = torch.stack([x[mol == MOL].sum(0) for mol in range(3)])
    close(pool("sum", graph, x), sums)
    n_atom = torch.tensor([4.0, 2.0, 1.0])[:, None]
    close(pool("logsum", graph, x), sums / n_atom * torch.log(1 + n_atom))


def test_parts_that_there_are_not_are_refused():
    from molnb.errors import InputError

    config = GraphConfig()
    with pytest.raises(InputError, match=r"model.layer is 'ginee': did you mean 'gine'|choose one"):
        replace(config, layer="ginee")
    with pytest.raises(InputError, match="model.pooling is 'median'"):
        replace(config, pooling="median")
    with pytest.raises(InputError, match="d_atom 96 is not a multiple of model.n_head 7"):
        replace(config, layer="gps", n_head=7)
    with pytest.raises(InputError, match="pair_encodings hops bias the attention of gps"):
        replace(config, pair_encodings=("hops",))
    with pytest.raises(InputError, match="model.n_layer is 0: give 1 or more"):
        replace(config, n_layer=0)
    with pytest.raises(InputError, match="features is 'toymx'"):
        replace(config, features="toymx")
    with pytest.raises(InputError, match="model.dropout is 1.5: give a share from 0 to below 1"):
        replace(config, dropout=1.5)
    with pytest.raises(InputError, match="model.n_kernel is -1: give 0 or more"):
        replace(config, n_kernel=-1)
    with pytest.raises(InputError, match="kernel_angstrom is 0.0: give a length above 0"):
        replace(config, kernel_angstrom=0.0)
    with pytest.raises(InputError, match="unknown encoding 'eigenpair_8'.*did you mean"):
        replace(config, encodings=("eigenpair_8",))
    with pytest.raises(InputError, match="'eigenpairs_8' is no encoding of pairs"):
        replace(config, layer="gps", pair_encodings=("eigenpairs_8",))


def test_sums_over_a_molecule_in_bfloat16_lose_no_small_ones(graph):
    """A sum kept in bfloat16 stays at 256, to which it cannot add one."""
    long = Graph(graph.edge_index, torch.zeros(1000, dtype=torch.int64), 1)
    ones = torch.ones(1000, 1, dtype=torch.bfloat16)
    assert float(long.sum_by_molecule(ones)) == 1000
    assert float(long.count_atoms(ones)) == 1000
