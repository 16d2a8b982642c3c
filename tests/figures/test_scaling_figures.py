"""Figures of scaling: every run a line, laws beside what was measured, budgets, transfer."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("plotly")
pytest.importorskip("scipy")
from made_runs import TRUTH, made_encoders, made_points

from molnb.errors import InputError
from molnb.evaluation.scaling.advice import advise
from molnb.evaluation.scaling.bootstrap import bootstrap_law
from molnb.evaluation.scaling.fitting import fit_law
from molnb.evaluation.scaling.isoflop import find_optima
from molnb.evaluation.scaling.transfer import RANDOM, TRAINED, transfer_slope
from molnb.figures.budget_explorer import _Panel
from molnb.figures.scaling import (
    plot_advice,
    plot_family,
    plot_iso_flops,
    plot_law,
    plot_transfer,
    size_colours,
)

DATA = (64_000, 200_000, 640_000)


@pytest.fixture(scope="module")
def points():
    return made_points(n_seed=2, data=DATA)


@pytest.fixture(scope="module")
def resampled(points):
    smaller = points[points["N"] < points["N"].max()]
    return bootstrap_law(fit_law(smaller), n_draw=40)


def test_every_run_is_a_line_and_every_size_a_colour_once_in_the_legend(points):
    figure = plot_family(points, logx=True, logy=True)
    assert len(figure.data) == points["run"].nunique() == 10
    assert sum(bool(trace.showlegend) for trace in figure.data) == 5
    assert len({trace.line.color for trace in figure.data}) == 5
    for trace in figure.data:
        run = points[points["run"] == trace.hovertemplate.partition(":")[0]]
        assert list(trace.x) == list(run["samples"]) and list(trace.y) == list(run["loss"])
        assert trace.marker.symbol[-1] == "circle-open", "a training ended there"
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"
    with pytest.raises(InputError, match="choose one of"):
        plot_family(points, x="molecules")


def test_points_of_step_zero_have_no_place_on_a_logarithmic_axis(points):
    begun = points.assign(samples=points["samples"].where(points["samples"] > DATA[0], 0))
    assert min(min(trace.x) for trace in plot_family(begun).data) == 0
    assert min(min(trace.x) for trace in plot_family(begun, logx=True).data) > 0


def test_a_law_is_drawn_through_what_it_says_and_beside_what_it_was_not_fitted_to(
    points, resampled
):
    held_out = points[points["N"] == points["N"].max()]
    for x, n_line in (("N", len(DATA)), ("samples", 5)):
        figure = plot_law(resampled, held_out, x)
        lines = [trace for trace in figure.data if trace.mode == "lines" and trace.name]
        assert len(lines) == n_line
        open_marks = [t for t in figure.data if t.marker.symbol == "diamond-open" and t.x[0]]
        drawn = sorted(np.concatenate([trace.y for trace in open_marks]))
        assert drawn == sorted(held_out["loss"])
    (first, *_) = [trace for trace in plot_law(resampled).data if trace.mode == "lines"][1::2]
    expected = resampled.law.predict({"N": np.array(first.x), "samples": DATA[0]})
    assert np.allclose(first.y, expected)
    with pytest.raises(InputError, match="choose N or samples"):
        plot_law(resampled, x="flops")


def test_equal_budgets_have_a_line_each_and_a_star_at_the_best_size():
    points = made_points(n_seed=2, data=np.geomspace(2_000, 6_400_000, 12))
    optima = find_optima(points, n_draw=40)
    figure = plot_iso_flops(optima)
    (stars,) = [trace for trace in figure.data if trace.marker.symbol == "star"]
    found = optima.minima[optima.minima["reason"] == ""]
    assert len(found) and list(stars.x) == list(found["best"])


def test_a_budget_shows_the_best_size_and_the_chosen_one(points):
    law = bootstrap_law(fit_law(points), n_draw=40)
    advice = advise(law, points, hours=100)
    chosen = points["N"].median()
    figure = plot_advice(advice, chosen)
    curve, best, other, _ = figure.data
    assert min(curve.y) == pytest.approx(advice.loss, rel=1e-6) and best.x[0] == advice.size
    assert other.x[0] == pytest.approx(chosen, rel=0.05) and other.y[0] >= advice.loss


def test_sliders_move_the_figure_and_say_why_nothing_can_be_said(points):
    pytest.importorskip("ipywidgets")
    pytest.importorskip("anywidget")
    law = bootstrap_law(fit_law(points), n_draw=40)
    panel = _Panel(law, points, 100.0, None)
    before = panel.figure.data[1].x[0]
    panel.hours.value = 300.0
    assert panel.figure.data[1].x[0] > before, "more hours, a larger model"
    panel.size.value = panel.figure.data[1].x[0]
    assert "0.0 % above the best" in panel.said.value
    panel.points = points.assign(flops=np.nan)
    panel.hours.value = 200.0
    assert "do not say how many FLOPs" in panel.said.value


def test_transfer_has_a_mark_an_encoder_and_a_line_only_with_a_slope():
    table = made_encoders()
    slope = transfer_slope(table)
    figure = plot_transfer(table, "error (eV)", slope)
    n_mark = sum(len(trace.x) for trace in figure.data if trace.marker.symbol == "circle")
    assert n_mark == (table["kind"] == TRAINED).sum()
    crosses = [t for t in figure.data if t.marker.symbol == "x-thin-open" and t.x[0]]
    assert sum(len(trace.x) for trace in crosses) == (table["kind"] == RANDOM).sum()
    (line,) = [trace for trace in figure.data if trace.mode == "lines"]
    steepness = np.log(line.y[-1] / line.y[0]) / np.log(line.x[-1] / line.x[0])
    assert steepness == pytest.approx(slope.value)
    assert not [trace for trace in plot_transfer(table, "error").data if trace.mode == "lines"]


def test_sizes_go_from_dark_to_light_and_one_size_has_a_colour():
    colours = size_colours([1e6, 1e4, 1e5])
    assert list(colours) == [1e4, 1e5, 1e6] and len(set(colours.values())) == 3
    assert len(size_colours([TRUTH.A])) == 1
