"""Figures of studies show each arm once, the band that means no difference, and every interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("plotly")

from molnb.errors import InputError
from molnb.figures.studies import (
    plot_amounts,
    plot_changes,
    plot_interference,
    plot_learning_curves,
)

ROLES = {"alone": "reference", "quantum": "question", "shuffled": "negative control"}
PANELS = ("first", "second")


@pytest.fixture
def errors():
    rows = [
        (panel, arm, role, size, fold, 1 / size + 0.01 * fold)
        for panel in PANELS
        for arm, role in ROLES.items()
        for size in (25, 100)
        for fold in range(3)
    ]
    return pd.DataFrame(rows, columns=["panel", "arm", "role", "size", "fold", "mae"])


@pytest.fixture
def differences():
    rows = [
        (panel, arm, role, 0, change, change - 2, change + 1)
        for panel in PANELS
        for arm, role, change in [
            ("alone, other seeds", "replicate", 0.5),
            ("quantum", "question", -4.0),
            ("shuffled", "negative control", 1.0),
        ]
    ]
    return pd.DataFrame(rows, columns=["panel", "arm", "role", "size", "mean", "low", "high"])


def test_curves_are_means_over_folds_and_each_arm_is_in_the_legend_once(errors):
    smallest = pd.DataFrame(
        {"panel": PANELS, "size": [25, 25], "mae": [0.05, 0.05], "resolvable": [0.01, 0.02]}
    )
    bars = errors[errors["arm"] == "alone"].assign(arm="ridge", role="classical")
    figure = plot_learning_curves(errors, smallest, bars, {"first": "eV"})
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(shown) == sorted(
        [
            "cannot be told from alone",
            "alone (reference)",
            "quantum (question)",
            "shuffled (negative control)",
            "ridge",
        ]
    )
    curve = next(trace for trace in figure.data if trace.name == "quantum (question)")
    assert list(curve.x) == [25, 100] and np.allclose(curve.y, [0.05, 0.02])
    band = next(trace for trace in figure.data if trace.fill == "toself")
    assert np.allclose(sorted(band.y), [0.04, 0.06])
    assert "(eV)" in figure.layout.yaxis.title.text


def test_an_error_far_above_the_arms_is_written_and_does_not_flatten_them(errors):
    others = errors[errors["arm"] == "alone"].assign(arm="ridge", role="classical")
    far = (others["size"] == 25) & (others["panel"] == "first")
    others.loc[far, "mae"] = 7.0
    figure = plot_learning_curves(errors, classical=others)
    assert [note.text for note in figure.layout.annotations if "ridge" in note.text] == [
        "ridge 7 ↑"
    ]
    drawn = errors.groupby(["arm", "size"])["mae"].mean()
    low, high = figure.layout.yaxis.range
    assert low < drawn.min() and drawn.max() < high < 0.2
    assert figure.layout.yaxis2.range is None


def test_changes_have_their_intervals_and_stand_beneath_their_panel(differences):
    figure = plot_changes(differences)
    assert list(figure.layout.yaxis.ticktext) == [
        "<b>first</b>",
        "quantum",
        "shuffled",
        "<b>second</b>",
        "quantum",
        "shuffled",
    ]
    (first, *_) = figure.data
    assert list(first.x) == [-4] and list(first.y) == [-1]
    assert first.error_x.array[0] == 1 and first.error_x.arrayminus[0] == 2


def test_amounts_are_in_order_with_the_band_of_what_cannot_be_told(differences):
    two = differences[differences["role"] == "question"]
    figure = plot_amounts(two, [1_000, 2_000], 3.0)
    (curve,) = figure.data
    assert list(curve.x) == [1_000, 2_000] and list(curve.y) == [-4, -4]
    assert figure.layout.shapes[0].y0 == -3 and figure.layout.shapes[0].y1 == 3
    with pytest.raises(InputError, match="2 arms have a change"):
        plot_amounts(two, [1_000])


def test_a_pair_that_is_not_clear_has_a_dot(differences):
    matrix = pd.DataFrame(
        [("b", "a", -3.0, -4.0, -1.0), ("b", "c", 2.0, -1.0, 5.0), ("a", "b", 1.0, 0.5, 2.0)],
        columns=["task", "beside", "change", "low", "high"],
    )
    figure = plot_interference(matrix)
    (heat,) = figure.data
    assert list(heat.y) == ["b", "a"] and list(heat.x) == ["b", "a", "c"]
    assert [list(row) for row in heat.text] == [["", "-3.0", "+2.0 ·"], ["+1.0", "", ""]]
    assert heat.zmax == 3 and heat.zmin == -3


def test_a_table_of_something_else_is_refused(errors, differences):
    with pytest.raises(InputError, match="has no task, beside, change"):
        plot_interference(differences)
    with pytest.raises(InputError, match="has no rows"):
        plot_learning_curves(errors[:0])
    with pytest.raises(InputError, match="no change over all sizes"):
        plot_changes(differences[differences["role"] == "replicate"])
