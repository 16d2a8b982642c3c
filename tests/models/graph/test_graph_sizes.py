"""Parameters of the papers' networks and of the family of sizes, counted and explained."""

from __future__ import annotations

import pytest

pytest.importorskip("torch_geometric")
from molnb.models.families import build_encoder
from molnb.models.graph.config import GraphConfig
from molnb.models.graph.encoder import GraphEncoder
from molnb.models.graph.sizes import LAPTOP, MINIMOL, SIZES, TOYMIX


def encoder_of(config: GraphConfig) -> GraphEncoder:
    return build_encoder(config).encoder


def size(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def head(hidden: int, n_label: int) -> int:
    """Graphium's head: 96 to a hidden width with its norm, then the labels."""
    return 96 * hidden + hidden + 2 * hidden + hidden * n_label + n_label


@pytest.mark.parametrize(
    "layer, published",
    [("gcn", 131_074), ("gin", 163_874), ("gine", 181_730), ("gated_gcn", 264_930)],
)
def test_networks_for_toymix_have_the_published_parameters(layer, published):
    """Less a norm of 32 that Graphium never uses, and its heads of QM9, Tox21 and ZINC12k."""
    heads = head(128, 19) + head(64, 12) + head(32, 3)
    assert heads == 25_506
    assert size(encoder_of(TOYMIX[layer])) == published - 32 - heads


def test_parts_of_the_gine_are_those_of_graphium():
    encoder = encoder_of(TOYMIX["gine"])
    assert size(encoder.atoms.encoders) == 14_016 - 32
    assert size(encoder.atoms) - size(encoder.atoms.encoders) == 47_296
    assert size(encoder.bonds) == 6_240
    assert size(encoder.blocks) == 79_360
    assert size(encoder.molecule) == 9_312


def test_minimol_has_sixteen_layers_and_a_fingerprint_of_512():
    encoder = encoder_of(MINIMOL)
    assert encoder.layer_width("molecule", 16) == 512 and encoder.n_block == 16
    assert size(encoder) == 6_746_744


@pytest.mark.parametrize(
    "name, total",
    [
        ("150k", 156_192),
        ("500k", 630_448),
        ("1m", 1_006_664),
        ("3m", 2_973_160),
        ("10m", 9_805_444),
        ("30m", 29_555_384),
        ("100m", 97_600_788),
    ],
)
def test_sizes_are_what_their_names_say(name, total):
    encoder = encoder_of(SIZES[name])
    assert size(encoder) == encoder.count_parameters().total == total
    said = float(name[:-1]) * {"k": 1e3, "m": 1e6}[name[-1]]
    assert 0.9 * said < total < 1.3 * said


@pytest.mark.parametrize("name", LAPTOP)
def test_laptop_sizes_are_what_their_names_say_and_deeper_is_wider(name):
    counts = encoder_of(LAPTOP[name]).count_parameters()
    millions, _, decimals = name.partition("m")
    said = float(f"{millions}.{decimals or 0}") * 1e6
    assert 0.8 * said < counts.n < 1.25 * said


def test_laptop_sizes_grow_in_depth_and_width():
    shapes = [(config.n_layer, config.d_atom) for config in LAPTOP.values()]
    assert all(a < b and c < d for (a, c), (b, d) in zip(shapes, shapes[1:]))
