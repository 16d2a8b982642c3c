"""Figures of scaffolds: the most frequent ones of two corpora with drawings, long tails, overlap,
weights of sampling.

Drawings are SVG inside the figures, so that they survive saving and export without a network.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from plotly.subplots import make_subplots

from ..curation.scaffolds import (
    TAU,
    Scaffolds,
    coverage,
    effective_number,
    expected_scaffolds,
    overlap,
    scaffold_weights,
    shared_scaffolds,
    top_scaffolds,
)
from .scaffold_browser import draw_structure, sample_title
from .style import COLOURS

POINTS = 300  # of a long curve


def _note(scaffolds: Sequence[Scaffolds]) -> str:
    """The sample of each corpus, and what became of acyclic molecules, for a title."""
    left_out = any(one.n_molecule < one.corpus.n for one in scaffolds)
    return "; ".join(map(sample_title, scaffolds)) + (", acyclic ones left out" if left_out else "")


def _titled(figure: go.Figure, title: str, note: str, height: int, top: int = 90) -> go.Figure:
    text = f"{title}<br><span style='font-size:14px;color:#555'>{note}</span>"
    heading = {"text": text, "y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 24}}
    return figure.update_layout(template="molnb", title=heading, height=height, margin={"t": top})


def plot_top_scaffolds(
    first: Scaffolds, second: Scaffolds, k: int = 40, drawn: int = 12
) -> go.Figure:
    """Share of the k most frequent scaffolds of two corpora side by side, the first ones drawn (the
    paper's Figure 1).

    The axis is logarithmic, since one scaffold often outweighs the next ten. Colour says whether
    the scaffold is also among the k most frequent of the other corpus, elsewhere in it, or in none
    of its molecules.
    """
    table = top_scaffolds(first, second, k)
    figure = make_subplots(
        1, 2, horizontal_spacing=0.09, subplot_titles=[sample_title(first), sample_title(second)]
    )
    labels = (f"also in the other's top {k}", "further down in the other", "not in the other")
    names = [
        name.removeprefix("scaffold ")
        for name in table.column_names
        if name.startswith("scaffold ")
    ]
    tops = [
        {name: n for name, n in zip(one.table["scaffold"].slice(0, k).to_pylist(), one.counts)}
        for one in (first, second)
    ]
    for column, name in enumerate(names, 1):
        rows = [row for row in _rows(table, name) if row["scaffold"] is not None]
        kinds = [
            0 if row["scaffold"] in tops[2 - column] else 1 if row["n_elsewhere"] else 2
            for row in rows
        ]
        for kind, label in enumerate(labels):
            part = [row for row, this in zip(rows, kinds) if this == kind]
            _add_marks(figure, part, label, COLOURS[(2, 0, 1)[kind]], column)
        _add_drawings(figure, rows, column, drawn)
    figure.update_xaxes(title_text="rank", range=[0, k + 1], showgrid=False)
    figure.update_yaxes(title_text="share of counted molecules (%)", col=1)
    note = (
        "acyclic molecules left out"
        if first.n_molecule < first.corpus.n or second.n_molecule < second.corpus.n
        else ""
    )
    title = f"The {k} most frequent scaffolds of {len(first):,} ({first.name}) and {len(second):,} ({second.name})"
    figure.update_annotations(font_size=14)
    legend = {"orientation": "h", "x": 0, "y": -0.14, "yanchor": "top"}
    return _titled(figure, title, note, 600).update_layout(legend=legend)


def _rows(table: pa.Table, name: str) -> list[dict[str, Any]]:
    keys = ("scaffold", "n", "share", "n_elsewhere")
    columns = [table["rank"].to_pylist(), *(table[f"{key} {name}"].to_pylist() for key in keys)]
    return [dict(zip(("rank", *keys), values)) for values in zip(*columns)]


def _add_marks(
    figure: go.Figure, rows: list[dict[str, Any]], label: str, colour: str, column: int
) -> None:
    """A mark a scaffold; names, counts and shares on hover.

    An empty group still stands in the legend once.
    """
    text = [
        f"{r['scaffold']}<br>{r['n']:,} molecules, {100 * r['share']:.2g} %; {r['n_elsewhere']:,} in the other"
        for r in rows
    ]
    figure.add_scatter(
        x=[row["rank"] for row in rows] or [None],
        y=[100 * row["share"] for row in rows] or [None],
        mode="markers",
        marker={"color": colour, "size": 10},
        name=label,
        legendgroup=label,
        showlegend=column == 1,
        hovertext=text,
        hovertemplate="rank %{x}: %{hovertext}<extra></extra>",
        row=1,
        col=column,
    )


def _add_drawings(figure: go.Figure, rows: list[dict[str, Any]], column: int, drawn: int) -> None:
    """Drawings of the first scaffolds in the corner that a long tail leaves empty, and an axis
    that leaves it empty.
    """
    shares = np.log10([100 * row["share"] for row in rows])
    low = shares.min() - 0.12
    high = max(shares[0] + 0.15, low + (shares[min(3, len(rows) - 1)] - low + 0.05) / 0.40)
    ticks = [
        t
        for p in range(-4, 3)
        for t in (10.0**p, 2 * 10.0**p, 5 * 10.0**p)
        if low < math.log10(t) <= min(high, 2)
    ]
    axis = {
        "type": "log",
        "range": [low, high],
        "tickvals": ticks,
        "ticktext": [f"{t:g}" for t in ticks],
    }
    figure.update_yaxes(**axis, row=1, col=column)
    across, down, x0, y1 = 4, 3, 0.13, 1.0
    wide, tall = (1 - x0) / across, 0.57 / down
    place = {
        "xref": f"x{column if column > 1 else ''} domain",
        "yref": f"y{column if column > 1 else ''} domain",
    }
    for number, row in enumerate(rows[: min(drawn, across * down)]):
        x, y = x0 + (number % across) * wide, y1 - number // across * tall
        picture = base64.b64encode(draw_structure(row["scaffold"], 140, 90).encode()).decode()
        source = f"data:image/svg+xml;base64,{picture}"
        figure.add_layout_image(
            source=source, x=x + 0.035, y=y, sizex=wide - 0.035, sizey=tall - 0.01, **place
        )
        text = {
            "text": f"<b>{row['rank']}</b>",
            "showarrow": False,
            "font": {"size": 13, "color": "#555"},
        }
        figure.add_annotation(x=x, y=y, xanchor="left", yanchor="top", **text, **place)


def plot_rank_frequency(scaffolds: Sequence[Scaffolds]) -> go.Figure:
    """Molecules a scaffold against its rank, both logarithmic: the long tail ends in scaffolds
    seen once.
    """
    figure = go.Figure()
    for one in scaffolds:
        at = _spread(len(one))
        once = (one.counts == 1).mean()
        name = f"{one.name}: {len(one):,} scaffolds, {100 * once:.0f} % seen once"
        figure.add_scatter(
            x=at, y=one.counts[at - 1], name=name, mode="lines+markers", marker={"size": 5}
        )
    figure.update_xaxes(type="log", title_text="rank of the scaffold", dtick=1)
    figure.update_yaxes(type="log", title_text="molecules on it", dtick=1)
    return _titled(
        figure, "Few scaffolds have many molecules", _note(scaffolds), 460
    ).update_layout(legend=_corner("right", "top"))


def plot_coverage(scaffolds: Sequence[Scaffolds], marked: int = 40) -> go.Figure:
    """Share of molecules on the most frequent scaffolds, against how many of them; a mark at
    `marked`.
    """
    figure = go.Figure()
    for number, one in enumerate(scaffolds):
        at, colour = _spread(len(one)), COLOURS[number]
        figure.add_scatter(
            x=at, y=100 * coverage(one, at), name=one.name, mode="lines", line={"color": colour}
        )
        k, share = min(marked, len(one)), 100 * coverage(one, marked)
        text = f"top {k}: {share:.0f} % "
        mark = {
            "mode": "markers+text",
            "marker": {"size": 12, "color": colour},
            "textposition": "top left",
        }
        figure.add_scatter(
            x=[k], y=[share], text=[text], showlegend=False, textfont={"color": colour}, **mark
        )
    figure.add_hline(50, line={"dash": "dash", "width": 1.5, "color": "#444"})
    figure.update_xaxes(type="log", title_text="most frequent scaffolds", dtick=1)
    figure.update_yaxes(title_text="molecules on them (%)", range=[0, 102])
    return _titled(
        figure, "How much of a corpus its scaffolds cover", _note(scaffolds), 460
    ).update_layout(legend=_corner("left", "top"))


def plot_expected_scaffolds(scaffolds: Sequence[Scaffolds]) -> go.Figure:
    """Scaffolds that a random sample holds on average, against its size: corpora of unequal size
    compared fairly.
    """
    figure = go.Figure()
    for one in scaffolds:
        sizes = np.unique(np.linspace(0, one.n_molecule, 40).astype(int))
        figure.add_scatter(x=sizes, y=expected_scaffolds(one, sizes), name=one.name, mode="lines")
    least, most = (pick(one.n_molecule for one in scaffolds) for pick in (min, max))
    dashed = {"mode": "lines", "line": {"dash": "dot", "width": 2, "color": "#777"}}
    end = min(most, 1.15 * max(len(one) for one in scaffolds))
    figure.add_scatter(x=[0, end], y=[0, end], name="every molecule a new one", **dashed)
    figure.add_vline(least, line={"dash": "dash", "width": 1.5, "color": "#444"})
    figure.update_xaxes(title_text="molecules drawn")
    figure.update_yaxes(title_text="different scaffolds, expected", rangemode="tozero")
    title = f"Scaffolds in samples of one size; dashed: {least:,} molecules, which all corpora have"
    return _titled(figure, title, _note(scaffolds), 460).update_layout(
        legend=_corner("left", "top")
    )


def plot_overlap(first: Scaffolds, second: Scaffolds) -> go.Figure:
    """What two corpora share, in per cent of each, and how frequent shared scaffolds are in one
    and in the other.
    """
    shared = shared_scaffolds(first, second)
    figure = make_subplots(1, 2, horizontal_spacing=0.13, column_widths=[0.52, 0.48])
    groups = {
        "shared scaffolds": "scaffolds",
        "molecules on them": "molecules on<br>shared scaffolds",
        "shared molecules": "molecules",
    }
    for number, row in enumerate(overlap(first, second)):
        shares = [100 * row[f"{group} (share)"] for group in groups]
        text = [
            f"{share:.{1 + (share >= 1)}g} %<br>{row[group]:,}"
            for share, group in zip(shares, groups)
        ]
        look = {
            "marker": {"color": COLOURS[number]},
            "textposition": "outside",
            "cliponaxis": False,
        }
        figure.add_bar(
            x=list(groups.values()),
            y=shares,
            text=text,
            name=f"of {row['corpus']}",
            row=1,
            col=1,
            **look,
        )
    x, y = (100 * shared[f"share_{number}"].to_numpy() for number in (1, 2))
    dots = {
        "mode": "markers",
        "marker": {"color": COLOURS[2], "opacity": 0.6, "size": 8},
        "showlegend": False,
    }
    figure.add_scatter(x=x, y=y, hovertext=shared["scaffold"].to_pylist(), row=1, col=2, **dots)
    ends = [0.8 * min([*x, *y], default=0.01), 1.3 * max([*x, *y], default=100)]
    equal = {
        "mode": "lines",
        "line": {"dash": "dash", "width": 1.5, "color": "#444"},
        "showlegend": False,
    }
    figure.add_scatter(x=ends, y=ends, hoverinfo="skip", row=1, col=2, **equal)
    figure.update_xaxes(type="log", dtick=1, title_text=f"share in {first.name} (%)", row=1, col=2)
    figure.update_yaxes(type="log", dtick=1, title_text=f"share in {second.name} (%)", row=1, col=2)
    tallest = max(max(trace.y, default=1) for trace in figure.data[:2])
    figure.update_yaxes(title_text="shared (%)", range=[0, 1.25 * tallest], row=1, col=1)
    title = f"{len(shared):,} scaffolds of {len(first):,} in {first.name} and {len(second):,} in {second.name} are in both"
    return _titled(figure, title, _note((first, second)), 470).update_layout(
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}, bargap=0.3
    )


def plot_sampling(scaffolds: Sequence[Scaffolds], tau: float = TAU) -> go.Figure:
    """What softmax(share / tau) draws, against tau: effective number of scaffolds, and share of
    the first one.
    """
    figure = make_subplots(
        1,
        2,
        horizontal_spacing=0.12,
        subplot_titles=[
            "evenness: effective number of scaffolds",
            "draws on the most frequent scaffold",
        ],
    )
    taus = np.unique(np.append(np.geomspace(1e-3, 10, 81), tau))
    for number, one in enumerate(scaffolds):
        weights = [scaffold_weights(one, t) for t in taus]
        even = [100 * effective_number(w) / len(one) for w in weights]
        look = {
            "mode": "lines",
            "line": {"color": COLOURS[number]},
            "name": one.name,
            "legendgroup": one.name,
        }
        figure.add_scatter(x=taus, y=even, **look, row=1, col=1)
        figure.add_scatter(
            x=taus, y=[100 * w[0] for w in weights], **look, showlegend=False, row=1, col=2
        )
        share = 100 * one.counts[0] / one.n_molecule
        dots = {
            "mode": "lines",
            "line": {"color": COLOURS[number], "dash": "dot", "width": 1.5},
            "showlegend": False,
        }
        figure.add_scatter(x=taus[[0, -1]], y=[share, share], **dots, row=1, col=2)
    figure.add_vline(tau, line={"dash": "dash", "width": 1.5, "color": "#444"})
    figure.update_xaxes(type="log", title_text="tau", dtick=1, exponentformat="power")
    figure.update_yaxes(title_text="of all scaffolds (%)", range=[-3, 104], col=1)
    figure.update_yaxes(title_text="share (%)", range=[-3, 104], col=2)
    note = f"dashed: tau = {tau:g}; dotted: its share in the corpus; " + "; ".join(
        map(sample_title, scaffolds)
    )
    return _titled(figure, "Sampling scaffolds by softmax(share / tau)", note, 460).update_layout(
        legend={"x": 0.33, "y": 0.5}
    )


def _spread(n: int) -> np.ndarray:
    """At most about POINTS whole numbers from 1 to n, evenly on a logarithmic axis."""
    return np.unique(np.geomspace(1, n, POINTS).round().astype(int))


def _corner(x: str, y: str) -> dict[str, Any]:
    """A legend inside the plot, in a corner."""
    return {
        "x": {"left": 0.02, "right": 0.98}[x],
        "y": {"top": 0.98, "bottom": 0.02}[y],
        "xanchor": x,
        "yanchor": y,
    }
