"""Curves of equal FLOPs have their minimum at the size that is best, or say that they have none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_runs import SIZES, TRUTH, made_points

from molnb import find_optima
from molnb.errors import InputError
from molnb.evaluation.scaling.isoflop import iso_curve

LONG = tuple(np.geomspace(1e4, 1e7, 40))
BUDGETS = (1e13, 3e13, 1e14)


def best_size(flops: float) -> float:
    """The minimum of the true law where a molecule costs 18 N, on a fine grid."""
    sizes = np.geomspace(1e4, 1e8, 20_001)
    losses = TRUTH.predict({"N": sizes, "samples": flops / (18 * sizes)})
    return float(sizes[losses.argmin()])


@pytest.fixture(scope="module")
def points():
    return made_points(data=LONG)


def test_minima_are_where_the_law_has_them(points):
    found = find_optima(points, BUDGETS, n_draw=300)
    assert (found.minima["reason"] == "").all() and not found.is_lower_bound
    truth = np.array([best_size(flops) for flops in BUDGETS])
    # a parabola over two decades is not quite the curve
    assert np.abs(np.log(found.minima["best"] / truth)).max() < 0.25
    assert (found.minima["low"] < found.minima["best"]).all()
    assert (found.minima["best"] < found.minima["high"]).all()
    exact = TRUTH.b / (TRUTH.a + TRUTH.b)
    assert found.growth["low"] < found.growth["value"] < found.growth["high"]
    assert found.growth["value"] == pytest.approx(exact, abs=0.05)
    costs = 18 * found.minima["best"] * found.minima["samples"]
    assert (costs / found.minima["flops"]).tolist() == pytest.approx([1] * 3, rel=0.1)
    said = found.sentences()
    assert said[0].startswith("1e+13 FLOPs: the best size is ") and "grows as C^0.5" in said[-1]


def test_losses_are_interpolated_between_validations(points):
    curve = iso_curve(points, 1e13)
    assert len(curve) == 15 and set(curve["flops"]) == {1e13}
    expected = TRUTH.predict({"N": curve["N"], "samples": 1e13 / (18 * curve["N"])})
    assert np.abs(np.log(curve["loss"] / expected)).max() < 0.02
    assert curve["samples"].to_numpy() == pytest.approx(1e13 / (18 * curve["N"]))


def test_a_budget_at_the_edge_has_no_minimum(points):
    found = find_optima(points, [3e11], n_draw=50)
    (row,) = found.minima.to_dict("records")
    assert row["reason"].startswith("the budget lies at the edge: smaller models than 100,000 may")
    assert np.isnan([row["best"], row["low"], found.growth["value"]]).all()
    assert "the budget lies at the edge" in found.sentences()[0]
    small = made_points(sizes=(1e4, 2e4, 4e4), data=np.geomspace(1e5, 1e8, 20))
    reason = find_optima(small, [1e13], n_draw=50).minima["reason"].item()
    assert reason.endswith("larger models than 40,000 may be better")


def test_default_budgets_were_passed_by_three_sizes(points):
    found = find_optima(points, n_draw=50)
    assert len(found.minima) == 5
    assert (found.curves.groupby("flops")["N"].nunique() >= 3).all()
    early = made_points(data=(1e5, 2e5))
    with pytest.raises(InputError, match="no budget was passed by 3 sizes"):
        find_optima(early)


def test_with_one_run_a_size_there_is_no_interval():
    found = find_optima(made_points(data=LONG, n_seed=1), BUDGETS, n_draw=20)
    assert found.is_lower_bound and found.minima["best"].notna().all()
    assert found.minima[["low", "high"]].isna().all(axis=None)
    assert np.isnan(found.growth["low"]) and "single run" in found.sentences()[-1]
    assert "nan" not in " ".join(found.sentences())


def test_what_makes_no_curve_is_refused(points):
    with pytest.raises(InputError, match="1 sizes passed 1e.15 FLOPs, and a minimum needs 3"):
        find_optima(points, [1e15])
    with pytest.raises(InputError, match="the points have no FLOPs"):
        find_optima(points.assign(flops=np.nan))
    branch = points[points["run"] == "size0-seed0"].assign(run="branch", final=True)
    with pytest.raises(InputError, match="size0-seed0 and its cool-downs are mixed"):
        find_optima(pd.concat([points, branch]))


def test_ends_of_cool_downs_are_a_curve(points):
    each = points["run"] + "-" + points["step"].astype(str)
    ends = points.assign(run=each, final=True)
    whole = find_optima(points, BUDGETS, n_draw=20)
    branched = find_optima(ends, BUDGETS, n_draw=20)
    assert branched.minima["best"].tolist() == pytest.approx(whole.minima["best"].tolist())


def test_sizes_are_those_of_the_runs(points):
    assert set(find_optima(points, BUDGETS, n_draw=20).curves["N"]) == set(SIZES)
