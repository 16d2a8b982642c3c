"""Graph networks of the papers, and a family of sizes from 150 thousand to 100 million parameters.

The networks for ToyMix have the parameters of Graphium's, but for a norm of 32 that it never uses,
and without its heads (25,506 for the 34 labels of ToyMix): 181,730 of its GINE are 156,192 here,
163,874 of GIN 138,336 and 131,074 of GCN 105,536.
"""

from __future__ import annotations

from dataclasses import replace

from .config import GraphConfig

# Graphium's configurations config_small_{gcn,gin,gine}; the gated network likewise.
TOYMIX = {
    "gcn": GraphConfig(layer="gcn"),
    "gin": GraphConfig(layer="gin"),
    "gine": GraphConfig(layer="gine"),
    "gated_gcn": GraphConfig(layer="gated_gcn"),
}
# For assays of few labels. Eigenvectors are left out: with their signs drawn anew in each step some
# runs on 400 labels learn nothing for half of their time (LOG.md).
ASSAY = GraphConfig(
    layer="gated_gcn",
    d_atom=64,
    d_input_hidden=128,
    encodings=("return_probabilities_16",),
    dropout=0.0,
    input_dropout=0.0,
    encoding_dropout=0.0,
)
# MiniMol (Klaeser et al. 2024): what its released configuration says.
MINIMOL = GraphConfig(
    layer="gine",
    n_layer=16,
    d_input=128,
    d_atom=336,
    d_bond=168,
    d_out=512,
    d_molecule=1024,
    pooling="max",
    virtual_node="logsum",
    dropout=0.02,
    input_dropout=0.02,
    encoding_dropout=0.02,
)


def _mpnn(n_layer: int, d_atom: int, d_bond: int) -> GraphConfig:
    """A network with states of atoms, bonds and the molecule; every layer adds to the last."""
    return GraphConfig(
        layer="mpnn",
        n_layer=n_layer,
        d_input=d_atom,
        d_atom=d_atom,
        d_bond=d_bond,
        d_input_hidden=2 * d_atom,
        d_bond_hidden=2 * d_bond,
        residual="all",
    )


def _gps(n_layer: int, d_atom: int) -> GraphConfig:
    """Messages and attention in every layer, biased by resistances and shortest paths."""
    return GraphConfig(
        layer="gps",
        n_layer=n_layer,
        d_input=d_atom,
        d_atom=d_atom,
        d_bond=d_atom // 2,
        d_input_hidden=2 * d_atom,
        d_bond_hidden=d_atom,
        pair_encodings=("hops", "commute"),
        residual="none",
    )


# By total parameters of the encoder.
SIZES = {
    "150k": TOYMIX["gine"],
    "500k": _mpnn(4, 96, 48),
    "1m": _gps(4, 144),
    "3m": _mpnn(6, 176, 88),
    "10m": _mpnn(8, 280, 140),
    "30m": _mpnn(12, 400, 200),
    "100m": _mpnn(16, 632, 316),
}


def make_laptop(n_layer: int, d_atom: int) -> GraphConfig:
    """A laptop size: MPNN++ without dropout, since these models see their data a few times."""
    return replace(
        _mpnn(n_layer, d_atom, d_atom // 2),
        dropout=0.0,
        input_dropout=0.0,
        encoding_dropout=0.0,
    )


# By N, which leaves out the networks in front of the layers and the heads; depth and width grow
# together, as in the two-track family.
LAPTOP = {
    "0m004": make_laptop(1, 16),
    "0m033": make_laptop(2, 32),
    "0m1": make_laptop(3, 48),
    "0m25": make_laptop(4, 64),
    "0m5": make_laptop(5, 80),
    "1m": make_laptop(6, 104),
    "2m": make_laptop(8, 128),
    "5m": make_laptop(11, 176),
    "10m": make_laptop(14, 216),
}
