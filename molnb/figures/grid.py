"""Molecules drawn in a grid."""

from __future__ import annotations

import html
import math
import numbers
from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from .svg import slim_svg

_HEIGHT = 0.75  # of a drawing, in parts of its width
_LONGEST_TEXT = 120  # characters in a box
_MARK = (1.0, 0.86, 0.6)  # light orange


def draw_molecules(
    smiles: Sequence[Any],
    legends: Sequence[str] | None = None,
    columns: int = 5,
    size: int = 182,
    hidden: Sequence[Sequence[int]] | None = None,
    marked: Sequence[Sequence[int]] | None = None,
) -> Any:
    """A grid of molecules drawn in two dimensions, as SVG that survives saving and export.

    What is missing, has no atoms, or cannot be parsed or drawn keeps its place: a box that says so.
    `size` is the side of
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
    """SVG of one SMILES or RDKit molecule; a box with words where there is nothing to draw."""
    from rdkit import Chem, rdBase

    if not isinstance(molecule, Chem.Mol) and not (isinstance(molecule, str) and molecule.strip()):
        return _box("no molecule", "" if _is_missing(molecule) else repr(molecule), size)
    text = molecule if isinstance(molecule, str) else ""
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(text) if text else Chem.Mol(molecule)
        if mol is None:
            return _box("not a SMILES", text, size)
        if not mol.GetNumAtoms():
            return _box("no atoms", text, size)
        try:
            return _svg(mol, size, hidden, marked)
        except (RuntimeError, ValueError) as error:  # RDKit's own kinds: a valence, a ring
            reason = str(error).strip().splitlines()
            return _box("cannot be drawn", reason[0] if reason else "", size)


def _svg(mol: Any, size: int, hidden: Sequence[int], marked: Sequence[int]) -> str:
    """SVG of an RDKit molecule; some atoms as a question mark, some on a coloured ground."""
    from rdkit.Chem.Draw import rdMolDraw2D

    pen = rdMolDraw2D.MolDraw2DSVG(size, int(size * _HEIGHT))
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


def _is_missing(value: Any) -> bool:
    """Whether a value is what tables have where there is none: None, NaN, NA, an empty text."""
    if value is None or isinstance(value, str):
        return True
    is_nan = isinstance(value, numbers.Real) and math.isnan(value)
    return is_nan or type(value).__name__ in ("NAType", "NaTType")


def _box(words: str, text: str, size: int) -> str:
    """A frame as large as a drawing, with words and what they are about."""
    text = text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
    about = f'<code style="overflow-wrap:anywhere">{html.escape(text)}</code>' if text else ""
    return (
        f'<div style="box-sizing:border-box;width:{size}px;height:{int(size * _HEIGHT)}px;'
        "padding:6px;border:1px dashed #999;border-radius:4px;color:#555;font-size:11px;"
        "display:flex;flex-direction:column;justify-content:center;align-items:center;"
        f'overflow:hidden">{html.escape(words)}{about}</div>'
    )
