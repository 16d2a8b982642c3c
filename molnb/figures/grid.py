"""Molecules drawn in a grid."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from .svg import slim_svg

_MARK = (1.0, 0.86, 0.6)  # light orange


def draw_molecules(
    smiles: Sequence[str],
    legends: Sequence[str] | None = None,
    columns: int = 5,
    size: int = 182,
    hidden: Sequence[Sequence[int]] | None = None,
    marked: Sequence[Sequence[int]] | None = None,
) -> Any:
    """A grid of molecules drawn in two dimensions, as SVG that survives saving and export.

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
    no_atoms = [()] * len(smiles)
    hidden = no_atoms if hidden is None else hidden
    marked = no_atoms if marked is None else marked
    cells = []
    for molecule, legend, hidden_atoms, marked_atoms in zip(smiles, legends, hidden, marked):
        drawing = _drawing(molecule, size, hidden_atoms, marked_atoms)
        cells.append(
            f'<figure style="margin:0;text-align:center;width:{size}px">{drawing}'
            '<figcaption style="font-size:12px;overflow-wrap:anywhere">'
            f"{html.escape(str(legend))}</figcaption></figure>"
        )
    style = (
        f"display:grid;grid-template-columns:repeat({columns},{size}px);gap:6px;"
        "background:#fff;color:#222;width:max-content;padding:6px"
    )
    return HTML(f'<div style="{style}">{"".join(cells)}</div>')


def _drawing(
    molecule: Any, size: int, hidden: Sequence[int] = (), marked: Sequence[int] = ()
) -> str:
    """SVG of one SMILES or RDKit molecule; the SMILES as text where it cannot be parsed."""
    from rdkit import Chem, rdBase
    from rdkit.Chem.Draw import rdMolDraw2D

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(molecule) if isinstance(molecule, str) else Chem.Mol(molecule)
        if mol is None:
            text = html.escape(molecule)
            return f'<code style="font-size:11px;overflow-wrap:anywhere">{text}</code>'
        pen = rdMolDraw2D.MolDraw2DSVG(size, int(size * 0.75))
        options = pen.drawOptions()
        options.clearBackground = False
        options.highlightRadius = 0.4
        hidden_atoms = [int(atom) for atom in hidden]
        for atom in hidden_atoms:
            mol.GetAtomWithIdx(atom).SetProp("_displayLabel", "?")
        colours = {int(atom): _MARK for atom in marked}
        highlighted = sorted({*hidden_atoms, *colours})
        rdMolDraw2D.PrepareAndDrawMolecule(
            pen, mol, highlightAtoms=highlighted, highlightAtomColors=colours
        )
    pen.FinishDrawing()
    return slim_svg(pen.GetDrawingText())
