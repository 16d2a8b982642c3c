"""Drawings get smaller and stay the same picture."""

from __future__ import annotations

import re
from collections import Counter

import pytest

pytest.importorskip("rdkit")
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from molnb.figures.svg import slim_svg


def drawn(smiles: str, atoms: list[int]) -> str:
    """SVG of a molecule as RDKit writes it, with some atoms highlighted."""
    pen = rdMolDraw2D.MolDraw2DSVG(180, 130)
    rdMolDraw2D.PrepareAndDrawMolecule(pen, Chem.MolFromSmiles(smiles), highlightAtoms=atoms)
    pen.FinishDrawing()
    return pen.GetDrawingText()


def lines(svg: str) -> Counter[tuple[str, str, tuple[float, ...]]]:
    """Every stroke of a drawing: its colour, its width and its numbers."""
    strokes: Counter = Counter()
    for path, style in re.findall(r"<path [^>]*?d='([^']*)' style='([^']*)'", svg):
        colour = re.search(r"stroke:(#\w+)", style)[1]
        width = re.search(r"stroke-width:([\d.]+)px", style)[1]
        for line in filter(str.strip, path.split("M")):
            numbers = tuple(float(number) for number in re.findall(r"-?[\d.]+", line))
            strokes[colour, f"{float(width):g}", numbers] += 1
    return strokes


@pytest.mark.parametrize("smiles", ["NCCc1c[nH]cn1", "C[C@H](N)C(=O)O", "FC(F)(F)c1ccc(Cl)cc1"])
def test_every_stroke_survives_in_less_than_half_of_the_characters(smiles: str) -> None:
    full = drawn(smiles, [0, 3])
    slim = slim_svg(full)
    assert lines(slim) == lines(full) and lines(slim)
    assert slim.count("<ellipse") == full.count("<ellipse") > 0
    assert len(slim) < 0.5 * len(full)
    assert slim.startswith("<svg ") and slim.endswith("</svg>")


def test_widths_and_opacities_that_are_no_default_stay() -> None:
    path = "<path d='M 1.0,2.0 L 3.5,4.0' style='stroke-width:10.6px;stroke-opacity:0.45' />"
    slim = slim_svg(f"<?xml version='1.0'?>\n<svg version='1.1'>{path}</svg>")
    assert slim == (
        "<svg><path d='M 1,2 L 3.5,4' style='stroke-width:10.6px;stroke-opacity:0.45'/></svg>"
    )
