"""Molecules with their atoms in canonical order, as Graphium numbers them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from rdkit import Chem

from ..shapes import Integer, UInt8
from .features import atom_features, bond_ends, bond_rows
from .parsing import atoms, bonds, parse_smiles


class OrderedGraph(NamedTuple):
    """Integers of a molecule whose atoms stand in canonical order; each bond from begin to end."""

    numbers: UInt8[np.ndarray, " atom"]
    atom_feats: UInt8[np.ndarray, "atom feat"]
    bonds: Integer[np.ndarray, "bond 2"]
    bond_feats: UInt8[np.ndarray, "bond bond_feat"]


def make_ordered_graph(smiles: str) -> OrderedGraph:
    """A SMILES as integers, its atoms sorted by RDKit's canonical ranks; hydrogens are implicit.

    This is the order of Graphium's arrays. It is not that of shards, which keep the order of the
    stored SMILES. Raises MoleculeError for what cannot be read.
    """
    # Hydrogens that are written go while it is read, as Graphium has it: removed later, they would
    # decide which of two equal atoms is first, and by which neighbour a double bond is cis.
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        mol = Chem.RemoveHs(parse_smiles(smiles))  # which says what is wrong
    ranks = np.array(list(_canonical_ranks(mol)), np.int64)
    order = np.argsort(ranks)
    own_atoms = atoms(mol)
    own_bonds = bonds(mol)
    # Rows are put in order, not the molecule: that is a copy less.
    return OrderedGraph(
        numbers=np.array([atom.GetAtomicNum() for atom in own_atoms], np.uint8)[order],
        atom_feats=atom_features(mol, own_atoms)[order],
        bonds=ranks[bond_ends(own_bonds)],
        bond_feats=bond_rows(own_bonds),
    )


def _canonical_ranks(mol: Chem.Mol) -> Iterable[int]:
    """The place of each atom in RDKit's canonical order."""
    return Chem.CanonicalRankAtoms(mol, breakTies=True, includeChirality=True, includeIsotopes=True)
