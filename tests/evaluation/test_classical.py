"""Classical methods learn from training rows alone, and predict as their plain formula does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rdkit import Chem

pytest.importorskip("sklearn")
pytest.importorskip("lightgbm")

from molnb.chemistry.fingerprints import ecfp_counts, similarities
from molnb.errors import InputError
from molnb.evaluation.classical import (
    classical_methods,
    core_coverage,
    free_wilson,
    make_ridge,
    on_features,
)
from molnb.evaluation.comparison import compare
from molnb.evaluation.folds import Fold, make_folds
from molnb.evaluation.report import comparison_table


def poisoned(benchmark, rows):
    """The same benchmark with impossible values in some rows, and no table computed yet."""
    values = benchmark.values.copy()
    values[rows] = 1e6
    return replace(benchmark, values=values)


@pytest.mark.parametrize("name", classical_methods())
def test_values_of_test_rows_change_nothing(benchmark, fold, name):
    method = classical_methods()[name]
    clean = method(benchmark, fold, 0)
    other = method(poisoned(benchmark, fold.test), fold, 0)
    # Trees of a forest are summed in any order: the last bit of a mean may differ.
    np.testing.assert_allclose(clean.test, other.test, rtol=1e-12)
    np.testing.assert_allclose(clean.train, other.train, rtol=1e-12)
    assert clean.test.shape == fold.test.shape and np.isfinite(clean.test).all()
    low = benchmark.values.min() - 5
    high = benchmark.values.max() + 5
    assert low < clean.test.min() and clean.test.max() < high, "debye, not standard deviations"


def test_a_molecule_is_not_its_own_neighbour(benchmark, fold):
    shuffled = np.random.default_rng(0).permutation(len(benchmark.values)).astype(float)
    made = replace(benchmark, values=shuffled)
    fitted = classical_methods()["1-NN"](made, fold, 0)
    assert (fitted.train != shuffled[fold.train]).all(), "all values differ, so its own would show"
    tested_on_training = Fold(fold.train, fold.train[:5])
    fitted = classical_methods()["1-NN"](made, tested_on_training, 0)
    assert (fitted.test != shuffled[fold.train[:5]]).all()


@pytest.mark.parametrize(("name", "k"), [("1-NN", 1), ("kNN", 5)])
def test_neighbours_predict_as_the_whole_matrix_of_similarities_does(benchmark, fold, name, k):
    """In plain steps: all similarities, a stable sort, the weighted mean of the first k."""
    matrix = similarities(benchmark.smiles, benchmark.smiles)
    np.fill_diagonal(matrix, -1)
    fitted = classical_methods()[name](benchmark, fold, 0)
    for rows, predictions in ((fold.train, fitted.train), (fold.test, fitted.test)):
        for row, prediction in zip(rows, predictions):
            line = matrix[row, fold.train]
            best = np.argsort(-line, kind="stable")[:k]
            weights = np.maximum(line[best].astype(np.float64), 1e-6)
            values = benchmark.values[fold.train[best]]
            assert prediction == (values * weights).sum() / weights.sum()


def test_a_feature_table_belongs_to_its_function_and_a_core_to_its_groups(benchmark, fold):
    """Methods of one benchmark share what they compute, never what another one computed."""
    wide = on_features(make_ridge, ecfp_counts)
    narrow = on_features(make_ridge, lambda smiles: ecfp_counts(smiles, n_bit=16))
    assert not np.array_equal(wide(benchmark, fold, 0).test, narrow(benchmark, fold, 0).test)
    assert benchmark.feature_table(ecfp_counts) is benchmark.feature_table(ecfp_counts)
    ring = Chem.MolFromSmiles("[*:1]c1ccccc1")
    chain = Chem.MolFromSmiles("[*:1]CC")
    n_with_core = [core_coverage(benchmark, core)["with the core"] for core in (ring, chain)]
    assert n_with_core[0] != n_with_core[1]
    other = replace(benchmark, smiles=benchmark.smiles[::-1])
    tables = [b.feature_table(ecfp_counts) for b in (benchmark, other)]
    assert np.array_equal(tables[0], tables[1][::-1]) and not np.array_equal(*tables)


def test_strong_methods_beat_the_mean_on_what_can_be_learnt(benchmark):
    size = np.array([Chem.MolFromSmiles(s).GetNumHeavyAtoms() for s in benchmark.smiles], float)
    result = compare(
        replace(benchmark, values=size),
        make_folds(benchmark.groups, 3),
        classical_methods(),
        progress=False,
    )
    mae = comparison_table(result.results).set_index("method")["mae"]
    strong = ["ridge", "random forest", "LightGBM + descriptors"]
    assert mae[strong].max() < 0.8 * mae["mean"]


def test_free_wilson_adds_groups_and_says_what_it_covers(benchmark):
    groups = {"C": 1.0, "O": 2.0, "Cl": 4.0, "N": 8.0}
    smiles = [f"{a}c1ccc({b})cc1C#N" for a in groups for b in groups] + ["CCO"]
    values = np.array([a + 10 * b for a in groups.values() for b in groups.values()] + [3.0])
    made = replace(
        benchmark,
        smiles=tuple(smiles),
        values=values,
        ids=np.arange(17),
        groups=np.arange(17),
    )
    core = Chem.MolFromSmiles("[*:1]c1ccc([*:2])cc1C#N")
    test = np.array([1, 6, 11, 16])
    fold = Fold(np.setdiff1d(np.arange(17), test), test)
    predictions = free_wilson(core)(made, fold, 0).test
    errors = np.abs(predictions[:3] - values[test[:3]])
    assert np.all(np.diff(predictions[:3]) > 5) and errors.max() < 0.2 * np.ptp(values)
    assert predictions[3] == values[fold.train].mean(), "no core: the training mean"
    assert core_coverage(made, core, [fold]) == {
        "molecules": 17,
        "with the core": 16,
        "all groups known": 3,
    }
    with pytest.raises(InputError, match="no training molecule has the core"):
        free_wilson(Chem.MolFromSmiles("[*:1]C1CCCCC1"))(made, fold, 0)


@pytest.mark.parametrize("change", [(1e39, 0.0), (1e-9, 0.0), (0.01, 1e9)])
@pytest.mark.parametrize("name", classical_methods())
def test_numbers_are_learnt_alike_in_any_unit_and_far_from_zero(benchmark, fold, name, change):
    scale, shift = change
    method = classical_methods()[name]
    plain = method(benchmark, fold, 0)
    other = method(replace(benchmark, values=benchmark.values * scale + shift), fold, 0)
    # trees part rows of one gain by their last bits, so those may differ as another seed's do
    close = 0.5 if "forest" in name or "LightGBM" in name else 1e-3
    for part in ("train", "test"):
        error = (getattr(other, part) - shift) / scale - getattr(plain, part)
        assert np.abs(error).mean() < close * benchmark.values.std(), part
