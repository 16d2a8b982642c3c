"""Figures: each `plot_*` turns a table into a plotly Figure in one look.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; text is large enough for a projector; axes carry
units. Histograms are binned and long curves averaged here, so that a saved figure weighs kilobytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from plotly.subplots import make_subplots

from .errors import Refused

if TYPE_CHECKING:
    import pyarrow as pa

    from .runs import Run

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
POINTS = 300  # of a curve that is averaged for display
BINS = 40
X_AXES = {"step": "step", "molecules": "molecules seen", "seconds": "time (s)"}
TERMS = {
    "loss": "loss (weighted sum)",
    "token_ce_nats": "masked atoms: cross entropy (nats)",
    "token_accuracy": "masked atoms: share named right",
    "coord_l1_angstrom": "coordinates: L1 (Å)",
    "distance_l1_angstrom": "distances: L1 (Å)",
}

_GLOW = ", ".join(["0 0 3px white"] * 4)  # behind words that lie on a curve

_axis = {
    "showline": True,
    "linecolor": "#444",
    "gridcolor": "#e6e9ed",
    "zeroline": False,
    "ticks": "outside",
    "automargin": True,
    "title": {"standoff": 8},
}
pio.templates["molnb"] = go.layout.Template(
    layout={
        "colorway": COLOURS,
        "font": {"family": "Arial, Helvetica, sans-serif", "size": 16, "color": "#1c2430"},
        "title": {"font": {"size": 19}, "x": 0.01, "xanchor": "left"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "xaxis": _axis,
        "yaxis": _axis,
        "legend": {"bgcolor": "rgba(255,255,255,0.8)"},
        "margin": {"l": 70, "r": 25, "t": 60, "b": 60},
        "hoverlabel": {"font": {"size": 14}},
        "bargap": 0.04,
    },
    data={"scatter": [{"line": {"width": 2.5}, "marker": {"size": 7}}]},
)


def term_label(name: str) -> str:
    """What a logged term is called on an axis, with its unit."""
    label, mae, unit = name.partition("_mae_")
    if mae:
        return f"{label.replace('_', ' ')}: mean absolute error ({unit})"
    return TERMS.get(name, name.replace("_", " "))


def _baseline_label(term: str, kind: str) -> str:
    if kind in ("mean", "lookup"):
        return {"mean": "training mean", "lookup": "lookup table"}[kind]
    if term.startswith("token"):
        return "element frequency" if kind == "hidden" else "feature lookup"
    return "identity"


def _panels(titles: Sequence[str], columns: int, height: int) -> tuple[go.Figure, list[dict[str, int]]]:
    """An empty figure of small multiples, and the row and column of each."""
    if not titles:
        raise Refused("there is nothing to plot: the table has no column of this kind")
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    figure = make_subplots(
        rows, columns, subplot_titles=list(titles), horizontal_spacing=0.24 / columns, vertical_spacing=0.36 / rows
    )
    figure.update_layout(template="molnb", height=height * rows + 70)
    figure.update_annotations(font_size=15)
    return figure, [{"row": i // columns + 1, "col": i % columns + 1} for i in range(len(titles))]


def plot_curves(curves: Sequence[tuple[str, Sequence[float], Sequence[float]]], x: str, y: str) -> go.Figure:
    """Named curves in one panel, as (name, x values, y values): the first a plain line, the others with marks."""
    figure = go.Figure(layout={"template": "molnb", "height": 320, "xaxis_title": x, "yaxis_title": y})
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
    """Validation (marked) and training curves (thin, averaged) of runs, a panel a term, each beside its own baseline.

    `features` chooses validation with atom features "hidden" or "visible" (default: what the first run logs first); `x`
    is "step", "molecules" seen, or "seconds". Dashed lines are the baselines of the first run.
    """
    if not runs:
        raise Refused("no runs to plot: train one first, or name another folder")
    features = features or next((row["features"] for row in runs[0].metrics("val")), "visible")
    bars = {kind: found for kind, found in runs[0].baselines().items() if kind in (features, "mean", "lookup")}
    scored = dict.fromkeys(name for found in bars.values() for name in found if "accuracy" not in name)
    terms = list(terms or scored) or ["loss"]
    figure, places = _panels([term_label(term) for term in terms], columns=3, height=330)
    names, shown = _run_names(runs), {part: features if part == "val" else None for part in ("train", "val")}
    for term, place in zip(terms, places):
        for number, run in enumerate(runs):
            curves = {part: _curve(run, run.metrics(part, chosen), term, x, logx) for part, chosen in shown.items()}
            named = {"name": names[number], "legendgroup": names[number], "showlegend": term == terms[0]}
            if train and len(curves["train"][0]):
                curves["train"] = averaged(*curves["train"], logx)
            _add_run(figure, curves if train else {"val": curves["val"]}, COLOURS[number % len(COLOURS)], named, place)
        for kind, found in bars.items():
            if term in found:
                _add_baseline(figure, found[term], _baseline_label(term, kind), place)
    figure.update_xaxes(title_text=X_AXES[x])
    for axes, log in ((figure.select_xaxes, logx), (figure.select_yaxes, logy)):
        for axis in axes() if log else ():
            _make_log(figure, axis)
    return figure.update_layout(legend={"orientation": "h", "y": -0.22, "yanchor": "top"}, margin={"b": 90})


def _add_baseline(figure: go.Figure, value: float, name: str, place: Mapping[str, int]) -> None:
    """A dashed horizontal line over the length of the curves of a panel, with its name above it."""
    xs = [x for trace in figure.select_traces(**place) for x in trace.x]
    look = {"mode": "lines+text", "line": {"dash": "dash", "width": 2, "color": "#444"}, "showlegend": False}
    text = {"text": ["", name], "textposition": "top left", "textfont": {"size": 13, "shadow": _GLOW}, "hoverinfo": "y"}
    figure.add_scatter(x=[min(xs, default=0), max(xs, default=1)], y=[value, value], **look, **text, **place)


def _make_log(figure: go.Figure, axis: Any) -> None:
    """A logarithmic axis with readable ticks: several a decade where there are few, else powers of ten."""
    kind, number = axis.plotly_name[0], axis.plotly_name[5:]
    values = [v for t in figure.data if (t[f"{kind}axis"] or kind)[1:] == number for v in t[kind]]
    values = [v for v in values if v > 0] or [1.0]
    low, high = np.log10(min(values)), np.log10(max(values))
    finer = (
        (0.5, (1, 1.2, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8)),
        (1, (1, 1.5, 2, 3, 5, 7)),
        (1.5, (1, 2, 5)),
        (3, (1, 3)),
    )
    steps = next((steps for span, steps in finer if high - low < span), (1,))
    ticks = [step * 10.0**power for power in range(int(np.floor(low)), int(np.ceil(high)) + 1) for step in steps]
    axis.update(
        type="log",
        tickangle=0,
        tickvals=ticks,
        ticktext=[f"{t / 1000:.12g}k" if t >= 1000 else f"{t:.12g}" for t in ticks],
    )


def _add_run(
    figure: go.Figure,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    colour: str,
    named: Mapping[str, Any],
    place: Mapping[str, int],
) -> None:
    """The training curve of a run, thin, under its validation curve."""
    if "train" in curves:
        steps, values = curves["train"]
        look = {"mode": "lines", "line": {"width": 1, "color": colour}, "opacity": 0.5, "hoverinfo": "skip"}
        figure.add_scatter(x=steps, y=values, **look, **{**named, "showlegend": False}, **place)
    steps, values = curves["val"]
    figure.add_scatter(x=steps, y=values, mode="lines+markers", line={"color": colour}, **named, **place)


def _run_names(runs: Sequence[Run]) -> list[str]:
    """Names of runs for a legend; with the seed, then the folder, where that is needed to tell them apart."""
    for name in (lambda run: run.name, lambda run: f"{run.name}, seed {run.config.seed}", lambda run: run.path.name):
        names = [name(run) for run in runs]
        if len(set(names)) == len(names):
            break
    return names


def _curve(run: Run, rows: Sequence[dict], term: str, x: str, logx: bool) -> tuple[np.ndarray, np.ndarray]:
    """One logged term against step, molecules or seconds; step 0 has no place on a logarithmic axis."""
    if x not in X_AXES:
        raise Refused(f"x is {x!r}: choose one of {', '.join(X_AXES)}")
    rows = [row for row in rows if row.get(term) is not None and (row["step"] > 0 or not logx)]
    steps = np.array([row["step"] for row in rows], float)
    if x == "molecules":
        steps = steps * run.config.global_batch
    elif x == "seconds":
        clock = {row["step"]: row["seconds"] for row in run.timings()}
        steps = np.array([clock.get(row["step"], np.nan) for row in rows])
    return steps.astype(np.float32), np.array([row[term] for row in rows], np.float32)  # half the size when saved


def averaged(x: Sequence[float], y: Sequence[float], log: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Means over stretches of a curve that look equally long, on a logarithmic axis too; at most POINTS of them."""
    x, y = np.asarray(x), np.asarray(y)
    if len(x) <= POINTS:
        return x, y
    edges = np.geomspace(x[0], x[-1], POINTS + 1) if log else np.linspace(x[0], x[-1], POINTS + 1)
    parts = [part for part in np.split(np.arange(len(x)), np.searchsorted(x, edges[1:-1], side="right")) if len(part)]
    return np.array([x[part].mean() for part in parts]), np.array([y[part].mean() for part in parts])


