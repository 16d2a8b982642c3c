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
        ("[Na]Sc1nc2ccccc2s1", "Sc1nc2ccccc2s1", ("[Na+]",)),
        ("CCN(CC)C(=S)S[Na]", "CCN(CC)C(=S)S", ("[Na+]",)),
        ("CCCCC(=O)S[K]", "CCCCC(=O)S", ("[K+]",)),
        ("[Li][Se]c1ccccc1", "[SeH]c1ccccc1", ("[Li+]",)),
        ("[K]P(c1ccccc1)c1ccccc1", "c1ccc(Pc2ccccc2)cc1", ("[K+]",)),
        ("Cl[Ca]Cl.NCCCc1ccccc1", "NCCCc1ccccc1", ("Cl", "Cl", "[Ca+2]")),
        ("Br[Mg]Br.CC(N)c1ccccc1F", "CC(N)c1ccccc1F", ("Br", "Br", "[Mg+2]")),
        ("[Na]I.CCCCOc1ccccc1", "CCCCOc1ccccc1", ("I", "[Na+]")),
        ("COP(=S)(OC)S[Na]", "COP(=S)(OC)S", ("[Na+]",)),
        ("[Li]Cl.CCCCCCN", "CCCCCCN", ("Cl", "[Li+]")),
    ],
)
def test_alkali_and_alkaline_earth_ions_are_counter_ions(
    smiles: str, parent: str, removed: tuple[str, ...]
) -> None:
    molecule = standardize(parse_smiles(smiles))
    assert molecule.smiles == Chem.CanonSmiles(parent)
    assert sorted(molecule.removed) == sorted(Chem.CanonSmiles(text) for text in removed)


@pytest.mark.parametrize(
    ("symbol", "smiles"),
    [
        ("Li", "CCCC[Li]"),
        ("Li", "[Li+].CCC[CH2-]"),
        ("Mg", "CC[Mg]Br"),
        ("Mg", "[Mg+2].[Br-].[CH2-]C"),
        ("Mg", "[Mg+]c1ccccc1.[Cl-]"),
        ("Mg", "C=C[Mg]C=C"),
        ("Na", "[CH-]1C=CC=C1.[Na+]"),
        ("K", "[K+].c1cc[cH-]c1"),
        ("Na", "[Na+].[C-]#C"),
        ("Li", "[Li+].[CH-]1SCCCS1"),
        ("Na", "c1ccc([C-](c2ccccc2)c2ccccc2)cc1.[Na+]"),
        ("Ca", "[CH2-]c1ccccc1.[CH2-]c1ccccc1.[Ca+2]"),
    ],
)
def test_what_carbon_and_an_alkali_metal_make_is_no_hydrocarbon_however_it_is_drawn(
    symbol: str, smiles: str
) -> None:
    with pytest.raises(MoleculeError) as failure:
        standardize(parse_smiles(smiles))
    assert failure.value.reason == REASON
    assert failure.value.detail.startswith(symbol + " ")


@pytest.mark.parametrize(
    ("smiles", "parent"),
    [
        ("[Na+].CC(=O)[CH-]C(C)=O", "CC(=O)CC(C)=O"),
        ("[K+].N#C[CH-]C#N", "N#CCC#N"),
        ("[Na+].[CH2-]C(=O)C(C)(C)C", "CC(=O)C(C)(C)C"),
        ("[Na+].CCOC(=O)[CH-]C#N", "CCOC(=O)CC#N"),
        ("[Li+].[C-]#N.CCCCN", "CCCCN"),
        ("[Na+].[O-]C(=O)Cc1ccccc1[N+]#[C-]", "[C-]#[N+]c1ccccc1CC(=O)O"),
        ("[K+].[O-]C(=O)CC=P(C)(C)C", "CP(C)(C)=CCC(=O)O"),
        ("[Na+].CS(=O)(=O)[CH-]C(=O)c1ccccc1", "CS(=O)(=O)CC(=O)c1ccccc1"),
        ("[Na+].[CH2-]S(C)=O", "CS(C)=O"),
        ("[Na+].O=C1[CH-]C(=O)c2ccccc12", "O=C1CC(=O)c2ccccc21"),
    ],
)
def test_the_salt_of_an_acid_drawn_with_its_charge_on_carbon_is_that_acid(
    smiles: str, parent: str
) -> None:
    assert standardize(parse_smiles(smiles)).smiles == Chem.CanonSmiles(parent)


@pytest.mark.parametrize(
    ("symbol", "smiles"),
    [
        ("Sb", "O=C([O-])C(O)C(O)C(=O)[O-].[K+].[Sb+3]"),  # tartar emetic
        ("Sb", "CNCC(O)C(O)C(O)C(O)CO.O[Sb](=O)=O"),  # meglumine antimoniate
        ("Sb", "OCC(O)C(O)C(O)C(O)C(=O)[O-].[Na+].[Sb+5].[OH-].[OH-]"),
        ("Sb", "Cl[Sb](Cl)Cl.c1ccccc1N"),
        ("As", "O=[As]O[As]=O.CC(=O)c1ccccc1"),
        ("As", "CCN(CC)CC.O[As](O)(=O)O"),
        ("As", "[As+3].[O-]C(=O)c1ccccc1O"),
        ("Se", "O=[Se](O)O.NCCc1ccccc1"),
        ("Se", "[Se-2].[NH3+]CCc1ccccc1.[NH3+]CCc1ccccc1"),
        ("Te", "Cl[Te-](Cl)(Cl)OCCO.CC[NH3+].[Te+4]"),
        ("Ge", "O=[Ge]O[Ge]=O.OC(=O)CCc1ccccc1"),
    ],
)
def test_a_metalloid_in_a_fragment_of_its_own_is_no_counter_ion(symbol: str, smiles: str) -> None:
    with pytest.raises(MoleculeError) as failure:
        standardize(parse_smiles(smiles))
    assert failure.value.reason == REASON
    assert failure.value.detail.startswith(symbol + " stands in a fragment without carbon")
    assert standardize(parse_smiles(smiles), metals="remove").removed


@pytest.mark.parametrize(
    "anion", ["F[Sb-](F)(F)(F)(F)F", "F[As-](F)(F)(F)(F)F", "Cl[Sb-](Cl)(Cl)(Cl)(Cl)Cl"]
)
def test_a_hexahalide_of_a_metalloid_is_a_counter_ion(anion: str) -> None:
    molecule = standardize(parse_smiles(f"C[n+]1ccccc1CCO.{anion}"))
    assert (molecule.smiles, molecule.removed) == (
        Chem.CanonSmiles("C[n+]1ccccc1CCO"),
        (Chem.CanonSmiles(anion),),
    )


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
