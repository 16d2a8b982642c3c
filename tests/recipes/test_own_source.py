"""A recipe runs on a file of the user's, whatever its name and format."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molnb.errors import InputError
from molnb.recipes.chosen_columns import with_chosen_columns
from molnb.recipes.own_source import is_archive, own_source_keys, told_format
from molnb.recipes.registry import make_recipe
from molnb.recipes.schema import Recipe
from molnb.recipes.snapshot import write_snapshot
from molnb.recipes.source_schema import Source
from molnb.recipes.sources import find_source, with_source

SMILES = ["CCO", "c1ccccc1O", "CC(=O)N"]
VALUES = [1.0, None, 3.0]


def make_remote_recipe(changes: dict[str, Any] | None = None, **source: Any) -> Recipe:
    """A recipe whose own file nobody can fetch."""
    label = {
        "name": "y", "column": "y", "quantity": "y", "unit": "1", "theory": "assay",
        "geometry": "none", "level": "molecule",
    }  # fmt: skip
    content = {
        "name": "remote",
        "title": "a table elsewhere",
        "licence": "not stated",
        "citation": "nobody",
        "source": {"kind": "url", "url": "https://example.org/data.csv.gz", **source},
        "columns": {"smiles": "smiles"},
        "labels": [label],
    }
    return make_recipe(content | (changes or {}))


def text(delimiter: str = ",", header: str = "smiles,y") -> str:
    rows = [f"{s},{'' if y is None else y}" for s, y in zip(SMILES, VALUES, strict=True)]
    return "\n".join([*([header] if header else []), *rows, ""]).replace(",", delimiter)


def write_file(path: Path) -> Path:
    """A file in the format that the first part of its name says."""
    kind = path.name.partition("_")[0]
    if kind == "parquet":
        pq.write_table(pa.table({"smiles": SMILES, "y": pa.array(VALUES)}), path)
    elif kind == "sdf":
        from rdkit import Chem

        with Chem.SDWriter(str(path)) as writer:
            for smiles, value in zip(SMILES, VALUES, strict=True):
                mol = Chem.MolFromSmiles(smiles)
                if value is not None:
                    mol.SetProp("y", str(value))
                writer.write(mol)
    else:
        content = text("\t" if kind == "tsv" else ",").encode()
        path.write_bytes(gzip.compress(content) if kind == "gz" else content)
    return path


def values(recipe: Recipe, home: Path) -> list[float | None]:
    located = find_source(recipe, home)
    chosen = with_chosen_columns(recipe, located)
    write_snapshot(chosen, located, home / "rows.parquet")
    return pq.read_table(home / "rows.parquet")["y"].to_pylist()


@pytest.mark.parametrize(
    "name",
    [
        "csv_mine.csv",
        "gz_mine.csv.gz",
        "gz_mine",  # by content
        "csv_mine.txt",
        "csv_mine.download",
        "tsv_mine.tsv",
        "tsv_mine.dat",  # a table; the delimiter is told by the first line
        "parquet_mine.parquet",
        "parquet_mine.csv",  # the content, whatever the ending
        "parquet_mine",
        "sdf_mine.sdf",
        "sdf_mine.bin",
    ],
)
def test_a_file_of_any_name_is_read_in_its_own_format(tmp_path: Path, name: str) -> None:
    path = write_file(tmp_path / name)
    recipe = with_source(make_remote_recipe(), path)
    assert recipe.source.sha256 is None and recipe.source.rows is None
    assert values(recipe, tmp_path) == VALUES


@pytest.mark.parametrize(
    ("declared", "name", "expected"),
    [
        ("smi", "data.txt", "smi"),  # the recipe's own ending: its word counts
        ("smi", "other.csv", "csv"),  # another ending: that counts
        ("lmdb", "renamed", "lmdb"),  # bytes that say nothing: as the recipe's
        ("hdf5", "table", "csv"),  # text is none of it
    ],
)
def test_what_a_recipe_declares_counts_where_ending_and_content_leave_it_open(
    tmp_path: Path, declared: str, name: str, expected: str
) -> None:
    content = b"\0\1\2" if declared == "lmdb" else b"CCO a\nCCN b\n"
    (tmp_path / name).write_bytes(content)
    source = Source(kind="url", url="https://example.org/data.txt", format=declared)
    assert told_format(tmp_path / name, source) == expected


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (b"\x89HDF\r\n\x1a\n....", "mine", "hdf5"),
        (b"\x89HDF\r\n\x1a\n....", "mine.csv", "hdf5"),
        (b"MATLAB 5.0 MAT-file, Platform", "mine.dat", "mat"),
        (b"\0" * 16 + b"\xde\xc0\xef\xbe", "mine.db", "lmdb"),
    ],
)
def test_formats_of_bytes_are_told_by_how_they_begin(
    tmp_path: Path, content: bytes, name: str, expected: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert told_format(tmp_path / name, make_remote_recipe().source) == expected


def test_a_table_without_header_is_read_as_the_recipe_says_unless_it_has_one(
    tmp_path: Path,
) -> None:
    recipe = make_remote_recipe(header=["smiles", "y"], delimiter="|")
    (tmp_path / "bare.csv").write_text(text("|", header=""))
    assert values(with_source(recipe, tmp_path / "bare.csv"), tmp_path) == VALUES
    (tmp_path / "named.csv").write_text(text(","))
    assert values(with_source(recipe, tmp_path / "named.csv"), tmp_path) == VALUES
    (tmp_path / "piped.csv").write_text(text("|"))
    assert values(with_source(recipe, tmp_path / "piped.csv"), tmp_path) == VALUES


def test_a_delimiter_of_the_recipe_s_that_does_not_fit_is_left_out(tmp_path: Path) -> None:
    recipe = make_remote_recipe(delimiter=";")
    for delimiter in ";,":
        (tmp_path / "mine.csv").write_text(text(delimiter))
        replaced = with_source(recipe, tmp_path / "mine.csv")
        assert replaced.source.delimiter == (";" if delimiter == ";" else None)
        assert values(replaced, tmp_path) == VALUES


def test_an_archive_keeps_what_the_recipe_says_of_its_member(tmp_path: Path) -> None:
    recipe = make_remote_recipe(
        url="https://example.org/data.zip", member="in/data.csv", format="csv"
    )
    with zipfile.ZipFile(tmp_path / "mine", "w") as archive:
        archive.writestr("in/data.csv", text())
    assert is_archive(tmp_path / "mine")
    keys = own_source_keys(recipe, tmp_path / "mine")
    assert (keys["member"], keys["format"]) == ("in/data.csv", "csv")
    join = {"member": "in/values.csv", "key": "key", "column": "key"}
    joined = make_remote_recipe(url="https://example.org/data.zip", member="in/*.csv", join=join)
    assert own_source_keys(joined, tmp_path / "mine")["join"]["member"] == "in/values.csv"
    (tmp_path / "data.csv").write_text(text())
    keys = own_source_keys(recipe, tmp_path / "data.csv")
    assert "member" not in keys, "what was unpacked by hand is no archive"
    assert values(with_source(recipe, tmp_path / "data.csv"), tmp_path) == VALUES


def test_the_column_of_structures_may_bear_another_name_and_labels_may_not(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text(header="canonical_smiles,y"))
    assert with_source(make_remote_recipe(), path).columns.smiles == "canonical_smiles"
    path.write_text(text(header="smiles,yy"))
    with pytest.raises(InputError, match=r"no column 'y' for label 'y' \(did you mean 'yy'\?\)"):
        values(with_source(make_remote_recipe(), path), tmp_path)


def test_files_beside_the_recipe_are_still_looked_for_there(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text())
    recipe = make_remote_recipe()
    recipe._folder = tmp_path / "recipes"
    assert with_source(recipe, path).folder == tmp_path / "recipes"
