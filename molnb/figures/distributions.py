"""Figures of distributions: histograms, shares, what was dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

if TYPE_CHECKING:
    import pyarrow as pa

from .style import BINS, COLOURS, panels


def plot_histograms(corpora: Mapping[str, Mapping[str, Any]], columns: int = 3) -> go.Figure:
    """Distributions of quantities in one or several corpora: corpus -> quantity (with its unit) ->
    values.

    Bars are shares of the known values of a corpus, so that corpora of different size can be
    compared. Bins span the 0.5th to 99.5th percentile; what lies outside is added to the outermost
    bars. Missing values are left out.
    """
    quantities = list(dict.fromkeys(name for table in corpora.values() for name in table))
    figure, places = panels(quantities, columns, height=250)
    for quantity, place in zip(quantities, places):
        found = {
            corpus: _known(table[quantity])
            for corpus, table in corpora.items()
            if quantity in table
        }
        edges = _edges(np.concatenate(list(found.values())))
        for number, corpus in enumerate(corpora):
            if not len(found.get(corpus, ())):
                continue
            counts, _ = np.histogram(np.clip(found[corpus], edges[0], edges[-1]), edges)
            figure.add_bar(
                x=(edges[:-1] + edges[1:]) / 2,
                y=100 * counts / counts.sum(),
                name=f"{corpus} ({len(found[corpus]):,})",
                legendgroup=corpus,
                showlegend=quantity == quantities[0],
                marker={"color": COLOURS[number % len(COLOURS)], "line": {"width": 0}},
                opacity=0.65 if len(corpora) > 1 else 1.0,
                **place,
            )
    figure.update_yaxes(title_text="share (%)", col=1)
    below = -70 / (
        figure.layout.height - 150
    )  # under the axis titles, however many rows of panels there are
    figure.update_layout(
        barmode="overlay", showlegend=len(corpora) > 1, margin={"b": 90 if len(corpora) > 1 else 60}
    )
    return figure.update_layout(legend={"orientation": "h", "y": below, "yanchor": "top"})


def _known(values: Any) -> np.ndarray:
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
    """Distributions of label columns of a corpus, with the unit that stands in the table and how
    many are known.

    Lists (labels of atoms, bonds, pairs) are laid end to end. Default: every column that declares a
    unit.
    """
    fields = [field for field in table.schema if b"unit" in (field.metadata or {})]
    fields = [field for field in fields if names is None or field.name in names]
    values = {}
    for field in fields:
        column = table[field.name].combine_chunks()
        column = (
            column.flatten() if hasattr(column, "flatten") and field.type.num_fields else column
        )
        known = _known(column.to_numpy(zero_copy_only=False))
        unit = field.metadata[b"unit"].decode()
        values[field.name + (f" ({unit})" if unit != "1" else "") + f": {len(known):,} known"] = (
            known
        )
    return plot_histograms({"": values}, columns)


def plot_drops(manifests: Mapping[str, Mapping[str, Any]]) -> go.Figure:
    """Rows that curation dropped, by step and reason: corpus -> its manifest. Titles say how
    many were kept.
    """
    figure = go.Figure()
    kept = []
    for corpus, manifest in manifests.items():
        reasons = {
            f"{step}: {reason}": count
            for step, found in manifest["dropped"].items()
            for reason, count in found.items()
        }
        ordered = sorted(reasons.items(), key=lambda item: item[1])
        counts = [count for _, count in ordered]
        figure.add_bar(
            x=counts,
            y=[name for name, _ in ordered],
            name=corpus,
            orientation="h",
            text=[f"{c:,}" for c in counts],
        )
        sample = (
            f" sampled from {manifest['n_source']:,}"
            if manifest["n_sampled"] < manifest["n_source"]
            else ""
        )
        kept.append(
            f"{corpus}: kept {manifest['n_kept']:,} of {manifest['n_sampled']:,} rows{sample}"
        )
    figure.update_layout(
        template="molnb",
        title="; ".join(kept),
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
    """Shares of named things in corpora, such as elements: corpus -> name -> share (0 to 1);
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