def plot_gains(runs: Sequence[Run], features: str = "hidden") -> go.Figure:
    """How far each term of the last validation lies below its baseline, in per cent; a mark a run, zero is no gain."""
    rows = [(run, term, 100 * (1 - run.last(features)[term] / bar)) for run, term, bar in _beaten(runs, features)]
    figure = go.Figure()
    for name, run in zip(_run_names(runs), runs):
        mine = [(_panel_name(term), gain) for one, term, gain in rows if one is run]
        figure.add_scatter(x=[gain for _, gain in mine], y=[term for term, _ in mine], mode="markers", name=name)
    figure.add_vline(0, line={"dash": "dash", "width": 2, "color": "#444"})
    figure.update_layout(template="molnb", height=330, xaxis_title=f"below its baseline (%), features {features}")
    return figure.update_traces(marker={"size": 13, "opacity": 0.85})


def _panel_name(term: str) -> str:
    return term_label(term).partition(" (")[0]


def _beaten(runs: Sequence[Run], features: str) -> list[tuple[Run, str, float]]:
    """Every run, term and baseline that a last validation row can be held against."""
    found = []
    for run in runs:
        last, bars = run.last(features), run.baselines().get(features) or run.baselines().get("mean", {})
        found += [(run, term, bar) for term, bar in bars.items() if "accuracy" not in term and term in last]
    return found


