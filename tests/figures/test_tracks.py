"""Pictures of the tracks show their numbers: in cells, on the molecule, as arrows, as parts."""

from __future__ import annotations

import re

import numpy as np
import pytest
from rdkit import Chem

pytest.importorskip("plotly")
pytest.importorskip("IPython")

from molnb.errors import InputError
from molnb.figures.tracks import (
    atom_names,
    draw_strengths,
    plot_maps,
    plot_moves,
    plot_stacks,
    show_strengths,
)

HISTAMINE = Chem.MolFromSmiles("NCCc1c[nH]cn1")
COORDS = np.random.default_rng(0).normal(size=(8, 3))


def test_atoms_are_named_by_element_and_number_without_hydrogens() -> None:
    assert atom_names(HISTAMINE) == ["N0", "C1", "C2", "C3", "C4", "N5", "C6", "N7"]
    assert atom_names(Chem.AddHs(Chem.MolFromSmiles("CO")), virtual=True) == ["virtual", "C0", "O1"]


def test_maps_have_their_numbers_in_the_cells_and_missing_ones_blank() -> None:
    values = np.array([[0.0, 1.0], [0.256, np.nan]])
    figure = plot_maps(
        {"shares": values, "bias": -values}, ["C0", "O1"], signed=("bias",), axes=("from", "to")
    )
    shares, bias = figure.data
    assert [list(row) for row in shares.text] == [["0", "1"], ["0.26", ""]]
    assert (shares.zmin, shares.zmax) == (0, 1) and (bias.zmin, bias.zmax) == (-1, 1)
    assert list(shares.x) == ["C0", "O1"] and figure.layout.yaxis.autorange == "reversed"
    assert (figure.layout.yaxis.title.text, figure.layout.xaxis.title.text) == ("from", "to")


def test_maps_to_be_compared_share_a_limit_and_large_ones_leave_numbers_out() -> None:
    figure = plot_maps({"a": np.eye(2), "b": 3 * np.eye(2)}, ["x", "y"], limit={"a": 3.0})
    assert [cells.zmax for cells in figure.data] == [3.0, 3.0]
    large = plot_maps({"a": np.eye(30)}, [str(i) for i in range(30)])
    assert large.data[0].text is None
    with pytest.raises(InputError, match="shape \\(2, 2\\) for 3 names"):
        plot_maps({"a": np.eye(2)}, ["x", "y", "z"])


def test_strengths_are_lines_as_wide_as_they_are_strong() -> None:
    strengths = np.zeros((8, 8))
    strengths[0, [1, 4, 7]] = 0.8, 0.4, 0.001
    drawn = draw_strengths(HISTAMINE, strengths, [0], ["from N0"]).data
    widths = re.findall(r"stroke-opacity='0.45' stroke-width='([\d.]+)'", drawn)
    assert [float(width) for width in widths] == [9.0, 4.5], "what is too weak is left out"
    assert drawn.count("<svg") == 1 and "from N0" in drawn
    assert draw_strengths(HISTAMINE, strengths, [0, 3]).data.count("<svg") == 2
    with pytest.raises(InputError, match="without negative values"):
        draw_strengths(HISTAMINE, -strengths, [0])


def test_strengths_in_3d_are_coloured_and_told_in_per_cent() -> None:
    shares = np.array([0.5, 0.25, 0.249, 0.001, 0, 0, 0, 0])
    scene = show_strengths(HISTAMINE, COORDS, shares, 3, "attention")
    assert scene.labels[:5] == ("N0: 50 %", "C1: 25 %", "C2: 25 %", "C3", "")
    assert scene.bar.limit == 0.5
    assert scene.captions == ("from C3 to each atom",)
    with pytest.raises(InputError, match="give one an atom"):
        show_strengths(HISTAMINE, COORDS, shares[:7], 1, "attention")


def test_stacks_keep_parts_in_order_and_add_up() -> None:
    figure = plot_stacks(
        {"plain": {"a": 1.0, "b": 2.0}, "ours": {"a": 1.0, "c": 0.12345}}, "GFLOP", "84M"
    )
    assert [trace.name for trace in figure.data] == ["a", "b", "c"]
    assert [list(trace.x) for trace in figure.data] == [[1.0, 1.0], [2.0, 0.0], [0.0, 0.123]]
    assert figure.layout.xaxis.title.text == "GFLOP"


def test_moves_are_arrows_that_are_not_turned_to_the_reader() -> None:
    turn = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    end = COORDS + 0.1
    figure = plot_moves(
        {"one": (COORDS, end), "turned": (COORDS @ turn, end @ turn)}, HISTAMINE, stretch=5
    )
    arrows = [note for note in figure.layout.annotations if note.showarrow]
    assert len(arrows) == 16
    assert [arrows[0].x - arrows[0].ax, arrows[0].y - arrows[0].ay] == pytest.approx([0.5, 0.5])
    assert [arrows[8].x - arrows[8].ax, arrows[8].y - arrows[8].ay] == pytest.approx([-0.5, 0.5])
    assert figure.layout.yaxis2.scaleanchor == "x2"
