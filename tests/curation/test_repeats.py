"""Repeated measurements: one value a molecule by the recipe's policy, and every conflict listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molnb.curation.database import connect
from molnb.curation.pipeline import curate
from molnb.curation.repeats import combine_labels, count_repeats, write_conflicts
from molnb.errors import InputError
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


@pytest.mark.parametrize(
    ("repeats", "spread", "y"),
    [
        ("median", 7.9, [None, 7.0, 5.0, 3.0]),  # ethanol: 1 2 9 4, eight apart
        ("median", 8.0, [3.0, 7.0, 5.0, 3.0]),
        ("mean", 0.5, [None, 7.0, 5.0, 3.0]),
        ("first", 7.9, [None, 7.0, 5.0, 3.0]),
        ("first", 8.0, [1.0, 7.0, 5.0, 3.0]),
    ],
)
def test_measurements_too_far_apart_give_no_value_whatever_the_policy(
    tmp_path: Path, repeats: str, spread: float, y: list
) -> None:
    shards = curate_repeats(tmp_path, repeats, max_spread={"y": spread})
    assert shards.table(["y"]).column(0).to_pylist() == y
    conflicts = [row for row in shards.conflicts().to_pylist() if row["label"] == "y"]
    assert [(row["values"], row["kept"]) for row in conflicts] == [([1.0, 2.0, 9.0, 4.0], y[0])]
    lost = y[0] is None
    assert shards.manifest["counts"]["duplicates"]["too_far_apart"] == ({"y": 1} if lost else {})
    said = f"label 'y': 1 molecules have no value, because theirs lie further apart than {spread:g}"
    assert (said in shards.summary()) == lost
    missing = shards.manifest["labels"]["y"]["missing"]
    assert missing == ({"rows disagree": 1} if lost else {})


@pytest.mark.parametrize("max_spread", [{"kind": 1.0}, {"z": 1.0}, {"y": -1.0}])
def test_a_spread_of_what_is_no_number_is_refused(tmp_path: Path, max_spread: dict) -> None:
    with pytest.raises(InputError, match="max_spread of"):
        curate_repeats(tmp_path, max_spread=max_spread)


@pytest.mark.parametrize(
    ("repeats", "values", "relations"),
    [
        ("median", [7.5, 50.0, 3.0, 5.0], ["~", ">", None, "<"]),
        ("first", [5.0, 40.0, 3.0, 5.0], [None, ">", None, "<"]),
        ("drop", [None, None, 3.0, 5.0], [None, None, None, "<"]),
    ],
)
def test_the_relation_of_a_repeated_molecule_is_that_of_its_rows_or_approximate(
    tmp_path: Path, repeats: str, values: list, relations: list
) -> None:
    rows = "CCO,5\nOCC,>10\nCCN,>40\nNCC,>60\nCCC,3\nCCC,3\nCCCC,<5\nCCCC,\n"
    (tmp_path / "mine.csv").write_text("smiles,y\n" + rows)
    recipe = recipe_for_file(
        tmp_path / "mine.csv", labels=["y:nM"], qualified=["y=value"], repeats=repeats
    )
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    table = shards.table(["y", "y relation"]).to_pydict()
    assert table == {"y": values, "y relation": relations}


def test_more_than_a_thousand_labels_are_combined_in_one_pass(tmp_path: Path) -> None:
    """Agreement with a plain calculation, on sparse labels of every kind."""
    n_label = 1_328
    random = np.random.default_rng(0)
    molecule = np.repeat(np.arange(40), 5)
    values = np.where(
        random.random((200, n_label)) < 0.1, random.integers(0, 2, (200, n_label)), -1
    )
    names = [f"task-{k}" for k in range(n_label)]
    con = connect(tmp_path)
    columns = {name: pa.array(v, pa.float64(), mask=v < 0) for name, v in zip(names, values.T)}
    source = pa.table({"row": np.arange(200), "line": np.arange(2, 202)} | columns)
    read = pa.table({"row": np.arange(200), "molecule": molecule, "smiles": molecule.astype(str)})
    con.register("source", source)
    con.register("read", read)
    con.execute(
        "CREATE TABLE first AS SELECT molecule, min(row) AS first, count(*) AS copies "
        "FROM read GROUP BY molecule"
    )
    recipe = make_recipe(
        {
            "name": "wide", "title": "t", "licence": "n", "citation": "n",
            "source": {"kind": "file", "file": "x.csv"},
            "labels": [
                {"name": n, "column": n, "quantity": n, "unit": "1", "theory": "t",
                 "geometry": "none"}
                for n in names
            ],
            "tasks": [{"name": "t", "labels": names, "kind": "binary", "loss": "bce"}],
        }
    )  # fmt: skip
    combine_labels(con, recipe)
    write_conflicts(con, recipe, tmp_path / "conflicts.parquet")
    combined = {row["row"]: row for row in con.sql("FROM combined").to_arrow_table().to_pylist()}
    expected = {}
    for of_molecule in range(40):
        block = values[molecule == of_molecule]
        n_zero, n_one = (block == 0).sum(0), (block == 1).sum(0)
        for name, zero, one in zip(names, n_zero.tolist(), n_one.tolist()):
            kept = None if zero == one else float(one > zero)
            assert combined[5 * of_molecule][name] == kept
            if zero and one:
                expected[5 * of_molecule, name] = kept
    listed = pq.read_table(tmp_path / "conflicts.parquet").to_pylist()
    assert {(row["row"], row["label"]): row["kept"] for row in listed} == expected
    assert all(len(row["values"]) == len(row["lines"]) == len(row["rows"]) for row in listed)
    assert count_repeats(con, recipe)["conflicting"] == len({row for row, _ in expected})
