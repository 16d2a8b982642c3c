"""Drawn molecules stand in a grid."""

from __future__ import annotations

import pytest

pytest.importorskip("plotly")
pytest.importorskip("IPython")
Chem = pytest.importorskip("rdkit.Chem")

import numpy as np
import pandas as pd

from molnb.errors import InputError


def test_molecules_that_cannot_be_drawn_keep_their_place() -> None:
    from molnb.figures.grid import draw_molecules

    grid = draw_molecules(["CCO", "not <a> molecule"], ["ethanol", "?"]).data
    assert grid.count("<figure") == 2 and grid.count("<svg") == 1
    assert "not &lt;a&gt; molecule" in grid and "ethanol" in grid
    with pytest.raises(InputError, match="2 molecules but 1 legends"):
        draw_molecules(["C", "CC"], ["methane"])


EMPTY = {
    "None": (None, "no molecule"),
    "NaN": (float("nan"), "no molecule"),
    "NaN of numpy": (np.float32("nan"), "no molecule"),
    "NA": (pd.NA, "no molecule"),
    "no text": ("", "no molecule"),
    "blanks": ("  ", "no molecule"),
    "a number": (3.5, "no molecule<code"),
    "bytes": (b"CCO", "no molecule<code"),
    "an array": (np.arange(2), "no molecule<code"),
    "half a SMILES": ("C((", "not a SMILES<code"),
    "a valence of five": ("C(C)(C)(C)(C)C", "not a SMILES<code"),
    "a name": ("aspirin", "not a SMILES<code"),
    "no atoms": (Chem.Mol(), "no atoms"),
}


@pytest.mark.parametrize(("molecule", "words"), EMPTY.values(), ids=EMPTY)
def test_what_is_no_molecule_is_a_box_that_says_so(molecule: object, words: str) -> None:
    from molnb.figures.grid import draw_molecules

    alone = draw_molecules([molecule]).data
    assert words in alone and "<svg" not in alone
    assert "width:120px;height:90px" in draw_molecules([molecule], size=120).data
    among = draw_molecules(["CCO", molecule, Chem.MolFromSmiles("CCN")], ["a", "b", "c"]).data
    assert among.count("<svg") == 2 and among.count("<figure") == 3 and words in among


def test_a_column_of_a_table_is_drawn_with_its_gaps() -> None:
    from molnb.figures.grid import draw_molecules

    column = pd.Series(["CCO", None, "c1ccccc1"], index=[7, 8, 9])
    assert draw_molecules(column).data.count("<svg") == 2


def test_a_long_text_does_not_leave_its_box() -> None:
    from molnb.figures.grid import draw_molecules

    text = draw_molecules(["C" * 5000 + "("]).data
    assert len(text) < 1200 and "…" in text
