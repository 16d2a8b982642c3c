"""Figures of a comparison: which methods differ, prediction against measurement, errors, molecules.

Errors are shown by similarity to the training rows, and the worst predictions as drawn molecules.
Every `plot_*` returns a plotly Figure in the look of :mod:`molnb.figures`; nothing here needs a
click.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdFMCS

from ..errors import InputError
from ..evaluation.benchmark import BINARY
from ..evaluation.comparison import Comparison
from ..evaluation.metrics import DEFAULT, find_metric
from ..evaluation.report import REFERENCE_METHOD, check_table, default_metric
from ..evaluation.results import NETWORK, fold_scores
from ..evaluation.similarity import nearest_training
from ..rng import uniform
from ..shapes import Bool
from .grid import draw_molecules
from .style import COLOURS, DASHED, LEGEND_ABOVE, LEGEND_BELOW, panels

GREY = "#8a8f98"  # of what counts for nothing
SPREAD = 0.6  # height over which the points of one class are scattered
N_PART = 5  # parts of equal size in which errors are averaged
_TRAINING_LOOK = {"color": "#b8bec7", "size": 5, "opacity": 0.5}
_TEST_LOOK = {"color": COLOURS[0], "size": 6, "opacity": 0.6}
_FLAGGED_LOOK = {"color": COLOURS[1], "size": 8, "symbol": "x", "opacity": 0.8}


def plot_differences(
    table: pd.DataFrame,
    axis: str,
    title: str = "",
    reference: str = REFERENCE_METHOD,
    metric: str | None = None,
) -> go.Figure:
    """Difference of each method's score to the reference's, with its interval, one line a method.

    `table`, `reference` and `metric` are those of `comparison_table`. Networks and other methods
    have their own colours; a network that was not trained to conclusion is hollow and grey. `axis`
    names the quantity with its unit.
    """
    metric = metric or default_metric(table)
    check_table(table, reference, metric)
    methods = table[table["method"] != reference][::-1]
    if methods.empty:
        raise InputError(f"there is nothing beside {reference} to compare: add a method")
    methods = methods.assign(height=range(len(methods)))
    network = methods["kind"] == NETWORK
    unfinished = methods["note"] != ""
    figure = go.Figure(
        layout={"template": "molnb", "height": 150 + 44 * len(methods), "title": title}
    )
    for name, members, colour, symbol in (
        ("other methods", ~network, COLOURS[0], "circle"),
        ("networks", network & ~unfinished, COLOURS[1], "diamond"),
        ("networks, not trained to conclusion", unfinished, GREY, "diamond-open"),
    ):
        rows = methods[members]
        if rows.empty:
            continue
        figure.add_scatter(
            x=rows["difference"].to_numpy(),
            y=rows["height"].to_numpy(),
            error_x={
                "array": (rows["high"] - rows["difference"]).to_numpy(),
                "arrayminus": (rows["difference"] - rows["low"]).to_numpy(),
                "symmetric": False,
                "thickness": 2.5,
                "width": 5,
            },
            mode="markers",
            name=name,
            marker={
                "size": 12,
                "color": colour,
                "symbol": symbol,
                "line": {"width": 2, "color": colour},
            },
            hovertemplate="%{y}: %{x:+.3f}<extra></extra>",
        )
    figure.add_vline(0, line=DASHED | {"width": 2})
    figure.update_yaxes(
        tickvals=methods["height"].tolist(),
        ticktext=[
            f"{name}  {score:.2f}" for name, score in zip(methods["method"], methods[metric])
        ],
        range=[-0.7, len(methods) - 0.3],
        showgrid=False,
    )
    words = find_metric(metric).words
    score = table.set_index("method")[metric][reference]
    figure.update_xaxes(title_text=f"{words} minus that of {reference} ({score:.2f})<br>{axis}")
    return figure.update_layout(legend=LEGEND_ABOVE)


def plot_guesses(
    comparison: Comparison,
    methods: Sequence[str],
    flagged: Bool[np.ndarray, " row"] | None = None,
    meaning: str = "flagged",
) -> go.Figure:
    """Measured against predicted values, a panel a method, with flagged test rows apart.

    Each test row was predicted once, by the model of the fold that had not seen it; training rows
    are grey. `meaning` says in words what a flag means. Of a binary label the panels show the
    predicted probabilities of each class, scattered in height so that none hides another.
    """
    is_binary = comparison.benchmark.kind == BINARY
    truth = comparison.benchmark.values.astype(np.float32)
    if flagged is None:
        flagged = np.zeros(len(truth), bool)
    predictions = {
        (part, method): comparison.predictions(method, part).astype(np.float32)
        for part in ("train", "test")
        for method in methods
    }
    metric = DEFAULT[comparison.benchmark.kind]
    scores = fold_scores(comparison.results, metric).mean()
    heading = find_metric(metric).heading
    titles = [f"{method}: test {heading} {scores[method]:.2f}" for method in methods]
    figure, positions = panels(titles, columns=min(3, len(methods)), height=360)
    lowest = min(truth.min(), *(np.nanmin(values) for values in predictions.values()))
    highest = max(truth.max(), *(np.nanmax(values) for values in predictions.values()))
    ends = [float(lowest) - 0.2, float(highest) + 0.2]
    if is_binary:
        ends = [-0.03, 1.03]
        height = uniform(comparison.benchmark.ids, 0)
        truth = truth + (SPREAD * (height - 0.5)).astype(np.float32)
    looks = (
        ("training rows", "train", np.ones(len(truth), bool), _TRAINING_LOOK),
        ("test rows", "test", ~flagged, _TEST_LOOK),
        (f"test rows, {meaning}", "test", flagged, _FLAGGED_LOOK),
    )
    for method, position in zip(methods, positions):
        figure.add_scatter(
            x=[0.5, 0.5] if is_binary else ends,
            y=[-0.5, 1.5] if is_binary else ends,
            mode="lines",
            line=DASHED,
            showlegend=False,
            hoverinfo="skip",
            **position,
        )
        for name, part, rows, look in looks:
            if not rows.any():
                continue
            figure.add_scatter(
                x=predictions[part, method][rows],
                y=truth[rows],
                mode="markers",
                marker=look,
                name=name,
                legendgroup=name,
                showlegend=method == methods[0],
                **position,
            )
    figure.update_xaxes(range=ends, title_text="predicted").update_yaxes(range=ends)
    figure.update_yaxes(title_text=f"measured<br>{comparison.benchmark.axis}", col=1)
    if is_binary:
        benchmark = comparison.benchmark
        figure.update_xaxes(title_text=f"predicted probability of {benchmark.named(1)}")
        figure.update_yaxes(
            range=[-0.5, 1.5], tickvals=[0, 1], ticktext=[benchmark.named(0), benchmark.named(1)]
        )
        figure.update_yaxes(title_text=f"measured {benchmark.label}", col=1)
    return figure.update_layout(legend=LEGEND_BELOW, margin={"b": 90})


def plot_error_by_similarity(comparison: Comparison, methods: Sequence[str]) -> go.Figure:
    """Mean absolute error of test molecules by similarity to the nearest training molecule.

    Of a binary label it is the mean squared error of the probability (Brier score). Molecules are
    divided into parts of equal number by similarity; a mark stands at the mean similarity of its
    part. Bars are two standard errors of the mean over molecules: related molecules err together,
    so they are rather too short than too long.
    """
    _, similarity = nearest_training(comparison.benchmark, comparison.folds)
    order = np.argsort(similarity, kind="stable")
    parts = np.array_split(order, min(N_PART, max(len(order) // 8, 1)))
    figure = go.Figure(layout={"template": "molnb", "height": 420})
    for number, method in enumerate(methods):
        error = np.abs(comparison.predictions(method) - comparison.benchmark.values)
        if comparison.benchmark.kind == BINARY:
            error = error**2
        bars = [2 * error[part].std(ddof=1) / len(part) ** 0.5 for part in parts]
        shift = 0.004 * (number - len(methods) / 2)  # bars of several methods stand side by side
        figure.add_scatter(
            x=[similarity[part].mean() + shift for part in parts],
            y=[error[part].mean() for part in parts],
            error_y={"array": bars, "thickness": 1.5, "width": 4},
            mode="lines+markers",
            name=method,
            line={
                "color": COLOURS[number % len(COLOURS)],
                "dash": "dot" if method == "mean" else "solid",
            },
        )
    figure.update_xaxes(title_text="Tanimoto similarity (ECFP4) to the nearest training molecule")
    words = "mean absolute error"
    if comparison.benchmark.kind == BINARY:
        words = "Brier score"
    figure.update_yaxes(title_text=f"{words}<br>{comparison.benchmark.axis}", rangemode="tozero")
    return figure.update_layout(legend=LEGEND_BELOW, margin={"b": 100})


def draw_worst(
    comparison: Comparison,
    method: str,
    n: int = 10,
    flagged: Bool[np.ndarray, " row"] | None = None,
    meaning: str = "flagged",
    size: int = 230,
) -> Any:
    """The n test molecules a method is most wrong about, each beside its nearest training molecule.

    Two such pairs a line, worst first; what the two molecules of a pair do not share is marked.
    Measured and predicted values are in the unit of the label, of a binary one the class and the
    probability of class 1. `meaning` says what a flag means.
    """
    benchmark = comparison.benchmark
    nearest, similarity = nearest_training(benchmark, comparison.folds)
    truth = benchmark.values
    predictions = comparison.predictions(method)
    notes = [""] * len(truth)
    if flagged is not None:
        notes = [f", {meaning}" if flag else "" for flag in flagged]
    drawings = []
    marked = []
    legends = []
    chance = "probability " if benchmark.kind == BINARY else ""
    worst_first = np.argsort(-np.abs(predictions - truth), kind="stable")
    for rank, row in enumerate(worst_first[:n], 1):
        neighbour = nearest[row]
        pair, not_shared = aligned_drawings(benchmark.smiles[row], benchmark.smiles[neighbour])
        drawings += pair
        marked += not_shared
        legends.append(
            f"{rank}. measured {benchmark.named(truth[row])}{notes[row]}, "
            f"predicted {chance}{predictions[row]:.2f}"
        )
        legends.append(
            f"its nearest in training ({similarity[row]:.2f}): "
            f"measured {benchmark.named(truth[neighbour])}{notes[neighbour]}"
        )
    return draw_molecules(drawings, legends, columns=4, size=size, marked=marked)


def aligned_drawings(smiles: str, other: str) -> tuple[list[Chem.Mol], list[list[int]]]:
    """Two molecules with their largest common part drawn alike, and the atoms not in that part."""
    molecule = Chem.MolFromSmiles(smiles)
    other_molecule = Chem.MolFromSmiles(other)
    molecules = [molecule, other_molecule]
    rdDepictor.Compute2DCoords(molecule)
    common = rdFMCS.FindMCS(molecules, ringMatchesRingOnly=True, completeRingsOnly=True, timeout=2)
    pattern = Chem.MolFromSmarts(common.smartsString) if common.numAtoms > 2 else None
    if pattern is None:
        return molecules, [[], []]
    atoms = molecule.GetSubstructMatch(pattern)
    other_atoms = other_molecule.GetSubstructMatch(pattern)
    rdDepictor.GenerateDepictionMatching2DStructure(
        other_molecule, molecule, list(zip(atoms, other_atoms))
    )
    not_shared = [
        sorted(set(range(mol.GetNumAtoms())) - set(matched))
        for mol, matched in zip(molecules, (atoms, other_atoms))
    ]
    return molecules, not_shared
