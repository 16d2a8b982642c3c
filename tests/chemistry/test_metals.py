"""Metals: counter-ions go, complexes and salts in which the metal matters are no molecules."""

from __future__ import annotations

import pytest

Chem = pytest.importorskip("rdkit.Chem")
from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.metals import METALS
from molnb.chemistry.parsing import parse_smiles
from molnb.chemistry.standardization import standardize

REASON = "organometallic or metal complex"

# Each compound in one or more spellings: ions side by side, covalent, dative, charges or none.
REFUSED = [
    ("Fe", "[CH-]1C=CC=C1.[CH-]1C=CC=C1.[Fe+2]"),  # ferrocene
    ("Fe", "[Fe].c1ccc[cH-]1.c1ccc[cH-]1"),
    ("Fe", "[cH-]1cccc1->[Fe+2]<-[cH-]1cccc1"),
    ("Mn", "[Mn].C[c-]1cccc1.[C-]#[O+].[C-]#[O+].[C-]#[O+]"),
    ("Cu", "[Cu++].[O-]c1ccccc1N=Cc2c([O-])ccc3ccccc23"),
    ("Cu", "[Cu]1Oc2ccccc2N=Cc2c(O1)ccc1ccccc21"),
    ("Co", "N[Co-4](N)(N)(N)(N)[NH+]1N=NC(C(=O)[O-])=N1.[Cl-]"),
    ("Pt", "N[Pt](N)(Cl)Cl"),  # cisplatin
    ("Pt", "[NH3+][Pt-2]([NH3+])(Cl)Cl"),
    ("Pt", "N.N.Cl[Pt]Cl"),
    ("Pt", "[NH3]->[Pt](Cl)(Cl)<-[NH3]"),
    ("Ru", "Cl[Ru]Cl.CC(C)c1ccc(C)cc1"),
    ("Gd", "[Gd+3].OC(=O)CN(CCN(CC(=O)[O-])CC(=O)[O-])CCN(CC([O-])=O)CC(O)=O"),
    ("Zn", "CC[Zn]CC"),
    ("Zn", "CCCC(=O)[O-].CCCC(=O)[O-].[Zn+2]"),
    ("Cd", "CCCC(=O)O[Cd]OC(=O)CCCC"),
    ("Ag", "[Ag+].Nc1ccc(S(=O)(=O)[N-]c2ncccn2)cc1"),  # silver sulfadiazine
    ("Au", "CCP(CC)(CC)=[Au]S[C@@H]1O[C@H](CO)[C@@H](O)[C@H](O)[C@H]1O"),  # an auranofin
    ("Ti", "[Ti](Cl)(Cl)(C1C=CC=C1)C1C=CC=C1"),
    ("Al", "[Al+3].[O-]C(=O)c1ccccc1O.[O-]C(=O)c1ccccc1O.[O-]C(=O)c1ccccc1O"),
    ("Sn", "[SnH2+2]"),
    ("Sn", "Cl[Sn](Cl)(Cl)Cl"),
    ("Sn", "CCCC[Sn](CCCC)(CCCC)OC(C)=O"),
    ("Sn", "CCCC[Sn+](CCCC)CCCC.CC(=O)[O-]"),
    ("Hg", "CC(=O)O[Hg]c1ccccc1"),
    ("Hg", "[Hg+]c1ccccc1.CC(=O)[O-]"),
    ("Pb", "CC(=O)[O-].CC(=O)[O-].[Pb+2]"),
    ("Bi", "O=C1O[Bi](O)Oc2ccccc12"),  # bismuth subsalicylate
    ("Tl", "CC(=O)O[Tl]"),
    ("Mg", "C1CO[Mg]2OCCN12"),  # three bonds: a chelate, as chlorophyll is
]


@pytest.mark.parametrize(("symbol", "smiles"), REFUSED)
def test_a_complex_is_no_molecule_of_its_ligands_however_it_is_drawn(
    symbol: str, smiles: str
) -> None:
    with pytest.raises(MoleculeError) as failure:
        standardize(parse_smiles(smiles))
    assert (failure.value.step, failure.value.reason) == ("standardise", REASON)
    assert failure.value.detail.startswith(symbol + " ")
    assert "structure.metals: remove" in failure.value.detail


