"""Widths, depth and conventions of a two-track encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ...errors import InputError
from ..dropout import check_dropout
from ..interface import EncoderConfig


@dataclass(frozen=True)
class Conventions:
    """Where the paper, its code and good sense disagree: which side weights were trained on."""

    name: str
    length_norm: str  # "molecule": own number of nodes; "padded": length of the padded batch
    pair_types: str  # "elements", or "chirality" as in the reference
    chirality: str  # "parity" over canonical neighbour ranks, or RDKit's "tag"
    init: str  # "intended" (AlphaFold 2 style), or "normal": N(0, 0.02) everywhere


MOLNB = Conventions(
    "molnb", length_norm="molecule", pair_types="elements", chirality="parity", init="intended"
)
REFERENCE = Conventions(
    "reference", length_norm="padded", pair_types="chirality", chirality="tag", init="normal"
)


NUMBERS_OF_GROUP = 4 * 10**8  # of the pair track over all layers; training keeps 13 bytes for each


@dataclass(frozen=True)
class TwoTrackConfig(EncoderConfig):
    """Widths, depth and conventions of a two-track encoder."""

    family: ClassVar[str] = "unimol2"

    n_layer: int
    d_atom: int
    n_head: int
    d_ffn: int
    d_pair: int
    d_hidden: int
    n_kernel: int = 128
    dropout: float = 0.1
    attention_dropout: float = 0.1
    pair_dropout: float = 0.25
    conventions: Conventions = MOLNB

    def __post_init__(self):
        if self.d_atom % self.n_head:
            raise InputError(
                f"d_atom {self.d_atom} is not a multiple of n_head {self.n_head}: change one of "
                "them"
            )
        for name in ("dropout", "attention_dropout", "pair_dropout"):
            check_dropout(f"model.{name}", getattr(self, name))

    @property
    def gpu_budget(self) -> int:
        # what a pair keeps for the backward pass grows with its width and with the layers
        return min(max(NUMBERS_OF_GROUP // (self.n_layer * self.d_pair), 16_384), 262_144)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> TwoTrackConfig:
        conventions = Conventions(**stored["conventions"])
        return super().from_dict({**stored, "conventions": conventions})

    def fully_random(self) -> TwoTrackConfig:
        return replace(self, conventions=replace(self.conventions, init="normal"))
