"""Figures of sweeps: a loss, or a cost, against what varies, with every seed as a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from ..errors import InputError
from .style import COLOURS, panels

# What is looked at by factors and not by differences, where it is above zero.
LOGARITHMIC = (
    "N",
    "learning_rate",
    "head_learning_rate",
    "global_batch",
    "weight_decay",
    "epsilon",
    "steps",
    "n_train",
    "flops",
    "seconds",
    "cpu_seconds",
)
AXES = {
    "N": "parameters (N)",
    "global_batch": "global batch (molecules)",
    "loss": "validation loss (weighted sum)",
    "flops": "FLOPs of training",
    "seconds": "time (s)",
    "cpu_seconds": "CPU time (s)",
    "peak_mib": "peak memory (MiB)",
}
_MOST_TICKS = 8  # values of a sweep that are written at an axis each
_ABOVE = 0.08  # of the range of values: how far above the highest the failed ones stand


def plot_sweep(
    table: pd.DataFrame,
    x: str | None = None,
    y: str = "loss",
    colour: str | None = None,
    height: int = 400,
) -> go.Figure:
    """A column of `sweep_table` against another: a point a finished run, a line through the means.

    `x` and `colour` name what varies (default: the first two settings that do), or another column,
    as `N`; there is a line for each value of `colour`, and a panel for each combination of what
    varies besides, so that a mean is over seeds alone. Crosses above all are failed runs.
    """
    x, colour = _chosen(table, x, y, colour)
    by_panel = _by_values(table, _varying_beside(table, x, colour))
    titles = [_title(values) for values, _ in by_panel]
    figure, positions = panels(titles, 2, height)
    texts = [_text(values[colour]) for values, _ in _by_values(table, [colour])] if colour else [y]
    colours = {text: COLOURS[number % len(COLOURS)] for number, text in enumerate(texts)}
    known = table.loc[table["state"] == "done", y].dropna()
    top = float(known.max() + _ABOVE * (known.max() - known.min())) if len(known) else 1.0
    for (_, rows), position in zip(by_panel, positions, strict=True):
        for values, of_line in _by_values(rows, [colour] if colour else []):
            text = _text(values[colour]) if colour else y
            _add_line(figure, of_line, (x, y), text, colours[text], position)
            _add_failed(figure, of_line, (x, top), text, colours[text], position)
    _show_once(figure)
    _set_axis(figure, table[x])
    figure.update_yaxes(title_text=_words(y), matches="y")
    legend = {"title": {"text": _words(colour) if colour else ""}}
    return figure.update_layout(title=_standing(table), legend=legend, showlegend=bool(colour))


def _standing(table: pd.DataFrame) -> str:
    """How many runs of a table are shown, where that are not all."""
    n_done = int((table["state"] == "done").sum())
    n_failed = int((table["state"] == "failed").sum())
    crosses = f", {n_failed:,} failed (crosses)" if n_failed else ""
    return f"{n_done:,} of {len(table):,} runs are done{crosses}" if n_done < len(table) else ""


def _chosen(table: pd.DataFrame, x: str | None, y: str, colour: str | None) -> tuple[str, str]:
    """The columns for the axis and the colours, chosen where they are not named."""
    needed = [name for name in ("N", "seed", "state", x, y, colour) if name]
    missing = [name for name in needed if name not in table.columns]
    if missing or table.empty:
        raise InputError(
            f"the table has no {', '.join(missing) or 'rows'}: give one of sweep_table(), which "
            f"has {', '.join(map(str, table.columns)) or 'no columns'}"
        )
    if x is None:
        varying = [name for name in _settings(table) if _varies(table[name]) and name != colour]
        numbers = [name for name in varying if _is_number(table[name])]
        x = next(iter(numbers + varying), _settings(table)[0])
    if colour is None:
        colour = next(iter(_varying_beside(table, x, None)), None)
    return x, colour


def _settings(table: pd.DataFrame) -> list[str]:
    """The columns of what a sweep varies, but for the seed."""
    return list(table.columns[: list(table.columns).index("N")])


def _varies(column: pd.Series) -> bool:
    return column.nunique(dropna=False) > 1


def _is_number(column: pd.Series) -> bool:
    return is_numeric_dtype(column) and not is_bool_dtype(column)


def _varying_beside(table: pd.DataFrame, x: str, colour: str | None) -> list[str]:
    """Settings that take several values where x and colour take one: a mean would mix them."""
    fixed = [name for name in (x, colour) if name]
    others = [name for name in _settings(table) if name not in fixed]
    within = table.groupby(fixed, dropna=False)
    return [name for name in others if (within[name].nunique(dropna=False) > 1).any()]


def _by_values(
    table: pd.DataFrame, names: Sequence[str]
) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """The rows of each combination of values of some columns, in their order."""
    if not names:
        return [({}, table)]
    groups = table.groupby(list(names), dropna=False)
    return [(dict(zip(names, values, strict=True)), rows) for values, rows in groups]


def _title(values: Mapping[str, Any]) -> str:
    """What a panel shows, in words."""
    return ", ".join(f"{_plain(name)} {_text(value)}" for name, value in values.items()) or " "


def _add_line(
    figure: go.Figure,
    rows: pd.DataFrame,
    axes: tuple[str, str],
    name: str,
    colour: str,
    position: dict[str, int],
) -> None:
    """Add a point for each finished run, and the means of those that differ in their seed alone.

    Between things that have no order there is no line: their means are bars.
    """
    x, y = axes
    rows = rows[(rows["state"] == "done") & rows[y].notna()]
    means = rows.groupby(x)[y].mean()
    is_number = _is_number(rows[x])
    figure.add_scatter(
        x=means.index.to_numpy() if is_number else [_text(value) for value in means.index],
        y=means.to_numpy(),
        mode="lines" if is_number and len(means) > 1 else "markers",
        marker={"symbol": "line-ew", "size": 26, "line": {"width": 3, "color": colour}},
        line={"color": colour},
        name=name,
        legendgroup=name,
        hovertemplate=f"{name}: mean %{{y:.4g}}<extra></extra>",
        **position,
    )
    figure.add_scatter(
        x=rows[x].to_numpy() if is_number else rows[x].map(_text).to_numpy(),
        y=rows[y].to_numpy(),
        mode="markers",
        marker={"size": 9, "opacity": 0.6, "color": colour},
        customdata=rows["seed"].to_numpy(),
        name=name,
        legendgroup=name,
        showlegend=False,
        hovertemplate=f"{name}: %{{y:.4g}}, seed %{{customdata}}<extra></extra>",
        **position,
    )


def _add_failed(
    figure: go.Figure,
    rows: pd.DataFrame,
    place: tuple[str, float],
    name: str,
    colour: str,
    position: dict[str, int],
) -> None:
    """Add a cross for every run that failed, where it would stand and as high as is said."""
    x, top = place
    failed = rows[rows["state"] == "failed"]
    if failed.empty:
        return
    figure.add_scatter(
        x=failed[x].to_numpy() if _is_number(rows[x]) else failed[x].map(_text).to_numpy(),
        y=[top] * len(failed),
        mode="markers",
        marker={"symbol": "x-thin", "size": 11, "line": {"width": 2.5, "color": colour}},
        name=name,
        legendgroup=name,
        showlegend=False,
        customdata=failed["seed"].to_numpy(),
        hovertemplate=f"{name}: failed, seed %{{customdata}}<extra></extra>",
        **position,
    )


def _show_once(figure: go.Figure) -> None:
    """Let each name stand in the legend once, whatever the number of panels."""
    seen = set()
    for trace in figure.data:
        if trace.showlegend is not False:
            trace.showlegend = trace.name not in seen
            seen.add(trace.name)


def _set_axis(figure: go.Figure, column: pd.Series) -> None:
    """Let an axis tell the values of a sweep: each has a tick, and factors are even steps."""
    figure.update_xaxes(title_text=_words(column.name))
    values = sorted(column.dropna().unique())
    if not _is_number(column):
        figure.update_xaxes(type="category")
        return
    if len(values) <= _MOST_TICKS:
        figure.update_xaxes(tickvals=values, ticktext=[_text(value) for value in values])
    if column.name in LOGARITHMIC and min(values, default=0) > 0:
        figure.update_xaxes(type="log")


def _words(name: str) -> str:
    """The name of a column in words, with its unit."""
    if name in AXES:
        return AXES[name]
    part, is_loss, _ = name.partition("_loss")
    if is_loss and part.startswith("val_"):
        return f"validation loss, {part.removeprefix('val_').replace('_', ' ')} features"
    return _plain(name)


def _plain(name: str) -> str:
    """The name of a setting as words."""
    return name.rpartition(".")[2].replace("_", " ")


def _text(value: Any) -> str:
    """A value of a sweep, short."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        return str(value)
    if value >= 1e6:
        return f"{value / 1e6:.3g}M"
    return f"{value / 1e3:.3g}k" if value >= 1e4 else f"{value:.4g}"
