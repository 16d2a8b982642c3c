"""Shards on disk: whole or not at all, readable without RDKit, refused when cut short."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from molnb.chemistry.features import molecule_arrays
from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.files import write_json, write_table, writing_array
from molnb.recipes.sources import recipe_for_file
from molnb.shards import Shards, load_shards

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
    atoms, bonds = shards.array("atom_offset"), shards.array("bond_offset")
    for i, smiles in enumerate(shards.smiles()):
        expected = molecule_arrays(smiles)
        a, b = slice(atoms[i], atoms[i + 1]), slice(bonds[i], bonds[i + 1])
        for name, part in (
            ("numbers", a),
            ("atom_feats", a),
            ("parent", a),
            ("bonds", b),
            ("bond_feats", b),
        ):
            np.testing.assert_array_equal(shards.array(name)[part], expected[name])
        assert shards.array("n_heavy")[i] == expected["n_heavy"]
        assert shards.array("n_heavy_bond")[i] == expected["n_heavy_bonds"]
        coords = shards.array("coords")[a]
        assert coords.dtype == np.float32 and np.abs(coords.mean(axis=0)).max() < 1e-4
        np.testing.assert_array_equal(coords.ravel(), shards.table(["coords"]).column(0)[i].as_py())


def test_a_task_holds_labelled_molecules_only_and_nan_for_a_label_that_is_unknown(
    shards: Shards,
) -> None:
    np.testing.assert_array_equal(shards.array("mine.index"), np.arange(6))
    np.testing.assert_array_equal(shards.array("mine.offset"), np.arange(7))
    expected = np.array([[i or np.nan, i * i] for i in range(6)], np.float32)
    np.testing.assert_array_equal(shards.array("mine.values"), expected)
    assert (
        shards.table(["a"]).column(0).null_count == 1
    )  # null in Parquet, NaN only in training arrays
    known = {
        label["name"]: (label["known"], label["missing"])
        for label in shards.tasks["mine"]["labels"]
    }
    assert known == {"a": (5, {"not in the source": 1}), "b": (6, {})}


def test_units_stand_in_the_metadata_of_a_column(shards: Shards) -> None:
    about = shards.table(["a"]).schema.field("a").metadata
    assert about[b"unit"] == b"eV" and about[b"geometry"] == b"none"


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
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['rdkit', 'pydantic', 'duckdb', 'yaml', 'loky']))\n"
        "from molnb.shards import load_shards\n"
        f"s = load_shards({str(shards.path)!r}); print(s.n, s.array('coords').shape[1], len(s.table()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["6", "3", "6"]


@pytest.mark.parametrize("name", ["shards/part-00000.parquet", "arrays/coords.npy"])
def test_a_truncated_file_is_refused_with_its_bytes(
    shards: Shards, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(shards.path), str(copy)], check=True)
    size = (copy / name).stat().st_size
    os.truncate(copy / name, size // 2)
    with pytest.raises(
        InputError,
        match=rf"{name} has {size // 2:,} bytes, its manifest says {size:,}.*curate again",
    ):
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


def full_disk(*_) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("what", ["json", "table", "array"])
def test_a_full_disk_is_refused_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(
        InputError, match=f"The disk is full: could not write {tmp_path}/x.*MOLNB_HOME"
    ):
        if what == "json":
            write_json({}, tmp_path / "x")
        elif what == "table":
            write_table(pa.table({"a": [1]}), tmp_path / "x")
        else:
            with writing_array(tmp_path / "x", np.int64, (1,)) as append:
                append(np.zeros(1, np.int64))
    assert not list(tmp_path.iterdir())


def test_every_molecule_has_one_fragment_and_as_many_coordinates_as_atoms(shards: Shards) -> None:
    table = shards.table()
    assert not any("." in smiles for smiles in shards.smiles())
    lengths = pc.list_value_length(table.column("coords"))
    assert lengths.to_pylist() == [3 * n for n in table.column("n_atoms").to_pylist()]
