"""Lessons and solutions run at their smallest size, and name what there is in the package."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from molnb.notebooks.execution import NOTEBOOKS, list_notebooks, run_notebook
from molnb.notebooks.pages import NotebookResult

nbformat = pytest.importorskip("nbformat")
papermill = pytest.importorskip("papermill")
pytest.importorskip("ipykernel")
from made_mixes import write_member, write_mix
from quick_kernels import quick_kernels


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Lessons run in kernels that have their packages already."""
    with quick_kernels():
        yield


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
def test_papermill_reads_every_parameter(path: Path) -> None:
    """It passes over lines that it cannot parse, as those with a second equals sign."""
    (cell,) = (
        cell
        for cell in nbformat.read(path, 4).cells
        if "parameters" in cell.metadata.get("tags", [])
    )
    assigned = [line.target.id for line in ast.parse(cell.source).body]
    assert list(papermill.inspect_notebook(str(path))) == assigned


@pytest.mark.parametrize("path", list_notebooks(), ids=lambda path: path.stem)
def test_every_lesson_runs_at_size_test(
    path: Path, run_lesson: Callable[[Path], NotebookResult]
) -> None:
    done = run_lesson(path)
    assert done.code == 0, done.error
    assert done.text, "a lesson leaves a headline"
    assert done.path.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    "path", sorted(NOTEBOOKS.glob("solutions/*.ipynb")), ids=lambda path: path.stem
)
def test_every_solution_runs(path: Path, tmp_path: Path, shared_home: Path) -> None:
    done = run_notebook(path, tmp_path / path.name, home=shared_home)
    assert done.code == 0, done.error


OWN_TABLES = {
    "a name in another script": ("溶解度", "溶解度:mg/L", "{number}"),
    "a name that shards have too": ("charge", "charge=assay_charge:e", "{number}"),
    "a column of words": ("Outcome: final", "Outcome: final:binary(no,yes)", "{word}"),
}
LATER = [*OWN_TABLES][1:]


@pytest.mark.parametrize(
    "case",
    ["a name in another script", *(pytest.param(case, marks=pytest.mark.slow) for case in LATER)],
)
def test_the_lesson_on_curation_takes_a_label_of_any_name(
    case: str, tmp_path: Path, shared_home: Path
) -> None:
    column, label, cell = OWN_TABLES[case]
    rows = [f"{'C' * n}O,{cell.format(number=n, word='yes' if n % 2 else 'no')}" for n in (1, 2, 3)]
    file = tmp_path / "mine.csv"
    file.write_text("\n".join([f"SMILES,{column}", *rows, "", "OCC,"]) + "\n", encoding="utf-8")
    parameters = {"file": str(file), "smiles_column": "SMILES", "label": label, "size": "test"}
    path = NOTEBOOKS / "01_curate.ipynb"
    done = run_notebook(path, tmp_path / "01.ipynb", parameters, home=shared_home)
    assert done.code == 0, done.error


@pytest.mark.slow
def test_the_lesson_on_fine_tuning_takes_a_binary_column(tmp_path: Path, shared_home: Path) -> None:
    file = tmp_path / "mine.csv"
    rings = ["c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccoc1", "c1ccsc1", "C1CCNCC1"]
    chains = ["O", "N", "CO", "CN", "CCO", "C(=O)O", "C#N"]
    rows = [
        f"{ring}{c},{'hit' if 'n' in ring.lower() else 'miss'}" for ring in rings for c in chains
    ]
    file.write_text("SMILES,Outcome\n" + "\n".join(rows) + "\n")
    parameters = {"file": str(file), "smiles_column": "SMILES", "size": "test"}
    parameters["label"] = "Outcome=active:binary(hit=1,miss=0)"
    path = NOTEBOOKS / "08_finetune.ipynb"
    done = run_notebook(path, tmp_path / "08.ipynb", parameters, home=shared_home)
    assert done.code == 0, done.error
    assert "LightGBM: AUROC" in done.text


@pytest.mark.slow
def test_the_lesson_on_many_tasks_takes_a_mix_with_a_binary_assay(
    tmp_path: Path, shared_home: Path
) -> None:
    rings = ["c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccoc1", "C1CCNCC1"]
    chains = ["O", "N", "CO", "CN", "CCO", "C(=O)O", "C#N"]
    parts = ["train", "train", "train", "train", "train", "val", "test"]
    rows = [
        (f"{ring}{chain}", part, int("n" in ring.lower()))
        for ring in rings
        for chain, part in zip(chains, parts)
    ]
    task = {"name": "mine", "kind": "binary", "loss": "bce", "labels": ["active"]}
    write_member(tmp_path, "mine", rows, {"active": {}}, tasks=[task])
    blend = write_mix(tmp_path, {"nci": {"recipe": "nci"}, "mine": "mine"})
    parameters = {"size": "test", "recipe": str(blend), "assay": "mine"}
    path = NOTEBOOKS / "07_multitask.ipynb"
    done = run_notebook(path, tmp_path / "07.ipynb", parameters, home=shared_home)
    assert done.code == 0, done.error
    assert "active, AUROC: 95 % intervals" in done.path.read_text(encoding="utf-8")
