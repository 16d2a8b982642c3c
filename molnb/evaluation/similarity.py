"""The most similar molecules (ECFP4 Tanimoto), without a matrix of all against all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rdkit.DataStructs import BulkTanimotoSimilarity, ExplicitBitVect

from ..chemistry.fingerprints import ecfp_bits
from ..shapes import Float, Int
from .benchmark import BenchmarkTask
from .folds import Fold

BLOCK = 2**22  # similarities held at once (16 MiB)
FEW = 5  # neighbours that are kept for all methods that need no more


class Neighbours(NamedTuple):
    """The most similar molecules of each row, best first, and how similar they are (0 to 1)."""

    rows: Int[np.ndarray, "row k"]
    similarity: Float[np.ndarray, "row k"]


def find_neighbours(
    queries: Sequence[ExplicitBitVect],
    candidates: Sequence[ExplicitBitVect],
    k: int = 1,
    position: Int[np.ndarray, " query"] | None = None,
) -> Neighbours:
    """The k most similar candidates of each query, as positions; of equal ones the first.

    `position` is that of each query among the candidates (-1: it is none of them). A molecule is
    not its own neighbour: it comes after all others, with the similarity -1.
    """
    k = min(k, len(candidates))
    rows = np.zeros((len(queries), k), int)
    similarity = np.zeros((len(queries), k), np.float32)
    n_query = max(BLOCK // max(len(candidates), 1), 1)
    for start in range(0, len(queries), n_query):
        part = slice(start, start + n_query)
        block = np.array(
            [BulkTanimotoSimilarity(bits, candidates) for bits in queries[part]], np.float32
        )  # query candidate
        lines = np.arange(len(block))
        if position is not None:
            inside = position[part] >= 0
            block[lines[inside], position[part][inside]] = -1
        # k times the first maximum: the order of a stable sort, without sorting whole lines.
        for rank in range(k):
            best = block.argmax(1)
            rows[part, rank] = best
            similarity[part, rank] = block[lines, best]
            block[lines, best] = -2  # taken
    return Neighbours(rows, similarity)


def training_neighbours(benchmark: BenchmarkTask, fold: Fold, k: int = 1) -> Neighbours:
    """The k most similar training rows of a fold, for every row of the benchmark, never itself."""
    n_kept = max(k, FEW)

    def search() -> Neighbours:
        bits = benchmark.feature_table(ecfp_bits)
        position = np.full(len(bits), -1)
        position[fold.train] = np.arange(len(fold.train))
        training = [bits[row] for row in fold.train]
        neighbours = find_neighbours(bits, training, n_kept, position)
        return Neighbours(fold.train[neighbours.rows], neighbours.similarity)

    key = ("training neighbours", n_kept, fold.train.tobytes())
    neighbours = benchmark.cached(key, search)
    return Neighbours(neighbours.rows[:, :k], neighbours.similarity[:, :k])


def nearest_training(
    benchmark: BenchmarkTask, folds: Sequence[Fold]
) -> tuple[Int[np.ndarray, " row"], Float[np.ndarray, " row"]]:
    """For each row, the most similar training row of the fold that tests it: row and similarity."""
    rows = np.zeros(len(benchmark.ids), int)
    similarity = np.zeros(len(benchmark.ids))
    for fold in folds:
        neighbours = training_neighbours(benchmark, fold)
        rows[fold.test] = neighbours.rows[fold.test, 0]
        similarity[fold.test] = neighbours.similarity[fold.test, 0]
    return rows, similarity
