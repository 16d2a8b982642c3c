"""Conformers: any spelling of a molecule gives one geometry, and what has none says why."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

Chem = pytest.importorskip("rdkit.Chem")
from rdkit.Chem import rdDistGeom
from spellings import CHIRAL, nci_smiles, respelled, standardized

from molnb.chemistry.conformer import (
    ATTEMPTS,
    DISTANCES,
    ETKDG,
    LARGE,
    make_conformer,
    mirror,
)
from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.identity import undefined_stereo
from molnb.chemistry.parsing import parse_smiles
from molnb.chemistry.plausibility import checked_coords
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
    with pytest.raises(MoleculeError, match="bad lower bound, in the last of 7 attempts"):
        make_conformer("CCO")


@pytest.mark.parametrize(
    ("molecule", "n_attempts"),
    [("a molecule of many atoms", 5), ("a helicene", 5), ("a small one", 7)],
)
def test_hopeless_attempts_are_not_repeated(monkeypatch, molecule: str, n_attempts: int) -> None:
    smiles = {
        "a molecule of many atoms": "C" * (LARGE // 3 + 1),
        "a helicene": "c1ccc2c(c1)ccc1ccc3ccc4ccc5ccccc5c4c3c12",
        "a small one": "CCO",
    }[molecule]
    embed = rdDistGeom.EmbedMolecule
    calls = []

    def never(mol, params):
        calls.append(params.useExpTorsionAnglePrefs)
        if molecule == "a helicene":
            embed(mol, params)  # for its count of what failed
        return -1

    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", never)
    with pytest.raises(MoleculeError, match="embedding failed"):
        make_conformer(smiles)
    assert len(calls) == n_attempts and calls.count(False) == 3


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


def test_the_mirror_image_of_an_achiral_molecule_is_itself() -> None:
    for smiles in ("CCO", "C[C@H]1CC[C@@H](C)CC1", "O[C@H](C(=O)O)[C@@H](O)C(=O)O", "C/C=C/C"):
        smiles = standardize(parse_smiles(smiles)).smiles
        assert mirror(smiles) == smiles


def plain_conformer(smiles: str) -> np.ndarray | None:
    """The first attempt as RDKit's own documentation writes it; None where it fails."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    params = rdDistGeom.ETKDGv3()
    params.maxIterations = 50
    digest = hashlib.blake2b(f"0 0 {smiles}".encode(), digest_size=4).digest()
    params.randomSeed = int.from_bytes(digest, "little") >> 1
    if rdDistGeom.EmbedMolecule(mol, params) != 0:
        return None
    Chem.rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=5000)
    coords = mol.GetConformer().GetPositions()
    return (coords - coords.mean(axis=0)).astype(np.float32)


def test_what_embeds_at_once_has_the_coordinates_that_rdkit_alone_gives() -> None:
    n_compared = 0
    for molecule in standardized(nci_smiles(50)):
        conformer = make_conformer(molecule.smiles)
        if conformer.attempts == 1 and conformer.force_field == "MMFF94":
            n_compared += 1
            assert np.array_equal(conformer.coords, plain_conformer(molecule.smiles))
    assert n_compared >= 40


# Each of them fails four attempts with torsion preferences; lengths in Å that any of them must have
CAGES = {
    "hexahelicene": "c1ccc2c(c1)ccc1ccc3ccc4ccc5ccccc5c4c3c12",
    "thia[6]helicene": "c1ccc2c(c1)ccc1ccc3ccc4sc5ccccc5c4c3c12",
    "fullerene": "c12c3c4c5c1c1c6c7c2c2c8c3c3c9c4c4c%10c5c5c1c1c6c6c%11c7c2c2c7c8c3c3c8c9c4c4c9c"
    "%10c5c5c1c1c6c6c%11c2c2c7c3c3c8c4c4c9c5c1c1c6c2c3c41",
    "norbornene with its double bond at the bridgehead": "C1=C2CCC1CC2",
    "cyclooctyne": "C1#CCCCCCC1",
    "bicyclo[1.1.0]butane in a ladder": "C1[C@H]2[C@@H]1[C@@H]1C[C@H]21",
    "epoxide on a housane": "N#C[C@@H]1[C@H]2[C@@H]1[C@H]1O[C@@H]21",
    "three fused small rings": "C1C[C@H]2[C@@H]3C[C@@H]3[C@H]12",
    "housane alcohol": "OC[C@H]1C[C@H]2[C@H]3C[C@H]3[C@@H]12",
    "tricyclic amine": "CN1[C@@H]2[C@@H]3CC[C@]3(C)[C@@H]21",
    "bridged ether": "C[C@H]1[C@H]2O[C@@H](CCO)[C@@H]12",
    "alkyne on a cage": "C#C[C@]12C[C@@H]3[C@H]1[C@@H](C)[C@@H]32",
}


