"""Figures of scaling: loss curves of sizes, laws beside what was measured, budgets, transfer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from ..errors import InputError, did_you_mean
from ..evaluation.scaling.advice import Advice
from ..evaluation.scaling.bootstrap import Bootstrap
from ..evaluation.scaling.isoflop import IsoFlops
from ..evaluation.scaling.transfer import RANDOM, TRAINED, Slope
from ..texts import rounded
from .curves import make_log
from .style import COLOURS, DASHED, LEGEND_BELOW, X_AXES, term_label

AXES = {
    "N": "parameters without tables and heads, N",
    "samples": X_AXES["molecules"],
    "unique": "different molecules seen",
    "flops": "operations of training (FLOPs)",
    "step": X_AXES["step"],
}
_SCALE = "Viridis"
_ENDS = (0.0, 0.85)  # of the scale: its yellow end is hard to see on white
_POINTS = 80  # of a line that a law draws
_BAND_OPACITY = 0.15
_BEYOND = 1.25  # by which a law's line goes on behind the last point


def plot_family(
    points: pd.DataFrame, x: str = "samples", logx: bool = False, logy: bool = False
) -> go.Figure:
    """Losses on the way, a line a run, coloured by size; a ring where a training ended.

    `points` is a table of `loss_points`; `x` is samples, step or flops. Points of step 0 have no
    place on a logarithmic axis.
    """
    if x not in AXES:
        raise InputError(f"x is {x!r}{did_you_mean(x, AXES)}: choose one of {', '.join(AXES)}")
    shown = points[(points[x] > 0) | (not logx)]
    colours = size_colours(points["N"])
    figure = go.Figure(layout={"template": "molnb", "height": 440})
    named: set[float] = set()
    for (n, _), run in shown.groupby(["N", "run"], sort=False):
        run = run.sort_values("step")
        figure.add_scatter(
            x=run[x].to_numpy(float),
            y=run["loss"].to_numpy(float),
            mode="lines+markers",
            name=f"N = {rounded(n)}",
            legendgroup=str(n),
            legendrank=1000 + list(colours).index(n),
            showlegend=n not in named,
            line={"color": colours[n], "width": 2},
            marker={
                "size": np.where(run["final"], 10, 5),
                "symbol": np.where(run["final"], "circle-open", "circle").tolist(),
                "color": colours[n],
            },
            hovertemplate=f"{run['run'].iloc[0]}: %{{x:,.4s}}, %{{y:.4g}}<extra></extra>",
        )
        named.add(n)
    figure.update_xaxes(title_text=AXES[x])
    figure.update_yaxes(title_text=_loss_words(points))
    _logarithms(figure, logx, logy)
    return figure.update_layout(legend=LEGEND_BELOW)


def size_colours(sizes: Any) -> dict[float, str]:
    """A colour for each size, from dark to light in the order of their logarithms."""
    sizes = sorted(set(np.asarray(sizes, float)))
    logs = np.log(sizes)
    span = logs[-1] - logs[0]
    places = (logs - logs[0]) / span if span else np.zeros(len(logs))
    places = _ENDS[0] + places * (_ENDS[1] - _ENDS[0])
    return dict(zip(sizes, sample_colorscale(_SCALE, places.tolist()), strict=True))


def plot_law(
    resampled: Bootstrap, held_out: pd.DataFrame | None = None, x: str = "N", new_run: bool = True
) -> go.Figure:
    """A fitted law beside the losses: filled where it was fitted to, open where it was not.

    Along N a line is one amount of data, along samples one size; bands are where a single run is
    expected (`new_run`), or the expected loss. `held_out` are points that it was not fitted to.
    """
    other = {"N": "samples", "samples": "N"}.get(x)
    if other is None:
        raise InputError(f"x is {x!r}: choose N or samples")
    fitted = resampled.fit.used
    held_out = fitted.iloc[:0] if held_out is None else held_out
    everything = pd.concat([fitted, held_out], ignore_index=True)
    colours = size_colours(everything[other])
    ends = everything[x].min() / _BEYOND, everything[x].max() * _BEYOND
    figure = go.Figure(layout={"template": "molnb", "height": 440})
    for value, colour in colours.items():
        name = f"{rounded(value)} molecules" if other == "samples" else f"N = {rounded(value)}"
        of_value = {"colour": colour, "name": name, "group": str(value)}
        template = everything[everything[other] == value].iloc[0]
        _add_law(figure, resampled, template, x, ends, new_run, of_value)
        for table, symbol in ((fitted, "circle"), (held_out, "diamond-open")):
            _add_measured(figure, table[table[other] == value], x, symbol, of_value)
    if len(held_out):
        _explain_marks(figure)
    figure.update_xaxes(title_text=AXES[x])
    figure.update_yaxes(title_text=_loss_words(fitted))
    _logarithms(figure, True, True)
    return figure.update_layout(legend=LEGEND_BELOW)


def _add_law(
    figure: go.Figure,
    resampled: Bootstrap,
    template: pd.Series,
    x: str,
    ends: tuple[float, float],
    new_run: bool,
    look: dict[str, str],
) -> None:
    """Add what a law expects along an axis, all else as at a point, with its band."""
    along = np.geomspace(*ends, _POINTS)
    at = pd.DataFrame([template] * _POINTS).reset_index(drop=True)
    at[x] = along
    if x == "samples":
        at["step"] = along / (template["samples"] / template["step"])
        at["unique"] = np.minimum(along, template["corpus"])
    expected = resampled.predict(at, new_run)
    figure.add_scatter(
        x=np.concatenate([along, along[::-1]]),
        y=np.concatenate([expected["high"], expected["low"][::-1]]),
        fill="toself",
        fillcolor=_faint(look["colour"]),
        line={"width": 0},
        mode="lines",
        legendgroup=look["group"],
        showlegend=False,
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=along,
        y=expected["loss"].to_numpy(),
        mode="lines",
        name=look["name"],
        legendgroup=look["group"],
        line={"color": look["colour"], "width": 2},
        hovertemplate=f"{look['name']}: law %{{y:.4g}}<extra></extra>",
    )


def _add_measured(
    figure: go.Figure, table: pd.DataFrame, x: str, symbol: str, look: dict[str, str]
) -> None:
    """Add losses that were measured."""
    if table.empty:
        return
    figure.add_scatter(
        x=table[x].to_numpy(float),
        y=table["loss"].to_numpy(float),
        mode="markers",
        legendgroup=look["group"],
        showlegend=False,
        marker={
            "color": look["colour"],
            "size": 9 if symbol == "circle" else 12,
            "symbol": symbol,
            "line": {"width": 2.5 if symbol.endswith("open") else 0},
        },
        hovertemplate=f"{look['name']}: %{{y:.4g}}<extra>measured</extra>",
    )


def _explain_marks(figure: go.Figure) -> None:
    """Add what filled and open marks are to the legend."""
    for name, symbol in (("fitted to", "circle"), ("not fitted to", "diamond-open")):
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=name,
            marker={"color": "#444", "size": 10, "symbol": symbol, "line": {"width": 2}},
        )


def plot_iso_flops(optima: IsoFlops) -> go.Figure:
    """Loss against size for equal budgets of operations, with the best size of each."""
    curves = optima.curves
    budgets = sorted(curves["flops"].unique())
    colours = size_colours(budgets)
    figure = go.Figure(layout={"template": "molnb", "height": 440})
    for budget in budgets:
        of_budget = curves[curves["flops"] == budget]
        means = of_budget.groupby("N")["loss"].mean()
        name = f"{budget:.2g} FLOPs"
        figure.add_scatter(
            x=of_budget["N"].to_numpy(float),
            y=of_budget["loss"].to_numpy(float),
            mode="markers",
            legendgroup=name,
            showlegend=False,
            marker={"color": colours[budget], "size": 6},
            hovertemplate="N = %{x:,.3s}: %{y:.4g}<extra></extra>",
        )
        figure.add_scatter(
            x=means.index.to_numpy(float),
            y=means.to_numpy(),
            mode="lines",
            name=name,
            legendgroup=name,
            line={"color": colours[budget]},
            hoverinfo="skip",
        )
    found = optima.minima[optima.minima["reason"] == ""]
    if len(found):
        figure.add_scatter(
            x=found["best"].to_numpy(),
            y=found["loss"].to_numpy(),
            error_x={
                "array": (found["high"] - found["best"]).to_numpy(),
                "arrayminus": (found["best"] - found["low"]).to_numpy(),
                "symmetric": False,
            },
            mode="markers",
            name="best size",
            marker={"symbol": "star", "size": 14, "color": COLOURS[1]},
            hovertemplate="best size %{x:,.3s}: %{y:.4g}<extra></extra>",
        )
    figure.update_xaxes(title_text=AXES["N"])
    figure.update_yaxes(title_text="validation loss")
    _logarithms(figure, True, True)  # the parabolas are of log loss
    return figure.update_layout(legend=LEGEND_BELOW)


def plot_advice(advice: Advice, size: float | None = None) -> go.Figure:
    """Expected loss against size for one budget: its best size, and a chosen one beside it.

    The stretch of sizes that were trained is shaded; outside it the law is on its own.
    """
    curve = advice.curve
    figure = go.Figure(layout={"template": "molnb", "height": 400})
    figure.add_vrect(
        advice.points["N"].min(),
        advice.points["N"].max(),
        fillcolor="#e6e9ed",
        opacity=0.6,
        layer="below",
        line_width=0,
    )
    figure.add_scatter(
        x=curve["N"].to_numpy(),
        y=curve["loss"].to_numpy(),
        mode="lines",
        line={"color": COLOURS[0]},
        customdata=curve["samples"].to_numpy(),
        hovertemplate="N = %{x:,.3s}, %{customdata:,.3s} molecules: %{y:.4g}<extra></extra>",
        showlegend=False,
    )
    figure.add_scatter(
        x=[advice.size],
        y=[advice.loss],
        error_x={
            "array": [advice.high - advice.size],
            "arrayminus": [advice.size - advice.low],
            "symmetric": False,
        },
        mode="markers",
        marker={"symbol": "star", "size": 15, "color": COLOURS[1]},
        name=f"best: N = {rounded(advice.size)}, {rounded(advice.samples)} molecules",
    )
    if size is not None:
        at = int(np.abs(np.log(curve["N"].to_numpy() / size)).argmin())
        chosen = curve.iloc[at]
        figure.add_scatter(
            x=[chosen["N"]],
            y=[chosen["loss"]],
            mode="markers",
            marker={"symbol": "circle-open", "size": 15, "color": "#444", "line": {"width": 3}},
            name=f"chosen: N = {rounded(chosen['N'])}, {rounded(chosen['samples'])} molecules",
        )
    figure.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        name="sizes that were trained",
        marker={"symbol": "square", "size": 14, "color": "#e6e9ed"},
    )
    figure.update_xaxes(title_text=AXES["N"])
    figure.update_yaxes(title_text="expected loss")
    _logarithms(figure, True, False)
    return figure.update_layout(legend=LEGEND_BELOW)


def plot_transfer(points: pd.DataFrame, axis: str, slope: Slope | None = None) -> go.Figure:
    """The error on an assay against the pretraining loss, an encoder a mark, coloured by size.

    `points` is a table of `transfer_points`; `axis` names the error with its unit. Crosses are
    encoders with random weights. A line is drawn where there is a `slope`.
    """
    colours = size_colours(points["N"])
    figure = go.Figure(layout={"template": "molnb", "height": 440})
    for n, colour in colours.items():
        for kind, symbol in ((TRAINED, "circle"), (RANDOM, "x-thin-open")):
            chosen = points[(points["N"] == n) & (points["kind"] == kind)]
            if chosen.empty:
                continue
            figure.add_scatter(
                x=chosen["loss"].to_numpy(float),
                y=chosen["error"].to_numpy(float),
                mode="markers",
                name=f"N = {rounded(n)}",
                legendgroup=str(n),
                showlegend=kind == TRAINED,
                marker={
                    "color": colour,
                    "size": 11,
                    "symbol": symbol,
                    "line": {"width": 3 if kind == RANDOM else 0, "color": colour},
                },
                customdata=chosen["step"].to_numpy(),
                hovertemplate=f"{kind}, step %{{customdata:,}}: %{{y:.3g}}<extra></extra>",
            )
    if slope is not None:
        _add_slope(figure, points[points["kind"] == TRAINED], slope)
    figure.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        name=RANDOM,
        marker={"symbol": "x-thin-open", "size": 11, "color": "#444", "line": {"width": 3}},
    )
    figure.update_xaxes(title_text=f"pretraining: {_loss_words(points)}")
    figure.update_yaxes(title_text=axis)
    _logarithms(figure, True, False)
    return figure.update_layout(legend=LEGEND_BELOW)


def _add_slope(figure: go.Figure, trained: pd.DataFrame, slope: Slope) -> None:
    """Add the line of a slope through the mean of the logarithms."""
    losses = trained["loss"].to_numpy(float)
    errors = trained["error"].to_numpy(float)
    along = np.linspace(losses.min(), losses.max(), _POINTS)
    centre = np.exp(np.log(errors).mean() - slope.value * np.log(losses).mean())
    figure.add_scatter(
        x=along,
        y=centre * along**slope.value,
        mode="lines",
        line=DASHED,
        showlegend=False,
        hoverinfo="skip",
    )


def _loss_words(points: pd.DataFrame) -> str:
    """What the losses of a table of points are, as an axis calls them."""
    return term_label(points["term"].iloc[0])


def _logarithms(figure: go.Figure, logx: bool, logy: bool) -> None:
    """Make axes logarithmic, with ticks that can be read however few decades they span."""
    for is_log, axes in ((logx, figure.select_xaxes()), (logy, figure.select_yaxes())):
        if is_log:
            for axis in axes:
                make_log(figure, axis)


def _faint(colour: str) -> str:
    """A colour as plotly writes it, nearly transparent."""
    return colour.replace("rgb(", "rgba(").replace(")", f", {_BAND_OPACITY})")
