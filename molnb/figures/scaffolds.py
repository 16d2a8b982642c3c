"""Figures of scaffolds: the most frequent ones with drawings, long tails, overlap, sampling.

Drawings are SVG inside the figures, so that they survive saving and export without a network.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..curation.scaffold_comparison import overlap, shared_scaffolds, top_scaffolds
from ..curation.scaffold_sampling import TAU, scaffold_weights
from ..curation.scaffolds import Scaffolds, coverage, effective_number, expected_scaffolds
from ..data.draws import Sampling, make_draws
from .scaffold_browser import draw_structure, sample_title
from .style import COLOURS, DASHED, POINTS

# Where else a scaffold occurs, and the colour that says so.
PRESENCE = {
    "also in the other's top {k}": COLOURS[2],
    "further down in the other": COLOURS[0],
    "not in the other": COLOURS[1],
}


def _note(scaffolds: Sequence[Scaffolds]) -> str:
    """The sample of each corpus, and what became of acyclic molecules, for a title."""
    words = "; ".join(map(sample_title, scaffolds))
    if any(corpus.n_molecule < corpus.corpus.n for corpus in scaffolds):
        words += ", acyclic ones left out"
    return words


def _titled(figure: go.Figure, title: str, note: str, height: int, top: int = 90) -> go.Figure:
    text = f"{title}<br><span style='font-size:14px;color:#555'>{note}</span>"
    heading = {"text": text, "y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 24}}
    return figure.update_layout(template="molnb", title=heading, height=height, margin={"t": top})


# ------------------------------------------------------------------- the most frequent scaffolds


def plot_top_scaffolds(
    first: Scaffolds, second: Scaffolds, k: int = 40, drawn: int = 12
) -> go.Figure:
    """Share of the k most frequent scaffolds of two corpora side by side, the first ones drawn.

    As Figure 1 of the Uni-Mol2 paper. The axis is logarithmic, since one scaffold often outweighs
    the next ten. Colour says whether the scaffold is also among the k most frequent of the other
    corpus, elsewhere in it, or in none of its molecules.
    """
    corpora = (first, second)
    figure = make_subplots(
        1, 2, horizontal_spacing=0.09, subplot_titles=[sample_title(corpus) for corpus in corpora]
    )
    tops = _both_tops(first, second, k)
    for column, top in enumerate(tops, 1):
        other_top = tops[2 - column]
        presence = np.where(top["n_elsewhere"].to_numpy(int) > 0, 1, 2)
        presence[top["scaffold"].isin(other_top["scaffold"]).to_numpy()] = 0
        for number, (label, colour) in enumerate(PRESENCE.items()):
            _add_marks(figure, top[presence == number], label.format(k=k), colour, column)
        _add_drawings(figure, top, column, drawn)
    figure.update_xaxes(title_text="rank", range=[0, k + 1], showgrid=False)
    figure.update_yaxes(title_text="share of counted molecules (%)", col=1)
    note = ""
    if any(corpus.n_molecule < corpus.corpus.n for corpus in corpora):
        note = "acyclic molecules left out"
    title = (
        f"The {k} most frequent scaffolds of {len(first):,} ({first.name}) "
        f"and {len(second):,} ({second.name})"
    )
    figure.update_annotations(font_size=14)
    legend = {"orientation": "h", "x": 0, "y": -0.14, "yanchor": "top"}
    return _titled(figure, title, note, 600).update_layout(legend=legend)


def _both_tops(first: Scaffolds, second: Scaffolds, k: int) -> list[pd.DataFrame]:
    """The two halves of `top_scaffolds`: rank, scaffold, n, share, n_elsewhere."""
    table = top_scaffolds(first, second, k)
    halves = [table.columns[1:5], table.columns[5:9]]
    tops = [table[["rank", *half]].dropna() for half in halves]
    return [top.set_axis(["rank", "scaffold", "n", "share", "n_elsewhere"], axis=1) for top in tops]


def _add_marks(figure: go.Figure, top: pd.DataFrame, label: str, colour: str, column: int) -> None:
    """A mark a scaffold; names, counts and shares on hover.

    An empty group still stands in the legend once.
    """
    hover = [
        f"{row.scaffold}<br>{row.n:,} molecules, {100 * row.share:.2g} %; "
        f"{row.n_elsewhere:,} in the other"
        for row in top.itertuples()
    ]
    figure.add_scatter(
        x=top["rank"].tolist() or [None],
        y=(100 * top["share"]).tolist() or [None],
        mode="markers",
        marker={"color": colour, "size": 10},
        name=label,
        legendgroup=label,
        showlegend=column == 1,
        hovertext=hover,
        hovertemplate="rank %{x}: %{hovertext}<extra></extra>",
        row=1,
        col=column,
    )


def _add_drawings(figure: go.Figure, top: pd.DataFrame, column: int, drawn: int) -> None:
    """Drawings of the first scaffolds, in the corner that a long tail leaves empty."""
    figure.update_yaxes(**_axis_below_drawings(top["share"]), row=1, col=column)
    n_across = 4
    n_down = 3
    margin = 0.13  # to the left of the drawings, as all lengths here a share of the panel
    wide = (1 - margin) / n_across
    tall = 0.57 / n_down
    axis = column if column > 1 else ""
    domain = {"xref": f"x{axis} domain", "yref": f"y{axis} domain"}
    for number, row in enumerate(top.head(min(drawn, n_across * n_down)).itertuples()):
        x = margin + (number % n_across) * wide
        y = 1.0 - (number // n_across) * tall
        picture = base64.b64encode(draw_structure(row.scaffold, 140, 90).encode()).decode()
        figure.add_layout_image(
            source=f"data:image/svg+xml;base64,{picture}",
            x=x + 0.035,
            y=y,
            sizex=wide - 0.035,
            sizey=tall - 0.01,
            **domain,
        )
        figure.add_annotation(
            x=x,
            y=y,
            xanchor="left",
            yanchor="top",
            text=f"<b>{row.rank}</b>",
            showarrow=False,
            font={"size": 13, "color": "#555"},
            **domain,
        )


def _axis_below_drawings(shares: pd.Series) -> dict[str, Any]:
    """A logarithmic axis that keeps all but the first few of descending shares low."""
    logs = np.log10(100 * shares.to_numpy(float))
    low = logs.min() - 0.12
    fourth = logs[min(3, len(logs) - 1)]
    high = max(logs[0] + 0.15, low + (fourth - low + 0.05) / 0.40)
    decades = [10.0**power for power in range(-4, 3)]
    steps = [factor * decade for decade in decades for factor in (1, 2, 5)]
    ticks = [step for step in steps if low < math.log10(step) <= min(high, 2)]
    return {
        "type": "log",
        "range": [low, high],
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }


# ---------------------------------------------------------------------------------- long tails


def plot_rank_frequency(scaffolds: Sequence[Scaffolds]) -> go.Figure:
    """Molecules a scaffold against its rank, both logarithmic.

    The long tail ends in scaffolds seen once.
    """
    figure = go.Figure()
    for corpus in scaffolds:
        ranks = _log_spaced(len(corpus))
        percent_once = 100 * (corpus.counts == 1).mean()
        figure.add_scatter(
            x=ranks,
            y=corpus.counts[ranks - 1],
            name=f"{corpus.name}: {len(corpus):,} scaffolds, {percent_once:.0f} % seen once",
            mode="lines+markers",
            marker={"size": 5},
        )
    figure.update_xaxes(type="log", title_text="rank of the scaffold", dtick=1)
    figure.update_yaxes(type="log", title_text="molecules on it", dtick=1)
    title = "Few scaffolds have many molecules"
    figure = _titled(figure, title, _note(scaffolds), 460)
    return figure.update_layout(legend=_corner("right", "top"))


def plot_coverage(scaffolds: Sequence[Scaffolds], marked: int = 40) -> go.Figure:
    """Share of molecules on the k most frequent scaffolds, against k; a mark at k = `marked`."""
    figure = go.Figure()
    for number, corpus in enumerate(scaffolds):
        ranks = _log_spaced(len(corpus))
        colour = COLOURS[number]
        figure.add_scatter(
            x=ranks,
            y=100 * coverage(corpus, ranks),
            name=corpus.name,
            mode="lines",
            line={"color": colour},
        )
        k = min(marked, len(corpus))
        percent = 100 * coverage(corpus, k)
        figure.add_scatter(
            x=[k],
            y=[percent],
            text=[f"top {k}: {percent:.0f} % "],
            showlegend=False,
            textfont={"color": colour},
            mode="markers+text",
            marker={"size": 12, "color": colour},
            textposition="top left",
        )
    figure.add_hline(50, line=DASHED)
    figure.update_xaxes(type="log", title_text="most frequent scaffolds", dtick=1)
    figure.update_yaxes(title_text="molecules on them (%)", range=[0, 102])
    title = "How much of a corpus its scaffolds cover"
    figure = _titled(figure, title, _note(scaffolds), 460)
    return figure.update_layout(legend=_corner("left", "top"))


def plot_expected_scaffolds(scaffolds: Sequence[Scaffolds]) -> go.Figure:
    """Scaffolds that a random sample holds on average, against its size.

    So corpora of unequal size are compared fairly.
    """
    figure = go.Figure()
    for corpus in scaffolds:
        sizes = np.unique(np.linspace(0, corpus.n_molecule, 40).astype(int))
        expected = expected_scaffolds(corpus, sizes)
        figure.add_scatter(x=sizes, y=expected, name=corpus.name, mode="lines")
    n_molecule = [corpus.n_molecule for corpus in scaffolds]
    smallest = min(n_molecule)
    # The line of "every molecule a new one" ends where it leaves the figure.
    end = min(max(n_molecule), 1.15 * max(map(len, scaffolds)))
    figure.add_scatter(
        x=[0, end],
        y=[0, end],
        name="every molecule a new one",
        mode="lines",
        line={"dash": "dot", "width": 2, "color": "#777"},
    )
    figure.add_vline(smallest, line=DASHED)
    figure.update_xaxes(title_text="molecules drawn")
    figure.update_yaxes(title_text="different scaffolds, expected", rangemode="tozero")
    title = (
        f"Scaffolds in samples of one size; dashed: {smallest:,} molecules, which all corpora have"
    )
    figure = _titled(figure, title, _note(scaffolds), 460)
    return figure.update_layout(legend=_corner("left", "top"))


# ------------------------------------------------------------------------------------- overlap


def plot_overlap(first: Scaffolds, second: Scaffolds) -> go.Figure:
    """What two corpora share, in per cent of each; shared scaffolds by their share in either."""
    shared = shared_scaffolds(first, second)
    figure = make_subplots(1, 2, horizontal_spacing=0.13, column_widths=[0.52, 0.48])
    tallest = _add_shared_bars(figure, overlap(first, second))
    _add_shared_dots(figure, shared)
    figure.update_xaxes(type="log", dtick=1, title_text=f"share in {first.name} (%)", row=1, col=2)
    figure.update_yaxes(type="log", dtick=1, title_text=f"share in {second.name} (%)", row=1, col=2)
    figure.update_yaxes(title_text="shared (%)", range=[0, 1.25 * tallest], row=1, col=1)
    title = (
        f"{len(shared):,} scaffolds of {len(first):,} in {first.name} "
        f"and {len(second):,} in {second.name} are in both"
    )
    legend = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
    figure = _titled(figure, title, _note((first, second)), 470)
    return figure.update_layout(legend=legend, bargap=0.3)


def _add_shared_bars(figure: go.Figure, table: pd.DataFrame) -> float:
    """Bars of what is shared, in per cent of each corpus; returns the height of the tallest."""
    groups = {
        "shared scaffolds": "scaffolds",
        "molecules on them": "molecules on<br>shared scaffolds",
        "shared molecules": "molecules",
    }
    for number, row in enumerate(table.to_dict("records")):
        percents = [100 * row[f"{group} (share)"] for group in groups]
        text = [
            f"{percent:.{1 + (percent >= 1)}g} %<br>{row[group]:,}"
            for percent, group in zip(percents, groups)
        ]
        figure.add_bar(
            x=list(groups.values()),
            y=percents,
            text=text,
            name=f"of {row['corpus']}",
            marker={"color": COLOURS[number]},
            textposition="outside",
            cliponaxis=False,
            row=1,
            col=1,
        )
    return 100 * max(table[f"{group} (share)"].max() for group in groups)


def _add_shared_dots(figure: go.Figure, shared: pd.DataFrame) -> None:
    """A dot a shared scaffold, at its share in either corpus, and the line of equal shares."""
    x = (100 * shared["share_1"]).tolist()
    y = (100 * shared["share_2"]).tolist()
    figure.add_scatter(
        x=x,
        y=y,
        hovertext=shared["scaffold"].tolist(),
        mode="markers",
        marker={"color": COLOURS[2], "opacity": 0.6, "size": 8},
        showlegend=False,
        row=1,
        col=2,
    )
    ends = [0.8 * min([*x, *y], default=0.01), 1.3 * max([*x, *y], default=100)]
    figure.add_scatter(
        x=ends,
        y=ends,
        hoverinfo="skip",
        mode="lines",
        line=DASHED,
        showlegend=False,
        row=1,
        col=2,
    )


# ------------------------------------------------------------------------------------ sampling


def plot_sampling(scaffolds: Sequence[Scaffolds], tau: float = TAU) -> go.Figure:
    """What softmax(share / tau) draws, against tau.

    Left the effective number of scaffolds, right the share of draws on the most frequent one.
    """
    titles = [
        "evenness: effective number of scaffolds",
        "draws on the most frequent scaffold",
    ]
    figure = make_subplots(1, 2, horizontal_spacing=0.12, subplot_titles=titles)
    taus = np.unique(np.append(np.geomspace(1e-3, 10, 81), tau))
    for number, corpus in enumerate(scaffolds):
        weights = [scaffold_weights(corpus, value) for value in taus]
        evenness = [100 * effective_number(weight) / len(corpus) for weight in weights]
        percent_first = [100 * weight[0] for weight in weights]
        line = {
            "mode": "lines",
            "line": {"color": COLOURS[number]},
            "name": corpus.name,
            "legendgroup": corpus.name,
        }
        figure.add_scatter(x=taus, y=evenness, **line, row=1, col=1)
        figure.add_scatter(x=taus, y=percent_first, **line, showlegend=False, row=1, col=2)
        in_corpus = 100 * corpus.counts[0] / corpus.n_molecule
        figure.add_scatter(
            x=taus[[0, -1]],
            y=[in_corpus, in_corpus],
            mode="lines",
            line={"color": COLOURS[number], "dash": "dot", "width": 1.5},
            showlegend=False,
            row=1,
            col=2,
        )
    figure.add_vline(tau, line=DASHED)
    figure.update_xaxes(type="log", title_text="tau", dtick=1, exponentformat="power")
    figure.update_yaxes(title_text="of all scaffolds (%)", range=[-3, 104], col=1)
    figure.update_yaxes(title_text="share (%)", range=[-3, 104], col=2)
    samples = "; ".join(map(sample_title, scaffolds))
    note = f"dashed: tau = {tau:g}; dotted: its share in the corpus; {samples}"
    figure = _titled(figure, "Sampling scaffolds by softmax(share / tau)", note, 460)
    return figure.update_layout(legend={"x": 0.33, "y": 0.5})


def plot_seen(scaffolds: Sequence[Scaffolds], taus: Sequence[float]) -> go.Figure:
    """Share of the molecules that a run has drawn, against draws: uniformly, and with each tau."""
    names = [corpus.name for corpus in scaffolds]
    figure = make_subplots(1, len(scaffolds), horizontal_spacing=0.1, subplot_titles=names)
    epochs = np.geomspace(0.05, 30, 60)
    samplings = [Sampling(), *(Sampling("scaffold", tau) for tau in taus)]
    for column, corpus in enumerate(scaffolds, 1):
        n = corpus.n_molecule
        scaffold = np.repeat(np.arange(len(corpus)), corpus.counts)
        for number, sampling in enumerate(samplings):
            draws = make_draws(sampling, 0, n, scaffold)
            figure.add_scatter(
                x=epochs,
                y=[100 * draws.expected_seen(int(count)) / n for count in epochs * n],
                mode="lines",
                line={"color": COLOURS[number]},
                name="uniform" if sampling.plain else f"tau {sampling.tau:g}",
                legendgroup=str(number),
                showlegend=column == 1,
                row=1,
                col=column,
            )
    ticks = [0.1, 0.3, 1, 3, 10, 30]
    figure.update_xaxes(type="log", title_text="draws (epochs)", tickvals=ticks)
    figure.update_yaxes(range=[-3, 104])
    figure.update_yaxes(title_text="different molecules drawn (%)", col=1)
    note = "an epoch: as many draws as molecules; " + "; ".join(map(sample_title, scaffolds))
    return _titled(figure, "How much of a corpus a run sees", note, 460)


def _log_spaced(n: int) -> np.ndarray:
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
