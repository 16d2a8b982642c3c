"""Standard molecules: any spelling gives one, and what has none says why."""

from __future__ import annotations

import pytest

Chem = pytest.importorskip("rdkit.Chem")
from spellings import CHIRAL, nci_smiles, respelled, standardized

from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.parsing import parse_smiles
from molnb.chemistry.standardization import standardize


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("[H][H]", "no heavy atoms"),
        ("*CC", "dummy atom"),
        ("[Na+].[Cl-]", "no parent fragment"),
        ("CCCCCCCCCCCCc1ccccc1.CCCCCCc1ccccc1", "two organic parents"),
        ("C[C@H](N)CCO.C[C@@H](N)CCO", "two organic parents"),
        ("C" * 65, "over the size limit"),
        ("C" * 2000, "over the size limit"),
    ],
)
def test_what_has_no_single_parent_fails_in_standardise(smiles: str, reason: str) -> None:
    with pytest.raises(MoleculeError) as failure:
        standardize(parse_smiles(smiles))
    assert (failure.value.step, failure.value.reason) == ("standardise", reason)


def test_the_size_limit_is_named_with_the_size() -> None:
    with pytest.raises(MoleculeError, match="65 heavy atoms, limit 64"):
        standardize(parse_smiles("C" * 65))
    assert standardize(parse_smiles("C" * 65), max_heavy_atoms=65).mol.GetNumAtoms() == 65


@pytest.mark.parametrize(
    ("smiles", "parent", "n_removed"),
    [
        # a counter-ion alone is the molecule, an organic counter-ion is not
        ("[Na+].CC(=O)[O-]", "CC(=O)O", 1),
        ("CC(=O)[O-].C[NH2+]Cc1ccccc1", "CNCc1ccccc1", 1),
        # a picrate
        (
            "Oc1c([N+](=O)[O-])cc([N+](=O)[O-])cc1[N+](=O)[O-].c1ccc2ncccc2c1",
            "c1ccc2ncccc2c1",
            1,
        ),
        ("OC(=O)/C=C\\C(=O)O.CNCc1ccccc1.O", "CNCc1ccccc1", 2),
        # carbonic acid counts as inorganic
        ("NC(N)=N.OC(O)=O", "N=C(N)N", 1),
        # a solvent
        ("CN(C)C=O.CCCCc1ccccc1", "CCCCc1ccccc1", 1),
        # identical copies are one molecule
        ("CCCCc1ccccc1.CCCCc1ccccc1.Cl", "CCCCc1ccccc1", 2),
        # a metal drawn as bound
        ("[Na]OC(=O)CCCCc1ccccc1", "O=C(O)CCCCc1ccccc1", 1),
        # no proton neutralises this
        ("CC(=O)[O-].C[N+](C)(C)Cc1ccccc1", "C[N+](C)(C)Cc1ccccc1", 1),
        # a betaine stays zwitterionic
        ("C[N+](C)(C)CC(=O)[O-]", "C[N+](C)(C)CC(=O)[O-]", 0),
        ("[NH3+][C@@H](C)C(=O)[O-]", "C[C@H](N)C(=O)O", 0),
        ("CN(=O)=O", "C[N+](=O)[O-]", 0),
        ("C[S+]([O-])CC", "CCS(C)=O", 0),
        # written with the imine's hydrogen
        ("[H]/N=C(\\N)c1ccccc1", "N=C(N)c1ccccc1", 0),
        ("[13CH3][CH2:7]O", "CCO", 0),
        ("O", "O", 0),
    ],
)
def test_the_neutral_parent(smiles: str, parent: str, n_removed: int) -> None:
    molecule = standardize(parse_smiles(smiles))
    assert (molecule.smiles, len(molecule.removed)) == (parent, n_removed)


def test_isotopes_are_cleared_and_counted_and_the_charge_is_kept() -> None:
    heavy = standardize(parse_smiles("[2H]C([2H])([13CH3])O"))
    assert (heavy.smiles, heavy.cleared_isotopes) == ("CCO", 3)
    assert standardize(parse_smiles("[Cl-].C[N+](C)(C)Cc1ccccc1")).charge == 1


