"""Which values of features training has shown a graph network, and what they are called.

A value that no training molecule has contributes nothing in evaluation, and is named: its row in
every table of features is zero, as is that of all kinds of bonds that have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...data.batch import MolBatch
from ...shapes import Bool, Int
from ...vocabulary import (
    ATOM_VALUES,
    BOND_VALUES,
    CHIRALITY_PARITIES,
    MORE_ATOM_VALUES,
    RING_BOND,
    SYMBOLS,
)
from .features import (
    ELEMENT,
    N_BOND_VALUE,
    N_NUMBER,
    PARITY,
    Feature,
    atom_features,
    bond_features,
)

N_VALUE = 257  # of an integer of an atom, and one more for what is not shown


class SeenValues(nn.Module):
    """Values of each integer feature that training has read; stored with the weights.

    Of a network that nobody has trained yet all count as seen.
    """

    def __init__(self, features: str):
        super().__init__()
        self.atom_sources = sources_of(atom_features(features))
        self.bond_sources = sources_of(bond_features(features))
        self.register_buffer("elements", torch.ones(N_NUMBER, dtype=torch.bool))
        n_atom_source = len(self.atom_sources) - 1
        self.register_buffer("atoms", torch.ones(n_atom_source, N_VALUE, dtype=torch.bool))
        n_most = max(N_BOND_VALUE)
        shape = (len(self.bond_sources), n_most)
        self.register_buffer("bonds", torch.ones(shape, dtype=torch.bool))

    def reset(self) -> None:
        """Count from here on: no value has been read."""
        for values in self.buffers():
            values.fill_(False)

    def mark(
        self,
        numbers: Int[Tensor, " atom"],
        feats: Int[Tensor, "atom feat"],
        bond_feats: Int[Tensor, "bond bond_feat"],
    ) -> None:
        """Count the values of a batch as seen."""
        self.elements[numbers] = True
        sources = [source for source in self.atom_sources if source != ELEMENT]
        rows = torch.arange(len(sources), device=feats.device)
        self.atoms[rows, feats[:, sources]] = True
        rows = torch.arange(len(self.bond_sources), device=feats.device)
        self.bonds[rows, bond_feats[:, self.bond_sources]] = True

    def of_source(self, source: int) -> Bool[Tensor, " value"]:
        """Which values of an integer of atoms training has read."""
        if source == ELEMENT:
            return self.elements
        sources = [other for other in self.atom_sources if other != ELEMENT]
        return self.atoms[sources.index(source)]

    def of_bonds(self, source: int) -> Bool[Tensor, " value"]:
        """Which values of an integer of bonds training has read."""
        return self.bonds[self.bond_sources.index(source)]

    def unseen(self) -> list[str]:
        """Names of the values that training never read."""
        return [name for name, (seen, value) in self._named().items() if not seen[value]]

    def unseen_in(self, batch: MolBatch) -> list[tuple[str, ...]]:
        """For each molecule of a batch (on the CPU), the values it has that training never read."""
        names: list[dict[str, None]] = [{} for _ in range(batch.n_mol)]
        for source, values, owner, is_bond in _columns(self, batch):
            seen = (self.of_bonds(source) if is_bond else self.of_source(source)).cpu().numpy()
            for row in np.flatnonzero(~seen[values]):
                names[owner[row]][value_name(source, int(values[row]), is_bond)] = None
        return [tuple(of_molecule) for of_molecule in names]

    def _named(self) -> dict[str, tuple[Tensor, int]]:
        """Every value with a name: where it is kept count of."""
        named = {}
        for source in self.atom_sources:
            seen = self.of_source(source)
            for value in values_of(source):
                named[value_name(source, value, False)] = (seen, value)
        for source in self.bond_sources:
            for value in range(N_BOND_VALUE[source]):
                named[value_name(source, value, True)] = (self.of_bonds(source), value)
        return named


def sources_of(features: tuple[Feature, ...]) -> list[int]:
    """The integers that features read, each once."""
    return list(dict.fromkeys(feature.source for feature in features))


def values_of(source: int) -> range:
    """The values of an integer of atoms that have a name; elements start at 1."""
    if source == ELEMENT:
        return range(1, len(SYMBOLS) + 1)
    return range(len(_atom_values(source)[1]))


def value_name(source: int, value: int, is_bond: bool) -> str:
    """What a value of an integer feature is called, as "feature: value"."""
    feature, names = (*BOND_VALUES, RING_BOND)[source] if is_bond else _atom_values(source)
    return f"{feature}: {names[min(value, len(names) - 1)]}"


def _atom_values(source: int) -> tuple[str, Sequence]:
    """The name of an integer of atoms, and of its values."""
    if source == ELEMENT:
        return "element", ("hidden", *SYMBOLS)
    if source == PARITY:
        return "chirality", CHIRALITY_PARITIES
    if source < PARITY:
        return ATOM_VALUES[source]
    return MORE_ATOM_VALUES[source - PARITY - 1]


def _columns(
    seen: SeenValues, batch: MolBatch
) -> Iterator[tuple[int, np.ndarray, np.ndarray, bool]]:
    """Each integer that a network reads: its source, values, their molecules, whether of bonds."""
    of_atom = batch.mol_of_atom().numpy()
    for source in seen.atom_sources:
        values = batch.numbers if source == ELEMENT else batch.feats[:, source]
        yield source, values.numpy().astype(np.int64), of_atom, False
    of_bond = batch.mol_of_bond().numpy()
    for source in seen.bond_sources:
        yield source, batch.bond_feats[:, source].numpy().astype(np.int64), of_bond, True
