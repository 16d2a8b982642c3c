"""Parameters of notebooks are read without running them, and checked before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nbformat")
pytest.importorskip("papermill")
pytest.importorskip("ipykernel")
from made_notebooks import write_notebook

from molnb.errors import InputError
from molnb.notebooks.execution import run_notebook
from molnb.notebooks.parameters import check_parameters, read_parameters


def test_parameters_are_read_with_type_default_and_meaning(tmp_path: Path) -> None:
    parameters = read_parameters(write_notebook(tmp_path / "a.ipynb"))
    names = "size seed learning_rate quick names n_train untyped molecule split shape weights"
    assert list(parameters) == names.split()
    rate = parameters["learning_rate"]
    assert (rate.type, rate.default) == ("float", "0.001")
    assert parameters["n_train"].meaning == "molecules, None for all"
    assert parameters["untyped"].type == "int"
    molecule = parameters["molecule"]
    assert (molecule.default, molecule.meaning) == ("'C#N=C'", "a triple bond")


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("learning_rate", "1e-4", 1e-4),  # YAML 1.1 makes this a text
        ("learning_rate", "2", 2.0),
        ("learning_rate", 1, 1.0),
        ("seed", "007", 7),
        ("quick", "False", False),
        ("names", "['b', 'c']", ["b", "c"]),
        ("n_train", "none", None),
        ("n_train", "500", 500),
        ("size", "full", "full"),
        ("untyped", "5", 5),
        ("molecule", "none", "none"),
        ("split", "scaffold", "scaffold"),
        ("shape", "(2, 3)", (2, 3)),
        ("shape", [2, 3], (2, 3)),  # as YAML has it
        ("weights", "{'a': 1}", {"a": 1.0}),
    ],
)
def test_text_becomes_the_declared_type(tmp_path: Path, name: str, given: Any, value: Any) -> None:
    checked = check_parameters(write_notebook(tmp_path / "a.ipynb"), {name: given})
    assert checked == {name: value} and type(checked[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (
            "learning_rat",
            1.0,
            "a.ipynb has no parameter 'learning_rat' (did you mean 'learning_rate'?): it has size",
        ),
        ("zzz", 1.0, "it has size, seed"),
        (
            "learning_rate",
            "fast",
            "'fast' is not of type float (peak): give a value like the default, 0.001",
        ),
        ("seed", 1.5, "not of type int"),
        ("seed", "1.5", "not of type int"),
        ("seed", True, "not of type int"),
        ("quick", 1, "not of type bool"),
        ("quick", "maybe", "not of type bool"),
        ("names", "b", "not of type list"),
        ("n_train", "many", "not of type int | None"),
        ("size", "huge", "is not one of test, tour, full"),
        ("untyped", "four", "not of type int"),
        ("molecule", 4, "not of type str"),
        ("split", "time", "not of type Literal['random', 'scaffold']"),
        ("shape", "(2, 'a')", "not of type tuple[int, ...]"),
        ("weights", "{'a': 'b'}", "not of type dict[str, float]"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(
    tmp_path: Path, name: str, given: Any, message: str
) -> None:
    path = write_notebook(tmp_path / "a.ipynb")
    with pytest.raises(InputError) as refused:
        run_notebook(path, tmp_path / "out.ipynb", {name: given})
    assert message in str(refused.value)
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize("annotation", ["touch('{file}')", "list[touch('{file}')]", "np.ndarray"])
def test_reading_parameters_runs_no_code_of_the_notebook(tmp_path: Path, annotation: str) -> None:
    file = tmp_path / "made"
    declared = annotation.format(file=file)
    lines = f"touch = lambda name: open(name, 'w')\nx: {declared} = open({str(file)!r}, 'w')\n"
    path = write_notebook(tmp_path / "a.ipynb", parameters=lines)
    assert list(read_parameters(path)) == ["touch", "x"]
    with pytest.raises(InputError, match="the type of x, .* is not made of int, float, str"):
        check_parameters(path, {"x": 1})
    assert not file.exists()
