"""One look for all figures: colours, fonts, axes, names of terms with their units.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; text is large enough for a
projector.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import plotly.io as pio
from plotly.subplots import make_subplots

from ..errors import InputError
from ..units import with_unit

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

CLASS_SCORES = {  # how names of terms end, and what they are
    "auroc": "AUROC",
    "ap": "average precision",
    "accuracy": "share named right",
}
GLOW = ", ".join(["0 0 3px white"] * 4)  # behind words that lie on a curve
LINE_COLOUR = "#444"  # of axes, rims and lines that are no data
DASHED = {"dash": "dash", "width": 1.5, "color": LINE_COLOUR}
LEGEND_ABOVE = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"}
LEGEND_BELOW = {"orientation": "h", "y": -0.22, "yanchor": "top"}

_axis = {
    "showline": True,
    "linecolor": LINE_COLOUR,
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
    """The words of an axis for a logged term, with its unit."""
    if name in TERMS:
        return TERMS[name]
    label, is_error, unit = name.partition("_mae_")
    if is_error:
        return with_unit(f"{label.replace('_', ' ')}: mean absolute error", unit)
    label, _, score = name.rpartition("_")
    if label and score in CLASS_SCORES:
        return f"{label.replace('_', ' ')}: {CLASS_SCORES[score]}"
    return name.replace("_", " ")


def baseline_label(term: str, kind: str) -> str:
    """The words beside a baseline of a term; kinds are those that a run stores."""
    if kind == "mean" and term.endswith(("_auroc", "_ap")):
        return "at random"
    if kind in ("mean", "lookup"):
        return {"mean": "training mean", "lookup": "lookup table"}[kind]
    if term.startswith("token"):
        return "element frequency" if kind == "hidden" else "feature lookup"
    return "identity"


def panels(
    titles: Sequence[str], columns: int, height: int
) -> tuple[go.Figure, list[dict[str, int]]]:
    """An empty figure of small multiples, and the row and column of each, one a title.

    `height` is that of a row in pixels.
    """
    if not titles:
        raise InputError("there is nothing to plot: the table has no column of this kind")
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)  # rounded up
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=list(titles),
        horizontal_spacing=0.24 / columns,
        vertical_spacing=0.36 / rows,
    )
    figure.update_layout(template="molnb", height=height * rows + 70)
    figure.update_annotations(font_size=15)
    positions = [{"row": i // columns + 1, "col": i % columns + 1} for i in range(len(titles))]
    return figure, positions
