"""Classical descriptions: counts that count, similarities between 0 and 1, groups on a core."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from molnb.chemistry.fingerprints import N_BIT, descriptors, ecfp_counts, r_groups, similarities
from molnb.errors import InputError

SMILES = ["CCO", "OCC", "CCCCCCCCCC", "c1ccccc1O"]


def test_counts_grow_with_the_molecule_and_do_not_depend_on_the_spelling():
    counts = ecfp_counts(SMILES)
    assert counts.shape == (4, N_BIT) and (counts[0] == counts[1]).all()
    assert counts[2].max() >= 6, "six equal environments in the middle of decane"
    assert ecfp_counts(SMILES, radius=1, n_bit=64).shape == (4, 64)


def test_similarity_is_one_to_itself_and_symmetric():
    known = similarities(SMILES, SMILES)
    assert np.allclose(np.diag(known), 1) and np.allclose(known, known.T) and known[0, 1] == 1
    assert 0 <= known.min() and known[0, 3] < 1


def test_descriptors_are_finite_or_missing():
    table = descriptors([*SMILES, "[Fe]", "CC(C)(C)c1ccc(cc1)S(=O)(=O)N"])
    assert table.shape[0] == 6 and table.shape[1] > 150
    assert not np.isinf(table).any() and (np.abs(table[np.isfinite(table)]) < 1e6).all()


def test_groups_stand_at_their_position_and_other_molecules_have_none():
    core = Chem.MolFromSmiles("c1cc([*:1])ccc1[*:2]")
    found = r_groups(["Cc1ccc(O)cc1", "CCO", "Clc1ccc(C)cc1"], core)
    assert found[1] is None
    assert {found[0]["R1"], found[0]["R2"]} == {"C[*:1]", "O[*:2]"} or {
        found[0]["R1"],
        found[0]["R2"],
    } == {
        "O[*:1]",
        "C[*:2]",
    }
    assert set(found[2]) == {"R1", "R2"}


def test_what_does_not_parse_is_refused_by_name():
    with pytest.raises(InputError, match=r"2 SMILES do not parse, the first is 'c1ccccc1C\('"):
        ecfp_counts(["CCO", "c1ccccc1C(", "X"])
