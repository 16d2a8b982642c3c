"""An encoder and its heads: what is trained, stored and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..data.batch import MolBatch
from ..data.masked import MaskedBatch, unmasked
from .heads import LabelHead
from .interface import Encoder, Encoding
from .products import BatchCounter, Cost, add_costs


class Prediction(NamedTuple):
    """A model's output for a batch: the encoding, and the output of each head by its name.

    A task's head gives one row a label row, in units of standard deviations; `tokens` gives logits
    of the hidden atoms, `movement` the denoised coordinates of all atoms (Å).
    """

    encoding: Encoding
    outputs: dict[str, Tensor]


class Model(nn.Module):
    """An encoder and heads beside it.

    Heads of tasks bear the key of their task; others (`tokens`, `movement`) answer for what the
    batch withholds.
    """

    def __init__(self, encoder: Encoder, heads: Mapping[str, nn.Module]):
        super().__init__()
        self.encoder = encoder
        self._heads_called = {_module_name(name): name for name in heads}
        self.heads = nn.ModuleDict({_module_name(name): head for name, head in heads.items()})

    @property
    def levels(self) -> set[str]:
        """Levels that the heads read; an encoding is always good for molecules."""
        return {"molecule"}.union(*(head.levels for head in self.heads.values()))

    def head(self, name: str) -> nn.Module:
        """The head of a name."""
        return self.heads[_module_name(name)]

    def forward(self, batch: MolBatch | MaskedBatch, everywhere: bool = False) -> Prediction:
        """Encode a batch and apply each head.

        The head of a task reads what the batch has labels of, or all there is (`everywhere`); a
        plain batch has nothing withheld.
        """
        masked = batch if isinstance(batch, MaskedBatch) else unmasked(batch)
        encoding = self.encoder(masked, self.levels)
        outputs: dict[str, Tensor] = {}
        for module_name, head in self.heads.items():
            name = self._heads_called[module_name]
            if not isinstance(head, LabelHead):
                outputs[name] = head(encoding, masked)
                continue
            index = head.index(name, masked.batch, everywhere)
            if index is not None:
                outputs[name] = head(encoding, index, masked.batch)
        return Prediction(encoding, outputs)

    def make_counter(self, device: torch.device, item_size: int) -> BatchCounter:
        """What says the cost of a training step on a group of molecules (on the CPU), with heads.

        Numbers are `item_size` bytes wide. It counts as if every term of the loss had a weight, and
        every head something to read that the loss knows of. Heads without a `make_counter` of their
        own are left out, and so is what a fused kernel of attention computes again.
        """
        levels = set().union(*(head.levels for head in self.heads.values()))
        of_encoder = self.encoder.make_counter(levels, device, item_size)
        of_heads = [
            head.make_counter(self._heads_called[name], self.encoder, device, item_size)
            for name, head in self.heads.items()
            if hasattr(head, "make_counter")
        ]

        def count(masked: MaskedBatch) -> Cost:
            shown = masked.batch.n_bonds * masked.visible
            cost = of_encoder(masked.batch.n_atoms.numpy(), shown.numpy())
            return add_costs([cost, *(of_head(masked) for of_head in of_heads)])

        return count

    def fuse(self) -> None:
        """Compile the encoder, and heads that gain by it, into few kernels (torch.compile)."""
        self.encoder.fuse()
        for head in self.heads.values():
            if hasattr(head, "fuse"):
                head.fuse()


def _module_name(name: str) -> str:
    """The name of a head's module: its own, unless modules have an attribute called so.

    A file may be called train.csv, and its task train.
    """
    return f"task:{name}" if hasattr(nn.ModuleDict(), name) else name
