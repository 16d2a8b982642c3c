"""Of the columns that a recipe names, those that its file has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from molnb.errors import InputError
from molnb.recipes.chosen_columns import with_chosen_columns
from molnb.recipes.registry import make_recipe
from molnb.recipes.schema import Recipe
from molnb.recipes.sources import find_source

MEANING = {"quantity": "q", "unit": "eV", "theory": "DFT", "geometry": "optimised"}
ENERGY = {"name": "energy", "column": ["Etot_eV", "E_eV"]}
DISPERSION = {"name": "dispersion", "column": "Etot_eV", "minus": "E_SCF_eV"}


def chosen(folder: Path, header: str, *labels: dict[str, Any]) -> Recipe:
    (folder / "mine.csv").write_text(f"{header}\nC{',1' * header.count(',')}\n")
    content = {
        "name": "mine",
        "title": "a table",
        "licence": "none",
        "citation": "nobody",
        "source": {"kind": "file", "file": str(folder / "mine.csv")},
        "columns": {"smiles": "smiles"},
        "labels": [MEANING | label for label in labels],
        "tasks": [{"name": f"of_{n}", "labels": [label["name"]]} for n, label in enumerate(labels)],
    }
    recipe = make_recipe(content)
    return with_chosen_columns(recipe, find_source(recipe, folder))


@pytest.mark.parametrize("name", ["Etot_eV", "E_eV"])
def test_the_first_name_that_the_file_has_counts(tmp_path: Path, name: str) -> None:
    assert chosen(tmp_path, f"smiles,{name}", ENERGY).labels[0].column == name
    assert chosen(tmp_path, "smiles,E_eV,Etot_eV", ENERGY).labels[0].column == "Etot_eV"


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("smiles,E", "no column 'Etot_eV' for label 'dispersion'"),
        ("smiles,Etot_eV", "no column 'E_SCF_eV' for label 'dispersion'"),
        ("smiles,E_SCF_eV", "no column 'Etot_eV' for label 'dispersion'"),
    ],
)
def test_a_difference_needs_both_of_its_columns(tmp_path: Path, header: str, missing: str) -> None:
    with pytest.raises(InputError, match=missing):
        chosen(tmp_path, header, DISPERSION)
    recipe = chosen(tmp_path, f"{header},E_eV", ENERGY, DISPERSION | {"optional": True})
    assert [label.name for label in recipe.labels] == ["energy"]
    assert [task.name for task in recipe.tasks] == ["of_0"]
    assert "left out: label dispersion, of which the file has no column" in recipe.warning
    both = chosen(tmp_path, "smiles,Etot_eV,E_SCF_eV", DISPERSION | {"optional": True})
    assert both.labels[0].minus == "E_SCF_eV" and both.warning is None


def test_a_star_makes_a_label_of_every_column_that_fits(tmp_path: Path) -> None:
    star = {"name": "assay_*", "column": "assay-*"}
    recipe = chosen(tmp_path, "smiles,assay-7,other,assay-12", star)
    assert {label.name: label.column for label in recipe.labels} == {
        "assay_7": "assay-7",
        "assay_12": "assay-12",
    }
    assert recipe.tasks[0].labels == ["assay_7", "assay_12"]