@pytest.mark.parametrize("name", CAGES)
def test_cages_and_helicenes_are_embedded_by_distance_geometry_alone(name: str) -> None:
    smiles = standardize(parse_smiles(CAGES[name])).smiles
    conformer = make_conformer(smiles)
    assert (conformer.embedded_by, conformer.attempts) == (DISTANCES, 5)
    assert (conformer.force_field, conformer.converged) == ("MMFF94", True)
    assert conformer.smiles_3d == smiles
    if name == "fullerene":
        assert np.linalg.norm(conformer.coords, axis=1) == pytest.approx(3.55, abs=0.1)  # X-ray


def test_a_cage_is_the_same_every_time_and_in_any_spelling() -> None:
    smiles = standardize(parse_smiles(CAGES["housane alcohol"])).smiles
    conformer = make_conformer(smiles)
    for spelling in respelled(smiles, 3):
        again = make_conformer(standardize(parse_smiles(spelling)).smiles)
        assert np.array_equal(again.coords, conformer.coords)


def test_a_helicene_is_no_flat_ring() -> None:
    coords = make_conformer(CAGES["hexahelicene"]).coords[:26]
    off_plane = coords @ np.linalg.svd(coords)[2][2]
    assert np.ptp(off_plane) > 3  # its ends lie above each other, some 3.5 Å apart


# Drawn as no molecule can be: bridges whose one end points inwards
INSIDE_OUT = {
    "norbornane": "C1C[C@H]2CC[C@H]1C2",
    "camphor": "CC1(C)[C@H]2CC[C@@]1(C)C(=O)C2",
    "borneol ester": "CCC(=O)O[C@H]1C[C@@H]2CC[C@]1(C)C2(C)C",
    "tropine": "CN1[C@H]2CC[C@H]1C[C@H](O)C2",
    "tropane amide": "CC(=O)N1[C@H]2CC[C@H]1CC(NC(C)=O)C2",
    "7-oxanorbornane": "C1C[C@H]2CC[C@H]1O2",
    "norbornene": "C1=C[C@H]2CC[C@H]1C2",
    "quinuclidine alkene": "C=C[C@H]1C[N@@]2CC[C@H]1C[C@H]2CO",
    "bicyclo[2.1.1]hexane": "C1C[C@H]2C[C@H]1C2",
    "two norbornanes": "C1C[C@H]2CC[C@H]1C2C1[C@H]2CC[C@H]1CC2",
}


@pytest.mark.parametrize("name", INSIDE_OUT)
def test_an_isomer_that_cannot_be_is_no_geometry(name: str) -> None:
    with pytest.raises(MoleculeError) as failure:
        make_conformer(standardize(parse_smiles(INSIDE_OUT[name])).smiles)
    assert failure.value.step == "conformer"


@pytest.mark.parametrize("smiles", ["CCO", "c1ccccc1", "C[C@H](N)C(=O)O", "C1C2CC3CC1CC(C2)C3"])
def test_what_embeds_with_torsions_says_so(smiles: str) -> None:
    assert make_conformer(smiles).embedded_by == ETKDG


@pytest.mark.slow
def test_a_cyclic_peptide_and_a_chain_of_twenty_embed() -> None:
    glycines = "C1C(=O)N" + "CC(=O)N" * 10 + "1"
    for smiles in (glycines, Chem.MolToSmiles(Chem.MolFromSequence("ACDEFGHIKLMNPQRSTVWY"))):
        conformer = make_conformer(standardize(parse_smiles(smiles), 255).smiles)
        assert conformer.converged and conformer.attempts <= len(ATTEMPTS)


