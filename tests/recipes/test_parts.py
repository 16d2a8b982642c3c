"""A source in many files is one source: each is fetched for itself, the rows are those of all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from file_server import FileServer, file_server

from molnb.curation.pipeline import curate
from molnb.curation.smiles_corpus import load_molecules
from molnb.errors import InputError
from molnb.recipes.chosen_columns import with_chosen_columns
from molnb.recipes.fetched import downloads
from molnb.recipes.registry import make_recipe, recipe_id
from molnb.recipes.schema import Recipe
from molnb.recipes.snapshot import write_snapshot
from molnb.recipes.sources import find_source, source_parts, stated_digest, with_source

SMILES = [["CCO", "CCN", "CCC"], ["c1ccccc1"], ["CCCl", "CCBr"]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr("molnb.recipes.fetched.addresses.time.sleep", lambda _: None)
    with file_server() as running:
        yield running


def csv(part: int) -> bytes:
    """The table of one part, with a value that tells where a row is from."""
    rows = [f"{smiles},{part}.{k}\n" for k, smiles in enumerate(SMILES[part - 1])]
    return ("smiles,y\n" + "".join(rows)).encode()


def make_parts_recipe(**source: Any) -> Recipe:
    label = {
        "name": "y", "column": "y", "quantity": "y", "unit": "1", "theory": "assay",
        "geometry": "none", "level": "molecule",
    }  # fmt: skip
    return make_recipe(
        {
            "name": "many",
            "title": "a table in parts",
            "licence": "not stated",
            "citation": "nobody",
            "source": {"parts": [1, 3], **source},
            "labels": [label],
        }
    )


def rows_of(recipe: Recipe, home: Path) -> tuple[list[dict], dict]:
    located = find_source(recipe, home)
    recipe = with_chosen_columns(recipe, located)
    counts = write_snapshot(recipe, located, home / "rows.parquet")
    return pq.read_table(home / "rows.parquet").to_pylist(), counts


def check_rows(rows: list[dict]) -> None:
    assert [row["structure"] for row in rows] == [smiles for part in SMILES for smiles in part]
    assert [row["y"] for row in rows] == [1.0, 1.1, 1.2, 2.0, 3.0, 3.1]
    assert [row["row"] for row in rows] == list(range(6))
    assert [row["line"] for row in rows] == [2, 3, 4, 2, 2, 3], "lines of each part"


def test_each_part_is_fetched_and_hashed_for_itself_and_fetched_once(
    server: FileServer, tmp_path: Path
) -> None:
    for part in (1, 2, 3):
        server.add(f"/p_{part}.csv", csv(part), "cut" if part == 2 else "")
    recipe = make_parts_recipe(kind="url", url=server.address + "/p_{part}.csv", rows=6)
    rows, counts = rows_of(recipe, tmp_path)
    check_rows(rows)
    assert counts["rows"] == 6
    digests = "".join(hashlib.sha256(csv(part)).hexdigest() for part in (1, 2, 3))
    located = find_source(recipe, tmp_path)
    assert located.sha256 == hashlib.sha256(digests.encode()).hexdigest()
    assert server.counts() == {"/p_1.csv": 1, "/p_2.csv": 1, "/p_3.csv": 1}
    assert len(list((tmp_path / "downloads").glob("*.sha256"))) == 3
    assert stated_digest(recipe) is None


def test_a_part_that_fails_is_named_and_the_others_are_kept(
    server: FileServer, tmp_path: Path
) -> None:
    for part in (1, 2, 3):
        server.add(f"/p_{part}.csv", csv(part), 404 if part == 3 else "")
    url = server.address + "/p_{part}.csv"
    mirror = server.address + "/mirror/{part}.csv"
    recipe = make_parts_recipe(kind="url", url=url, mirrors=[mirror])
    with pytest.raises(
        InputError, match=r"/p_3.csv: the server answers 404[^|]*/mirror/3.csv: the"
    ):
        find_source(recipe, tmp_path)
    assert len(list((tmp_path / "downloads").glob("*-p_?.csv"))) == 2
    server.add("/mirror/3.csv", csv(3))
    check_rows(rows_of(recipe, tmp_path)[0])
    assert server.counts()["/p_1.csv"] == 1


def test_a_part_that_changed_is_refused(server: FileServer, tmp_path: Path) -> None:
    for part in (1, 2, 3):
        server.add(f"/p_{part}.csv", csv(part))
    recipe = make_parts_recipe(kind="url", url=server.address + "/p_{part}.csv")
    find_source(recipe, tmp_path)
    (path,) = (tmp_path / "downloads").glob("*-p_2.csv")
    path.write_bytes(csv(1))
    with pytest.raises(InputError, match="p_2.csv has SHA-256 .* was recorded when it was first"):
        find_source(recipe, tmp_path)


def test_what_is_to_come_is_told_for_all_parts_together(
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(downloads, "LARGE_BYTES", 1000)
    for part in (1, 2, 3):
        server.add(f"/p_{part}.csv", csv(part))
    recipe = make_parts_recipe(kind="url", url=server.address + "/p_{part}.csv", bytes=3000)
    find_source(recipe, tmp_path)
    assert "3 of 3 parts of many are to be fetched" in capsys.readouterr().err
    (path,) = (tmp_path / "downloads").glob("*-p_2.csv")
    path.unlink()
    find_source(recipe, tmp_path)
    captured = capsys.readouterr().err
    assert "1 of 3 parts of many" in captured and "about 1.0 kB" in captured
    find_source(recipe, tmp_path)
    assert capsys.readouterr().err == ""


def test_parts_may_lie_in_files_here_and_in_any_format(tmp_path: Path) -> None:
    for part in (1, 2, 3):
        values = [part + k / 10 for k in range(len(SMILES[part - 1]))]
        table = pa.table({"smiles": SMILES[part - 1], "y": values})
        pq.write_table(table, tmp_path / f"p_{part}.parquet")
        (tmp_path / f"p_{part}.csv").write_bytes(csv(part))
    pattern = str(tmp_path / "p_{part}.parquet")
    rows, _ = rows_of(make_parts_recipe(kind="file", file=pattern), tmp_path)
    assert [row["y"] for row in rows] == pytest.approx([1.0, 1.1, 1.2, 2.0, 3.0, 3.1])
    elsewhere = make_parts_recipe(kind="url", url="https://example.org/p_{part}.parquet")
    replaced = with_source(elsewhere, tmp_path / "p_{part}.csv")
    assert [part.file for part in source_parts(replaced.source)] == [
        str(tmp_path / f"p_{part}.csv") for part in (1, 2, 3)
    ]
    check_rows(rows_of(replaced, tmp_path)[0])
    one = with_source(elsewhere, tmp_path / "p_1.csv")
    assert len(rows_of(one, tmp_path)[0]) == 3, "one file in the place of all parts"
    (tmp_path / "p_2.csv").unlink()
    with pytest.raises(InputError, match="There is no file .*p_2.csv"):
        find_source(replaced, tmp_path)


def test_parts_by_name_and_by_numbers_of_two_digits(server: FileServer, tmp_path: Path) -> None:
    for part in (1, 2, 3):
        server.add(f"/{'abc'[part - 1]}/p.csv", csv(part))
        server.add(f"/p_0{part}.csv", csv(part))
    names = {"parts": ["a", "b", "c"], "url": server.address + "/{part}/p.csv"}
    check_rows(rows_of(make_parts_recipe(kind="url", **names), tmp_path)[0])
    digits = make_parts_recipe(kind="url", url=server.address + "/p_{part:02}.csv")
    check_rows(rows_of(digits, tmp_path)[0])


def test_a_part_without_a_column_is_named(tmp_path: Path) -> None:
    for part in (1, 2, 3):
        (tmp_path / f"p_{part}.csv").write_bytes(
            csv(part).replace(b"y\n", b"z\n" * (part == 3) or b"y\n", 1)
        )
    recipe = make_parts_recipe(kind="file", file=str(tmp_path / "p_{part}.csv"))
    with pytest.raises(InputError, match="p_3.csv has no column 'y'"):
        rows_of(recipe, tmp_path)


def test_lines_that_are_no_utf8_are_counted_over_all_parts(tmp_path: Path) -> None:
    for part in (1, 2, 3):
        content = csv(part).replace(b"\n", b",\n").replace(b"y,", b"y,note\xe9")
        (tmp_path / f"p_{part}.csv").write_bytes(content)
    recipe = make_parts_recipe(kind="file", file=str(tmp_path / "p_{part}.csv"))
    located = find_source(recipe, tmp_path)
    counts = write_snapshot(recipe, located, tmp_path / "rows.parquet")
    assert counts["foreign_lines"] == {"n": 3, "first": 1}


def test_all_parts_are_curated_and_the_manifest_says_how_many(tmp_path: Path) -> None:
    for part in (1, 2, 3):
        (tmp_path / f"p_{part}.csv").write_bytes(csv(part))
    recipe = make_parts_recipe(kind="file", file=str(tmp_path / "p_{part}.csv"), rows=6)
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    assert shards.n == 6 and shards.manifest["source"]["parts"] == 3
    n_byte = sum(len(csv(part)) for part in (1, 2, 3))
    assert shards.manifest["source"]["bytes"] == n_byte
    assert curate(recipe, home=tmp_path, progress=False).path == shards.path
    (tmp_path / "p_2.csv").write_bytes(csv(2).replace(b"2.0", b"7.0"))
    assert curate(recipe, workers=0, home=tmp_path, progress=False).path != shards.path


# ---------------------------------------------------------------------------------- rows stated


@pytest.mark.parametrize("stated", [5, 7])
def test_another_number_of_rows_than_stated_is_refused(tmp_path: Path, stated: int) -> None:
    for part in (1, 2, 3):
        (tmp_path / f"p_{part}.csv").write_bytes(csv(part))
    pattern = str(tmp_path / "p_{part}.csv")
    recipe = make_parts_recipe(kind="file", file=pattern, rows=stated)
    message = f"p_1.csv and 2 parts more: 6 rows, recipe 'many' states {stated}: .*--source FILE"
    for function in (curate, load_molecules):
        with pytest.raises(InputError, match=message):
            function(recipe, workers=0, home=tmp_path, progress=False)
        assert not list((tmp_path / "data").glob("many-*")), "nothing is left behind"
    assert curate(recipe, n=2, workers=0, home=tmp_path, progress=False).manifest["n_asked"] == 2
    own = with_source(recipe, tmp_path / "p_{part}.csv")
    assert curate(own, workers=0, home=tmp_path, progress=False).n == 6
    assert recipe_id(recipe, "x") == recipe_id(make_parts_recipe(kind="file", file=pattern), "x")
