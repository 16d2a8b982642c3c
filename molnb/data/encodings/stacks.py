"""Molecular graphs as numpy arrays: of all molecules in a row, and stacked where sizes agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ...shapes import Bool, Float, Int
from .fragments import find_fragments
from .resistances import pseudoinverse
from .spectra import Spectrum, make_laplacian, normalised
from .walks import symmetric_step

# Entries of a matrix of all graphs of a stack: what is made of them stays in a core's cache.
STACK_ENTRIES = 1 << 14


@dataclass(frozen=True)
class Molecules:
    """Molecular graphs one after another: atoms of each, and bonds between atoms of all."""

    n_atoms: Int[np.ndarray, " mol"]
    bonds: Int[np.ndarray, "bond 2"]  # each once, counted over all atoms

    @cached_property
    def mol_of_atom(self) -> Int[np.ndarray, " atom"]:
        return np.repeat(np.arange(len(self.n_atoms)), self.n_atoms)

    @cached_property
    def first_atom(self) -> Int[np.ndarray, " mol"]:
        return np.cumsum(self.n_atoms) - self.n_atoms

    @cached_property
    def fragment(self) -> Int[np.ndarray, " atom"]:
        """The connected piece of each atom."""
        return find_fragments(len(self.mol_of_atom), self.bonds)

    @cached_property
    def first_pair(self) -> Int[np.ndarray, " atom"]:
        """The first of the pairs (atom, any atom of its molecule), in the order of all pairs."""
        n_partner = self.n_atoms[self.mol_of_atom]
        return np.cumsum(n_partner) - n_partner

    @property
    def n_pair(self) -> int:
        """Ordered pairs of atoms of a molecule, an atom with itself too."""
        return int((self.n_atoms**2).sum())

    def position(self, atoms: Int[np.ndarray, "*atoms"]) -> Int[np.ndarray, "*atoms"]:
        """The number of atoms within their molecules."""
        return atoms - self.first_atom[self.mol_of_atom[atoms]]

    def pairs(
        self, first: Int[np.ndarray, "*#atoms"], second: Int[np.ndarray, "*#atoms"]
    ) -> Int[np.ndarray, "*atoms"]:
        """Where pairs of atoms of a molecule stand in the order of all pairs."""
        return self.first_pair[first] + self.position(second)

    def stacks(self) -> Iterator[Stack]:
        """All connected pieces, those of one size together, some at a time.

        What is computed of a piece does not depend on which others are there.
        """
        size = np.bincount(self.fragment)
        order = np.argsort(self.fragment, kind="stable")  # atoms, one piece after another
        start = np.cumsum(size) - size
        place = np.empty_like(order)
        place[order] = np.arange(len(order)) - np.repeat(start, size)
        by_size = np.argsort(size, kind="stable")
        matrix = np.empty_like(start)  # where the matrix of a piece begins
        entries = size[by_size] ** 2
        matrix[by_size] = np.cumsum(entries) - entries
        adjacent = np.zeros(int(entries.sum()), bool)
        of_bond = self.fragment[self.bonds[:, 0]]
        i, j = place[self.bonds].T
        adjacent[matrix[of_bond] + i * size[of_bond] + j] = True
        adjacent[matrix[of_bond] + j * size[of_bond] + i] = True
        for pieces in _portions(size):
            n = int(size[pieces[0]])
            atoms = order[start[pieces][:, None] + np.arange(n)]
            begin = int(matrix[pieces[0]])
            end = begin + len(pieces) * n * n
            yield Stack(
                atoms=atoms,
                adjacent=adjacent[begin:end].reshape(-1, n, n),
                whole=self.n_atoms[self.mol_of_atom[atoms[:, 0]]] == n,
            )


def molecules_by_size(molecules: Molecules) -> Iterator[Int[np.ndarray, "mol n"]]:
    """The atoms of all molecules, those of one size together, some at a time."""
    for mols in _portions(molecules.n_atoms):
        yield molecules.first_atom[mols][:, None] + np.arange(molecules.n_atoms[mols[0]])


def _portions(size: Int[np.ndarray, " graph"]) -> Iterator[Int[np.ndarray, " some"]]:
    """Numbers of graphs of one size, as many as may be in a stack."""
    by_size = np.argsort(size, kind="stable")
    for group in np.split(by_size, np.flatnonzero(np.diff(size[by_size])) + 1):
        if len(group) and size[group[0]]:
            n_graph = max(1, STACK_ENTRIES // int(size[group[0]]) ** 2)
            yield from np.split(group, range(n_graph, len(group), n_graph))


@dataclass(frozen=True)
class Stack:
    """Connected graphs of one size: their atoms, which of them are bonded, and what follows.

    `whole` is true where the graph is a molecule, not a fragment beside others. What several
    encodings need is computed once.
    """

    atoms: Int[np.ndarray, "graph n"]
    adjacent: Bool[np.ndarray, "graph n n"]
    whole: Bool[np.ndarray, " graph"]
    _powers: list[np.ndarray] = field(default_factory=list)

    @cached_property
    def laplacian(self) -> Float[np.ndarray, "graph n n"]:
        return make_laplacian(self.adjacent)

    @cached_property
    def _plain_spectrum(self) -> Spectrum:
        return Spectrum(*np.linalg.eigh(self.laplacian, "U"))

    @cached_property
    def _normalised_spectrum(self) -> Spectrum:
        return Spectrum(*np.linalg.eigh(normalised(self.laplacian), "U"))

    def spectrum(self, is_normalised: bool) -> Spectrum:
        """All eigenpairs of the Laplacian, plain or symmetrically normalised."""
        return self._normalised_spectrum if is_normalised else self._plain_spectrum

    @cached_property
    def inverse(self) -> Float[np.ndarray, "graph n n"]:
        """The pseudoinverse of the Laplacian."""
        return pseudoinverse(self.laplacian)

    def powers(self, n_step: int) -> list[Float[np.ndarray, "graph n n"]]:
        """The first `n_step` powers of one step of a random walk made symmetric."""
        if not self._powers:
            self._powers.append(symmetric_step(self.adjacent, self.whole))
        while len(self._powers) < n_step:
            self._powers.append(self._powers[-1] @ self._powers[0])
        return self._powers[:n_step]