@pytest.mark.parametrize(
    ("smiles", "parent", "removed"),
    [
        ("[Na+].[O-]C(=O)CCCCc1ccccc1", "OC(=O)CCCCc1ccccc1", ("[Na+]",)),
        ("[Na]OC(=O)CCCCc1ccccc1", "OC(=O)CCCCc1ccccc1", ("[Na+]",)),
        ("[K+].[S-]c1nc2ccccc2s1", "Sc1nc2ccccc2s1", ("[K+]",)),
        ("[Li+].O=C([O-])c1cccc(Cl)c1", "OC(=O)c1cccc(Cl)c1", ("[Li+]",)),
        ("[Cs+].CCCCS(=O)(=O)[O-]", "CCCCS(=O)(=O)O", ("[Cs+]",)),
        (
            "[Ca+2].CC(C)c1ccccc1C(=O)[O-].CC(C)c1ccccc1C(=O)[O-]",
            "CC(C)c1ccccc1C(=O)O",
            ("[Ca+2]", "CC(C)c1ccccc1C(=O)O"),
        ),
        ("[Mg+2].[O-]c1ccccc1C(=O)OC.[Cl-]", "COC(=O)c1ccccc1O", ("Cl", "[Mg+2]")),
        (
            "[Ba+2].CCCCCCCCc1ccc([O-])cc1.CCCCCCCCc1ccc([O-])cc1",
            "CCCCCCCCc1ccc(O)cc1",
            ("[Ba+2]", "CCCCCCCCc1ccc(O)cc1"),
        ),
        ("[Sr+2].[O-]C(=O)c1cccs1.[O-]C(=O)c1cccs1", "OC(=O)c1cccs1", ("[Sr+2]", "OC(=O)c1cccs1")),
        ("[Na].CC(C)(C)c1ccccc1C(=O)O", "CC(C)(C)c1ccccc1C(=O)O", ("[Na]",)),
    ],
)
def test_alkali_and_alkaline_earth_ions_are_counter_ions(
    smiles: str, parent: str, removed: tuple[str, ...]
) -> None:
    molecule = standardize(parse_smiles(smiles))
    assert molecule.smiles == Chem.CanonSmiles(parent)
    assert sorted(molecule.removed) == sorted(Chem.CanonSmiles(text) for text in removed)


@pytest.mark.parametrize(
    "smiles",
    [
        "CC[Sn](CC)(CC)CC",
        "CCCC[Sn](Cl)(CCCC)CCCC",
        "Cl[Hg]c1ccccc1",
        "C[Hg]C",
        "CC[Hg]Sc1ccccc1C(=O)O",
        "CC[Pb](CC)(CC)CC",
        "c1ccc([Bi](c2ccccc2)c2ccccc2)cc1",
        "C[Al](C)C",
        # no metals
        "C[Si](C)(C)Cl",
        "CC[Ge](CC)(CC)CC",
        "OB(O)c1ccccc1",
        "C[As](C)(=O)O",
        "c1ccc([Sb](c2ccccc2)c2ccccc2)cc1",
        "C[Se]CCC(N)C(=O)O",
        "c1ccc([Te]c2ccccc2)cc1",
    ],
)
def test_what_carbon_binds_in_one_covalent_molecule_stays(smiles: str) -> None:
    molecule = standardize(parse_smiles(smiles))
    assert (molecule.smiles, molecule.removed, molecule.charge) == (
        Chem.CanonSmiles(smiles),
        (),
        0,
    )


@pytest.mark.parametrize(
    ("smiles", "parent", "removed"),
    [
        ("[CH-]1C=CC=C1.[CH-]1C=CC=C1.[Fe+2]", "C1=CCC=C1", ("C1=CCC=C1", "[Fe+2]")),
        ("CCCC(=O)[O-].CCCC(=O)[O-].[Zn+2]", "CCCC(=O)O", ("CCCC(=O)O", "[Zn+2]")),
        ("[Cu+2].[O-]c1ccccc1N=Cc1ccccc1[O-]", "Oc1ccccc1N=Cc1ccccc1O", ("[Cu+2]",)),
        ("CC(=O)O[Hg]c1ccccc1", "[Hg+]c1ccccc1", ("CC(=O)O",)),
    ],
)
def test_a_recipe_may_have_the_metal_removed(
    smiles: str, parent: str, removed: tuple[str, ...]
) -> None:
    molecule = standardize(parse_smiles(smiles), metals="remove")
    assert (molecule.smiles, molecule.removed) == (Chem.CanonSmiles(parent), removed)


def test_the_metals_are_ninety_elements_and_no_metalloid_is_among_them() -> None:
    symbols = {Chem.GetPeriodicTable().GetElementSymbol(number) for number in METALS}
    assert symbols.isdisjoint("H B C N O F Si P S Cl Ge As Se Br Sb Te I He Ne Ar Kr Xe".split())
    assert {"Li", "Mg", "Al", "Sc", "Zn", "La", "Lu", "Hg", "Pb", "Bi", "U", "Cd"} < symbols
