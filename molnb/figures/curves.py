"""Figures: each `plot_*` turns a table into a plotly Figure in one look.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; text is large enough for a
projector; axes carry units. Histograms are binned and long curves averaged here, so that a saved
figure weighs kilobytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from ..errors import InputError

if TYPE_CHECKING:
    from ..training.runs import Run
from .style import COLOURS, GLOW, POINTS, X_AXES, baseline_label, panels, term_label


def plot_curves(
    curves: Sequence[tuple[str, Sequence[float], Sequence[float]]], x: str, y: str
) -> go.Figure:
    """Named curves in one panel, as (name, x values, y values): the first a plain line, the
    others with marks.
    """
    figure = go.Figure(
        layout={"template": "molnb", "height": 320, "xaxis_title": x, "yaxis_title": y}
    )
    for number, (name, xs, ys) in enumerate(curves):
        figure.add_scatter(x=xs, y=ys, name=name, mode="lines+markers" if number else "lines")
    return figure


def plot_losses(
    runs: Sequence[Run],
    terms: Sequence[str] | None = None,
    features: str | None = None,
    x: str = "step",
    logx: bool = False,
    logy: bool = False,
    train: bool = True,
) -> go.Figure:
    """Validation (marked) and training curves (thin, averaged) of runs, a panel a term, each beside
    its own baseline.

    `features` chooses validation with atom features "hidden" or "visible" (default: what the first
    run logs first); `x` is "step", "molecules" seen, or "seconds". Dashed lines are the baselines
    of the first run.
    """
    if not runs:
        raise InputError("no runs to plot: train one first, or name another folder")
    features = features or next((row["features"] for row in runs[0].metrics("val")), "visible")
    bars = {
        kind: found
        for kind, found in runs[0].baselines().items()
        if kind in (features, "mean", "lookup")
    }
    scored = dict.fromkeys(
        name for found in bars.values() for name in found if "accuracy" not in name
    )
    terms = list(terms or scored) or ["loss"]
    figure, places = panels([term_label(term) for term in terms], columns=3, height=330)
    names, shown = (
        _run_names(runs),
        {part: features if part == "val" else None for part in ("train", "val")},
    )
    for term, place in zip(terms, places):
        for number, run in enumerate(runs):
            curves = {
                part: _curve(run, run.metrics(part, chosen), term, x, logx)
                for part, chosen in shown.items()
            }
            named = {
                "name": names[number],
                "legendgroup": names[number],
                "showlegend": term == terms[0],
            }
            if train and len(curves["train"][0]):
                curves["train"] = averaged(*curves["train"], logx)
            _add_run(
                figure,
                curves if train else {"val": curves["val"]},
                COLOURS[number % len(COLOURS)],
                named,
                place,
            )
        for kind, found in bars.items():
            if term in found:
                _add_baseline(figure, found[term], baseline_label(term, kind), place)
    figure.update_xaxes(title_text=X_AXES[x])
    for axes, log in ((figure.select_xaxes, logx), (figure.select_yaxes, logy)):
        for axis in axes() if log else ():
            _make_log(figure, axis)
    return figure.update_layout(
        legend={"orientation": "h", "y": -0.22, "yanchor": "top"}, margin={"b": 90}
    )


def _add_baseline(figure: go.Figure, value: float, name: str, place: Mapping[str, int]) -> None:
    """A dashed horizontal line over the length of the curves of a panel, with its name above it."""
    xs = [x for trace in figure.select_traces(**place) for x in trace.x]
    look = {
        "mode": "lines+text",
        "line": {"dash": "dash", "width": 2, "color": "#444"},
        "showlegend": False,
    }
    text = {
        "text": ["", name],
        "textposition": "top left",
        "textfont": {"size": 13, "shadow": GLOW},
        "hoverinfo": "y",
    }
    figure.add_scatter(
        x=[min(xs, default=0), max(xs, default=1)], y=[value, value], **look, **text, **place
    )


def _make_log(figure: go.Figure, axis: Any) -> None:
    """A logarithmic axis with readable ticks: several a decade where there are few, else powers
    of ten.
    """
    kind, number = axis.plotly_name[0], axis.plotly_name[5:]
    values = [v for t in figure.data if (t[f"{kind}axis"] or kind)[1:] == number for v in t[kind]]
    values = [v for v in values if v > 0] or [1.0]
    low, high = np.log10(min(values)), np.log10(max(values))
    finer = (
        (0.5, (1, 1.2, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8)),
        (1, (1, 1.5, 2, 3, 5, 7)),
        (1.5, (1, 2, 5)),
        (3, (1, 3)),
    )
    steps = next((steps for span, steps in finer if high - low < span), (1,))
    ticks = [
        step * 10.0**power
        for power in range(int(np.floor(low)), int(np.ceil(high)) + 1)
        for step in steps
    ]
    axis.update(
        type="log",
        tickangle=0,
        tickvals=ticks,
        ticktext=[f"{t / 1000:.12g}k" if t >= 1000 else f"{t:.12g}" for t in ticks],
    )


def _add_run(
    figure: go.Figure,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    colour: str,
    named: Mapping[str, Any],
    place: Mapping[str, int],
) -> None:
    """The training curve of a run, thin, under its validation curve."""
    if "train" in curves:
        steps, values = curves["train"]
        look = {
            "mode": "lines",
            "line": {"width": 1, "color": colour},
            "opacity": 0.5,
            "hoverinfo": "skip",
        }
        figure.add_scatter(x=steps, y=values, **look, **{**named, "showlegend": False}, **place)
    steps, values = curves["val"]
    figure.add_scatter(
        x=steps, y=values, mode="lines+markers", line={"color": colour}, **named, **place
    )


def _run_names(runs: Sequence[Run]) -> list[str]:
    """Names of runs for a legend; with the seed, then the folder, where that is needed to tell
    them apart.
    """
    for name in (
        lambda run: run.name,
        lambda run: f"{run.name}, seed {run.config.seed}",
        lambda run: run.path.name,
    ):
        names = [name(run) for run in runs]
        if len(set(names)) == len(names):
            break
    return names


def _curve(
    run: Run, rows: Sequence[dict], term: str, x: str, logx: bool
) -> tuple[np.ndarray, np.ndarray]:
    """One logged term against step, molecules or seconds; step 0 has no place on a logarithmic
    axis.
    """
    if x not in X_AXES:
        raise InputError(f"x is {x!r}: choose one of {', '.join(X_AXES)}")
    rows = [row for row in rows if row.get(term) is not None and (row["step"] > 0 or not logx)]
    steps = np.array([row["step"] for row in rows], float)
    if x == "molecules":
        steps = steps * run.config.global_batch
    elif x == "seconds":
        clock = {row["step"]: row["seconds"] for row in run.timings()}
        steps = np.array([clock.get(row["step"], np.nan) for row in rows])
    return steps.astype(np.float32), np.array(
        [row[term] for row in rows], np.float32
    )  # half the size when saved


def averaged(
    x: Sequence[float], y: Sequence[float], log: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Means over stretches of a curve that look equally long, on a logarithmic axis too; at most
    POINTS of them.
    """
    x, y = np.asarray(x), np.asarray(y)
    if len(x) <= POINTS:
        return x, y
    edges = np.geomspace(x[0], x[-1], POINTS + 1) if log else np.linspace(x[0], x[-1], POINTS + 1)
    parts = [
        part
        for part in np.split(np.arange(len(x)), np.searchsorted(x, edges[1:-1], side="right"))
        if len(part)
    ]
    return np.array([x[part].mean() for part in parts]), np.array(
        [y[part].mean() for part in parts]
    )


