"""Notebooks run headlessly with checked parameters, and become pages that need no network."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from molnb.errors import InputError
from molnb.notebooks.execution import NOTEBOOKS, list_notebooks, run_notebook, tour
from molnb.notebooks.parameters import check_parameters, read_parameters

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("papermill")
pytest.importorskip("ipykernel")

PARAMETERS = """
from typing import Literal
size: str = "test"  # test, tour or full
seed: int = 0  # of everything random
learning_rate: float = 1e-3  # peak
quick: bool = True
names: list[str] = ["a"]
n_train: int | None = None  # molecules, None for all
untyped = 4
molecule: str = "C#N=C"  # a triple bond
split: Literal["random", "scaffold"] = "random"
shape: tuple[int, ...] = (4, 4)
weights: dict[str, float] = {}
"""


def write_notebook(path: Path, *cells: str | tuple[str, str], parameters: str = PARAMETERS) -> Path:
    """A notebook of code cells; one that begins with `# ` is text.

    A cell given as (source, tag) carries that tag.
    """
    cells_made = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    for cell in cells:
        source, *tags = (cell,) if isinstance(cell, str) else cell
        make = (
            nbformat.v4.new_markdown_cell if source.startswith("# ") else nbformat.v4.new_code_cell
        )
        cells_made.append(make(source, metadata={"tags": tags}))
    metadata = {"kernelspec": {"name": "somebody-elses", "display_name": "x", "language": "python"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells_made, metadata=metadata), path)
    return path


def texts(path: Path) -> str:
    """Everything the cells of an executed notebook printed."""
    notebook = nbformat.read(path, 4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


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
    (foreign / "kernel.json").write_text(
        json.dumps({"argv": ["false"], "display_name": "x", "language": "python"})
    )
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
    assert not any(
        "papermill-error-cell-tag" in cell.metadata.get("tags", []) for cell in notebook.cells
    )
    assert all(len(cell.get("outputs", [])) <= 1 for cell in notebook.cells), (
        "prints stand in one output"
    )


def test_two_notebooks_run_side_by_side_and_leave_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    meet = """
import os, pathlib, time
mine = pathlib.Path(os.environ["MOLNB_HOME"])
(mine / "started").touch()
other = mine.with_name("b" if mine.name == "a$HOME" else "a$HOME")
while not (other / "started").exists():
    time.sleep(0.05)
print(mine.name, os.environ["MOLNB_HEADLESS"], os.environ["GOMP_SPINCOUNT"])
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
    path = write_notebook(
        tmp_path / "a.ipynb", "import plotly.graph_objects as go\ngo.FigureWidget()"
    )
    done = run_notebook(path, tmp_path / "out.ipynb")
    assert done.code == 0 and done.path.stat().st_size < 100_000
    assert not list(empty.iterdir()), "the kernel left its sockets in the working directory"


LIVE = """
from types import SimpleNamespace as Report
from molnb import LiveCurve
curve = LiveCurve(seconds_between_updates=0)
for step in range(1, 1001):
    row = {"part": "val", "features": "hidden", "step": step, "loss": 1.0}
    rows = [] if step % 100 else [row]
    assert curve(Report(step=step, steps=1000, loss=1 / step, seconds=0.0, rows=rows))
"""


