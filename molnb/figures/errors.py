"""Pictures of errors: which methods differ, guess against measurement, error by distance, the worst
molecules.

Every `plot_*` turns a comparison into a plotly Figure in the look of :mod:`molnb.figures`; nothing
here needs a click.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdFMCS

from ..chemistry.fingerprints import similarities
from ..errors import InputError
from ..evaluation.benchmark import BenchmarkTask
from ..evaluation.comparison import Comparison
from ..evaluation.folds import Fold
from ..evaluation.report import NETWORK, REFERENCE
from ..shapes import Bool, Float, Int
from .grid import draw_molecules
from .style import COLOURS, panels

_LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"}
N_PART = 5  # parts of equal size in which errors are averaged


def plot_differences(
    rows: Sequence[Mapping[str, Any]], axis: str, title: str = "", reference: str = REFERENCE
) -> go.Figure:
    """Difference of each method's mean absolute error to the reference, with its interval; left of
    zero is better.

    `rows` come from `evaluate.comparison_table`. Networks and other methods have their own colours;
    a network that was not trained to conclusion is hollow and grey. `axis` names the quantity with
    its unit.
    """
    shown = [r for r in rows if r["method"] != reference][::-1]
    if not shown:
        raise InputError(f"there is nothing beside {reference} to compare: add a method")
    places = {row["method"]: at for at, row in enumerate(shown)}
    figure = go.Figure(
        layout={"template": "molnb", "height": 150 + 44 * len(shown), "title": title}
    )
    looks = {
        "other methods": (lambda r: r["kind"] != NETWORK, COLOURS[0], "circle"),
        "networks": (lambda r: r["kind"] == NETWORK and not r["note"], COLOURS[1], "diamond"),
        "networks, not trained to conclusion": (
            lambda r: bool(r["note"]),
            "#8a8f98",
            "diamond-open",
        ),
    }
    for name, (mine, colour, symbol) in looks.items():
        chosen = [r for r in shown if mine(r)]
        if not chosen:
            continue
        middle = np.array([r["difference"] for r in chosen])
        bars = {
            "array": [r["high"] - r["difference"] for r in chosen],
            "thickness": 2.5,
            "width": 5,
        }
        figure.add_scatter(
            x=middle,
            y=[places[r["method"]] for r in chosen],
            error_x=bars
            | {"arrayminus": [r["difference"] - r["low"] for r in chosen], "symmetric": False},
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
    figure.add_vline(0, line={"dash": "dash", "width": 2, "color": "#444"})
    text = [f"{r['method']}  {r['mae']:.2f}" for r in shown]
    figure.update_yaxes(
        tickvals=list(places.values()),
        ticktext=text,
        range=[-0.7, len(shown) - 0.3],
        showgrid=False,
    )
    error = next(r["mae"] for r in rows if r["method"] == reference)
    figure.update_xaxes(
        title_text=f"mean absolute error minus that of {reference} ({error:.2f})<br>{axis}"
    )
    return figure.update_layout(legend=_LEGEND | {"y": 1.0})


def plot_guesses(
    result: Comparison,
    methods: Sequence[str],
    flagged: Bool[np.ndarray, " row"] | None = None,
    what: str = "flagged",
) -> go.Figure:
    """Measured against predicted for each method: rows it learnt from (grey), test rows, and
    flagged test rows apart.

    Each test row was predicted once, by the model of the fold that had not seen it. `what` says
    what a flag means.
    """
    truth = result.benchmark.values.astype(np.float32)
    flagged = np.zeros(len(truth), bool) if flagged is None else flagged
    titles = [f"{m}: test MAE {result.fold_mae(m).mean():.2f}" for m in methods]
    figure, places = panels(titles, columns=min(3, len(methods)), height=360)
    parts = (
        (
            "training rows",
            "learnt",
            np.ones(len(truth), bool),
            {"color": "#b8bec7", "size": 5, "opacity": 0.5},
        ),
        ("test rows", "predicted", ~flagged, {"color": COLOURS[0], "size": 6, "opacity": 0.6}),
        (
            f"test rows, {what}",
            "predicted",
            flagged,
            {"color": COLOURS[1], "size": 8, "symbol": "x", "opacity": 0.8},
        ),
    )
    every = [getattr(result, kind)[m] for kind in ("learnt", "predicted") for m in methods]
    ends = [
        float(min(truth.min(), *map(np.nanmin, every))) - 0.2,
        float(max(truth.max(), *map(np.nanmax, every))) + 0.2,
    ]
    for method, place in zip(methods, places):
        line = {"color": "#444", "dash": "dash", "width": 1.5}
        figure.add_scatter(
            x=ends, y=ends, mode="lines", line=line, showlegend=False, hoverinfo="skip", **place
        )
        for name, kind, mine, look in parts:
            if mine.any():
                guess = getattr(result, kind)[method][mine].astype(np.float32)
                named = {"name": name, "legendgroup": name, "showlegend": method == methods[0]}
                figure.add_scatter(
                    x=guess, y=truth[mine], mode="markers", marker=look, **named, **place
                )
    figure.update_xaxes(range=ends, title_text="predicted").update_yaxes(range=ends)
    figure.update_yaxes(title_text=f"measured<br>{result.benchmark.axis}", col=1)
    return figure.update_layout(
        legend={"orientation": "h", "y": -0.22, "yanchor": "top"}, margin={"b": 90}
    )


def nearest_training(
    benchmark: BenchmarkTask, folds: Sequence[Fold]
) -> tuple[Int[np.ndarray, " row"], Float[np.ndarray, " row"]]:
    """For each row, the most similar molecule (ECFP4 Tanimoto) of the training rows of its fold:
    row and similarity.
    """
    known = benchmark.cached("similarity", lambda smiles: similarities(smiles, smiles))
    nearest, similarity = np.zeros(len(known), int), np.zeros(len(known))
    for fold in folds:
        close = known[np.ix_(fold.test, fold.train)]
        nearest[fold.test] = fold.train[close.argmax(1)]
        similarity[fold.test] = close.max(1)
    return nearest, similarity


def plot_error_by_similarity(result: Comparison, methods: Sequence[str]) -> go.Figure:
    """Mean absolute error of test molecules against their similarity to the nearest training
    molecule, by method.

    Molecules are divided into parts of equal number by similarity; a mark stands at the mean
    similarity of its part. Bars are two standard errors of the mean over molecules: related
    molecules err together, so they are rather too short than too long.
    """
    _, similarity = nearest_training(result.benchmark, result.folds)
    order = np.argsort(similarity, kind="stable")
    parts = np.array_split(order, min(N_PART, max(len(order) // 8, 1)))
    figure = go.Figure(layout={"template": "molnb", "height": 420})
    for number, method in enumerate(methods):
        error = np.abs(result.predicted[method] - result.benchmark.values)
        spread = [2 * error[part].std(ddof=1) / len(part) ** 0.5 for part in parts]
        figure.add_scatter(
            x=[similarity[part].mean() + 0.004 * (number - len(methods) / 2) for part in parts],
            y=[error[part].mean() for part in parts],
            error_y={"array": spread, "thickness": 1.5, "width": 4},
            mode="lines+markers",
            name=method,
            line={
                "color": COLOURS[number % len(COLOURS)],
                "dash": "dot" if method == "mean" else "solid",
            },
        )
    figure.update_xaxes(title_text="Tanimoto similarity (ECFP4) to the nearest training molecule")
    figure.update_yaxes(
        title_text=f"mean absolute error<br>{result.benchmark.axis}", rangemode="tozero"
    )
    return figure.update_layout(
        legend={"orientation": "h", "y": -0.22, "yanchor": "top"}, margin={"b": 100}
    )


def draw_worst(
    result: Comparison,
    method: str,
    n: int = 10,
    flagged: Bool[np.ndarray, " row"] | None = None,
    what: str = "flagged",
    size: int = 230,
) -> Any:
    """The n test molecules a method is most wrong about, each beside the most similar molecule it
    had learnt from.

    Two such pairs a line, worst first; what the two molecules of a pair do not share is marked.
    Measured and predicted values are in the unit of the label.
    """
    nearest, similarity = nearest_training(result.benchmark, result.folds)
    truth, guess = result.benchmark.values, result.predicted[method]
    flagged = np.zeros(len(truth), bool) if flagged is None else flagged
    drawn, marked, legends = [], [], []
    for rank, row in enumerate(np.argsort(-np.abs(guess - truth), kind="stable")[:n], 1):
        near = nearest[row]
        note = {at: f", {what}" if flagged[at] else "" for at in (row, near)}
        mols, unlike = aligned_drawings(result.benchmark.smiles[row], result.benchmark.smiles[near])
        drawn, marked = drawn + mols, marked + unlike
        legends.append(f"{rank}. measured {truth[row]:.2f}{note[row]}, predicted {guess[row]:.2f}")
        legends.append(
            f"its nearest in training ({similarity[row]:.2f}): measured {truth[near]:.2f}{note[near]}"
        )
    return draw_molecules(drawn, legends, columns=4, size=size, marked=marked)


def aligned_drawings(one: str, other: str) -> tuple[list[Chem.Mol], list[list[int]]]:
    """Two molecules with their largest common part drawn alike, and the atoms of each that are
    not in it.
    """
    mols = [Chem.MolFromSmiles(smiles) for smiles in (one, other)]
    rdDepictor.Compute2DCoords(mols[0])
    common = rdFMCS.FindMCS(mols, ringMatchesRingOnly=True, completeRingsOnly=True, timeout=2)
    pattern = Chem.MolFromSmarts(common.smartsString) if common.numAtoms > 2 else None
    if pattern is None:
        return mols, [[], []]
    here, there = (mol.GetSubstructMatch(pattern) for mol in mols)
    rdDepictor.GenerateDepictionMatching2DStructure(mols[1], mols[0], list(zip(here, there)))
    return mols, [
        sorted({*range(m.GetNumAtoms())} - {*match}) for m, match in zip(mols, (here, there))
    ]
