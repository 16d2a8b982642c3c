"""What the paper says of its law, recomputed: what holds, what rounding allows, what cannot be."""

from __future__ import annotations

import pytest

from molnb.evaluation.scaling.published import (
    NO,
    PUBLISHED,
    ROUNDED,
    YES,
    paper_compute,
    published_claims,
    published_predictions,
)
from molnb.models.families import build_encoder
from molnb.models.unimol2.sizes import PAPER


def test_the_terms_of_the_law_add_up_to_its_predictions():
    table = published_predictions().set_index("size")
    parts = table[["size term", "step term", "compute term"]].sum(axis=1)
    assert parts.tolist() == pytest.approx(table["predicted"].tolist())
    expected = [0.03795, 0.01726, 0.00807, 0.00391, 0.00196, 0.00093]
    assert table["size term"].tolist() == pytest.approx(expected, abs=6e-6)
    assert table["step term"].tolist() == pytest.approx([0.08656] * 6, abs=6e-6)
    assert (table["compute term"] < 1e-11).all()
    assert table["predicted"].round(4).tolist() == [0.1245, 0.1038, 0.0946, 0.0905, 0.0885, 0.0875]
    assert (table["low"] < table["predicted"]).all()
    assert (table["predicted"] < table["high"]).all()


def test_compute_is_not_in_proportion_to_parameters():
    table = paper_compute().set_index("size")
    # multiplications of a forward pass at 24 atoms as the equations stand, in 10^9
    giga = (table["as written"] / 2e9).round(1)
    assert giga.tolist() == [12.2, 24.3, 48.5, 67.1, 73.9, 147.5]
    assert table.loc["1.1B", "parameters, relative"] > 25
    assert table.loc["1.1B", "flops, relative"] < 15
    assert table.loc["570M", "as written"] < 1.11 * table.loc["310M", "as written"]
    encoder = build_encoder(PAPER["42m"]).encoder
    assert table.loc["42M", "flops"] == encoder.count_flops(24, 24)
    assert table.loc["84M", "parameters"] == 84_116_080


def test_claims_are_judged_by_what_is_printed():
    claims = published_claims().set_index("statement")
    assert claims["holds"].to_dict() == {
        "Eq. 11 predicts this loss of 570M": ROUNDED,
        "Eq. 11 predicts this loss of 1.1B": ROUNDED,
        "The relative error at 570M": YES,
        "The relative error at 1.1B": ROUNDED,
        "MSE and RMAE at 570M": YES,
        "R² and r at 570M": NO,
        "MSE and RMAE at 1.1B": NO,
        "R² and r at 1.1B": NO,
        "R² and r at 570M, exchanged": ROUNDED,
        "R² and r at 1.1B, exchanged": YES,
        "Compute has a term of its own": NO,
        "Compute is M times S": NO,
    }
    assert claims.loc["The relative error at 1.1B", "recomputed"] == "0.11 %"
    assert claims.loc["R² and r at 570M", "recomputed"] == "r² = 0.722"
    assert "11.1 times the MAE" in claims.loc["MSE and RMAE at 1.1B", "recomputed"]
    assert claims.notna().all(axis=None)


def test_the_published_law_falls_without_end():
    at_infinity = PUBLISHED.predict({"parameters": 1e30, "step": 1e30})
    assert at_infinity[0] < 1e-6
