"""Drawn molecules stand in a grid."""

from __future__ import annotations

import pytest

pytest.importorskip("plotly")

from molnb.errors import InputError


def test_molecules_that_cannot_be_drawn_keep_their_place() -> None:
    pytest.importorskip("IPython")
    pytest.importorskip("rdkit")
    from molnb.figures.grid import draw_molecules

    grid = draw_molecules(["CCO", "not <a> molecule"], ["ethanol", "?"]).data
    assert grid.count("<figure") == 2 and grid.count("<svg") == 1
    assert "not &lt;a&gt; molecule" in grid and "ethanol" in grid
    with pytest.raises(InputError, match="2 molecules but 1 legends"):
        draw_molecules(["C", "CC"], ["methane"])
