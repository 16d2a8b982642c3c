"""Labels of atoms, bonds and pairs, brought from the numbering of the input to the stored one.

A list of values says by its length what it is about: heavy atoms, the atoms that are written, or
all atoms with the implicit hydrogens behind (as RDKit's AddHs appends them); bonds likewise, each
once or in both directions, one after the other; pairs as a square, or as its upper triangle. What
fits nothing is no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rdkit import Chem

from ..shapes import Float
from .parsing import atoms

WRONG_LENGTH = "as many values as neither atoms, bonds nor pairs"
NO_MAPS = "atom maps are missing or stand twice"
TWO_DIRECTIONS = "both directions of a bond or pair have values of their own"


class MisalignedError(Exception):
    """Values that belong to no atoms, bonds or pairs of their molecule, with the reason."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Numbering(NamedTuple):
    """How the input numbers what is stored.

    `complete` has all hydrogens as atoms, those that were written first; `stored` names its atom
    for each stored one: heavy atoms, then hydrogens (-1 where there is none, after a proton moved).
    """

    complete: Chem.Mol
    n_written: int
    stored: np.ndarray  # int [atom]
    parent: Chem.Mol

    @property
    def n_heavy(self) -> int:
        """Stored heavy atoms."""
        return self.parent.GetNumAtoms()


def make_numbering(mol: Chem.Mol, order: np.ndarray, parent: Chem.Mol) -> Numbering:
    """The numbering of an input molecule; `order` is its index of each stored heavy atom."""
    complete = Chem.AddHs(mol)
    heavy = [int(index) for index in order[: parent.GetNumAtoms()]]
    hydrogens: list[int] = []
    for index, atom in zip(heavy, atoms(parent), strict=True):
        neighbours = complete.GetAtomWithIdx(index).GetNeighbors()
        of_atom = sorted(n.GetIdx() for n in neighbours if n.GetAtomicNum() == 1)
        if len(of_atom) != atom.GetTotalNumHs():
            of_atom = [-1] * atom.GetTotalNumHs()
        hydrogens += of_atom
    return Numbering(complete, mol.GetNumAtoms(), np.array(heavy + hydrogens, int), parent)


def align(
    values: Sequence[float], level: str, numbering: Numbering, by_maps: bool, ordered: bool
) -> Float[np.ndarray, " value"]:
    """Values of an input's atoms, bonds or pairs as they are stored, NaN where there is none.

    With `by_maps` atoms are counted by their map numbers, not as they are written. Pairs are stored
    as the upper triangle of heavy atoms, or, `ordered`, as the square, first row first. Raises
    MisalignedError.
    """
    values = np.asarray(values, float)
    if level == "bond":
        return _align_bonds(values, numbering, by_maps)
    if level == "atom":
        for sequence in _sequences(numbering, by_maps):
            if len(sequence) == len(values):
                return _by_atom(sequence, values, numbering.stored)
        raise MisalignedError(WRONG_LENGTH)
    return _align_pairs(values, numbering, by_maps, ordered)


def _sequences(numbering: Numbering, by_maps: bool) -> list[list[int]]:
    """The atoms that values may be about, in their order: heavy, written, all."""
    every = atoms(numbering.complete)
    written = every[: numbering.n_written]
    if by_maps:
        heavy = [atom for atom in written if atom.GetAtomicNum() != 1]
        maps = [atom.GetAtomMapNum() for atom in written]
        maps_of_heavy = [atom.GetAtomMapNum() for atom in heavy]
        if len(set(maps_of_heavy)) < len(maps_of_heavy):
            raise MisalignedError(NO_MAPS)
        written = sorted(written, key=Chem.Atom.GetAtomMapNum)
        # hydrogens without maps have no place among atoms that are counted by them
        every = written if len(set(maps)) == len(maps) else []
    heavy = [atom.GetIdx() for atom in written if atom.GetAtomicNum() != 1]
    return [heavy, [atom.GetIdx() for atom in written], [atom.GetIdx() for atom in every]]


def _by_atom(sequence: list[int], values: np.ndarray, stored: np.ndarray) -> np.ndarray:
    by_index = np.full(max(sequence, default=0) + 2, np.nan)  # the last is that of no atom
    by_index[sequence] = values
    has_value = (stored >= 0) & (stored < len(by_index) - 1)
    return by_index[np.where(has_value, stored, len(by_index) - 1)]


