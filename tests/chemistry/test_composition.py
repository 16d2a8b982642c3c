"""Standardisation moves protons, and neither makes nor loses an atom, a hydrogen or a charge."""

from __future__ import annotations

from collections import Counter

import pytest

Chem = pytest.importorskip("rdkit.Chem")
from spellings import nci_smiles, respelled

from molnb.chemistry import standardization
from molnb.chemistry.composition import as_formula, composition_of
from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.metals import METALS
from molnb.chemistry.parsing import parse_smiles, with_explicit_hydrogens
from molnb.chemistry.standardization import standardize


def slow_composition(smiles: list[str]) -> Counter:
    """The same account, atom by atom."""
    counts: Counter = Counter()
    for text in smiles:
        for atom in Chem.MolFromSmiles(text, with_explicit_hydrogens()).GetAtoms():
            counts[atom.GetSymbol()] += 1
            counts["H"] += atom.GetTotalNumHs() - atom.GetFormalCharge()
    return counts


# Mesoionic rings, in which no formula without charges has place for all atoms: kept as they are.
MESOIONIC = [
    ("CCOC(=O)[N-]c1c[n+](N2CCOCC2)no1", 14),  # molsidomine
    ("[O-]c1on[n+]2c1c(Nc1ccc(Cl)cc1)nc1ccccc12", 9),
    ("C[n+]1cc([O-])on1", 4),  # 3-methylsydnone
    ("c1ccc(-[n+]2cc([O-])on2)cc1", 6),  # 3-phenylsydnone
    ("C[n+]1c(C)c([O-])on1", 6),
    ("[O-]c1c[n+](N2CCOCC2)no1", 9),  # linsidomine's ring
    ("[O-]c1c[n+](-c2ccccc2)cs1", 7),
    ("Cn1c([O-])c(C(=O)Nc2ccccc2)[n+](C)n1", 12),
    ("O=C(Nc1ccccc1)c1c([O-])n(-c2ccccc2)n[n+]1Cc1ccccc1", 18),
    ("CC(Cc1ccccc1)[n+]1cc([N-]C(=O)Nc2ccccc2)on1", 18),  # sydnocarb
    ("C[n+]1c([S-])n(C)nc1-c1ccccc1", 11),
    ("C[n+]1n(-c2ccccc2)c([S-])nn1", 8),
    ("Cn1[n+](-c2ccccc2)nc([S-])n1", 8),
    ("c1ccc(-c2n[n+](-c3ccccc3)nn2-c2ccccc2)cc1.[Cl-]", 15),
]


@pytest.mark.parametrize(("smiles", "n_hydrogen"), MESOIONIC)
def test_a_mesoionic_ring_keeps_its_hydrogens(smiles: str, n_hydrogen: int) -> None:
    molecule = standardize(parse_smiles(smiles))
    made_of = slow_composition([molecule.smiles, *molecule.removed])
    assert made_of == slow_composition([smiles])
    hydrogens = sum(atom.GetTotalNumHs() for atom in molecule.mol.GetAtoms())
    assert hydrogens - Chem.GetFormalCharge(molecule.mol) + len(molecule.removed) == n_hydrogen
    rings = Chem.GetSymmSSSR(Chem.MolFromSmiles(smiles))
    assert len(Chem.GetSymmSSSR(molecule.mol)) == len(rings)
    for spelling in respelled(smiles, 5):
        assert standardize(parse_smiles(spelling)).smiles == molecule.smiles


@pytest.mark.parametrize("smiles", [smiles for smiles, _ in MESOIONIC[:6]])
def test_a_mesoionic_ring_stays_aromatic_and_charged(smiles: str) -> None:
    assert standardize(parse_smiles(smiles)).smiles == Chem.CanonSmiles(smiles)


