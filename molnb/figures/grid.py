"""Molecules drawn in a grid."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from .live_curve import _DEFAULTS, _PATH

_MARK = (1.0, 0.86, 0.6)  # light orange


def draw_molecules(
    smiles: Sequence[str],
    legends: Sequence[str] | None = None,
    columns: int = 5,
    size: int = 182,
    hidden: Sequence[Sequence[int]] | None = None,
    marked: Sequence[Sequence[int]] | None = None,
) -> Any:
    """Draw molecules in a grid, two-dimensional, as SVG that survives saving and export.

    What RDKit cannot parse or draw keeps its place, with its SMILES as text. `size` is the side of
    a cell in pixels. `hidden` lists the atoms of each molecule, in the order of its SMILES, that
    are drawn as a question mark; `marked` those that get a coloured ground. RDKit molecules may
    stand for SMILES, and keep 2D coordinates that they have.
    """
    from IPython.display import HTML

    legends = [""] * len(smiles) if legends is None else list(legends)
    if len(legends) != len(smiles):
        raise InputError(
            f"{len(smiles)} molecules but {len(legends)} legends: give one a molecule, or none"
        )
    hidden, marked = ([()] * len(smiles) if atoms is None else atoms for atoms in (hidden, marked))
    cells = [
        f'<figure style="margin:0;text-align:center;width:{size}px">{_drawing(one, size, unknown, shaded)}'
        f'<figcaption style="font-size:12px;overflow-wrap:anywhere">{html.escape(str(legend))}</figcaption></figure>'
        for one, legend, unknown, shaded in zip(smiles, legends, hidden, marked)
    ]
    grid = f"display:grid;grid-template-columns:repeat({columns},{size}px);gap:6px;background:#fff;color:#222"
    return HTML(f'<div style="{grid};width:max-content;padding:6px">{"".join(cells)}</div>')


def _drawing(smiles: Any, size: int, hidden: Sequence[int] = (), marked: Sequence[int] = ()) -> str:
    """SVG of one molecule, hidden atoms as question marks, or its SMILES where there is nothing
    to draw.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem.Draw import rdMolDraw2D

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles) if isinstance(smiles, str) else Chem.Mol(smiles)
        if mol is None:
            return (
                f'<code style="font-size:11px;overflow-wrap:anywhere">{html.escape(smiles)}</code>'
            )
        pen = rdMolDraw2D.MolDraw2DSVG(size, int(size * 0.75))
        pen.drawOptions().clearBackground = False
        pen.drawOptions().highlightRadius = 0.4
        atoms = [int(atom) for atom in hidden]
        for atom in atoms:
            mol.GetAtomWithIdx(atom).SetProp("_displayLabel", "?")
        colours = {int(atom): _MARK for atom in marked}
        shown = sorted({*atoms, *colours})
        rdMolDraw2D.PrepareAndDrawMolecule(
            pen, mol, highlightAtoms=shown, highlightAtomColors=colours
        )
    pen.FinishDrawing()
    return _slim(pen.GetDrawingText().partition("?>\n")[2])


def _slim(svg: str) -> str:
    """The same picture in half of the characters: neighbouring paths of one style as one,
    defaults left out.
    """
    head, mark, body = svg.partition("<!-- END OF HEADER -->\n")
    parts: list[str] = []
    style, joined, at = None, [], 0
    for found in _PATH.finditer(body):
        mine = functools.reduce(
            lambda text, default: text.replace(default, ""), _DEFAULTS, found[2]
        )
        between = body[at : found.start()]
        if mine != style or between.strip():
            parts += [_path(joined, style), between]
            style, joined = mine, []
        joined.append(re.sub(r"\s+", " ", found[1]).strip())
        at = found.end()
    parts += [_path(joined, style), body[at:]]
    head = re.sub(r"\s+", " ", head.replace("xmlns:rdkit='http://www.rdkit.org/xml'", ""))
    return head + mark.strip() + "".join(parts)


def _path(joined: Sequence[str], style: str | None) -> str:
    return f"<path d='{''.join(joined)}' {style}/>" if joined else ""
