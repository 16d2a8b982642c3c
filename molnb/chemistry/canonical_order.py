"""Molecules with their atoms in canonical order, as Graphium numbers them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from rdkit import Chem

from ..shapes import Integer, UInt8
from .features import atom_features, bond_features
from .parsing import atoms, parse_smiles


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
    ranks = Chem.CanonicalRankAtoms(
        mol, breakTies=True, includeChirality=True, includeIsotopes=True
    )
    mol = Chem.RenumberAtoms(mol, np.argsort(ranks).tolist())
    bonds = [mol.GetBondWithIdx(number) for number in range(mol.GetNumBonds())]
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in bonds]
    return OrderedGraph(
        numbers=np.array([atom.GetAtomicNum() for atom in atoms(mol)], np.uint8),
        atom_feats=atom_features(mol),
        bonds=np.array(ends, np.int64).reshape(-1, 2),
        bond_feats=bond_features(mol)[1],
    )
