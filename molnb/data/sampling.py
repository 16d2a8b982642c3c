"""Which molecules form which step, and which of them are padded together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..rng import shuffled
from .batch import MolBatch
from .dataset import Corpus


def sample_ids(seed: int, step: int, global_batch: int, n: int) -> np.ndarray:
    """Which of n samples form the global batch of a step: a pure function, so resuming needs one
    integer.

    The stream of samples is one shuffled epoch after another, each shuffled anew; a batch may span
    two epochs.
    """
    at = step * global_batch + np.arange(global_batch, dtype=np.int64)
    return shuffled(at % n, n, seed, at // n)


def size_buckets(sizes: np.ndarray, pair_budget: int) -> list[np.ndarray]:
    """Positions of a batch grouped by size, so that no group holds more than `pair_budget` padded
    pairs.

    A molecule larger than the budget forms a group of its own. Which samples are in the global
    batch does not change, only which of them are padded together; the loss is summed over groups
    before it is divided.
    """
    groups, group = [], []
    for position in np.argsort(sizes, kind="stable")[::-1]:
        longest = int(sizes[group[0]]) if group else int(sizes[position])
        if group and (len(group) + 1) * (longest + 1) ** 2 > pair_budget:
            groups.append(np.array(group))
            group = []
        group.append(int(position))
    return groups + ([np.array(group)] if group else [])


def batches(
    corpus: Corpus,
    ids: np.ndarray,
    pair_budget: int,
    tasks: Sequence[str] = (),
    max_atoms: int | None = None,
) -> Iterator[MolBatch]:
    """The molecules `ids` as batches of similar size, none above the budget of padded pairs.

    Those above `max_atoms`, which will be cropped to it (`crops.crop`), count as that large.
    """
    sizes = corpus.n_atoms[ids]
    for group in size_buckets(
        sizes if max_atoms is None else np.minimum(sizes, max_atoms), pair_budget
    ):
        yield corpus.batch(ids[group], tasks)
