"""Features: OGB's value lists, RDKit's order of atoms, and a handedness without numbering."""

from __future__ import annotations

import numpy as np
import pytest

Chem = pytest.importorskip("rdkit.Chem")
from spellings import CHIRAL

from molnb.chemistry.conformer import mirror
from molnb.chemistry.features import (
    ATOM_FEATURE_SIZES,
    ATOM_FEATURES,
    BOND_FEATURE_SIZES,
    atom_features,
    bond_features,
    molecule_arrays,
)
from molnb.chemistry.parsing import parse_smiles
from molnb.chemistry.standardization import standardize

MOLECULES = (
    "C",
    "CCO",
    "C[C@H](N)C(=O)O",
    "C/C=C/c1ccc[nH]1",
    "C[N+](=O)[O-]",
    "N#Cc1ccncc1",
    "FS(F)(F)(F)(F)F",
    "[CH3]",
)
PARITY = ATOM_FEATURES.index("parity")


def ogb_index(values: list, value: object) -> int:
    return values.index(value) if value in values else len(values) - 1


def plain_atom(atom: Chem.Atom) -> list[int]:
    """OGB's atom_to_feature_vector without the atomic number, as published."""
    chirality = [
        "CHI_UNSPECIFIED",
        "CHI_TETRAHEDRAL_CW",
        "CHI_TETRAHEDRAL_CCW",
        "CHI_TRIGONALBIPYRAMIDAL",
        "CHI_OCTAHEDRAL",
        "CHI_SQUAREPLANAR",
        "CHI_OTHER",
    ]
    return [
        ogb_index(chirality, str(atom.GetChiralTag())),
        ogb_index([*range(11), "misc"], atom.GetTotalDegree()),
        ogb_index([*range(-5, 6), "misc"], atom.GetFormalCharge()),
        ogb_index([*range(9), "misc"], atom.GetTotalNumHs()),
        ogb_index([*range(5), "misc"], atom.GetNumRadicalElectrons()),
        ogb_index(["SP", "SP2", "SP3", "SP3D", "SP3D2", "misc"], str(atom.GetHybridization())),
        int(atom.GetIsAromatic()),
        int(atom.IsInRing()),
    ]


def plain_bond(bond: Chem.Bond) -> list[int]:
    stereo = ["STEREONONE", "STEREOZ", "STEREOE", "STEREOCIS", "STEREOTRANS", "STEREOANY"]
    return [
        ogb_index(["SINGLE", "DOUBLE", "TRIPLE", "AROMATIC", "misc"], str(bond.GetBondType())),
        stereo.index(str(bond.GetStereo())),
        int(bond.GetIsConjugated()),
    ]


@pytest.mark.parametrize("smiles", [*MOLECULES, "C1CC2CCC1CC2c1cc2ccccc2[nH]1", "O=[Cl](=O)(=O)O"])
def test_valence_and_rings_follow_the_other_features(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    rings = [set(ring) for ring in mol.GetRingInfo().AtomRings()]
    for atom, row in zip(mol.GetAtoms(), atom_features(mol)[:, PARITY + 1 :].tolist()):
        sizes = [len(ring) for ring in rings if atom.GetIdx() in ring]
        around = [min(sizes, default=0), max(sizes, default=0), len(sizes)]
        assert row == [atom.GetTotalValence(), *around]
    feats = bond_features(mol)[1]
    for bond, row in zip(mol.GetBonds(), feats.tolist()):
        ends = {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()}
        assert row[3] == any(ends <= ring for ring in rings)


@pytest.mark.parametrize("smiles", MOLECULES)
def test_features_are_those_of_ogb(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    assert atom_features(mol)[:, :PARITY].tolist() == [plain_atom(atom) for atom in mol.GetAtoms()]
    ends, feats = bond_features(mol)
    assert feats[:, :3].tolist() == [plain_bond(bond) for bond in mol.GetBonds()]
    assert (ends[:, 0] < ends[:, 1]).all()


@pytest.mark.parametrize("smiles", MOLECULES)
def test_arrays_follow_the_order_of_addhs(smiles: str) -> None:
    arrays = molecule_arrays(smiles)
    full = Chem.AddHs(Chem.MolFromSmiles(smiles))
    n_heavy = arrays["n_heavy"]
    n_atoms = full.GetNumAtoms()
    n_bonds = full.GetNumBonds()
    assert arrays["numbers"].tolist() == [atom.GetAtomicNum() for atom in full.GetAtoms()]
    owners = [
        atom.GetNeighbors()[0].GetIdx() for atom in full.GetAtoms() if atom.GetIdx() >= n_heavy
    ]
    assert arrays["parent"].tolist() == [*range(n_heavy), *owners]
    assert arrays["atom_feats"].shape == (n_atoms, len(ATOM_FEATURE_SIZES))
    assert arrays["bonds"].shape == (n_bonds, 2) and arrays["bond_feats"].shape == (n_bonds, 4)
    joined = {tuple(sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx()))) for b in full.GetBonds()}
    assert {tuple(pair) for pair in arrays["bonds"].tolist()} == joined
    assert (arrays["bonds"][: arrays["n_heavy_bonds"]] < n_heavy).all()
    assert arrays["bonds"][arrays["n_heavy_bonds"] :, 1].tolist() == list(range(n_heavy, n_atoms))


