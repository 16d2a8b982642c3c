"""Coordinates that cannot be a molecule are refused with numbers; real ones pass."""

from __future__ import annotations

import numpy as np
import pytest

Chem = pytest.importorskip("rdkit.Chem")
from rdkit.Chem import rdDepictor

from molnb.chemistry.conformer import make_conformer
from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.plausibility import check_energy, check_geometry
from molnb.inference.featurizer import featurize


def with_positions(mol: Chem.Mol, positions: np.ndarray) -> Chem.Mol:
    """The molecule with these coordinates (Å), which say they are in space."""
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=float))
    conformer.Set3D(True)
    mol.RemoveAllConformers()
    mol.AddConformer(conformer)
    return mol


def drawing(smiles: str, hydrogens: bool = False) -> Chem.Mol:
    """A molecule drawn in the plane, bonds of 1.5 Å (1.2 Å with hydrogens), that claims to be 3D.

    Turned out of the plane of the paper, as a file may have it.
    """
    mol = Chem.MolFromSmiles(smiles)
    if hydrogens:
        mol = Chem.AddHs(mol)
    rdDepictor.Compute2DCoords(mol)
    turn = np.array([[0.8, 0, 0.6], [0.36, 0.8, -0.48], [-0.48, 0.6, 0.64]])
    positions = mol.GetConformer().GetPositions() * (0.8 if hydrogens else 1)
    return with_positions(mol, positions @ turn + 3)


