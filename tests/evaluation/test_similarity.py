"""Neighbours are those of the whole matrix of similarities, which is never there."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from molnb.chemistry.fingerprints import ecfp_bits, similarities
from molnb.evaluation import similarity
from molnb.evaluation.benchmark import load_benchmark
from molnb.evaluation.folds import make_folds
from molnb.evaluation.similarity import find_neighbours, nearest_training

ALCOHOLS = [f"{'C' * n}C({'C' * m})O" for n in range(1, 9) for m in range(1, 6)]


@pytest.mark.parametrize("block", [1, 100, 2**22])
@pytest.mark.parametrize("k", [1, 3, 100])
def test_neighbours_are_those_of_a_stable_sort(block, k, monkeypatch):
    """Many of these molecules are equally similar, and some are the same molecule."""
    monkeypatch.setattr(similarity, "BLOCK", block)
    matrix = similarities(ALCOHOLS, ALCOHOLS[:30])
    assert (np.sort(matrix, 1)[:, -1] == np.sort(matrix, 1)[:, -2]).any(), "there are ties"
    position = np.where(np.arange(40) < 30, np.arange(40), -1)
    itself = position[:, None] == np.arange(30)[None]
    for excluded, expected in ((None, matrix), (position, np.where(itself, -1, matrix))):
        neighbours = find_neighbours(ecfp_bits(ALCOHOLS), ecfp_bits(ALCOHOLS[:30]), k, excluded)
        order = np.argsort(-expected, 1, kind="stable")[:, :k]
        assert np.array_equal(neighbours.rows, order)
        assert np.array_equal(neighbours.similarity, np.take_along_axis(expected, order, 1))


def test_the_matrix_of_all_similarities_is_never_held(monkeypatch):
    monkeypatch.setattr(similarity, "BLOCK", 10_000)
    bits = ecfp_bits(ALCOHOLS * 25)
    tracemalloc.start()
    find_neighbours(bits, bits, 5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(bits) ** 2 / 4, "a quarter of what the matrix would take"


def test_the_nearest_training_molecule_is_on_the_other_side_of_the_fold(nci):
    benchmark = load_benchmark(nci, "nci_dipole")
    folds = make_folds(benchmark.groups)
    rows, nearest = nearest_training(benchmark, folds)
    matrix = similarities(benchmark.smiles, benchmark.smiles)
    for fold in folds:
        block = matrix[np.ix_(fold.test, fold.train)]
        assert np.array_equal(nearest[fold.test], block.max(1))
        assert np.array_equal(rows[fold.test], fold.train[block.argmax(1)])
