"""Labels of curated molecules fit what they belong to, and a missing one has its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molnb.chemistry.xtb import MISSING_REASONS
from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.recipes.registry import make_recipe
from molnb.recipes.sources import recipe_for_file
from molnb.shards import Shards


def test_meaningless_labels_are_missing_with_their_reason(nci: Shards) -> None:
    table = nci.table()
    computed = [label["name"] for task in nci.tasks.values() for label in task["labels"]]
    computed.append("energy")
    for row in table.select([*computed, "missing", "charge", "converged"]).to_pylist():
        for name in computed:
            assert (row[name] is None) == (row["missing"] is not None)
        assert row["missing"] is None or row["missing"] in MISSING_REASONS
        assert row["missing"] is not None or (row["charge"] == 0 and row["converged"])
    for label in nci.manifest["labels"].values():
        assert label["known"] + sum(label["missing"].values()) == nci.n


def test_labels_of_every_level_fit_the_stored_atoms_bonds_and_pairs(nci: Shards) -> None:
    counts = {"molecule": np.ones(nci.n, int), "atom": np.diff(nci.array("atom_offset"))}
    counts["bond"] = np.diff(nci.array("bond_offset"))
    counts["pair"] = nci.array("n_heavy") * (nci.array("n_heavy") - 1) // 2
    for name, task in nci.tasks.items():
        index, offset, values = (
            nci.array(f"{name}.{part}") for part in ("index", "offset", "values")
        )
        np.testing.assert_array_equal(np.diff(offset), counts[task["level"]][index])
        assert values.shape == (offset[-1], len(task["labels"])) and np.isfinite(values).all()
    charges = nci.array("nci_charges.values")
    offset = nci.array("nci_charges.offset")
    totals = [charges[start:end].sum() for start, end in zip(offset, offset[1:])]
    charge = nci.array("charge")[nci.array("nci_charges.index")]
    np.testing.assert_allclose(totals, charge, atol=1e-4)


def test_bond_orders_of_bonds_are_those_of_their_pairs(nci: Shards) -> None:
    for row in nci.table(["bonds", "wiberg", "wiberg_pair", "n_heavy"]).slice(0, 20).to_pylist():
        if row["wiberg"] is None:
            continue
        matrix = np.zeros((row["n_heavy"],) * 2)
        matrix[np.triu_indices(row["n_heavy"], 1)] = row["wiberg_pair"]
        for (i, j), order in zip(np.reshape(row["bonds"], (-1, 2)), row["wiberg"], strict=True):
            assert order > 0.4  # a drawn bond is a bond
            assert j >= row["n_heavy"] or matrix[i, j] == pytest.approx(order)


def test_the_energy_residual_is_fitted_on_training_rows_of_the_default_split(nci: Shards) -> None:
    split = f"split_{nci.manifest['default_split']}"
    table = nci.table(["energy", "energy_residual", "numbers", split])
    energy = np.array(table["energy"].to_pylist(), float)
    residual = np.array(table["energy_residual"].to_pylist(), float)
    fit = nci.manifest["fits"]["energy_residual"]["per_element"]
    train = (table[split].to_numpy() == 0) & ~np.isnan(energy)
    elements = sorted(map(int, fit))
    numbers_of_rows = table["numbers"].to_pylist()
    counts = np.array([[numbers.count(z) for z in elements] for numbers in numbers_of_rows])
    best = np.linalg.lstsq(counts[train], energy[train], rcond=None)[0]
    labelled = ~np.isnan(residual)
    assert labelled.any()
    np.testing.assert_allclose(residual[labelled], (energy - counts @ best)[labelled], atol=1e-5)
    labels = {label["name"] for task in nci.tasks.values() for label in task["labels"]}
    assert "energy" not in labels


def test_round_activities_are_flagged(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("smiles,Act\nCCO,6.00\nCCN,5.0\nCCC,5.01\nCCCC,\n")
    options = {"source": tmp_path / "a.csv", "workers": 0, "home": tmp_path, "progress": False}
    shards = curate("chembl2321810", **options)
    assert shards.table(["probably_censored"]).column(0).to_pylist() == [True, True, False, False]


def test_labels_can_be_left_out(tmp_path):
    bare = curate("nci", n=12, labels=False, workers=0, home=tmp_path, progress=False)
    whole = curate("chembl2321810", n=4, labels=False, workers=0, home=tmp_path, progress=False)
    assert bare.manifest["tasks"] == {} and "homo" not in bare.table().column_names
    assert "pic50" in whole.manifest["tasks"]  # given, not computed


def curate_table(folder: Path, rows: str, labels: list[str], n: int | None = None) -> Shards:
    """A table of the columns smiles, y and z, curated with some labels."""
    (folder / "mine.csv").write_text(f"smiles,y,z\n{rows}")
    recipe = recipe_for_file(folder / "mine.csv", labels=labels)
    return curate(recipe, n=n, workers=0, home=folder, progress=False)


@pytest.mark.parametrize(
    ("rows", "labels", "reason"),
    [
        ("XX,1,\nCCN,,\nCCC,,\n", ["y:nM"], "unreadable structure 1"),
        ("XX,1,0\nYY,0,1\nCCC,,\n", ["y:binary", "z:binary"], "unreadable structure 2"),
        ("CCN,1,\nCCN,0,\nCCC,1,\nCCC,0,\n", ["y:binary"], "same molecule as an earlier row 2"),
        ("CCN,1,\nCCC,5\nCCO,,\nC1CC,1,\n,3,\n", ["z=w:1", "y:1"], ""),
    ],
)
def test_labels_that_only_dropped_rows_have_are_refused_before_conformers(
    tmp_path: Path, rows: str, labels: list[str], reason: str
) -> None:
    if not reason:  # the column itself is empty: refused as it is read
        with pytest.raises(InputError, match="'w' has no value in any of 5 rows"):
            curate_table(tmp_path, rows, labels)
        return
    with pytest.raises(InputError, match="molecules has a value of 'y'") as refused:
        curate_table(tmp_path, rows, labels)
    assert reason in str(refused.value) and "dropped.parquet" in str(refused.value)
    (folder,) = (tmp_path / "data").iterdir()
    assert (folder / "dropped.parquet").is_file() and not list(folder.glob("shards/*"))


def test_one_label_of_several_that_is_lost_is_said(tmp_path: Path) -> None:
    rows = "XX,1,1\nCCN,,0\nCCC,,0\nCCO,,\n"
    shards = curate_table(tmp_path, rows, ["y:nM", "z:binary"])
    assert "label 'y' is known of no molecule: its 1 values stand in rows that" in shards.summary()
    assert "all 2 molecules that have it are of one class (0)" in shards.summary()


def test_what_a_column_lost_is_not_said_of_one_that_lost_nothing(tmp_path: Path) -> None:
    shards = curate_table(tmp_path, "XX,1,1\nCCN,2,0\nCCC,,1\n", ["y:nM", "z:binary"])
    assert "of no molecule" not in shards.summary() and "one class" not in shards.summary()


@pytest.mark.parametrize(
    ("encoding", "n"), [("cp1252", 2), ("gbk", 2), ("shift-jis", 2), ("utf-8", 0), ("utf-16", 0)]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_another_encoding_are_counted_with_the_first(
    tmp_path: Path, encoding: str, n: int, end: str
) -> None:
    names = ["\u00e4", "\u00b5"] if encoding == "cp1252" else ["\u30a2\u30b9", "\u6797"]
    rows = ["smiles,id", "CCO,a", f"CCN,{names[0]}", "CCC,b", f"CCCC,{names[1]}"]
    (tmp_path / "mine.csv").write_bytes(end.join(rows).encode(encoding))
    shards = curate(
        recipe_for_file(tmp_path / "mine.csv"), workers=0, home=tmp_path, progress=False
    )
    notices = [text for text in shards.manifest["notices"] if "UTF-8" in text]
    assert len(notices) == bool(n)
    if n:
        assert notices[0].startswith(f"{n} lines of the file are no UTF-8")
        assert "the first is line 3" in notices[0]


def test_a_wrong_unit_is_refused_with_median_range_and_unit(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("smiles,gap\nCCO,8.1\nCCN,7.4\nCCC,0.3\nCCCC,9.9\n")
    label = {
        "name": "gap", "column": "gap", "quantity": "gap", "unit": "eV", "source_unit": "Hartree",
        "theory": "t", "geometry": "none", "range": [0, 30],
    }  # fmt: skip
    content = recipe_for_file(tmp_path / "mine.csv").model_dump() | {"labels": [label]}
    with pytest.raises(InputError) as refused:
        curate(make_recipe(content), workers=0, home=tmp_path, progress=False)
    message = str(refused.value)
    assert "3 of 4 values of label 'gap' lie outside its range, 0 to 30 in eV" in message
    assert (
        "median is 210.888 eV" in message and "source_unit 'Hartree', is probably wrong" in message
    )
    assert not list((tmp_path / "data").iterdir())
    content["labels"] = [label | {"source_unit": "eV", "range": [0, 9]}]
    shards = curate(make_recipe(content), workers=0, home=tmp_path, progress=False)
    assert shards.table(["gap"]).column(0).to_pylist() == [8.1, 7.4, 0.3, 9.9]
    said = "label 'gap': 1 of 4 values lie outside its range of 0 to 9 eV, and are kept; the first"
    assert f"{said} is 9.9 in line 5" in shards.summary()


def test_a_warning_is_printed_and_faults_are_not(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("smiles,y\nCCO,1\nCCN,2\nCCC,3\n")
    content = recipe_for_file(tmp_path / "mine.csv", labels=["y:nM"]).model_dump()
    content |= {"warning": "Half of it\nis wrong.\n", "faults": ["line 3 is a typing error"]}
    shards = curate(make_recipe(content), workers=0, home=tmp_path, progress=False)
    assert shards.manifest["notices"][0] == "Half of it is wrong."
    assert "note: Half of it is wrong." in shards.summary()
    assert "typing error" not in shards.summary()


def test_a_relation_column_is_carried_into_the_shards(tmp_path: Path) -> None:
    rows = "CCO,10,=\nCCN,20,>\nCCC,<30,\nCCCC,40,?\nCCCCC,,>\n"
    (tmp_path / "mine.csv").write_text("smiles,IC50,rel\n" + rows)
    described = {"labels": ["IC50:uM"], "relations": {"IC50": "rel"}}
    transforms = ["IC50:-log10:uM->M"]
    kept = recipe_for_file(
        tmp_path / "mine.csv", transforms=transforms, qualified={"IC50": "value"}, **described
    )
    shards = curate(kept, workers=0, home=tmp_path, progress=False)
    table = shards.table(["IC50", "IC50 relation"]).to_pydict()
    assert table["IC50 relation"] == [None, "<", ">", None, None]
    assert [None if x is None else round(x, 3) for x in table["IC50"]] == [
        5,
        4.699,
        4.523,
        None,
        None,
    ]
    assert "2 values are bounds or approximate (< 1, > 1)" in shards.summary()
    missing = shards.manifest["molecules"]["missing_in_source"]["IC50"]
    assert missing == {"unknown relation": 1, "empty": 1}
    strict = recipe_for_file(tmp_path / "mine.csv", transforms=transforms, **described)
    shards = curate(strict, workers=0, home=tmp_path, progress=False)
    assert shards.table(["IC50"]).column(0).null_count == 4
    assert "IC50 relation" not in shards.columns
    said = "2 cells are no value, bounded or approximate (<, >, ~); the first is '> 20' in line 3"
    assert said in shards.summary()


def test_a_relation_column_that_the_file_lacks_is_missed(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("smiles,y,sign\nCCO,1,=\n")
    recipe = recipe_for_file(tmp_path / "mine.csv", labels=["y:nM"], relations={"y": "signs"})
    with pytest.raises(InputError, match="no column 'signs' .did you mean 'sign'"):
        curate(recipe, workers=0, home=tmp_path, progress=False)


def test_a_label_named_like_the_relation_of_another_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("smiles,y,y relation\nCCO,1,2\n")
    with pytest.raises(InputError, match="column 'y relation', which is taken"):
        recipe_for_file(
            tmp_path / "mine.csv", labels=["y:nM", "y relation:1"], qualified=["y=value"]
        )
    recipe = recipe_for_file(
        tmp_path / "mine.csv", labels=["y:nM"], qualified=["y=value"], keep=["y relation"]
    )
    assert recipe.text_columns == {"y relation (source)": "y relation"}


def test_columns_called_as_those_of_the_snapshot_do_not_hide_them(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("smiles,structure,problem\nCCO,1,a\nCCN,2,b\n")
    file = tmp_path / "mine.csv"
    with pytest.raises(InputError, match="label_structure"):
        recipe_for_file(file, labels=["structure:1"])
    recipe = recipe_for_file(file, labels=["structure=y:1"], keep=["problem", "structure"])
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    table = shards.table(["y", "problem (source)", "structure (source)"]).to_pydict()
    assert list(table.values()) == [[1.0, 2.0], ["a", "b"], ["1", "2"]]
