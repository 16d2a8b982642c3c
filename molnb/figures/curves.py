"""Training curves: losses of runs against step, molecules or time, each beside its baseline.

Long curves are averaged here, so that a saved figure weighs kilobytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from ..errors import InputError
from .style import (
    COLOURS,
    DASHED,
    GLOW,
    LEGEND_BELOW,
    POINTS,
    X_AXES,
    baseline_label,
    panels,
    term_label,
)

if TYPE_CHECKING:
    from ..training.runs import Run

# Steps within a decade that carry a tick on a logarithmic axis, for axes of up to so many decades.
_TICKS = (
    (0.5, (1, 1.2, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8)),
    (1, (1, 1.5, 2, 3, 5, 7)),
    (1.5, (1, 2, 5)),
    (3, (1, 3)),
    (float("inf"), (1,)),
)


def plot_curves(
    curves: Sequence[tuple[str, Sequence[float], Sequence[float]]], x: str, y: str
) -> go.Figure:
    """One panel of named curves, from (name, x values, y values) of each.

    The first is a plain line, the others have marks. `x` and `y` are the titles of the axes.
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
    """Validation and training losses of runs, a panel a term, each beside its own baseline.

    Validation curves are marked, training curves thin and averaged; of what batches cannot say
    (rankings of classes) the training curve is that of a fixed sample of training rows. `features`
    chooses validation with atom features "hidden" or "visible" (default: what the first run logs
    first); `x` is "step", "molecules" seen, or "seconds". Dashed lines are the baselines of the
    first run.
    """
    if not runs:
        raise InputError("no runs to plot: train one first, or name another folder")
    if x not in X_AXES:
        raise InputError(f"x is {x!r}: choose one of {', '.join(X_AXES)}")
    features = features or next((row["features"] for row in runs[0].metrics("val")), "visible")
    baselines = {
        kind: values
        for kind, values in runs[0].baselines().items()
        if kind in (features, "mean", "lookup")
    }
    terms = list(terms or _terms_with_baseline(baselines)) or ["loss"]
    figure, positions = panels([term_label(term) for term in terms], columns=3, height=330)
    names = _run_names(runs)
    for term, position in zip(terms, positions):
        for number, run in enumerate(runs):
            legend = {"name": names[number], "legendgroup": names[number]}
            colour = COLOURS[number % len(COLOURS)]
            if train:
                steps, losses = _curve(run, _training_rows(run, term), term, x, logx)
                if len(steps):
                    steps, losses = averaged(steps, losses, logx)
                figure.add_scatter(
                    x=steps,
                    y=losses,
                    mode="lines",
                    line={"width": 1, "color": colour},
                    opacity=0.5,
                    hoverinfo="skip",
                    showlegend=False,
                    **legend,
                    **position,
                )
            steps, losses = _curve(run, run.metrics("val", features), term, x, logx)
            figure.add_scatter(
                x=steps,
                y=losses,
                mode="lines+markers",
                line={"color": colour},
                showlegend=term == terms[0],
                **legend,
                **position,
            )
        for kind, values in baselines.items():
            if values.get(term) is not None:
                _add_baseline(figure, values[term], baseline_label(term, kind), position)
    figure.update_xaxes(title_text=X_AXES[x])
    if logx:
        for axis in figure.select_xaxes():
            make_log(figure, axis)
    if logy:
        for axis in figure.select_yaxes():
            make_log(figure, axis)
    return figure.update_layout(legend=LEGEND_BELOW, margin={"b": 90})


