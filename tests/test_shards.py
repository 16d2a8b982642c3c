"""Shards on disk: whole or not at all, readable without RDKit, refused when cut short."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from molnb.chemistry.features import molecule_arrays
from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.recipes.sources import recipe_for_file
from molnb.shards import Shards, add_array, load_shards

SMILES = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "C[C@H](N)C(=O)O",
    "C",
    "CCN(CC)CC",
    "c1ccc2ccccc2c1",
    "OCC(O)CO",
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder = tmp_path_factory.mktemp("shards")
    rows = "".join(f"{s},{i or ''},{i * i}\n" for i, s in enumerate(SMILES))
    (folder / "mine.csv").write_text("smiles,a,b\n" + rows)
    recipe = recipe_for_file(folder / "mine.csv", labels={"a": "eV", "b": "D"})
    return curate(recipe, workers=0, home=folder, progress=False)


def test_arrays_hold_what_the_stored_smiles_says_in_its_order(shards: Shards) -> None:
    assert len(shards) == shards.n == len(SMILES) == len(shards.smiles())
    atom_offset = shards.array("atom_offset")
    bond_offset = shards.array("bond_offset")
    for i, smiles in enumerate(shards.smiles()):
        expected = molecule_arrays(smiles)
        atoms = slice(atom_offset[i], atom_offset[i + 1])
        bonds = slice(bond_offset[i], bond_offset[i + 1])
        for name in ("numbers", "atom_feats", "parent"):
            np.testing.assert_array_equal(shards.array(name)[atoms], expected[name])
        for name in ("bonds", "bond_feats"):
            np.testing.assert_array_equal(shards.array(name)[bonds], expected[name])
        assert shards.array("n_heavy")[i] == expected["n_heavy"]
        assert shards.array("n_heavy_bond")[i] == expected["n_heavy_bonds"]
        coords = shards.array("coords")[atoms]
        assert coords.dtype == np.float32 and np.abs(coords.mean(axis=0)).max() < 1e-4
        np.testing.assert_array_equal(coords.ravel(), shards.table(["coords"]).column(0)[i].as_py())


def test_a_task_holds_labelled_molecules_only_and_nan_for_a_label_that_is_unknown(
    shards: Shards,
) -> None:
    np.testing.assert_array_equal(shards.array("mine.index"), np.arange(6))
    np.testing.assert_array_equal(shards.array("mine.offset"), np.arange(7))
    expected = np.array([[i or np.nan, i * i] for i in range(6)], np.float32)
    np.testing.assert_array_equal(shards.array("mine.values"), expected)
    # null in Parquet, NaN only in training arrays
    assert shards.table(["a"]).column(0).null_count == 1
    counts = {
        label["name"]: (label["known"], label["missing"])
        for label in shards.tasks["mine"]["labels"]
    }
    assert counts == {"a": (5, {"not in the source": 1}), "b": (6, {})}


def test_units_stand_in_the_metadata_of_a_column(shards: Shards) -> None:
    metadata = shards.table(["a"]).schema.field("a").metadata
    assert metadata[b"unit"] == b"eV" and metadata[b"geometry"] == b"none"


def test_the_table_has_splits_beside_the_molecules_and_refuses_unknown_columns(
    shards: Shards,
) -> None:
    table = shards.table(["smiles", "split_random", "group"])
    assert table.column_names == ["smiles", "split_random", "group"] and len(table) == 6
    np.testing.assert_array_equal(
        table.column("split_random").to_numpy(), shards.array("split_random")
    )
    with pytest.raises(InputError, match="no column 'smile'; it has: row, line"):
        shards.table(["smile"])
    with pytest.raises(InputError, match="no array 'coord'"):
        shards.array("coord")
    assert "mine.values" in shards.arrays and len(shards.arrays) == len(list(shards.arrays))


def test_shards_are_read_where_rdkit_is_absent(shards: Shards) -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys(["rdkit", "pydantic", "duckdb", "yaml", "loky"]))
from molnb.shards import load_shards
shards = load_shards({str(shards.path)!r})
print(shards.n, shards.array("coords").shape[1], len(shards.table()))
"""
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.split() == ["6", "3", "6"]


