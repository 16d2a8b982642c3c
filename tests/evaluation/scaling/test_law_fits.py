"""Fits find the law that made the losses, bear bad runs, and refuse what tells nothing."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from made_runs import SIZES, TRUTH, made_points
from scipy.optimize import minimize

from molnb import compute_frontier, final_points, fit_law
from molnb.errors import InputError
from molnb.evaluation.scaling.fitting import DELTA
from molnb.evaluation.scaling.laws import LAWS, ComputeLaw, PaperLaw, SizeLaw
from molnb.evaluation.scaling.problem import make_problem, to_lines
from molnb.evaluation.scaling.refusals import size_p_value


@pytest.fixture(scope="module")
def points():
    return made_points()


def values(law) -> np.ndarray:
    return np.array([*law.parameters.values()])


def test_without_noise_the_law_comes_back():
    fit = fit_law(made_points(noise=0.0, n_seed=1))
    assert values(fit.law) == pytest.approx(values(TRUTH), rel=1e-3)
    assert fit.n_agree == fit.n_start > 60
    assert np.abs(fit.residuals()["percent"]).max() < 1e-4


@pytest.mark.parametrize("law", ["size", "compute", "paper"])
def test_each_law_comes_back_from_its_own_losses(law):
    points = made_points(noise=0.0, n_seed=1)
    truth = {
        "size": SizeLaw(0.5, 20.0, 0.3),
        "compute": ComputeLaw(0.3, 4e3, 0.3),
        "paper": PaperLaw(0.8, -0.6, 5.0, -0.3, 30.0, -1.0),
    }[law]
    fit = fit_law(points.assign(loss=truth.predict(points)), law)
    assert values(fit.law) == pytest.approx(values(truth), rel=0.02)
    assert fit.predict({"N": 3e7, "flops": 1e16, "parameters": 3e7, "step": 9e4}) == pytest.approx(
        truth.predict({"N": 3e7, "flops": 1e16, "parameters": 3e7, "step": 9e4}), rel=1e-3
    )


def plain_objective(x: np.ndarray, points) -> tuple[float, np.ndarray]:
    """Huber's loss of log residuals and its gradient, as the equations stand."""
    log_e, log_a, log_b, a, b = x
    n = np.log(points["N"].to_numpy(float))
    d = np.log(points["samples"].to_numpy(float))
    terms = np.stack([np.full(len(n), log_e), log_a - a * n, log_b - b * d])
    total = np.logaddexp.reduce(terms)
    shares = np.exp(terms - total)
    residuals = total - np.log(points["loss"].to_numpy(float))
    near = np.abs(residuals) <= DELTA
    losses = np.where(near, residuals**2 / 2, DELTA * (np.abs(residuals) - DELTA / 2))
    slopes = np.clip(residuals, -DELTA, DELTA)
    parts = [*(shares * slopes).sum(1), -(shares[1] * n) @ slopes, -(shares[2] * d) @ slopes]
    return losses.sum(), np.array(parts)


def test_a_fit_agrees_with_a_plain_one(points):
    fit = fit_law(points)
    law = fit.law
    start = [np.log(law.E), np.log(law.A), np.log(law.B), law.a, law.b]
    objective, gradient = plain_objective(np.array(start), points)
    assert objective / len(points) == pytest.approx(fit.objective, rel=1e-6)
    assert np.abs(gradient).max() < 1e-3 * DELTA * len(points)
    options = {"maxiter": 20_000, "maxfun": 50_000, "ftol": 1e-15, "gtol": 1e-12}
    found = minimize(
        plain_objective, [0.0, 3.0, 3.0, 0.3, 0.3], (points,), "L-BFGS-B", True, options=options
    )
    assert fit.objective * len(points) <= found.fun * (1 + 1e-6)
    assert found.x[3:] == pytest.approx([law.a, law.b], rel=0.02)


def test_a_run_that_went_wrong_does_not_bend_the_law(points):
    bad = points["run"] == "size2-seed1"
    spoilt = points.assign(loss=np.where(bad, 1.5 * points["loss"], points["loss"]))
    clean = fit_law(points[~bad]).law
    law = fit_law(spoilt).law
    squares = fit_law(spoilt, delta=1e6).law
    at = {"N": np.array(SIZES), "samples": 640_000.0}
    far = np.abs(np.log(squares.predict(at) / clean.predict(at))).max()
    assert np.abs(np.log(law.predict(at) / clean.predict(at))).max() < 0.2 * far


def test_noise_of_half_a_percent_leaves_exponents_to_a_tenth(points):
    law = fit_law(points).law
    assert law.a == pytest.approx(TRUTH.a, rel=0.1) and law.b == pytest.approx(TRUTH.b, rel=0.1)
    of_unique = fit_law(points, data="unique")
    assert of_unique.law.data == "unique" and "different molecules" in of_unique.equation()


