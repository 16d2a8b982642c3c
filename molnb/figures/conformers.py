"""Figures of conformers: energy against shape, families of like shapes, draws that are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..chemistry.ensembles import Ensemble
from .style import COLOURS, panels

ENERGY = "kcal/mol above its lowest"


def plot_landscape(ensemble: Ensemble, rmsds: np.ndarray, chosen: int | None = None) -> go.Figure:
    """Energy of each conformer against its RMSD (Å) to the lowest one, the stored one marked.

    `chosen` adds a ring about one of them.
    """
    figure = go.Figure(layout={"template": "molnb", "height": 330})
    names = [f"conformer {i + 1}" for i in range(len(ensemble))]
    figure.add_scatter(
        x=rmsds.round(3),
        y=ensemble.energies.round(3),
        text=names,
        name="conformers",
        mode="markers",
        marker={"size": 10, "opacity": 0.75},
    )
    if ensemble.stored is not None:
        index = ensemble.stored
        figure.add_scatter(
            x=[rmsds[index]],
            y=[ensemble.energies[index]],
            text=[names[index]],
            name="the stored one",
            mode="markers",
            marker={"size": 13, "symbol": "diamond", "color": COLOURS[1]},
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
        xaxis_title="RMSD to the lowest conformer (Å)",
        yaxis_title=ENERGY,
        legend={"orientation": "h", "y": 1.12},
        margin={"t": 40},
    )


def plot_rmsd_map(matrix: np.ndarray, names: Sequence[str] = ()) -> go.Figure:
    """A map of the RMSD (Å) of every conformer to every other, lowest energy first.

    Blocks are families of like shapes. Names default to the numbers from 1.
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


def plot_discovery(draws: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Conformers and lowest energy that the first n draws found, a curve a molecule.

    `draws` is molecule -> table of `chemistry.ensembles.discovery`. Each molecule has its own zero
    of energy.
    """
    titles = ("conformers that differ", "lowest energy so far")
    figure, positions = panels(titles, columns=2, height=300)
    for number, (name, table) in enumerate(draws.items()):
        colour = COLOURS[number % len(COLOURS)]
        for panel, column in enumerate(("distinct", "lowest_kcal_mol")):
            figure.add_scatter(
                x=table["draws"].tolist(),
                y=table[column].round(3).tolist(),
                name=name,
                legendgroup=name,
                showlegend=panel == 0,
                mode="lines",
                line={"color": colour, "shape": "hv"},
                **positions[panel],
            )
    figure.update_xaxes(title_text="draws")
    figure.update_yaxes(title_text="number", **positions[0])
    figure.update_yaxes(title_text=ENERGY, **positions[1])
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
    return figure.add_scatter(
        x=np.round(np.asarray(x, float), 3),
        y=np.round(np.asarray(y, float), 3),
        text=list(names),
        name="",
        showlegend=False,
        mode="markers",
        marker={"size": 10, "opacity": 0.7},
        hovertemplate="%{text}<br>%{x}, %{y}",
    )
