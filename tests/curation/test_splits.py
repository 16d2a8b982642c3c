"""Splits have their sizes, and what belongs together stays on one side."""

from __future__ import annotations

from collections import Counter

import numpy as np

from molnb.curation.splitting.splits import assign_groups
from molnb.shards import EVERY_SPLIT, SPLIT_VALUES, Shards


def test_splits_have_their_sizes_and_loose_groups_stay_on_one_side(nci: Shards) -> None:
    table = nci.table(["group", "scaffold", "split_random", "split_scaffold"]).to_pylist()
    for name, report in nci.manifest["splits"].items():
        assert report["val"] == report["test"] == round(0.1 * nci.n)
        assert 0 < report["nn_similarity_median"] < 1
        sizes = Counter(SPLIT_VALUES[row[f"split_{name}"]] for row in table)
        assert sizes == {part: report[part] for part in EVERY_SPLIT}
        assert "test_seen" not in report
        side_of_group = {}
        for row in table:
            side = row[f"split_{name}"]
            assert side_of_group.setdefault(row["group"], side) == side
    side_of_scaffold = {}
    for row in table:
        if row["scaffold"]:
            side = row["split_scaffold"]
            assert side_of_scaffold.setdefault(row["scaffold"], side) == side
    assert len(side_of_scaffold) > 10


def test_a_large_group_is_training_data_and_sides_are_exact_to_within_a_group() -> None:
    sizes = np.array([40, 3, 3, 3, 1, 1, 20, 1, 1, 1, 1] + [1] * 25)
    side = assign_groups(sizes, (0.8, 0.1, 0.1))
    assert side[0] == side[6] == 0
    assert [int(sizes[side == s].sum()) for s in (1, 2)] == [10, 10]
