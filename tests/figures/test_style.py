"""Labels of axes carry their unit, and panels are filled row by row."""

from __future__ import annotations

import pytest

pytest.importorskip("plotly")

from molnb.errors import InputError
from molnb.figures.style import panels, term_label, with_unit


def test_term_names_become_axis_labels_with_their_unit() -> None:
    assert term_label("token_ce_nats") == "masked atoms: cross entropy (nats)"
    assert term_label("sr_p53_auroc") == "sr p53: AUROC"
    assert term_label("tox_ap") == "tox: average precision"
    assert term_label("toxic_accuracy") == "toxic: share named right"
    assert term_label("auroc") == "auroc", "a label without a name is none"
    assert term_label("energy_residual_mae_eV") == "energy residual: mean absolute error (eV)"


def test_quantities_carry_their_unit_unless_they_have_none() -> None:
    assert with_unit("gap", "eV") == "gap (eV)"
    assert with_unit("wiberg", "1") == with_unit("wiberg", "") == "wiberg"


def test_panels_are_filled_row_by_row() -> None:
    figure, positions = panels(["a", "b", "c"], columns=2, height=200)
    assert positions == [{"row": 1, "col": 1}, {"row": 1, "col": 2}, {"row": 2, "col": 1}]
    assert [note.text for note in figure.layout.annotations] == ["a", "b", "c"]
    with pytest.raises(InputError, match="nothing to plot"):
        panels([], columns=2, height=200)
