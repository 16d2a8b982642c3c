"""Answers to known labels that are kept until all batches are there: what rankings are made of.

A ranking is of all items together and no sum over batches. Kept are a float32 answer (one a class
of several), a float32 truth, and which label and molecule they are of: 16 bytes a known label.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..rng import uniform
from ..shapes import Bool, Float, Int, Shaped

MAX_KEPT = 2**25  # known labels (512 MiB); of more a fixed sample of molecules is kept
SEED = 1_000_004  # of that sample alone


class LabelAnswers(NamedTuple):
    """Answers to one label, the truth, and the molecule of each."""

    guess: Shaped[np.ndarray, "k *class"]
    truth: Shaped[np.ndarray, " k"]
    mols: Int[np.ndarray, " k"]


class _Piece(NamedTuple):
    """Known labels of a batch: which row (item) and label each is of."""

    row: np.ndarray
    label: np.ndarray
    guess: np.ndarray
    truth: np.ndarray


def kept_share(n_known: int, limit: int = MAX_KEPT) -> float:
    """The share of molecules whose answers are kept, from how many labels are known in all."""
    return min(1.0, limit / max(n_known, 1))


class KeptAnswers:
    """Answers to the labels of one task, of a share of the molecules."""

    def __init__(self, n_label: int, share: float = 1.0):
        self.n_label = n_label
        self.share = share
        self.n_row = 0
        self._mols: list[np.ndarray] = []
        self._pieces: list[_Piece] = []
        self._sorted: _Piece | None = None

    def add(
        self,
        guess: Shaped[np.ndarray, "k label *class"],
        truth: Float[np.ndarray, "k label"],
        mols: Int[np.ndarray, " k"],
    ) -> None:
        """Keep what is known of a batch; `mols` are ids of molecules."""
        is_kept = self._is_kept(mols)
        truth = truth[is_kept]
        is_known = np.isfinite(truth)
        row, label = np.nonzero(is_known)
        piece = _Piece(
            row=(self.n_row + row).astype(np.int32),
            label=label.astype(np.int32),
            guess=guess[is_kept][is_known].astype(np.float32),
            truth=truth[is_known].astype(np.float32),
        )
        self._pieces.append(piece)
        self._mols.append(mols[is_kept])
        self._sorted = None
        self.n_row += len(truth)

    def _is_kept(self, mols: Int[np.ndarray, " k"]) -> Bool[np.ndarray, " k"]:
        if self.share >= 1:
            return np.ones(len(mols), bool)
        return uniform(SEED, mols) < self.share

    @property
    def n_known(self) -> int:
        """How many known labels are kept."""
        return sum(len(piece.truth) for piece in self._pieces)

    def mols(self) -> Int[np.ndarray, " k"]:
        """The molecule of each row, in the order of the batches."""
        return np.concatenate([np.zeros(0, np.int64), *self._mols])

    def _gathered(self) -> _Piece | None:
        """All pieces as one, label by label; None where nothing was kept."""
        if self._sorted is None and self._pieces:
            joined = _Piece(*(np.concatenate(arrays) for arrays in zip(*self._pieces)))
            self._pieces = [joined]
            order = np.argsort(joined.label, kind="stable")
            self._sorted = _Piece(*(array[order] for array in joined))
            self._pieces = [self._sorted]
        return self._sorted

    def each_label(self) -> Iterable[LabelAnswers]:
        """Answers to the labels one by one, `mols` as rows of `mols()`."""
        gathered = self._gathered()
        if gathered is None:
            return
        starts = np.searchsorted(gathered.label, np.arange(self.n_label + 1))
        for start, end in zip(starts[:-1], starts[1:], strict=True):
            part = slice(start, end)
            yield LabelAnswers(gathered.guess[part], gathered.truth[part], gathered.row[part])
