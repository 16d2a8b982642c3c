"""Figures of studies: learning curves between controls, changes of an error, a matrix of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..errors import InputError
from .style import COLOURS, DASHED, LEGEND_BELOW, panels

# What an arm is there for -> colours and symbols of its lines, one after another, and their dash.
ROLES = {
    "reference": ([COLOURS[6]], ["circle"], "solid"),
    "replicate": ([COLOURS[7]], ["circle-open"], "dot"),
    "question": ([COLOURS[1], COLOURS[4]], ["diamond"], "solid"),
    "negative control": ([COLOURS[0], COLOURS[5], "#5B8FB9", "#9DB8D6"], ["square"], "dash"),
    "ceiling": ([COLOURS[2]], ["triangle-up"], "solid"),
    "classical": (["#8C8C8C"], ["line-ew-open", "x", "star", "triangle-down"], "dot"),
}
BAND = "rgba(120, 120, 120, 0.18)"
TOP = 1.3  # of the largest error of an arm: where a panel ends
NOT_CLEAR = "·"  # beside a number whose interval contains zero


def plot_learning_curves(
    errors: pd.DataFrame,
    smallest: pd.DataFrame | None = None,
    classical: pd.DataFrame | None = None,
    units: dict[str, str] | None = None,
    height: int = 430,
) -> go.Figure:
    """Mean absolute error against the number of labels, a panel an assay, a line an arm.

    `errors` and `classical` have a row a run or fold (`panel`, `arm`, `role`, `size`, `fold`,
    `mae`), `smallest` a row a panel and size: the band around the reference is what the design
    cannot tell from it. `units` names that of each panel. Arms decide how high a panel reaches; a
    classical error far above them is written at its top.
    """
    _check(errors, ("panel", "arm", "role", "size", "fold", "mae"))
    titles = list(dict.fromkeys(errors["panel"]))
    figure, positions = panels(titles, 2, height)
    seen: set[str] = set()
    for title, position in zip(titles, positions, strict=True):
        of_panel = errors[errors["panel"] == title]
        if smallest is not None:
            _add_band(figure, smallest[smallest["panel"] == title], position, seen)
        for look in _looks(of_panel):
            _add_curve(figure, of_panel, look, position, seen)
        if classical is not None:
            others = classical[classical["panel"] == title]
            for look in _looks(others):
                _add_curve(figure, others, look, position, seen)
            _cut_off(figure, of_panel, others, position)
        sizes = sorted(of_panel["size"].unique())
        figure.update_xaxes(type="log", tickvals=sizes, title_text="labels learnt from", **position)
        unit = (units or {}).get(title)
        words = "mean absolute error" + (f"<br>({unit})" if unit else "")
        figure.update_yaxes(title_text=words, **position)
    return figure.update_layout(legend=LEGEND_BELOW | {"y": -0.25})


def _cut_off(
    figure: go.Figure, arms: pd.DataFrame, classical: pd.DataFrame, position: dict[str, int]
) -> None:
    """Let a panel end a little above its arms; classical errors above that are written there."""
    of_arms = arms.groupby(["arm", "size"])["mae"].mean()
    of_others = classical.groupby(["arm", "size"])["mae"].mean()
    top = TOP * of_arms.max()
    far = of_others[of_others > top]
    if far.empty:
        return
    near = pd.concat([of_arms, of_others[of_others <= top]])
    figure.update_yaxes(range=[0.9 * near.min(), top], **position)
    for (arm, size), error in far.items():
        figure.add_annotation(
            x=np.log10(size),  # as plotly places annotations on an axis of logarithms
            y=top,
            text=f"{arm} {error:.2g} ↑",
            showarrow=False,
            xanchor="left",
            yanchor="top",
            font={"size": 13, "color": "#6E6E6E"},
            **position,
        )


class Look(NamedTuple):
    """How an arm is drawn."""

    arm: str
    role: str
    colour: str
    symbol: str


def _looks(table: pd.DataFrame) -> list[Look]:
    """How each arm of a table is drawn; arms of one role get its colours and symbols in turn."""
    looks = []
    used: dict[str, int] = {}
    for (arm, role), _ in table.groupby(["arm", "role"], sort=False):
        colours, symbols, _ = ROLES[role]
        number = used.get(role, 0)
        used[role] = number + 1
        looks.append(
            Look(arm, role, colours[number % len(colours)], symbols[number % len(symbols)])
        )
    return looks


def _add_curve(
    figure: go.Figure, table: pd.DataFrame, look: Look, position: dict[str, int], seen: set[str]
) -> None:
    """Add the means over folds of an arm; each arm stands in the legend once."""
    means = table[table["arm"] == look.arm].groupby("size")["mae"].mean()
    is_classical = look.role == "classical"
    figure.add_scatter(
        x=means.index.to_numpy(),
        y=means.to_numpy(),
        mode="lines+markers",
        name=look.arm if is_classical else f"{look.arm} ({look.role})",
        legendgroup=look.arm,
        legendrank=2000 if is_classical else 1000,  # these come last
        showlegend=look.arm not in seen,
        line={
            "color": look.colour,
            "dash": ROLES[look.role][2],
            "width": 1.6 if is_classical else 2.6,
        },
        marker={"symbol": look.symbol, "size": 8 if is_classical else 9, "color": look.colour},
        hovertemplate=f"{look.arm}: %{{x}} labels, %{{y:.3g}}<extra></extra>",
        **position,
    )
    seen.add(look.arm)


def _add_band(
    figure: go.Figure, smallest: pd.DataFrame, position: dict[str, int], seen: set[str]
) -> None:
    """Add what cannot be told from the reference."""
    sizes = smallest["size"].to_numpy()
    low = (smallest["mae"] - smallest["resolvable"]).to_numpy()
    high = (smallest["mae"] + smallest["resolvable"]).to_numpy()
    figure.add_scatter(
        x=np.concatenate([sizes, sizes[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        fill="toself",
        fillcolor=BAND,
        line={"width": 0},
        mode="lines",
        name="cannot be told from alone",
        legendgroup="band",
        showlegend="band" not in seen,
        hoverinfo="skip",
        **position,
    )
    seen.add("band")


def plot_changes(differences: pd.DataFrame, title: str = "") -> go.Figure:
    """Change of the error of each arm against the reference, over all sizes, with its interval.

    `differences` is the table of learning curves; its rows of size 0 are drawn, in percent, those
    of a panel together beneath its name.
    """
    _check(differences, ("panel", "arm", "role", "size", "mean", "low", "high"))
    overall = differences[(differences["size"] == 0) & (differences["role"] != "replicate")]
    if overall.empty:
        raise InputError("there is no change over all sizes in this table: run an arm first")
    names: list[str] = []  # of lines, from above
    figure = go.Figure(layout={"template": "molnb", "title": title})
    for panel, rows in overall.groupby("panel", sort=False):
        names.append(f"<b>{panel}</b>")
        for look, row in zip(_looks(rows), rows.itertuples(), strict=True):
            _add_change(figure, row, -len(names), look)
            names.append(look.arm)
    figure.add_vline(0, line=DASHED | {"width": 2})
    figure.update_yaxes(
        tickvals=[-number for number in range(len(names))],
        ticktext=names,
        range=[-len(names) + 0.4, 0.6],
        showgrid=False,
    )
    figure.update_xaxes(title_text="change of the error (%): less is better")
    return figure.update_layout(height=140 + 36 * len(names))


def _add_change(figure: go.Figure, row: Any, height: int, look: Look) -> None:
    """Add a change with its interval on a line of its own."""
    figure.add_scatter(
        x=[row.mean],
        y=[height],
        error_x={
            "array": [row.high - row.mean],
            "arrayminus": [row.mean - row.low],
            "symmetric": False,
            "thickness": 2.5,
            "width": 5,
        },
        mode="markers",
        marker={"size": 12, "color": look.colour, "symbol": look.symbol},
        showlegend=False,
        hovertemplate=f"{row.arm}: %{{x:+.1f}} %<extra>{row.role}</extra>",
    )


def plot_amounts(
    differences: pd.DataFrame, amounts: Sequence[int], smallest: float | None = None
) -> go.Figure:
    """Change of the error (%) against the number of quantum molecules, with intervals.

    `differences` has an arm an amount, in their order, among its rows of size 0; the band is the
    smallest change (%) that can be told from none.
    """
    overall = differences[(differences["size"] == 0) & (differences["role"] == "question")]
    if len(overall) != len(amounts):
        raise InputError(
            f"{len(overall)} arms have a change over all sizes, there are {len(amounts)} amounts"
        )
    figure = go.Figure(layout={"template": "molnb", "height": 420})
    if smallest is not None:
        figure.add_hrect(
            -smallest,
            smallest,
            fillcolor=BAND,
            line_width=0,
            annotation_text="cannot be told from no change",
            annotation_position="top left",
        )
    figure.add_scatter(
        x=list(amounts),
        y=overall["mean"].to_numpy(),
        error_y={
            "array": (overall["high"] - overall["mean"]).to_numpy(),
            "arrayminus": (overall["mean"] - overall["low"]).to_numpy(),
            "symmetric": False,
        },
        mode="lines+markers",
        marker={"size": 11, "color": COLOURS[1], "symbol": "diamond"},
        hovertemplate="%{x:,} molecules: %{y:+.1f} %<extra></extra>",
    )
    figure.add_hline(0, line=DASHED)
    figure.update_xaxes(
        type="log",
        tickvals=list(amounts),
        ticktext=[f"{n:,}" for n in amounts],
        title_text="molecules with quantum labels",
    )
    figure.update_yaxes(title_text="change of the error (%)")
    return figure


def plot_interference(matrix: pd.DataFrame) -> go.Figure:
    """By how much the error of each task (row) changes when another is learnt beside it (column).

    Blue: it falls; red: it rises. A dot stands where the interval contains zero.
    """
    _check(matrix, ("task", "beside", "change", "low", "high"))
    order = {
        "index": list(dict.fromkeys(matrix["task"])),
        "columns": list(dict.fromkeys([*matrix["task"], *matrix["beside"]])),
    }
    is_clear = (matrix["low"] > 0) | (matrix["high"] < 0)
    of_pair = matrix.assign(clear=is_clear).pivot(index="task", columns="beside")
    changes = of_pair["change"].reindex(**order)
    clear = of_pair["clear"].reindex(**order)
    texts = [
        [
            "" if np.isnan(value) else f"{value:+.1f}{'' if clear is True else f' {NOT_CLEAR}'}"
            for value, clear in zip(row, clears, strict=True)
        ]
        for row, clears in zip(changes.to_numpy(), clear.to_numpy(), strict=True)
    ]
    largest = float(np.nanmax(np.abs(changes.to_numpy()))) or 1.0
    figure = go.Figure(
        go.Heatmap(
            z=changes.to_numpy(),
            x=changes.columns.tolist(),
            y=changes.index.tolist(),
            text=texts,
            texttemplate="%{text}",
            colorscale="RdBu_r",
            zmin=-largest,
            zmax=largest,
            xgap=2,
            ygap=2,
            colorbar={"title": {"text": "change (%)"}, "outlinewidth": 0},
            hovertemplate="%{y} beside %{x}: %{z:+.1f} %<extra></extra>",
        ),
        layout={"template": "molnb", "height": 200 + 60 * len(changes)},
    )
    words = f"learnt beside ({NOT_CLEAR} : the interval contains zero)"
    figure.update_xaxes(title_text=words, showline=False, showgrid=False)
    figure.update_yaxes(title_text="error of", autorange="reversed", showline=False, showgrid=False)
    return figure.update_layout(plot_bgcolor="#eeeeee")


def _check(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise InputError where a table lacks a column, or has no row."""
    missing = [name for name in columns if name not in table.columns]
    if missing or table.empty:
        raise InputError(
            f"the table has no {', '.join(missing) or 'rows'}: give one that a study returns "
            f"(columns {', '.join(columns)})"
        )
