"""Racemates, "one of two" isomers and axes: told apart, and the same for any spelling."""

from __future__ import annotations

import random

import pytest

Chem = pytest.importorskip("rdkit.Chem")
from rdkit.Chem import rdDepictor

from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.identity import identity_keys
from molnb.chemistry.parsing import parse_molblock, parse_smiles
from molnb.chemistry.standardization import standardize
from molnb.chemistry.stereo_groups import kinds_of_stereo

Identity = tuple[str, str]
AND = Chem.StereoGroupType.STEREO_AND
OR = Chem.StereoGroupType.STEREO_OR


def identity(text: str) -> Identity:
    """What decides whether two rows are the same molecule."""
    molecule = standardize(parse_smiles(text))
    return molecule.smiles, molecule.stereo_groups


def respelled(text: str, seed: int) -> str:
    """The same structure: atoms in another order, other group numbers, groups turned over."""
    draw = random.Random(seed)
    mol = Chem.MolFromSmiles(text)
    groups = [(g.GetGroupType(), [a.GetIdx() for a in g.GetAtoms()]) for g in mol.GetStereoGroups()]
    order = list(range(mol.GetNumAtoms()))
    draw.shuffle(order)
    mol = Chem.RWMol(Chem.RenumberAtoms(mol, order))
    mol.SetStereoGroups([])
    members = [(kind, [order.index(i) for i in indices]) for kind, indices in groups]
    for kind, indices in members:
        if kind in (AND, OR) and draw.random() < 0.5:
            for i in indices:
                mol.GetAtomWithIdx(i).InvertChirality()
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
    smiles = Chem.MolToSmiles(mol, canonical=False)
    written = mol.GetProp("_smilesAtomOutputOrder")[1:-1].strip(",").split(",")
    draw.shuffle(members)
    words = [
        f"{'&' if kind == AND else 'o'}{3 * number}:"
        + ",".join(str(written.index(str(i))) for i in indices)
        for number, (kind, indices) in enumerate(members, 1)
        if kind in (AND, OR)
    ]
    return f"{smiles} |{','.join(words)}|"


# Text, another isomer that it allows (atoms in the same order), and how many centres are relative.
GROUPS = [
    ("C[C@H](N)c1ccccc1 |&1:1|", "C[C@H](N)c1ccccc1", 1),
    ("C[C@H](N)c1ccccc1 |o1:1|", "C[C@@H](N)c1ccccc1", 1),
    ("C[C@H](F)[C@@H](Cl)Br |&1:1,3|", "C[C@@H](F)[C@H](Cl)Br", 2),
    ("C[C@H](F)[C@@H](Cl)Br |o1:1,&2:3|", "C[C@H](F)[C@H](Cl)Br", 2),
    ("C[C@H](F)[C@@H](Cl)Br |&1:1|", "C[C@@H](F)[C@@H](Cl)Br", 1),
    ("C[C@H]1CCCC[C@@H]1O |o1:1,6|", "C[C@@H]1CCCC[C@H]1O", 2),
    ("C[C@H]1CC[C@@H](O)CC1 |o1:1|", "C[C@@H]1CC[C@@H](O)CC1", 1),
    ("C[C@@H](F)CC[C@H](F)C |&1:1|", "C[C@H](F)CC[C@H](F)C", 1),
    ("C/C=C/[C@H](F)C/C=C\\C |&1:3|", "C/C=C/[C@@H](F)C/C=C\\C", 1),
    ("CC1(C)[C@@H]2CC[C@@]1(C)C(=O)C2 |&1:3,6|", "CC1(C)[C@H]2CC[C@]1(C)C(=O)C2", 2),
    (
        "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O |&1:2,4,6,8,10|",
        "OC[C@@H]1O[C@H](O)[C@@H](O)[C@H](O)[C@H]1O",
        5,
    ),
    ("N[C@@H](CS)C(=O)N[C@@H](CO)C(=O)O |&1:1,o1:7|", "N[C@H](CS)C(=O)N[C@H](CO)C(=O)O", 2),
    ("CC[S@](C)=O |&1:2|", "CC[S@@](C)=O", 1),
]


