"""A geometry that a source gives: kept as it is, in stored order, and checked."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdDistGeom

from molnb.chemistry.conformer import make_conformer
from molnb.chemistry.failures import NO_GEOMETRY, MoleculeError
from molnb.chemistry.given_geometry import (
    DISAGREES,
    PLACED,
    from_bonds,
    from_distances,
    from_smiles,
    given_molecule,
    same_molecule,
)
from molnb.chemistry.parsing import numbered, parse_molblock, parse_smiles, with_coords

SMILES = "C[C@H](N)C(=O)Nc1ccccc1"


def in_space(smiles: str, seed: int = 0) -> Chem.Mol:
    """A molecule with all atoms, in any order, in its conformer."""
    canonical = Chem.CanonSmiles(smiles)
    mol = with_coords(Chem.AddHs(Chem.MolFromSmiles(canonical)), [make_conformer(canonical).coords])
    order = np.random.default_rng(seed).permutation(mol.GetNumAtoms())
    return numbered(Chem.RenumberAtoms(mol, order.tolist()))


def as_columns(mol: Chem.Mol) -> tuple[list[int], list[tuple], list[int], np.ndarray]:
    """Atomic numbers, bonds, charges and coordinates of a molecule."""
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    bonds = [
        (b.GetBeginAtomIdx(), b.GetEndAtomIdx(), b.GetBondTypeAsDouble()) for b in mol.GetBonds()
    ]
    charges = [atom.GetFormalCharge() for atom in mol.GetAtoms()]
    return numbers, bonds, charges, mol.GetConformer().GetPositions()[None]


@pytest.mark.parametrize("seed", range(3))
def test_coordinates_follow_their_atoms_into_the_stored_order(seed: int) -> None:
    mol = in_space(SMILES, seed)
    given = given_molecule(mol, 64, drawn=True)
    assert given.smiles == Chem.CanonSmiles(SMILES)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])[given.order]
    stored = Chem.AddHs(Chem.MolFromSmiles(given.smiles))
    assert numbers.tolist() == [atom.GetAtomicNum() for atom in stored.GetAtoms()]
    assert np.array_equal(
        given.coords[0], mol.GetConformer().GetPositions()[given.order].astype(np.float32)
    )
    lengths = [
        np.linalg.norm(given.coords[0][b.GetBeginAtomIdx()] - given.coords[0][b.GetEndAtomIdx()])
        for b in stored.GetBonds()
    ]
    assert 0.9 < min(lengths) and max(lengths) < 1.7, "bonds join the atoms they should"


def test_nothing_is_standardised() -> None:
    ion = Chem.AddHs(Chem.MolFromSmiles("C[NH3+]"))
    rdDistGeom.EmbedMolecule(ion, randomSeed=1)
    given = given_molecule(numbered(ion), 64, drawn=True)
    assert (given.smiles, given.charge) == ("C[NH3+]", 1)


@pytest.mark.parametrize("seed", range(3))
def test_columns_of_atoms_and_bonds_give_the_molecule_and_the_isomer_of_the_geometry(
    seed: int,
) -> None:
    numbers, bonds, charges, coords = as_columns(in_space(SMILES, seed))
    mol = from_bonds(numbers, bonds, charges, coords)
    assert given_molecule(mol, 64, drawn=False).smiles == Chem.CanonSmiles(SMILES)
    mirrored = from_bonds(numbers, bonds, charges, coords * [-1, 1, 1])
    assert given_molecule(mirrored, 64, drawn=False).smiles == Chem.CanonSmiles(
        SMILES.replace("@", "@@")
    )
    assert same_molecule(mol, Chem.MolFromSmiles(SMILES)), "stereo aside"
    assert not same_molecule(mol, Chem.MolFromSmiles("CCC(=O)Nc1ccccc1"))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("hydrogens", [True, False])
def test_atoms_without_bonds_are_matched_with_a_smiles(seed: int, hydrogens: bool) -> None:
    numbers, _, _, coords = as_columns(in_space(SMILES, seed))
    keep = [hydrogens or number != 1 for number in numbers]
    numbers = [number for number, kept in zip(numbers, keep, strict=True) if kept]
    coords = coords[:, keep]
    mol = from_smiles(parse_smiles(SMILES), numbers, coords)
    given = given_molecule(mol, 64, drawn=True)
    is_input = given.order != PLACED
    assert is_input.all() == hydrogens
    assert np.allclose(given.coords[0][is_input], coords[0][given.order[is_input]], atol=1e-5)


def test_atoms_alone_are_enough_where_their_distances_tell_the_bonds() -> None:
    numbers, _, _, coords = as_columns(in_space("O=C(O)c1ccncc1", 2))
    mol = from_distances(numbers, coords)
    assert given_molecule(mol, 64, drawn=False).smiles == Chem.CanonSmiles("O=C(O)c1ccncc1")


def test_several_conformers_stay_together() -> None:
    numbers, bonds, charges, coords = as_columns(in_space(SMILES))
    both = np.concatenate([coords, coords + 5.0])
    given = given_molecule(from_bonds(numbers, bonds, charges, both), 64, drawn=False)
    assert given.coords.shape[0] == 2
    assert np.allclose(given.coords[1] - given.coords[0], 5.0, atol=1e-5)


def test_two_geometries_of_a_molecule_have_two_keys() -> None:
    numbers, bonds, charges, coords = as_columns(in_space(SMILES))
    keys = {
        given_molecule(from_bonds(numbers, bonds, charges, moved), 64, drawn=False).geometry_key
        for moved in (coords, coords + 0.0, coords + 0.01)
    }
    assert len(keys) == 2


def test_missing_hydrogens_are_placed_and_told() -> None:
    mol = in_space("OCCN")
    polar = Chem.RemoveHs(mol)
    given = given_molecule(parse_molblock(Chem.MolToMolBlock(polar)), 64, drawn=False)
    assert (given.order == PLACED).sum() == 7
    assert len(given.coords[0]) == 11


def test_a_molecule_that_is_flat_is_no_drawing_and_a_drawing_may_stand_behind_geometries() -> None:
    water = Chem.AddHs(Chem.MolFromSmiles("O"))
    flat = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    assert given_molecule(numbered(with_coords(water, [flat])), 64, drawn=True).smiles == "O"
    drawing = 1.5 * flat
    with pytest.raises(MoleculeError, match=NO_GEOMETRY):
        given_molecule(numbered(with_coords(water, [drawing])), 64, drawn=True)
    both = given_molecule(numbered(with_coords(water, [flat, drawing])), 64, drawn=True)
    assert len(both.coords) == 2


def refusals() -> dict[str, tuple[str, Chem.Mol]]:
    """Structures whose geometry cannot be theirs, by what is wrong."""
    good = in_space(SMILES)
    small = in_space("CCO")
    coords = good.GetConformer().GetPositions()
    torn = coords.copy()
    torn[:5] += 4.0
    coinciding = coords.copy()
    coinciding[1] = coinciding[0]
    flat = Chem.MolFromSmiles(SMILES)
    rdDepictor.Compute2DCoords(flat)
    shifted = with_coords(small, [small.GetConformer().GetPositions() + [0.6, 0.6, 0.3]])
    pair = Chem.CombineMols(small, shifted)
    return {
        "torn": ("unreasonable geometry", with_coords(good, [torn])),
        "coinciding": ("unreasonable geometry", with_coords(good, [coinciding])),
        "flat": (NO_GEOMETRY, numbered(flat)),
        "none": (NO_GEOMETRY, parse_smiles(SMILES)),
        "interpenetrating": ("unreasonable geometry", numbered(pair)),
        "mirrored": ("stereo not kept", with_coords(good, [coords * [-1, 1, 1]])),
        "large": ("over the size limit", in_space("C" * 13)),
        "hydrogen": ("no heavy atoms", parse_smiles("[H][H]")),
    }


@pytest.mark.parametrize("fault", [*refusals()])
def test_a_geometry_that_cannot_be_is_a_typed_failure(fault: str) -> None:
    reason, mol = refusals()[fault]
    with pytest.raises(MoleculeError) as refused:
        given_molecule(mol, 12, drawn=True)
    assert refused.value.reason == reason, refused.value


def test_a_geometry_of_another_molecule_is_not_taken_for_the_one_drawn() -> None:
    numbers, _, _, coords = as_columns(in_space("CC=O"))
    with pytest.raises(MoleculeError, match=DISAGREES):  # two hydrogens fewer than ethanol
        from_smiles(parse_smiles("CCO"), numbers, coords)
    numbers, _, _, coords = as_columns(in_space("COC"))
    with pytest.raises(MoleculeError, match=DISAGREES):  # the same formula
        from_smiles(parse_smiles("CCO"), numbers, coords)
