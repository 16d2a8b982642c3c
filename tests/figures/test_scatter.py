"""Figures of points show every point, with the unit they were given."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("plotly")

from molnb.figures.scatter import plot_displaced, plot_parity, plot_ratios, plot_repeats


def test_parity_shows_guess_against_truth() -> None:
    figure = plot_parity([1.0, 2.0, 3.0], [1.1, 2.0, 2.5], "measured (eV)", "predicted (eV)")
    assert np.allclose(figure.data[1].x, [1.1, 2.0, 2.5]) and np.allclose(
        figure.data[1].y, [1, 2, 3]
    )
    assert figure.layout.xaxis.title.text == "predicted (eV)" and list(figure.data[0].x) == list(
        figure.data[0].y
    )


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
    atoms = np.stack([figure.data[2].x, figure.data[2].y], 1)
    assert np.linalg.norm(atoms[0] - atoms[1]) == pytest.approx(1.4) and list(
        figure.data[2].text
    ) == ["C", "C", "O"]
