"""Figures of sweeps: each seed a point, means over seeds alone, and failures where they were."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("plotly")

from molnb.errors import InputError
from molnb.figures.style import COLOURS
from molnb.figures.sweeps import plot_sweep

PRESETS = {"laptop_0m1": 94_432, "laptop_1m": 1_006_416}
RATES = (1e-3, 2e-3, 4e-3)


@pytest.fixture
def table():
    rows = [
        {
            "preset": preset,
            "learning_rate": rate,
            "global_batch": batch,
            "N": PRESETS[preset],
            "seed": seed,
            "state": "done",
            "loss": 3.0 - np.log10(PRESETS[preset]) / 10 + 100 * rate + batch / 1e3 + seed / 100,
        }
        for preset, rate, batch, seed in product(PRESETS, RATES, (32, 64), range(3))
    ]
    return pd.DataFrame(rows)


def lines(figure):
    return [trace for trace in figure.data if trace.mode == "lines"]


def test_there_is_a_point_a_run_and_a_line_through_the_means_over_seeds(table):
    rows = table[table["global_batch"] == 32]
    figure = plot_sweep(rows)
    assert figure.layout.xaxis.title.text == "learning rate"
    assert figure.layout.yaxis.title.text == "validation loss (weighted sum)"
    assert [trace.name for trace in lines(figure)] == list(PRESETS)
    for name, trace in zip(PRESETS, lines(figure), strict=True):
        of_line = rows[rows["preset"] == name]
        assert list(trace.x) == list(RATES)
        assert np.allclose(trace.y, of_line.groupby("learning_rate")["loss"].mean())
        (points,) = [t for t in figure.data if t.name == name and t.mode == "markers"]
        assert sorted(points.y) == sorted(of_line["loss"])
        assert points.marker.color == trace.line.color
    assert [trace.line.color for trace in lines(figure)] == list(COLOURS[:2])
    assert figure.layout.title.text == ""


def test_factors_are_even_steps_and_every_value_has_a_tick(table):
    for x in ("learning_rate", "global_batch", "N"):
        axis = plot_sweep(table, x=x).layout.xaxis
        assert axis.type == "log" and list(axis.tickvals) == sorted(set(table[x]))
    assert list(plot_sweep(table, x="N").layout.xaxis.ticktext) == ["94.4k", "1.01M"]
    deep = table.rename(columns={"global_batch": "model.n_layer"})
    axis = plot_sweep(deep, x="model.n_layer").layout.xaxis
    assert axis.type != "log" and axis.title.text == "n layer"


def test_what_varies_besides_has_a_panel_and_what_follows_from_the_axis_has_none(table):
    figure = plot_sweep(table)
    assert [note.text for note in figure.layout.annotations] == [
        "global batch 32",
        "global batch 64",
    ]
    assert [t.name for t in figure.data if t.showlegend] == list(PRESETS), "once in the legend"
    of_size = plot_sweep(table[table["global_batch"] == 32], x="N", colour="learning_rate")
    assert [note.text for note in of_size.layout.annotations] == [" "]
    assert [trace.name for trace in lines(of_size)] == ["0.001", "0.002", "0.004"]


def test_names_have_no_order_so_their_means_are_bars(table):
    figure = plot_sweep(table[table["learning_rate"] == 1e-3], x="preset", colour="global_batch")
    assert not lines(figure) and figure.layout.xaxis.type == "category"
    bars = [t for t in figure.data if t.marker.symbol == "line-ew"]
    assert [list(trace.x) for trace in bars] == [list(PRESETS)] * 2


def test_failed_runs_are_crosses_and_what_is_not_done_is_said(table):
    table = table[table["global_batch"] == 32].reset_index(drop=True)
    failed = (table["preset"] == "laptop_1m") & (table["learning_rate"] == 4e-3)
    table.loc[failed, "state"] = "failed"
    table.loc[0, "state"] = "running"
    figure = plot_sweep(table)
    assert figure.layout.title.text == "14 of 18 runs are done, 3 failed (crosses)"
    (crosses,) = [trace for trace in figure.data if trace.marker.symbol == "x-thin"]
    assert list(crosses.x) == [4e-3] * 3 and list(crosses.customdata) == [0, 1, 2]
    assert min(crosses.y) > table.loc[table["state"] == "done", "loss"].max()
    assert list(lines(figure)[1].x) == [1e-3, 2e-3]
    for nothing in (np.nan, None):
        all_failed = table.assign(state="failed", loss=nothing)
        assert "0 of 18 runs are done" in plot_sweep(all_failed).layout.title.text


def test_seeds_alone_are_a_figure_too(table):
    seeds = table[
        (table["preset"] == "laptop_1m")
        & (table["learning_rate"] == 1e-3)
        & (table["global_batch"] == 32)
    ]
    figure = plot_sweep(seeds)
    assert sorted(y for t in figure.data if t.marker.symbol is None for y in t.y) == sorted(
        seeds["loss"]
    )


def test_a_table_of_something_else_is_refused(table):
    with pytest.raises(InputError, match="the table has no lost: give one of sweep_table"):
        plot_sweep(table, y="lost")
    with pytest.raises(InputError, match="the table has no rows"):
        plot_sweep(table[:0])