def plot_gains(runs: Sequence[Run], features: str = "hidden") -> go.Figure:
    """How far each term of the last validation lies below its baseline, in per cent; a mark a
    run, zero is no gain.
    """
    rows = [
        (run, term, 100 * (1 - run.last(features)[term] / bar))
        for run, term, bar in _beaten(runs, features)
    ]
    figure = go.Figure()
    for name, run in zip(_run_names(runs), runs):
        mine = [(_panel_name(term), gain) for one, term, gain in rows if one is run]
        figure.add_scatter(
            x=[gain for _, gain in mine], y=[term for term, _ in mine], mode="markers", name=name
        )
    figure.add_vline(0, line={"dash": "dash", "width": 2, "color": "#444"})
    figure.update_layout(
        template="molnb", height=330, xaxis_title=f"below its baseline (%), features {features}"
    )
    return figure.update_traces(marker={"size": 13, "opacity": 0.85})


def _panel_name(term: str) -> str:
    return term_label(term).partition(" (")[0]


def _beaten(runs: Sequence[Run], features: str) -> list[tuple[Run, str, float]]:
    """Every run, term and baseline that a last validation row can be held against."""
    found = []
    for run in runs:
        last, bars = (
            run.last(features),
            run.baselines().get(features) or run.baselines().get("mean", {}),
        )
        found += [
            (run, term, bar)
            for term, bar in bars.items()
            if "accuracy" not in term and term in last
        ]
    return found
