"""Multiplications of a graph network by part, for one molecule.

Only matrix products are counted, one multiplication with its addition each (two FLOPs). What is
computed once for each kind of bond, or each value of a feature, does not grow with molecules and is
left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from .encoder import GraphEncoder

# Parts of layers that work on edges, and on molecules; all others work on atoms.
_ON_EDGES = ("bond_network", "bond_out")
_ON_MOLECULES = ("molecule_network", "virtual")
_ON_KINDS = "bond"  # on edges once layers have changed their states


def count_multiplications(encoder: GraphEncoder, n_atom: int, n_bond: int) -> dict[str, int]:
    """Multiplications of a forward pass over one molecule, by part; FLOPs are twice."""
    config = encoder.config
    n_edge = 2 * n_bond
    atoms = encoder.atoms
    n_scalar = sum(feature.table.shape[1] == 1 for feature in atoms.features)
    read = (atoms.d_encoding + n_scalar) * config.d_input_hidden
    parts = {
        "encodings": sum(_encoding_products(network) for network in atoms.encoders.values())
        * n_atom,
        "atoms": (read + config.d_input_hidden * config.d_input) * n_atom,
        "layers": 0,
        "molecule": encoder.molecule.weight.numel(),
    }
    if config.n_kernel:
        parts["distances"] = config.n_kernel * config.d_encoding * n_atom
    per_bond = encoder.bonds is not None and (encoder.bonds.names or config.n_kernel)
    if per_bond:
        parts["bonds"] = _weights(encoder.bonds) * n_bond
    for depth, block in enumerate(encoder.blocks):
        edges_differ = bool(per_bond) or (depth > 0 and config.updates_bonds)
        parts["layers"] += _layer_products(block, n_atom, n_edge, edges_differ)
        if config.layer == "gps":
            parts["layers"] += 2 * n_atom**2 * config.d_atom
    return parts


def _encoding_products(network: nn.Module) -> int:
    """Products for one atom in the network of an encoding."""
    if hasattr(network, "n_pair"):
        n_hidden = network.inner.out_features
        return network.n_pair * 2 * n_hidden + _weights(network.outer) + _weights(network.post)
    return _weights(network)


def _layer_products(block: nn.Module, n_atom: int, n_edge: int, edges_differ: bool) -> int:
    """Products of one block over a molecule."""
    total = 0
    for name, module in block.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        parts = name.split(".")
        n_row = n_atom
        if any(part in _ON_EDGES for part in parts):
            n_row = n_edge
        elif any(part in _ON_MOLECULES for part in parts):
            n_row = 1
        elif parts[-1] == _ON_KINDS:
            n_row = n_edge if edges_differ else 0
        total += module.weight.numel() * n_row
    return total


def _weights(module: nn.Module) -> int:
    """Entries of the matrices of all linear layers of a module."""
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear))
