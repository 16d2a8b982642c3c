"""What a notebook shows besides figures: drawn molecules, a training run while it goes on, the headline of a lesson.

Everything here also works where nobody can click: with MOLNB_HEADLESS=1 (set by `molnb run` and `molnb tour`) no widget
is made, and what stays in the saved notebook is a plain picture or a line of text.
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from typing import Any

HEADLINE = "application/vnd.molnb.headline+json"


def headless() -> bool:
    """True where a notebook is run by a machine: nobody can move a slider or press Stop."""
    return os.environ.get("MOLNB_HEADLESS") == "1"


def headline(text: str, n: int | None = None, of: int | None = None) -> None:
    """Show the one result of a lesson, which `molnb tour` also prints and puts on the index page.

    `n` of `of` says what the result rests on, in the lesson's own count (molecules, as a rule).
    """
    from IPython.display import display

    share = sample_words(n, of)
    words = f"{text} ({share})" if share else text
    page = f'<p style="font-size:1.2em;margin:.4em 0"><b>{html.escape(text)}</b>'
    page += f' <span style="opacity:.7">({share})</span></p>' if share else "</p>"
    display(
        {"text/plain": words, "text/html": page, HEADLINE: {"text": text, "n": n, "of": of}},
        raw=True,
    )


def sample_words(n: int | None, of: int | None) -> str:
    """`1,000 of 4,999`, `4,999`, or nothing, after what is known."""
    if n is None:
        return ""
    return f"{n:,}" if of is None else f"{n:,} of {of:,}"


def draw_molecules(
    smiles: Sequence[str], legends: Sequence[str] | None = None, columns: int = 5, size: int = 190
) -> Any:
    """Draw molecules in a grid, two-dimensional, as SVG that survives saving and export.

    What RDKit cannot parse or draw keeps its place, with its SMILES as text. `size` is the side of a cell in pixels.
    """
    from IPython.display import HTML

    legends = [""] * len(smiles) if legends is None else list(legends)
    if len(legends) != len(smiles):
        raise ValueError(f"{len(smiles)} molecules but {len(legends)} legends: give one a molecule, or none")
    cells = [
        f'<figure style="margin:0;text-align:center;width:{size}px">{_drawing(one, size)}'
        f'<figcaption style="font-size:12px;overflow-wrap:anywhere">{html.escape(str(legend))}</figcaption></figure>'
        for one, legend in zip(smiles, legends)
    ]
    grid = f"display:grid;grid-template-columns:repeat({columns},{size}px);gap:6px;background:#fff;color:#222"
    return HTML(f'<div style="{grid};width:max-content;padding:6px">{"".join(cells)}</div>')


def _drawing(smiles: str, size: int) -> str:
    """SVG of one molecule, or its SMILES where there is nothing to draw."""
    from rdkit import Chem, rdBase
    from rdkit.Chem.Draw import rdMolDraw2D

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            return f'<code style="font-size:11px;overflow-wrap:anywhere">{html.escape(smiles)}</code>'
        pen = rdMolDraw2D.MolDraw2DSVG(size, int(size * 0.75))
        pen.drawOptions().clearBackground = False
        rdMolDraw2D.PrepareAndDrawMolecule(pen, mol)
    pen.FinishDrawing()
    return pen.GetDrawingText().partition("?>\n")[2]
