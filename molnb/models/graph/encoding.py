"""What a graph network returns: vectors of atoms and molecules, of bonds and pairs from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...data.batch import MolBatch
from ...shapes import Float, Int


class GraphEncoding(NamedTuple):
    """The network's output, or the states after one of its layers.

    `bonds` are states of bonds, the mean of both directions, None where the network has none; a
    layer's `molecules` are its atoms pooled.
    """

    atoms: Float[Tensor, "atom d"]
    molecules: Float[Tensor, "mol d_mol"]
    bonds: Float[Tensor, "bond d_bond"] | None
    batch: MolBatch
    layers: Sequence[GraphEncoding] = ()

    def rows(self, level: str, index: Int[Tensor, " k *pair"]) -> Float[Tensor, "k d"]:
        """Vectors at an index.

        A pair of atoms is the sum and the absolute difference of both (Graphium, section on levels
        of labels), so its order does not matter; a bond is its state beside that.
        """
        if level == "molecule":
            return self.molecules.index_select(0, index)
        if level == "atom":
            return self.atoms.index_select(0, index)
        if level == "pair":
            first, second = (self.batch.first_atom()[index[:, :1]] + index[:, 1:]).unbind(1)
            return self._sum_and_difference(first, second)
        first, second = self.batch.bond_ends()[index].unbind(1)
        ends = self._sum_and_difference(first, second)
        return ends if self.bonds is None else torch.cat([ends, self.bonds[index]], 1)

    def _sum_and_difference(
        self, first: Int[Tensor, " k"], second: Int[Tensor, " k"]
    ) -> Float[Tensor, "k d2"]:
        one = self.atoms.index_select(0, first)
        other = self.atoms.index_select(0, second)
        return torch.cat([one + other, (one - other).abs()], 1)
