"""The package keeps its order and its sizes, notebooks are stored clean, and the set-up files agree."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "molnb"
ORDER = (
    "shapes errors memory places draws progress recipes downloads records sources salts parents chemistry quantum "
    "features encodings shards curation curate molecules scaffolds cards batches crops models scales objectives "
    "baselines runs unseen optimisers train presets convert prepared represent answers conformers denoise "
    "fingerprints assays evaluate methods figures points tables viewers error_figures viewer_assets drawing scenes "
    "conformer_figures track_figures explorer scaffold_viewers scaffold_figures parameters site notebooks __main__"
).split()
# What a machine that only trains can import, and what it need not have.
TRAINING = (
    "shapes errors memory places draws encodings shards batches crops models scales objectives baselines runs unseen "
    "optimisers train presets convert"
).split()
ABSENT = (
    "rdkit pydantic yaml jaxtyping beartype plotly IPython ipywidgets ipykernel papermill nbconvert nbformat duckdb "
    "loky tblite dask distributed torch_geometric py3Dmol pandas"
).split()
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))


def stage(path: Path) -> str:
    """The module or sub-package of molnb that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_stages(path: Path) -> set[str]:
    """Stages of molnb that a file imports, at its top or inside functions."""
    here = ("molnb", *path.relative_to(PACKAGE).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parent = here[: len(here) - node.level + 1] if node.level else ()
            module = ".".join([*parent, *filter(None, [node.module])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("molnb.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_upstream(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return
    here = stage(path)
    assert here in ORDER, f"{here} has no place in ORDER: say between which stages it stands"
    late = {s for s in imported_stages(path) if s in ORDER and ORDER.index(s) > ORDER.index(here)}
    assert not late, f"{path.name} imports {sorted(late)}, which stand after it"


def test_training_needs_only_torch_numpy_pyarrow_and_safetensors() -> None:
    present = [m for m in TRAINING if (PACKAGE / f"{m}.py").exists() or (PACKAGE / m).is_dir()]
    modules = [
        ".".join(("molnb", *p.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for p in MODULES
        if stage(p) in present and not p.stem == "gnn"
    ]
    code = f"""
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import molnb
for module in {modules!r}:
    importlib.import_module(module)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_importing_molnb_is_light() -> None:
    code = "import sys, molnb; print([m for m in ('torch', 'numpy', 'rdkit', 'plotly') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_curate_and_train_stay_functions_after_their_modules_were_imported() -> None:
    code = "import importlib, molnb; importlib.import_module('molnb.train'); print(callable(molnb.train))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400, "split it: there is a second noun in here"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} has more than 60 lines"
    assert path.stem not in {"utils", "helpers", "common", "base", "manager"}
    if len(ast.parse(text).body) > 1:  # more than a docstring
        assert "from __future__ import annotations" in text, "annotations must not be evaluated at run time"
    assert ast.get_docstring(ast.parse(text)), "say in a sentence what this module is about"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_are_stored_clean(path: Path) -> None:
    notebook = json.loads(path.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code), f"run nbstripout on {path.name}"
    assert "widgets" not in notebook["metadata"]
    tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    if path.parent.name == "notebooks":
        assert len(tagged) == 1, "one cell is tagged parameters"
        assert "size: str" in "".join(tagged[0]["source"])
        assert any("## What we have checked" in "".join(cell["source"]) for cell in notebook["cells"])


def test_environment_yml_names_the_packages_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    listed = re.findall(r"^      - ([A-Za-z][\w.-]*) +# \w", (ROOT / "environment.yml").read_text(), flags=re.M)
    assert sorted(listed) == sorted({re.match(r"[\w.-]+", name)[0] for name in wanted})


def test_constraints_pin_every_direct_dependency_without_a_local_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert {re.match(r"[\w.-]+", name)[0].lower() for name in wanted} <= pinned


def test_ruff_finds_nothing() -> None:
    pytest.importorskip("ruff")
    command = [sys.executable, "-m", "ruff", "check", "--output-format=concise", "."]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout
