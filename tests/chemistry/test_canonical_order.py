"""Atoms stand in the order of RDKit's canonical ranks, whatever hydrogens are written."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from molnb.chemistry.canonical_order import make_ordered_graph
from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.features import ATOM_FEATURES, atom_features, bond_features

MOLECULES = {
    "two equal sides of a ring": "[H]OC(=O)[C@]([H])(C([H])([H])[H])C([H])([H])C([H])([H])"
    "[C@]1([H])C([H])=C([H])[C@@]([H])(C([H])([H])[H])C([H])=C1[H]",
    "a cis double bond in a ring": "[H]/C1=C(/[H])C([H])([H])C([H])([H])C(=O)C([H])([H])"
    "C([H])([H])C([H])([H])C([H])([H])C(=O)C([H])([H])C1([H])[H]",
    "no hydrogen written": "O=C([O-])[C@H]1C[C@@H]2CCCC[C@@H]2N1",
    "a salt": "[Na+].CC(=O)[O-]",
    "hydrogen": "[H][H]",
}


@pytest.mark.parametrize("smiles", MOLECULES.values(), ids=MOLECULES)
def test_integers_are_those_of_the_molecule_as_rdkit_reads_and_ranks_it(smiles):
    mol = Chem.MolFromSmiles(smiles)
    ranks = list(
        Chem.CanonicalRankAtoms(mol, breakTies=True, includeChirality=True, includeIsotopes=True)
    )
    order = np.argsort(ranks)
    features = atom_features(mol)[order]
    mol = Chem.RenumberAtoms(mol, order.tolist())
    graph = make_ordered_graph(smiles)
    ends = [[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()] for bond in mol.GetBonds()]
    assert graph.numbers.tolist() == [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    assert graph.bonds.tolist() == ends
    np.testing.assert_array_equal(graph.atom_feats, features)
    np.testing.assert_array_equal(graph.bond_feats, bond_features(mol)[1])


def test_rings_of_a_chiral_molecule_have_their_sizes():
    graph = make_ordered_graph("C[C@H]1CC[C@@H](C)C[C@H]1O")
    ring = graph.atom_feats[:, ATOM_FEATURES.index("ring")] == 1
    sizes = graph.atom_feats[:, ATOM_FEATURES.index("smallest_ring")]
    assert ring.sum() == 6
    assert sizes.tolist() == np.where(ring, 6, 0).tolist()


def test_what_cannot_be_read_is_refused_with_its_reason():
    with pytest.raises(MoleculeError, match="valence"):
        make_ordered_graph("C(C)(C)(C)(C)C")