@pytest.mark.parametrize(("text", "isomer", "n_centre"), GROUPS)
def test_any_spelling_of_a_stereo_group_is_the_same_pair(
    text: str, isomer: str, n_centre: int
) -> None:
    smiles, groups = identity(text)
    assert groups.count(",") + 1 == n_centre
    assert identity(f"{smiles} |{groups}|") == (smiles, groups), "a fixed point"
    for seed in range(8):
        assert identity(respelled(text, seed)) == (smiles, groups)
    plain, extension = text.split(" ")
    assert identity(f"{isomer} {extension}") == (smiles, groups), "whichever isomer is drawn"
    assert identity(plain)[1] == identity(isomer)[1] == "", "one isomer has no group"


def test_racemate_or_enantiomers_and_open_centre_are_five_molecules() -> None:
    rows = [
        "C[C@H](N)c1ccccc1 |o1:1|",
        "C[C@H](N)c1ccccc1 |&1:1|",
        "C[C@H](N)c1ccccc1",
        "C[C@@H](N)c1ccccc1",
        "CC(N)c1ccccc1",
    ]
    assert len({identity(row) for row in rows}) == 5
    keys = {identity_keys(standardize(parse_smiles(row)).mol) for row in rows}
    assert len(keys) == 1, "all stay on one side of a split"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("C[C@H](N)c1ccccc1 |&1:1|", "C[C@@H](N)c1ccccc1 |&7:1|"),
        ("C[C@H](N)c1ccccc1 |o1:1|", "c1ccccc1[C@H](N)C |o2:6|"),
        # the racemate of one diastereomer, drawn as either enantiomer
        ("C[C@H](F)[C@@H](Cl)Br |&1:1,3|", "C[C@@H](F)[C@H](Cl)Br |&1:1,3|"),
        # two independent centres: any of four drawings
        ("C[C@H](F)[C@@H](Cl)Br |&1:1,&2:3|", "C[C@@H](F)[C@@H](Cl)Br |&2:1,&1:3|"),
        # a symmetric molecule, one centre known: whichever it is
        ("C[C@@H](F)CC[C@H](F)C |&1:1|", "C[C@@H](F)CC[C@H](F)C |&1:5|"),
        # meso: both isomers are one
        ("C[C@H](F)CC[C@H](F)C |&1:1,5|", "C[C@H](F)CC[C@@H](C)F"),
        ("C[C@H]1CC[C@@H](O)CC1 |&1:1,4|", "C[C@H]1CC[C@@H](O)CC1"),
        # no stereo centre
        ("CC(C)C |&1:1|", "CC(C)C"),
        ("C[C@H](N)c1ccccc1 |&1:3|", "C[C@H](N)c1ccccc1"),
        # absolute centres are what a SMILES says anyway
        ("C[C@H](N)c1ccccc1 |a:1|", "C[C@H](N)c1ccccc1"),
        # a salt
        ("Cl.C[C@@H](N)c1ccccc1 |&1:2|", "C[C@H](N)c1ccccc1 |&1:1|"),
        # cis or trans
        ("C[C@H]1CC[C@@H](O)CC1 |o1:1|", "C[C@H]1CC[C@H](O)CC1 |o1:4|"),
    ],
)
def test_two_texts_of_the_same_isomers_are_one_molecule(one: str, other: str) -> None:
    assert identity(one) == identity(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("C[C@H](N)c1ccccc1 |&1:1|", "C[C@H](N)c1ccccc1 |o1:1|"),
        ("C[C@H](F)[C@@H](Cl)Br |&1:1,3|", "C[C@H](F)[C@H](Cl)Br |&1:1,3|"),
        ("C[C@H](F)[C@@H](Cl)Br |&1:1,3|", "C[C@H](F)[C@@H](Cl)Br |&1:1,&2:3|"),
        ("C[C@H](F)[C@@H](Cl)Br |&1:1|", "C[C@H](F)[C@H](Cl)Br |&1:1|"),
        ("C[C@H](F)[C@@H](Cl)Br |&1:1|", "C[C@H](F)[C@@H](Cl)Br |&1:3|"),
        ("C[C@H](F)[C@@H](Cl)Br |o1:1,&1:3|", "C[C@H](F)[C@@H](Cl)Br |&1:1,o1:3|"),
        ("C[C@H]1CCCC[C@@H]1O |o1:1,6|", "C[C@H]1CCCC[C@H]1O |o1:1,6|"),
        ("C[C@H]1CCCC[C@@H]1O |o1:1,6|", "C[C@H]1CCCC[C@@H]1O |o1:1,o2:6|"),
        ("C[C@H]1CC[C@@H](O)CC1 |o1:1|", "C[C@H]1CC[C@@H](O)CC1 |&1:1|"),
        ("C[C@@H](F)CC[C@H](F)C |&1:1|", "C[C@H](F)CC[C@@H](F)C |&1:1|"),
    ],
)
def test_other_isomers_are_another_molecule(one: str, other: str) -> None:
    assert identity(one) != identity(other)


