"""Figures made of points: one quantity against another, repeated values, atoms before and after.

Every `plot_*` turns a table into a plotly Figure in the look of :mod:`molnb.figures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .style import COLOURS

# Fill and text colour of elements in drawings of geometries; anything else is grey.
ELEMENTS = {
    1: ("H", "#ffffff", "#444"), 5: ("B", "#f0c0a0", "#000"), 6: ("C", "#555555", "#fff"), 7: ("N", "#3355dd", "#fff"),
    8: ("O", "#dd2222", "#fff"), 9: ("F", "#55aa33", "#fff"), 15: ("P", "#ee8800", "#000"),
    16: ("S", "#e6c300", "#000"), 17: ("Cl", "#33aa33", "#fff"),
    35: ("Br", "#992222", "#fff"), 53: ("I", "#7a1fa2", "#fff"),
}  # fmt: skip

TICKS = [
    step * 10**power for power in (-2, -1, 0, 1) for step in (1, 1.5, 2, 3, 5, 7)
]  # of a logarithmic axis


def plot_parity(
    truth: Sequence[float],
    guess: Sequence[float],
    truth_axis: str,
    guess_axis: str,
    title: str = "",
) -> go.Figure:
    """Guess against truth in the same unit, a point each, with the line where both agree."""
    truth, guess = np.asarray(truth, np.float32), np.asarray(guess, np.float32)
    ends = [float(min(truth.min(), guess.min())), float(max(truth.max(), guess.max()))]
    figure = go.Figure(
        layout={"template": "molnb", "height": 430, "title": title, "showlegend": False}
    )
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": "#444", "dash": "dash"}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=guess, y=truth, mode="markers", marker={"size": 6, "opacity": 0.5, "color": COLOURS[0]}
    )
    return figure.update_layout(xaxis_title=guess_axis, yaxis_title=truth_axis)


def plot_repeats(
    values: Sequence[float], flagged: Sequence[bool], axis: str, what: str, title: str = ""
) -> go.Figure:
    """How many rows share one exact value, a bar each; values with a flag stand out, `what`
    names the flag.
    """
    values, flagged = np.asarray(values, float), np.asarray(flagged, bool)
    figure = go.Figure(layout={"template": "molnb", "height": 360, "title": title})
    for name, mine, colour in (("other values", ~flagged, COLOURS[0]), (what, flagged, COLOURS[1])):
        exact, counts = np.unique(values[mine], return_counts=True)
        figure.add_bar(
            x=exact, y=counts, name=name, width=0.02, marker={"color": colour, "line": {"width": 0}}
        )
    figure.update_layout(
        xaxis_title=axis, yaxis_title="rows with exactly this value", barmode="overlay"
    )
    return figure.update_layout(
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"}
    )


def plot_ratios(
    rows: Sequence[Mapping[str, Any]], value: str, group: str, colour: str, title: str = ""
) -> go.Figure:
    """Ratios by group on a logarithmic axis, a mark each: rows hold `value`, `group` (a line) and
    `colour`.

    A dashed line marks 1. Colours are laid a little apart within a group, so that marks do not
    cover each other.
    """
    groups = list(dict.fromkeys(row[group] for row in rows))[::-1]
    kinds = list(dict.fromkeys(row[colour] for row in rows))
    figure = go.Figure(
        layout={"template": "molnb", "height": 150 + 85 * len(groups), "title": title}
    )
    for number, kind in enumerate(kinds):
        mine = [row for row in rows if row[colour] == kind]
        apart = 0.3 * (0.5 - (number + 0.5) / len(kinds)) * 2
        figure.add_scatter(
            x=[row[value] for row in mine],
            y=[groups.index(row[group]) + apart for row in mine],
            name=kind,
            mode="markers",
            marker={"size": 11, "opacity": 0.8, "color": COLOURS[number % len(COLOURS)]},
        )
    figure.add_vline(1, line={"dash": "dash", "width": 2, "color": "#444"})
    figure.update_yaxes(
        tickvals=list(range(len(groups))), ticktext=groups, range=[-0.6, len(groups) - 0.4]
    )
    figure.update_xaxes(
        type="log", title_text=value, tickvals=TICKS, ticktext=[f"{tick:g}" for tick in TICKS]
    )
    figure.update_layout(legend={"orientation": "h", "y": -0.3, "yanchor": "top"})
    return figure.update_yaxes(showgrid=False)


def plot_displaced(
    true: np.ndarray, moved: np.ndarray, bonds: np.ndarray, numbers: np.ndarray, title: str = ""
) -> go.Figure:
    """A molecule (Å) seen along its thinnest direction, and where each atom was moved to: an orange
    line an atom.

    `true` and `moved` are `[atom, 3]`, `bonds` `[bond, 2]` atom indices, `numbers` atomic numbers.
    """
    centre = true.mean(0)
    _, _, axes = np.linalg.svd(true - centre, full_matrices=False)
    flat, shifted = ((coords - centre) @ axes[:2].T for coords in (true, moved))
    figure = go.Figure(layout={"template": "molnb", "height": 430, "title": title})
    lines = (
        ("bonds", flat[bonds[:, 0]], flat[bonds[:, 1]], "#999999", 4),
        ("displacement", flat, shifted, COLOURS[1], 3),
    )
    for name, start, end, colour, width in lines:
        gap = np.full(len(start), np.nan)
        xs, ys = (np.stack([start[:, k], end[:, k], gap], 1).ravel() for k in (0, 1))
        figure.add_scatter(
            x=xs,
            y=ys,
            mode="lines",
            line={"color": colour, "width": width},
            name=name,
            hoverinfo="skip",
        )
    looks = [ELEMENTS.get(int(number), (str(number), "#cccccc", "#000")) for number in numbers]
    figure.add_scatter(
        x=flat[:, 0],
        y=flat[:, 1],
        mode="markers+text",
        name="true position",
        text=[look[0] for look in looks],
        textfont={"color": [look[2] for look in looks], "size": 13},
        marker={
            "size": 24,
            "color": [look[1] for look in looks],
            "line": {"width": 1, "color": "#444"},
        },
        showlegend=False,
    )
    figure.update_yaxes(scaleanchor="x", title_text="Å").update_xaxes(title_text="Å")
    return figure.update_layout(
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"}
    )