def in_space(smiles: str, hydrogens: bool = True) -> Chem.Mol:
    """A molecule with the conformer that curation gives it."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    mol = with_positions(mol, make_conformer(smiles).coords)
    return mol if hydrogens else Chem.RemoveHs(mol)


FLAT = {
    "cyclohexane": "C1CCCCC1",
    "cyclopentane": "C1CCCC1",
    "oxolane": "C1CCOC1",
    "piperidine": "C1CCNCC1",
    "cyclohexene": "C1=CCCCC1",
    "decalin": "C1CCC2CCCCC2C1",
    "isobutane": "CC(C)C",
    "neopentane": "CC(C)(C)C",
    "alanine": "CC(N)C(=O)O",
    "isopropylbenzene": "CC(C)c1ccccc1",
    "chloroform": "ClC(Cl)Cl",
    "trimethylamine": "CN(C)C",
    "dimethyl sulfoxide": "CS(C)=O",
    "trimethylphosphine": "CP(C)C",
    "dimethyl sulfone": "CS(C)(=O)=O",
    "phosphate ester": "COP(=O)(OC)OC",
    "tetramethylammonium": "C[N+](C)(C)C",
    "tetramethylsilane": "C[Si](C)(C)C",
    "methylcyclobutane": "CC1CCC1",
    "adamantane": "C1C2CC3CC1CC(C2)C3",
    "glucose": "OCC1OC(O)C(O)C(O)C1O",
}


@pytest.mark.parametrize("name", FLAT)
def test_a_drawing_that_claims_to_be_3d_is_refused(name: str) -> None:
    with pytest.raises(MoleculeError, match="a drawing in the plane") as failure:
        featurize(drawing(FLAT[name]), conformer="given")
    assert failure.value.reason == "no 3D coordinates" and "0.00 Å" in failure.value.detail


@pytest.mark.parametrize("smiles", ["C", "CCO", "CC=C", "CNC", "CCCCC", "Cc1ccccc1"])
def test_a_drawing_with_its_hydrogens_is_refused(smiles: str) -> None:
    with pytest.raises(MoleculeError, match="4 neighbours lie in one plane"):
        featurize(drawing(smiles, hydrogens=True), conformer="given")


@pytest.mark.parametrize(
    "smiles",
    [
        "CC(C)C",
        "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
        "OC(c1ccccc1)c1ccccc1",
        "CNC(C)Cc1ccccc1",
        "CC(O)C(=O)O",
        "CC(N)C(=O)NC(C)C(=O)O",
        "OCC(O)CO",
        "FC(Cl)Br",
        "CC(C)OP(C)(F)=O",
        "CCC(CC)C(N)=O",
    ],
)
def test_a_drawing_on_which_hydrogens_were_put_upright_is_refused(smiles: str) -> None:
    complete = Chem.AddHs(drawing(smiles), addCoords=True)
    complete.GetConformer().Set3D(True)
    with pytest.raises(MoleculeError, match="neighbours lie in one plane") as failure:
        featurize(complete, conformer="given")
    assert failure.value.reason == "no 3D coordinates"


FLAT_INDEED = {
    "benzene": "c1ccccc1",
    "butane, anti, without hydrogens": "CCCC",
    "hexane, likewise": "CCCCCC",
    "diethyl ether, likewise": "CCOCC",
    "cyclopropane": "C1CC1",
    "cyclobutane": "C1CCC1",
    "acetamide": "CC(N)=O",
    "dimethylformamide": "CN(C)C=O",
    "aniline": "Nc1ccccc1",
    "dimethylaniline": "CN(C)c1ccccc1",
    "nitrobenzene": "O=[N+]([O-])c1ccccc1",
    "naphthalene": "c1ccc2ccccc2c1",
    "caffeine": "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "boric acid": "OB(O)O",
    "guanidine": "NC(N)=N",
    "cyclopentene": "C1=CCCC1",
    "acetone": "CC(C)=O",
    "isobutene": "CC(C)=C",
    "thiophene": "c1ccsc1",
}


@pytest.mark.parametrize("name", FLAT_INDEED)
def test_a_molecule_that_may_be_flat_passes(name: str) -> None:
    molecule = featurize(drawing(FLAT_INDEED[name]), conformer="given")
    off_plane = molecule.coords @ np.linalg.svd(molecule.coords)[2][2]
    assert np.abs(off_plane).max() < 1e-5


STRAINED = {
    "cubane": "C12C3C4C1C5C2C3C45",
    "dodecahedrane, twelve flat rings": "C12C3C4C5C1C6C7C2C8C3C9C4C%10C5C6C%11C7C8C9C%10%11",
    "bicyclo[1.1.1]pentane": "C1C2CC1C2",
    "propellane": "C1CC23CC1CC2C3",
    "adamantane": "C1C2CC3CC1CC(C2)C3",
    "quinuclidine": "C1CN2CCC1CC2",
    "triisopropylamine": "CC(C)N(C(C)C)C(C)C",
    "benzenehexoxide": "C12C(O1)C1C(O1)C1C2O1",
    "cyclotrisiloxane": "C[Si]1(C)O[Si](C)(C)O[Si](C)(C)O1",
    "boat": "C1CC2CCC1C2",
    "sulfuric acid": "OS(=O)(=O)O",
    "hexahelicene": "c1ccc2c(c1)ccc1ccc3ccc4ccc5ccccc5c4c3c12",
}


@pytest.mark.parametrize("name", STRAINED)
@pytest.mark.parametrize("hydrogens", [True, False], ids=["with hydrogens", "without"])
def test_a_strained_molecule_in_space_passes(name: str, hydrogens: bool) -> None:
    mol = in_space(STRAINED[name], hydrogens)
    molecule = featurize(mol, conformer="given")
    assert len(molecule.coords) == mol.GetNumAtoms()


# Of atoms in the order of the SMILES: coordinates in Å, and the number the message must name
NONSENSE = {
    "carbon dioxide, stretched": ("O=C=O", [[2, 0, 0], [0, 0, 0], [0, 2, 0.5]], "O0-C1 of 2.00"),
    "carbon dioxide, bent shut": (
        "O=C=O",
        [[1.2, 0, 0], [0, 0, 0], [1.1, 0.6, 0]],
        "O0-O2 of 0.61",
    ),
    "ethane, short": ("CC", [[0, 0, 0], [0.9, 0, 0]], "C0-C1 of 0.90"),
    "ethane, in nm": ("CC", [[0, 0, 0], [0.52, 0, 0]], "C0-C1 of 0.52"),
    "ethane, in bohr": ("CC", [[0, 0, 0], [2.9, 0, 0]], "C0-C1 of 2.90"),
    "nitrile, long": ("CC#N", [[0, 0, 0], [1.46, 0, 0], [3.6, 0, 0]], "C1-N2 of 2.14"),
    "ether, shut": ("COC", [[1.41, 0, 0], [0, 0, 0], [0.7, 1.22, 0]], "C0-C2 of 1.41"),
    "chain that bites its tail": (
        "CCCC",
        [[0, 0, 0], [1.5, 0, 0], [1.5, 1.5, 0], [0, 1.5, 0]],
        "C0-C3 of 1.50",
    ),
    "bromide at the length of a C-H": ("CBr", [[0, 0, 0], [1.1, 0, 0]], "C0-Br1 of 1.10"),
    "water, stretched": ("[H]O[H]", [[1.6, 0, 0], [0, 0, 0], [0, 0.96, 0]], "1.60"),
    "iodobenzene, its iodine on a hydrogen's place": (
        "Ic1ccccc1",
        [
            [2.47, 0, 0],
            [1.39, 0, 0],
            [0.695, 1.204, 0],
            [-0.695, 1.204, 0],
            [-1.39, 0, 0],
            [-0.695, -1.204, 0],
            [0.695, -1.204, 0],
        ],
        "I0-C1 of 1.08",
    ),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_given_coordinates_that_are_no_molecule_are_refused_with_the_number(name: str) -> None:
    smiles, positions, number = NONSENSE[name]
    params = Chem.SmilesParserParams()
    params.removeHs = False
    mol = with_positions(Chem.MolFromSmiles(smiles, params), np.array(positions, float))
    with pytest.raises(MoleculeError) as failure:
        check_geometry(mol, mol.GetConformer().GetPositions())
    assert failure.value.reason == "unreasonable geometry" and number in failure.value.detail
    with pytest.raises(MoleculeError, match="unreasonable geometry"):
        featurize(mol, conformer="given")


@pytest.mark.parametrize(
    ("centre", "elevation", "span"),
    [
        # Three neighbours this far above the equator, the fourth at the pole; six times the volume
        # between them is (3 sqrt 3 / 2) cos^2 (1 - sin).
        ("FC(F)(F)F", 30, "0.97"),
        ("FC(F)(F)F", 25, "1.23"),
        ("C[Si](C)(C)C", 28, "1.07"),
        ("F[B-](F)(F)F", 30, "0.97"),
        ("FC(F)(F)F", 20, None),
        ("FC(F)(F)F", -19.47, None),  # a tetrahedron
    ],
)
def test_a_centre_whose_neighbours_crowd_on_one_side_is_refused(
    centre: str, elevation: float, span: str | None
) -> None:
    mol = Chem.MolFromSmiles(centre)
    turns = np.radians([0, 120, 240])
    across = np.cos(np.radians(elevation))
    up = np.sin(np.radians(elevation))
    around = np.stack([across * np.cos(turns), across * np.sin(turns), np.full(3, up)], axis=1)
    length = 1.9 if "Si" in centre else 1.4
    coords = length * np.vstack([around[0], np.zeros(3), around[1:], [0, 0, 1]])
    if span is None:
        check_geometry(mol, coords)
        return
    with pytest.raises(MoleculeError, match=f"crowd on one side of it: they span {span}"):
        check_geometry(mol, coords)


@pytest.mark.parametrize(
    ("smiles", "positions"),
    [
        ("O=C=O", [[1.16, 0, 0], [0, 0, 0], [-1.16, 0, 0]]),
        ("C#N", [[0, 0, 0], [1.153, 0, 0]]),
        ("N#N", [[0, 0, 0], [1.098, 0, 0]]),
        ("FF", [[0, 0, 0], [1.412, 0, 0]]),
        ("O=O", [[0, 0, 0], [1.208, 0, 0]]),
        ("II", [[0, 0, 0], [2.666, 0, 0]]),
        ("[C-]#[O+]", [[0, 0, 0], [1.128, 0, 0]]),
        ("O=[N+][O-]", [[1.1, 0.46, 0], [0, 0, 0], [-1.1, 0.46, 0]]),
        ("CSSC", [[0, 0, 0], [1.81, 0, 0], [2.3, 1.98, 0], [2.8, 2.2, 1.72]]),
        ("C1CC1", [[0, 0, 0], [1.51, 0, 0], [0.755, 1.308, 0]]),
    ],
)
def test_lengths_from_experiment_pass(smiles: str, positions: list) -> None:
    check_geometry(Chem.MolFromSmiles(smiles), np.array(positions, float))


@pytest.mark.parametrize(("energy_ev", "passes"), [(7e7, False), (-60, False), (np.nan, False),
                                                   (41, True), (-14, True), (0, True)])  # fmt: skip
def test_an_energy_beyond_all_bonds_is_refused(energy_ev: float, passes: bool) -> None:
    if passes:
        check_energy(energy_ev, n_atom=10)
        return
    with pytest.raises(MoleculeError, match="eV an atom, limit 5") as failure:
        check_energy(energy_ev, n_atom=10)
    assert failure.value.reason == "unreasonable geometry"
