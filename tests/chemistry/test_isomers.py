"""The isomer of a geometry: the drawn one in any guise, and never another."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

Chem = pytest.importorskip("rdkit.Chem")
from rdkit import RDConfig
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions
from spellings import nci_smiles, standardized

from molnb.chemistry.conformer import make_conformer, mirror
from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.isomers import read_back
from molnb.chemistry.parsing import parse_smiles
from molnb.chemistry.standardization import standardize

# Drawn with a pair of centres or bonds that symmetry turns together, most with a centre beside it
PAIRED = {
    "nateglinide": "CC(C)[C@H]1CC[C@H](C(=O)N[C@H](Cc2ccccc2)C(=O)O)CC1",
    "its other ring": "CC(C)[C@H]1CC[C@@H](C(=O)N[C@H](Cc2ccccc2)C(=O)O)CC1",
    "lactate of a cyclohexanol": "C[C@H](O)C(=O)O[C@H]1CC[C@@H](C)CC1",
    "alanine ester of a cyclobutanol": "C[C@H](N)C(=O)O[C@H]1C[C@@H](C)C1",
    "cyclic sulfoxide": "C[C@H](O)[C@H]1CC[S@](=O)CC1",
    "phosphine": "C[C@H](O)[C@H]1CC[P@](c2ccccc2)CC1",
    "tropane ester": "CN1[C@H]2CC[C@@H]1C[C@H](OC(=O)[C@@H](C)O)C2",
    "two rings of opposite kind": "C[C@H]1CC[C@@H](C(=O)[C@H]2CC[C@H](C)CC2)CC1",
    "inositol": "O[C@H]1[C@H](O)[C@@H](O)[C@H](O)[C@H](O)[C@@H]1O",
    "tartrate": "C[C@H](O)COC(=O)[C@H](O)[C@@H](O)C(=O)OC[C@@H](C)O",
    "pentanetriol, its middle a pseudocentre": "C[C@H](O)[C@@H](O)[C@@H](C)O",
    "diene beside a centre": "C/C=C/C(/C=C\\C)=C/[C@H](C)O",
    "bridged diamine": "C[C@H](O)C(=O)N1C[C@H]2CC[C@@H](C1)N2",
    "spiro pair": "C[C@H](O)C(=O)O[C@H]1C[C@]2(C1)C[C@@H](C)C2",
}


@pytest.mark.parametrize("name", PAIRED)
def test_a_molecule_and_its_mirror_image_both_pass_as_what_they_are(name: str) -> None:
    smiles = standardize(parse_smiles(PAIRED[name])).smiles
    image = standardize(parse_smiles(mirror(smiles))).smiles
    for isomer in (smiles, image):
        conformer = make_conformer(isomer)
        assert conformer.smiles_3d == isomer
    assert make_conformer(smiles).energy == make_conformer(image).energy


# Two drawings with their atoms in one order, and whether they are one isomer, worked out by hand
PAIRS = [
    # Opposite ends of a ring: both turned is the same ring, one turned is the other of cis and
    # trans.
    ("C[C@H]1CC[C@@H](C)CC1", "C[C@@H]1CC[C@H](C)CC1", True),
    ("C[C@H]1CC[C@@H](C)CC1", "C[C@@H]1CC[C@@H](C)CC1", False),
    ("C[C@H]1C[C@@H](O)C1", "C[C@@H]1C[C@H](O)C1", True),
    ("C[C@H]1C[C@@H](O)C1", "C[C@H]1C[C@H](O)C1", False),
    # The pair beside a centre that stands outside of the ring
    (PAIRED["nateglinide"], "CC(C)[C@@H]1CC[C@@H](C(=O)N[C@H](Cc2ccccc2)C(=O)O)CC1", True),
    (PAIRED["nateglinide"], "CC(C)[C@@H]1CC[C@@H](C(=O)N[C@@H](Cc2ccccc2)C(=O)O)CC1", False),
    (PAIRED["nateglinide"], "CC(C)[C@H]1CC[C@H](C(=O)N[C@@H](Cc2ccccc2)C(=O)O)CC1", False),
    (PAIRED["nateglinide"], "CC(C)[C@@H]1CC[C@H](C(=O)N[C@H](Cc2ccccc2)C(=O)O)CC1", False),
    # Tartaric acid, both centres turned: the meso form is its own mirror image, the chiral is not.
    ("OC(=O)[C@H](O)[C@@H](O)C(=O)O", "OC(=O)[C@@H](O)[C@H](O)C(=O)O", False),
    ("OC(=O)[C@H](O)[C@H](O)C(=O)O", "OC(=O)[C@@H](O)[C@@H](O)C(=O)O", True),
    # 1,3-dimethylcyclohexane: cis is meso, trans is chiral.
    ("C[C@H]1CCC[C@@H](C)C1", "C[C@@H]1CCC[C@H](C)C1", True),
    ("C[C@H]1CCC[C@H](C)C1", "C[C@@H]1CCC[C@@H](C)C1", False),
    # Lone centres, of carbon, sulfur and phosphorus
    ("C[C@H](F)Cl", "C[C@@H](F)Cl", False),
    ("CC[S@](C)=O", "CC[S@@](C)=O", False),
    ("CC[P@](C)c1ccccc1", "CC[P@@](C)c1ccccc1", False),
    # Double bonds: one turned; two exchanged by the symmetry of the chain; by that of a ring
    ("C/C=C/C", "C/C=C\\C", False),
    ("C/C=C/C=C\\C", "C/C=C\\C=C\\C", True),
    ("C/C=C/C=C/C", "C/C=C/C=C\\C", False),
    ("C/C=N/O", "C/C=N\\O", False),
    # One of two equal ends is drawn: one of them must be as drawn, whichever.
    ("C[C@H](F)CCC(F)C", "C[C@@H](F)CC[C@@H](F)C", True),
    ("C[C@H](F)CCC(F)C", "C[C@@H](F)CC[C@H](F)C", False),
    # What is left open may be anything.
    ("C[C@H](F)CC(O)C", "C[C@H](F)C[C@@H](O)C", True),
    ("C[C@H](F)CC(O)C", "C[C@@H](F)C[C@@H](O)C", False),
    ("CC=C[C@H](F)C", "C/C=C\\[C@H](F)C", True),
]


@pytest.mark.parametrize(("drawn", "built", "same"), PAIRS)
def test_a_geometry_passes_for_its_own_isomer_alone(drawn: str, built: str, same: bool) -> None:
    mol = Chem.MolFromSmiles(drawn)
    coords = make_conformer(built).coords.astype(float)
    if same:
        seen = Chem.MolFromSmiles(read_back(mol, coords))
        assert Chem.MolToSmiles(seen) == Chem.MolToSmiles(Chem.MolFromSmiles(built))
    else:
        with pytest.raises(MoleculeError, match="stereo not kept"):
            read_back(mol, coords)


def test_a_geometry_that_lies_in_a_plane_is_no_isomer_of_a_centre() -> None:
    mol = Chem.MolFromSmiles("C[C@H](F)Cl")
    coords = make_conformer("C[C@H](F)Cl").coords * np.array([1, 1, 0])
    with pytest.raises(MoleculeError, match="1 centres or bonds of 1 were turned over"):
        read_back(mol, coords.astype(float))


def test_many_equal_groups_are_compared_at_once() -> None:
    ring = "C[C@@H]1CC[C@H](C(=O)N(C(C(F)(F)F)(C(F)(F)F)C(F)(F)F)C(C(F)(F)F)(C(F)(F)F)C(C)(C)C)CC1"
    turned = ring.replace("C[C@@H]1", "C[C@H]1")
    mol = Chem.MolFromSmiles(ring)
    coords = make_conformer(turned, relax=False).coords.astype(float)
    with pytest.raises(MoleculeError, match="stereo not kept"):
        read_back(mol, coords)  # trying every exchange of fluorines would take hours


def isomers_of_screening_compounds(n: int) -> list[str]:
    """One isomer, drawn in full, of each of n molecules that have centres."""
    table = Path(RDConfig.RDDataDir) / "Pains" / "test_data" / "wehi_mols.csv"
    with table.open() as file:
        screening = [row[0] for row in csv.reader(file)][1:]
    options = StereoEnumerationOptions(maxIsomers=1, rand=7, onlyUnassigned=False)
    isomers = []
    for smiles in [*screening[:: 10_000 // (8 * n)], *nci_smiles(4 * n)]:
        for molecule in standardized([smiles]):
            isomer = next(iter(EnumerateStereoisomers(molecule.mol, options=options)))
            for drawn in standardized([Chem.MolToSmiles(isomer)]):
                if "@" in drawn.smiles:
                    isomers.append(drawn.smiles)
        if len(isomers) == n:
            break
    return isomers


def outcome(smiles: str) -> tuple:
    """What becomes of a molecule: the isomer and its energy, or the reason why not."""
    try:
        conformer = make_conformer(smiles)
    except MoleculeError as failure:
        return failure.reason, None
    assert conformer.smiles_3d == smiles
    return "passes", conformer.energy


INSIDE_OUT = "CC1(C)[C@H]2CC[C@@]1(C)C(=O)C2"  # camphor, one end of its bridge pointing inwards


@pytest.mark.parametrize("n", [25, pytest.param(500, marks=pytest.mark.slow)])
def test_a_molecule_passes_if_and_only_if_its_mirror_image_does(n: int) -> None:
    isomers = isomers_of_screening_compounds(n)
    assert len(isomers) == n
    outcomes = [outcome(smiles) for smiles in [*isomers, INSIDE_OUT]]
    assert outcomes == [outcome(mirror(smiles)) for smiles in [*isomers, INSIDE_OUT]]
    assert outcomes[-1][0] != "passes"
    assert sum(reason == "passes" for reason, _ in outcomes) > 0.9 * n