# Biaryls and an aryl pyrrole with four different neighbours about the axis; both senses of each.
AXES = [
    ("Cc1cccc(Cl)c1-c1c(C)cccc1Br", "7.6", "7.7"),
    ("Oc1ccc2ccccc2c1-c1c(O)ccc2ccccc12", "10.10", "10.11"),
    ("C[C@H](N)c1cccc(Cl)c1-c1c(C)cccc1Br", "9.8", "9.9"),
    ("Clc1cccc(Br)c1-n1c(C)ccc1CO", "7.6", "7.7"),
    ("COc1cccc(C)c1-c1c(C)cccc1OC", "8.7", "8.8"),
    ("Cc1cccc(F)c1-c1c(Cl)cncc1CO", "7.6", "7.7"),
    ("CN(C)c1ccc2ccccc2c1-c1c(C)cccc1Cl", "12.12", "12.13"),
    ("O=C(O)c1cccc([N+](=O)[O-])c1-c1c(C(=O)O)cccc1[N+](=O)[O-]", "11.10", "11.11"),
    ("Cc1cccc(I)c1-c1c(Br)ccc2ccccc12", "7.6", "7.7"),
    ("Cc1ccccc1-n1c(C)nc2ccccc2c1=O", "6.5", "6.6"),
]


@pytest.mark.parametrize(("plain", "one", "other"), AXES)
def test_the_two_isomers_of_an_axis_their_mixtures_and_the_unmarked_are_told_apart(
    plain: str, one: str, other: str
) -> None:
    axis = one.split(".")[0]
    texts = [
        plain,
        f"{plain} |wU:{one}|",
        f"{plain} |wU:{other}|",
        f"{plain} |wU:{one},&1:{axis}|",
        f"{plain} |wU:{one},o1:{axis}|",
    ]
    identities = [identity(text) for text in texts]
    assert len(set(identities)) == 5
    assert identities[0][1] == "" and all(groups.startswith("wU:") for _, groups in identities[1:])
    for sign, expected in (("&", identities[3]), ("o", identities[4])):
        assert identity(f"{plain} |wU:{other},{sign}1:{axis}|") == expected
    for smiles, groups in identities[1:]:
        assert identity(f"{smiles} |{groups}|") == (smiles, groups)
    params = Chem.SmilesWriteParams()
    params.canonical = False
    params.doRandom = True
    for text, expected in zip(texts, identities, strict=True):
        for _ in range(4):
            spelling = Chem.MolToCXSmiles(Chem.MolFromSmiles(text), params)
            assert identity(spelling) == expected


def test_an_axis_with_two_equal_sides_is_none() -> None:
    assert identity("Cc1cccc(C)c1-c1c(C)cccc1Br |wU:7.7|")[1] == ""


