"""Widths, depth and parts of a graph network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...data.encodings.catalogue import check_names
from ...data.encodings.padded import check_pair_encoding
from ...errors import InputError, did_you_mean
from ..dropout import check_dropout
from ..interface import EncoderConfig
from .features import check_features

LAYERS = ("gcn", "gin", "gine", "gated_gcn", "mpnn", "gps")
LOCAL_LAYERS = LAYERS[:-1]
POOLINGS = ("sum", "mean", "max", "logsum")
RESIDUALS = ("none", "inner", "all")
WIDTHS = (
    "d_input",
    "d_atom",
    "d_bond",
    "d_out",
    "d_molecule",
    "d_input_hidden",
    "d_bond_hidden",
    "d_encoding",
    "d_encoding_hidden",
)
MAY_BE_ZERO = ("d_out", "d_molecule", "n_kernel")  # as wide as what is before, or none
READ_BONDS = ("gine", "gated_gcn", "mpnn")  # layers that read more of a bond than its ends


@dataclass(frozen=True, kw_only=True)
class GraphConfig(EncoderConfig):
    """Widths, depth and parts of a graph network; the defaults are Graphium's GINE for ToyMix.

    `layer` is one of gcn, gin, gine, gated_gcn, mpnn (states of atoms, bonds and the molecule) and
    gps, which adds attention within a molecule to a `local_layer`. Networks of two layers make
    `d_input` numbers of an atom's features and encodings, and `d_bond` of a bond's; `n_layer`
    layers of width `d_atom` follow, the last of width `d_out` (0: `d_atom`), then `pooling` over
    atoms and a linear layer to `d_molecule` (0: as wide as what is pooled).

    With `residual` "inner" every layer but the first and the last adds what the one before it
    gave, as Graphium does; "all": every layer whose width allows it. `virtual_node` is a pooling
    that a state of the molecule is updated by after each layer but the last, "none" without.
    `n_kernel` Gaussians of distances (0: none) let it see the geometry, up to
    `kernel_angstrom`. `pair_encodings` bias the attention of gps. `padded_pairs`: whether missing
    eigenpairs of small molecules count as pairs of zeros, as in Graphium.
    """

    family: ClassVar[str] = "graph"

    layer: str = "gine"
    n_layer: int = 4
    d_input: int = 64
    d_atom: int = 96
    d_bond: int = 32
    d_out: int = 0
    d_molecule: int = 0
    d_input_hidden: int = 256
    d_bond_hidden: int = 128
    d_encoding: int = 32
    d_encoding_hidden: int = 64
    n_head: int = 8
    n_kernel: int = 0
    kernel_angstrom: float = 8.0
    features: str = "toymix"
    encodings: tuple[str, ...] = ("eigenpairs_8", "return_probabilities_16")
    pair_encodings: tuple[str, ...] = ()
    local_layer: str = "gine"
    pooling: str = "sum"
    virtual_node: str = "none"
    residual: str = "inner"
    dropout: float = 0.1
    input_dropout: float = 0.18
    encoding_dropout: float = 0.1
    padded_pairs: bool = False

    def __post_init__(self):
        check_features(self.features)
        _check("layer", self.layer, LAYERS)
        _check("local_layer", self.local_layer, LOCAL_LAYERS)
        _check("pooling", self.pooling, POOLINGS)
        _check("virtual_node", self.virtual_node, ("none", *POOLINGS))
        _check("residual", self.residual, RESIDUALS)
        for name in ("dropout", "input_dropout", "encoding_dropout"):
            check_dropout(f"model.{name}", getattr(self, name))
        for name in ("n_layer", "n_head", *WIDTHS, "n_kernel"):
            least = 0 if name in MAY_BE_ZERO else 1
            if getattr(self, name) < least:
                raise InputError(f"model.{name} is {getattr(self, name)}: give {least} or more")
        if not self.kernel_angstrom > 0:
            raise InputError(
                f"model.kernel_angstrom is {self.kernel_angstrom}: give a length above 0 Å"
            )
        check_names(self.encodings)
        for name in self.pair_encodings:
            check_pair_encoding(name)
        if self.layer == "gps" and self.d_atom % self.n_head:
            raise InputError(
                f"model.d_atom {self.d_atom} is not a multiple of model.n_head {self.n_head}: "
                "change one of them"
            )
        if self.layer == "gps" and self.width_out != self.d_atom:
            raise InputError(
                f"model.d_out is {self.d_out}: layers of gps are all as wide as model.d_atom "
                f"({self.d_atom})"
            )
        if self.pair_encodings and self.layer != "gps":
            raise InputError(
                f"model.pair_encodings {', '.join(self.pair_encodings)} bias the attention of gps; "
                f"model.layer is {self.layer!r}"
            )

    def narrowed(self, factor: float) -> GraphConfig:
        if factor <= 0:
            raise InputError(f"model.width_transfer is {factor:g}: give a number above 0")
        widths = {name: getattr(self, name) / factor for name in WIDTHS}
        for name, width in widths.items():
            if width != int(width):
                raise InputError(
                    f"model.width_transfer is {factor:g}, by which model.{name} "
                    f"{getattr(self, name)} cannot be divided: choose another"
                )
        whole = {name: int(width) for name, width in widths.items()}
        return replace(self, **whole, width_transfer=1.0)

    @property
    def padded(self) -> bool:
        """Whether molecules are padded to one length: where atoms attend to each other."""
        return self.layer == "gps"

    @property
    def message_layer(self) -> str:
        """The layer that sends messages along bonds."""
        return self.local_layer if self.layer == "gps" else self.layer

    @property
    def reads_bonds(self) -> bool:
        """Whether anything but the ends of a bond matters."""
        return self.message_layer in READ_BONDS

    @property
    def updates_bonds(self) -> bool:
        """Whether layers change the states of bonds."""
        return self.message_layer in ("gated_gcn", "mpnn")

    @property
    def width_out(self) -> int:
        """Width of the atoms after the last layer."""
        return self.d_out or self.d_atom

    @property
    def width_molecule(self) -> int:
        """Width of a molecule's vector."""
        return self.d_molecule or self.width_out

    def layer_widths(self) -> list[tuple[int, int]]:
        """Width of the atoms before and after each layer."""
        before = [self.d_input] + [self.d_atom] * (self.n_layer - 1)
        after = [self.d_atom] * (self.n_layer - 1) + [self.width_out]
        return list(zip(before, after, strict=True))


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(
            f"model.{name} is {value!r}{did_you_mean(str(value), known)}: choose one of "
            f"{', '.join(known)}"
        )
