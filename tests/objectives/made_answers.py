"""Batches of labels without structure, and answers to them, to be scored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from molnb.data.batch import MolBatch, SparseLabels
from molnb.objectives.answers import Answers
from molnb.objectives.label_metrics import NO_REFERENCES, LabelMetrics, References
from molnb.objectives.targets import ScaledTask


def number_task(n_label: int, mean: float = 0.0, scale: float = 1.0, unit: str = "eV"):
    """Labels of molecules that are numbers."""
    names = tuple(f"y{i}" for i in range(n_label))
    moments = ((mean,) * n_label, (scale,) * n_label)
    return ScaledTask("t", "molecule", "regression", "mae", names, (unit,) * n_label, *moments)


def class_task(n_label: int, n_class: int = 2) -> ScaledTask:
    """Labels of molecules that are classes."""
    names = tuple(f"y{i}" for i in range(n_label))
    classes = (tuple(map(str, range(n_class))),) * n_label
    kind = "binary" if n_class == 2 else "classes"
    flat = ((0.0,) * n_label, (1.0,) * n_label)
    return ScaledTask("t", "molecule", kind, "ce", names, ("1",) * n_label, *flat, classes)


def made_batch(
    ids: np.ndarray, truth: np.ndarray, numbers: Sequence[int] = (6,), hydrogens: int = 0
) -> MolBatch:
    """Molecules of some atoms each, with hydrogens on the first, and labels."""
    n = len(ids)
    feats = torch.zeros(n, len(numbers), 9, dtype=torch.uint8)
    feats[:, 0, 3] = hydrogens
    molecule = {
        "ids": torch.from_numpy(np.asarray(ids, np.int64)),
        "n_atoms": torch.full((n,), len(numbers)),
        "n_bonds": torch.zeros(n, dtype=torch.int64),
    }
    atom = {
        "numbers": torch.tensor(numbers, dtype=torch.uint8).repeat(n),
        "atom_feats": feats.reshape(-1, 9),
    }
    labels = SparseLabels(torch.arange(n), torch.from_numpy(np.asarray(truth, np.float64)))
    return MolBatch(molecule, atom, {}, {"t": labels}, len(numbers))


def answered(task: ScaledTask, guess: np.ndarray) -> Answers:
    """Answers as a model gives them, in units or probabilities."""
    answers = Answers()
    answers.add(task, torch.from_numpy(np.ascontiguousarray(guess)))
    return answers


def gathered(
    task: ScaledTask,
    guess: np.ndarray,
    truth: np.ndarray,
    n_batch: int = 1,
    references: References = NO_REFERENCES,
    n_draw: int = 200,
    ids: np.ndarray | None = None,
) -> LabelMetrics:
    """Metrics of answers that come in batches, in the order of the rows."""
    ids = np.arange(len(truth)) if ids is None else ids
    parts = np.array_split(np.arange(len(truth)), n_batch)
    batches = [made_batch(ids[part], truth[part]) for part in parts]
    metrics = LabelMetrics([task], batches, references, n_draw)
    for part, batch in zip(parts, batches, strict=True):
        metrics.add(batch, answered(task, guess[part]))
    return metrics


def by_name(rows: list[dict]) -> dict[tuple[str, str], dict]:
    """Rows by label and metric."""
    return {(row["label"], row["metric"]): row for row in rows}
