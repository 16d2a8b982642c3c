"""Clusters of similar molecules (ECFP4, Tanimoto): Butina's, and sphere exclusion for many.

Both take the molecules in the order of a hash of their SMILES, so other rows of a source, or
another order of them, do not change what is drawn first. Similarities are exact: shared bits are
counted by products of 0/1 matrices, a block at a time, so memory grows with the number of molecules
and not with that of pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ...chemistry.fingerprints import packed_ecfp
from ...errors import InputError
from ...shapes import Float, Int, UInt8

MAX_BUTINA = 100_000  # molecules; the time grows with their square
BLOCK = 2048  # molecules a side of a block of similarities: 16 MB each
CANDIDATES = 256  # possible centres of clusters whose neighbours are looked up together


def similarity_clusters(
    smiles: Sequence[str], kind: str, similarity: float, seed: int
) -> Int[np.ndarray, " mol"]:
    """The cluster of each molecule, numbered from 0, by ``kind`` butina or cluster.

    Raises InputError for more molecules than Butina's algorithm can do.
    """
    if kind == "butina" and len(smiles) > MAX_BUTINA:
        raise InputError(
            f"a split of kind butina takes up to {MAX_BUTINA:,} molecules, and these are "
            f"{len(smiles):,}: use kind: cluster (sphere exclusion), which takes any number"
        )
    order = np.array(hash_order(smiles, seed), np.int64)
    bits = packed_ecfp(smiles)[order]
    find = butina_clusters if kind == "butina" else sphere_clusters
    clusters = np.empty(len(smiles), np.int64)
    clusters[order] = find(bits, similarity)
    return clusters


def hash_order(smiles: Sequence[str], seed: int) -> list[int]:
    """Positions of molecules in an order drawn by a hash of each; equal SMILES by position."""
    keys = [hashlib.md5(f"{seed} {text}".encode()).digest() for text in smiles]  # noqa: S324
    return sorted(range(len(smiles)), key=keys.__getitem__)


# --------------------------------------------------------------------------------- similarities


def _unpacked(bits: UInt8[np.ndarray, "mol byte"]) -> Float[np.ndarray, "mol bit"]:
    return np.unpackbits(bits, axis=1).astype(np.float32)


def _counts(bits: UInt8[np.ndarray, "mol byte"]) -> Float[np.ndarray, " mol"]:
    """Bits that are set, of each molecule; float32, as all that is computed with them."""
    return np.bitwise_count(bits).sum(1, dtype=np.float32)


def _tanimoto(
    left: Float[np.ndarray, "mol bit"],
    right: Float[np.ndarray, "reference bit"],
    n_left: Float[np.ndarray, " mol"],
    n_right: Float[np.ndarray, " reference"],
) -> Float[np.ndarray, "mol reference"]:
    """Shared bits over all bits, exact to float32; 0 between molecules without a bit."""
    shared = left @ right.T  # whole numbers, hence exact whatever the order of summation
    either = n_left[:, None] + n_right[None, :]
    either -= shared
    np.maximum(either, 1, out=either)
    return np.divide(shared, either, out=shared)


# --------------------------------------------------------------------------------------- Butina


def butina_clusters(
    bits: UInt8[np.ndarray, "mol byte"], similarity: float
) -> Int[np.ndarray, " mol"]:
    """The cluster of each fingerprint by Butina's algorithm, numbered by falling size of the first.

    The molecule with most neighbours and all of them are the first cluster; then the next one that
    is in none yet, with those of its neighbours that are in none. Of equal numbers the last
    position is first. Source: Butina, J. Chem. Inf. Comput. Sci. 39, 747 (1999).
    """
    n_bit = _counts(bits)
    n_near = _count_neighbours(bits, n_bit, similarity)
    order = np.lexsort((np.arange(len(bits)), n_near))[::-1]
    clusters = np.full(len(bits), -1, np.int64)
    n_cluster = 0
    start = 0
    while start < len(order):
        waiting = order[start:]
        waiting = waiting[clusters[waiting] < 0]
        centres = waiting[:CANDIDATES]
        centres = centres[n_near[centres] > 0]
        if not len(centres):  # the rest have no neighbours at all
            clusters[waiting] = n_cluster + np.arange(len(waiting))
            break
        near = _near(bits, n_bit, centres, waiting, similarity)
        for centre, neighbours in zip(centres, near, strict=True):
            if clusters[centre] < 0:
                clusters[neighbours[clusters[neighbours] < 0]] = n_cluster
                clusters[centre] = n_cluster
                n_cluster += 1
        start = int(np.flatnonzero(order == centres[-1])[0]) + 1
    return clusters


def _count_neighbours(
    bits: UInt8[np.ndarray, "mol byte"], n_bit: np.ndarray, similarity: float
) -> np.ndarray:
    """How many other molecules each is similar to."""
    n_near = np.zeros(len(bits), np.int64)
    for start in range(0, len(bits), BLOCK):
        rows = slice(start, start + BLOCK)
        left = _unpacked(bits[rows])
        for other in range(start, len(bits), BLOCK):
            columns = slice(other, other + BLOCK)
            right = left if other == start else _unpacked(bits[columns])
            near = _tanimoto(left, right, n_bit[rows], n_bit[columns]) >= np.float32(similarity)
            if other == start:
                np.fill_diagonal(near, False)
            else:
                n_near[columns] += near.sum(0)
            n_near[rows] += near.sum(1)
    return n_near


def _near(
    bits: UInt8[np.ndarray, "mol byte"],
    n_bit: np.ndarray,
    centres: np.ndarray,
    others: np.ndarray,
    similarity: float,
) -> list[np.ndarray]:
    """Which of the others each centre is similar to."""
    left = _unpacked(bits[centres])
    near: list[list[np.ndarray]] = [[] for _ in centres]
    for start in range(0, len(others), BLOCK):
        block = others[start : start + BLOCK]
        values = _tanimoto(left, _unpacked(bits[block]), n_bit[centres], n_bit[block])
        for number, row in enumerate(values >= np.float32(similarity)):
            near[number].append(block[row])
    return [np.concatenate(pieces) for pieces in near]


# ----------------------------------------------------------------------------- sphere exclusion


def sphere_clusters(
    bits: UInt8[np.ndarray, "mol byte"], similarity: float
) -> Int[np.ndarray, " mol"]:
    """The cluster of each fingerprint by sphere exclusion: that of the nearest leader.

    In their order, molecules that are similar to no leader become leaders. Of leaders that are
    equally near the first counts. Each molecule is compared once with each leader.
    """
    n_bit = _counts(bits)
    leaders = np.zeros(0, np.int64)
    n_compared = np.zeros(-(-len(bits) // BLOCK), np.int64)  # leaders that a block has seen
    nearest = np.full(len(bits), -1.0, np.float32)
    clusters = np.full(len(bits), -1, np.int64)
    for number, start in enumerate(range(0, len(bits), BLOCK)):
        rows = np.arange(start, min(start + BLOCK, len(bits)))
        _compare(bits, n_bit, rows, leaders, 0, nearest, clusters)
        n_compared[number] = len(leaders)
        free = rows[nearest[rows] < np.float32(similarity)]
        leaders = np.concatenate([leaders, free[_new_leaders(bits[free], n_bit[free], similarity)]])
    for number, start in enumerate(range(0, len(bits), BLOCK)):
        rows = np.arange(start, min(start + BLOCK, len(bits)))
        _compare(bits, n_bit, rows, leaders, int(n_compared[number]), nearest, clusters)
    clusters[leaders] = np.arange(len(leaders))
    return clusters


def _new_leaders(
    bits: UInt8[np.ndarray, "mol byte"], n_bit: np.ndarray, similarity: float
) -> np.ndarray:
    """Positions of the leaders among molecules that no earlier leader is similar to."""
    left = _unpacked(bits)
    near = _tanimoto(left, left, n_bit, n_bit) >= np.float32(similarity)
    is_free = np.ones(len(bits), bool)
    leaders = []
    for i in range(len(bits)):
        if is_free[i]:
            leaders.append(i)
            is_free &= ~near[i]
            is_free[i] = False
    return np.array(leaders, np.int64)


def _compare(
    bits: UInt8[np.ndarray, "mol byte"],
    n_bit: np.ndarray,
    rows: np.ndarray,
    leaders: np.ndarray,
    first: int,
    nearest: np.ndarray,
    clusters: np.ndarray,
) -> None:
    """Note for some molecules the nearest of the leaders from ``first`` on, if it is nearer."""
    if first == len(leaders):
        return
    left = _unpacked(bits[rows])
    for start in range(first, len(leaders), BLOCK):
        block = leaders[start : start + BLOCK]
        values = _tanimoto(left, _unpacked(bits[block]), n_bit[rows], n_bit[block])
        best = values.argmax(1)
        value = values[np.arange(len(rows)), best]
        is_nearer = value > nearest[rows]
        nearest[rows[is_nearer]] = value[is_nearer]
        clusters[rows[is_nearer]] = start + best[is_nearer]
