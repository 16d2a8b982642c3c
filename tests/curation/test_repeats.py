"""Repeated measurements: one value a molecule by the recipe's policy, and every conflict listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from molnb.curation.pipeline import curate
from molnb.recipes.registry import make_recipe
from molnb.recipes.sources import recipe_for_file
from molnb.shards import Shards

# ethanol four times, ethylamine twice, acetonitrile three times, propane once
ROWS = [
    ("CCO", "1", "a", "0"),
    ("CCN", "", "a", "1"),
    ("OCC", "2", "b", "0"),
    ("C(C)O", "9", "b", "1"),
    ("CC#N", "5", "c", "1"),
    ("CCO", "4", "b", "1"),
    ("NCC", "7", "", ""),
    ("N#CC", "5", "c", "1"),
    ("CC#N", "", "a", "0"),
    ("CCC", "3", "c", "0"),
]


def curate_repeats(folder: Path, repeats: str | None = None, **keys) -> Shards:
    """The rows above: a number, a class of three and a binary label."""
    file = folder / "repeats.csv"
    file.write_text("smiles,y,kind,hit\n" + "".join(",".join(row) + "\n" for row in ROWS))
    labels = ["y:nM", "kind:classes(a,b,c)", "hit:binary"]
    recipe = recipe_for_file(file, labels=labels, repeats=repeats)
    recipe = make_recipe(recipe.model_dump() | keys)
    return curate(recipe, workers=0, home=folder, progress=False)


@pytest.mark.parametrize(
    ("repeats", "y", "kind", "hit"),
    [
        # ethanol: y 1 2 9 4, kind a b b b, hit 0 0 1 1; acetonitrile: y 5 5, kind c c a, hit 1 1 0
        (None, [3.0, 7.0, 5.0, 3.0], [1, 0, 2, 2], [None, 1, 1, 0]),
        ("median", [3.0, 7.0, 5.0, 3.0], [1, 0, 2, 2], [None, 1, 1, 0]),
        ("mean", [4.0, 7.0, 5.0, 3.0], [1, 0, 2, 2], [None, 1, 1, 0]),
        ("first", [1.0, 7.0, 5.0, 3.0], [0, 0, 2, 2], [0, 1, 1, 0]),
        ("drop", [None, 7.0, 5.0, 3.0], [None, 0, None, 2], [None, 1, None, 0]),
    ],
)
def test_the_policy_decides_the_value(
    tmp_path: Path, repeats: str | None, y: list, kind: list, hit: list
) -> None:
    shards = curate_repeats(tmp_path, repeats)
    assert shards.smiles() == ["CCO", "CCN", "CC#N", "CCC"]
    table = shards.table(["y", "kind", "hit"]).to_pydict()
    assert table == {"y": y, "kind": kind, "hit": hit}
    lost = sum(values.count(None) for values in table.values())
    missing = [label["missing"] for label in shards.manifest["labels"].values()]
    assert sum(reasons.get("rows disagree", 0) for reasons in missing) == lost
    duplicates = shards.manifest["counts"]["duplicates"]
    assert duplicates["policy"] == (repeats or "median")
    assert (duplicates["copies"], duplicates["conflicting"]) == (6, 2)
    assert duplicates["known_only_in_a_copy"] == 1  # y of ethylamine


@pytest.mark.parametrize(
    "name",
    [
        "first_row", "values", "rows", "lines", "kept", "label", "Values", "copies", "differs",
        "later", "first", "molecule", "median", "g", "r",
    ],
)  # fmt: skip
def test_a_label_may_be_called_as_anything_that_repeats_are_counted_by(
    tmp_path: Path, name: str
) -> None:
    file = tmp_path / "table.csv"
    file.write_text(f"smiles,{name}\nCCO,1.5\nCCN,\nOCC,2.5\nNCC,8\nCCC,4\n")
    recipe = recipe_for_file(file, labels=[f"{name}:nM"])
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    assert shards.table(["smiles", name]).to_pydict() == {
        "smiles": ["CCO", "CCN", "CCC"],
        name: [2.0, 8.0, 4.0],
    }
    (conflict,) = shards.conflicts().to_pylist()
    assert (conflict["label"], conflict["kept"]) == (name, 2.0)
    assert (conflict["values"], conflict["rows"], conflict["lines"]) == ([1.5, 2.5], [0, 2], [2, 4])
    duplicates = shards.manifest["counts"]["duplicates"]
    assert (duplicates["conflicting"], duplicates["known_only_in_a_copy"]) == (1, 1)


def test_every_conflict_is_listed_with_its_values_and_lines(tmp_path: Path) -> None:
    shards = curate_repeats(tmp_path)
    conflicts = {(row["smiles"], row["label"]): row for row in shards.conflicts().to_pylist()}
    assert set(conflicts) == {
        ("CCO", "y"), ("CCO", "kind"), ("CCO", "hit"), ("CC#N", "kind"), ("CC#N", "hit"),
    }  # fmt: skip
    ethanol = conflicts["CCO", "y"]
    assert ethanol["values"] == [1.0, 2.0, 9.0, 4.0] and ethanol["lines"] == [2, 4, 5, 7]
    assert ethanol["row"] == 0 and ethanol["kept"] == 3.0
    assert conflicts["CCO", "hit"]["kept"] is None
    summary = shards.summary()
    assert "2 molecules stand in several rows whose values differ: the median is kept" in summary
    assert "1 molecules have a value that only a later row knows" in summary


def test_labels_of_a_geometry_are_those_of_the_row_that_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("smiles,energy\nCCO,\nOCC,2\nCCN,3\nNCC,4\n")
    recipe = recipe_for_file(file, labels=["energy:eV"]).model_dump()
    recipe["labels"][0]["geometry"] = "B3LYP"
    shards = curate(make_recipe(recipe), workers=0, home=tmp_path, progress=False)
    assert shards.table(["energy"]).column(0).to_pylist() == [None, 3.0]
    assert shards.manifest["counts"]["duplicates"]["policy"] == "first"
    summary = shards.summary()
    assert "energy: the recipe says geometry 'B3LYP', but the coordinates stored here" in summary
    assert "of the 2 rows that repeat a molecule" in summary


def test_another_policy_makes_other_molecules_and_another_split_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = curate_repeats(tmp_path, "first")
    median = curate_repeats(tmp_path, "median")
    assert first.manifest["molecules_id"] != median.manifest["molecules_id"]
    split = {"splits": {"other": {"kind": "random", "seed": 5}}, "default_split": "other"}
    again = curate_repeats(tmp_path, "median", **split)
    assert again.manifest["adopted_from"] == median.path.name
    assert again.conflicts() == median.conflicts()
    assert again.manifest["notices"][0] == median.manifest["notices"][0]