def test_a_racemate_with_centre_and_axis_is_not_its_diastereomer() -> None:
    plain = "C[C@H](N)c1cccc(Cl)c1-c1c(C)cccc1Br"
    image = plain.replace("@H", "@@H")
    racemate = identity(f"{plain} |&1:1,9,wU:9.8|")
    assert identity(f"{image} |&1:1,9,wU:9.9|") == racemate
    assert identity(f"{plain} |&1:1,9,wU:9.9|") != racemate
    assert identity(f"{plain} |&1:1,&2:9,wU:9.9|") not in (racemate, identity(plain))


# ------------------------------------------------------------------------------- mol blocks


def block_of(text: str, version: str = "V3000") -> str:
    """The structure as a drawing in a mol block."""
    mol = Chem.MolFromSmiles(text)
    rdDepictor.Compute2DCoords(mol)
    if version == "V3000":
        return Chem.MolToV3KMolBlock(mol)
    mol = Chem.RWMol(mol)
    mol.SetStereoGroups([])
    return Chem.MolToMolBlock(mol)


def identity_of_block(block: str) -> Identity:
    """What `identity` gives for a SMILES."""
    molecule = standardize(parse_molblock(block))
    return molecule.smiles, molecule.stereo_groups


@pytest.mark.parametrize("text", [text for text, _, _ in GROUPS if "C=C" not in text])
def test_collections_of_a_v3000_block_are_the_groups_of_a_cxsmiles(text: str) -> None:
    block = block_of(text)
    assert "MDLV30/STERAC" in block or "MDLV30/STEREL" in block
    assert identity_of_block(block) == identity(text)


def test_absolute_collections_and_the_chiral_flag_change_nothing() -> None:
    for text in ("C[C@H](N)c1ccccc1", "C[C@H](F)[C@@H](Cl)Br", "C[C@H]1CCCC[C@@H]1O"):
        block = block_of(text, "V2000")
        lines = block.splitlines()
        assert lines[3][12:15] == "  0"
        lines[3] = lines[3][:12] + "  1" + lines[3][15:]
        assert identity_of_block(block) == identity(text)
        assert identity_of_block("\n".join(lines)) == identity(text)
    absolute = block_of("C[C@H](N)c1ccccc1 |&1:1|").replace("STERAC1", "STEABS")
    assert "MDLV30/STEABS ATOMS=(1 2)" in absolute
    assert identity_of_block(absolute) == identity("C[C@H](N)c1ccccc1")


def renumbered(block: str, seed: int) -> str:
    """The same V2000 drawing, its lines of atoms and of bonds in another order."""
    draw = random.Random(seed)
    lines = block.splitlines()
    n_atom = int(lines[3][:3])
    n_bond = int(lines[3][3:6])
    atoms = lines[4 : 4 + n_atom]
    bonds = lines[4 + n_atom : 4 + n_atom + n_bond]
    order = draw.sample(range(n_atom), n_atom)
    number = {old: new + 1 for new, old in enumerate(order)}
    bonds = [
        f"{number[int(bond[:3]) - 1]:3}{number[int(bond[3:6]) - 1]:3}{bond[6:]}" for bond in bonds
    ]
    draw.shuffle(bonds)
    return "\n".join([*lines[:4], *[atoms[i] for i in order], *bonds, "M  END", ""])


def test_a_wedge_beside_an_axis_is_the_axis_in_any_order_of_atoms() -> None:
    wedged_first = "Cc1cccc(Cl)c1-c1c(C)cccc1Br |wU:7.6|"
    wedged_second = wedged_first.replace("7.6", "7.7")
    texts = [wedged_first, wedged_second]
    drawn = [identity_of_block(block_of(text, "V2000")) for text in texts]
    assert drawn == [identity_of_block(block_of(text)) for text in texts]
    assert set(drawn) == {identity(text) for text in texts} and len(set(drawn)) == 2
    for text, expected in zip(texts, drawn, strict=True):
        for seed in range(10):
            assert identity_of_block(renumbered(block_of(text, "V2000"), seed)) == expected


