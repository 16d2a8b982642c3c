"""A batch with something withheld: what every encoder is given."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..shapes import Bool, Float, Shaped
from .batch import MolBatch, move

Count = float | Shaped[np.ndarray, " label"]  # how many things a sum, or each of some, runs over


class MaskedBatch(NamedTuple):
    """A batch of which a model may not see all.

    `hidden` atoms show no element, and where the batch `hides_features` none of their features;
    `noisy` coordinates (Å) stand for the true ones; molecules that are not `visible` show neither
    features nor bonds. `counts` says how many things each term of the objective that withheld them
    is a sum over.
    """

    batch: MolBatch
    hidden: Bool[Tensor, " atom"]
    noisy: Float[Tensor, "atom xyz"]
    visible: Bool[Tensor, " mol"]
    counts: dict[str, Count]
    hides_features: bool = False  # of hidden atoms; their bonds stay

    def to(self, device: torch.device | str, number: torch.dtype | None = None) -> MaskedBatch:
        """The same on another device, with floating-point numbers of the kind `number` if given."""
        return self._replace(
            batch=self.batch.to(device, number),
            hidden=move(self.hidden, device),
            noisy=move(self.noisy, device, number),
            visible=move(self.visible, device),
        )


def unmasked(batch: MolBatch) -> MaskedBatch:
    """A batch with nothing withheld: all elements, all features, the geometry as it is."""
    return MaskedBatch(
        batch=batch,
        hidden=torch.zeros_like(batch.numbers, dtype=torch.bool),
        noisy=batch.coords,
        visible=torch.ones(batch.n_mol, dtype=torch.bool, device=batch.device),
        counts={},
    )
