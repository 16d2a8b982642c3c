"""`molnb fetch` and `molnb curate --source`, as one types them: files, faults, exit codes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from file_server import FileServer, file_server

from molnb import fetch, load_shards
from molnb.cli import main
from molnb.curation import pipeline
from molnb.errors import InputError

TABLE = b"smiles,y,z\nCCO,0,1\nCCN,1,\nc1ccccc1,1,0\nCCCl,0,1\n"
DIGEST = hashlib.sha256(TABLE).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr("molnb.recipes.fetched.addresses.time.sleep", lambda _: None)
    with file_server() as running:
        yield running


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "recipes"
    folder.mkdir()
    monkeypatch.setenv("MOLNB_RECIPES", str(folder))
    return folder


def write_recipe(folder: Path, name: str = "assays", **source) -> None:
    """A recipe of two binary assays, from an address."""
    label = {"quantity": "activity", "unit": "1", "theory": "assay", "geometry": "none"}
    labels = [{"name": n, "column": n, "level": "molecule", **label} for n in ("y", "z")]
    task = {"name": "active", "labels": ["y", "z"], "level": "molecule"}
    content = {
        "name": name,
        "title": "two assays",
        "licence": "not stated",
        "citation": "nobody",
        "source": {"kind": "url", **source},
        "labels": labels,
        "tasks": [task | {"kind": "binary", "loss": "bce"}],
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))


def refusal(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """What a refused command prints; it must exit with 2."""
    capsys.readouterr()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    return captured.err


def test_fetch_gets_every_file_once_and_curate_needs_no_network_then(
    server: FileServer, recipes: Path, home: Path, capsys: pytest.CaptureFixture
) -> None:
    write_recipe(recipes, url=server.add("/data.csv", TABLE, "cut"), sha256=DIGEST, rows=4)
    assert main(["fetch", "assays"]) == 0
    line, total = capsys.readouterr().out.splitlines()
    assert line.split()[:5] == [str(len(TABLE)), "B", "fetched", "now", DIGEST]
    assert Path(line.split()[5]).read_bytes() == TABLE
    assert total == f"1 file, {len(TABLE)} B; 1 fetched now"
    assert main(["fetch", "assays"]) == 0
    assert "fetched before" in capsys.readouterr().out
    assert server.counts() == {"/data.csv": 1}
    server.faults["/data.csv"] = 404
    assert main(["curate", "assays", "--workers", "0"]) == 0
    shards = load_shards(capsys.readouterr().out.splitlines()[-1])
    assert shards.n == 4 and shards.manifest["labels"]["z"]["known"] == 3


def test_fetch_puts_files_below_out(
    server: FileServer, recipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_recipe(recipes, url=server.add("/data.csv", TABLE))
    assert main(["fetch", "assays", "--out", str(tmp_path / "there")]) == 0
    (path,) = (tmp_path / "there" / "downloads").glob("*-data.csv")
    assert str(path) in capsys.readouterr().out
    assert [file.origin for file in fetch("assays", tmp_path / "there")] == ["fetched before"]


def test_files_of_this_computer_are_listed_too(capsys: pytest.CaptureFixture) -> None:
    assert main(["fetch", "chembl2321810"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[:-1]] == ["local", "local"]
    assert lines[-1].endswith("; 0 fetched now")


def test_the_files_of_all_members_of_a_mix_are_fetched(
    server: FileServer, recipes: Path, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        write_recipe(recipes, name, url=server.add(f"/{name}.csv", TABLE))
    other = server.add("/other.csv", TABLE)
    members = {
        "a": {"recipe": "first"},
        "b": {"recipe": "second", "changes": {"source": {"url": other}}},
        "c": {"recipe": "first"},
    }
    mix = {"name": "both", "title": "both", "licence": "none", "citation": "none"}
    (recipes / "both.yaml").write_text(yaml.safe_dump(mix | {"members": members}))
    files = fetch("both", tmp_path)
    assert [file.path.name.partition("-")[2] for file in files] == ["first.csv", "other.csv"]
    assert set(server.counts()) == {"/first.csv", "/other.csv"}
    circle = mix | {"name": "circle", "members": {"a": {"recipe": "circle"}}}
    (recipes / "circle.yaml").write_text(yaml.safe_dump(circle))
    with pytest.raises(InputError, match="circle"):
        fetch("circle", tmp_path)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (404, "the server answers 404"),
        (503, "the server answers 503"),
        ("page", "the server sent a page of HTML"),
        ("empty", "the server sent an empty file"),
        ("http://example.org/x.csv", "leads to http://example.org/x.csv"),
    ],
)
@pytest.mark.parametrize("command", ["fetch", "curate"])
def test_a_server_s_fault_is_one_message_and_leaves_nothing(
    server: FileServer,
    recipes: Path,
    home: Path,
    capsys: pytest.CaptureFixture,
    command: str,
    fault: int | str,
    message: str,
) -> None:
    write_recipe(recipes, url=server.add("/data.csv", TABLE, fault), sha256=DIGEST)
    printed = refusal(capsys, command, "assays")
    assert printed.startswith(f"molnb {command}: {server.address}/data.csv: ")
    assert message in printed and printed.count("\n") == 1 and "MOLNB_SOURCES" in printed
    assert not list((home / "downloads").iterdir()) and not list(home.glob("data/assays-*"))


def test_wrong_bytes_and_another_number_of_rows_are_refused(
    server: FileServer, recipes: Path, home: Path, capsys: pytest.CaptureFixture
) -> None:
    url = server.add("/data.csv", TABLE)
    write_recipe(recipes, url=url, sha256="0" * 64)
    assert f"SHA-256 {DIGEST}, recipe 'assays' expects 000" in refusal(capsys, "curate", "assays")
    write_recipe(recipes, url=url, rows=5)
    assert "4 rows, recipe 'assays' states 5" in refusal(capsys, "curate", "assays")
    assert not list(home.glob("data/assays-*"))


# ---------------------------------------------------------------------------------- curate --source


def test_a_recipe_runs_on_a_file_of_another_format_and_name(
    recipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_recipe(recipes, url="https://example.org/assays.csv.gz", sha256="0" * 64, rows=99)
    y = pa.array([0, 1, 1, 0])
    table = pa.table({"smiles": ["CCO", "CCN", "c1ccccc1", "CCCl"], "y": y, "z": y})
    pq.write_table(table, tmp_path / "theirs.parquet")
    file = str(tmp_path / "theirs.parquet")
    assert main(["curate", "assays", "--source", file, "--workers", "0"]) == 0
    shards = load_shards(capsys.readouterr().out.splitlines()[-1])
    assert shards.n == 4 and shards.name.startswith("assays")
    assert shards.manifest["labels"]["y"]["known"] == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: 0 rows"),
        (b"smiles,y,z\n", "is empty: 0 rows"),
        (b"smiles,y\nCCO,1\nCCN,0\n", "has no column 'z'"),
        (b"smiles,y,zz\nCCO,1,0\nCCN,0,1\n", "no column 'z' for label 'z' (did you mean 'zz'?)"),
        (b"structure formula,y,z\nCCO,1,0\nCCN,0,1\n", "has no column 'smiles'"),
        (b"smiles,y,z\nCCO,1.5,0\nCCN,0,1\n", "label 'y' is binary, but"),
        (b"smiles,y,z\nCCO,,0\nCCN,,1\n", "label 'y' has no value in any of 2 rows"),
        (b"PAR1 and no more", "is not a readable Parquet file"),
        (b"<html><head><title>Log in</title></head></html>", "is a page of HTML, 'Log in', and no"),
        (b"smiles,y,z\nnonsense,1,0\nrubbish,0,1\n", "0 of 2 rows"),
    ],
)
def test_a_wrong_file_for_a_recipe_is_one_message(
    recipes: Path,
    tmp_path: Path,
    home: Path,
    capsys: pytest.CaptureFixture,
    content: bytes,
    message: str,
) -> None:
    write_recipe(recipes, url="https://example.org/assays.csv")
    path = tmp_path / "theirs.csv"
    path.write_bytes(content)
    printed = refusal(capsys, "curate", "assays", "--source", str(path), "--workers", "0")
    assert message in printed and str(path) in printed
    assert not list(home.glob("data/assays-*/manifest.json"))


def test_files_of_members_go_to_curate_by_member(
    recipes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    write_recipe(recipes, "first", url="https://example.org/first.csv")
    members = {name: {"recipe": "first"} for name in ("qm9", "tox21")}
    mix = {"name": "toymix", "title": "t", "licence": "none", "citation": "none"}
    (recipes / "toymix.yaml").write_text(yaml.safe_dump(mix | {"members": members}))
    calls = []
    monkeypatch.setattr(
        pipeline, "curate", lambda *a, **k: calls.append(a) or SimpleNamespace(path="x")
    )
    files = ["--source", "qm9=a=b.csv", "--source", "tox21=c.csv"]
    assert main(["curate", "toymix", *files]) == 0
    ((recipe, source),) = calls
    assert recipe.name == "toymix" and source == {"qm9": "a=b.csv", "tox21": "c.csv"}
    for text in ("zinc=a.csv", "a.csv"):
        message = refusal(capsys, "curate", "toymix", "--source", text)
        assert "as MEMBER=FILE; the members of 'toymix' are qm9, tox21" in message
    twice = ["--source", "qm9=a.csv", "--source", "qm9=b.csv"]
    assert "member 'qm9' two files" in refusal(capsys, "curate", "toymix", *twice)
