"""What every family of encoders offers, and all that heads, objectives and the loop know of one.

An encoder takes a batch with something withheld and returns an encoding, which answers for
molecules, atoms, bonds and pairs of atoms at an index. How it lays a batch out meanwhile (padded,
packed, as a graph) is its own business.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from ..data.batch import LEVELS, MolBatch
from ..data.masked import MaskedBatch
from ..errors import InputError
from ..files import with_tuples
from ..shapes import Float, Int
from .products import Cost, GroupCounter


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """What decides an encoder: a frozen dataclass of plain values, which a run stores.

    A family inherits it, names itself in `family` and adds its fields. `hydrogens` says whether the
    encoder sees them; `arrays` names further arrays of a dataset that it reads, and `encodings`
    what it reads of where atoms and bonds sit in the graph (`data.encodings.catalogue`), which is
    computed where a dataset does not keep it. `width_transfer`: the learning rate is meant for a
    network that many times narrower, and this one gets what it has to have instead
    (`models.width_transfer`).
    """

    family: ClassVar[str]
    hydrogens: bool = False
    arrays: tuple[str, ...] = ()
    encodings: tuple[str, ...] = ()
    width_transfer: float = 1.0

    @property
    def padded(self) -> bool:
        """Whether molecules of a group are padded to its longest: groups are of like size then."""
        return True

    @property
    def gpu_budget(self) -> int:
        """Padded pairs, or atoms, that a GPU computes at a time where a run says nothing else.

        Large groups: what a small model costs there is to start one kernel after another.
        """
        return 65_536

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain data for JSON, with the name of its family."""
        return {"family": self.family, **asdict(self)}

    def narrowed(self, factor: float) -> EncoderConfig:
        """The configuration with every width divided by a factor, for width transfer.

        Raises InputError where a family has none, as here, or a width would not be whole.
        """
        raise InputError(
            f"model.width_transfer is {factor:g}: encoders of the family {self.family!r} have no "
            "width transfer; leave it at 1"
        )

    def fully_random(self) -> EncoderConfig:
        """The configuration whose new encoder has random weights everywhere; here itself.

        Such an encoder is a control: where branches start at zero it says the same of every
        molecule.
        """
        return self

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> EncoderConfig:
        """Undo `to_dict`."""
        values = with_tuples(stored)
        values.pop("family", None)
        return cls(**values)


@runtime_checkable
class Encoding(Protocol):
    """An encoder's output; `layers` are those after each block, where they were requested."""

    layers: Sequence[Encoding]

    def rows(self, level: str, index: Int[Tensor, " k *pair"]) -> Float[Tensor, "k d"]:
        """The vectors of some molecules, atoms, bonds or pairs, numbered as in the batch.

        An index of pairs has the columns (molecule, atom, atom); (i, j) and (j, i) may differ.
        """
        ...


class Counts(NamedTuple):
    """Parameters: `n` of the blocks, of which scaling laws speak, and `total` with all tables."""

    n: int
    total: int


class Encoder(nn.Module):
    """A family's network. What is not overridden here is what the simplest of networks needs."""

    config: EncoderConfig
    n_block: int  # parameters have depths 0 (what embeds the input) to n_block
    # Whether all its random numbers come from `models.dropout`, so that groups of molecules can be
    # trained by several threads and a seed still decides everything.
    own_dropout: ClassVar[bool] = False

    def forward(
        self,
        masked: MaskedBatch,
        levels: Collection[str] = LEVELS,
        keep_layers: bool = False,
    ) -> Encoding:
        """Encode a batch; work that only levels beside `levels` need may be left out."""
        raise NotImplementedError

    def width(self, level: str) -> int:
        """Length of the vectors of a level."""
        raise NotImplementedError

    def layer_width(self, level: str, layer: int) -> int:
        """Length of the vectors of a level after a layer (the first is 1); here as at the end."""
        return self.width(level)

    def depth_of(self, parameter: str) -> int:
        """The depth of a parameter, by its name: 0 embeds, 1 is the first block, n_block the last.

        Rates that fall with depth and layers that are frozen go by it. Here: the number in a name
        like `blocks.3.weight`, and 0 without one.
        """
        parts = parameter.split(".")
        return int(parts[1]) + 1 if parts[0] == "blocks" else 0

    def count_parameters(self) -> Counts:
        """How many parameters there are; here `n` is what lies in blocks."""
        sizes = {name: p.numel() for name, p in self.named_parameters()}
        n = sum(size for name, size in sizes.items() if self.depth_of(name))
        return Counts(n, sum(sizes.values()))

    def count_flops(self, n_atom: int, n_bond: int) -> int:
        """Floating-point operations of one forward pass over a molecule of this size.

        Here: two for each parameter of the blocks and each atom.
        """
        return 2 * self.count_parameters().n * n_atom

    @property
    def first_learning(self) -> int:
        """The smallest depth of which a parameter learns; n_block + 1 where all are frozen."""
        learning = (name for name, p in self.named_parameters() if p.requires_grad)
        return min(map(self.depth_of, learning), default=self.n_block + 1)

    def make_counter(
        self, levels: Collection[str], device: torch.device, item_size: int
    ) -> GroupCounter:
        """What says the cost of a training step on a group, from the atoms and bonds of each.

        That is a function of two arrays of numbers. What it counts is the forward and the backward
        pass of the encoder on a device, where heads read these levels and numbers are `item_size`
        bytes wide; bonds are those that are shown. Made anew when other layers learn. Here: three
        times `count_flops`, nothing padded, and each parameter of the blocks read three times.
        """
        n_byte = 3 * item_size * self.count_parameters().n

        def count(n_atoms: Int[np.ndarray, " mol"], n_bonds: Int[np.ndarray, " mol"]) -> Cost:
            sizes = zip(n_atoms.tolist(), n_bonds.tolist(), strict=True)
            return Cost(flops=sum(3 * self.count_flops(*size) for size in sizes), bytes=n_byte)

        return count

    def parts(self) -> list[nn.Module]:
        """Modules that hold nearly all parameters, each called once in a forward pass.

        Many processes may keep a part of each. Here: the blocks, if there are any.
        """
        return list(getattr(self, "blocks", []))

    def fuse(self, **options) -> None:
        """Compile each of the parts by itself into few kernels, what is in between not at all.

        Parts that are alike share their code, so a deeper encoder compiles no longer. Only their
        `forward`: what collects a part that is split stands around it.
        """
        for part in self.parts():
            part.forward = torch.compile(part.forward, **{"dynamic": True} | options)

    def begin_training(self) -> None:
        """Called before the first step of a run that starts from no other: counts begin here."""

    def unseen_features(self) -> list[str]:
        """Names of the input features that training never showed; here none are kept count of."""
        return []

    def unseen_in(self, batch: MolBatch) -> list[tuple[str, ...]]:
        """For each molecule of a batch (on the CPU), its features that training never showed."""
        return [()] * batch.n_mol

    def forget_unseen(self) -> None:
        """Make sure that what training never showed contributes nothing."""
