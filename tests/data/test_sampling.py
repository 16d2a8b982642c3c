"""Sampling: which molecules form a step, and which of them are padded together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molnb.data.sampling import batches, sample_ids, size_buckets
from molnb.errors import InputError


def test_every_epoch_shows_every_sample_once():
    n = 103
    global_batch = 8
    stream = np.concatenate([sample_ids(5, step, global_batch, n) for step in range(52)])
    for epoch in range(4):
        assert sorted(stream[epoch * n : (epoch + 1) * n]) == list(range(n))
    assert not np.array_equal(stream[:n], stream[n : 2 * n])
    assert not np.array_equal(sample_ids(5, 0, global_batch, n), sample_ids(6, 0, global_batch, n))


def test_a_larger_batch_shows_the_same_samples_in_the_same_order():
    small = np.concatenate([sample_ids(5, step, 8, 103) for step in range(12)])
    large = np.concatenate([sample_ids(5, step, 32, 103) for step in range(3)])
    assert np.array_equal(small, large)


def test_size_buckets_hold_everything_once_and_stay_in_budget():
    sizes = np.random.default_rng(0).integers(3, 40, 200)
    groups = size_buckets(sizes, 5000)
    assert sorted(np.concatenate(groups)) == list(range(200))
    assert all(len(g) * (sizes[g].max() + 1) ** 2 <= 5000 for g in groups)
    padded = sum(len(g) * (sizes[g].max() + 1) ** 2 for g in groups)
    assert padded < 1.25 * ((sizes + 1) ** 2).sum()
    assert [len(g) for g in size_buckets(np.array([50, 3]), 100)] == [1, 1]


def test_batches_cover_their_ids_and_unknown_parts_are_refused(corpus):
    ids = corpus.ids("train")
    batch_ids = torch.cat([b.ids for b in batches(corpus, ids, pair_budget=2000)])
    assert sorted(batch_ids.tolist()) == ids.tolist()
    with pytest.raises(InputError, match="unknown part 'dev'"):
        corpus.ids("dev")
    with pytest.raises(InputError, match="no split 'time'"):
        corpus.ids("train", "time")


def test_molecules_that_will_be_cropped_count_as_large_as_their_crop(corpus):
    whole = list(batches(corpus, pair_budget=2000))
    cropped = list(batches(corpus, pair_budget=2000, max_atoms=8))
    assert sum(b.n_mol for b in cropped) == sum(b.n_mol for b in whole) == corpus.n
    assert max(b.n_mol for b in cropped) == 2000 // 9**2
    assert len(cropped) < len(whole)