@pytest.mark.parametrize("name", ["shards/part-00000.parquet", "arrays/coords.npy"])
def test_a_truncated_file_is_refused_with_its_bytes(
    shards: Shards, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shards.path, copy)
    size = (copy / name).stat().st_size
    os.truncate(copy / name, size // 2)
    message = rf"{name} has {size // 2:,} bytes, its manifest says {size:,}.*curate again"
    with pytest.raises(InputError, match=message):
        load_shards(copy)
    (copy / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        load_shards(copy)


def test_a_folder_without_finished_shards_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no shards"):
        load_shards(tmp_path)
    (tmp_path / "work").mkdir()
    with pytest.raises(InputError, match="unfinished curation; run the same curate again"):
        load_shards(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "molnb-')
    with pytest.raises(InputError, match="manifest.json is damaged"):
        load_shards(tmp_path)


def test_every_molecule_has_one_fragment_and_as_many_coordinates_as_atoms(shards: Shards) -> None:
    table = shards.table()
    assert not any("." in smiles for smiles in shards.smiles())
    lengths = pc.list_value_length(table.column("coords"))
    assert lengths.to_pylist() == [3 * n for n in table.column("n_atoms").to_pylist()]


# ------------------------------------------------------------------------------------ added arrays


@pytest.fixture
def copied(shards: Shards, tmp_path: Path) -> Shards:
    """A copy of the shards, to be changed."""
    shutil.copytree(shards.path, tmp_path / "copied")
    return load_shards(tmp_path / "copied")


def test_an_added_array_is_read_again_and_its_level_known(copied: Shards) -> None:
    added = add_array(copied, "weight", "molecule", np.arange(6.0))
    for shards in (added, load_shards(copied.path)):
        assert shards.array("weight").tolist() == [0, 1, 2, 3, 4, 5]
        assert shards.array_level("weight") == "molecule"
        assert shards.array_names.count("weight") == 1
    with pytest.raises(InputError, match="'coords' was not added to these shards.*were weight"):
        added.array_level("coords")


def test_an_added_array_is_replaced_as_often_as_one_likes(copied: Shards) -> None:
    """By one of another size, type and level; what was read before still has its numbers."""
    first = add_array(copied, "extra", "molecule", np.arange(6, dtype=np.int8))
    before = first.array("extra")
    n_atom = int(copied.array("atom_offset")[-1])
    second = add_array(first, "extra", "atom", np.ones((n_atom, 2)))
    n_bond = int(copied.array("bond_offset")[-1])
    third = add_array(second, "extra", "bond", np.arange(n_bond))
    assert before.tolist() == [0, 1, 2, 3, 4, 5]
    for shards in (third, load_shards(copied.path)):
        assert shards.array("extra").tolist() == list(range(n_bond))
        assert shards.array_level("extra") == "bond"
        assert shards.array_names.count("extra") == 1
        np.testing.assert_array_equal(shards.array("coords"), copied.array("coords"))


@pytest.mark.parametrize(
    ("name", "level", "values", "message"),
    [
        ("short", "atom", np.zeros(3), r"an array of atoms of .* has [\d]+ rows of numbers"),
        ("single", "molecule", np.array(1.0), "an array of molecules"),
        ("words", "molecule", np.array(["a"] * 6), "type <U1"),
        ("coords", "molecule", np.zeros(6), "has an array 'coords' of its own"),
        ("pairs", "pair", np.zeros(6), "unknown level 'pair': choose one of molecule, atom, bond"),
    ],
)
def test_an_array_that_does_not_fit_is_refused_and_changes_nothing(
    copied: Shards, name: str, level: str, values: np.ndarray, message: str
) -> None:
    manifest = (copied.path / "manifest.json").read_bytes()
    with pytest.raises(InputError, match=message):
        add_array(copied, name, level, values)
    assert (copied.path / "manifest.json").read_bytes() == manifest
    assert load_shards(copied.path).array_names == copied.array_names
