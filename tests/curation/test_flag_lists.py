"""A flag may be a list of identifiers: fetched, or beside the recipe; unknown where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_server import serve

from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.recipes.registry import make_recipe

LIST = """===
Molecules that failed
Index  SMILES  other
===
     2  CCN    NCC
     4  c1ccccc1  C1CC1
===
2 molecules
"""
LINES = {"pattern": r"\s*(\d+)\s", "head": 4, "foot": 2}


def recipe(folder: Path, listed: dict, ids: str = "gdb_{}", **source) -> object:
    rows = ["id,smiles"] + [
        f"{ids.format(i)},{s}" for i, s in enumerate(["CCO", "CCN", "CCC", "c1ccccc1"], 1)
    ]
    (folder / "mine.csv").write_text("\n".join(rows) + "\n")
    return make_recipe(
        {
            "name": "mine",
            "title": "mine",
            "licence": "none",
            "citation": "none",
            "source": source or {"kind": "file", "file": str(folder / "mine.csv")},
            "columns": {"smiles": "smiles", "id": "id"},
            "flags": {"failed": {"listed": LINES | listed, "why": "they failed"}},
        }
    )


def marked(shards) -> list:
    table = shards.table(["id", "failed"]).to_pydict()
    return [name for name, failed in zip(table["id"], table["failed"], strict=True) if failed]


@pytest.mark.parametrize("ids", ["gdb_{}", "{}"])
def test_the_rows_of_a_list_are_marked_with_and_without_their_prefix(
    ids: str, tmp_path: Path
) -> None:
    (tmp_path / "failed.txt").write_text(LIST)
    listed = {"file": str(tmp_path / "failed.txt"), "prefix": "gdb_"}
    shards = curate(recipe(tmp_path, listed, ids), workers=0, home=tmp_path, progress=False)
    assert marked(shards) == [ids.format(2), ids.format(4)]
    assert any("'failed' marks 2 molecules (they failed)" in n for n in shards.manifest["notices"])


def test_a_list_is_fetched_like_the_source(tmp_path: Path) -> None:
    (tmp_path / "failed.txt").write_text(LIST)
    with serve(tmp_path) as address:
        mine = recipe(
            tmp_path,
            {"url": f"{address}/failed.txt", "prefix": "gdb_"},
            kind="url",
            url=f"{address}/mine.csv",
        )
        shards = curate(mine, workers=0, home=tmp_path, progress=False)
        assert marked(shards) == ["gdb_2", "gdb_4"]


def test_without_its_list_the_flag_of_a_file_of_one_s_own_is_unknown(tmp_path: Path) -> None:
    with serve(tmp_path) as address:
        listed = {"url": f"{address}/none.txt", "prefix": "gdb_"}
        shards = curate(recipe(tmp_path, listed), workers=0, home=tmp_path, progress=False)
        assert shards.table(["failed"])["failed"].to_pylist() == [None] * 4
        assert any("flag 'failed' is unknown" in n for n in shards.manifest["notices"])
        mine = recipe(tmp_path, listed, kind="url", url=f"{address}/mine.csv")
        with pytest.raises(InputError, match="none.txt: the server answers 404"):
            curate(mine, workers=0, home=tmp_path / "other", progress=False)


def test_a_list_without_identifiers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "failed.txt").write_text("<html>sorry</html>\n")
    listed = {"file": str(tmp_path / "failed.txt")}
    with pytest.raises(InputError, match="no line holds an identifier.*flag 'failed'"):
        curate(recipe(tmp_path, listed), workers=0, home=tmp_path, progress=False)


def test_a_list_of_another_length_than_stated_is_refused(tmp_path: Path) -> None:
    (tmp_path / "failed.txt").write_text(LIST)
    listed = {"file": str(tmp_path / "failed.txt"), "n": 3}
    with pytest.raises(InputError, match="names 2 identifiers where the recipe states 3"):
        curate(recipe(tmp_path, listed), workers=0, home=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ({}, "one of the keys file and url"),
        ({"file": "a", "url": "https://b"}, "one of the keys file and url"),
        ({"file": "a", "pattern": "x"}, "has 0 groups"),
        ({"file": "a", "pattern": "("}, "no regular expression"),
    ],
)
def test_what_is_no_list_is_refused(listed: dict, message: str) -> None:
    content = {
        "name": "mine",
        "title": "mine",
        "licence": "none",
        "citation": "none",
        "source": {"kind": "file", "file": "mine.csv"},
        "columns": {"id": "id"},
        "flags": {"failed": {"listed": listed, "why": "they failed"}},
    }
    with pytest.raises(InputError, match=message):
        make_recipe(content)
