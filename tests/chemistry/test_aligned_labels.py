"""Labels of atoms, bonds and pairs end at their atoms, however the molecule is spelled."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from spellings import nci_smiles

from molnb.chemistry.aligned_labels import (
    NO_MAPS,
    TWO_DIRECTIONS,
    WRONG_LENGTH,
    MisalignedError,
    align,
    make_numbering,
    parsed_order,
)
from molnb.chemistry.features import molecule_arrays
from molnb.chemistry.parsing import parse_smiles
from molnb.chemistry.standardization import standardize

PARACETAMOL = "CC(=O)Nc1ccc(O)cc1"


def respelled(smiles: str, seed: int) -> Chem.Mol:
    """The molecule with its atoms in another order, as another SMILES would have them."""
    mol = Chem.MolFromSmiles(smiles)
    order = np.random.default_rng(seed).permutation(mol.GetNumAtoms()).tolist()
    return Chem.RenumberAtoms(mol, order)


def numbering_of(mol: Chem.Mol):
    smiles = Chem.MolToCXSmiles(mol, canonical=False) if mol.GetNumConformers() else None
    parsed = parse_smiles(smiles or Chem.MolToSmiles(mol, canonical=False))
    standard = standardize(parsed)
    return make_numbering(parsed, standard.order, standard.mol), standard, parsed


@pytest.mark.parametrize("seed", range(4))
def test_a_value_of_an_atom_stays_with_its_atom_in_any_spelling(seed: int) -> None:
    numbering, standard, parsed = numbering_of(respelled(PARACETAMOL, seed))
    masses = [atom.GetMass() + atom.GetDegree() for atom in parsed.GetAtoms()]
    stored = align(masses, "atom", numbering, by_maps=False, ordered=False)
    n_heavy = standard.mol.GetNumAtoms()
    expected = [atom.GetMass() + atom.GetDegree() for atom in standard.mol.GetAtoms()]
    assert stored[:n_heavy].tolist() == pytest.approx(expected)
    assert np.isnan(stored[n_heavy:]).all(), "nothing was said of hydrogens"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("directions", [1, 2])
def test_a_value_of_a_bond_stays_with_its_bond(seed: int, directions: int) -> None:
    numbering, standard, parsed = numbering_of(respelled(PARACETAMOL, seed))
    orders = [bond.GetBondTypeAsDouble() for bond in parsed.GetBonds()]
    values = np.repeat(orders, directions)
    stored = align(values, "bond", numbering, by_maps=False, ordered=False)
    expected = [bond.GetBondTypeAsDouble() for bond in standard.mol.GetBonds()]
    assert stored[: len(expected)].tolist() == expected
    assert len(stored) == len(molecule_arrays(standard.mol)["bonds"])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("as_square", [True, False])
def test_a_value_of_a_pair_stays_with_its_pair(seed: int, as_square: bool) -> None:
    numbering, standard, parsed = numbering_of(respelled(PARACETAMOL, seed))
    hops = Chem.GetDistanceMatrix(parsed)
    values = hops.ravel() if as_square else hops[np.triu_indices(len(hops), 1)]
    stored = align(values, "pair", numbering, by_maps=False, ordered=False)
    expected = Chem.GetDistanceMatrix(standard.mol)
    assert stored.tolist() == expected[np.triu_indices(len(hops), 1)].tolist()


def test_ordered_pairs_keep_both_directions() -> None:
    numbering, standard, parsed = numbering_of(respelled("OCCN", 1))
    numbers = np.array([atom.GetAtomicNum() for atom in parsed.GetAtoms()])
    square = 100.0 * numbers[:, None] + numbers
    stored = align(square.ravel(), "pair", numbering, by_maps=False, ordered=True)
    expected = np.array([atom.GetAtomicNum() for atom in standard.mol.GetAtoms()])
    assert stored.reshape(4, 4).tolist() == (100.0 * expected[:, None] + expected).tolist()
    with pytest.raises(MisalignedError, match=TWO_DIRECTIONS):
        align(square.ravel(), "pair", numbering, by_maps=False, ordered=False)


def test_values_may_be_counted_by_atom_maps() -> None:
    """The atoms stand in another order than their maps count them."""
    parsed = parse_smiles("[O:2]([H:5])[C:1]([H:4])([H:6])[N:0]([H:7])[H:3]")
    standard = standardize(parsed)
    numbering = make_numbering(parsed, standard.order, standard.mol)
    of_heavy = align([7, 6, 8], "atom", numbering, by_maps=True, ordered=False)
    symbols = [atom.GetAtomicNum() for atom in standard.mol.GetAtoms()]
    assert of_heavy[:3].tolist() == symbols
    of_all = align([7, 6, 8, 17, 16, 18, 16, 17], "atom", numbering, by_maps=True, ordered=False)
    owners = molecule_arrays(standard.mol)["parent"][3:]
    assert [value - 10 for value in of_all[3:]] == [symbols[owner] for owner in owners]


def test_bonds_are_ordered_as_rdkit_reads_them_from_a_smiles() -> None:
    for smiles in nci_smiles(500):
        mol = Chem.MolFromSmiles(smiles)
        mol = Chem.MolFromSmiles(Chem.MolToSmiles(mol)) if mol else None
        if mol is None:
            continue
        read = [
            tuple(sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))) for bond in mol.GetBonds()
        ]
        assert parsed_order(mol.GetNumAtoms(), set(read)) == read


def test_bonds_may_be_counted_by_atom_maps_too() -> None:
    """As the file has them for which the molecule was first written in another order."""
    first = parse_smiles("C1=CC=CC=C1OCC#N")  # its bonds: the ring's last one stands at the end
    orders = [bond.GetBondTypeAsDouble() for bond in first.GetBonds()]
    for atom in first.GetAtoms():
        atom.SetAtomMapNum(atom.GetIdx())
    order = [6, 5, 0, 1, 2, 3, 4, 7, 8, 9]
    other = parse_smiles(Chem.MolToSmiles(Chem.RenumberAtoms(first, order), canonical=False))
    assert [atom.GetAtomMapNum() for atom in other.GetAtoms()] != list(range(10))
    standard = standardize(other)
    numbering = make_numbering(other, standard.order, standard.mol)
    stored = align(orders, "bond", numbering, by_maps=True, ordered=False)
    expected = [bond.GetBondTypeAsDouble() for bond in standard.mol.GetBonds()]
    assert stored[: len(expected)].tolist() == expected


def test_hydrogens_that_are_not_written_stand_behind_the_others() -> None:
    numbering, standard, _ = numbering_of(Chem.MolFromSmiles("CO"))
    values = [6, 8, 1.1, 1.2, 1.3, 1.9]  # as AddHs numbers the atoms of CO
    stored = align(values, "atom", numbering, by_maps=False, ordered=False)
    by_owner = {int(owner): [] for owner in range(2)}
    for owner, value in zip(molecule_arrays(standard.mol)["parent"][2:], stored[2:], strict=True):
        by_owner[int(owner)].append(value)
    oxygen = [atom.GetAtomicNum() for atom in standard.mol.GetAtoms()].index(8)
    assert by_owner[oxygen] == [1.9]
    assert sorted(by_owner[1 - oxygen]) == [1.1, 1.2, 1.3]


def test_of_a_salt_the_values_of_its_parent_remain() -> None:
    parsed = parse_smiles("[Na+].CC(=O)[O-]")
    standard = standardize(parsed)
    numbering = make_numbering(parsed, standard.order, standard.mol)
    stored = align([11, 6, 6.5, 8, 8.5], "atom", numbering, by_maps=False, ordered=False)
    assert sorted(stored[:4].tolist()) == [6, 6.5, 8, 8.5]
    assert np.isnan(stored[4:]).all()


@pytest.mark.parametrize("level", ["atom", "bond", "pair"])
def test_what_fits_nothing_is_refused(level: str) -> None:
    numbering, _, _ = numbering_of(Chem.MolFromSmiles(PARACETAMOL))
    with pytest.raises(MisalignedError, match=WRONG_LENGTH):
        align(np.zeros(7), level, numbering, by_maps=False, ordered=False)


def test_two_directions_that_differ_and_maps_that_repeat_are_refused() -> None:
    numbering, _, _ = numbering_of(Chem.MolFromSmiles("CCO"))
    with pytest.raises(MisalignedError, match=TWO_DIRECTIONS):
        align([1, 2, 3, 3], "bond", numbering, by_maps=False, ordered=False)
    with pytest.raises(MisalignedError, match=NO_MAPS):
        align([1, 2, 3], "atom", numbering, by_maps=True, ordered=False)
