"""What scores of labels take in memory grows with labels that are known, and with no others."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from made_answers import answered, class_task, made_batch, number_task

from molnb.objectives.label_metrics import LabelMetrics

N_LABEL = 300
SHARE = 0.01  # of the labels of a molecule that are known
BATCH = 128


def peak_bytes(kind: str, n_batch: int) -> int:
    """The most that is in memory while so many batches are made, scored and forgotten."""
    task = class_task(N_LABEL) if kind == "binary" else number_task(N_LABEL)
    random = np.random.default_rng(0)
    tracemalloc.start()
    try:
        gathering = LabelMetrics([task], [])
        for number in range(n_batch):
            ids = np.arange(number * BATCH, (number + 1) * BATCH)
            truth = random.integers(0, 2, (BATCH, N_LABEL)).astype(float)
            truth[random.random(truth.shape) > SHARE] = np.nan
            guess = random.random(truth.shape, np.float32)
            gathering.add(made_batch(ids, truth), answered(task, guess))
        if kind == "binary":
            gathering.class_scores(task)
        gathering.rows()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_labels_that_are_unknown_take_no_memory(kind):
    """Answers and truths of 3,309 labels of 200,000 molecules would be 5.3 GB as a table.

    Of these molecules there are 16 bytes a known label, and while they are ranked, in label order,
    a few times as much; and how often each molecule was drawn, a byte a set.
    """
    peak_bytes(kind, 1)  # what is made once
    few = 4
    many = 24
    grown = peak_bytes(kind, many) - peak_bytes(kind, few)
    n_mol = (many - few) * BATCH
    n_known = n_mol * N_LABEL * SHARE
    assert grown < 4 * 16 * n_known + 2 * 201 * n_mol + 2**20
    assert grown < n_mol * N_LABEL * 8 / 2, "far from a table"
