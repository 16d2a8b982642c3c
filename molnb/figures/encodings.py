"""Pictures of where atoms sit in their molecular graph: numbers on the drawing, walks that return.

Molecules are drawn in black, so that colour means the number alone. SVG needs no kernel.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from ..errors import InputError
from .style import COLOURS, LEGEND_ABOVE
from .svg import slim_svg
from .svg3d import INK, MIDDLE, NEGATIVE, POSITIVE, value_colours

_LOWEST = 0.35  # height of a drawing, in parts of its width
_HIGHEST = 0.9
_MARGIN = 2.5  # around the atoms of a drawing, in its Å: a bond has 1.5
_DISC = 0.46  # radius of the disc under an atom, in parts of a bond's length
_RIM = "#98a1ab"


def draw_atom_values(
    mol: Chem.Mol,
    values: Mapping[str, Sequence[float]],
    quantity: str,
    signed: bool = False,
    shared: bool = False,
    columns: int = 4,
    size: int = 230,
) -> Any:
    """Drawings of one molecule, one for each title, its atoms coloured by a number each.

    `values` is title -> `[atom]`; a NaN leaves its atom blank. Where they are `signed`, colours go
    from orange below 0 to blue above it, as far on either side; else from 0 on, and none may be
    negative. They end at the largest magnitude: of all drawings where the scale is `shared`, else
    of each, which then says how large that is. `quantity` names the scale.
    """
    from IPython.display import HTML

    rows = {title: np.asarray(row, float) for title, row in values.items()}
    if not rows:
        raise InputError("there is nothing to draw: give at least one row of values")
    for title, row in rows.items():
        if row.shape != (mol.GetNumAtoms(),):
            raise InputError(
                f"{title!r} has values of shape {row.shape} for {mol.GetNumAtoms()} atoms: "
                "give one an atom"
            )
        if not signed and np.nanmin(row, initial=0) < 0:
            raise InputError(f"{title!r} has values below 0: say signed=True")
    limits = {title: float(np.nanmax(np.abs(row), initial=0)) for title, row in rows.items()}
    largest = max(limits.values())
    mol = _flat(mol)
    cells = ""
    for title, row in rows.items():
        drawing = _coloured(mol, row, (largest if shared else limits[title]) or 1.0, signed, size)
        caption = title if shared else f"{title}, up to {'±' * signed}{limits[title]:.2g}"
        cells += (
            f'<figure style="margin:0;text-align:center;width:{size}px">{drawing}'
            f'<figcaption style="font-size:13px">{html.escape(caption)}</figcaption></figure>'
        )
    columns = min(columns, len(rows))
    grid = f"display:grid;grid-template-columns:repeat({columns},{size}px);gap:10px 8px"
    frame = "background:#fff;color:#222;padding:6px;width:max-content"
    scale = _scale(quantity, f"{largest:.2f}" if shared else "largest", signed)
    return HTML(f'<div style="{frame}"><div style="{grid}">{cells}</div>{scale}</div>')


def _flat(mol: Chem.Mol) -> Chem.Mol:
    """The molecule as it is drawn, with 2D coordinates, its longest side lying."""
    flat = rdMolDraw2D.PrepareMolForDrawing(mol)
    rdDepictor.Compute2DCoords(flat, canonOrient=True)
    return flat


def _coloured(mol: Chem.Mol, values: np.ndarray, limit: float, signed: bool, size: int) -> str:
    """SVG of the flat molecule in black, on discs in the colours of the values."""
    places = mol.GetConformer().GetPositions()[:, :2]  # Å of the drawing
    width, height = np.ptp(places, axis=0) + _MARGIN
    share = min(max(height / width, _LOWEST), _HIGHEST)
    pen = rdMolDraw2D.MolDraw2DSVG(size, int(share * size))
    options = pen.drawOptions()
    options.useBWAtomPalette()
    options.clearBackground = False
    options.prepareMolsBeforeDrawing = False
    options.padding = 0.08
    options.bondLineWidth = 1.5
    pen.DrawMolecule(mol)
    pen.FinishDrawing()
    points = np.array([tuple(pen.GetDrawCoords(i)) for i in range(mol.GetNumAtoms())])
    radius = _DISC * _bond_length(mol, points, size)
    discs = ""
    for (x, y), value, colour in zip(points, values, value_colours(values, limit, signed)):
        if np.isfinite(value):
            discs += (
                f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{radius:.1f}' fill='{colour}' "
                f"stroke='{_RIM}' stroke-width='0.6'/>"
            )
    # The discs come first, so that the molecule is drawn over them.
    head, end_of_head, body = pen.GetDrawingText().partition("<!-- END OF HEADER -->\n")
    return slim_svg(f"{head}{end_of_head}<g>{discs}</g>\n{body}")


def _bond_length(mol: Chem.Mol, points: np.ndarray, size: int) -> float:
    """The median length of a drawn bond in pixels; where there is none, a sixth of the width."""
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    if not ends:
        return size / 6
    first, second = np.array(ends).T
    return float(np.median(np.linalg.norm(points[first] - points[second], axis=1)))


def _scale(quantity: str, end: str, signed: bool) -> str:
    """HTML of the colours from one end to the other, with what they mean."""
    colours = (NEGATIVE, MIDDLE, POSITIVE) if signed else (MIDDLE, NEGATIVE)
    low = f"−{end}" if signed else "0"
    high = f"+{end}" if signed else end
    ramp = (
        '<span style="display:inline-block;width:170px;height:11px;vertical-align:-1px;'
        f'border:1px solid {_RIM};background:linear-gradient(90deg,{",".join(colours)})"></span>'
    )
    style = f"font-size:13px;color:{INK};margin-top:8px"
    return f'<div style="{style}">{low} {ramp} {high} &nbsp; {html.escape(quantity)}</div>'


def plot_walks(curves: Mapping[str, Sequence[float]], title: str = "") -> go.Figure:
    """Probabilities that random walks are back after 1, 2, ... steps: a line an atom."""
    figure = go.Figure(layout={"template": "molnb", "height": 340, "title": title})
    for number, (name, probabilities) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        figure.add_scatter(
            x=np.arange(1, len(probabilities) + 1),
            y=np.asarray(probabilities, float).round(4),
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"color": colour},
        )
    figure.update_xaxes(title_text="steps of the walk", dtick=1)
    figure.update_yaxes(title_text="probability of being back", rangemode="tozero")
    return figure.update_layout(legend=LEGEND_ABOVE, margin={"t": 70 if title else 45})
