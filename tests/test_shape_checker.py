"""While tests run, a wrong shape is refused in whatever module states shapes."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest

jaxtyping = pytest.importorskip("jaxtyping")
pytest.importorskip("beartype")
import shape_checker

from molnb.chemistry.xtb import xtb_labels
from molnb.curation.scaffolds import entropy
from molnb.evaluation.folds import make_folds


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (xtb_labels, (np.array([8, 1, 1]), np.zeros((3, 3, 1)))),
        (entropy, (np.ones((2, 2)),)),
        (make_folds, (np.zeros(8),)),
    ],
)
def test_arrays_of_another_shape_or_kind_are_refused(function, arguments) -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        function(*arguments)


@pytest.mark.parametrize("name", shape_checker.modules_with_shapes())
def test_no_module_that_states_shapes_is_left_unchecked(name: str) -> None:
    module = importlib.import_module(name)
    functions = [
        function
        for function in vars(module).values()
        if inspect.isfunction(function) and function.__module__ == name
    ]
    assert all(hasattr(function, "__wrapped__") for function in functions)
