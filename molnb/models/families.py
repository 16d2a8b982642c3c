"""The families of encoders by name; `register_family` adds one, from this package or from outside.

A family is a frozen configuration and a function that builds, from it, the encoder and the heads
that pretraining by masking needs. Configurations carry the name of their family, so a stored run
finds its way back here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from ..errors import InputError, did_you_mean
from .graph.config import GraphConfig
from .interface import Counts, Encoder, EncoderConfig
from .unimol2.config import TwoTrackConfig
from .unimol2.encoder import make_two_track


class Built(NamedTuple):
    """A new encoder, and its heads for masked atoms (`tokens`) and moved ones (`movement`)."""

    encoder: Encoder
    masking_heads: dict[str, nn.Module]  # none where a family cannot learn by masking


class Family(NamedTuple):
    """A family: the class of its configurations, and what builds an encoder from one."""

    config: type[EncoderConfig]
    build: Callable[[Any], tuple[Encoder, dict[str, nn.Module]]]


FAMILIES: dict[str, Family] = {}


def register_family(
    config: type[EncoderConfig],
    build: Callable[[Any], tuple[Encoder, dict[str, nn.Module]]],
) -> None:
    """Add a family under the name that its configuration carries.

    Raises InputError for a name that another family has.
    """
    name = config.family
    if name in FAMILIES and FAMILIES[name].config is not config:
        raise InputError(f"there is a family {name!r} already: choose another name")
    FAMILIES[name] = Family(config, build)


def load_config(stored: dict[str, Any]) -> EncoderConfig:
    """The configuration of an encoder from its stored form.

    Raises InputError where it names no family, or one that nobody registered.
    """
    name = stored.get("family")
    if name not in FAMILIES:
        raise InputError(
            f"unknown family of encoders {name!r}{did_you_mean(str(name), FAMILIES)}: known are "
            f"{', '.join(FAMILIES)}; import the module that registers it first"
        )
    return FAMILIES[name].config.from_dict(stored)


def build_encoder(config: EncoderConfig) -> Built:
    """A new encoder and its masking heads, filled from torch's global generator."""
    return Built(*FAMILIES[config.family].build(config))


def count_parameters(config: EncoderConfig) -> Counts | None:
    """Parameters of a configuration without allocating any; the total has the masking heads.

    None where a package that the family needs is not installed.
    """
    try:
        with torch.device("meta"):
            built = build_encoder(config)
    except ModuleNotFoundError:
        return None
    counts = built.encoder.count_parameters()
    heads = sum(p.numel() for head in built.masking_heads.values() for p in head.parameters())
    return counts._replace(total=counts.total + heads)


def make_graph_network(config: GraphConfig) -> tuple[Encoder, dict[str, nn.Module]]:
    """A graph network and its masking heads; needs torch-geometric, which is imported here."""
    from .graph.encoder import make_graph_network

    return make_graph_network(config)


register_family(TwoTrackConfig, make_two_track)
register_family(GraphConfig, make_graph_network)
