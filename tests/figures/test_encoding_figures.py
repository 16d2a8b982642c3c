"""Numbers of atoms are colours on the drawing, and walks are lines."""

from __future__ import annotations

import re

import numpy as np
import pytest
from rdkit import Chem

pytest.importorskip("plotly")
pytest.importorskip("IPython")

from molnb.errors import InputError
from molnb.figures.encodings import draw_atom_values, plot_walks
from molnb.figures.svg3d import MIDDLE, NEGATIVE, POSITIVE

HISTAMINE = Chem.MolFromSmiles("NCCc1c[nH]cn1")


def fills(drawn: str) -> list[str]:
    """Colours of the discs of all drawings, one after the other."""
    return re.findall(r"<circle [^>]*fill='(#\w+)'", drawn)


def test_signed_numbers_are_orange_below_zero_and_blue_above() -> None:
    values = [-2.0, 2.0, 0, 0, 0, 0, 0, 0]
    drawn = draw_atom_values(HISTAMINE, {"λ < 1": values}, "entry", signed=True).data
    assert [fill.lower() for fill in fills(drawn)] == [
        colour.lower() for colour in (NEGATIVE, POSITIVE, *[MIDDLE] * 6)
    ]
    assert "λ &lt; 1, up to ±2" in drawn and "entry" in drawn
    assert drawn.count("<svg") == 1
    opposite = draw_atom_values(HISTAMINE, {"other sign": np.negative(values)}, "", signed=True)
    assert fills(opposite.data)[:2] == fills(drawn)[1::-1]


def test_drawings_have_a_scale_each_or_share_one() -> None:
    small, large = np.zeros(8), np.zeros(8)
    small[3], large[3] = 0.1, 0.8
    rows = {"small": small, "large": large}
    alone = draw_atom_values(HISTAMINE, rows, "probability").data
    assert fills(alone)[3] == fills(alone)[11] and "small, up to 0.1" in alone
    shared = draw_atom_values(HISTAMINE, rows, "probability", shared=True).data
    assert fills(shared)[3] != fills(shared)[11] == fills(alone)[11]
    assert "up to" not in shared and "0.80" in shared


def test_an_atom_without_a_number_stays_blank_and_zeros_are_drawn() -> None:
    values = np.zeros(8)
    values[2] = np.nan
    assert len(fills(draw_atom_values(HISTAMINE, {"zero": values}, "").data)) == 7


def test_small_and_large_molecules_are_drawn_without_coordinates_of_their_own() -> None:
    for smiles in ("C", "CC", "C1CCCCC1", "CCCCCCCCCCCCCCCC", "[Na+].[Cl-]"):
        mol = Chem.MolFromSmiles(smiles)
        drawn = draw_atom_values(mol, {"a": np.ones(mol.GetNumAtoms())}, "q", size=200).data
        places = re.findall(r"cx='([\d.-]+)' cy='([\d.-]+)' r='([\d.]+)'", drawn)
        assert len(places) == mol.GetNumAtoms()
        assert all(0 < float(x) < 200 and float(r) < 40 for x, _, r in places)
        assert not mol.GetNumConformers(), "the molecule is left as it is"


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="for 8 atoms: give one an atom"):
        draw_atom_values(HISTAMINE, {"a": [1.0, 2.0]}, "")
    with pytest.raises(InputError, match="say signed=True"):
        draw_atom_values(HISTAMINE, {"a": [-1.0] * 8}, "")
    with pytest.raises(InputError, match="nothing to draw"):
        draw_atom_values(HISTAMINE, {}, "")


def test_walks_are_lines_from_the_first_step_on() -> None:
    figure = plot_walks({"C1": [0.0, 0.5, 0.0], "C2": [0.0, 0.123456, 0.0]})
    assert [line.name for line in figure.data] == ["C1", "C2"]
    assert list(figure.data[0].x) == [1, 2, 3]
    assert list(figure.data[1].y) == [0.0, 0.1235, 0.0]
