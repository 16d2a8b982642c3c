"""Figures of conformers: energy against shape, which are alike, and how many draws it takes to
find them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from ..chemistry.ensembles import Ensemble
from .style import COLOURS, panels

ENERGY = "kcal/mol above its lowest"


def plot_landscape(ensemble: Ensemble, rmsds: np.ndarray, chosen: int | None = None) -> go.Figure:
    """Energy of each conformer against its RMSD to the lowest one; the one that curation stores is
    marked.

    `chosen` adds a ring about one of them.
    """
    figure = go.Figure(
        layout={
            "template": "molnb",
            "height": 330,
            "xaxis_title": "RMSD to the lowest conformer (Å)",
        }
    )
    look = {"mode": "markers", "marker": {"size": 10, "opacity": 0.75}}
    text = [f"conformer {i + 1}" for i in range(len(ensemble))]
    figure.add_scatter(
        x=rmsds.round(3), y=ensemble.energies.round(3), text=text, name="conformers", **look
    )
    if ensemble.stored is not None:
        i = ensemble.stored
        mark = {"size": 13, "symbol": "diamond", "color": COLOURS[1]}
        figure.add_scatter(
            x=[rmsds[i]],
            y=[ensemble.energies[i]],
            name="the stored one",
            mode="markers",
            marker=mark,
            text=[text[i]],
        )
    if chosen is not None:
        ring = {"size": 22, "symbol": "circle-open", "color": "#000000", "line": {"width": 2.5}}
        figure.add_scatter(
            x=[rmsds[chosen]],
            y=[ensemble.energies[chosen]],
            name="shown",
            mode="markers",
            marker=ring,
            hoverinfo="skip",
        )
    return figure.update_layout(
        yaxis_title=ENERGY, legend={"orientation": "h", "y": 1.12}, margin={"t": 40}
    )


def plot_rmsd_map(matrix: np.ndarray, names: Sequence[str] = ()) -> go.Figure:
    """RMSD (Å) of every conformer to every other, lowest energy first: blocks are families of
    like shapes.
    """
    ticks = list(names) or [str(i + 1) for i in range(len(matrix))]
    scale = {"title": {"text": "RMSD (Å)", "side": "right"}, "thickness": 14}
    figure = go.Figure(
        go.Heatmap(z=matrix.round(2), x=ticks, y=ticks, colorscale="Cividis", colorbar=scale)
    )
    figure.update_layout(
        template="molnb", height=440, width=520, xaxis_title="conformer, by energy"
    )
    figure.update_xaxes(type="category", nticks=11, showgrid=False)
    return figure.update_yaxes(type="category", nticks=11, autorange="reversed", showgrid=False)


def plot_discovery(found: Mapping[str, Sequence[Mapping[str, float]]]) -> go.Figure:
    """What the first n draws had found: molecule -> rows of `conformers.discovery`. Each
    molecule has its own zero.
    """
    titles = ("conformers that differ", "lowest energy so far")
    figure, places = panels(titles, columns=2, height=300)
    for number, (name, rows) in enumerate(found.items()):
        look = {
            "line": {"color": COLOURS[number % len(COLOURS)], "shape": "hv"},
            "mode": "lines",
            "legendgroup": name,
        }
        for column, place, shown in zip(("distinct", "lowest_kcal_mol"), places, (True, False)):
            x, y = ([round(row[key], 3) for row in rows] for key in ("draws", column))
            figure.add_scatter(x=x, y=y, name=name, showlegend=shown, **look, **place)
    figure.update_xaxes(title_text="draws")
    figure.update_yaxes(title_text="number", **places[0])
    figure.update_yaxes(title_text=ENERGY, **places[1])
    return figure.update_layout(
        legend={"orientation": "h", "y": -0.3, "yanchor": "top"}, margin={"b": 110}
    )


def plot_points(
    x: Sequence[float], y: Sequence[float], x_title: str, y_title: str, names: Sequence[str]
) -> go.Figure:
    """One mark a molecule or conformer, named on hover; titles carry the unit."""
    figure = go.Figure(
        layout={"template": "molnb", "height": 330, "xaxis_title": x_title, "yaxis_title": y_title}
    )
    look = {
        "mode": "markers",
        "marker": {"size": 10, "opacity": 0.7},
        "hovertemplate": "%{text}<br>%{x}, %{y}",
    }
    values = [np.round(np.asarray(one, float), 3) for one in (x, y)]
    return figure.add_scatter(
        x=values[0], y=values[1], text=list(names), name="", showlegend=False, **look
    )