def _align_bonds(values: np.ndarray, numbering: Numbering, by_maps: bool) -> np.ndarray:
    complete = numbering.complete
    ends = [
        (complete.GetBondWithIdx(k).GetBeginAtomIdx(), complete.GetBondWithIdx(k).GetEndAtomIdx())
        for k in range(complete.GetNumBonds())
    ]
    written = [pair for pair in ends if max(pair) < numbering.n_written]
    is_heavy = [atom.GetAtomicNum() != 1 for atom in atoms(complete)]
    heavy = [pair for pair in written if is_heavy[pair[0]] and is_heavy[pair[1]]]
    if by_maps:
        heavy = _counted_by_maps(numbering) or heavy
    by_ends = _values_of_bonds(values, [heavy, written, ends])
    stored = numbering.stored
    owners = np.repeat(
        np.arange(numbering.n_heavy), [a.GetTotalNumHs() for a in atoms(numbering.parent)]
    )
    of_heavy = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in numbering.parent.GetBonds()
    ]
    of_hydrogens = enumerate(owners, numbering.n_heavy)
    pairs = of_heavy + [(owner, hydrogen) for hydrogen, owner in of_hydrogens]
    return np.array(
        [by_ends.get(frozenset((int(stored[i]), int(stored[j]))), np.nan) for i, j in pairs], float
    )


def _counted_by_maps(numbering: Numbering) -> list[tuple[int, int]] | None:
    """The bonds of heavy atoms in the order of a SMILES that has its atoms in that of their maps.

    None where maps are missing: the order is then that of the structure.
    """
    heavy = [atom for atom in atoms(numbering.complete) if atom.GetAtomicNum() != 1]
    counted = sorted(heavy, key=Chem.Atom.GetAtomMapNum)
    if len({atom.GetAtomMapNum() for atom in heavy}) < len(heavy):
        return None
    rank = {atom.GetIdx(): number for number, atom in enumerate(counted)}
    pairs = set()
    for bond in numbering.complete.GetBonds():
        ends = (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        if all(end in rank for end in ends):
            pairs.add(tuple(sorted(rank[end] for end in ends)))
    return [
        (counted[i].GetIdx(), counted[j].GetIdx()) for i, j in parsed_order(len(counted), pairs)
    ]


def parsed_order(n_atom: int, pairs: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Bonds (i < j) in RDKit's order for a SMILES whose atoms are numbered as they are written.

    Each atom's bond to the last written of its neighbours is read with it; bonds that close rings
    come at the end, by their digits. A digit is the lowest that no open ring has.
    """
    tree = []
    opened: dict[int, list[tuple[int, int]]] = {}
    closed: dict[int, list[tuple[int, int]]] = {}
    for atom in range(n_atom):
        before = sorted(i for i, j in pairs if j == atom)
        tree += [(i, atom) for i in before[-1:]]
        for first in before[:-1]:
            opened.setdefault(first, []).append((first, atom))
            closed.setdefault(atom, []).append((first, atom))
    digit: dict[tuple[int, int], int] = {}
    free = set(range(1, 1 + sum(map(len, opened.values()))))
    for atom in range(n_atom):
        for bond in sorted(opened.get(atom, [])):
            digit[bond] = min(free)
            free.remove(digit[bond])
        free |= {digit[bond] for bond in closed.get(atom, [])}
    return tree + sorted(digit, key=lambda bond: (digit[bond], bond))


def _values_of_bonds(values: np.ndarray, choices: list[list[tuple]]) -> dict[frozenset, float]:
    """The value of each bond by both its ends, for the first list of bonds that the values fit."""
    differs = False
    for bonds in choices:
        if len(values) == len(bonds):
            return {frozenset(pair): value for pair, value in zip(bonds, values, strict=True)}
        if len(values) == 2 * len(bonds):
            there, back = values.reshape(-1, 2).T
            if np.array_equal(there, back, equal_nan=True):
                return {frozenset(pair): value for pair, value in zip(bonds, there, strict=True)}
            differs = True
    raise MisalignedError(TWO_DIRECTIONS if differs else WRONG_LENGTH)


def _align_pairs(
    values: np.ndarray, numbering: Numbering, by_maps: bool, ordered: bool
) -> np.ndarray:
    stored = numbering.stored[: numbering.n_heavy]
    for sequence in _sequences(numbering, by_maps):
        square = _square(values, len(sequence))
        if square is None:
            continue
        rank = {index: position for position, index in enumerate(sequence)}
        positions = [rank[int(index)] for index in stored]
        square = square[np.ix_(positions, positions)]
        if ordered:
            return square.ravel()
        if not np.array_equal(square, square.T, equal_nan=True):
            raise MisalignedError(TWO_DIRECTIONS)
        return square[np.triu_indices(len(stored), 1)]
    raise MisalignedError(WRONG_LENGTH)


def _square(values: np.ndarray, n: int) -> np.ndarray | None:
    """Values of all pairs of n atoms as a square; None where they are not as many."""
    if len(values) == n * n:
        return values.reshape(n, n)
    if len(values) != n * (n - 1) // 2:
        return None
    square = np.full((n, n), np.nan)
    square[np.triu_indices(n, 1)] = values
    return np.where(np.isnan(square), square.T, square)