def _terms_with_baseline(baselines: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Names of the losses that have a baseline of some kind, without accuracies."""
    names = dict.fromkeys(name for values in baselines.values() for name in values)
    return [name for name in names if "accuracy" not in name]


def _training_rows(run: Run, term: str) -> list[dict]:
    """The rows of training batches; where these lack a term, those of a sample of training rows."""
    rows = run.metrics("train", None)
    return rows if any(term in row for row in rows) else run.metrics("train_sample", None)


def _add_baseline(figure: go.Figure, value: float, name: str, position: Mapping[str, int]) -> None:
    """Add a dashed horizontal line as long as the curves of a panel, with its name above it."""
    xs = [x for trace in figure.select_traces(**position) for x in trace.x]
    figure.add_scatter(
        x=[min(xs, default=0), max(xs, default=1)],
        y=[value, value],
        mode="lines+text",
        line=DASHED | {"width": 2},
        showlegend=False,
        text=["", name],
        textposition="top left",
        textfont={"size": 13, "shadow": GLOW},
        hoverinfo="y",
        **position,
    )


def make_log(figure: go.Figure, axis: Any) -> None:
    """Make an axis logarithmic, with ticks that can be read however few decades it spans."""
    # plotly calls the axes xaxis, xaxis2, ...; a trace refers to them as x, x2, ...
    letter = axis.plotly_name[0]
    number = axis.plotly_name.removeprefix(f"{letter}axis")
    values = []
    for trace in figure.data:
        if (trace[f"{letter}axis"] or letter) == letter + number:
            values += [value for value in trace[letter] if value is not None and value > 0]
    low = np.log10(min(values, default=1.0))
    high = np.log10(max(values, default=1.0))
    steps = next(steps for decades, steps in _TICKS if high - low < decades)
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps]
    texts = [_tick_text(tick) for tick in ticks]
    axis.update(type="log", tickangle=0, tickvals=ticks, ticktext=texts)


def _tick_text(tick: float) -> str:
    """A number at an axis: 250k, 2.5M, 3·10¹²."""
    for unit, suffix in ((1, ""), (1e3, "k"), (1e6, "M")):
        if tick < 1e3 * unit:
            return f"{tick / unit:.12g}{suffix}"
    power = int(np.floor(np.log10(tick) + 1e-9))
    factor = round(tick / 10.0**power, 6)
    return ("" if factor == 1 else f"{factor:g}·") + f"10<sup>{power}</sup>"


def _run_names(runs: Sequence[Run]) -> list[str]:
    """Names of runs for a legend, with the seed or as folders where names alone do not differ."""
    choices = (
        [run.name for run in runs],
        [f"{run.name}, seed {run.config.seed}" for run in runs],
        [run.path.name for run in runs],
    )
    return next((names for names in choices if len(set(names)) == len(runs)), choices[-1])


def _curve(
    run: Run, rows: Sequence[dict], term: str, x: str, logx: bool
) -> tuple[np.ndarray, np.ndarray]:
    """One logged term of a run: x values (steps, molecules or seconds) and values of the term.

    Step 0 has no place on a logarithmic axis. Single precision halves the size of a saved figure.
    """
    rows = [row for row in rows if row.get(term) is not None and (row["step"] > 0 or not logx)]
    values = np.array([row[term] for row in rows], np.float32)
    xs = np.array([row["step"] for row in rows], float)
    if x == "molecules":
        xs = xs * run.config.global_batch
    elif x == "seconds":
        seconds_of_step = {row["step"]: row["seconds"] for row in run.timings()}
        xs = np.array([seconds_of_step.get(row["step"], np.nan) for row in rows])
    return xs.astype(np.float32), values


def averaged(
    x: Sequence[float], y: Sequence[float], log: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """A curve of at most POINTS points: means over stretches that look equally long on the axis."""
    x = np.asarray(x)
    y = np.asarray(y)
    if len(x) <= POINTS:
        return x, y
    spaced = np.geomspace if log else np.linspace
    edges = spaced(x[0], x[-1], POINTS + 1)
    stretches = np.split(np.arange(len(x)), np.searchsorted(x, edges[1:-1], side="right"))
    stretches = [indices for indices in stretches if len(indices)]
    mean_x = np.array([x[indices].mean() for indices in stretches])
    mean_y = np.array([y[indices].mean() for indices in stretches])
    return mean_x, mean_y
