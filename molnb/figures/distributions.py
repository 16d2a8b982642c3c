"""Figures of distributions: histograms, shares, what was dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from ..units import with_unit
from .style import BINS, COLOURS, panels

if TYPE_CHECKING:
    import pyarrow as pa


def plot_histograms(corpora: Mapping[str, Mapping[str, Any]], columns: int = 3) -> go.Figure:
    """Distributions of quantities in corpora: corpus -> quantity (with its unit) -> values.

    A corpus is a DataFrame with a column a quantity, or any such mapping. Bars are shares of the
    known values of a corpus, so that corpora of different size can be compared. Bins span the 0.5th
    to 99.5th percentile; what lies outside is added to the outermost bars. Missing values are left
    out.
    """
    quantities = list(dict.fromkeys(name for table in corpora.values() for name in table))
    figure, positions = panels(quantities, columns, height=250)
    several = len(corpora) > 1
    for quantity, position in zip(quantities, positions):
        values = {
            corpus: _finite(table[quantity])
            for corpus, table in corpora.items()
            if quantity in table
        }
        edges = _edges(np.concatenate(list(values.values())))
        for number, corpus in enumerate(corpora):
            if not len(values.get(corpus, ())):
                continue
            counts, _ = np.histogram(np.clip(values[corpus], edges[0], edges[-1]), edges)
            figure.add_bar(
                x=(edges[:-1] + edges[1:]) / 2,
                y=100 * counts / counts.sum(),
                name=f"{corpus} ({len(values[corpus]):,})",
                legendgroup=corpus,
                showlegend=quantity == quantities[0],
                marker={"color": COLOURS[number % len(COLOURS)], "line": {"width": 0}},
                opacity=0.65 if several else 1.0,
                **position,
            )
    figure.update_yaxes(title_text="share (%)", col=1)
    # Under the axis titles, however many rows of panels there are.
    below = -70 / (figure.layout.height - 150)
    figure.update_layout(barmode="overlay", showlegend=several, margin={"b": 90 if several else 60})
    return figure.update_layout(legend={"orientation": "h", "y": below, "yanchor": "top"})


def _finite(values: Any) -> np.ndarray:
    values = np.asarray(values, float)
    return values[np.isfinite(values)]


def _edges(values: np.ndarray) -> np.ndarray:
    """Bin edges: one bin a value for whole numbers of small range, else BINS equal ones."""
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = np.percentile(values, (0.5, 99.5))
    if np.array_equal(values, np.round(values)) and high - low <= 2 * BINS:
        return np.arange(np.floor(low), np.ceil(high) + 2) - 0.5
    return np.linspace(low, high if high > low else low + 1, BINS + 1)


def plot_label_histograms(
    table: pa.Table, names: Sequence[str] | None = None, columns: int = 3
) -> go.Figure:
    """Distributions of label columns of a corpus, with their units and how many are known.

    Units stand in the metadata of the table's fields. Lists (labels of atoms, bonds, pairs) are
    laid end to end. Default: every column that declares a unit.
    """
    fields = [field for field in table.schema if b"unit" in (field.metadata or {})]
    fields = [field for field in fields if names is None or field.name in names]
    values = {}
    for field in fields:
        column = table[field.name].combine_chunks()
        if field.type.num_fields:  # a list
            column = column.flatten()
        numbers = _finite(column.to_numpy(zero_copy_only=False))
        title = with_unit(field.name, field.metadata[b"unit"].decode())
        values[f"{title}: {len(numbers):,} known"] = numbers
    return plot_histograms({"": values}, columns)


def plot_drops(manifests: Mapping[str, Mapping[str, Any]]) -> go.Figure:
    """Rows that curation dropped, by step and reason: corpus -> its manifest.

    The title says how many rows were kept.
    """
    figure = go.Figure()
    titles = []
    for corpus, manifest in manifests.items():
        reasons = {
            f"{step}: {reason}": count
            for step, counts in manifest["dropped"].items()
            for reason, count in counts.items()
        }
        reasons = dict(sorted(reasons.items(), key=lambda item: item[1]))
        figure.add_bar(
            x=list(reasons.values()),
            y=list(reasons),
            name=corpus,
            orientation="h",
            text=[f"{count:,}" for count in reasons.values()],
        )
        title = f"{corpus}: kept {manifest['n_kept']:,} of {manifest['n_sampled']:,} rows"
        if manifest["n_sampled"] < manifest["n_source"]:
            title += f" sampled from {manifest['n_source']:,}"
        titles.append(title)
    figure.update_layout(
        template="molnb",
        title="; ".join(titles),
        height=170 + 30 * sum(len(trace.y) for trace in figure.data),
        xaxis_title="rows dropped",
        barmode="group",
        bargap=0.25,
        showlegend=len(manifests) > 1,
    )
    return figure.update_yaxes(showgrid=False).update_traces(
        textposition="outside", cliponaxis=False
    )


def plot_shares(
    corpora: Mapping[str, Mapping[str, float]], axis: str, log: bool = False
) -> go.Figure:
    """Shares of named things in corpora, such as elements: corpus -> name -> share (0 to 1).

    `axis` says of what.
    """
    figure = go.Figure()
    for corpus, shares in corpora.items():
        figure.add_bar(x=list(shares), y=[100 * share for share in shares.values()], name=corpus)
    figure.update_layout(
        template="molnb", height=360, barmode="group", bargap=0.2, showlegend=len(corpora) > 1
    )
    figure.update_xaxes(type="category")
    if log:
        figure.update_yaxes(
            type="log", tickvals=[0.01, 0.1, 1, 10, 100], ticktext=["0.01", "0.1", "1", "10", "100"]
        )
    return figure.update_yaxes(title_text=f"{axis} (%)")
