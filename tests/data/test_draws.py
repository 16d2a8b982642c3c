"""Draws are one pure function of (seed, step, global batch), with the paper's probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from made_shards import make_shards
from scipy import stats

from molnb.data.draws import Draws, Sampling, make_draws, make_sampling, scaffold_probabilities
from molnb.data.sampling import sample_ids
from molnb.data.scaffold_numbers import scaffold_codes
from molnb.errors import InputError
from molnb.shards import Shards

N = 3000
SCAFFOLDS = np.random.default_rng(0).zipf(1.6, N) % 400
COUNTS = np.unique(SCAFFOLDS, return_counts=True)[1]
CODES = np.unique(SCAFFOLDS, return_inverse=True)[1]
DATASET = np.repeat([0, 1, 2], [2000, 900, 100])
NAMES = ["a", "b", "c"]
WEIGHTS = {"a": 1, "b": 2, "c": 0.5}


def stream(draws: Draws, n_step: int, global_batch: int = 50) -> np.ndarray:
    return np.concatenate([draws.positions(step, global_batch) for step in range(n_step)])


@pytest.fixture(params=["scaffold", "weights", "both", "temperature", "tempered scaffolds"])
def draws(request: pytest.FixtureRequest) -> Draws:
    samplings = {
        "scaffold": Sampling("scaffold", 0.02),
        "weights": Sampling(weights=WEIGHTS),
        "both": Sampling("scaffold", 0.02, WEIGHTS),
        "temperature": Sampling(temperature=2),
        "tempered scaffolds": Sampling("scaffold", 0.02, temperature=3),
    }
    return make_draws(samplings[request.param], 5, N, CODES, DATASET, NAMES)


def test_uniform_draws_are_those_of_before() -> None:
    draws = make_draws(Sampling(), 5, 103)
    for step in range(40):
        assert np.array_equal(draws.positions(step, 8), sample_ids(5, step, 8, 103))


def test_a_step_is_a_pure_function_and_a_larger_batch_goes_the_same_way(draws: Draws) -> None:
    ahead = draws.positions(17, 50)
    assert np.array_equal(stream(draws, 40), stream(draws, 10, 200))
    assert np.array_equal(draws.positions(17, 50), ahead), "whatever was asked before"
    again = Draws(draws.pools, draws.shares, 6)
    assert not np.array_equal(again.positions(17, 50), ahead), "another seed, other draws"


@pytest.mark.parametrize("tau", [0.005, 0.02, 0.3, 1e9])
def test_scaffolds_are_drawn_as_equation_1_says(tau: float) -> None:
    """Steps of different seeds are independent of each other, so that a chi-square test is fair."""
    one = make_draws(Sampling("scaffold", tau), 0, N, CODES)
    seeds = [Draws(one.pools, one.shares, seed) for seed in range(3000)]
    each_seed = [draws.positions(draws.seed, 4)[:1] for draws in seeds]
    drawn = np.bincount(CODES[np.concatenate(each_seed)], minlength=len(COUNTS))
    shares = COUNTS / COUNTS.sum()
    weights = np.exp((shares - shares.max()) / tau)
    expected = len(each_seed) * weights / weights.sum()
    assert scaffold_probabilities(COUNTS, tau) == pytest.approx(weights / weights.sum())
    rare = expected < 5  # together, as the test needs
    observed = np.append(drawn[~rare], drawn[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if expected[-1] < 5:
        assert observed[-1] < 30
        observed, expected = (
            observed[:-1],
            expected[:-1] * observed[:-1].sum() / expected[:-1].sum(),
        )
    assert len(expected) == 1 or stats.chisquare(observed, expected).pvalue > 1e-4


def test_the_stream_visits_every_molecule_as_often_as_it_is_due(draws: Draws) -> None:
    """Within a few draws, where independent draws would be about ten off."""
    drawn = np.bincount(stream(draws, 600), minlength=N)
    due = 600 * 50 * draws.probabilities()
    assert due.sum() == pytest.approx(30_000)
    assert np.abs(drawn - due).max() < 4
    assert np.count_nonzero(drawn) == pytest.approx(draws.expected_seen(30_000), rel=0.05)


def test_molecules_of_a_scaffold_take_turns() -> None:
    draws = make_draws(Sampling("scaffold", 1e9), 0, N, CODES)
    drawn = np.bincount(stream(draws, 60), minlength=N)  # an epoch's worth of draws
    for scaffold in range(len(COUNTS)):
        of_scaffold = drawn[CODES == scaffold]
        assert of_scaffold.max() - of_scaffold.min() <= 1


def test_a_large_tau_draws_scaffolds_evenly_and_a_tiny_one_the_most_frequent_alone() -> None:
    even = make_draws(Sampling("scaffold", 1e9), 0, N, CODES).probabilities()
    of_scaffold = np.bincount(CODES, even)
    assert of_scaffold == pytest.approx(np.full(len(COUNTS), 1 / len(COUNTS)))
    tiny = stream(make_draws(Sampling("scaffold", 1e-6), 0, N, CODES), 100)
    assert set(CODES[tiny]) == {int(np.argmax(COUNTS))}


@pytest.mark.parametrize("kind", ["uniform", "scaffold"])
def test_datasets_have_their_shares_soon_and_exactly(kind: str) -> None:
    draws = make_draws(Sampling(kind, 0.02, WEIGHTS), 3, N, CODES, DATASET, NAMES)
    drawn = np.bincount(DATASET[stream(draws, 256, 56)], minlength=3)
    shares = np.array([1, 2, 0.5]) / 3.5
    assert np.abs(drawn - 256 * 56 * shares).max() <= 1
    few = np.bincount(DATASET[stream(draws, 100)], minlength=3)
    assert np.abs(few - 5000 * shares).max() < 40


def test_a_weighted_dataset_shows_all_before_it_shows_one_again() -> None:
    draws = make_draws(Sampling(weights={"a": 1, "b": 1e-3, "c": 1}), 3, N, None, DATASET, NAMES)
    drawn = np.bincount(stream(draws, 800, 64), minlength=N)
    for number in (0, 2):
        of_dataset = drawn[DATASET == number]
        assert of_dataset.max() - of_dataset.min() <= 2
    assert drawn[DATASET == 1].sum() == pytest.approx(800 * 64 / 2001, abs=2)


@pytest.mark.parametrize("temperature", [0.05, 1, 2, 5, float("inf")])
def test_a_temperature_draws_datasets_by_a_root_of_their_size(temperature: float) -> None:
    draws = make_draws(Sampling(temperature=temperature), 3, N, None, DATASET, NAMES)
    powers = np.array([2000.0, 900, 100]) ** (1 / temperature)
    shares = powers / powers.sum()
    of_dataset = np.bincount(DATASET, draws.probabilities())
    assert of_dataset == pytest.approx(shares, abs=1e-9)
    drawn = np.bincount(DATASET[stream(draws, 256, 56)], minlength=3)
    assert np.abs(drawn - 256 * 56 * shares).max() <= 1
    if temperature == 1:
        assert draws.probabilities() == pytest.approx(np.full(N, 1 / N)), "as without"
    if temperature == float("inf"):
        even = make_draws(Sampling(weights=dict.fromkeys(NAMES, 1)), 3, N, None, DATASET, NAMES)
        assert np.array_equal(stream(even, 30), stream(draws, 30))


def test_a_dataset_without_a_row_has_no_share_at_any_temperature() -> None:
    few = DATASET[:2000]
    draws = make_draws(Sampling(temperature=float("inf")), 3, 2000, None, few, NAMES)
    assert draws.shares.tolist() == [1.0]
    assert np.array_equal(np.sort(stream(draws, 40)), np.arange(2000))


def test_what_cannot_be_drawn_is_refused_with_the_reason() -> None:
    cases = [
        (lambda: Sampling("scafold"), "did you mean 'scaffold'"),
        (lambda: Sampling("scaffold", 0.0), "above 0"),
        (lambda: Sampling("scaffold", float("inf")), "above 0"),
        (lambda: Sampling(weights={"a": 0}), "above 0"),
        (lambda: Sampling(weights={"a": "two"}), "above 0"),
        (lambda: make_sampling({"kind": "uniform", "heat": 1}), "unknown keys .* heat"),
        (lambda: Sampling(temperature=0), "sampling.temperature is 0: give a number above 0"),
        (lambda: Sampling(temperature="warm"), "sampling.temperature is 'warm'"),
        (lambda: Sampling(temperature=True), "sampling.temperature is True"),
        (lambda: Sampling(weights=WEIGHTS, temperature=2), "weights .a, b, c. and the temperature"),
        (lambda: make_draws(Sampling(weights={"a": 1, "x": 1}), 0, N, None, DATASET, NAMES), "'x'"),
        (lambda: make_draws(Sampling(weights={"a": 1}), 0, N, None, DATASET, NAMES), "for b, c"),
        (
            lambda: make_draws(Sampling(weights=WEIGHTS), 0, 2000, None, DATASET[:2000], NAMES),
            "'b', which has no training molecule",
        ),
    ]
    for call, words in cases:
        with pytest.raises(InputError, match=words):
            call()


# ----------------------------------------------------------------------------------- scaffolds


def test_scaffolds_have_one_number_in_all_datasets(nci: Shards) -> None:
    codes = scaffold_codes([nci, nci])
    assert np.array_equal(codes.codes[: nci.n], codes.codes[nci.n :])
    texts = nci.table(["scaffold"])["scaffold"].to_pylist()
    assert codes.n == len(set(texts)) == len(set(codes.codes.tolist()))
    assert len(set(zip(texts, codes.codes.tolist(), strict=False))) == codes.n
    assert {code for text, code in zip(texts, codes.codes.tolist(), strict=False) if not text} == {
        codes.acyclic
    }


def test_shards_without_a_scaffold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"keeps no scaffolds.*sampling\.kind uniform"):
        scaffold_codes([make_shards(tmp_path / "trees")])


def test_parts_with_different_scaffolds_are_told_apart(tmp_path: Path, nci: Shards) -> None:
    from molnb.files import write_table

    manifest = {"files": {f"shards/part-{k}.parquet": 0 for k in range(2)}}
    for k, texts in enumerate((["b", "a", None], ["c", "b", ""])):
        table = pa.table({"scaffold": pa.array(texts, pa.string())})
        write_table(table, tmp_path / "shards" / f"part-{k}.parquet")
    codes = scaffold_codes([Shards(tmp_path, manifest)])
    names = codes.codes.tolist()
    assert codes.n == 4 and names[0] == names[4] and names[2] == names[5] == codes.acyclic
    assert len(set(names)) == 4
