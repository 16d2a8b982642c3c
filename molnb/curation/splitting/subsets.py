"""Subsets of a split for learning from few labels: less training data, the same val and test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from ...recipes.own_split import NO_PART
from ...recipes.split_schema import Split
from ..parts import read_parts
from .clusters import hash_order

TRAIN, TEST = 0, 2  # as SPLIT_VALUES


def subset_sides(
    side: np.ndarray,
    smiles: pa.ChunkedArray,
    values: np.ndarray | None,
    split: Split,
) -> tuple[np.ndarray, dict[str, int]]:
    """The sides of a split of which only some training molecules remain, and counts of it.

    ``values`` are those of the label ``stratify``, NaN where unknown: then only molecules with a
    value count, of test and of train. The order in which training molecules are taken depends on
    neither share nor test, so a smaller subset lies inside a larger one. Where train has fewer
    molecules than the share asks for, all remain, and ``train_short`` says by how many it is short.
    """
    known = np.ones(len(side), bool) if values is None else np.isfinite(values)
    n_test = int((known & (side == TEST)).sum())
    train = np.flatnonzero(known & (side == TRAIN))
    bins = np.zeros(len(train), np.int64)
    if values is not None and len(train):
        edges = np.quantile(values[train], np.arange(1, split.bins) / split.bins)
        bins = np.searchsorted(edges, values[train], side="right")
    chosen = train[_taking_turns(bins, smiles.take(pa.array(train)).to_pylist(), split.seed)]
    n_wanted = round(split.share * n_test)
    remaining = np.where(side == TRAIN, NO_PART, side).astype(np.int8)
    remaining[chosen[:n_wanted]] = TRAIN
    return remaining, {"test_counted": n_test, "train_short": max(0, n_wanted - len(train))}


def _taking_turns(bins: np.ndarray, smiles: list[str], seed: int) -> np.ndarray:
    """Positions in the order they are taken: one of each bin in turn, in each by a hash."""
    drawn = np.array(hash_order(smiles, seed), np.int64)
    turns = np.empty(len(bins), np.int64)
    for number in np.unique(bins):
        members = drawn[bins[drawn] == number]
        turns[members] = np.arange(len(members))
    return np.lexsort((bins, turns))


def label_values(parts: list[Path], label: str) -> np.ndarray:
    """The values of a label of molecules in sample order, NaN where unknown."""
    columns = [
        table.column(label).to_numpy(zero_copy_only=False).astype(np.float64)
        for table in read_parts(parts, [label])
    ]
    return np.concatenate(columns)
