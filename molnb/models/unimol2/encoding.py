"""What the two-track encoder returns: both tracks, and their rows at an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from ...data.batch import MolBatch
from ...shapes import Bool, Float, Int
from .packing import Layout


class Tracks(NamedTuple):
    """Both tracks after a block, flat, and where each molecule lies in them."""

    nodes: Float[Tensor, "node d_atom"]
    pairs: Float[Tensor, "pair d_pair"]
    layout: Layout


class TwoTrackEncoding(NamedTuple):
    """The encoder's output. Both tracks are flat, without padding.

    `coords` are the coordinates the encoder was given, padded, in Å. `atoms`, `pairs` and
    `molecule` are views for reading: one row a molecule, in the order of the batch, the virtual
    node first.
    """

    nodes: Float[Tensor, "node d_atom"]
    pair_rows: Float[Tensor, "pair d_pair"]
    coords: Float[Tensor, "mol n xyz"]
    real: Bool[Tensor, "mol n"]
    layout: Layout
    batch: MolBatch | None
    layers: Sequence[TwoTrackEncoding] = ()

    @property
    def molecule(self) -> Float[Tensor, "mol d_atom"]:
        """The virtual node, which stands for the molecule."""
        return self.nodes[self.layout.first_node]

    @property
    def atoms(self) -> Float[Tensor, "mol n_node d_atom"]:
        """The atom track, padded; padding holds no meaning."""
        return self.layout.spread_nodes(self.nodes)

    @property
    def pairs(self) -> Float[Tensor, "mol n_node n_node d_pair"]:
        """The pair track, padded; padding holds no meaning."""
        return self.layout.spread_pairs(self.pair_rows)

    def rows(self, level: str, index: Int[Tensor, " k *pair"]) -> Float[Tensor, "k d"]:
        """Vectors at an index: molecules and atoms of the atom track, bonds and pairs of the other.

        A bond is the mean of both directions of its pair.
        """
        if level == "molecule":
            return self.molecule[index]
        if level == "pair":
            return self._pairs_at(*index.unbind(-1))
        if level == "atom":
            mol = self.batch.mol_of_atom()[index]
            return self.nodes[self.layout.first_node[mol] + 1 + self.batch.position()[index]]
        mol = self.batch.mol_of_bond()[index]
        first, second = self.batch.bonds[index].unbind(-1)
        return 0.5 * (self._pairs_at(mol, first, second) + self._pairs_at(mol, second, first))

    def _pairs_at(
        self, mol: Int[Tensor, " k"], i: Int[Tensor, " k"], j: Int[Tensor, " k"]
    ) -> Float[Tensor, "k d_pair"]:
        """Rows of pairs of atoms, given as molecule and the numbers of both atoms in it."""
        row = self.layout.first_pair[mol] + (1 + i) * self.layout.stride[mol] + 1 + j
        return self.pair_rows[row]