def plot_histograms(corpora: Mapping[str, Mapping[str, Any]], columns: int = 3) -> go.Figure:
    """Distributions of quantities in one or several corpora: corpus -> quantity (with its unit) -> values.

    Bars are shares of the known values of a corpus, so that corpora of different size can be compared. Bins span the
    0.5th to 99.5th percentile; what lies outside is added to the outermost bars. Missing values are left out.
    """
    quantities = list(dict.fromkeys(name for table in corpora.values() for name in table))
    figure, places = _panels(quantities, columns, height=250)
    for quantity, place in zip(quantities, places):
        found = {corpus: _known(table[quantity]) for corpus, table in corpora.items() if quantity in table}
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
    below = -70 / (figure.layout.height - 150)  # under the axis titles, however many rows of panels there are
    figure.update_layout(barmode="overlay", showlegend=len(corpora) > 1, margin={"b": 90 if len(corpora) > 1 else 60})
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


def plot_label_histograms(table: pa.Table, names: Sequence[str] | None = None, columns: int = 3) -> go.Figure:
    """Distributions of label columns of a corpus, with the unit that stands in the table and how many are known.

    Lists (labels of atoms, bonds, pairs) are laid end to end. Default: every column that declares a unit.
    """
    fields = [field for field in table.schema if b"unit" in (field.metadata or {})]
    fields = [field for field in fields if names is None or field.name in names]
    values = {}
    for field in fields:
        column = table[field.name].combine_chunks()
        column = column.flatten() if hasattr(column, "flatten") and field.type.num_fields else column
        known = _known(column.to_numpy(zero_copy_only=False))
        unit = field.metadata[b"unit"].decode()
        values[field.name + (f" ({unit})" if unit != "1" else "") + f": {len(known):,} known"] = known
    return plot_histograms({"": values}, columns)


def plot_drops(manifests: Mapping[str, Mapping[str, Any]]) -> go.Figure:
    """Rows that curation dropped, by step and reason: corpus -> its manifest. Titles say how many were kept."""
    figure = go.Figure()
    kept = []
    for corpus, manifest in manifests.items():
        reasons = {
            f"{step}: {reason}": count for step, found in manifest["dropped"].items() for reason, count in found.items()
        }
        ordered = sorted(reasons.items(), key=lambda item: item[1])
        counts = [count for _, count in ordered]
        figure.add_bar(
            x=counts, y=[name for name, _ in ordered], name=corpus, orientation="h", text=[f"{c:,}" for c in counts]
        )
        sample = f" sampled from {manifest['n_source']:,}" if manifest["n_sampled"] < manifest["n_source"] else ""
        kept.append(f"{corpus}: kept {manifest['n_kept']:,} of {manifest['n_sampled']:,} rows{sample}")
    figure.update_layout(
        template="molnb",
        title="; ".join(kept),
        height=170 + 30 * sum(len(trace.y) for trace in figure.data),
        xaxis_title="rows dropped",
        barmode="group",
        bargap=0.25,
        showlegend=len(manifests) > 1,
    )
    return figure.update_yaxes(showgrid=False).update_traces(textposition="outside", cliponaxis=False)


def plot_shares(corpora: Mapping[str, Mapping[str, float]], axis: str, log: bool = False) -> go.Figure:
    """Shares of named things in corpora, such as elements: corpus -> name -> share (0 to 1); `axis` says of what."""
    figure = go.Figure()
    for corpus, shares in corpora.items():
        figure.add_bar(x=list(shares), y=[100 * share for share in shares.values()], name=corpus)
    figure.update_layout(template="molnb", height=360, barmode="group", bargap=0.2, showlegend=len(corpora) > 1)
    figure.update_xaxes(type="category")
    if log:
        figure.update_yaxes(type="log", tickvals=[0.01, 0.1, 1, 10, 100], ticktext=["0.01", "0.1", "1", "10", "100"])
    return figure.update_yaxes(title_text=f"{axis} (%)")
