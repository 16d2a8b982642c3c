"""The wheel holds what a person needs, and works in another folder and another environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from core_only import blocker
from requirements import ROOT

from molnb import __version__

pytest.importorskip("hatchling")
pytest.importorskip("pip")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("papermill")

LESSONS = [
    path.relative_to(ROOT / "notebooks").as_posix()
    for pattern in ("*.ipynb", "solutions/*.ipynb")
    for path in sorted((ROOT / "notebooks").glob(pattern))
]


def build(target: str, out: Path, checkout: Path = ROOT) -> Path:
    """The wheel or the source distribution of a checkout, built without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", out]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = out.iterdir()
    return file


class Installed(NamedTuple):
    """An environment that has molnb from the wheel, and packages of this one."""

    folder: Path
    python: Path
    package: Path
    environment: dict[str, str]

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess:
        """Run `molnb` or `python` of the environment in a folder."""
        program = self.python.with_name(command[0])
        return subprocess.run(
            [program, *command[1:]], cwd=cwd, env=self.environment, capture_output=True, text=True
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A new environment into which pip has installed the wheel.

    Packages of this environment are seen through a plain path, which does not run the hooks (of
    editable installations) that lie there.
    """
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    python = binaries / ("python.exe" if os.name == "nt" else "python")
    options = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "--python", folder, "install", *options, wheel]
    subprocess.run(command, check=True)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    packages = Path(done.stdout.strip())
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "others.pth").write_text("\n".join(others) + "\n")
    # Templates of pages lie beside the interpreter that has the packages.
    shared = [os.environ.get("JUPYTER_PATH"), str(Path(sys.prefix, "share", "jupyter"))]
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MOLNB", "PYTHON", "PYTEST", "COV"))
    }
    environment["JUPYTER_PATH"] = os.pathsep.join(filter(None, shared))
    return Installed(folder, python, packages / "molnb", environment)


def test_the_wheel_holds_every_lesson_recipe_and_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
        shipped = {name: content.read(name) for name in names if "/shipped/" in name}
    recipes = [*(ROOT / "data_recipes").glob("*.yaml"), ROOT / "data_recipes" / "README.md"]
    expected = {f"molnb/shipped/notebooks/{name}": ROOT / "notebooks" / name for name in LESSONS}
    expected |= {f"molnb/shipped/data_recipes/{path.name}": path for path in recipes}
    assert shipped.keys() == expected.keys() and len(LESSONS) >= 14
    assert all(content == expected[name].read_bytes() for name, content in shipped.items())
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "molnb").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= names
    assert {"molnb/figures/labextension/static/remoteEntry.js", "molnb/figures/scene.js"} <= names


def test_the_wheel_holds_no_test_no_data_and_no_run(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    folders = {name.partition("/")[0] for name in names}
    assert folders == {"molnb", f"molnb-{__version__}.dist-info"}
    kinds = {Path(name).suffix for name in names if name.startswith("molnb/")}
    assert kinds == {".py", ".js", ".json", ".css", ".ipynb", ".yaml", ".md"}
    stems = {Path(name).stem for name in names}
    assert not [stem for stem in stems if stem.startswith("test_") or stem.endswith("-checkpoint")]
    assert wheel.stat().st_size < 2_000_000


def test_a_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    archive = build("sdist", tmp_path / "sdist")
    shutil.unpack_archive(archive, tmp_path)
    (checkout,) = tmp_path.glob("molnb-*")
    again = build("wheel", tmp_path / "again", checkout)
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())


def test_a_lesson_runs_from_the_wheel_in_another_folder(
    installed: Installed, tmp_path: Path
) -> None:
    code = "import molnb; print(molnb.__file__)"
    done = installed.run("python", "-c", code, cwd=tmp_path)
    assert Path(done.stdout.strip()).parent == installed.package, "not that of the checkout"
    done = installed.run("molnb", "recipes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\nnci " in done.stdout
    assert str(installed.package / "shipped" / "data_recipes") in done.stdout
    done = installed.run("molnb", "lessons", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "next: molnb lab notebooks" in done.stdout
    copies = {
        path.relative_to(tmp_path / "notebooks").as_posix()
        for path in (tmp_path / "notebooks").rglob("*.ipynb")
    }
    assert copies == set(LESSONS)
    lesson = tmp_path / "notebooks" / "02_scaffolds.ipynb"
    notebook = nbformat.read(lesson, 4)
    notebook.cells.append(nbformat.v4.new_code_cell("import molnb\nprint(molnb.__file__)"))
    nbformat.write(notebook, lesson)
    options = ["-p", "size", "test", "--out", "executed.ipynb"]
    done = installed.run("molnb", "run", str(lesson), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    executed = (tmp_path / "executed.ipynb").read_text()
    assert "application/vnd.plotly.v1+json" in executed
    assert json.dumps(str(installed.package / "__init__.py"))[1:-1] in executed
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "data",
        "executed.ipynb",
        "notebooks",
    ]


def test_the_installed_core_lists_presets_alone(installed: Installed, tmp_path: Path) -> None:
    code = f"{blocker()}\nfrom molnb.cli import main\nmain(['presets'])\nsys.exit(main(['tour']))"
    done = installed.run("python", "-c", code, cwd=tmp_path)
    assert "pretrain_tiny" in done.stdout
    assert done.stderr == "molnb tour: needs papermill: pip install 'molnb[notebook]'\n"


@pytest.mark.slow
def test_the_tour_runs_from_the_wheel_in_an_empty_folder(
    installed: Installed, tmp_path: Path
) -> None:
    done = installed.run("molnb", "tour", "--size", "test", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.name for path in (tmp_path / "runs" / "tour").glob("*.html")}
    assert pages == {
        "index.html",
        *(Path(name).stem + ".html" for name in LESSONS if "/" not in name),
    }


@pytest.mark.slow
@pytest.mark.ui
def test_a_lesson_opens_in_the_jupyterlab_that_the_wheel_starts(
    installed: Installed, tmp_path: Path
) -> None:
    pytest.importorskip("jupyterlab")
    from test_browser import SECONDS, jupyterlab, open_notebook, page, run_all

    installed.run("molnb", "lessons", cwd=tmp_path)
    lesson = tmp_path / "notebooks" / "02_scaffolds.ipynb"
    text = lesson.read_text(encoding="utf-8")
    lesson.write_text(text.replace('size: str = \\"tour\\"', 'size: str = \\"test\\"'))
    start = [installed.python, "-m", "molnb", "lab", "notebooks", "--"]
    # JupyterLab's own files lie beside the interpreter that has it.
    application = {"JUPYTERLAB_DIR": str(Path(sys.prefix, "share", "jupyter", "lab"))}
    variables = application | installed.environment
    with jupyterlab(tmp_path, variables, start=start) as lab, page() as tab:
        open_notebook(tab, lab, "02_scaffolds.ipynb")
        run_all(tab)
        output = tab.locator(".jp-OutputArea-output", has_text="times the scaffolds of nci")
        output.last.wait_for(timeout=240 * SECONDS, state="attached")
        figure = tab.locator(".js-plotly-plot .main-svg")
        figure.first.wait_for(timeout=60 * SECONDS, state="attached")
    assert (tmp_path / "data").is_dir(), "home is where JupyterLab was started"
    assert not (tmp_path / "notebooks" / "data").exists()
