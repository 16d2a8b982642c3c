"""Multiplications of a graph network by part, for one molecule or for a group.

Only matrix products are counted, one multiplication with its addition each (two FLOPs). They stand
in one list with their shapes (`flat_products`, `view_products`), from which FLOPs and bytes of any
group of molecules follow. Of what a network does in evaluation and not in training (both signs of
eigenvectors) nothing is counted.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from torch import nn

from ...data.batch import LEVELS
from ...shapes import Int
from ..heads import linear_product
from ..products import (
    Cost,
    CostByRows,
    CostBySize,
    Product,
    multiplications_by_part,
    unlearnt,
)
from .config import GraphConfig
from .features import ELEMENT
from .inputs import AtomNetwork, BondNetwork, EigenpairNetwork

# Parts of layers that work on edges, and on molecules; all others work on atoms.
_ON_EDGES = ("bond_network", "bond_out")
_ON_MOLECULES = ("molecule_network", "virtual")
_ON_KINDS = "bond"  # on edges once layers have changed their states
_PADDED = "query_key_value"  # on padded views
# What reads nothing but what the layer before gave, by the kind of layer.
_FIRST_TO_READ = {
    "gcn": ("linear",),
    "gin": ("network.0.linear",),
    "gine": (),
    "gated_gcn": ("own", "sent", "receiver", "sender"),
    "mpnn": ("bond_network.0.linear",),
}


def count_multiplications(encoder: nn.Module, n_atom: int, n_bond: int) -> dict[str, int]:
    """Multiplications of a forward pass over one molecule, by part; FLOPs are twice.

    Those of training. What is computed once for each kind of bond, or each value of a feature, does
    not grow with molecules and is left out.
    """
    parts = multiplications_by_part(
        [*flat_products(encoder, 1, n_atom, 2 * n_bond), *view_products(encoder, 1, n_atom)]
    )
    once = multiplications_by_part(flat_products(encoder, 0, 0, 0))
    return {part: count - once.get(part, 0) for part, count in parts.items()}


def flat_products(
    encoder: nn.Module,
    n_mol: int,
    n_atom: int,
    n_edge: int,
    levels: Collection[str] = LEVELS,
    first_learning: int = 0,
) -> list[Product]:
    """Products on rows of molecules, atoms and edges (two a bond that is shown), whoever has them.

    Those of tables and of kinds of bonds are there without any rows. Blocks below `first_learning`
    (0 embeds) learn nothing, and neither does what no head reads that reads these `levels`.
    """
    networks = [
        *_encoding_products(encoder.atoms, n_atom),
        *_atom_products(encoder.atoms, n_atom),
    ]
    if encoder.bonds is not None:
        networks += _bond_products(encoder.bonds, n_edge)
    if first_learning:
        networks = unlearnt(networks)
    layers = []
    for depth in range(1, encoder.n_block + 1):
        layers += _block_products(encoder, depth, n_mol, n_atom, n_edge, levels, first_learning)
    molecule = linear_product("molecule", encoder.molecule, n_mol)
    if "molecule" not in levels or first_learning > encoder.n_block:
        (molecule,) = unlearnt([molecule])
    return [*networks, *layers, molecule]


def view_products(encoder: nn.Module, n_mol: int, n: int, first_learning: int = 0) -> list[Product]:
    """Products on padded views, of molecules that are computed as if they had n atoms each."""
    config = encoder.config
    if config.layer != "gps":
        return []
    products = []
    if encoder.pair_bias is not None:
        bias = linear_product("pairs", encoder.pair_bias.heads, n_mol * n * n)
        products += unlearnt([bias]) if first_learning else [bias._replace(gradients=1)]
    d_head = config.d_atom // config.n_head
    logits = Product("layers", n, d_head, n, times=n_mol * config.n_head)
    for depth, block in enumerate(encoder.blocks, 1):
        joint = linear_product("layers", block.layer.query_key_value, n_mol * n)
        if depth == first_learning and isinstance(block.layer.entry, nn.Identity):
            joint = joint._replace(gradients=1)
        attention = [joint, logits, logits._replace(k=n, n=d_head)]
        products += unlearnt(attention) if depth < first_learning else attention
    return products


def _encoding_products(atoms: AtomNetwork, n_atom: int) -> list[Product]:
    """Products of the networks of encodings and distances; what they read is data."""
    products = []
    for network in atoms.encoders.values():
        if isinstance(network, EigenpairNetwork):
            d_hidden = network.inner.out_features
            # entry, eigenvalue and whether there is a pair: two layers in one, made once
            rows = network.n_pair * n_atom
            products += [
                Product("encodings", d_hidden, d_hidden, 2),
                Product("encodings", rows, 3, d_hidden, gradients=1),
                linear_product("encodings", network.outer, n_atom),
                linear_product("encodings", network.post, n_atom),
            ]
        else:  # a norm that learns stands before the first layer
            products += [
                linear_product("encodings", layer.linear, n_atom) for layer in network.layers
            ]
    if atoms.kernel is not None:
        of_distances = linear_product("distances", atoms.surroundings, n_atom)
        products.append(of_distances._replace(gradients=1))
    return products


def _atom_products(atoms: AtomNetwork, n_atom: int) -> list[Product]:
    """Products that make vectors of features and encodings of atoms."""
    d_hidden = atoms.first.linear.out_features
    products = []
    n_scalar = 0
    for number, feature in enumerate(atoms.features):
        n_value, n_column = atoms.get_buffer(f"table_{number}").shape
        if n_column == 1 and feature.source != ELEMENT:
            n_scalar += 1
        else:  # a table as wide as the layer
            products.append(Product("atoms", n_value, n_column, d_hidden, gradients=1))
    gradients = 2 if atoms.d_encoding else 1
    width = atoms.d_encoding + n_scalar
    products.append(Product("atoms", n_atom, width, d_hidden, gradients=gradients))
    return [*products, linear_product("atoms", atoms.second.linear, n_atom)]


def _bond_products(bonds: BondNetwork, n_edge: int) -> list[Product]:
    """Products that make vectors of kinds of bonds, or of edges."""
    n_row = n_edge if _has_rows_of_edges(bonds) else len(bonds.kinds)
    first = linear_product("bonds", bonds.first.linear, n_row)._replace(gradients=1)
    return [first, linear_product("bonds", bonds.second.linear, n_row)]


def _has_rows_of_edges(bonds: BondNetwork | None) -> bool:
    """Whether more is known of bonds than their kind."""
    return bonds is not None and bool(bonds.names or bonds.kernel is not None)


def _block_products(
    encoder: nn.Module,
    depth: int,
    n_mol: int,
    n_atom: int,
    n_edge: int,
    levels: Collection[str],
    first_learning: int,
) -> list[Product]:
    """Products of one block on rows."""
    config = encoder.config
    products = []
    for name, module in encoder.blocks[depth - 1].named_modules():
        parts = name.split(".")
        if not isinstance(module, nn.Linear) or parts[-1] == _PADDED:
            continue
        n_row = n_atom
        if any(part in _ON_EDGES for part in parts):
            n_row = n_edge
        elif any(part in _ON_MOLECULES for part in parts):
            n_row = n_mol
        elif parts[-1] == _ON_KINDS:
            of_edges = _has_rows_of_edges(encoder.bonds) or (depth > 1 and config.updates_bonds)
            n_row = n_edge if of_edges else len(encoder.bonds.kinds)
        product = linear_product("layers", module, n_row)
        last = depth == encoder.n_block
        if depth < first_learning or (last and _is_unread(parts, levels)):
            (product,) = unlearnt([product])
        elif _reads_frozen(config, name, depth, first_learning):
            product = product._replace(gradients=1)
        products.append(product)
    return products


def _is_unread(parts: list[str], levels: Collection[str]) -> bool:
    """Whether nobody reads what a part of the last block gives: molecules, perhaps bonds."""
    return "molecule_network" in parts or ("bond_out" in parts and "bond" not in levels)


def _reads_frozen(config: GraphConfig, name: str, depth: int, first_learning: int) -> bool:
    """Whether a linear layer of a block that learns reads only what does not."""
    if not first_learning:
        return False
    name = name.removeprefix("layer.")
    local = name.removeprefix("local.")
    if local == _ON_KINDS and not config.updates_bonds:
        return True  # states of bonds stay as they came
    if depth != first_learning:
        return False
    if name == "entry" or local == _ON_KINDS:
        return True
    if config.layer == "gps" and local == name:  # attention, and the network behind both
        return False
    return local in _FIRST_TO_READ[config.message_layer]


class GraphCounter:
    """Counts training on a group: products on rows of all its molecules, and on padded views."""

    def __init__(self, encoder: nn.Module, levels: Collection[str], item_size: int):
        first = encoder.first_learning
        self._flat = CostByRows(
            lambda *rows: flat_products(encoder, *rows, levels, first), 3, item_size
        )
        self._views = None
        if encoder.config.layer == "gps":
            self._views = CostBySize(
                lambda n_mol, n: view_products(encoder, n_mol, n, first), item_size
            )

    def __call__(self, n_atoms: Int[np.ndarray, " mol"], n_bonds: Int[np.ndarray, " mol"]) -> Cost:
        useful = self._flat(len(n_atoms), int(n_atoms.sum()), 2 * int(n_bonds.sum()))
        if self._views is None:
            flops, n_byte = useful.tolist()
            return Cost(flops=flops, bytes=n_byte)
        on_views = self._views(n_atoms).sum(0)
        padded = len(n_atoms) * self._views(n_atoms.max(keepdims=True))[0]
        flops, n_byte = (useful + on_views + self._views.once).tolist()
        more_flops, more_byte = (padded - on_views).tolist()
        return Cost(flops, more_flops, n_byte, more_byte)
