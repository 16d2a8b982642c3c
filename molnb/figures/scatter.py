"""Figures made of points: one quantity against another, repeated values, atoms before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .elements import element_colour, element_symbol, text_colour
from .style import COLOURS, DASHED, LEGEND_ABOVE, LINE_COLOUR, panels

# Ticks of a logarithmic axis of ratios.
RATIO_TICKS = [step * 10**power for power in (-2, -1, 0, 1) for step in (1, 1.5, 2, 3, 5, 7)]


def plot_parity(
    truth: Sequence[float],
    guess: Sequence[float],
    truth_axis: str,
    guess_axis: str,
    title: str = "",
) -> go.Figure:
    """Guess against truth in the same unit, a point each, with the line where both agree."""
    truth = np.asarray(truth, np.float32)
    guess = np.asarray(guess, np.float32)
    ends = [float(min(truth.min(), guess.min())), float(max(truth.max(), guess.max()))]
    figure = go.Figure(
        layout={"template": "molnb", "height": 430, "title": title, "showlegend": False}
    )
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": LINE_COLOUR, "dash": "dash"}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=guess, y=truth, mode="markers", marker={"size": 6, "opacity": 0.5, "color": COLOURS[0]}
    )
    return figure.update_layout(xaxis_title=guess_axis, yaxis_title=truth_axis)


def plot_repeats(
    values: Sequence[float], flagged: Sequence[bool], axis: str, meaning: str, title: str = ""
) -> go.Figure:
    """How many rows share one exact value, a bar each; values with a flag stand out.

    `axis` names the values; `meaning` says in words what a flag means.
    """
    values = np.asarray(values, float)
    flagged = np.asarray(flagged, bool)
    figure = go.Figure(layout={"template": "molnb", "height": 360, "title": title})
    for name, rows, colour in (
        ("other values", ~flagged, COLOURS[0]),
        (meaning, flagged, COLOURS[1]),
    ):
        exact, counts = np.unique(values[rows], return_counts=True)
        figure.add_bar(
            x=exact, y=counts, name=name, width=0.02, marker={"color": colour, "line": {"width": 0}}
        )
    return figure.update_layout(
        xaxis_title=axis,
        yaxis_title="rows with exactly this value",
        barmode="overlay",
        legend=LEGEND_ABOVE | {"y": 1.02},
    )


def plot_ratios(
    rows: Sequence[Mapping[str, Any]], value: str, group: str, colour: str, title: str = ""
) -> go.Figure:
    """Ratios by group on a logarithmic axis, a mark each, with a dashed line at 1.

    `value`, `group` (a line of the figure) and `colour` name columns of the rows. Colours are laid
    a little apart within a group, so that marks do not cover each other.
    """
    groups = list(dict.fromkeys(row[group] for row in rows))[::-1]
    kinds = list(dict.fromkeys(row[colour] for row in rows))
    figure = go.Figure(
        layout={"template": "molnb", "height": 150 + 85 * len(groups), "title": title}
    )
    for number, kind in enumerate(kinds):
        rows_of_kind = [row for row in rows if row[colour] == kind]
        offset = 0.3 * (0.5 - (number + 0.5) / len(kinds)) * 2
        figure.add_scatter(
            x=[row[value] for row in rows_of_kind],
            y=[groups.index(row[group]) + offset for row in rows_of_kind],
            name=kind,
            mode="markers",
            marker={"size": 11, "opacity": 0.8, "color": COLOURS[number % len(COLOURS)]},
        )
    figure.add_vline(1, line=DASHED | {"width": 2})
    figure.update_yaxes(
        tickvals=list(range(len(groups))),
        ticktext=groups,
        range=[-0.6, len(groups) - 0.4],
        showgrid=False,
    )
    figure.update_xaxes(
        type="log",
        title_text=value,
        tickvals=RATIO_TICKS,
        ticktext=[f"{tick:g}" for tick in RATIO_TICKS],
    )
    return figure.update_layout(legend={"orientation": "h", "y": -0.3, "yanchor": "top"})


def plot_seeds(
    rows: Sequence[Mapping[str, Any]],
    value: str,
    group: str,
    panel: str,
    bar: float | None = 1.0,
    title: str = "",
) -> go.Figure:
    """Results of trainings that differ in their seed alone: a mark each, and a tick at their mean.

    `value`, `group` (a line of the figure) and `panel` name columns of the rows. A dashed line
    stands at `bar`, if one is given, which is what must be beaten.
    """
    groups = list(dict.fromkeys(row[group] for row in rows))[::-1]
    shown = list(dict.fromkeys(row[panel] for row in rows))
    figure, positions = panels([str(name) for name in shown], 2, height=120 + 34 * len(groups))
    for name, position in zip(shown, positions):
        for height, of_group in enumerate(groups):
            values = [row[value] for row in rows if (row[panel], row[group]) == (name, of_group)]
            if values:
                colour = COLOURS[(len(groups) - 1 - height) % len(COLOURS)]
                _add_seeds(figure, values, height, str(of_group), colour, position)
        if bar is not None:
            figure.add_vline(bar, line=DASHED | {"width": 2}, **position)
        figure.update_yaxes(
            tickvals=list(range(len(groups))),
            ticktext=groups,
            range=[-0.6, len(groups) - 0.4],
            showgrid=False,
            showticklabels=position["col"] == 1,
            **position,
        )
    figure.update_xaxes(matches="x")
    for position in positions[-2:]:  # the lowest of each column
        figure.update_xaxes(title_text=value, **position)
    margin = {"t": 100 if title else 50}
    return figure.update_layout(showlegend=False, title=title, margin=margin)


def _add_seeds(
    figure: go.Figure,
    values: Sequence[float],
    height: int,
    name: str,
    colour: str,
    position: Mapping[str, int],
) -> None:
    """Add a mark for each value of a line, and a tick at their mean."""
    figure.add_scatter(
        x=values,
        y=[height] * len(values),
        mode="markers",
        marker={"size": 11, "opacity": 0.7, "color": colour},
        hovertemplate=f"{name}: %{{x:.3f}}<extra></extra>",
        **position,
    )
    figure.add_scatter(
        x=[float(np.mean(values))],
        y=[height],
        mode="markers",
        marker={"symbol": "line-ns", "size": 22, "line": {"width": 3, "color": colour}},
        hovertemplate=f"{name}, mean: %{{x:.3f}}<extra></extra>",
        **position,
    )


def plot_displaced(
    true: np.ndarray, moved: np.ndarray, bonds: np.ndarray, numbers: np.ndarray, title: str = ""
) -> go.Figure:
    """A molecule (Å) seen along its thinnest direction, and an orange line to each moved atom.

    `true` and `moved` are `[atom, 3]`, `bonds` `[bond, 2]` atom indices, `numbers` atomic numbers.
    """
    centre = true.mean(0)
    # The first two principal axes span the plane in which the molecule is broadest.
    _, _, axes = np.linalg.svd(true - centre, full_matrices=False)
    plane = axes[:2].T
    flat = (true - centre) @ plane
    flat_moved = (moved - centre) @ plane
    figure = go.Figure(layout={"template": "molnb", "height": 430, "title": title})
    _add_lines(figure, "bonds", flat[bonds[:, 0]], flat[bonds[:, 1]], "#999999", 4)
    _add_lines(figure, "displacement", flat, flat_moved, COLOURS[1], 3)
    colours = [element_colour(number) for number in numbers]
    figure.add_scatter(
        x=flat[:, 0],
        y=flat[:, 1],
        mode="markers+text",
        name="true position",
        text=[element_symbol(number) for number in numbers],
        textfont={"color": [text_colour(colour) for colour in colours], "size": 13},
        marker={"size": 24, "color": colours, "line": {"width": 1, "color": LINE_COLOUR}},
        showlegend=False,
    )
    figure.update_yaxes(scaleanchor="x", title_text="Å").update_xaxes(title_text="Å")
    return figure.update_layout(legend=LEGEND_ABOVE)


def _add_lines(
    figure: go.Figure, name: str, starts: np.ndarray, ends: np.ndarray, colour: str, width: int
) -> None:
    """Add separate straight lines from points to points of a plane, as one trace."""
    figure.add_scatter(
        **line_coordinates(starts, ends),
        mode="lines",
        line={"color": colour, "width": width},
        name=name,
        hoverinfo="skip",
    )


def line_coordinates(starts: np.ndarray, ends: np.ndarray) -> dict[str, np.ndarray]:
    """x and y of one trace that draws lines from `starts` to `ends`, both `[line, 2]`.

    A NaN after each line keeps plotly from joining it to the next.
    """
    gaps = np.full_like(starts, np.nan, dtype=float)
    points = np.stack([starts, ends, gaps], 1).reshape(-1, 2)
    return {"x": points[:, 0], "y": points[:, 1]}