@pytest.mark.parametrize("text", [*[text for text, _, _ in GROUPS], "Cl.C[C@@H](N)CO |&1:2|"])
def test_the_order_leads_back_to_the_atoms_of_the_input(text: str) -> None:
    mol = parse_smiles(text)
    molecule = standardize(mol)
    order = molecule.order.tolist()
    numbers = [mol.GetAtomWithIdx(i).GetAtomicNum() for i in order]
    assert numbers == [atom.GetAtomicNum() for atom in molecule.mol.GetAtoms()]
    for bond in molecule.mol.GetBonds():
        ends = order[bond.GetBeginAtomIdx()], order[bond.GetEndAtomIdx()]
        assert mol.GetBondBetweenAtoms(*ends) is not None
    drawn = {i for group in mol.GetStereoGroups() for i in (a.GetIdx() for a in group.GetAtoms())}
    stored = Chem.MolFromSmiles(f"{molecule.smiles} |{molecule.stereo_groups}|").GetStereoGroups()
    relative = {order[atom.GetIdx()] for group in stored for atom in group.GetAtoms()}
    # Of two alike centres, or of two that only say cis or trans together, either may be marked.
    either = text.startswith(("C[C@@H](F)CC", "C[C@H]1CC[C@@H](O)CC1"))
    assert relative == drawn or (either and len(relative) == len(drawn) == 1)


# ------------------------------------------------------------------------- fragments, words


def test_a_racemate_beside_its_enantiomer_is_no_further_copy() -> None:
    with pytest.raises(MoleculeError, match="two organic parents"):
        identity("C[C@H](N)c1ccccc1.C[C@H](N)c1ccccc1 |&1:1|")
    both = standardize(parse_smiles("C[C@H](N)c1ccccc1.C[C@@H](N)c1ccccc1 |&1:1,&2:10|"))
    assert (both.stereo_groups, both.removed) == ("&1:1", ("C[C@H](N)c1ccccc1",))


def test_the_text_says_what_it_speaks_of() -> None:
    assert list(kinds_of_stereo("")) == []
    assert len(list(kinds_of_stereo("wU:7.6,o1:3,&1:1"))) == 3
    assert list(kinds_of_stereo("o1:3")) == ["one of two isomers (or)"]


@pytest.mark.parametrize(
    ("base", "acid", "marks"),
    [
        ("NCCc1ccccc1", "C[C@H](O)C(=O)O", "&1:10"),
        ("NCCc1ccccc1", "C[C@H](O)C(=O)O", "o1:10"),
        ("NCCc1ccccc1", "O[C@H](c1ccccc1)C(=O)O", "&1:10"),
        ("NCCc1ccccc1", "OC(=O)[C@H](O)[C@@H](O)C(=O)O", "&1:12,14"),
        ("NCCc1ccccc1", "OC(=O)[C@H](O)[C@H](O)C(=O)O", "&1:12,14"),
        ("NCCc1ccccc1", "OC(=O)[C@H](O)[C@@H](O)C(=O)O", "&1:12,o1:14"),
        ("NCCc1ccccc1", "OC(=O)C[C@H](N)C(=O)O", "o3:13"),
        ("C[C@H](N)c1ccccc1Cl", "C[C@H](O)C(=O)O", "&1:1,&2:11"),
        ("C[C@H](N)c1ccccc1Cl", "C[C@H](O)C(=O)O", "&1:1,11"),
        ("C[C@H](N)c1ccccc1Cl", "C[C@H](O)C(=O)O", "o1:1,&1:11"),
    ],
)
def test_a_racemic_counter_ion_is_removed_as_the_same_one_in_any_spelling(
    base: str, acid: str, marks: str
) -> None:
    text = f"{base}.{acid} |{marks}|"
    spellings = [text, *(respelled(text, seed) for seed in range(8))]
    removed = {standardize(parse_smiles(spelling)).removed for spelling in spellings}
    assert len(removed) == 1
    assert [Chem.CanonSmiles(text, useChiral=False) for text in removed.pop()] == [
        Chem.CanonSmiles(acid, useChiral=False)
    ]
