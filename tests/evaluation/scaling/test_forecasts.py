"""Forecasts of larger sizes, beside naive ones; and those written before a run begins."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from made_runs import SIZES, Plan, made_points, made_run, made_sweep
from made_shards import make_shards
from tiny import TINY, small_run

from molnb import (
    bootstrap_law,
    check_prediction,
    final_points,
    fit_law,
    holdout_table,
    loss_points,
    train,
    write_prediction,
)
from molnb.errors import InputError
from molnb.evaluation.scaling.forecast import PREDICTION, read_prediction

LAW = "law of size and data"


def test_the_law_that_made_the_losses_forecasts_best():
    points = made_points()
    table = holdout_table(points, n_draw=50)
    assert table["N"].tolist() == [SIZES[3]] * 3 + [SIZES[4]] * 3
    assert table["sizes fitted"].tolist() == [3] * 3 + [4] * 3
    best = table[table["best"]]
    assert best["method"].tolist() == [LAW, LAW] and (best["percent"].abs() < 3).all()
    of_law = table[table["method"] == LAW]
    assert (of_law["low"] < of_law["predicted"]).all() and of_law["inside"].mean() > 0.6
    largest = points[(points["N"] == SIZES[4]) & points["final"]]["loss"]
    assert table["measured"].iloc[-1] == pytest.approx(np.exp(np.log(largest).mean()))
    # the naive forecasts, by hand, from the two sizes before
    before = [
        np.log(points[(points["N"] == n) & points["final"]]["loss"]).mean() for n in SIZES[2:4]
    ]
    same, line = table["predicted"].iloc[-2:]
    assert same == pytest.approx(np.exp(before[1]))
    # sizes are at even ratios, so the line goes on as it went
    assert line == pytest.approx(np.exp(2 * before[1] - before[0]))


def test_all_larger_sizes_are_forecast_from_the_smallest_ones():
    table = holdout_table(made_points(), n_fitted=3, n_draw=50)
    assert set(table["sizes fitted"]) == {3} and table["N"].nunique() == 2
    ends = final_points(made_points())
    by_size = holdout_table(ends, "size", n_draw=50)
    assert by_size["method"].iloc[0] == "law of size"


def test_a_naive_forecast_wins_where_sizes_stop_helping():
    points = made_points(noise=1e-3)
    third = points[points["N"] == SIZES[2]].set_index(["seed", "samples"])["loss"]
    flat = points["N"] > SIZES[2]
    keys = list(zip(points["seed"], points["samples"]))
    stopped = points.assign(loss=np.where(flat, third.loc[keys], points["loss"]))
    table = holdout_table(stopped, n_draw=50)
    assert table[table["best"]]["method"].iloc[0] == "same loss"


def test_naive_forecasts_are_missing_where_smaller_sizes_saw_less_data():
    points = made_points()
    longer = points[(points["N"] == SIZES[4]) | (points["samples"] < 3e5)]
    table = holdout_table(longer, n_draw=50)
    last = table[table["N"] == SIZES[4]].set_index("method")
    assert last["predicted"].isna().tolist() == [False, True, True]
    assert last["best"].tolist() == [True, False, False]


def test_too_few_sizes_are_refused():
    points = made_points(sizes=SIZES[:3])
    with pytest.raises(InputError, match="there are 3 sizes"):
        holdout_table(points)
    with pytest.raises(InputError, match="n_fitted is 5: give 3 to 4"):
        holdout_table(made_points(), n_fitted=5)


# ------------------------------------------------------------------------------------ written down


@pytest.fixture(scope="module")
def resampled(tmp_path_factory):
    folder = made_sweep(tmp_path_factory.mktemp("sweep"))
    return bootstrap_law(fit_law(final_points(loss_points([folder]))), 50)


def test_a_forecast_is_held_against_the_run(resampled, tmp_path):
    plan = Plan(n_layer=9, steps=400)
    said = write_prediction(tmp_path / "run", resampled, plan.config())
    stored = read_prediction(tmp_path / "run")
    assert stored == json.loads(json.dumps(said))
    assert stored["low"] < stored["value"] < stored["high"] and stored["features"] == "hidden"
    assert len(stored["points"]) == 18 and stored["parameters"].keys() == {*"EAaBb"}
    run = made_run(tmp_path / "run", plan)
    (row,) = check_prediction(run).to_dict("records")
    loss = run.metrics("val", "hidden")[-1]["loss"]
    assert row["measured"] == loss and row["predicted"] == stored["value"]
    assert row["percent"] == pytest.approx(100 * (stored["value"] / loss - 1))
    assert row["inside"] == (stored["low"] <= loss <= stored["high"])
    assert row["written"] < row["began"]


def test_a_forecast_stays_as_it_is_and_comes_before_the_run(resampled, tmp_path):
    plan = Plan(n_layer=9)
    write_prediction(tmp_path / "run", resampled, plan.config())
    with pytest.raises(InputError, match="has a forecast already, which stays as it is"):
        write_prediction(tmp_path / "run", resampled, plan.config())
    made_run(tmp_path / "begun", plan)
    with pytest.raises(InputError, match="the run in .*begun has begun"):
        write_prediction(tmp_path / "begun", resampled, plan.config())
    with pytest.raises(InputError, match="has no forecast"):
        read_prediction(tmp_path / "begun")


def test_a_forecast_from_after_the_beginning_is_refused(resampled, tmp_path):
    plan = Plan(n_layer=9)
    write_prediction(tmp_path / "run", resampled, plan.config())
    run = made_run(tmp_path / "run", plan)
    said = read_prediction(run)
    later = datetime.now(UTC) + timedelta(seconds=5)
    (run.path / PREDICTION).write_text(json.dumps(said | {"written": later.isoformat()}))
    with pytest.raises(InputError, match="it is no forecast"):
        check_prediction(run)


@pytest.mark.parametrize("early", [0.1, 0.9])
def test_a_clock_of_whole_seconds_refuses_no_forecast(resampled, tmp_path, early):
    plan = Plan(n_layer=9)
    said = write_prediction(tmp_path / "run", resampled, plan.config())
    run = made_run(tmp_path / "run", plan)
    before = datetime.fromisoformat(said["written"]).timestamp() - early
    os.utime(run.path / "config.json", (before, before))
    assert len(check_prediction(run)) == 1


def test_files_of_a_copied_run_are_newer_and_its_status_still_tells(resampled, tmp_path):
    plan = Plan(n_layer=9)
    write_prediction(tmp_path / "run", resampled, plan.config())
    run = made_run(tmp_path / "run", plan)
    hour_ago = datetime.now(UTC).timestamp() - 3600
    run.write_status(seconds=10.0)
    status = run.read("status.json") | {"updated": hour_ago}
    (run.path / "status.json").write_text(json.dumps(status))
    tomorrow = datetime.now(UTC).timestamp() + 86_400
    os.utime(run.path / "config.json", (tomorrow, tomorrow))
    with pytest.raises(InputError, match="it is no forecast"):
        check_prediction(run)


def test_another_run_or_an_unfinished_one_is_refused(resampled, tmp_path):
    for name, steps, state in (("longer", 500, "done"), ("stopped", 400, "stopped")):
        write_prediction(tmp_path / name, resampled, Plan(n_layer=9).config())
        made_run(tmp_path / name, Plan(n_layer=9, steps=steps), state)
    with pytest.raises(InputError, match="of samples = 25,600, and the run ended with 32,000"):
        check_prediction(tmp_path / "longer")
    with pytest.raises(InputError, match="is stopped: forecasts are of the end"):
        check_prediction(tmp_path / "stopped")


def test_a_run_is_trained_where_its_forecast_lies(resampled, tmp_path):
    shards = make_shards(tmp_path / "trees")
    config = small_run(shards, model=TINY, split="random", steps=4, eval_every=2)
    write_prediction(tmp_path / "run", resampled, config)
    run = train(config, tmp_path / "run")
    (row,) = check_prediction(run).to_dict("records")
    assert row["measured"] == run.metrics("val", "hidden")[-1]["loss"]
    assert row["N"] < loss_points([run])["parameters"].iloc[0] and not row["inside"]


def test_what_a_law_of_different_molecules_needs_is_taken_from_its_runs(resampled, tmp_path):
    points = final_points(made_points(data=(1e5, 2e5, 4e5)).assign(final=True))
    of_unique = bootstrap_law(fit_law(points, data="unique"), 20)
    config = replace(Plan(n_layer=9).config(), steps=10_000)
    said = write_prediction(tmp_path / "run", of_unique, config)
    assert said["at"]["unique"] == 400_000 < said["at"]["samples"]
    said = write_prediction(tmp_path / "other", of_unique, config, corpus=1_000)
    assert said["at"]["unique"] == 1_000


def test_a_folder_that_holds_something_else_gets_no_forecast(resampled, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds 1 other things"):
        write_prediction(tmp_path, resampled, Plan().config())
