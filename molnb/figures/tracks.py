"""Pictures of the two tracks: maps of pairs, strengths on the molecule, moves of atoms, stacks.

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
from .elements import element_colour, text_colour
from .scatter import line_coordinates
from .style import COLOURS, panels
from .svg import slim_svg
from .svg3d import INK, NEGATIVE, Layer, value_colours
from .view3d import Bar, Scene

VIRTUAL = "virtual"
MAX_WITH_NUMBERS = 14  # nodes; in larger maps numbers would not be readable
_FAINT = 0.02  # of the strongest line; below it none is drawn
# Parts of a stack, alike ones (blue, light blue; red, orange) beside each other.
_STACK_COLOURS = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#999999")


def atom_names(mol: Chem.Mol, virtual: bool = False) -> list[str]:
    """Element and number of each heavy atom, `N0`, `C1`, ...; `virtual` puts that node first."""
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
    """Maps side by side of one number a pair of nodes: title -> `[node, node]`, row i, column j.

    Small maps have the numbers in their cells: whole ones, or `digits` places. Maps named in
    `signed` are coloured about zero. `limit`, one for all or by title, is where colours end
    (default: a map's own largest magnitude); give it where maps are to be compared. NaN stays
    blank. `axes` says what rows and columns are.
    """
    figure, positions = panels(list(maps), columns, height=360)
    for (title, values), position in zip(maps.items(), positions):
        values = np.asarray(values, float)
        if values.shape != (len(names), len(names)):
            raise InputError(
                f"a map of shape {values.shape} for {len(names)} names: "
                "give one row and column a name"
            )
        top = limit.get(title) if isinstance(limit, Mapping) else limit
        top = top or float(np.nanmax(np.abs(values))) or 1.0
        cells = go.Heatmap(
            z=values.round(4),
            zmin=-top if title in signed else 0,
            zmax=top,
            colorscale="PuOr" if title in signed else "Blues",
            x=names,
            y=names,
            hovertemplate="%{y} to %{x}: %{z}<extra></extra>",
            showscale=False,
            xgap=1,
            ygap=1,
        )
        if len(names) <= MAX_WITH_NUMBERS:
            text = [[_in_cell(value, digits) for value in row] for row in values]
            cells.update(text=text, texttemplate="%{text}", textfont={"size": 10})
        figure.add_trace(cells, **position)
    ticks = {
        "type": "category",
        "showgrid": False,
        "tickfont": {"size": 12},
        "ticks": "",
        "showline": False,
    }
    row_axis, column_axis = axes
    figure.update_xaxes(**ticks, tickangle=-90, title={"text": column_axis, "font": {"size": 14}})
    figure.update_yaxes(**ticks, autorange="reversed")
    figure.update_yaxes(title={"text": row_axis, "font": {"size": 14}}, col=1)
    return figure


def _in_cell(value: float, digits: int) -> str:
    """A number for a cell of a map: blank if missing, whole numbers without a decimal point."""
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
    """Drawings of a molecule, one for each of `atoms`, with lines from it to the other atoms.

    `strengths` is `[atom, atom]`, none below zero: lines are as wide, and the ground under atoms as
    dark, as they are large. The atom that the lines start at has a ring. `limit` is the strength of
    the widest line (default: the largest drawn).
    """
    from IPython.display import HTML

    strengths = np.asarray(strengths, float)
    n = mol.GetNumAtoms()
    if strengths.shape != (n, n) or (strengths < 0).any():
        raise InputError(
            f"strengths of shape {strengths.shape} for {n} atoms: "
            "give [atom, atom] without negative values"
        )
    limit = limit or float(strengths[list(atoms)].max()) or 1.0
    cells = ""
    for atom, legend in zip(atoms, [*legends, *[""] * len(atoms)]):
        cell = _strength_drawing(mol, strengths[atom], atom, limit, size)
        if legend:
            cell += f'<figcaption style="font-size:13px">{html.escape(legend)}</figcaption>'
        cells += f'<figure style="margin:0;text-align:center;width:{size}px">{cell}</figure>'
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
    options.clearBackground = False
    options.addAtomIndices = True
    options.padding = 0.12
    options.annotationFontScale = 0.75
    rdMolDraw2D.PrepareAndDrawMolecule(pen, Chem.Mol(mol))
    pen.FinishDrawing()
    points = [pen.GetDrawCoords(i) for i in range(mol.GetNumAtoms())]
    start = points[atom]
    marks = ""
    for end, strength in zip(points, strengths):
        share = strength / limit
        if share < _FAINT:
            continue
        marks += (
            f"<path d='M{start.x:.1f} {start.y:.1f}L{end.x:.1f} {end.y:.1f}' "
            f"stroke='{NEGATIVE}' stroke-opacity='0.45' stroke-width='{9 * share:.1f}'/>"
        )
        radius = 4 + 9 * min(share, 1) ** 0.5
        opacity = 0.15 + 0.45 * min(share, 1)
        marks += (
            f"<circle cx='{end.x:.1f}' cy='{end.y:.1f}' r='{radius:.1f}' "
            f"fill='{NEGATIVE}' fill-opacity='{opacity:.2f}'/>"
        )
    marks += (
        f"<circle cx='{start.x:.1f}' cy='{start.y:.1f}' r='15' fill='none' "
        f"stroke='{INK}' stroke-width='1.5'/>"
    )
    # The marks come first, so that the molecule is drawn over them.
    head, end_of_head, body = pen.GetDrawingText().partition("<!-- END OF HEADER -->\n")
    return slim_svg(f"{head}{end_of_head}<g stroke-linecap='round'>{marks}</g>\n{body}")


def show_strengths(
    mol: Chem.Mol,
    coords: np.ndarray,
    strengths: Sequence[float],
    atom: int,
    quantity: str,
    **more: Any,
) -> Scene:
    """A 3D view coloured by what goes from one atom to each other, with numbers from 1 % on.

    `coords` (Å) and `strengths` (shares of one) are of the heavy atoms, in the order of the
    molecule. `quantity` names the colour scale.
    """
    strengths = np.asarray(strengths, float)
    coords = np.asarray(coords, float)
    if not len(strengths) == len(coords) == mol.GetNumAtoms():
        raise InputError(
            f"{len(strengths)} shares and {len(coords)} places for {mol.GetNumAtoms()} atoms: "
            "give one an atom"
        )
    limit = float(strengths.max()) or 1.0
    layer = Layer(mol, (coords,), colours=value_colours(strengths, limit, symmetric=False))
    names = atom_names(mol)
    labels = [
        f"{name}: {100 * share:.0f} %" if share >= 0.005 else ""
        for name, share in zip(names, strengths)
    ]
    labels[atom] = labels[atom] or names[atom]
    return Scene(
        (layer,),
        (f"from {names[atom]} to each atom",),
        labels=tuple(labels),
        bar=Bar(quantity, limit, symmetric=False),
        **{"note": "The model sees heavy atoms only.", **more},
    )


def plot_stacks(
    bars: Mapping[str, Mapping[str, float]], axis: str, title: str = "", digits: int = 3
) -> go.Figure:
    """Parts of wholes as stacked horizontal bars: bar -> part -> value, the first bar on top.

    `axis` carries the unit; values are rounded to `digits` significant digits.
    """
    names = list(bars)
    parts = list(dict.fromkeys(part for bar in bars.values() for part in bar))
    figure = go.Figure(
        layout={"template": "molnb", "height": 150 + 34 * len(names), "title": title}
    )
    for number, part in enumerate(parts):
        colour = _STACK_COLOURS[number % len(_STACK_COLOURS)]
        figure.add_bar(
            x=[float(f"{bar.get(part, 0):.{digits}g}") for bar in bars.values()],
            y=names,
            name=part,
            orientation="h",
            marker={"color": colour, "line": {"width": 0}},
        )
    figure.update_layout(
        barmode="stack",
        bargap=0.25,
        xaxis_title=axis,
        legend={"traceorder": "normal"},
        margin={"t": 60 if title else 20},
    )
    return figure.update_yaxes(autorange="reversed", showgrid=False, type="category")


def plot_moves(
    moves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    mol: Chem.Mol,
    stretch: float = 1.0,
    columns: int = 2,
) -> go.Figure:
    """Molecules seen along z, with an arrow for each atom: title -> (from, to), both `[atom, 3]` Å.

    Unlike other drawings these are not turned to face the reader, so that a turn can be seen.
    Arrows are `stretch` times as long as the moves.
    """
    bonds = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()])
    bonds = bonds.reshape(-1, 2)  # also where there is none
    colours = [element_colour(atom.GetAtomicNum()) for atom in mol.GetAtoms()]
    figure, positions = panels(list(moves), columns, height=380)
    drawn_points = []
    for number, ((start, end), position) in enumerate(zip(moves.values(), positions), 1):
        flat = start[:, :2]
        tips = flat + stretch * (end - start)[:, :2]
        drawn_points += [flat, tips]
        figure.add_scatter(
            **line_coordinates(flat[bonds[:, 0]], flat[bonds[:, 1]]),
            mode="lines",
            line={"color": "#999999", "width": 4},
            hoverinfo="skip",
            **position,
        )
        figure.add_scatter(
            x=flat[:, 0],
            y=flat[:, 1],
            mode="markers+text",
            text=atom_names(mol),
            textfont={"color": [text_colour(colour) for colour in colours], "size": 11},
            marker={"size": 25, "color": colours, "line": {"width": 1, "color": "#444"}},
            **position,
        )
        # All four in the units of this panel's axes, the tail of the arrow too.
        refs = {"xref": f"x{number}", "yref": f"y{number}"}
        refs |= {"axref": f"x{number}", "ayref": f"y{number}"}
        for (x, y), (tail_x, tail_y) in zip(tips, flat):
            figure.add_annotation(
                x=x,
                y=y,
                ax=tail_x,
                ay=tail_y,
                showarrow=True,
                arrowhead=2,
                arrowwidth=3,
                arrowcolor=COLOURS[1],
                text="",
                **refs,
            )
        figure.update_yaxes(scaleanchor=f"x{number}", **position)
    # One range for all panels, so that lengths can be compared.
    points = np.concatenate(drawn_points)
    middle = points.mean(0)
    reach = float(np.abs(points - middle).max()) + 0.7
    figure.update_xaxes(range=[middle[0] - reach, middle[0] + reach], title_text="x (Å)")
    figure.update_yaxes(range=[middle[1] - reach, middle[1] + reach], title_text="y (Å)")
    return figure.update_layout(showlegend=False)
