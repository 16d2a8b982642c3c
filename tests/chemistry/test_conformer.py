"""Conformers: any spelling of a molecule gives one geometry, and what has none says why."""

from __future__ import annotations

import numpy as np
import pytest

Chem = pytest.importorskip("rdkit.Chem")
from rdkit.Chem import rdDistGeom
from spellings import CHIRAL, nci_smiles, respelled, standardized

from molnb.chemistry.conformer import _read_back, checked_coords, make_conformer, mirror
from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.identity import undefined_stereo
from molnb.chemistry.parsing import parse_smiles
from molnb.chemistry.standardization import standardize


def test_any_spelling_gets_the_same_geometry() -> None:
    for molecule in standardized(nci_smiles(25)):
        conformer = make_conformer(molecule.smiles)
        for spelling in respelled(molecule.smiles, 3):
            again = make_conformer(standardize(parse_smiles(spelling)).smiles)
            assert np.array_equal(again.coords, conformer.coords)


def test_a_conformer_is_centred_and_holds_all_atoms_in_order() -> None:
    conformer = make_conformer("CCO")
    assert conformer.coords.shape == (9, 3) and conformer.coords.dtype == np.float32
    assert np.abs(conformer.coords.mean(axis=0)).max() < 1e-5
    lengths = np.linalg.norm(conformer.coords[[0, 1]] - conformer.coords[[1, 2]], axis=1)
    assert lengths == pytest.approx([1.51, 1.42], abs=0.03)  # C-C, C-O in Å
    assert (conformer.force_field, conformer.converged, conformer.smiles_3d) == (
        "MMFF94",
        True,
        "CCO",
    )
    assert not np.array_equal(make_conformer("CCO", seed=1).coords, conformer.coords)


def test_uff_stands_in_where_mmff_has_no_parameters() -> None:
    assert make_conformer("C[Si](C)(C)B(O)O").force_field == "UFF"
    with pytest.raises(MoleculeError) as failure:
        make_conformer("O=[As]O")
    assert (failure.value.step, failure.value.reason) == ("conformer", "no force field parameters")


def test_energies_are_in_ev() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    conformer = make_conformer("CCO")
    geometry = Chem.Conformer(mol.GetNumAtoms())
    geometry.SetPositions(conformer.coords.astype(float))
    mol.AddConformer(geometry)
    properties = Chem.rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    kcal_mol = Chem.rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties).CalcEnergy()
    assert conformer.energy == pytest.approx(kcal_mol / 23.060548, abs=1e-5)


def test_a_failing_embedding_is_a_typed_failure(monkeypatch) -> None:
    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", lambda *_: -1)
    with pytest.raises(MoleculeError) as failure:
        make_conformer("CCO")
    assert (failure.value.step, failure.value.reason) == ("conformer", "embedding failed")


def test_a_mixture_is_never_embedded() -> None:
    with pytest.raises(MoleculeError, match="not one readable fragment"):
        make_conformer("CCO.CCN")


def test_no_geometry_at_all_is_refused() -> None:
    for coords in (np.zeros((3, 3)), np.full((3, 3), np.nan)):
        with pytest.raises(MoleculeError, match="force field failed"):
            checked_coords(coords, "force field failed")


def test_an_exception_inside_rdkit_is_a_typed_failure(monkeypatch) -> None:
    def violate(*_):
        raise RuntimeError("Invariant Violation\n\n\tbad lower bound")

    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", violate)
    with pytest.raises(MoleculeError, match="bad lower bound, in the last of 4 attempts"):
        make_conformer("CCO")


def test_a_second_attempt_follows_a_failed_one(monkeypatch) -> None:
    embed = rdDistGeom.EmbedMolecule
    calls = []

    def fail_once(mol, params):
        calls.append(params.useRandomCoords)
        return -1 if len(calls) == 1 else embed(mol, params)

    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", fail_once)
    assert make_conformer("CCO").attempts == 2
    assert calls == [False, True]


def test_the_isomer_chosen_for_open_stereo_is_read_back() -> None:
    conformer = make_conformer("CC(F)C=CCl")
    assert undefined_stereo(Chem.MolFromSmiles(conformer.smiles_3d)) == 0
    assert conformer.smiles_3d.count("@") == 1 and (
        "/" in conformer.smiles_3d or "\\" in conformer.smiles_3d
    )
    complete = standardize(parse_smiles("C/C=C/[C@H](F)CC")).smiles
    assert make_conformer("C/C=C/[C@H](F)CC").smiles_3d == complete


@pytest.mark.parametrize("smiles", CHIRAL)
def test_enantiomers_get_mirror_image_conformers(smiles: str) -> None:
    molecule = standardize(parse_smiles(smiles))
    image = mirror(molecule.smiles)
    assert image != molecule.smiles and mirror(image) == molecule.smiles
    enantiomer = standardize(parse_smiles(image))
    conformer = make_conformer(molecule.smiles)
    mirrored = make_conformer(enantiomer.smiles)
    assert conformer.energy == mirrored.energy
    assert (conformer.smiles_3d, mirrored.smiles_3d) == (molecule.smiles, enantiomer.smiles)
    reflected = conformer.coords * np.array([-1, 1, 1])
    distances = np.linalg.norm(reflected[:, None] - mirrored.coords[None], axis=-1)
    match = distances.argmin(axis=1)
    assert sorted(match) == list(range(len(match))) and distances.min(axis=1).max() < 1e-6
    numbers, numbers_mirrored = (
        [atom.GetAtomicNum() for atom in Chem.AddHs(m.mol).GetAtoms()]
        for m in (molecule, enantiomer)
    )
    assert numbers == [numbers_mirrored[i] for i in match]


@pytest.mark.parametrize(
    "smiles",
    ["N=C(N)NC(C)=CC", "Oc1ccc(O)c([PH](c2ccccc2)(c2ccccc2)c2ccccc2)c1"],
    ids=["imine", "five neighbours"],
)
def test_the_isomer_of_a_geometry_has_the_atoms_of_the_molecule(smiles: str) -> None:
    isomer = Chem.MolFromSmiles(make_conformer(smiles).smiles_3d)
    assert isomer.GetNumAtoms() == Chem.MolFromSmiles(smiles).GetNumAtoms()


def test_a_geometry_that_contradicts_the_drawing_is_refused() -> None:
    mol = Chem.MolFromSmiles("C[C@H](F)Cl")
    coords = make_conformer("C[C@@H](F)Cl").coords.astype(float)
    with pytest.raises(MoleculeError, match="stereo not kept"):
        _read_back(mol, Chem.AddHs(mol), coords)


def test_the_mirror_image_of_an_achiral_molecule_is_itself() -> None:
    for smiles in ("CCO", "C[C@H]1CC[C@@H](C)CC1", "O[C@H](C(=O)O)[C@@H](O)C(=O)O", "C/C=C/C"):
        smiles = standardize(parse_smiles(smiles)).smiles
        assert mirror(smiles) == smiles
