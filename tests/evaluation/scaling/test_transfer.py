"""What a lower pretraining loss is worth to an assay: errors, their slope, and who may be asked."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("scipy")
from made_runs import SLOPE, Plan, made_encoders, made_run

from molnb.errors import InputError
from molnb.evaluation.scaling.transfer import FEWEST, TRAINED, transfer_points, transfer_slope


def test_the_slope_is_that_of_trained_encoders_with_an_interval_around_it():
    table = made_encoders()
    slope = transfer_slope(table)
    trained = table[table["kind"] == TRAINED]
    plain = np.polyfit(np.log(trained["loss"]), np.log(trained["error"]), 1)[0]
    assert slope.value == pytest.approx(plain) and slope.n == len(trained) == 18
    assert slope.low < SLOPE < slope.high and slope.high - slope.low < 0.1
    assert "18 encoders" in str(slope)


def test_what_size_does_to_vectors_is_left_out_within_sizes():
    table = made_encoders(of_size=-0.2)
    assert abs(transfer_slope(table).value - SLOPE) > 0.5
    within = transfer_slope(table, within_sizes=True)
    assert within.value == pytest.approx(SLOPE, abs=0.05)


def test_stages_of_one_training_are_drawn_together():
    random = np.random.default_rng(0)
    of_training = np.repeat(random.normal(size=(6, 2)), 8, axis=0)  # of log loss and log error
    table = pd.DataFrame(
        {
            "kind": TRAINED,
            "N": 1e5,
            "trunk": np.repeat([*"abcdef"], 8),
            "loss": np.exp(0.1 * of_training[:, 0] + 0.001 * random.normal(size=48)),
            "error": np.exp(0.1 * of_training[:, 1]),
        }
    )
    together = transfer_slope(table)
    alone = transfer_slope(table.assign(trunk=range(48)))
    assert together.value == alone.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_few_or_equal_encoders_have_no_slope():
    few = made_encoders(n_stage=2)
    assert (few["kind"] == TRAINED).sum() < FEWEST and transfer_slope(few) is None
    assert transfer_slope(made_encoders().assign(loss=1.0)) is None


def test_runs_that_may_have_seen_the_assay_are_refused(tmp_path):
    benchmark = SimpleNamespace(dataset="assay-1f3a9c02")
    with pytest.raises(InputError, match="may have seen molecules of assay-1f3a9c02"):
        transfer_points([made_run(tmp_path / "seen")], benchmark, [])
    with pytest.raises(InputError, match="no runs"):
        transfer_points([], benchmark, [])
    other = Plan(changes=(("exclude", ("another",)),))
    with pytest.raises(InputError, match="exclude="):
        transfer_points([made_run(tmp_path / "other", other)], benchmark, [])
