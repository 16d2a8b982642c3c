"""What a loss must beat to mean anything, measured on the batches that the model is scored on.

- Coordinates and distances: the identity, which returns the noisy geometry as it came.
- Masked atoms without features: the frequency of each element in the training rows.
- Masked atoms with features: a table of (features, bond types) to elements, counted on training
  rows. Eight features and the bonds of a masked atom stay visible, and they nearly name it, so this
  is the bar and not the frequency. Where the features of masked atoms are hidden too, bonds alone.
- Labels: the training mean (of classes: how frequent each is), and for atoms and bonds a table of
  their visible features to the mean label.

Training rows are read a chunk at a time and only counted; of large datasets a fixed hash sample of
`MAX_TRAIN` molecules is enough for tables of this kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from ..data.batch import MolBatch
from ..data.dataset import Corpus
from ..data.masked import MaskedBatch
from ..data.sampling import batches
from ..rng import hash64, hash_sample
from ..shapes import Float, Int, Shaped
from .answers import class_scores
from .geometry import coord_scores
from .supervised import Supervised, label_scores, loss_name, named_scores, score_name
from .targets import ScaledTask, known_labels

MAX_TRAIN = 20_000  # training molecules that tables are counted on
CHUNK = 1024  # molecules read together
N_ELEMENT = 128
_PSEUDO = 1.0  # one imaginary observation, spread like the coarser table, keeps new keys finite
_RAREST = 1e-6  # share of a class that training rows do not have, so that its loss is finite
_TERMS = ("token_ce_nats", "token_accuracy")

Keys = Int[np.ndarray, " item"]


def atom_keys(batch: MolBatch, with_features: bool = True) -> Keys:
    """One 64-bit number for what is visible of an atom with a hidden element: features and bonds.

    The key is a hash of the eight features (RDKit's chirality tag left out, its parity kept), or of
    none, and of how many bonds of each type it has; equal keys mean equal features but for hash
    collisions (one in 10^10 for a million atoms).
    """
    feats = batch.feats.numpy().astype(np.int64)[:, 1:9] * with_features
    ends = batch.bond_ends().numpy()
    n_of_type = np.zeros((len(feats), 5), np.int64)
    for end in (0, 1):
        np.add.at(n_of_type, (ends[:, end], batch.bond_feats.numpy()[:, 0]), 1)
    return _hash_rows(np.concatenate([feats, n_of_type], 1))


def _hash_rows(table: Int[np.ndarray, "item column"]) -> Keys:
    return hash64(*table.T).view(np.int64) if len(table) else np.zeros(0, np.int64)


class SumTable:
    """Sums of rows by a key, gathered in pieces: memory grows with the number of distinct keys."""

    def __init__(self, n_column: int):
        self.keys = np.zeros(0, np.int64)
        self.sums = np.zeros((0, n_column))

    def add(self, keys: Keys, rows: Float[np.ndarray, "item column"]) -> None:
        """Add each row to the sums of its key."""
        merged, inverse = np.unique(np.concatenate([self.keys, keys]), return_inverse=True)
        sums = np.zeros((len(merged), self.sums.shape[1]))
        np.add.at(sums, inverse, np.concatenate([self.sums, rows]))
        self.keys = merged
        self.sums = sums

    def find(self, keys: Keys) -> Float[np.ndarray, "item column"]:
        """The sums of each key; zeros for a key that was never added."""
        if not len(self.keys):
            return np.zeros((len(keys), self.sums.shape[1]))
        row = np.clip(np.searchsorted(self.keys, keys), 0, len(self.keys) - 1)
        return self.sums[row] * (self.keys[row] == keys)[:, None]


class ElementTable:
    """Element frequencies in training rows, over all atoms and for each key of visible features."""

    def __init__(self):
        self.table = SumTable(N_ELEMENT)

    def add(self, numbers: Shaped[np.ndarray, " atom"], keys: Keys) -> None:
        """Count more atoms."""
        distinct, inverse = np.unique(keys, return_inverse=True)
        counts = np.zeros((len(distinct), N_ELEMENT))
        np.add.at(counts, (inverse, numbers), 1)
        self.table.add(distinct, counts)

    @property
    def frequency(self) -> Float[np.ndarray, " element"]:
        """Share of each element; none is quite zero."""
        counts = self.table.sums.sum(0)
        return (counts + 1e-3) / (counts.sum() + 1e-3 * N_ELEMENT)

    def by_frequency(self, numbers: Shaped[np.ndarray, " atom"]) -> Float[np.ndarray, " 2"]:
        """Summed cross entropy (nats) and right guesses where only the frequency is known."""
        frequency = self.frequency
        n_right = (numbers == frequency.argmax()).sum()
        return np.array([-np.log(frequency[numbers]).sum(), n_right], float)

    def by_features(
        self, numbers: Shaped[np.ndarray, " atom"], keys: Keys
    ) -> Float[np.ndarray, " 2"]:
        """The same where features and bonds are visible; a new key falls back to the frequency."""
        counts = self.table.find(keys)
        prior = _PSEUDO * self.frequency
        share = (counts + prior) / (counts.sum(1, keepdims=True) + _PSEUDO)
        n_right = (share.argmax(1) == numbers).sum()
        return np.array([-np.log(share[np.arange(len(numbers)), numbers]).sum(), n_right], float)


def pretrain_baselines(
    corpus: Corpus, train_ids: np.ndarray, masked: Sequence[MaskedBatch]
) -> dict[str, dict[str, float]]:
    """Baselines of each pretraining term on masked batches, with features hidden and visible."""
    table = ElementTable()
    with_features = not any(group.hides_features for group in masked)
    train_ids = hash_sample(train_ids, MAX_TRAIN)
    for start in range(0, len(train_ids), CHUNK):
        batch = corpus.batch(train_ids[start : start + CHUNK])
        table.add(batch.numbers.numpy(), atom_keys(batch, with_features))
    sums = {"hidden": np.zeros(2), "visible": np.zeros(2)}
    identity: dict[str, float] = {}
    n_hidden = sum(int(group.hidden.sum()) for group in masked)
    n_mol = sum(group.batch.n_mol for group in masked)
    for group in masked:
        hidden = group.hidden.numpy()
        numbers = group.batch.numbers.numpy()[hidden]
        sums["hidden"] += table.by_frequency(numbers)
        keys = atom_keys(group.batch, with_features)[hidden]
        sums["visible"] += table.by_features(numbers, keys)
        for name, total in coord_scores(group.noisy, group.batch).items():
            identity[name] = identity.get(name, 0.0) + float(total)
    geometry = {name: total / max(n_mol, 1) for name, total in identity.items()}
    return {
        features: dict(zip(_TERMS, (total / max(n_hidden, 1)).tolist())) | geometry
        for features, total in sums.items()
    }


def known_values(batch: MolBatch, task: ScaledTask) -> Float[np.ndarray, "item label"]:
    """Labels of a task in a batch, in float64; NaN where one is unknown, or not learnt."""
    return known_labels(task, batch.labels[task.key].values).double().numpy()


def label_keys(batch: MolBatch, task: ScaledTask) -> Keys | None:
    """One number for what is visible of each labelled atom or bond; None at other levels."""
    index = batch.labels[task.key].index.numpy()
    numbers = batch.numbers.numpy().astype(np.int64)
    if task.level == "atom":
        # element, bonded atoms, charge, hydrogens, aromatic
        feats = batch.feats.numpy()[:, [1, 2, 3, 6]]
        return _hash_rows(np.concatenate([numbers[:, None], feats], 1)[index])
    if task.level == "bond":
        elements = np.sort(numbers[batch.bond_ends().numpy()], 1)
        return _hash_rows(np.concatenate([elements, batch.bond_feats.numpy()[:, :3]], 1)[index])
    return None


class LabelTable:
    """Mean label of a task over training rows: of all, and for each key of visible features.

    Of classes it is the share of each: of a binary label that of class 1. Sums and counts stand
    side by side, the former in the first columns.
    """

    def __init__(self, task: ScaledTask):
        self.task = task
        self.table = SumTable(2 * task.n_output)
        self.looked_up = task.level in ("atom", "bond")

    def add(self, batch: MolBatch) -> None:
        """Count the labels of a batch."""
        values = self._columns(known_values(batch, self.task))
        is_known = np.isfinite(values)
        rows = np.concatenate([np.where(is_known, values, 0.0), is_known], 1)
        keys = label_keys(batch, self.task) if self.looked_up else np.zeros(len(rows), np.int64)
        self.table.add(keys, rows)

    def _columns(self, values: Float[np.ndarray, "item label"]) -> Float[np.ndarray, "item output"]:
        """Labels as what is averaged: one column a class for several, NaN where unknown."""
        if self.task.kind != "classes":
            return values
        of_class = values[:, :, None]  # item label class
        one_hot = np.where(np.isfinite(of_class), of_class == np.arange(self.task.n_class), np.nan)
        return one_hot.reshape(len(values), -1)

    def mean(self) -> Float[np.ndarray, " output"]:
        """The mean of all rows."""
        total, count = np.split(self.table.sums.sum(0), 2)
        return total / np.maximum(count, 1)

    def lookup(self, keys: Keys) -> Float[np.ndarray, "item output"]:
        """The mean of the rows that share a key; that of all for a new key.

        To shares of classes an imaginary row is added, as in `ElementTable`: none is quite zero.
        """
        total, count = np.split(self.table.find(keys), 2, axis=1)
        if self.task.of_classes:
            return (total + _PSEUDO * self.mean()) / (count + _PSEUDO)
        return np.where(count > 0, total / np.maximum(count, 1), self.mean())

    def guess(self, batch: MolBatch, looked_up: bool) -> Float[np.ndarray, "item output"]:
        """What is guessed of each labelled item of a batch."""
        if looked_up:
            return self.lookup(label_keys(batch, self.task))
        n_item = len(batch.labels[self.task.key].values)
        return np.broadcast_to(self.mean(), (n_item, self.task.n_output))


def label_baselines(
    corpus: Corpus,
    objective: Supervised,
    train_ids: np.ndarray,
    val: Iterable[MolBatch],
) -> dict[str, dict[str, float | None]]:
    """Scores of the training mean and of the lookup table, if any, by the name of the term.

    Of numbers it is the mean absolute error in the label's unit; of classes, whose guess is their
    share among training rows, the loss and the scores of `answers.known_scores`, None where one is
    undefined. `val` are labelled batches.
    """
    tables = label_tables(corpus, objective, train_ids)
    val = list(val)
    scores: dict[str, dict[str, float | None]] = {"mean": {}, "lookup": {}}
    for table in tables:
        labelled = [batch for batch in val if table.task.key in batch.labels]
        score = _class_bars if table.task.of_classes else _mean_errors
        scores["mean"] |= score(table, labelled, looked_up=False)
        if table.looked_up:
            scores["lookup"] |= score(table, labelled, looked_up=True)
    return {kind: errors for kind, errors in scores.items() if errors}


def label_tables(corpus: Corpus, objective: Supervised, train_ids: np.ndarray) -> list[LabelTable]:
    """The table of each task, counted on training rows."""
    tables = [LabelTable(task) for task in objective.tasks_scaled]
    for batch in batches(corpus, hash_sample(train_ids, MAX_TRAIN), tasks=objective.tasks):
        for table in tables:
            if table.task.key in batch.labels:
                table.add(batch)
    return tables


def _mean_errors(
    table: LabelTable, labelled: Sequence[MolBatch], looked_up: bool
) -> dict[str, float]:
    """Mean absolute error of each label over batches; NaN where none is known."""
    total = np.zeros(len(table.task.labels))
    count = np.zeros(len(table.task.labels))
    for batch in labelled:
        truth = known_values(batch, table.task)
        guess = table.guess(batch, looked_up)
        is_known = np.isfinite(truth)
        total += np.where(is_known, np.abs(guess - truth), 0.0).sum(0)
        count += is_known.sum(0)
    errors = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return named_scores(table.task, errors)


def _class_bars(
    table: LabelTable, labelled: Sequence[MolBatch], looked_up: bool
) -> dict[str, float | None]:
    """Loss, share named right and rankings of shares of classes over batches."""
    task = table.task
    loss = 0.0
    n_right = np.zeros(len(task.labels))
    n_known = np.zeros(len(task.labels))
    guesses = [np.zeros((0, task.n_output))]
    truths = [np.zeros((0, len(task.labels)), np.float32)]
    for batch in labelled:  # one at a time: of many labels the numbers of all take gigabytes
        shares = np.clip(table.guess(batch, looked_up), _RAREST, 1 - _RAREST)
        guess = as_much_as_classes_count(task, shares)
        truth = known_values(batch, task)
        loss += float(_scores_of_shares(task, guess, truth)[loss_name(task)])
        # the likeliest class is that of the shares: weighed evenly, all are equally likely
        n_right += _scores_of_shares(task, shares, truth)[score_name(task)].numpy()
        n_known += np.isfinite(truth).sum(0)
        # the mean is the same of every row, and kept once
        guesses.append(guess if looked_up else np.broadcast_to(guess[0].copy(), guess.shape))
        truths.append(truth.astype(np.float32))
    accuracies = np.where(n_known > 0, n_right / np.maximum(n_known, 1), np.nan)
    scores: dict[str, float | None] = {
        loss_name(task): loss / n_known.sum() if n_known.any() else None
    }
    for name, accuracy in named_scores(task, accuracies).items():
        scores[name] = accuracy if np.isfinite(accuracy) else None
    counted = ("_positives", "_n", "_rarest")
    rankings = class_scores(task, guesses, truths)
    return scores | {k: value for k, value in rankings.items() if not k.endswith(counted)}


def _scores_of_shares(
    task: ScaledTask,
    shares: Float[np.ndarray, "item output"],
    truth: Shaped[np.ndarray, "item label"],
) -> dict[str, torch.Tensor]:
    """Summed loss, and share named right, of probabilities instead of logits."""
    logits = torch.from_numpy(np.log(shares))
    if task.kind == "binary":
        logits = logits - torch.log1p(-torch.from_numpy(shares))
    return label_scores(task, logits, torch.from_numpy(truth))


def as_much_as_classes_count(
    task: ScaledTask, shares: Float[np.ndarray, "item output"]
) -> Float[np.ndarray, "item output"]:
    """Shares of classes, none of them 0 or 1, tilted by what each counts in the loss.

    The constant with the lowest loss is the share itself, and where classes are weighed the share
    of their weights.
    """
    if not task.class_weights:
        return shares
    weights = np.array(task.class_weights)  # label class
    if task.kind == "binary":
        positive = shares * weights[:, 1]
        return positive / (positive + (1 - shares) * weights[:, 0])
    by_label = shares.reshape(len(shares), *weights.shape)  # item label class
    weighted = by_label * weights
    return (weighted / weighted.sum(2, keepdims=True)).reshape(shares.shape)
