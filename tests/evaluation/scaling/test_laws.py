"""Laws say losses, and their equations; the published one says what the paper says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from molnb.errors import InputError
from molnb.evaluation.scaling.laws import LAWS, ComputeLaw, SizeDataLaw, SizeLaw, unfitted
from molnb.evaluation.scaling.published import PUBLISHED

LAW = SizeDataLaw(E=1.69, A=406.4, a=0.34, B=410.7, b=0.28)  # Hoffmann et al. 2022, Table A3


def test_a_law_is_the_sum_of_its_terms():
    points = pd.DataFrame({"N": [1e6, 1e9], "samples": [1e8, 2e10], "flops": [1e10, 1e15]})
    expected = 1.69 + 406.4 / points["N"] ** 0.34 + 410.7 / points["samples"] ** 0.28
    assert LAW.predict(points) == pytest.approx(expected.to_numpy())
    assert SizeLaw(1.0, 2.0, 0.5).predict({"N": 4.0}) == pytest.approx([2.0])
    assert ComputeLaw(1.0, 1e3, 0.3).predict(points)[0] == pytest.approx(2.0)


def test_many_laws_are_asked_together():
    values = np.array([[1.69, 406.4, 0.34, 410.7, 0.28], [0.0, 1.0, 0.5, 4.0, 0.25]])
    losses = LAW.losses({"N": np.array([1e6, 1e9]), "samples": 1e8}, values)
    assert losses.shape == (2, 2)
    assert losses[0] == pytest.approx(LAW.predict({"N": np.array([1e6, 1e9]), "samples": 1e8}))
    assert losses[1, 0] == pytest.approx(1e-3 + 0.04)


def test_data_are_counted_as_the_law_says():
    point = {"N": 1e6, "samples": 1e8, "unique": 1e6}
    of_unique = SizeDataLaw(*LAW.parameters.values(), data="unique")
    assert of_unique.predict(point) > LAW.predict(point)
    assert "molecules drawn" in LAW.equation() and "different molecules" in of_unique.equation()
    with pytest.raises(InputError, match=r"counted in 'sample' \(did you mean 'samples'\?\)"):
        unfitted("size and data", "sample")


def test_an_equation_has_the_numbers():
    assert LAW.equation().startswith("L = 1.69 + 406.4 N^-0.34 + 410.7 D^-0.28 (")
    assert PUBLISHED.equation().startswith("L = 2.66 M^-1.14 + 1.848 S^-0.225 + 0.588 C^-1.48 (")


def test_the_published_law_predicts_what_the_paper_predicts():
    """To three digits, with all parameters in millions and raw steps; none of both is stated."""
    expected = {42: 0.1245, 84: 0.1038, 164: 0.0946, 310: 0.0905, 570: 0.0885, 1100: 0.0875}
    points = {"parameters": np.array([*expected]) * 1e6, "step": 810_000}
    assert np.abs(PUBLISHED.predict(points) - [*expected.values()]).max() < 5e-5


def test_what_a_law_needs_is_named():
    with pytest.raises(InputError, match="samples is needed to say the loss, and there are N"):
        LAW.predict({"N": 1e6})
    with pytest.raises(InputError, match="no law 'sizes'.*did you mean 'size'"):
        unfitted("sizes")
    assert all(unfitted(name).name == name for name in LAWS)
