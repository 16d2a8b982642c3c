"""Splits by similarity: Butina's clusters are RDKit's, spheres are exact, what is alike stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from curated_files import curate_smiles
from rdkit.DataStructs import BulkTanimotoSimilarity
from rdkit.ML.Cluster import Butina

from molnb.chemistry.fingerprints import ecfp_bits, packed_ecfp, similarities
from molnb.curation.datacard import split_table
from molnb.curation.splitting import clusters
from molnb.curation.splitting.clusters import (
    butina_clusters,
    hash_order,
    similarity_clusters,
    sphere_clusters,
)
from molnb.errors import InputError
from molnb.shards import Shards

ALCOHOLS = ["C" * n + "O" for n in range(1, 14)]
ANILINES = ["Nc1ccccc1" + "C" * n for n in range(12)]
AMIDES = ["CC(=O)N" + "C" * n for n in range(1, 12)]
ISOMERS = ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "C[N+](C)(C)C", "[Xe]"]
SMILES = [*ALCOHOLS, *ANILINES, *AMIDES, *ISOMERS]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few molecules are many blocks."""
    monkeypatch.setattr(clusters, "BLOCK", 8)
    monkeypatch.setattr(clusters, "CANDIDATES", 3)


def _as_sets(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == number).tolist()) for number in np.unique(labels)}


@pytest.mark.parametrize("similarity", [0.2, 0.4, 0.5, 0.7])
def test_butina_clusters_are_those_of_rdkit(nci: Shards, similarity: float) -> None:
    smiles = [*nci.smiles(), *SMILES]
    bits = ecfp_bits(smiles)
    distances = []
    for i in range(1, len(bits)):
        distances += [1 - value for value in BulkTanimotoSimilarity(bits[i], bits[:i])]
    expected = Butina.ClusterData(distances, len(bits), 1 - similarity, isDistData=True)
    result = butina_clusters(packed_ecfp(smiles), similarity)
    assert _as_sets(result) == {frozenset(members) for members in expected}
    assert set(result) == set(range(len(expected)))
    assert 1 < len(expected) < len(smiles)


@pytest.mark.parametrize("similarity", [0.2, 0.4, 0.7])
def test_spheres_are_those_of_a_plain_loop(nci: Shards, similarity: float) -> None:
    smiles = [*nci.smiles(), *SMILES]
    near = similarities(smiles, smiles)
    leaders: list[int] = []
    for i in range(len(smiles)):
        if not leaders or near[i, leaders].max() < np.float32(similarity):
            leaders.append(i)
    nearest = near[:, leaders].argmax(1)
    nearest[leaders] = range(len(leaders))
    assert sphere_clusters(packed_ecfp(smiles), similarity).tolist() == nearest.tolist()


@pytest.mark.parametrize("kind", ["butina", "cluster"])
def test_clusters_depend_on_neither_the_order_of_rows_nor_numpy(kind: str) -> None:
    shuffled = np.random.default_rng(3).permutation(len(SMILES))
    first = similarity_clusters(SMILES, kind, 0.4, seed=0)
    second = similarity_clusters([SMILES[i] for i in shuffled], kind, 0.4, seed=0)
    assert second.tolist() == first[shuffled].tolist()
    assert sorted(hash_order(SMILES, 0)) == list(range(len(SMILES)))
    assert hash_order(SMILES, 0) != hash_order(SMILES, 1)


def test_a_molecule_without_a_bit_or_a_neighbour_is_a_cluster_of_its_own() -> None:
    bits = np.zeros((3, 256), np.uint8)
    bits[2] = 255
    assert len(set(butina_clusters(bits, 0.4))) == len(set(sphere_clusters(bits, 0.4))) == 3


def test_butina_takes_no_more_molecules_than_it_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "MAX_BUTINA", 39)
    with pytest.raises(InputError, match="up to 39 molecules, and these are 40: use kind: cluster"):
        similarity_clusters(SMILES, "butina", 0.4, seed=0)
    assert len(similarity_clusters(SMILES, "cluster", 0.4, seed=0)) == len(SMILES) == 40


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    splits = {
        "butina": {"kind": "butina", "similarity": 0.5},
        "spheres": {"kind": "cluster", "similarity": 0.45, "fractions": [0.6, 0.2, 0.2]},
        "random": {"kind": "random"},
    }
    folder = tmp_path_factory.mktemp("clustered")
    smiles = [text for text in SMILES if text != "[Xe]"]
    return curate_smiles(folder, smiles, splits=splits, default_split="butina")


@pytest.mark.parametrize("name", ["butina", "spheres"])
def test_clusters_and_loose_groups_stay_on_one_side(clustered: Shards, name: str) -> None:
    report = clustered.manifest["splits"][name]
    side = clustered.array(f"split_{name}")
    labels = similarity_clusters(clustered.smiles(), report["kind"], report["similarity"], 0)
    assert report["clusters"] == labels.max() + 1
    assert report["largest_cluster"] == np.bincount(labels).max()
    for groups in (labels, clustered.table(["group"]).column(0).to_numpy()):
        for number in np.unique(groups):
            assert len(set(side[groups == number])) == 1
    assert report["test"] and report["val"] and report["train"] > report["test"]


def test_test_molecules_are_farther_from_training_than_those_of_a_random_split(
    clustered: Shards,
) -> None:
    splits = clustered.manifest["splits"]
    near = {name: split["nn_similarity_median"] for name, split in splits.items()}
    assert max(near["butina"], near["spheres"]) < near["random"]


def test_the_similarity_is_said_beside_the_name(clustered: Shards) -> None:
    titles = ["butina (similarity 0.5)", "spheres (cluster, similarity 0.45)", "random"]
    assert split_table(clustered)["split"].tolist() == titles
    for title in titles:
        assert f"split {title}: " in clustered.summary()


def test_the_split_does_not_depend_on_the_order_of_the_rows(
    clustered: Shards, tmp_path: Path
) -> None:
    smiles = [text for text in SMILES if text != "[Xe]"][::-1]
    recipe = clustered.manifest["recipe"]
    splits = {name: recipe["splits"][name] for name in ("butina", "spheres")}
    reverse = curate_smiles(tmp_path, smiles, splits=splits, default_split="butina")
    for name in splits:
        sides = dict(zip(reverse.smiles(), reverse.array(f"split_{name}").tolist(), strict=True))
        expected = clustered.array(f"split_{name}").tolist()
        assert [sides[text] for text in clustered.smiles()] == expected
