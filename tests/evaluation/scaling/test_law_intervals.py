"""Intervals of laws: runs are drawn and not points, and the truth lies inside as often as said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_runs import SIZES, TRUTH, made_points
from scipy import stats

from molnb import bootstrap_law, final_points, fit_law
from molnb.errors import InputError
from molnb.evaluation.scaling.bootstrap import Bootstrap
from molnb.evaluation.scaling.resampling import (
    draw_residuals,
    draw_runs,
    make_strata,
    spread_over_seeds,
)


@pytest.fixture(scope="module")
def points():
    return made_points()


@pytest.fixture(scope="module")
def resampled(points) -> Bootstrap:
    return bootstrap_law(fit_law(points), 200)


def test_runs_are_drawn_whole_and_within_their_size(points):
    strata = make_strata(points)
    counts = draw_runs(strata, 100, np.random.default_rng(0))
    assert strata.counts.tolist() == [3] * 5 and strata.n_free == 10
    of_size = np.stack([counts[:, strata.sizes == n].sum(1) for n in SIZES])
    assert (of_size == 3).all() and counts.max() == 3
    assert counts.mean(0) == pytest.approx(np.ones(15), abs=0.35)


def test_a_draw_is_the_fit_to_a_table_with_its_runs_repeated(points, resampled):
    counts = draw_runs(make_strata(points), 200, np.random.default_rng(0))
    runs = points["run"].unique()
    for number in (0, 7):
        drawn = [
            points[points["run"] == run].assign(run=f"{run}-{k}", trunk=f"{run}-{k}")
            for run, n in zip(runs, counts[number])
            for k in range(n)
        ]
        law = fit_law(pd.concat(drawn)).law
        assert resampled.draws[number] == pytest.approx([*law.parameters.values()], rel=2e-3)


def test_ends_are_moved_out_for_few_runs(points):
    t = stats.t.ppf(0.975, 10) / stats.norm.ppf(0.975)
    assert make_strata(points).stretch == pytest.approx(np.sqrt(3 / 2) * t)
    many = make_strata(made_points(n_seed=40, data=(1e5,)))
    assert 1 < many.stretch < 1.03


def test_intervals_hold_the_truth_and_the_estimate(resampled):
    table = resampled.parameters().set_index("parameter")
    assert not resampled.is_lower_bound and not table["lower_bound"].any()
    for name, truth in TRUTH.parameters.items():
        row = table.loc[name]
        assert row["low"] < truth < row["high"] and row["low"] < row["value"] < row["high"]
    sentences = " ".join(resampled.sentences())
    assert sentences.startswith("L = 0.2") and "With 95 % intervals: E = 0.2" in sentences


def test_a_single_run_is_less_certain_than_what_is_expected(points, resampled):
    at = {"N": 3e7, "samples": 1e6}
    (expected,) = resampled.predict(at).to_dict("records")
    (single,) = resampled.predict(at, new_run=True).to_dict("records")
    assert single["loss"] == expected["loss"]
    assert single["low"] < expected["low"] < expected["loss"] < expected["high"] < single["high"]
    assert expected["low"] < TRUTH.predict(at)[0] < expected["high"]
    spread = spread_over_seeds(points)
    assert spread.n_free == 10 and spread.deviation == pytest.approx(0.005, rel=0.6)


def test_with_one_run_a_size_intervals_are_called_lower_bounds():
    resampled = bootstrap_law(fit_law(made_points(n_seed=1)), 100)
    assert resampled.is_lower_bound and resampled.parameters()["lower_bound"].all()
    sentences = " ".join(resampled.sentences())
    assert "one run of every size" in sentences and "lower bounds of 95 % intervals" in sentences
    assert resampled.predict({"N": 1e6, "samples": 1e6})["lower_bound"].all()


def test_a_size_with_a_single_run_is_named():
    points = made_points()
    few = points[(points["name"] != "size4") | (points["seed"] == 0)]
    resampled = bootstrap_law(fit_law(few), 50)
    assert resampled.is_lower_bound and "one run of N = 10,000,000" in resampled.reason
    fewer = points[(points["name"] == "size0") | (points["seed"] == 0)]
    assert make_strata(few).can_be_drawn and not make_strata(fewer).can_be_drawn
    dealt = bootstrap_law(fit_law(fewer), 50)
    assert dealt.is_lower_bound and dealt.stretch < 1.1, "residuals are dealt out"


def test_runs_and_their_cool_downs_are_drawn_together():
    points = made_points(n_seed=2, data=(1e5, 2e5, 4e5))
    each = points["run"] + "-" + points["step"].astype(str)
    branches = points.assign(run=each, group=points["group"] + points["step"].astype(str))
    strata = make_strata(branches)
    assert strata.counts.tolist() == [2] * 5
    apart = make_strata(branches.assign(trunk=each))
    assert apart.counts.tolist() == [2] * 15
    seeds_alone = branches[branches["seed"] == 0].assign(trunk=each)
    of_size = make_strata(seeds_alone)
    assert of_size.counts.tolist() == [3] * 5, "without replicates, among those of the size"


def test_dealt_residuals_keep_pieces_of_runs():
    residuals = np.arange(40.0)
    sequences = [np.arange(20), np.arange(20, 40)]
    drawn = draw_residuals(residuals, sequences, 50, np.random.default_rng(0))
    pieces = drawn.reshape(50, 8, 5)
    assert (np.diff(pieces) == 1).all(), "five neighbours of one run"
    assert not np.isin(pieces[:, :, 0], [16, 17, 18, 19]).any(), "none goes over a run's end"
    assert len(np.unique(drawn)) == 40


def test_nothing_is_said_of_as_many_points_as_numbers():
    ends = final_points(made_points(n_seed=1, sizes=SIZES[:3]))
    with pytest.raises(InputError, match="3 points and 3 numbers leave nothing over"):
        bootstrap_law(fit_law(ends, "size"))
    with pytest.raises(InputError, match="n_draw is 1"):
        bootstrap_law(fit_law(made_points()), 1)


@pytest.mark.parametrize("law", ["size", "compute", "paper"])
def test_every_law_gets_intervals(points, law):
    chosen = final_points(points) if law == "size" else points
    table = bootstrap_law(fit_law(chosen, law), 50).parameters()
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def covered(n_table: int, n_draw: int, **noise) -> dict[str, int]:
    """How many intervals of exponents hold the truth, of so many tables."""
    counts = {"a": 0, "b": 0}
    for seed in range(n_table):
        fit = fit_law(made_points(1_000 + seed, **noise), n_random=0)
        table = bootstrap_law(fit, n_draw, seed).parameters().set_index("parameter")
        for name in counts:
            counts[name] += table["low"][name] <= getattr(TRUTH, name) <= table["high"][name]
    return counts


def test_intervals_cover_the_truth_roughly_as_often_as_they_say():
    """Ten tables; `benchmarks/law_coverage.py` has five hundred."""
    assert min(covered(10, 100).values()) >= 7


@pytest.mark.slow
@pytest.mark.parametrize("lag", [0.0, 0.9])
def test_intervals_cover_the_truth_as_often_as_they_say(lag):
    counts = covered(100, 200, lag=lag)
    assert 87 <= min(counts.values()) and max(counts.values()) <= 99
