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
    matrix = similarities(SMILES, SMILES)
    assert np.allclose(np.diag(matrix), 1) and np.allclose(matrix, matrix.T)
    assert matrix[0, 1] == 1, "two spellings of ethanol"
    assert 0 <= matrix.min() and matrix[0, 3] < 1


def test_descriptors_are_finite_or_missing():
    table = descriptors([*SMILES, "[Fe]", "CC(C)(C)c1ccc(cc1)S(=O)(=O)N"])
    assert table.shape[0] == 6 and table.shape[1] > 150
    assert not np.isinf(table).any() and (np.abs(table[np.isfinite(table)]) < 1e6).all()


def test_groups_stand_at_their_position_and_other_molecules_have_none():
    core = Chem.MolFromSmiles("c1cc([*:1])ccc1[*:2]")
    cresol, ethanol, chlorotoluene = r_groups(["Cc1ccc(O)cc1", "CCO", "Clc1ccc(C)cc1"], core)
    assert ethanol is None
    for groups, atoms in ((cresol, "CO"), (chlorotoluene, ("C", "Cl"))):
        assert set(groups) == {"R1", "R2"}
        # a core that is its own mirror image may be read from either end
        names = {group.partition("[")[0] for group in groups.values()}
        assert names == set(atoms)
        assert all(groups[name].endswith(f"[*:{name[1]}]") for name in groups)


def test_what_does_not_parse_is_refused_by_name():
    with pytest.raises(InputError, match=r"2 SMILES do not parse, the first is 'c1ccccc1C\('"):
        ecfp_counts(["CCO", "c1ccccc1C(", "X"])
