"""Random numbers depend on what they are for, and hash samples on nothing but their seed."""

from __future__ import annotations

import numpy as np
import pytest

from molnb.rng import hash64, hash_sample, normal, sample_rows, shuffled, uniform


@pytest.mark.parametrize("n", [1, 2, 3, 64, 1000])
def test_shuffling_is_a_permutation_of_any_length(n):
    assert sorted(shuffled(np.arange(n), n, 7, 0)) == list(range(n))


def test_numbers_depend_on_their_coordinates_and_are_spread_as_they_should_be():
    samples = np.arange(20_000)
    u = uniform(1, 2, samples, 0)
    z = normal(1, 2, samples, 0)
    assert np.array_equal(u[::-1], uniform(1, 2, samples[::-1], 0))
    assert abs(u.mean() - 0.5) < 0.01 and abs(u.std() - 12**-0.5) < 0.01
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.03
    assert abs(np.corrcoef(u, uniform(1, 3, samples, 0))[0, 1]) < 0.03


def test_numbers_are_the_same_bits_in_every_version_and_a_hash_goes_on_from_another():
    assert int(hash64(1, 2, 3)[0]) == 2869315087210772132
    assert normal(1, 2, 3)[0] == pytest.approx(-1.072903920898752, rel=1e-12)
    ids = np.arange(5)
    items = np.arange(3)
    state = hash64(7, ids)[:, None]
    assert np.array_equal(hash64(items, 4, state=state), hash64(7, ids[:, None], items, 4))
    assert np.array_equal(normal(items, state=state), normal(7, ids[:, None], items))
    assert np.array_equal(state[:, 0], hash64(7, ids)), "left as it was"


def test_samples_of_rows_nest():
    assert set(sample_rows(5000, 50)) < set(sample_rows(5000, 200))
    assert sample_rows(5000, 5000).tolist() == list(range(5000))


def test_a_hash_sample_has_no_copies_nests_and_does_not_depend_on_the_order_of_the_ids():
    ids = np.random.default_rng(0).permutation(1000) * 7
    sample = hash_sample(ids, 100)
    assert len(set(sample.tolist())) == 100 and set(sample.tolist()) < set(ids.tolist())
    assert (np.diff(sample) > 0).all(), "ascending"
    assert np.array_equal(hash_sample(ids[::-1], 100), sample)
    assert set(sample.tolist()) < set(hash_sample(ids, 300).tolist())
    overlap = np.intersect1d(sample, hash_sample(ids, 100, seed=1))
    assert len(overlap) < 30, "another seed gives another sample"


@pytest.mark.parametrize("n", [None, 3, 10])
def test_a_hash_sample_of_at_least_as_many_as_there_are_is_all_of_them(n):
    assert hash_sample(np.array([1, 5, 9]), n).tolist() == [1, 5, 9]


def test_a_hash_sample_is_even_over_the_ids():
    sample = hash_sample(np.arange(100_000), 10_000)
    tenths = np.bincount(sample // 10_000, minlength=10)
    assert np.abs(tenths - 1000).max() < 150


def test_a_hash_sample_of_a_long_list_is_that_of_all_hashes_in_order():
    ids = np.arange(200_000)  # longer than what is hashed together
    for n in (1, 70_000, 199_999):
        plain = np.sort(np.argsort(hash64(5, ids), kind="stable")[:n])
        assert np.array_equal(hash_sample(ids, n, seed=5), plain)
    assert not len(hash_sample(ids, 0))