@pytest.mark.parametrize("smiles", MOLECULES)
def test_hydrogens_are_described_as_rdkit_describes_them(smiles: str) -> None:
    arrays = molecule_arrays(smiles)
    full = Chem.AddHs(Chem.MolFromSmiles(smiles))
    Chem.SanitizeMol(full)
    hydrogens = atom_features(full)[arrays["n_heavy"] :]
    unset = ATOM_FEATURES.index("hybridisation")  # S in RDKit, which OGB's list does not hold
    assert np.array_equal(
        np.delete(arrays["atom_feats"][arrays["n_heavy"] :], unset, 1),
        np.delete(hydrogens, unset, 1),
    )


def test_every_value_lies_in_its_list() -> None:
    for smiles in (*MOLECULES, *CHIRAL, "F[P-](F)(F)(F)(F)F", "[U]", "[Fe+6]", "C->[Fe]"):
        mol = Chem.MolFromSmiles(smiles)
        atoms = atom_features(mol)
        _, bonds = bond_features(mol)
        assert (atoms < ATOM_FEATURE_SIZES).all() and (bonds < BOND_FEATURE_SIZES).all()


def test_values_newer_than_ogb_go_to_misc() -> None:
    mol = Chem.MolFromSmiles("CC(F)(Cl)C=CC")
    for tag in (Chem.ChiralType.CHI_TETRAHEDRAL, Chem.ChiralType.CHI_ALLENE):
        mol.GetAtomWithIdx(1).SetChiralTag(tag)
        assert atom_features(mol)[1, 0] == 6
    mol.GetBondWithIdx(3).SetStereo(Chem.BondStereo.STEREOATROPCW)
    assert bond_features(mol)[1][3, 1] == 0


@pytest.mark.parametrize("smiles", CHIRAL)
def test_parity_does_not_depend_on_the_order_of_atoms(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    parity = atom_features(mol)[:, PARITY]
    assert parity.any()
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(mol.GetNumAtoms())
        again = Chem.RenumberAtoms(mol, [int(i) for i in order])
        assert np.array_equal(atom_features(again)[:, PARITY], parity[order])
        other = Chem.MolFromSmiles(Chem.MolToSmiles(again, canonical=False))
        written = [int(i) for i in again.GetProp("_smilesAtomOutputOrder").strip("[],").split(",")]
        assert np.array_equal(atom_features(other)[:, PARITY], parity[order][written])


@pytest.mark.parametrize("smiles", [*MOLECULES, "C[C@H]1CC[C@@H](C)C[C@H]1O", "C1CC2CCC1CC2"])
def test_features_of_a_renumbered_molecule_are_its_rows_in_that_order(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    order = np.random.default_rng(0).permutation(mol.GetNumAtoms())
    again = Chem.RenumberAtoms(mol, order.tolist())
    # the tag itself is of the atoms as listed
    columns = [i for i, name in enumerate(ATOM_FEATURES) if name != "chirality"]
    np.testing.assert_array_equal(
        atom_features(again)[:, columns], atom_features(mol)[order][:, columns]
    )


@pytest.mark.parametrize("smiles", CHIRAL)
def test_enantiomers_differ_only_in_chirality(smiles: str) -> None:
    mol = Chem.MolFromSmiles(standardize(parse_smiles(smiles)).smiles)
    image = Chem.MolFromSmiles(mirror(Chem.MolToSmiles(mol)))
    match = list(image.GetSubstructMatch(mol, useChirality=False))
    feats = atom_features(mol)
    image_feats = atom_features(image)[match]
    assert np.array_equal(feats[:, 1:PARITY], image_feats[:, 1:PARITY])
    parity = feats[:, PARITY]
    image_parity = image_feats[:, PARITY]
    handed = parity > 0
    assert handed.any()
    assert (parity[handed] + image_parity[handed] == 3).all(), "1 and 2 change places"
    assert not image_parity[~handed].any()


def test_a_centre_with_neighbours_that_tie_has_no_parity() -> None:
    mol = Chem.MolFromSmiles("CC(C)(F)Cl")
    mol.GetAtomWithIdx(1).SetChiralTag(Chem.ChiralType.CHI_TETRAHEDRAL_CW)
    assert not atom_features(mol)[:, PARITY].any()
