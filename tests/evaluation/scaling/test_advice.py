"""Advice for a budget: the best size by the law and by what molecules cost, or a refusal."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_runs import RATE, SIZES, TRUTH, made_points, made_sweep

from molnb import advise, bootstrap_law, final_points, fit_law, loss_points
from molnb.cli import main
from molnb.errors import InputError
from molnb.evaluation.scaling.advice import choose_points, size_costs


@pytest.fixture(scope="module")
def points():
    return made_points()


@pytest.fixture(scope="module")
def resampled(points):
    return bootstrap_law(fit_law(points), 100)


def best_of(law, flops: float, cost: float = 18.0) -> float:
    """The minimum of a law where a molecule costs so many FLOPs a parameter (closed form)."""
    ratio = law.a * law.A / (law.b * law.B)
    power = 1 / (law.a + law.b)
    return float(ratio**power * (flops / cost) ** (law.b * power))


def test_the_best_size_is_where_the_law_has_it(points, resampled):
    advice = advise(resampled, points, hours=1)
    assert advice.flops == pytest.approx(3600 * RATE)
    assert advice.flops_per_second == pytest.approx(RATE)
    assert advice.size == pytest.approx(best_of(resampled.law, 3600 * RATE), rel=0.01)
    assert advice.low < best_of(TRUTH, 3600 * RATE) < advice.high
    assert 18 * advice.size * advice.samples == pytest.approx(advice.flops, rel=1e-6)
    expected = resampled.law.predict({"N": advice.size, "samples": advice.samples})[0]
    assert advice.loss == pytest.approx(expected) == pytest.approx(advice.curve["loss"].min())
    assert advice.loss_low < advice.loss < advice.loss_high


def test_hours_are_flops_by_the_rate_that_is_given(points, resampled):
    by_hours = advise(resampled, points, hours=1, flops_per_second=1e9)
    by_flops = advise(resampled, points, flops=3.6e12)
    assert by_hours.size == by_flops.size and by_flops.hours is None
    assert by_hours.sentences()[0].endswith("at the 1e+09 a second that was given.")
    assert by_flops.sentences()[0] == "The budget is 3.6e+12 FLOPs."


def test_sentences_say_what_the_advice_leans_on(points, resampled):
    inside = advise(resampled, points, flops=1e13)
    said = " ".join(inside.sentences())
    assert f"Train a model of N = {float(f'{inside.size:.3g}'):,.0f} (" in said
    assert "Expected loss: 0." in said and "within 1 %" in said
    assert "extrapolation" not in said or inside.samples > 640_000
    beyond = advise(resampled, points, flops=2e17)
    said = " ".join(beyond.sentences())
    assert "the size is above the largest that was trained by a factor of" in said
    assert "no run drew more than 640,000 molecules" in said
    assert "The corpus has 400,000 training molecules: each would be drawn" in said


def test_far_beyond_the_trained_sizes_nothing_is_advised(points, resampled):
    with pytest.raises(InputError, match="more than 10 times larger than any that was trained"):
        advise(resampled, points, flops=1e22)
    with pytest.raises(InputError, match="more than 10 times smaller"):
        advise(resampled, points, flops=1e7)


def test_costs_and_rates_are_read_from_runs_and_interpolated():
    points = made_points(noise=0.0, n_seed=1)
    # small models are slower, and cost more than in proportion
    rates = points["N"].map(dict(zip(SIZES, np.geomspace(1e9, 1e11, 5))))
    points["flops"] *= (points["N"] / 1e6) ** -0.2
    points["seconds"] = points["flops"] / rates
    costs = size_costs(points)
    assert costs["flops_per_second"].tolist() == pytest.approx(np.geomspace(1e9, 1e11, 5))
    expected = 18 * costs["N"] * (costs["N"] / 1e6) ** -0.2
    assert costs["flops_per_sample"].tolist() == pytest.approx(expected.tolist())
    advice = advise(bootstrap_law(fit_law(points), 20), points, hours=10)
    curve = advice.curve
    inside = curve[(curve["N"] > SIZES[0]) & (curve["N"] < SIZES[-1])]
    rate = 1e9 * (inside["N"] / SIZES[0])
    cost = 18 * inside["N"] * (inside["N"] / 1e6) ** -0.2
    assert (inside["samples"] * cost / rate).tolist() == pytest.approx([36_000.0] * len(inside))


def test_branches_say_what_molecules_cost_and_not_how_fast_they_were(points):
    branches = points.assign(trunk="trunk-" + points["run"])
    costs = size_costs(branches)
    assert costs["flops_per_second"].isna().all() and costs["flops_per_sample"].notna().all()


def test_what_runs_do_not_say_is_asked_for(points, resampled):
    two = points.assign(device=np.where(points["seed"] == 0, "one", "two"))
    with pytest.raises(InputError, match=r"trained on 2 devices \(one, two\): say how fast"):
        advise(resampled, two, hours=1)
    assert advise(resampled, two, hours=1, flops_per_second=RATE).size > 0
    with pytest.raises(InputError, match="do not say how fast they were"):
        advise(resampled, points.assign(seconds=np.nan), hours=1)
    with pytest.raises(InputError, match="do not say how many FLOPs"):
        advise(resampled, points.assign(flops=np.nan), hours=1)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({}, "give one budget"),
        ({"hours": 1, "flops": 1e12}, "give one budget"),
        ({"hours": -1}, "hours is -1: give a number above 0"),
        ({"hours": 1, "flops_per_second": 0}, "flops_per_second is 0"),
        ({"flops": 1e12, "flops_per_second": 1e9}, "is for a budget in hours"),
    ],
)
def test_a_budget_is_one_number_above_zero(points, resampled, budget, message):
    with pytest.raises(InputError, match=message):
        advise(resampled, points, **budget)


def test_a_law_without_data_gives_no_advice(points):
    by_size = bootstrap_law(fit_law(final_points(points), "size"), 20)
    with pytest.raises(InputError, match="the law is one of size: "):
        advise(by_size, points, hours=1)


def test_of_different_molecules_there_are_no_more_than_the_corpus_has(points):
    of_unique = bootstrap_law(fit_law(points, data="unique"), 20)
    advice = advise(of_unique, points, flops=1e14)
    plain = of_unique.law.predict({"N": advice.size, "unique": 400_000.0})[0]
    assert advice.loss == pytest.approx(plain) and advice.samples > 400_000


def test_ends_of_trainings_are_taken_where_they_suffice(points):
    chosen, said = choose_points(points)
    assert len(chosen) == 15 * 12 and "At most of them the learning rate had not fallen" in said
    ends = pd.concat([made_points(data=(d,)) for d in (1e5, 2e5, 4e5)])
    chosen, said = choose_points(ends)
    assert len(chosen) == 45 and said == "Fitted to the ends of 45 trainings."


# -------------------------------------------------------------------------------------- the command


def test_the_command_prints_points_law_and_advice(tmp_path, capsys):
    sweep = made_sweep(tmp_path)
    assert main(["advise", str(sweep), "--hours", "0.01"]) == 0
    said = capsys.readouterr().out
    assert "laptop-4" in said and "Fitted to the ends of 18 trainings." in said
    assert "L = " in said and "With 95 % intervals: E = " in said
    assert "In 0.01 h " in said and "Train a model of N = " in said
    visible = ["--features", "visible", "--part", "val", "--flops-per-second", "1e10"]
    assert main(["advise", str(sweep), "--hours", "0.02", *visible]) == 0
    assert "at the 1e+10 a second that was given" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hours", "1e9"], "10 times larger than any that was trained"),
        (["--hours", "0"], "hours is 0: give a number above 0"),
        (["--hours", "1", "--part", "vall"], "no validation of part 'vall' (did you mean 'val'?)"),
    ],
)
def test_the_command_refuses_in_one_line(tmp_path, capsys, options, message):
    sweep = made_sweep(tmp_path, n_seed=2)
    assert main(["advise", str(sweep), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("molnb advise: ") and message in line


def test_the_command_refuses_one_size(tmp_path, capsys):
    sweep = made_sweep(tmp_path, layers=(4,))
    assert main(["advise", str(sweep), "--hours", "1"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "one size (N = " in captured.err
    assert loss_points([sweep])["N"].nunique() == 1
