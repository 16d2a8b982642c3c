"""Every fragment that is removed is stored, and its kind is one of five."""

from __future__ import annotations

import pytest

Chem = pytest.importorskip("rdkit.Chem")
from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.fragments import removed_kinds
from molnb.chemistry.parsing import parse_smiles
from molnb.chemistry.salts import COUNTER_IONS, INORGANIC_CARBON, INORGANIC_IONS, SOLVENTS
from molnb.chemistry.standardization import standardize

BASE = "CNCc1ccc(OCCCC2CCCCC2)cc1"  # in no list
ACID = "OC(=O)CCc1ccc(OCCC2CCCCC2)cc1"


def kinds_of(smiles: str) -> list[str]:
    """The kinds of what is removed from a structure."""
    molecule = standardize(parse_smiles(smiles))
    return sorted(removed_kinds(molecule.smiles, ".".join(molecule.removed)))


@pytest.mark.parametrize(
    "acid",
    [
        "N[C@@H](CC(=O)O)C(=O)O",  # aspartic
        "N[C@@H](CCC(=O)O)C(=O)[O-]",  # glutamic
        "O=C1CC[C@@H](C(=O)O)N1",  # pyroglutamic
        "O=C(O)c1cc(=O)[nH]c(=O)[nH]1",  # orotic
        "O=C(O)c1ccc2ccccc2c1O",  # xinafoic
        "O=C1NS(=O)(=O)c2ccccc12",  # saccharin
        "OC[C@H]1O[C@@H](O[C@@H]([C@H](O)CO)[C@H](O)[C@@H](O)C(=O)O)[C@H](O)[C@@H](O)[C@H]1O",
        "CCCCCCCCCCCCCCCCCC(=O)O",  # stearic
        "O=C(O)CNC(=O)c1ccccc1",  # hippuric
        "O=C(O)CCCC(=O)O",  # glutaric
        "O=C(O)c1cc(O)ccc1O",  # gentisic
        "O=C(O)[C@H](O)[C@@H](O)[C@@H](O)[C@H](O)C(=O)O",  # galactaric
        "O=C(O)CCCCCCCCC(=O)O",  # sebacic
        "O=S(=O)(O)c1cccc2ccccc12",
        "O=C(O)/C=C/c1ccccc1",  # cinnamic
        "CC(=O)CCC(=O)O",  # levulinic
    ],
)
def test_the_acid_of_a_salt_gives_way_to_its_base(acid: str) -> None:
    molecule = standardize(parse_smiles(f"{acid}.{BASE}"))
    assert molecule.smiles == Chem.CanonSmiles(BASE)
    assert removed_kinds(molecule.smiles, ".".join(molecule.removed)) == ["counter-ion"]
    alone = standardize(parse_smiles(acid))
    assert (alone.smiles, alone.removed) == (molecule.removed[0], ())


@pytest.mark.parametrize(
    "base",
    [
        "OCCN1CCCC1",  # epolamine
        "c1ccc(CNCCNCc2ccccc2)cc1",  # benzathine
        "CNC[C@H](O)[C@@H](O)[C@H](O)[C@H](O)CO",  # meglumine
        "NC(CO)(CO)CO",  # tromethamine
        "NCCC[C@H](N)C(=O)O",  # ornithine
        "C[N+](C)(C)CCO",  # choline
        "CCN(CC)CCO",
        "OCCN1CCOCC1",
        "CCC[N+](CCC)(CCC)CCC",
        "N[C@@H](Cc1c[nH]cn1)C(=O)O",  # histidine
    ],
)
def test_the_base_of_a_salt_gives_way_to_its_acid(base: str) -> None:
    molecule = standardize(parse_smiles(f"{base}.{ACID}"))
    assert molecule.smiles == Chem.CanonSmiles(ACID)
    assert removed_kinds(molecule.smiles, ".".join(molecule.removed)) == ["counter-ion"]


@pytest.mark.parametrize(
    "partner",
    [
        "Cn1c(=O)c2[nH]cnc2n(C)c1=O",  # theophylline
        "Cn1c(=O)c2c(ncn2C)n(C)c1=O",  # caffeine
        "CCN(CC)CCOC(=O)c1ccc(N)cc1",  # procaine
        "OC[C@H](O)[C@H]1OC(=O)C(O)=C1O",  # ascorbic acid
        "CC(=O)Oc1ccccc1C(=O)O",  # aspirin
    ],
)
def test_a_partner_that_may_be_the_drug_makes_the_row_one_of_two_parents(partner: str) -> None:
    with pytest.raises(MoleculeError, match="two organic parents"):
        standardize(parse_smiles(f"{partner}.{BASE}"))


@pytest.mark.parametrize(
    ("rest", "kinds"),
    [
        ("Cl", ["counter-ion"]),
        ("[Cl-].[H+]", ["counter-ion", "counter-ion"]),
        ("OS(=O)(=O)O", ["counter-ion"]),
        ("[O-]Cl(=O)(=O)=O.[H+]", ["counter-ion", "counter-ion"]),
        ("N", ["counter-ion"]),
        ("O", ["solvent"]),
        ("CCO.O.O", ["solvent", "solvent", "solvent"]),
        ("CS(C)=O", ["solvent"]),
        ("CC(O)CO", ["solvent"]),
        ("C1CCOC1.Cl", ["counter-ion", "solvent"]),
        ("[Na+]", ["metal ion"]),
        ("[K+].[Cl-]", ["counter-ion", "metal ion"]),
        ("O=C=O", ["inorganic"]),
        ("O=[Si]=O", ["inorganic"]),
        ("II", ["inorganic"]),
        ("O=S=O", ["inorganic"]),
        (BASE, ["further copy"]),
        (f"{BASE}.Cl.Cl", ["counter-ion", "counter-ion", "further copy"]),
    ],
)
def test_the_kind_of_each_fragment(rest: str, kinds: list[str]) -> None:
    assert kinds_of(f"{BASE}.{rest}") == kinds
    assert kinds_of(f"{rest}.{BASE}") == kinds, "in whatever order"


def test_a_solvent_gives_way_to_a_counter_ion_and_alone_is_the_molecule() -> None:
    benzoate = standardize(parse_smiles("CO.O=C([O-])c1ccccc1.[Na+]"))
    assert (benzoate.smiles, benzoate.removed) == ("O=C(O)c1ccccc1", ("CO", "[Na+]"))
    assert standardize(parse_smiles("CO.O")).smiles == "CO"
    assert removed_kinds("CCO", "") == []


def test_every_entry_of_the_lists_is_a_molecule_and_stands_in_one_list() -> None:
    lists = (COUNTER_IONS, SOLVENTS, INORGANIC_CARBON, INORGANIC_IONS)
    flat = [{Chem.CanonSmiles(text) for text in entries} for entries in lists]
    assert [len(names) for names in flat] == [len(entries) for entries in lists]
    assert len(set().union(*flat)) == sum(map(len, flat))
