"""Figures of the scores of labels: each with its interval beside its bar, or, of many, how spread.

Errors are drawn in standard deviations of training labels, so that labels in different units stand
on one axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from ..errors import InputError
from .label_table import HEADINGS, Row, with_sd
from .style import BINS, COLOURS, DASHED, GLOW, LEGEND_BELOW, panels

if TYPE_CHECKING:
    import pandas as pd

    from ..training.runs import Run

MEASURES = ("mae_sd", "r2", "r2_residual", "auroc", "ap")  # shown unless others are named
MAX_LINES = 40  # labels with a line each; of more the distribution is drawn
_BAR_NAME = "trivial answer"
_BAR_COLOUR = "#8a8f98"


def plot_label_scores(
    scores: Run | pd.DataFrame,
    part: str = "val",
    measures: Sequence[str] | None = None,
) -> go.Figure:
    """Scores of the labels of a run, a panel a measure, beside those of the trivial answer.

    `scores` is a run or its `label_scores()`. Up to 40 labels have a line each, with the 95 %
    interval over molecules; of more the panel shows how many labels have which score. `measures`
    are names of metrics, and mae_sd, the mean absolute error in standard deviations of training
    labels. Trivial answers are the training mean, of extensive labels a fit on element counts, of
    classes their frequency.
    """
    table = scores if hasattr(scores, "columns") else scores.label_scores()
    rows = [row for row in with_sd(table.to_dict("records")) if row["part"] == part]
    if not rows:
        parts = ", ".join(dict.fromkeys(table["part"])) or "none"
        raise InputError(f"there are no scores of the part {part!r}: the table has {parts}")
    drawn = _by_measure(rows, measures)
    n_line = [len(of_measure) for of_measure in drawn.values() if len(of_measure) <= MAX_LINES]
    height = max(60 + 26 * max(n_line, default=0), 200 if len(n_line) == len(drawn) else 340)
    titles = [_title(name, of_measure) for name, of_measure in drawn.items()]
    figure, positions = panels(titles, 2, height)
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    colours = {task: COLOURS[number % len(COLOURS)] for number, task in enumerate(tasks)}
    for (name, of_measure), position in zip(drawn.items(), positions):
        draw = _draw_lines if len(of_measure) <= MAX_LINES else _draw_spread
        draw(figure, of_measure, colours, position)
        figure.update_xaxes(title_text=HEADINGS[name], **position)
    _add_legend(figure, colours)
    return figure.update_layout(
        legend=LEGEND_BELOW | {"y": -70 / (figure.layout.height - 120)},
        margin={"b": 110},
        barmode="overlay",
    )


def _by_measure(rows: Sequence[Row], measures: Sequence[str] | None) -> dict[str, list[Row]]:
    """The rows of each measure that is drawn; InputError where none is in the table."""
    drawn: dict[str, list[Row]] = {}
    for name in measures or MEASURES:
        of_measure = [row for row in rows if row["metric"] == name]
        if of_measure:
            drawn[name] = of_measure
        elif measures:
            known = dict.fromkeys(row["metric"] for row in rows)
            raise InputError(f"no label has the measure {name!r}: choose one of {', '.join(known)}")
    return drawn


def _title(name: str, rows: Sequence[Row]) -> str:
    """What a panel shows, and of how many labels it cannot."""
    n_scored = int(np.isfinite(_column(rows, "value")).sum())
    title = f"{HEADINGS[name]}: {n_scored:,} labels"
    return title if n_scored == len(rows) else f"{title} ({len(rows) - n_scored:,} undefined)"


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows], float)


def _draw_lines(
    figure: go.Figure, rows: Sequence[Row], colours: dict[str, str], position: dict[str, int]
) -> None:
    """A line a label: the score with its interval, and a tick where the trivial answer is."""
    heights = np.arange(len(rows))[::-1]
    figure.add_scatter(
        x=_column(rows, "baseline"),
        y=heights,
        mode="markers",
        marker={
            "symbol": "line-ns",
            "size": 15,
            "line": {"width": 3, "color": _BAR_COLOUR},
        },
        showlegend=False,
        hovertemplate=f"{_BAR_NAME}: %{{x:.3f}}<extra></extra>",
        **position,
    )
    for task, colour in colours.items():
        chosen = [number for number, row in enumerate(rows) if row["task"] == task]
        if not chosen:
            continue
        of_task = [rows[number] for number in chosen]
        value = _column(of_task, "value")
        figure.add_scatter(
            x=value,
            y=heights[chosen],
            error_x={
                "array": _column(of_task, "high") - value,
                "arrayminus": value - _column(of_task, "low"),
                "symmetric": False,
                "thickness": 2.5,
                "width": 4,
                "color": colour,
            },
            mode="markers",
            marker={"size": 10, "color": colour},
            text=[f"{row['label']}, {row['n']:,} known" for row in of_task],
            hovertemplate="%{text}: %{x:.3f}<extra></extra>",
            showlegend=False,
            **position,
        )
    figure.update_yaxes(
        tickvals=heights,
        ticktext=[row["label"] for row in rows],
        range=[-0.7, len(rows) - 0.3],
        showgrid=False,
        **position,
    )


def _draw_spread(
    figure: go.Figure, rows: Sequence[Row], colours: dict[str, str], position: dict[str, int]
) -> None:
    """How many labels of each task have which score, their median, and how trivial ones spread."""
    value = _column(rows, "value")
    bar = _column(rows, "baseline")
    known = np.concatenate([value, bar])
    if not np.isfinite(known).any():
        return
    low, high = np.nanpercentile(known, [0.5, 99.5])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    highest = 0
    medians = {}
    for task, colour in colours.items():
        of_task = value[[row["task"] == task for row in rows]]
        of_task = of_task[np.isfinite(of_task)]
        if not len(of_task):
            continue
        medians[colour] = float(np.median(of_task))
        count = _counted(of_task, edges)
        highest = max(highest, count.max())
        figure.add_bar(
            x=middle,
            y=count,
            marker={"color": colour, "line": {"width": 0}},
            opacity=0.65,
            showlegend=False,
            hovertemplate="%{y:,} labels about %{x:.3f}<extra></extra>",
            **position,
        )
    bar = bar[np.isfinite(bar)]
    if len(bar) and np.ptp(bar) > 0:
        count = _counted(bar, edges)
        highest = max(highest, count.max())
        figure.add_scatter(
            x=middle,
            y=count,
            mode="lines",
            line={"color": _BAR_COLOUR, "width": 2.5, "shape": "hvh"},
            showlegend=False,
            hovertemplate=f"{_BAR_NAME}: %{{y:,}} labels about %{{x:.3f}}<extra></extra>",
            **position,
        )
    elif len(bar):
        line = {"color": _BAR_COLOUR, "width": 3}
        _add_upright(figure, bar[0], highest, line, "", position)
    for number, (colour, median) in enumerate(medians.items()):
        line = DASHED | {"color": colour, "width": 2}
        top = (1.05 + 0.1 * number) * highest
        _add_upright(figure, median, top, line, f"median {median:.3f}", position)
    room = 1.1 + 0.1 * len(medians)
    figure.update_yaxes(title_text="labels", range=[0, room * highest], **position)


def _counted(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Values in each bin; what lies outside is added to the outermost."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]


def _add_upright(
    figure: go.Figure,
    x: float,
    height: float,
    line: dict[str, Any],
    text: str,
    position: dict[str, int],
) -> None:
    """A vertical line in a panel, with words above it."""
    figure.add_scatter(
        x=[x, x],
        y=[0, height],
        mode="lines+text",
        line=line,
        text=["", text],
        textposition="top center",
        textfont={"size": 13, "shadow": GLOW},
        showlegend=False,
        hoverinfo="x",
        **position,
    )


def _add_legend(figure: go.Figure, colours: dict[str, str]) -> None:
    """A mark for each task, and one for the trivial answer."""
    for task, colour in colours.items():
        figure.add_scatter(
            x=[None], y=[None], mode="markers", marker={"size": 10, "color": colour}, name=task
        )
    figure.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker={"symbol": "line-ns", "size": 15, "line": {"width": 3, "color": _BAR_COLOUR}},
        name=_BAR_NAME,
    )