# Centres with five to seven neighbours: what becomes of them, by hand from the parameters there are
HYPERVALENT = {
    "ClP(Cl)(Cl)(Cl)Cl": "UFF, or unreasonable geometry",  # it pushes two halogens together
    "FP(F)(F)(F)F": "UFF, or unreasonable geometry",
    "Cl[Te](Cl)(Cl)Cl": "UFF",
    "c1ccc(P(c2ccccc2)(c2ccccc2)(c2ccccc2)c2ccccc2)cc1": "UFF",
    "CC(=O)OI1(OC(C)=O)(OC(C)=O)OC(=O)c2ccccc21": "UFF",
    "FS(F)(F)F": "MMFF94",
    "CN=S(C)(C)=O": "MMFF94",
    "O=C(OI(OC(=O)C(F)(F)F)c1ccccc1)C(F)(F)F": "unreasonable geometry",
    "CC(=O)OI(OC(C)=O)c1ccccc1": "unreasonable geometry",
    "Clc1ccc(I(Cl)Cl)cc1": "unreasonable geometry",
    "O=I(=O)c1ccccc1": "unreasonable geometry",
    "O=[I+]([O-])c1ccccc1": "unreasonable geometry",
    "FS(F)(F)(F)(F)F": "no force field parameters",
    "F[Xe](F)(F)F": "no force field parameters",
    "F[Se](F)(F)(F)(F)F": "no force field parameters",
    "FS(F)(F)(F)(F)c1ccccc1": "no force field parameters",
}


@pytest.mark.parametrize("smiles", HYPERVALENT)
def test_a_hypervalent_centre_has_a_sane_geometry_or_a_typed_failure(smiles: str) -> None:
    for seed in range(6):
        try:
            conformer = make_conformer(smiles, seed)
        except MoleculeError as failure:
            assert failure.reason in HYPERVALENT[smiles]
            continue
        assert conformer.force_field in HYPERVALENT[smiles]
        assert abs(conformer.energy) / len(conformer.coords) < 1  # eV an atom
        assert narrowest_angle(smiles, conformer.coords) > 50  # degrees; cyclopropane has 60


def narrowest_angle(smiles: str, coords: np.ndarray) -> float:
    """The narrowest angle (degrees) that any atom has between two of its bonds."""
    narrowest = 180.0
    for atom in Chem.AddHs(Chem.MolFromSmiles(smiles)).GetAtoms():
        rays = coords[[n.GetIdx() for n in atom.GetNeighbors()]] - coords[atom.GetIdx()]
        rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        cosines = (rays @ rays.T)[np.triu_indices(len(rays), 1)]
        if len(cosines):
            narrowest = min(narrowest, float(np.degrees(np.arccos(cosines.clip(-1, 1))).min()))
    return narrowest


@pytest.mark.parametrize(
    "smiles",
    [
        "F[Si-](F)(F)(F)F",
        "F[Si-2](F)(F)(F)(F)F",
        "C[Si-](F)(F)(F)F",
        "CC[Si-](F)(F)(F)CC",
        "F[Si-](F)(F)(F)c1ccccc1",
        "Cl[Si-2](Cl)(Cl)(Cl)(Cl)Cl",
        "COP(OC)(OC)(OC)OC",
        "ClP(Cl)(c1ccccc1)(c1ccccc1)c1ccccc1",
        "CP12(Oc3ccccc3O1)Oc1ccccc1O2",
        "FI(F)(F)(F)F",
        "c1ccc([Sb](c2ccccc2)(c2ccccc2)(c2ccccc2)c2ccccc2)cc1",
        "C[Si-]12(Oc3ccccc3O1)Oc1ccccc1O2",
    ],
)
def test_five_and_six_neighbours_keep_their_right_angles_or_there_is_no_geometry(
    smiles: str,
) -> None:
    try:
        conformer = make_conformer(Chem.CanonSmiles(smiles))
    except MoleculeError as error:
        assert error.reason in ("unreasonable geometry", "no force field parameters")
        return
    mol = Chem.AddHs(Chem.MolFromSmiles(Chem.CanonSmiles(smiles)))
    centre = max(mol.GetAtoms(), key=Chem.Atom.GetDegree)
    neighbours = [n.GetIdx() for n in centre.GetNeighbors()]
    rays = conformer.coords[neighbours] - conformer.coords[centre.GetIdx()]
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    angles = np.degrees(np.arccos(np.clip(rays @ rays.T, -1, 1)))
    assert conformer.force_field == "UFF"
    assert angles.max() > 160  # two of them opposite each other
    assert angles[np.triu_indices(len(rays), 1)].min() > 75
