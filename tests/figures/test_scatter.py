"""Figures of points show every point, with the unit they were given."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("plotly")

from molnb.figures.elements import element_colour, element_symbol, text_colour
from molnb.figures.scatter import plot_displaced, plot_parity, plot_ratios, plot_repeats, plot_seeds


def test_parity_shows_guess_against_truth() -> None:
    figure = plot_parity([1.0, 2.0, 3.0], [1.1, 2.0, 2.5], "measured (eV)", "predicted (eV)")
    diagonal, points = figure.data
    assert np.allclose(points.x, [1.1, 2.0, 2.5])
    assert np.allclose(points.y, [1, 2, 3])
    assert figure.layout.xaxis.title.text == "predicted (eV)"
    assert list(diagonal.x) == list(diagonal.y)


def test_repeated_values_are_counted_exactly() -> None:
    figure = plot_repeats([5.0, 5.0, 5.01, 6.0], [True, True, False, True], "pIC50", "censored")
    other, flagged = figure.data
    assert list(other.y) == [1] and list(flagged.x) == [5.0, 6.0] and list(flagged.y) == [2, 1]


def test_ratios_have_a_line_at_one_and_a_row_a_group() -> None:
    rows = [{"r": r, "part": part, "on": on} for part in "ab" for on in "xy" for r in (0.5, 2.0)]
    figure = plot_ratios(rows, "r", "part", "on")
    assert sum(len(trace.x) for trace in figure.data) == len(rows)
    assert figure.layout.xaxis.type == "log" and figure.layout.shapes[0].x0 == 1
    assert list(figure.layout.yaxis.ticktext) == ["b", "a"]


def test_displaced_atoms_keep_their_distances_in_the_plane() -> None:
    flat = np.array([[0.0, 0, 0], [1.4, 0, 0], [2.1, 1.2, 0]])
    figure = plot_displaced(flat, flat + 0.1, np.array([[0, 1], [1, 2]]), np.array([6, 6, 8]))
    bonds, _, atoms = figure.data
    points = np.stack([atoms.x, atoms.y], 1)
    assert np.linalg.norm(points[0] - points[1]) == pytest.approx(1.4)
    assert list(atoms.text) == ["C", "C", "O"]
    assert np.isnan(bonds.x[2::3]).all(), "bonds are not joined to each other"


def test_elements_are_coloured_alike_in_plots_and_in_3d() -> None:
    pytest.importorskip("rdkit")
    from rdkit import Chem

    from molnb.figures.svg3d import Layer

    coords = np.array([[0.0, 0, 0], [1.4, 0, 0], [2.1, 1.2, 0]])
    figure = plot_displaced(coords, coords, np.array([[0, 1], [1, 2]]), np.array([6, 6, 8]))
    layer = Layer(Chem.MolFromSmiles("CCO"), (coords,))
    assert list(figure.data[2].marker.color) == layer.atom_colours()


def test_elements_outside_the_palette_are_named_by_number() -> None:
    assert (element_symbol(17), element_symbol(26)) == ("Cl", "26")
    assert element_colour(26) not in {element_colour(number) for number in (1, 6, 7, 8)}
    assert (text_colour("#ffffff"), text_colour("#59626c")) == ("#000", "#fff")


def test_seeds_are_marks_with_a_tick_at_their_mean() -> None:
    rows = [
        {"error": value, "with": name, "task": task}
        for task in ("gap", "dipole")
        for name, values in {"none": [1.0, 0.9], "both": [0.5, 0.7]}.items()
        for value in values
    ]
    figure = plot_seeds(rows[:-2], "error", "with", "task", title="two seeds")
    assert [note.text for note in figure.layout.annotations] == ["gap", "dipole"]
    assert len(figure.data) == 6, "what a panel lacks leaves a blank line"
    both, mean, *_ = figure.data
    assert list(both.x) == [0.5, 0.7] and list(mean.x) == [0.6] and list(both.y) == [0, 0]
    assert list(figure.layout.yaxis.ticktext) == ["both", "none"]
    assert figure.layout.yaxis.showticklabels and not figure.layout.yaxis2.showticklabels
    assert len(figure.layout.shapes) == 2, "what must be beaten"
    assert not plot_seeds(rows, "error", "with", "task", bar=None).layout.shapes
