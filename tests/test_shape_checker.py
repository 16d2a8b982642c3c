"""While tests run, a wrong shape is refused in whatever module states shapes."""

from __future__ import annotations

import importlib
import inspect
import re

import numpy as np
import pytest

jaxtyping = pytest.importorskip("jaxtyping")
pytest.importorskip("beartype")
import shape_checker
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float
from jaxtyping._decorator import jaxtyped

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


def test_what_was_right_once_is_refused_where_it_is_wrong_later() -> None:
    """What goes in and what comes out, each beside a call that was right."""
    answers = []

    def first(values: Float[np.ndarray, " n"], n: int = 0) -> Float[np.ndarray, " n"]:
        answers.append(values[n:])
        return answers[-1]

    checked = shape_checker.check_once(jaxtyped, first, typechecker=shape_checker.check_shapes)
    for _ in range(2):
        assert checked(np.zeros(3)).shape == (3,)
        assert checked(np.zeros(3), 0).shape == (3,)
        for arguments in ((np.zeros((3, 1)),), (np.zeros(3, int),), (np.zeros(3), 1)):
            with pytest.raises(jaxtyping.TypeCheckError):
                checked(*arguments)
    assert len(answers) == 6, "each call was one, also where only its result was checked"


@pytest.mark.parametrize("name", shape_checker.modules_with_shapes())
def test_no_module_that_states_shapes_is_left_unchecked(name: str) -> None:
    module = importlib.import_module(name)
    functions = [
        function
        for function in vars(module).values()
        if inspect.isfunction(function) and function.__module__ == name
    ]
    with_shapes = [function for function in functions if SHAPE.search(signature_of(function))]
    assert all(hasattr(function, "__wrapped__") for function in with_shapes)


SHAPE = re.compile(r"\b(Bool|Float|Int|Integer|Shaped|UInt8)\[")


def signature_of(function) -> str:
    return str(inspect.unwrap(function).__annotations__)


def half(n: int) -> int:
    return n / 2


def test_types_alone_are_checked_where_all_annotations_are() -> None:
    checked = shape_checker.check_once(jaxtyped, half, typechecker=beartype)
    with pytest.raises(BeartypeCallHintViolation):
        checked(3.0)
    with pytest.raises(BeartypeCallHintViolation):
        checked(3)
    as_it_is = shape_checker.check_once(jaxtyped, half, typechecker=shape_checker.check_shapes)
    assert as_it_is is half


def test_types_alone_are_not_checked_of_a_function_that_each_call_of_another_makes() -> None:
    def inner(n: int) -> int:
        return n / 2

    assert shape_checker.check_once(jaxtyped, inner, typechecker=beartype) is inner
