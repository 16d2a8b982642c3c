"""Notebooks run headlessly, in this Python, and leave a copy, a line and an exit code."""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("papermill")
pytest.importorskip("ipykernel")
from made_notebooks import texts, write_notebook

from molnb.errors import InputError
from molnb.notebooks.execution import run_notebook, tour


def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("SMILES\nCCO\n")
    with pytest.raises(InputError, match="is not a notebook"):
        run_notebook(tmp_path / "a.ipynb", tmp_path / "out.ipynb")
    with pytest.raises(InputError, match="there is no notebook"):
        run_notebook(tmp_path / "b.ipynb", tmp_path / "out.ipynb")


def test_a_notebook_runs_in_this_python_headlessly_with_its_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    kernel = {"argv": ["false"], "display_name": "x", "language": "python"}
    (foreign / "kernel.json").write_text(json.dumps(kernel))
    monkeypatch.setenv("JUPYTER_PATH", str(foreign.parent.parent))
    path = write_notebook(
        tmp_path / "a.ipynb",
        "import os, sys, molnb\nprint(seed, learning_rate, sys.executable)",
        "print(os.environ['MOLNB_HEADLESS'], os.environ['MOLNB_HOME'])",
        "for i in range(20):\n    print(i, flush=True)",
        ("1 / 0", "raises-exception"),
        "molnb.headline('loss 0.41', n=1000, of=4999)",
    )
    done = run_notebook(path, tmp_path / "new" / "out.ipynb", {"seed": "7"}, home=tmp_path / "home")
    assert (done.code, done.text, done.n, done.of) == (0, "loss 0.41", 1000, 4999)
    assert done.line().split("s  ")[1] == "loss 0.41 (1,000 of 4,999)"
    assert f"7 0.001 {sys.executable}\n" in texts(done.path)
    assert f"1 {tmp_path / 'home'}\n" in texts(done.path)
    notebook = nbformat.read(done.path, 4)
    tags = {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    assert "papermill-error-cell-tag" not in tags
    n_output = max(len(cell.get("outputs", [])) for cell in notebook.cells)
    assert n_output == 1, "prints stand in one output"


def test_two_notebooks_run_side_by_side_and_leave_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    meet = """
import os, pathlib, time
home = pathlib.Path(os.environ["MOLNB_HOME"])
(home / "started").touch()
other = home.with_name("b" if home.name == "a$HOME" else "a$HOME")
while not (other / "started").exists():
    time.sleep(0.05)
print(home.name, os.environ["MOLNB_HEADLESS"], os.environ["GOMP_SPINCOUNT"])
"""
    path = write_notebook(tmp_path / "a.ipynb", meet)
    homes = [tmp_path / "a$HOME", tmp_path / "b"]
    for folder in homes:
        folder.mkdir()
    before = dict(os.environ)
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(run_notebook, path, folder / "out.ipynb", home=folder, timeout=60)
            for folder in homes
        ]
        time.sleep(0.3)
        assert dict(os.environ) == before, "while they run"
        results = [run.result() for run in runs]
    assert [result.code for result in results] == [0, 0], [result.error for result in results]
    assert [texts(result.path) for result in results] == ["a$HOME 1 3000\n", "b 1 3000\n"]
    assert dict(os.environ) == before


def test_a_time_that_threads_wait_is_the_users_to_choose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "17")
    path = write_notebook(tmp_path / "a.ipynb", "import os\nprint(os.environ['GOMP_SPINCOUNT'])")
    assert texts(run_notebook(path, tmp_path / "out.ipynb").path) == "17\n"


@pytest.mark.parametrize(
    ("cell", "code", "error"),
    [
        ("assert seed == 1, 'seed is 0'", 3, "cell 2 failed: AssertionError: seed is 0"),
        ("import os; os._exit(7)", 4, "the kernel died"),
        ("import time; time.sleep(60)", 4, "a cell ran longer than 2 s"),
        ("input('name?')", 3, "StdinNotImplementedError"),
    ],
)
def test_failures_have_exit_codes_and_leave_the_copy(
    tmp_path: Path, cell: str, code: int, error: str
) -> None:
    path = write_notebook(tmp_path / "a.ipynb", cell, "print('after')")
    done = run_notebook(path, tmp_path / "out.ipynb", timeout=2)
    assert done.code == code and error in done.error
    assert done.path.is_file() and "after" not in texts(done.path)


def test_widget_sources_stay_out_of_the_copy_and_sockets_out_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "cwd"
    empty.mkdir()
    monkeypatch.chdir(empty)
    pytest.importorskip("anywidget")
    cell = "import plotly.graph_objects as go\ngo.FigureWidget()"
    path = write_notebook(tmp_path / "a.ipynb", cell)
    done = run_notebook(path, tmp_path / "out.ipynb")
    assert done.code == 0 and done.path.stat().st_size < 100_000
    assert not list(empty.iterdir()), "the kernel left its sockets in the working directory"


def test_the_tour_does_not_replace_a_copy_that_somebody_has_worked_on(tmp_path: Path) -> None:
    lesson = write_notebook(tmp_path / "90_one.ipynb", "print(seed)")
    other = write_notebook(tmp_path / "91_two.ipynb", "print(seed)")
    tour(tmp_path, "test", notebooks=[lesson, other])
    (result, _) = tour(tmp_path, "test", notebooks=[lesson, other])
    notebook = nbformat.read(result.path, 4)
    del notebook.metadata["molnb_executed"]
    nbformat.write(notebook, result.path)
    tour(tmp_path, "test", notebooks=[lesson])  # the copy of an older molnb
    notebook = nbformat.read(result.path, 4)
    notebook.cells[-1].source += "  # answer of exercise 1"
    nbformat.write(notebook, result.path)
    with pytest.raises(InputError, match="90_one.ipynb is there, and not as this command writes"):
        tour(tmp_path, "test", notebooks=[other, lesson])
    assert "answer of exercise 1" in result.path.read_text()
    tour(tmp_path, "test", notebooks=[lesson], force=True)
    assert "answer of exercise 1" not in result.path.read_text()
