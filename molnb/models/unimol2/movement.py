"""The head that moves atoms back: denoised coordinates from both tracks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...data.masked import MaskedBatch
from ...shapes import Bool, Float
from . import layers
from .packing import padded_layout

if TYPE_CHECKING:
    from .encoder import TwoTrackEncoding


class MovementHead(layers.MovementHead):
    """Denoised coordinates of all atoms, from an encoding of noisy ones."""

    levels = ("pair",)
    _fused = None

    def fuse(self, **options) -> None:
        """Compile the head: one graph for each padded length."""
        options = {"fullgraph": True, "dynamic": None} | options
        self._fused = torch.compile(self._move_padded, **options)

    def forward(self, encoding: TwoTrackEncoding, masked: MaskedBatch) -> Float[Tensor, "atom xyz"]:
        if self._fused is not None:
            moved = self._fused(*encoding[:4])
        else:
            moved = self.move(encoding)
        batch = masked.batch
        return moved[batch.mol_of_atom(), batch.position()]

    def move(self, encoding: TwoTrackEncoding) -> Float[Tensor, "mol n xyz"]:
        """The same, padded."""
        nodes, pairs, coords, _, layout = encoding[:5]
        return super().forward(nodes, pairs, coords, layout)

    def _move_padded(
        self,
        nodes: Float[Tensor, "node d_atom"],
        pairs: Float[Tensor, "pair d_pair"],
        coords: Float[Tensor, "mol n xyz"],
        real: Bool[Tensor, "mol n"],
    ) -> Float[Tensor, "mol n xyz"]:
        # the layout is made again here: its sizes would be constants of the compiled graph
        real = torch.cat([torch.ones_like(real[:, :1]), real], 1)
        return super().forward(nodes, pairs, coords, padded_layout(real, padded_norm=False))