def test_a_law_survives_the_way_to_its_lines_and_back(points):
    for name in ("size and data", "paper"):
        fit = fit_law(points, name)
        problem = make_problem(fit.law, points)
        vector = to_lines(problem, fit.law)
        assert len(vector) == len(astuple(fit.law)[: len(fit.law.parameter_names())])
        assert ((vector >= problem.lines.low) & (vector <= problem.lines.high)).all()


def test_a_form_without_a_constant_says_that_its_exponents_end(points):
    """The losses have a floor, which the paper's form can only imitate by a power of zero."""
    fit = fit_law(points, "paper")
    assert any("b_c is 0" in note or "the end of what is tried" in note for note in fit.notes)


def test_the_frontier_is_what_no_other_point_beats_with_less(points):
    frontier = compute_frontier(points)
    plain = [
        row.name
        for _, row in points.iterrows()
        if not ((points["flops"] <= row["flops"]) & (points["loss"] < row["loss"])).any()
    ]
    assert sorted(frontier["loss"]) == sorted(points.loc[plain, "loss"])
    assert frontier["flops"].is_monotonic_increasing
    assert frontier["loss"].is_monotonic_decreasing
    assert len(fit_law(points, "compute").used) == len(frontier) < len(points)


# ------------------------------------------------------------------------------------------ refused


def refusal(points, law: str = "size and data", **options) -> str:
    with pytest.raises(InputError) as refused:
        fit_law(points, law, **options)
    return str(refused.value)


def test_one_size_or_one_amount_of_data_says_nothing_of_exponents(points):
    one_size = points[points["name"] == "size0"]
    assert "one size (N = 1e+05), which says nothing of A and a" in refusal(one_size)
    ends = final_points(points)
    said = refusal(ends)
    assert "one amount of data (D = 6.4e+05), which says nothing of B and b" in said
    assert "fit_law(points, 'size')" in said
    assert fit_law(ends, "size").law.a == pytest.approx(TRUTH.a, rel=0.5)


def test_two_sizes_do_not_tell_a_constant_from_a_power(points):
    two = points[points["N"].isin(SIZES[:2])]
    assert "two values of N" in refusal(two) and "need three" in refusal(two)


def test_size_and_data_that_go_together_are_not_told_apart(points):
    in_order = np.sort(points["samples"].unique())[[0, 5, 10, 15, 19]]
    together = points[points["samples"] == points["N"].map(dict(zip(SIZES, in_order)))]
    assert "correlation of their logarithms" in refusal(together)


def test_sizes_that_differ_no_more_than_seeds_are_refused():
    # sizes a percent apart, seeds five
    alike = made_points(sizes=(1.00e6, 1.01e6, 1.02e6), run_noise=0.05)
    assert "differ no more than those of seeds (p = " in refusal(alike)
    ends = final_points(alike)
    assert "differ no more than those of seeds" in refusal(ends, "size")
    different = made_points(run_noise=0.05)
    assert size_p_value(fit_law(different).law, different) < 1e-3
    alone = fit_law(made_points(n_seed=1))
    assert any("No run has a replicate" in note for note in alone.notes)


def test_fewer_settings_than_numbers_are_refused(points):
    data = np.sort(points["samples"].unique())
    few = points[
        (points["N"] == SIZES[0]) & points["samples"].isin(data[[0, 19]])
        | (points["N"] == SIZES[1]) & (points["samples"] == data[10])
        | (points["N"] == SIZES[2]) & (points["samples"] == data[0])
    ]
    assert "4 different settings, and the law of size and data has 5 numbers" in refusal(few)


def test_losses_and_quantities_must_have_logarithms(points):
    assert "no points" in refusal(points[:0])
    zero = points.assign(loss=points["loss"].where(points["samples"] > 70_000, 0.0))
    assert "15 of 300 losses are not positive numbers" in refusal(zero)
    begun = points.assign(samples=points["samples"].where(points["samples"] > 70_000, 0))
    begun["step"] = (begun["samples"] / 64).astype(int)
    assert "before its first step" in refusal(begun) and "later_points" in refusal(begun)
    unknown = points.assign(flops=np.nan)
    assert "C is unknown at 300 of 300 points" in refusal(unknown, "compute")
    mixed = points.assign(features=np.where(points["seed"] == 0, "hidden", "visible"))
    assert "several kinds of features (hidden, visible)" in refusal(mixed)
    assert "delta is 0" in refusal(points, delta=0)
    assert "no law 'chinchilla'" in refusal(points, "chinchilla")


def test_all_laws_are_refused_where_nothing_varies(points):
    same = points[(points["N"] == SIZES[0]) & (points["samples"] > 600_000)]
    for law in LAWS:
        assert "says nothing of" in refusal(same, law)
