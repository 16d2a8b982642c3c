"""The package keeps its order, and notebooks are stored clean."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from core_only import run_core_only

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "molnb"
# The way of a molecule: a folder may import itself, the modules at the root, and folders before it.
ORDER = (
    "recipes chemistry curation data models objectives training "
    "inference evaluation figures notebooks commands"
).split()
TORCH_ONLY = ("data", "models", "objectives", "training")
MODULES = sorted(PACKAGE.rglob("*.py"))
# Graph networks stand on torch-geometric; their configurations do not.
WITHOUT_GEOMETRIC = ("__init__", "config", "features", "sizes", "vocabulary")
NEEDS_GEOMETRIC = [
    path
    for path in MODULES
    if path.parent == PACKAGE / "models/graph" and path.stem not in WITHOUT_GEOMETRIC
]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))


def dotted(path: Path) -> tuple[str, ...]:
    """The name of a module, below molnb: ("data", "batch"); of a package, that of its folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def room(path: Path) -> str:
    """The folder of the package that a module lies in, or "root"."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else "root"


def imported_rooms(path: Path) -> set[str]:
    """Folders of the package that a module imports from, at its top or inside functions."""
    package = ("molnb", *path.relative_to(PACKAGE).parent.parts)
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*parent, *filter(None, [node.module])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    inside = {name.split(".")[1] for name in names if name.startswith("molnb.")}
    return {name for name in inside if (PACKAGE / name).is_dir()}


def test_every_folder_has_its_place_in_the_order() -> None:
    folders = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ORDER)
    assert set(TORCH_ONLY) < folders


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_upstream(path: Path) -> None:
    if path.stem in ("cli", "__main__") or path == PACKAGE / "__init__.py":
        return  # the ends of the flow: they may name every room
    allowed = ORDER[: ORDER.index(room(path)) + 1] if room(path) in ORDER else []
    late = imported_rooms(path) - set(allowed)
    assert not late, f"{path.name} imports {sorted(late)}, which stand after {room(path)}"


def test_no_module_bears_the_name_of_a_function() -> None:
    """Else `molnb.curate` would be the module or the function, after what was imported first."""
    functions = set()
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.add(node.name)
    stems = {dotted(path)[-1] for path in MODULES if dotted(path)}
    assert not stems & functions


def test_training_needs_only_torch_numpy_pyarrow_and_safetensors() -> None:
    modules = {
        folder: [
            ".".join(("molnb", *dotted(path)))
            for path in MODULES
            if room(path) == folder and path not in NEEDS_GEOMETRIC
        ]
        for folder in TORCH_ONLY
    }
    assert all(modules.values())
    names = sum(modules.values(), [])
    code = f"import importlib\nfor module in {names!r}:\n    importlib.import_module(module)"
    done = run_core_only(code)
    assert done.returncode == 0, done.stderr


def test_graph_networks_need_torch_geometric_besides() -> None:
    assert NEEDS_GEOMETRIC
    modules = [".".join(("molnb", *dotted(path))) for path in NEEDS_GEOMETRIC]
    code = f"import importlib\nfor module in {modules!r}:\n    importlib.import_module(module)"
    done = run_core_only(code, present=("torch-geometric",))
    assert done.returncode == 0, done.stderr


def test_importing_molnb_is_light() -> None:
    heavy = ("torch", "numpy", "rdkit", "plotly", "pandas")
    code = f"import sys, molnb; print([m for m in {heavy} if m in sys.modules])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_say_what_they_are_about(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert path.stem not in {"utils", "helpers", "common", "base", "manager"}
    if len(tree.body) > 1:  # more than a docstring
        text = path.read_text()
        assert "from __future__ import annotations" in text, "annotations are not evaluated"
    assert ast.get_docstring(tree), "say in a sentence what this module is about"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_are_stored_clean(path: Path) -> None:
    notebook = json.loads(path.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code), (
        f"run nbstripout on {path.name}"
    )
    assert "widgets" not in notebook["metadata"]
    tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    if path.parent.name == "notebooks":
        assert len(tagged) == 1, "one cell is tagged parameters"
        assert "size: str" in "".join(tagged[0]["source"])
        sources = ["".join(cell["source"]) for cell in notebook["cells"]]
        assert any("## What we have checked" in source for source in sources)


def test_no_two_files_of_tests_bear_one_name() -> None:
    """Else the second could not be imported beside the first."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py"))
    assert {name for name, count in names.items() if count > 1} == set()


def test_tests_lie_in_folders_of_the_package() -> None:
    folders = {p.relative_to(ROOT / "tests").parent for p in (ROOT / "tests").rglob("test_*.py")}
    assert folders and all((PACKAGE / folder).is_dir() for folder in folders)


def test_ruff_finds_nothing() -> None:
    pytest.importorskip("ruff")
    command = [sys.executable, "-m", "ruff", "check", "--output-format=concise", "."]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout
