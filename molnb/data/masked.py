"""A batch with something withheld, and the sums that score the answer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..shapes import Bool, Float
from .batch import MolBatch


class SumCount(NamedTuple):
    """A sum and the number of things it runs over: their ratio is the metric."""

    total: Tensor
    count: float


class MaskedBatch(NamedTuple):
    """A batch with something withheld: `hidden` atoms show no element, `noisy` coordinates (Å)
    stand for the true ones.

    Molecules that are not `visible` show neither features nor bonds. `counts` says how many things
    each term scores.
    """

    batch: MolBatch
    hidden: Bool[Tensor, " atom"]
    noisy: Float[Tensor, "atom xyz"]
    visible: Bool[Tensor, " mol"]
    counts: dict[str, float]

    def to(self, device: torch.device | str) -> MaskedBatch:
        moved = [x.to(device, non_blocking=True) for x in (self.hidden, self.noisy, self.visible)]
        return MaskedBatch(self.batch.to(device), *moved, self.counts)


def spread(flat: Tensor, batch: MolBatch, length: int) -> Tensor:
    """Values of a flat atom axis on the padded one; zeros where there is no atom."""
    wide = flat.new_zeros(batch.n_mol, length, *flat.shape[1:])
    wide[batch.mol_of_atom(), batch.position()] = flat
    return wide
