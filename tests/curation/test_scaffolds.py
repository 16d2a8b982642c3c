"""Scaffolds: counts agree with a slow plain version, corpora compare, weights are the paper's."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from curated_files import FEW
from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

from molnb.curation.scaffold_comparison import (
    corpora_table,
    overlap,
    shared_molecules,
    shared_scaffolds,
    top_scaffolds,
)
from molnb.curation.scaffold_sampling import draw_by_scaffold, scaffold_weights
from molnb.curation.scaffolds import (
    ACYCLIC,
    count_scaffolds,
    coverage,
    describe_scaffolds,
    effective_number,
    entropy,
    expected_scaffolds,
    generic_scaffold,
    molecules_on,
)
from molnb.curation.smiles_corpus import Molecules, load_molecules, query_molecules
from molnb.errors import InputError

OTHERS = [
    "Oc1ccccn1",
    "c1ccccc1[N+](=O)[O-]",
    "C[C@H](N)C(=O)O",
    "c1ccsc1C",
    "c1ccccc1CC(=O)[O-].[Na+]",
]


@pytest.fixture(scope="module")
def few() -> Molecules:
    return load_molecules(FEW, name="few")


@pytest.fixture(scope="module")
def others() -> Molecules:
    return load_molecules(OTHERS, name="others")


def test_shards_and_their_recipe_have_the_same_scaffolds_where_no_conformer_failed(
    nci, shared_home: Path
) -> None:
    read = count_scaffolds(
        load_molecules("nci", n=100, workers=0, home=shared_home, progress=False)
    )
    curated = count_scaffolds(nci)
    assert nci.n == curated.corpus.n <= read.corpus.n
    lost = nci.manifest["dropped"].get("conformer", {})
    assert read.corpus.n - nci.n == sum(lost.values())
    assert curated.n_molecule <= read.n_molecule


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("ncj", "There is no recipe 'ncj' .did you mean 'nci'"),
        ([], "list is empty: 0 SMILES"),
        (["xx", "c1cccc1"], "0 of 2 rows of list became molecules"),
        ([3], "entry 0 is 3 .int., not a SMILES"),
        (["CCO", "CC"], "all 2 molecules are acyclic"),
    ],
)
def test_what_holds_no_scaffold_is_refused_with_one_clear_message(what, message: str) -> None:
    with pytest.raises(InputError, match=message):
        count_scaffolds(what)


# ------------------------------------------------------------------------------------------ counts


def test_counts_agree_with_rdkit_molecule_by_molecule(sample: Molecules) -> None:
    counted = count_scaffolds(sample)
    slow: Counter[str] = Counter()
    for smiles in query_molecules("SELECT smiles FROM corpus", corpus=sample)["smiles"]:
        core = MurckoScaffold.GetScaffoldForMol(Chem.MolFromSmiles(smiles))
        slow[Chem.MolToSmiles(core, isomericSmiles=False)] += 1
    assert slow.pop("") == counted.n_acyclic
    assert sorted(slow.values(), reverse=True) == counted.counts.tolist()
    assert counted.table["rank"].tolist() == list(range(1, len(counted) + 1))
    assert counted.n_molecule + counted.n_acyclic == sample.n


def test_acyclic_molecules_are_a_named_class_only_where_asked_for(few: Molecules) -> None:
    without = count_scaffolds(few)
    counted = count_scaffolds(few, acyclic=True)
    assert without.n_acyclic == counted.n_acyclic == 2
    assert ACYCLIC not in without.table["scaffold"].tolist()
    assert len(counted) == len(without) + 1 and counted.n_molecule == few.n
    assert molecules_on(counted, ACYCLIC)["smiles"].tolist() == ["CCO", "CCN"]
    assert without.most_frequent(1).loc[0, "share"] == pytest.approx(2 / 5)
    assert counted.most_frequent(1).loc[0, "share"] == pytest.approx(2 / 7)


def test_generic_scaffolds_forget_elements_and_bond_orders(few: Molecules) -> None:
    counted = count_scaffolds(few, kind="generic")
    assert counted.table["scaffold"].tolist() == ["C1CCCCC1", "C1CCC(CC2CCCCC2)CC1"]
    assert counted.counts.tolist() == [4, 1]
    assert len(molecules_on(counted, "C1CCCCC1")) == 4
    assert len(molecules_on(counted, "C1CCCCC1", 3)) == 3
    assert set(draw_by_scaffold(counted, 200, tau=10).tolist()) <= {0, 1, 2, 5, 6}


@pytest.mark.parametrize("smiles", ["O=[n+]1[c-]cccc1", "O=S1(=O)c2ccccc2CN1", "c1ccc2[nH]ccc2c1"])
def test_a_scaffold_that_is_no_valid_structure_still_has_a_skeleton(smiles: str) -> None:
    assert set(generic_scaffold(smiles)) <= set("C()123")


def test_diversity_is_what_the_formulas_say(few: Molecules) -> None:
    counted = count_scaffolds(few)
    assert counted.counts.tolist() == [2, 1, 1, 1]
    described = describe_scaffolds(counted)
    expected = -0.4 * math.log(0.4) - 0.6 * math.log(0.2)
    assert described["entropy (nats)"] == pytest.approx(expected)
    assert described.name == "few" and described["seen once"] == 3
    assert described["for half the molecules"] == 2
    assert coverage(counted).tolist() == pytest.approx([0.4, 0.6, 0.8, 1.0])
    assert coverage(counted, 2) == pytest.approx(0.6)
    assert coverage(counted, 99) == pytest.approx(1.0)
    assert effective_number(np.full(7, 1 / 7)) == pytest.approx(7)
    assert entropy(np.array([1.0, 0.0])) == 0
    assert corpora_table([counted])["Murcko scaffolds"].tolist() == [4_224_621, 73_725_454, 4]
    assert len(corpora_table([])) == 2


def test_expected_scaffolds_are_the_mean_over_random_samples(sample: Molecules) -> None:
    counted = count_scaffolds(sample)
    owner = np.repeat(np.arange(len(counted)), counted.counts)
    random = np.random.default_rng(0)
    drawn = [len(np.unique(random.choice(owner, 60, replace=False))) for _ in range(400)]
    exact = expected_scaffolds(counted, [0, 1, 60, counted.n_molecule])
    assert exact[[0, 1, 3]].tolist() == pytest.approx([0, 1, len(counted)])
    assert abs(exact[2] - np.mean(drawn)) < 4 * np.std(drawn) / 20
    with pytest.raises(InputError, match="molecules to draw from"):
        expected_scaffolds(counted, [sample.n + 1])


# ------------------------------------------------------------------------------------- two corpora


def test_shared_scaffolds_and_molecules_are_found_by_the_loose_keys(
    few: Molecules, others: Molecules
) -> None:
    first = count_scaffolds(few)
    second = count_scaffolds(others)
    shared = shared_scaffolds(first, second)
    assert shared["scaffold"].tolist() == ["c1ccccc1", "c1ccncc1"]
    assert shared[["n_1", "n_2"]].to_numpy().tolist() == [[2, 2], [1, 1]]
    table = overlap(first, second)
    assert table["molecules on them (share)"].tolist() == pytest.approx([3 / 5, 3 / 4])
    assert table["shared molecules"].tolist() == [0, 0]
    tautomer_image_acid = ["O=c1cccc[nH]1", "C[C@@H](N)C(=O)O", "OC(=O)Cc1ccccc1"]
    pairs = shared_molecules(others, load_molecules(tautomer_image_acid))
    assert pairs[["row_1", "row_2"]].to_numpy().tolist() == [[0, 0], [2, 1], [4, 2]]


def test_top_scaffolds_stand_side_by_side_with_their_count_in_the_other(
    few: Molecules, others: Molecules
) -> None:
    table = top_scaffolds(count_scaffolds(few), count_scaffolds(others), 4)
    assert table["rank"].tolist() == [1, 2, 3, 4]
    first = table.loc[0, ["scaffold few", "n few", "n_elsewhere few"]]
    assert first.tolist() == ["c1ccccc1", 2, 2]
    assert table["n others"].dtype == "Int64", "counts stay whole beside a missing one"
    assert table.iloc[3].filter(like="others").isna().all()
    alike = top_scaffolds(count_scaffolds(few), count_scaffolds(few), 4)
    assert {"scaffold few", "scaffold few (2)"} < set(alike.columns)
    with pytest.raises(InputError, match="k=0"):
        top_scaffolds(count_scaffolds(few), count_scaffolds(others), 0)
    with pytest.raises(InputError, match="do not compare"):
        shared_scaffolds(count_scaffolds(few), count_scaffolds(others, "generic"))
    with pytest.raises(InputError, match="no molecule of few has the murcko scaffold 'C1CC1'"):
        molecules_on(count_scaffolds(few), "C1CC1")


# ---------------------------------------------------------------------------------------- sampling


def test_the_papers_temperature_is_nearly_uniform_where_every_share_is_small() -> None:
    # A long tail as in a large corpus: the first of 200,000 scaffolds has 0.2 % of the molecules.
    counts = np.maximum(1, (800 / np.arange(1, 200_001) ** 0.6).astype(int))
    shares = counts / counts.sum()
    assert 0.0005 < shares[0] < 0.005
    weights = scaffold_weights(counts)
    assert weights.max() / weights.min() == pytest.approx(
        math.exp((shares[0] - shares[-1]) / 0.005)
    )
    assert effective_number(weights) > 0.999 * len(counts)
    assert effective_number(shares) < 0.7 * len(counts)


def test_the_same_temperature_draws_one_scaffold_where_its_share_is_large() -> None:
    weights = scaffold_weights(np.array([300, 25, 24, *[1] * 651]))
    assert weights[0] > 0.999 and weights.sum() == pytest.approx(1)
    assert effective_number(scaffold_weights(np.array([300, 25, 24, *[1] * 651]), tau=100)) > 653
    with pytest.raises(InputError, match="tau=0"):
        scaffold_weights(np.array([1, 2]), tau=0)


def test_draws_follow_the_weights_and_are_even_within_a_scaffold(few: Molecules) -> None:
    counted = count_scaffolds(few)
    drawn = draw_by_scaffold(counted, 20_000, tau=0.5, seed=3)
    assert (drawn == draw_by_scaffold(counted, 20_000, tau=0.5, seed=3)).all()
    with_ring = {0, 1, 2, 5, 6}  # positions, copies left out
    assert set(drawn.tolist()) == with_ring
    share = np.bincount(drawn, minlength=7) / len(drawn)
    benzene = scaffold_weights(counted, 0.5)[0]
    assert share[[0, 1]] == pytest.approx([benzene / 2] * 2, abs=0.015)
