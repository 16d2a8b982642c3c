"""Structures as they are written: what cannot be read says why."""

from __future__ import annotations

import pytest

Chem = pytest.importorskip("rdkit.Chem")
from rdkit.Chem import rdDistGeom
from spellings import CHIRAL

from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.parsing import parse_molblock, parse_smiles
from molnb.chemistry.standardization import standardize


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("", "empty structure"),
        ("not a molecule", "unreadable structure"),
        ("C1CC", "unreadable structure"),
        ("C(C)(C)(C)(C)C", "impossible valence"),
        ("c1cccc1", "no Kekulé form"),
    ],
)
def test_an_unreadable_structure_fails_in_parse_with_its_reason(
    smiles: str, reason: str, capfd
) -> None:
    with pytest.raises(MoleculeError) as failure:
        parse_smiles(smiles)
    assert (failure.value.step, failure.value.reason) == ("parse", reason)
    assert capfd.readouterr().err == "", "RDKit's log is not the user's"


def test_a_mol_block_is_read_like_its_smiles() -> None:
    for smiles in CHIRAL[:4]:
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        rdDistGeom.EmbedMolecule(mol, randomSeed=1)
        from_block = standardize(parse_molblock(Chem.MolToMolBlock(mol)))
        assert from_block.smiles == standardize(parse_smiles(smiles)).smiles
    with pytest.raises(MoleculeError, match="unreadable structure"):
        parse_molblock("nothing of the kind")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("C~C", "bond of no known order"),
        ("CC~CC", "bond of no known order"),
        ("C:C", "bond of no known order"),
        ("CCO |Sg:n:0,1,2:3:ht|", "polymer"),
        ("CCO |Sg:n:1::ht|", "polymer"),
        ("*CCC* |Sg:n:1,2,3::ht|", "polymer"),
    ],
)
def test_what_is_no_one_structure_is_refused(text: str, reason: str) -> None:
    with pytest.raises(MoleculeError) as failure:
        parse_smiles(text)
    assert (failure.value.step, failure.value.reason) == ("parse", reason)
    block = Chem.MolToV3KMolBlock(Chem.MolFromSmiles(text))
    with pytest.raises(MoleculeError, match=reason):
        parse_molblock(block)


@pytest.mark.parametrize(
    "text",
    [
        "c1:c:c:c:c:c:1",
        "CN(C)(C)->B",
        "CCO |SgD:0:name:value::::|",
        "CCO |$a;b;c$|",
        "C[C@H](N)O |&1:1|",
        "C/C=C/C",
        "[CH3]",
    ],
)
def test_what_is_one_structure_is_read(text: str) -> None:
    assert parse_smiles(text).GetNumAtoms() == Chem.MolFromSmiles(text).GetNumAtoms()


@pytest.mark.parametrize(
    ("alias", "harmless"),
    [
        ("COOH", False),
        ("Boc", False),
        ("CF3", False),
        ("R1", False),
        ("NO2", False),
        ("Ph", False),
        ("C", True),
        ("CH3", True),
        ("C12", True),
        ("7", True),
        ("2'", True),
    ],
)
def test_an_atom_that_stands_for_a_group_is_no_atom(alias: str, harmless: bool) -> None:
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))
    block = block.replace("M  END", f"A    1\n{alias}\nM  END")
    if harmless:
        assert standardize(parse_molblock(block)).smiles == "CCO"
    else:
        with pytest.raises(MoleculeError, match=f"abbreviated group .atom 1 stands for '{alias}'"):
            parse_molblock(block)
