"""Groups: what shares a key, directly or through others, is one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from curated_files import curate_smiles

from molnb.curation.grouping import connected_groups


def test_stereoisomers_salts_and_tautomers_share_a_group_and_may_be_dropped(tmp_path: Path) -> None:
    smiles = [
        "C[C@H](N)C(=O)O",
        "C[C@@H](N)C(=O)O",
        "Oc1ccccn1",
        "O=c1cccc[nH]1",
        "CCCC",
        "C[C@H](N)C(=O)O.Cl",
    ]
    shards = curate_smiles(tmp_path, smiles)
    assert shards.table(["group"]).column(0).to_pylist() == [0, 0, 2, 2, 4]
    assert shards.manifest["counts"]["loose_duplicates"] == 2
    shards = curate_smiles(tmp_path, smiles, structure={"loose_duplicates": "drop"})
    assert shards.table(["row"]).column(0).to_pylist() == [0, 2, 4]
    reasons = Counter(row["reason"] for row in shards.dropped().to_pylist())
    assert reasons == {
        "stereoisomer or tautomer of an earlier row": 2,
        "same molecule as an earlier row": 1,
    }


def test_copies_that_disagree_are_counted(tmp_path: Path) -> None:
    shards = curate_smiles(tmp_path, ["CCO", "OCC", "CCN"])
    assert shards.manifest["counts"]["duplicates"] == {
        "copies": 1,
        "conflicting": 1,
        "known_only_in_a_copy": 0,
        "policy": "median",
        "across_splits": {},
    }
    assert shards.dropped().to_pylist()[0]["detail"] == "row 0"


def test_groups_are_connected_components_whatever_the_order_of_rows() -> None:
    random = np.random.default_rng(0)
    keys = [[f"{c}{k}" if k else "" for k in random.integers(0, 60, 80)] for c in "ab"]
    keys[0][3] = None
    groups = connected_groups(pa.table({"a": keys[0], "b": keys[1]}))
    plain = np.arange(80)
    for _ in range(80):  # every row takes the least number of any row it shares a key with
        for column in keys:
            for key in {key for key in column if key}:
                rows = [i for i, value in enumerate(column) if value == key]
                plain[rows] = plain[rows].min()
    assert groups.tolist() == np.unique(plain, return_inverse=True)[1].tolist()
    assert 1 < groups.max() < 79