def test_a_live_curve_leaves_a_line_and_a_plain_figure(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    done = run_notebook(write_notebook(tmp_path / "a.ipynb", LIVE), tmp_path / "out.ipynb")
    assert done.code == 0, done.error
    outputs = nbformat.read(done.path, 4).cells[-1].outputs
    assert [sorted(output.data) for output in outputs][0] == ["text/html", "text/plain"]
    assert "1,000 of 1,000" in outputs[0].data["text/plain"]
    figure = outputs[1].data["application/vnd.plotly.v1+json"]
    assert [trace["name"] for trace in figure["data"]] == [
        "training",
        "validation, features hidden",
    ]
    assert done.path.stat().st_size < 60_000


PAGE = r"""# 00 · A trial

Does a page work without a network? It costs $5 or `$PATH`, and $E = mc^2$.

$$\mathcal{L} = \sum_i w_i * (x_i - y_i)^2$$
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of a tour over one lesson that has everything, and one that fails."""
    pytest.importorskip("latex2mathml")
    folder = tmp_path_factory.mktemp("tour")
    good = write_notebook(
        folder / "in" / "00_trial.ipynb",
        PAGE,
        "import ipywidgets, molnb, plotly.graph_objects as go\n"
        "molnb.draw_molecules(['CCO', 'bad!'], ['ethanol', '?'])",
        "go.Figure(go.Scatter(y=[1, 3, 2]))",
        "ipywidgets.IntSlider()",
        "molnb.headline('3 of 3 <drawn>', n=3)",
    )
    bad = write_notebook(
        folder / "in" / "01_bad.ipynb", "# 01 · Bad", "raise ValueError('on purpose')"
    )
    done = tour(folder, notebooks=[good, bad], parameters={"seed": 5, "unknown": 1})
    assert [result.code for result in done] == [0, 3]
    return folder / "runs" / "tour"


def test_the_tour_prints_a_line_a_lesson(site: Path, capsys: pytest.CaptureFixture) -> None:
    lesson = site.parent.parent / "in" / "01_bad.ipynb"
    tour(site.parent.parent / "again", notebooks=[lesson])
    line, end, _ = capsys.readouterr().out.split("\n")
    assert line.startswith("01_bad") and line.endswith(" s  cell 3 failed: ValueError: on purpose")
    assert end.startswith("tour of 1 in") and end.endswith("again/runs/tour/index.html")


def test_pages_hold_formulas_pictures_and_figures_without_addresses_elsewhere(site: Path) -> None:
    page = (site / "00_trial.html").read_text()
    assert page.count("<math") == 2 and "costs $5 or" in page and "<code>$PATH</code>" in page
    assert "Plotly.newPlot" in page and 'src="assets/plotly.min.js"' in page
    assert "needs a running kernel" in page and "<svg" in page
    index = (site / "index.html").read_text()
    assert "3 of 3 &lt;drawn&gt;" in index and "on purpose" in index and "00 · A trial" in index
    for text in (page, index):
        assert 'src="http' not in text and 'href="http' not in text and "cdn" not in text.lower()
        assert len(text) < 1_000_000
    assert sorted(p.name for p in (site / "assets").iterdir()) == ["plotly.min.js"]


@pytest.mark.ui
def test_pages_open_from_the_file_system_with_the_network_off(site: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    from conftest import CHROMIUM

    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_context(offline=True).new_page()
        wrong, asked = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console",
            lambda message: wrong.append(message.text) if message.type == "error" else None,
        )
        for name in ("index", "00_trial", "01_bad"):
            page.goto((site / f"{name}.html").as_uri())
            if name == "00_trial":
                page.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=10_000)
        browser.close()
    assert not wrong
    assert all(url.startswith(("file:", "data:")) for url in asked)


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    parts = name.split(".")
    value = importlib.import_module(parts[0])
    for number, part in enumerate(parts[1:], 2):
        if not hasattr(value, part):
            try:
                importlib.import_module(".".join(parts[:number]))
            except ModuleNotFoundError:
                return False
        value = getattr(value, part)
    return True


def test_a_name_that_is_gone_is_noticed() -> None:
    assert resolves("molnb.figures.grid.draw_molecules") and resolves("molnb.errors")
    assert not resolves("molnb.viewers.draw_molecules") and not resolves("molnb.errors.Refused")


@pytest.mark.parametrize(
    "path", sorted(NOTEBOOKS.rglob("*.ipynb")), ids=lambda path: str(path.relative_to(NOTEBOOKS))
)
def test_names_of_the_package_in_texts_exist(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    names = {name.rstrip(".") for name in re.findall(r"\bmolnb(?:\.[A-Za-z_]\w*)+", text)}
    assert not [name for name in sorted(names) if not resolves(name)]


@pytest.mark.parametrize("path", list_notebooks(), ids=lambda path: path.stem)
def test_every_lesson_runs_at_size_test(path: Path, tmp_path: Path, shared_home: Path) -> None:
    done = run_notebook(path, tmp_path / path.name, {"size": "test"}, home=shared_home)
    assert done.code == 0, done.error
    assert done.text, "a lesson leaves a headline"
    assert done.path.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    "path", sorted((list_notebooks() or [Path()])[0].parent.glob("solutions/*.ipynb")), ids=str
)
def test_every_solution_runs(path: Path, tmp_path: Path, shared_home: Path) -> None:
    done = run_notebook(path, tmp_path / path.name, home=shared_home)
    assert done.code == 0, done.error
