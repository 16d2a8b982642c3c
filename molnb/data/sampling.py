"""Which molecules form which step, and which of them are padded together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..rng import shuffled, uniform
from ..shards import Shards
from .batch import MolBatch
from .dataset import Corpus

PAIR_BUDGET = 16_384  # of a group that a CPU computes at a time
_CONFORMER = 201  # channel of the random numbers


def sample_ids(seed: int, step: int, global_batch: int, n: int) -> np.ndarray:
    """The numbers, below n, of the samples that form a step's global batch.

    A pure function, so resuming needs one integer. The stream of samples is one shuffled epoch
    after another, each shuffled anew; a batch may span two epochs.
    """
    position = step * global_batch + np.arange(global_batch, dtype=np.int64)
    return shuffled(position % n, n, seed, position // n)


def size_buckets(sizes: np.ndarray, pair_budget: int, padded: bool = True) -> list[np.ndarray]:
    """Positions of molecules grouped by size, no group above `pair_budget` padded pairs.

    Where nothing is padded, groups are of molecules in a row, and the budget is of their atoms. A
    molecule larger than the budget forms a group of its own. Which samples are in the global batch
    does not change, only which of them are computed together; the loss is summed over groups before
    it is divided.
    """
    if not padded:
        return _in_a_row(sizes, pair_budget)
    groups: list[np.ndarray] = []
    group: list[int] = []
    for position in np.argsort(sizes, kind="stable")[::-1]:
        longest = int(sizes[group[0]]) if group else int(sizes[position])
        if group and (len(group) + 1) * (longest + 1) ** 2 > pair_budget:
            groups.append(np.array(group))
            group = []
        group.append(int(position))
    if group:
        groups.append(np.array(group))
    return groups


def _in_a_row(sizes: np.ndarray, budget: int) -> list[np.ndarray]:
    """Positions of molecules one after another, no group above a number of atoms."""
    groups: list[np.ndarray] = []
    first = 0
    n_atom = 0
    for position, size in enumerate(sizes.tolist()):
        if position > first and n_atom + size > budget:
            groups.append(np.arange(first, position))
            first = position
            n_atom = 0
        n_atom += size
    if first < len(sizes):
        groups.append(np.arange(first, len(sizes)))
    return groups


def deal(sizes: np.ndarray, n_hand: int) -> list[np.ndarray]:
    """Positions of molecules dealt into hands of nearly equal work: by size, back and forth.

    A hand is in ascending order; none is empty.
    """
    order = np.argsort(sizes, kind="stable")[::-1]
    turn = np.arange(len(sizes)) % (2 * n_hand)
    hand = np.minimum(turn, 2 * n_hand - 1 - turn)
    hands = [np.sort(order[hand == number]) for number in range(n_hand)]
    return [positions for positions in hands if len(positions)]


def draw_conformers(corpus: Corpus, ids: np.ndarray, seed: int, step: int) -> np.ndarray:
    """Which conformer of each molecule a step sees: evenly drawn, by (seed, step, sample)."""
    share = uniform(seed, step, ids, 0, _CONFORMER)
    return (share * corpus.n_conformers(ids)).astype(np.int64)


def batches(
    corpus: Corpus | Shards,
    ids: np.ndarray | None = None,
    pair_budget: int = PAIR_BUDGET,
    tasks: Sequence[str] = (),
    max_atoms: int | None = None,
    n_hand: int = 1,
    draw: tuple[int, int] | None = None,
    padded: bool = True,
    share: Callable[[Sequence], Sequence] = list,
) -> Iterator[MolBatch]:
    """The molecules `ids` (default: all) as batches of similar size, with the labels of `tasks`.

    No batch is above the budget of padded pairs, or of atoms where they are not `padded`. Molecules
    above `max_atoms`, which will be cropped to it (`crops.crop`), count as that large. With
    `n_hand` they are first dealt into that many hands of equal work, of which each has batches of
    its own; `share` says which hands are wanted. `draw`, (seed, step), draws the conformer of each
    molecule that has several; else it is the first.
    """
    if isinstance(corpus, Shards):
        corpus = Corpus([corpus])
    ids = np.arange(corpus.n) if ids is None else ids
    sizes = corpus.n_atoms[ids]
    if max_atoms is not None:
        sizes = np.minimum(sizes, max_atoms)
    conformers = None if draw is None else draw_conformers(corpus, ids, *draw)
    for hand in share(deal(sizes, n_hand)):
        for group in size_buckets(sizes[hand], pair_budget, padded):
            positions = hand[group]
            chosen = None if conformers is None else conformers[positions]
            yield corpus.batch(ids[positions], tasks, chosen)
