"""Notebooks made up for tests, and what they printed."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")

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
    new_code_cell = nbformat.v4.new_code_cell
    new_text_cell = nbformat.v4.new_markdown_cell
    notebook_cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    for cell in cells:
        source, *tags = (cell,) if isinstance(cell, str) else cell
        make_cell = new_text_cell if source.startswith("# ") else new_code_cell
        notebook_cells.append(make_cell(source, metadata={"tags": tags}))
    # the kernel of another machine, which is never the one to run in
    kernel = {"name": "somebody-elses", "display_name": "x", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=notebook_cells, metadata={"kernelspec": kernel})
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def texts(path: Path) -> str:
    """Everything the cells of an executed notebook printed."""
    notebook = nbformat.read(path, 4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)
