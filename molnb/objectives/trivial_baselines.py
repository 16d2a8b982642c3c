"""What a loss must beat to mean anything, measured on the very questions the model is asked.

- Coordinates and distances: the identity, which returns the noisy geometry as it came.
- Masked atoms without features: the frequency of each element in the training rows.
- Masked atoms with features: a table of (features, bond types) to elements, counted on training
  rows. Eight features and the bonds of a masked atom stay visible, and they nearly name it, so this
  is the bar and not the frequency.
- Labels: the training mean, and for atoms and bonds a table of their visible features to the mean
  label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from ..data.batch import MolBatch
from ..data.dataset import Corpus
from ..data.masked import MaskedBatch, spread
from ..rng import hash64
from .geometry import centred, coord_scores
from .supervised import Supervised, metric_names
from .targets import ScaledTask

_PSEUDO = 1.0  # one imaginary observation, spread like the coarser table, keeps unseen keys finite


def atom_keys(batch: MolBatch) -> np.ndarray:
    """One 64-bit number for what an atom shows while its element is hidden: features and the bonds
    it has.

    The key is a hash of the eight features (RDKit's chirality tag left out, its parity kept) and of
    how many bonds of each type it has; equal keys mean equal features but for hash collisions (one
    in 10^10 for a million atoms).
    """
    feats = batch.feats.numpy().astype(np.int64)[:, 1:]
    bonds, mol = batch.bonds.numpy(), batch.mol_of_bond().numpy()
    start = (batch.n_atoms.cumsum(0) - batch.n_atoms).numpy()[mol]
    kinds = np.zeros((len(feats), 5), np.int64)
    for end in (0, 1):
        np.add.at(kinds, (start + bonds[:, end], batch.bond_feats.numpy()[:, 0]), 1)
    return _fold_columns(np.concatenate([feats, kinds], 1))


def _fold_columns(columns: np.ndarray) -> np.ndarray:
    return hash64(*columns.T).view(np.int64) if len(columns) else np.zeros(0, np.int64)


class ElementTable:
    """Element frequencies, over all atoms and for each key of visible features, from training
    rows.
    """

    def __init__(self, numbers: np.ndarray, keys: np.ndarray):
        self.frequency = (np.bincount(numbers, minlength=128) + 1e-3) / (len(numbers) + 0.128)
        self.keys, inverse = np.unique(keys, return_inverse=True)
        self.counts = np.zeros((len(self.keys), 128))
        np.add.at(self.counts, (inverse, numbers), 1)

    def by_frequency(self, numbers: np.ndarray) -> tuple[float, float]:
        """Summed cross entropy (nats) and number of right guesses when nothing but the frequency
        is known.
        """
        return float(-np.log(self.frequency[numbers]).sum()), float(
            (numbers == self.frequency.argmax()).sum()
        )

    def by_features(self, numbers: np.ndarray, keys: np.ndarray) -> tuple[float, float]:
        """The same when features and bonds are visible; an unseen key falls back to the
        frequency.
        """
        at = np.clip(np.searchsorted(self.keys, keys), 0, len(self.keys) - 1)
        seen = self.counts[at] * (self.keys[at] == keys)[:, None]
        share = (seen + _PSEUDO * self.frequency) / (seen.sum(1, keepdims=True) + _PSEUDO)
        return float(-np.log(share[np.arange(len(numbers)), numbers]).sum()), float(
            (share.argmax(1) == numbers).sum()
        )


def pretrain_baselines(
    corpus: Corpus, train: np.ndarray, questions: Sequence[MaskedBatch], chunk: int = 4096
) -> dict[str, dict[str, float]]:
    """Baselines of each pretraining term, with features hidden and visible, under the names of
    the terms.
    """
    numbers, keys = [], []
    for first in range(0, len(train), chunk):
        batch = corpus.batch(train[first : first + chunk])
        numbers.append(batch.numbers.numpy())
        keys.append(atom_keys(batch))
    table = ElementTable(np.concatenate(numbers), np.concatenate(keys))
    sums = {"hidden": np.zeros(2), "visible": np.zeros(2)}
    identity, n_hidden, n_mol = np.zeros(2), 0, 0
    for question in questions:
        hidden = question.hidden.numpy()
        elements, shown = question.batch.numbers.numpy()[hidden], atom_keys(question.batch)[hidden]
        sums["hidden"] += table.by_frequency(elements)
        sums["visible"] += table.by_features(elements, shown)
        identity += _identity(question)
        n_hidden, n_mol = n_hidden + int(hidden.sum()), n_mol + question.batch.n_mol
    geometry = dict(
        zip(
            ("coord_l1_angstrom", "distance_l1_angstrom"),
            (identity / max(n_mol, 1)).tolist(),
            strict=True,
        )
    )
    tokens = {
        f: dict(
            zip(("token_ce_nats", "token_accuracy"), (s / max(n_hidden, 1)).tolist(), strict=True)
        )
        for f, s in sums.items()
    }
    return {features: found | geometry for features, found in tokens.items()}


def _identity(question: MaskedBatch) -> np.ndarray:
    """Summed coordinate and distance terms of the answer "nothing moved"."""
    batch, n = question.batch, question.batch.longest
    real = spread(torch.ones_like(batch.numbers, dtype=torch.bool), batch, n)
    scores = coord_scores(spread(question.noisy, batch, n), spread(centred(batch), batch, n), real)
    return np.array([float(scores["coord_l1_angstrom"]), float(scores["distance_l1_angstrom"])])


def label_keys(batch: MolBatch, task: ScaledTask) -> np.ndarray | None:
    """What is visible of the labelled atoms or bonds: the key of the lookup baseline (None at
    other levels).
    """
    index = batch.labels[task.name].index.numpy()
    numbers = batch.numbers.numpy().astype(np.int64)
    if task.level == "atom":
        # element, bonded atoms, charge, hydrogens, aromatic: RDKit features 1, 2, 3 and 6
        return _fold_columns(
            np.concatenate([numbers[:, None], batch.feats.numpy()[:, [1, 2, 3, 6]]], 1)[index]
        )
    if task.level == "bond":
        start = (batch.n_atoms.cumsum(0) - batch.n_atoms).numpy()[batch.mol_of_bond().numpy()]
        ends = np.sort(numbers[start[:, None] + batch.bonds.numpy()], 1)
        return _fold_columns(np.concatenate([ends, batch.bond_feats.numpy()], 1)[index])
    return None


def label_baselines(
    objective: Supervised, train: Iterable[MolBatch], val: Iterable[MolBatch]
) -> dict[str, dict[str, float]]:
    """Mean absolute error (the label's unit) of the training mean, and of the lookup table where
    there is one.
    """
    found: dict[str, dict[str, float]] = {"mean": {}, "lookup": {}}
    train, val = list(train), list(val)
    for task in objective.tasks_scaled:
        known, keys = _collect(train, task)
        truth, asked = _collect(val, task)
        for column, name in enumerate(metric_names(task)):
            guess = _mean_guess(task, known[:, column])
            found["mean"][name] = _error(task, np.full(len(truth), guess), truth[:, column])
            if keys is not None:
                found["lookup"][name] = _error(
                    task, _lookup(keys, known[:, column], asked, guess), truth[:, column]
                )
    return {kind: scores for kind, scores in found.items() if scores}


def _collect(batches: Sequence[MolBatch], task: ScaledTask) -> tuple[np.ndarray, np.ndarray | None]:
    mine = [b for b in batches if task.name in b.labels]
    values = [b.labels[task.name].values.numpy() for b in mine]
    keys = [label_keys(b, task) for b in mine]
    table = np.concatenate(values) if values else np.zeros((0, len(task.labels)), np.float32)
    return table, None if not keys or keys[0] is None else np.concatenate(keys)


def _mean_guess(task: ScaledTask, known: np.ndarray) -> float:
    mean = float(np.nanmean(known)) if np.isfinite(known).any() else 0.0
    return float(mean > 0.5) if task.kind == "binary" else mean


def _error(task: ScaledTask, guess: np.ndarray, truth: np.ndarray) -> float:
    known = np.isfinite(truth)
    if not known.any():
        return float("nan")
    return float(np.mean(np.abs(guess - truth)[known]))


def _lookup(keys: np.ndarray, values: np.ndarray, asked: np.ndarray, fallback: float) -> np.ndarray:
    """Mean of the training values that share the key; the overall mean for a key never seen."""
    ok = np.isfinite(values)
    table, inverse = np.unique(keys[ok], return_inverse=True)
    if not len(table):
        return np.full(len(asked), fallback)
    mean = np.bincount(inverse, values[ok]) / np.bincount(inverse)
    at = np.clip(np.searchsorted(table, asked), 0, len(table) - 1)
    return np.where(table[at] == asked, mean[at], fallback)
