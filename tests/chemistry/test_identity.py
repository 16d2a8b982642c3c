"""Keys, scaffolds and open stereo: what makes two molecules the same."""

from __future__ import annotations

import pytest

Chem = pytest.importorskip("rdkit.Chem")
from molnb.chemistry.identity import identity_keys, murcko_scaffold, undefined_stereo
from molnb.chemistry.parsing import parse_smiles
from molnb.chemistry.standardization import standardize


def keys_of(smiles: str) -> tuple[str, str]:
    """The first block of the InChIKey, and the key that ignores tautomers."""
    return identity_keys(standardize(parse_smiles(smiles)).mol)


def test_keys_bring_stereoisomers_and_tautomers_together_and_keep_others_apart() -> None:
    alanine = keys_of("C[C@H](N)C(=O)O")
    assert keys_of("C[C@@H](N)C(=O)O") == keys_of("C[C@H]([NH3+])C(=O)[O-]") == alanine
    assert keys_of("CC(=O)CC(C)=O")[1] == keys_of("CC(O)=CC(C)=O")[1]
    assert keys_of("Oc1ccccn1")[1] == keys_of("O=c1cccc[nH]1")[1]
    for key, other in zip(keys_of("CCO"), keys_of("CCN")):
        assert key != other
    assert len(keys_of("CCO")[0]) == 14


@pytest.mark.parametrize(
    ("smiles", "scaffold"),
    [
        ("CCCO", ""),
        ("Cc1ccc(C(=O)Nc2ccccn2)cc1", "O=C(Nc1ccccn1)c1ccccc1"),
        ("C[C@H]1CC[C@@H](O)CC1", "C1CCCCC1"),
        ("CN1CCCCC1", "C1CCNCC1"),
    ],
)
def test_a_scaffold_is_rings_and_what_joins_them_without_stereo(smiles, scaffold) -> None:
    assert murcko_scaffold(Chem.MolFromSmiles(smiles)) == scaffold


def test_open_stereo_is_counted_but_not_in_imines() -> None:
    counts = {
        "CC(F)Cl": 1,
        "C[C@H](F)Cl": 0,
        "CC=CC": 1,
        "C/C=C/C": 0,
        "CC(F)C=CCl": 2,
        "CC(N)=N": 0,
        "CCO": 0,
    }
    assert {s: undefined_stereo(Chem.MolFromSmiles(s)) for s in counts} == counts
