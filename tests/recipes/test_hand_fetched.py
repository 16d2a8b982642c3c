"""Without a network a recipe runs from files fetched by hand, held to the same promises."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.recipes.fetched.fetching import fetch
from molnb.recipes.fetched.hand_fetched import name_at_end
from molnb.recipes.registry import make_recipe
from molnb.recipes.schema import Recipe
from molnb.recipes.sources import find_source

TABLE = b"smiles,key\nCCO,1\nCCN,2\nCCC,3\n"
VALUES = b"key,y\n1,0.5\n2,1.5\n3,2.5\n"
NOWHERE = "http://127.0.0.1:9"  # nothing listens there


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that MOLNB_SOURCES names."""
    folder = tmp_path / "sources"
    folder.mkdir()
    monkeypatch.setenv("MOLNB_SOURCES", str(folder))
    monkeypatch.setattr("molnb.recipes.fetched.addresses.time.sleep", lambda _: None)
    return folder


def make_remote_recipe(changes: dict[str, Any] | None = None, **source: Any) -> Recipe:
    label = {
        "name": "y", "column": "y", "quantity": "y", "unit": "1", "theory": "assay",
        "geometry": "none", "level": "molecule",
    }  # fmt: skip
    content = {
        "name": "remote",
        "title": "a table elsewhere",
        "licence": "not stated",
        "citation": "nobody",
        "source": {
            "kind": "url",
            "url": f"{NOWHERE}/a%20table.csv?download=1",
            "join": {"file": f"{NOWHERE}/values.csv", "key": "key", "column": "key"},
            **source,
        },
        "labels": [label],
    }
    return make_recipe(content | (changes or {}))


def test_files_in_the_folder_are_taken_with_the_joined_table(sources: Path, tmp_path: Path) -> None:
    (sources / "a table.csv").write_bytes(TABLE)
    (sources / "remote").mkdir()
    (sources / "remote" / "values.csv").write_bytes(VALUES)
    shards = curate(make_remote_recipe(), workers=0, home=tmp_path, progress=False)
    assert shards.n == 3 and shards.manifest["labels"]["y"]["known"] == 3
    origins = [file.origin for file in fetch(make_remote_recipe(), tmp_path)]
    assert origins == ["fetched by hand", "fetched by hand"]


def test_a_folder_named_like_the_recipe_comes_first_and_the_folders_in_their_order(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path / "second"
    (second / "remote").mkdir(parents=True)
    monkeypatch.setenv("MOLNB_SOURCES", f"{sources}:{second}")
    recipe = make_remote_recipe(join=None, changes={"labels": []})
    expected = second / "remote" / "a table.csv"
    expected.write_bytes(TABLE)
    assert find_source(recipe, tmp_path).source.file == str(expected)
    (sources / "a table.csv").write_bytes(TABLE)
    assert find_source(recipe, tmp_path).source.file == str(sources / "a table.csv")
    (sources / "remote").mkdir()
    (sources / "remote" / "a table.csv").write_bytes(TABLE)
    assert find_source(recipe, tmp_path).source.file == str(sources / "remote" / "a table.csv")


def test_a_file_may_bear_the_name_that_a_mirror_gives_it(sources: Path, tmp_path: Path) -> None:
    (sources / "mirrored.csv").write_bytes(TABLE)
    mirrors = [f"{NOWHERE}/x/mirrored.csv"]
    recipe = make_remote_recipe(join=None, mirrors=mirrors, changes={"labels": []})
    assert find_source(recipe, tmp_path).source.file == str(sources / "mirrored.csv")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://example.org/a/b%20c.csv.gz?download=1", "b c.csv.gz"),
        ("https://example.org/s/download?path=%2F&files=d.tar.gz", "d.tar.gz"),
        ("https://example.org/files/3195389", "3195389"),
        ("https://example.org/", "file"),
    ],
)
def test_the_name_of_a_file_stands_in_its_address(address: str, name: str) -> None:
    assert name_at_end(address) == name


def test_parts_may_be_fetched_by_hand(sources: Path, tmp_path: Path) -> None:
    for part in (1, 2):
        (sources / f"p{part}.csv").write_bytes(TABLE)
    recipe = make_remote_recipe(
        url=NOWHERE + "/p{part}.csv", parts=[1, 2], join=None, changes={"labels": []}
    )
    assert len(find_source(recipe, tmp_path).each) == 2


def test_another_content_than_stated_is_refused_and_than_at_first_use(
    sources: Path, tmp_path: Path
) -> None:
    (sources / "a table.csv").write_bytes(TABLE)
    other = make_remote_recipe(join=None, sha256="0" * 64, changes={"labels": []})
    with pytest.raises(InputError, match=f"a table.csv has SHA-256 .*expects {'0' * 64}"):
        find_source(other, tmp_path)
    recipe = make_remote_recipe(join=None, changes={"labels": []})
    digest = find_source(recipe, tmp_path).sha256
    assert digest == hashlib.sha256(TABLE).hexdigest()
    (sources / "a table.csv").write_bytes(TABLE + b"CCCC,4\n")
    with pytest.raises(InputError, match=f"{digest} was recorded when it was first used"):
        find_source(recipe, tmp_path)


def test_a_page_that_was_saved_in_the_place_of_a_file_is_refused(
    sources: Path, tmp_path: Path
) -> None:
    (sources / "a table.csv").write_text("<!doctype html><title>Cookies</title>")
    recipe = make_remote_recipe(join=None, changes={"labels": []})
    with pytest.raises(InputError, match="a table.csv is a page of HTML, 'Cookies', and no data"):
        find_source(recipe, tmp_path)
    (sources / "a table.csv").write_bytes(TABLE)
    assert find_source(recipe, tmp_path).sha256 == hashlib.sha256(TABLE).hexdigest()


def test_the_number_of_rows_is_held_to_as_well(sources: Path, tmp_path: Path) -> None:
    (sources / "a table.csv").write_bytes(TABLE)
    recipe = make_remote_recipe(join=None, rows=4, changes={"labels": []})
    with pytest.raises(InputError, match="a table.csv: 3 rows, recipe 'remote' states 4"):
        curate(recipe, workers=0, home=tmp_path, progress=False)


def test_split_files_are_looked_for_there_too(sources: Path, tmp_path: Path) -> None:
    (sources / "a table.csv").write_bytes(TABLE)
    (sources / "split.json").write_text('{"train": [0], "val": [1], "test": [2]}')
    splits = {"theirs": {"kind": "file", "url": f"{NOWHERE}/split.json"}}
    changes = {"splits": splits, "default_split": "theirs", "labels": []}
    files = fetch(make_remote_recipe(join=None, changes=changes), tmp_path)
    assert [file.path.name for file in files] == ["a table.csv", "split.json"]


def test_what_is_not_there_is_named_with_its_place(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError) as refusal:
        find_source(make_remote_recipe(), tmp_path)
    message = str(refusal.value)
    assert f"{NOWHERE}/a%20table.csv?download=1: not fetched in 3 attempts (" in message
    assert f"put it at {sources}/remote/a table.csv or {sources}/a table.csv" in message
    monkeypatch.delenv("MOLNB_SOURCES")
    with pytest.raises(InputError, match="as remote/a table.csv or a table.csv, and name the fold"):
        find_source(make_remote_recipe(), tmp_path)


def test_a_folder_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLNB_SOURCES", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="MOLNB_SOURCES names .*nowhere, which is no folder"):
        find_source(make_remote_recipe(), tmp_path)
