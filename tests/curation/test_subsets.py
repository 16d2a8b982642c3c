"""Low-resource subsets: a share of the size of the test set, stratified, one inside the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from curated_files import curate_smiles

from molnb.curation.splitting.subsets import subset_sides
from molnb.errors import InputError
from molnb.recipes.registry import load_recipe, make_recipe, without_computed
from molnb.recipes.split_schema import Split

CHAINS = ["C" * n for n in range(2, 22)]
N = 4000


@pytest.fixture(scope="module")
def whole() -> tuple[np.ndarray, pa.ChunkedArray, np.ndarray]:
    """Sides, names and values of molecules; every fifth value is unknown."""
    rng = np.random.default_rng(0)
    side = rng.choice([0, 1, 2], N, p=[0.8, 0.1, 0.1]).astype(np.int8)
    values = rng.gamma(2, size=N)
    values[::5] = np.nan
    return side, pa.chunked_array([[f"m{i}" for i in range(N)]]), values


def make_subset(whole: tuple, share: float, **keys) -> np.ndarray:
    side, smiles, values = whole
    keys = {"stratify": "gap", "bins": 10, **keys}
    split = Split(kind="subset", of="all", share=share, **keys)
    return subset_sides(side, smiles, values if keys["stratify"] else None, split)[0]


@pytest.mark.parametrize("share", [0.5, 1, 2])
def test_train_is_a_share_of_the_test_molecules_in_equal_numbers_of_each_bin(
    whole: tuple, share: float
) -> None:
    side, _, values = whole
    known = np.isfinite(values)
    subset = make_subset(whole, share)
    chosen = subset == 0
    assert chosen.sum() == round(share * (known & (side == 2)).sum())
    assert known[chosen].all() and (side[chosen] == 0).all()
    for part in (1, 2):
        assert np.array_equal(subset == part, side == part)
    assert set(subset[(side == 0) & ~chosen]) == {-1}
    edges = np.quantile(values[known & (side == 0)], np.arange(1, 10) / 10)
    per_bin = np.bincount(np.searchsorted(edges, values[chosen], side="right"))
    assert len(per_bin) == 10
    assert per_bin.max() - per_bin.min() <= 1


@pytest.mark.parametrize("stratify", ["gap", None])
def test_smaller_subsets_lie_inside_larger_ones(whole: tuple, stratify: str | None) -> None:
    trains = [
        set(np.flatnonzero(make_subset(whole, share, stratify=stratify) == 0).tolist())
        for share in (0.5, 1, 2)
    ]
    assert trains[0] < trains[1] < trains[2]
    other = make_subset(whole, 1, stratify=stratify, seed=1)
    assert set(np.flatnonzero(other == 0).tolist()) != trains[1]


def test_bins_of_few_molecules_are_made_up_for_by_others(whole: tuple) -> None:
    side, smiles, values = whole
    ties = np.where(np.arange(N) % 50 == 0, values, 1.0)
    ties[::5] = np.nan
    subset = make_subset((side, smiles, ties), 2)
    assert (subset == 0).sum() == round(2 * (np.isfinite(ties) & (side == 2)).sum())


def test_without_a_label_every_molecule_counts(whole: tuple) -> None:
    subset = make_subset(whole, 0.5, stratify=None)
    assert (subset == 0).sum() == round(0.5 * (whole[0] == 2).sum())


def test_where_more_are_asked_for_than_there_are_all_remain_and_are_counted(whole: tuple) -> None:
    side, smiles, values = whole
    split = Split(kind="subset", of="all", share=50, stratify="gap", bins=10)
    subset, counts = subset_sides(side, smiles, values, split)
    known = np.isfinite(values)
    n_train, n_test = ((known & (side == part)).sum() for part in (0, 2))
    assert np.array_equal(subset == 0, known & (side == 0))
    assert counts == {"test_counted": n_test, "train_short": 50 * n_test - n_train}


@pytest.mark.parametrize("part", [0, 1])
def test_without_test_or_training_molecules_nothing_is_left_to_train_on(
    whole: tuple, part: int
) -> None:
    side = np.full(N, part, np.int8)
    split = Split(kind="subset", of="all", share=1, stratify="gap", bins=10)
    subset, counts = subset_sides(side, *whole[1:], split)
    assert not (subset == 0).any()
    assert counts == {"test_counted": 0, "train_short": 0}


def test_the_summary_says_that_a_subset_is_short(tmp_path: Path) -> None:
    shards = curate_smiles(tmp_path, CHAINS, **_splits(share=50))
    assert shards.manifest["splits"]["few"]["train"] == (shards.array("split_all") == 0).sum()
    assert "more than there are to train on, so all of them remain" in shards.summary()


def _splits(**few) -> dict:
    few = {"kind": "subset", "of": "all", "bins": 2, "stratify": "y", **few}
    shuffle = {"kind": "shuffle", "seed": 1, "fractions": [0.5, 0.2, 0.3]}
    return {"splits": {"few": few, "all": shuffle}, "default_split": "few"}


def test_a_subset_stands_beside_its_split_in_the_shards(tmp_path: Path) -> None:
    smiles = ["C[C@H](N)C(=O)O", *CHAINS, "C[C@@H](N)C(=O)O"]
    shards = curate_smiles(tmp_path, smiles, **_splits(share=0.5))
    whole = shards.array("split_all")
    few = shards.array("split_few")
    report = shards.manifest["splits"]["few"]
    assert report["train"] == round(0.5 * (whole == 2).sum()) == (few == 0).sum() > 0
    assert report["test_counted"] == report["test"] == (whole == 2).sum()
    assert np.array_equal(few[few > 0], whole[whole > 0])
    assert report["without_side"] == (few == -1).sum()
    assert f"split few: {report['without_side']} molecules are in no part" in shards.summary()
    y = shards.table(["y"]).column(0).to_numpy()
    median = np.median(y[whole == 0])
    assert abs((y[few == 0] >= median).sum() - (y[few == 0] < median).sum()) <= 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"of": "al"}, "split 'few' is a subset of 'al', and can be one of all"),
        ({"of": "few"}, "a subset of 'few'"),
    ],
)
def test_a_subset_of_nothing_is_refused_with_the_recipe(
    tmp_path: Path, keys: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        curate_smiles(tmp_path, CHAINS, **_splits(**keys))


def test_a_label_that_is_no_number_here_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stratified by 'gap', which is no label of numbers"):
        curate_smiles(tmp_path, CHAINS, **_splits(stratify="gap"))
    assert not list((tmp_path / "data").glob("mine-*"))


def test_a_subset_of_a_subset_is_refused() -> None:
    content = {
        "name": "r",
        "title": "r",
        "licence": "none",
        "citation": "none",
        "source": {"kind": "file", "file": "x.csv"},
        "splits": {
            "random": {"kind": "random"},
            "a": {"kind": "subset", "of": "random"},
            "b": {"kind": "subset", "of": "a"},
        },
        "default_split": "random",
    }
    with pytest.raises(InputError, match="split 'b' is a subset of 'a', and can be one of random"):
        make_recipe(content)


def test_without_computed_labels_a_subset_by_them_gives_way_to_its_split() -> None:
    recipe = load_recipe("nci")
    few = {"kind": "subset", "of": "random", "share": 0.5, "stratify": "gap"}
    splits = {"few": few, "random": {"kind": "random"}}
    changed = make_recipe(recipe.model_dump() | {"splits": splits, "default_split": "few"})
    reduced = without_computed(changed)
    assert list(reduced.splits) == ["random"] and reduced.default_split == "random"
    assert without_computed(recipe).splits == recipe.splits
