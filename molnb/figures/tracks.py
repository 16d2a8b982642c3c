"""Pictures of the two tracks: numbers of pairs as maps and on the molecule, moves of atoms, shares
of a whole.

Maps have one row and one column a node, named like the atoms of the drawing. All are plotly
figures, or HTML that needs no kernel.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from ..errors import InputError
from .grid import _slim
from .scatter import ELEMENTS
from .style import COLOURS, panels
from .svg3d import INK, NEGATIVE, Layer, value_colours
from .view3d import Bar, Scene

VIRTUAL = "virtual"
MAX_TOLD = 14  # nodes; in larger maps numbers would not be readable
_FAINT = 0.02  # of the strongest line; below it none is drawn


def atom_names(mol: Chem.Mol, virtual: bool = False) -> list[str]:
    """Element and number of each heavy atom, `N0`, `C1`, ...; the virtual node first if wanted."""
    names = [
        f"{atom.GetSymbol()}{atom.GetIdx()}" for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1
    ]
    return [VIRTUAL, *names] if virtual else names


def plot_maps(
    maps: Mapping[str, np.ndarray],
    names: Sequence[str],
    signed: Sequence[str] = (),
    limit: float | Mapping[str, float] | None = None,
    columns: int = 3,
    digits: int = 2,
    axes: tuple[str, str] = ("", ""),
) -> go.Figure:
    """One number a pair of nodes, as maps side by side: title -> `[node, node]`, row i, column j.

    Small maps have the numbers in their cells: whole ones, or `digits` places. Maps named in
    `signed` are coloured about zero. `limit`, one for all or by title, is where colours end
    (default: a map's own largest magnitude); give it where maps are to be compared. NaN stays
    blank. `axes` says what rows and columns are.
    """
    figure, places = panels(list(maps), columns, height=360)
    for (title, values), place in zip(maps.items(), places):
        values = np.asarray(values, float)
        if values.shape != (len(names), len(names)):
            raise InputError(
                f"a map of shape {values.shape} for {len(names)} names: give one row and column a name"
            )
        top = limit.get(title) if isinstance(limit, Mapping) else limit
        top = top or float(np.nanmax(np.abs(values))) or 1.0
        colours = (
            {"colorscale": "PuOr", "zmin": -top}
            if title in signed
            else {"colorscale": "Blues", "zmin": 0}
        )
        told = (
            [[_in_cell(v, digits) for v in row] for row in values]
            if len(names) <= MAX_TOLD
            else None
        )
        look = {"text": told, "texttemplate": "%{text}", "textfont": {"size": 10}} if told else {}
        hover = {
            "hovertemplate": "%{y} to %{x}: %{z}<extra></extra>",
            "showscale": False,
            "xgap": 1,
            "ygap": 1,
        }
        cells = go.Heatmap(
            z=values.round(4), zmax=top, x=names, y=names, **colours, **look, **hover
        )
        figure.add_trace(cells, **place)
    ticks = {
        "type": "category",
        "showgrid": False,
        "tickfont": {"size": 12},
        "ticks": "",
        "showline": False,
    }
    figure.update_xaxes(**ticks, tickangle=-90, title={"text": axes[1], "font": {"size": 14}})
    figure.update_yaxes(**ticks, autorange="reversed")
    figure.update_yaxes(title={"text": axes[0], "font": {"size": 14}}, col=1)
    return figure


def _in_cell(value: float, digits: int) -> str:
    if not np.isfinite(value):
        return ""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.{digits}f}"


def draw_strengths(
    mol: Chem.Mol,
    strengths: np.ndarray,
    atoms: Sequence[int],
    legends: Sequence[str] = (),
    size: int = 270,
    limit: float | None = None,
) -> Any:
    """What goes from one atom to each other, drawn on the molecule: a drawing for each of `atoms`,
    side by side.

    `strengths` is `[atom, atom]`, none below zero. The atom asked about has a ring; lines to the
    others are as wide, and the ground under atoms as dark, as the strength is large. `limit` is the
    strength of the widest line (default: the largest drawn).
    """
    from IPython.display import HTML

    strengths = np.asarray(strengths, float)
    n = mol.GetNumAtoms()
    if strengths.shape != (n, n) or (strengths < 0).any():
        raise InputError(
            f"strengths of shape {strengths.shape} for {n} atoms: give [atom, atom] without negative values"
        )
    limit = limit or float(strengths[list(atoms)].max()) or 1.0
    cells = ""
    for atom, legend in zip(atoms, [*legends, *[""] * len(atoms)]):
        drawing = _strength_drawing(mol, strengths[atom], atom, limit, size)
        words = (
            f'<figcaption style="font-size:13px">{html.escape(legend)}</figcaption>'
            if legend
            else ""
        )
        cells += (
            f'<figure style="margin:0;text-align:center;width:{size}px">{drawing}{words}</figure>'
        )
    style = (
        "display:flex;flex-wrap:wrap;gap:8px;background:#fff;color:#222;padding:6px;max-width:100%"
    )
    return HTML(f'<div style="{style}">{cells}</div>')


def _strength_drawing(
    mol: Chem.Mol, strengths: np.ndarray, atom: int, limit: float, size: int
) -> str:
    """SVG of the molecule with numbered atoms, lines of one atom to the others beneath it."""
    pen = rdMolDraw2D.MolDraw2DSVG(size, int(0.7 * size))
    options = pen.drawOptions()
    options.clearBackground, options.addAtomIndices, options.padding = False, True, 0.12
    options.annotationFontScale = 0.75
    rdMolDraw2D.PrepareAndDrawMolecule(pen, Chem.Mol(mol))
    pen.FinishDrawing()
    places = [pen.GetDrawCoords(i) for i in range(mol.GetNumAtoms())]
    here, marks = places[atom], ""
    for there, value in zip(places, strengths):
        share = value / limit
        if share >= _FAINT:
            line = f"M{here.x:.1f} {here.y:.1f}L{there.x:.1f} {there.y:.1f}"
            marks += f"<path d='{line}' stroke='{NEGATIVE}' stroke-opacity='0.45' stroke-width='{9 * share:.1f}'/>"
            radius = 4 + 9 * min(share, 1) ** 0.5
            marks += (
                f"<circle cx='{there.x:.1f}' cy='{there.y:.1f}' r='{radius:.1f}' fill='{NEGATIVE}' "
            )
            marks += f"fill-opacity='{0.15 + 0.45 * min(share, 1):.2f}'/>"
    ring = f"<circle cx='{here.x:.1f}' cy='{here.y:.1f}' r='15' fill='none' stroke='{INK}' stroke-width='1.5'/>"
    head, mark, body = (
        pen.GetDrawingText().partition("?>\n")[2].partition("<!-- END OF HEADER -->\n")
    )
    return _slim(f"{head}{mark}<g stroke-linecap='round'>{marks}{ring}</g>\n{body}")


def show_strengths(
    mol: Chem.Mol,
    coords: np.ndarray,
    strengths: Sequence[float],
    atom: int,
    quantity: str,
    **more: Any,
) -> Scene:
    """What goes from one atom to each other, as colours of a 3D view, with the numbers from one per
    cent on.

    `coords` (Å) and `strengths` (shares of one) are of the heavy atoms, in the order of the
    molecule.
    """
    strengths, coords = np.asarray(strengths, float), np.asarray(coords, float)
    if not len(strengths) == len(coords) == mol.GetNumAtoms():
        given = f"{len(strengths)} shares and {len(coords)} places"
        raise InputError(f"{given} for {mol.GetNumAtoms()} atoms: give one an atom")
    limit = float(strengths.max()) or 1.0
    layer = Layer(mol, (coords,), colours=value_colours(strengths, limit, symmetric=False))
    names = atom_names(mol)
    labels = [
        f"{name}: {100 * share:.0f} %" if share >= 0.005 else ""
        for name, share in zip(names, strengths)
    ]
    labels[atom] = labels[atom] or names[atom]
    caption = f"from {names[atom]} to each atom"
    more = {"note": "The model sees heavy atoms only.", **more}
    return Scene(
        (layer,),
        (caption,),
        labels=tuple(labels),
        bar=Bar(quantity, limit, symmetric=False),
        **more,
    )


def plot_stacks(
    bars: Mapping[str, Mapping[str, float]], axis: str, title: str = "", digits: int = 3
) -> go.Figure:
    """Parts of a whole, a horizontal bar each: bar -> part -> value, the first bar on top.
    `axis` carries the unit.
    """
    names, parts = list(bars), list(dict.fromkeys(part for bar in bars.values() for part in bar))
    figure = go.Figure(
        layout={"template": "molnb", "height": 150 + 34 * len(names), "title": title}
    )
    palette = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#999999")
    for number, part in enumerate(parts):
        values = [float(f"{bar.get(part, 0):.{digits}g}") for bar in bars.values()]
        colour = palette[number % len(palette)]
        figure.add_bar(
            x=values,
            y=names,
            name=part,
            orientation="h",
            marker={"color": colour, "line": {"width": 0}},
        )
    figure.update_layout(
        barmode="stack", bargap=0.25, xaxis_title=axis, legend={"traceorder": "normal"}
    )
    figure.update_layout(margin={"t": 60 if title else 20})
    return figure.update_yaxes(autorange="reversed", showgrid=False, type="category")


def plot_moves(
    moves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    mol: Chem.Mol,
    stretch: float = 1.0,
    columns: int = 2,
) -> go.Figure:
    """Molecules seen along z, with an arrow for each atom: title -> (from, to), both `[atom, 3]` in
    Å.

    Unlike other drawings these are not turned to face the reader, so that a turn can be seen.
    Arrows are `stretch` times as long as the moves.
    """
    bonds = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]).reshape(
        -1, 2
    )
    looks = [
        ELEMENTS.get(a.GetAtomicNum(), (a.GetSymbol(), "#cccccc", "#000")) for a in mol.GetAtoms()
    ]
    ends = np.concatenate(
        [np.concatenate([a, a + stretch * (b - a)])[:, :2] for a, b in moves.values()]
    )
    reach = float(np.abs(ends - ends.mean(0)).max()) + 0.7
    figure, places = panels(list(moves), columns, height=380)
    for number, ((start, end), place) in enumerate(zip(moves.values(), places), 1):
        flat, tip = start[:, :2], start[:, :2] + stretch * (end - start)[:, :2]
        gap = np.full(len(bonds), np.nan)
        xs, ys = (
            np.stack([flat[bonds[:, 0], k], flat[bonds[:, 1], k], gap], 1).ravel() for k in (0, 1)
        )
        figure.add_scatter(
            x=xs,
            y=ys,
            mode="lines",
            line={"color": "#999999", "width": 4},
            hoverinfo="skip",
            **place,
        )
        figure.add_scatter(
            x=flat[:, 0],
            y=flat[:, 1],
            mode="markers+text",
            text=atom_names(mol),
            textfont={"color": [look[2] for look in looks], "size": 11},
            marker={
                "size": 25,
                "color": [look[1] for look in looks],
                "line": {"width": 1, "color": "#444"},
            },
            **place,
        )
        axis = {
            "xref": f"x{number}",
            "yref": f"y{number}",
            "axref": f"x{number}",
            "ayref": f"y{number}",
        }
        look = {
            "showarrow": True,
            "arrowhead": 2,
            "arrowwidth": 3,
            "arrowcolor": COLOURS[1],
            "text": "",
        }
        for (x, y), (ax, ay) in zip(tip, flat):
            figure.add_annotation(x=x, y=y, ax=ax, ay=ay, **axis, **look)
    middle = ends.mean(0)
    figure.update_xaxes(range=[middle[0] - reach, middle[0] + reach], title_text="x (Å)")
    figure.update_yaxes(range=[middle[1] - reach, middle[1] + reach], title_text="y (Å)")
    for number in range(1, len(moves) + 1):
        figure.update_yaxes(
            scaleanchor=f"x{number}", selector={"anchor": f"x{number}" if number > 1 else "x"}
        )
    return figure.update_layout(showlegend=False)