def test_the_order_leads_back_to_the_atoms_of_the_input() -> None:
    fluoroacetate = standardize(parse_smiles("[Na+].[O-]C(=O)CF"))
    assert (fluoroacetate.smiles, fluoroacetate.order.tolist()) == ("O=C(O)CF", [3, 2, 1, 4, 5])
    special = ["CS(C)=O", "[NH2+]=C1c2ccccc2CN1CC(=O)c1ccccc1", "[H]C([H])(O)N(=O)=O"]
    for smiles in [*nci_smiles(150), *special]:
        try:
            mol = parse_smiles(smiles)
            molecule = standardize(mol)
        except MoleculeError:
            continue
        order = molecule.order.tolist()
        assert len(set(order)) == len(order)
        numbers = [mol.GetAtomWithIdx(i).GetAtomicNum() for i in order]
        assert numbers == [atom.GetAtomicNum() for atom in molecule.mol.GetAtoms()]
        for bond in molecule.mol.GetBonds():
            i = order[bond.GetBeginAtomIdx()]
            j = order[bond.GetEndAtomIdx()]
            assert mol.GetBondBetweenAtoms(i, j) is not None


def test_the_smiles_is_a_fixed_point_and_standardising_twice_changes_nothing() -> None:
    molecules = standardized(nci_smiles(200))
    assert len(molecules) > 150
    for molecule in molecules:
        smiles = molecule.smiles
        assert Chem.MolToSmiles(Chem.MolFromSmiles(smiles)) == smiles
        assert standardize(parse_smiles(smiles)).smiles == smiles


def test_any_spelling_is_the_same_molecule() -> None:
    for molecule in standardized([*nci_smiles(60), *CHIRAL]):
        for spelling in respelled(molecule.smiles, 5):
            assert standardize(parse_smiles(spelling)).smiles == molecule.smiles


@pytest.mark.parametrize(
    "mixture",
    [
        "CNCc1ccccc1.Cl.Cl",
        "[Na+].[O-]C(=O)c1cccc(Br)c1.O",
        "CCNCc1ccccc1.CCNCc1ccccc1.OS(=O)(=O)O",
        "N[C@@H](CC(=O)O)C(=O)O.C[C@H](NC)c1ccccc1",
        "[Cl].CC(C)NCC(O)COc1cccc2ccccc12",
        "[Ca+2].CC(C)c1ccccc1C(=O)[O-].CC(C)c1ccccc1C(=O)[O-].CO",
        "[BH4-].CCCC[N+](C)(C)Cc1ccccc1",
        "O=C([O-])[C@H](O)[C@@H](O)C(=O)O.CC[NH2+]Cc1ccccc1",
        "F[P-](F)(F)(F)(F)F.CCCC[N+](C)(C)Cc1ccccc1.C1CCOC1",
        "CCOC(=O)[N-]c1c[n+](N2CCOCC2)no1.Cl",
    ],
)
def test_any_spelling_of_a_mixture_has_the_same_parent_and_the_same_rest(mixture: str) -> None:
    molecule = standardize(parse_smiles(mixture))
    assert len(molecule.removed) == mixture.count(".")
    for spelling in respelled(mixture, 5):
        turned = ".".join(reversed(spelling.split(".")))
        for text in (spelling, turned):
            again = standardize(parse_smiles(text))
            assert (again.smiles, again.removed) == (molecule.smiles, molecule.removed)


def test_a_label_that_is_cleared_takes_its_stereo_group_along() -> None:
    chiral_by_deuterium = standardize(parse_smiles("C[C@H]([2H])O |&1:1|"))
    assert (chiral_by_deuterium.smiles, chiral_by_deuterium.stereo_groups) == ("CCO", "")
    assert chiral_by_deuterium.cleared_isotopes == 1
    mapped = standardize(parse_smiles("[CH3:1][C@H:2]([NH2:3])c1ccccc1 |&1:1|"))
    assert (mapped.smiles, mapped.stereo_groups) == ("C[C@H](N)c1ccccc1", "&1:1")
