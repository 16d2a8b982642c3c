"""Curated molecules are written as SDF, CSV and LMDB, and come back as they were."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from made_data import make_dataset
from rdkit import Chem

from molnb.cli import main
from molnb.curation.exporting import exports
from molnb.curation.exporting.exported_molecules import exported_rows
from molnb.curation.exporting.exports import export_shards
from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.recipes.readers import column_names, read_records
from molnb.recipes.source_schema import Source
from molnb.recipes.sources import recipe_for_file, with_source
from molnb.shards import Shards

SMILES = """CCO C[C@H](N)C(=O)O F/C=C/F c1ccccc1O C[N+](=O)[O-] OC[C@@H](O)C=O CCN CCCl
C1CC1 CC(=O)N Cc1ccncc1 C#N""".split()
VALUES = [float(k) if k % 4 else None for k in range(len(SMILES))]
PACKED = ["out.sdf", "out.sdf.gz"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    task = {"name": "gaps", "labels": ["gap", "bare"], "level": "molecule", "kind": "regression"}
    return make_dataset(
        tmp_path_factory.mktemp("exported"),
        "mine",
        SMILES,
        {"gap": VALUES, "bare": [0.1 * k for k in range(len(SMILES))]},
        [task | {"loss": "mae"}],
        units={"gap": "eV"},
    )


def rows_of(path: Path) -> list:
    return list(read_records(Source(kind="file", file=str(path)), path))


@pytest.mark.parametrize("name", PACKED)
def test_an_sdf_holds_structure_geometry_and_labels(
    shards: Shards, tmp_path: Path, name: str
) -> None:
    (path,) = export_shards(shards, tmp_path / name)
    read = rows_of(path)
    expected = shards.table().to_pylist()
    assert len(read) == len(expected) == len(SMILES)
    for record, row in zip(read, expected):
        mol = Chem.MolFromMolBlock(record.molblock, removeHs=False)
        assert [atom.GetAtomicNum() for atom in mol.GetAtoms()] == row["numbers"]
        coords = np.array(row["coords"]).reshape(-1, 3)
        assert abs(mol.GetConformer().GetPositions() - coords).max() < 1e-4, "Å"
        assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == row["smiles"], "stereo included"
        assert record.fields["smiles"] == row["smiles"]
        label = record.fields.get("gap (eV)")
        assert (None if label is None else float(label)) == row["gap"]
        assert float(record.fields["bare"]) == row["bare"]
        assert record.fields["split_random"] in ("train", "val", "test")


def test_several_conformers_are_several_records(
    shards: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubled = [row._replace(coords=np.stack([row.coords[0]] * 2)) for row in exported_rows(shards)]
    for row in doubled:
        row.coords[1] *= -1  # another geometry
    monkeypatch.setattr(exports, "exported_rows", lambda _: iter(doubled))
    (path,) = export_shards(shards, tmp_path / "two.sdf")
    read = rows_of(path)
    assert len(read) == 2 * len(SMILES)
    assert [record.fields["conformer"] for record in read[:4]] == ["0", "1", "0", "1"]
    (path,) = export_shards(shards, tmp_path / "two.lmdb")
    assert all(len(record.fields["coordinates"]) == 2 for record in rows_of(path))


def test_a_csv_has_the_unit_in_its_header_and_empty_cells(shards: Shards, tmp_path: Path) -> None:
    (path,) = export_shards(shards, tmp_path / "out.csv")
    with path.open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == ["smiles", "id", "split_random", "gap (eV)", "bare"]
    for row, stored in zip(read, shards.table().to_pylist(), strict=True):
        assert row["smiles"] == stored["smiles"]
        assert row["gap (eV)"] == ("" if stored["gap"] is None else repr(stored["gap"]))
        assert row["split_random"] == ("train", "val", "test")[stored["split_random"]]


def test_an_lmdb_read_again_holds_what_was_written(shards: Shards, tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    (path,) = export_shards(shards, tmp_path / "out.lmdb")
    assert [p.name for p in tmp_path.iterdir()] == ["out.lmdb"]
    table = Chem.GetPeriodicTable()
    for record, row in zip(rows_of(path), shards.table().to_pylist(), strict=True):
        assert record.fields["smi"] == row["smiles"]
        symbols = [table.GetElementSymbol(number) for number in row["numbers"]]
        assert record.fields["atoms"] == symbols and "H" in symbols
        (coords,) = record.fields["coordinates"]
        assert coords.dtype == np.float32
        assert np.array_equal(coords.ravel(), np.array(row["coords"], np.float32))
        gap, bare = record.fields["target"]
        assert math.isnan(gap) if row["gap"] is None else gap == row["gap"]
        assert bare == row["bare"]


def test_molecules_of_an_lmdb_are_curated_to_the_same(shards: Shards, tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    (path,) = export_shards(shards, tmp_path / "out.lmdb")
    names = column_names(Source(kind="file", file=str(path)), path)
    assert names[:4] == ["smi", "atoms", "coordinates", "target"]
    recipe = recipe_for_file(path, smiles="smi", labels={"target[1]": "eV"})
    again = curate(recipe, home=tmp_path, workers=1, progress=False)
    assert again.smiles() == shards.smiles()
    labels = again.table(["target[1]"]).column(0).to_pylist()
    assert labels == shards.table(["bare"]).column(0).to_pylist()
    assert with_source(recipe, {"file": str(path), "format": "lmdb"}).columns.smiles == "smi"


def test_a_split_gives_three_files(shards: Shards, tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    files = export_shards(shards, tmp_path / "task", split="random")
    assert [file.name for file in files] == ["train.lmdb", "valid.lmdb", "test.lmdb"]
    stored = shards.table(["smiles", "split_random"]).to_pylist()
    for part, file in enumerate(files):
        expected = [row["smiles"] for row in stored if row["split_random"] == part]
        assert [record.fields["smi"] for record in rows_of(file)] == expected and expected
    with pytest.raises(InputError, match="no split 'scaffol'.*it has: random"):
        export_shards(shards, tmp_path / "other", split="scaffol")
    with pytest.raises(InputError, match="train.lmdb is there"):
        export_shards(shards, tmp_path / "task", split="random")


def test_a_file_that_is_there_stays_unless_forced(shards: Shards, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("a year of work")
    with pytest.raises(InputError, match="out.csv is there"):
        export_shards(shards, path)
    assert path.read_text() == "a year of work"
    export_shards(shards, path, force=True)
    assert path.read_text().startswith("smiles,id")
    with pytest.raises(InputError, match="one of .*.sdf"):
        export_shards(shards, tmp_path / "out.xyz")


def test_a_large_lmdb_grows(
    shards: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lmdb")
    monkeypatch.setattr("molnb.curation.exporting.exported_lmdb._FIRST_MAP_BYTES", 1 << 16)
    rows = list(exported_rows(shards)) * 300
    monkeypatch.setattr(exports, "exported_rows", lambda _: iter(rows))
    (path,) = export_shards(shards, tmp_path / "large.lmdb")
    assert len(rows_of(path)) == 300 * len(SMILES) and path.stat().st_size > 1 << 20


def test_molecules_are_exported_from_the_command_line(
    shards: Shards, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = str(tmp_path / "out.csv")
    assert main(["export", str(shards.path), out]) == 0
    assert "out.csv (0.0 MB)" in capsys.readouterr().out
    for arguments, message in (
        ([str(shards.path), out], "is there"),
        ([str(shards.path)], "name the file they go to"),
        ([str(shards.path), out, "--single"], "curated molecules are no page"),
        ([str(shards.path), out, "--out", out], "are written to FILE"),
        (["nowhere", out], "no curated dataset at 'nowhere'"),
    ):
        assert main(["export", *arguments]) == 2
        assert message in capsys.readouterr().err
    pytest.importorskip("lmdb")
    assert main(["export", str(shards.path), str(tmp_path / "x"), "--split", "random"]) == 0
    assert "target: gap (eV), bare" in capsys.readouterr().out