@pytest.mark.parametrize(
    ("smiles", "parent", "removed"),
    [
        # a chlorine without a charge is no chloride, and the base stays free
        ("[Cl].CC(C)NCC(O)COc1cccc2ccccc12", "CC(C)NCC(O)COc1cccc2ccccc12", ("[Cl]",)),
        ("[Br].CCCCc1ccncc1", "CCCCc1ccncc1", ("[Br]",)),
        # a hydride taken from a borohydride would be a hydrogen less
        ("[BH4-].CCCC[N+](C)(C)Cc1ccccc1", "CCCC[N+](C)(C)Cc1ccccc1", ("[BH4-]",)),
        ("[H-].CCCC[N+](C)(C)Cc1ccccc1", "CCCC[N+](C)(C)Cc1ccccc1", ("[HH]",)),
        # hydrogen chloride as ions
        ("[H+].[Cl-].CNCc1ccccc1", "CNCc1ccccc1", ("Cl", "[H+]")),
        # no acid of it can be written
        (
            "F[P-](F)(F)(F)(F)F.CCCC[N+](C)(C)Cc1ccccc1",
            "CCCC[N+](C)(C)Cc1ccccc1",
            ("F[P-](F)(F)(F)(F)F",),
        ),
        # protons move between fragments, and within one
        ("C[NH2+]Cc1ccccc1.CC(=O)[O-]", "CNCc1ccccc1", ("CC(=O)O",)),
        ("[NH3+]CCc1ccc([O-])cc1", "NCCc1ccc(O)cc1", ()),
        # radicals, carbenes and ylides are what they are
        ("CC(C)(C)N([O])c1ccccc1", "CC(C)(C)N([O])c1ccccc1", ()),
        ("[CH2]Cc1ccccc1", "[CH2]Cc1ccccc1", ()),
        ("C[S+]([CH2-])(C)=O", "[CH2-][S+](C)(C)=O", ()),
        ("CN(C)(C)->B", "B<-N(C)(C)C", ()),
    ],
)
def test_what_is_removed_and_what_stays_make_up_the_input(
    smiles: str, parent: str, removed: tuple[str, ...]
) -> None:
    molecule = standardize(parse_smiles(smiles))
    assert (molecule.smiles, molecule.removed) == (Chem.CanonSmiles(parent), removed)
    assert slow_composition([parent, *removed]) == slow_composition([smiles])


def test_no_molecule_of_nci_without_a_metal_gains_or_loses_anything() -> None:
    n_kept = 0
    for smiles in nci_smiles(400):
        try:
            mol = parse_smiles(smiles)
            molecule = standardize(mol)
        except MoleculeError:
            continue
        if METALS.isdisjoint(atom.GetAtomicNum() for atom in mol.GetAtoms()):
            made_of = slow_composition([molecule.smiles, *molecule.removed])
            assert made_of == slow_composition([smiles]), smiles
            n_kept += 1
    assert n_kept > 350


def test_a_step_that_would_change_the_molecule_and_cannot_be_left_out_drops_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_hydrogens = standardization.without_hydrogens

    def reduced(mol: Chem.Mol) -> Chem.Mol:
        edited = Chem.RWMol(without_hydrogens(mol))
        edited.GetBondWithIdx(0).SetBondType(Chem.BondType.SINGLE)
        Chem.SanitizeMol(edited)
        return edited.GetMol()

    mol = parse_smiles("C=CO")
    monkeypatch.setattr(standardization, "without_hydrogens", reduced)
    monkeypatch.setattr(standardization, "clear_labels", lambda mol: (mol, 0))
    with pytest.raises(MoleculeError) as failure:
        standardize(mol)
    assert failure.value.reason == "standardisation would change the molecule"
    assert failure.value.detail.startswith("C2 H4 O1 would become C2 H6 O1")


@pytest.mark.parametrize(
    ("smiles", "formula"),
    [
        ("CCO", "C2 H6 O1"),
        ("CC(=O)[O-]", "C2 H4 O2"),
        ("C[NH3+]", "C1 H5 N1"),
        ("[H+]", ""),
        ("[H-]", "H2"),
        ("[O-]S(=O)(=O)[O-]", "H2 O4 S1"),
        ("[2H]C", "C1 H4"),
        ("[NH4+].[Cl-]", "Cl1 H4 N1"),
    ],
)
def test_the_account_counts_hydrogens_minus_charge(smiles: str, formula: str) -> None:
    mol = Chem.MolFromSmiles(smiles, with_explicit_hydrogens())
    assert as_formula(composition_of(mol)) == formula
    assert composition_of(mol) == slow_composition([smiles])
