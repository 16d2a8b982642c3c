"""A path is a path, whatever letters it holds: in folders, files, homes and runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from molnb.cli import main
from molnb.curation import pipeline
from molnb.curation.pipeline import curate
from molnb.inference.parquet_output import write_embeddings, write_predictions
from molnb.paths import find_data
from molnb.recipes.registry import make_recipe
from molnb.recipes.sources import find_source, recipe_for_file
from molnb.shards import load_shards

PLACES = [
    "a[b]",
    "[!a]",
    "[a-z]]",
    "a*b",
    "**",
    "a?b",
    "a\\b",
    "\\[b\\]*",
    "it's",
    'a "b"',
    "{a,b}",
    "~nobody",
    "~",
    "ünï 溶",
    "50%20#c;d&e",
    "$HOME",
    "-n",
    " a b ",
    "a:b=c",
    "a\nb",
]
FEW = ["c1ccccc1O", "CCO", "OCC", "CCN", "C("]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")


def write_table(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    path = folder / f"{name}.csv"
    path.write_text("smiles,y\n" + "".join(f"{s},{i}\n" for i, s in enumerate(FEW)))
    return path


@pytest.mark.parametrize("place", PLACES)
def test_a_table_anywhere_is_curated_resumed_loaded_and_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    path = write_table(tmp_path / place, place)
    home = tmp_path / place / f"home {place}"
    recipe = recipe_for_file(path, labels={"y": "1"}, name="mine")
    write_dropped = pipeline.write_dropped
    monkeypatch.setattr(
        pipeline, "write_dropped", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):  # killed before the end
        curate(recipe, workers=0, home=home, progress=False)
    monkeypatch.setattr(pipeline, "write_dropped", write_dropped)
    shards = curate(recipe, workers=0, home=home, progress=False)
    assert shards.manifest["molecules"]["resumed"]
    assert sorted(shards.table(["smiles"])["smiles"].to_pylist()) == ["CCN", "CCO", "Oc1ccccc1"]
    assert len(shards.dropped()) == 2
    assert load_shards(shards.path).n == curate(recipe, home=home, progress=False).n == 3
    monkeypatch.setenv("MOLNB_HOME", str(home))
    assert find_data(shards.path.name).resolve() == shards.path.resolve()
    split = {"random": {"kind": "random", "seed": 7}}
    other = make_recipe(recipe.model_dump() | {"splits": split, "default_split": "random"})
    monkeypatch.setattr(pipeline, "run_pass", lambda *_: pytest.fail("computed again"))
    assert curate(other, workers=0, home=home, progress=False).path != shards.path


@pytest.mark.parametrize("place", ["~", "~nobody", "a[b]*", "a\\b"])
def test_a_file_of_the_working_folder_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    path = write_table(tmp_path / "here", place)
    monkeypatch.chdir(path.parent)
    assert find_source(recipe_for_file(path.name), Path("home")).folder is not None
    content = recipe_for_file(path.name).model_dump()
    content["source"]["file"] = path.name
    assert find_source(make_recipe(content), Path("home")).source.file == path.name


@pytest.mark.parametrize("place", ["a[b]*?", 'it\'s "x" \\ ü'])
def test_a_run_anywhere_answers_for_a_file_anywhere(
    tmp_path: Path, label_run, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    path = write_table(tmp_path / place, place)
    run = path.parent / f"run {place}"
    shutil.copytree(label_run.path, run)
    out = path.parent / f"out {place}.parquet"
    counts = write_predictions(path, run, out, workers=0)
    assert (counts["rows"], counts["errors"]) == (5, 1)
    assert pq.ParquetFile(out).metadata.num_rows == 5
    assert write_embeddings(path, run, path.parent / f"e {place}.parquet", workers=0)["rows"] == 5
    monkeypatch.setenv("MOLNB_HOME", str(path.parent))
    assert main(["curate", str(path), "--label", "y:1", "--workers", "0"]) == 0


@pytest.mark.parametrize("stem", ["y" * 240, "\u6eb6" * 80, "a_" * 120, "x" * 81])
def test_a_table_with_a_long_name_is_curated(tmp_path: Path, stem: str) -> None:
    path = tmp_path / f"{stem}.csv"
    path.write_text("smiles,y\nCCO,1\nCCN,2\n")
    shards = curate(recipe_for_file(path, labels=["y:1"]), workers=0, home=tmp_path, progress=False)
    assert shards.n == 2 and stem.startswith(shards.name)


@pytest.mark.parametrize("place", ["data", "x" * 300, "new/" + "x" * 300])
def test_a_home_that_cannot_hold_shards_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture, place: str
) -> None:
    path = write_table(tmp_path / "tables", "mine")
    home = tmp_path if place == "data" else tmp_path / place
    if place == "data":
        (tmp_path / "data").write_text("a file of that name")
    assert main(["curate", str(path), "--workers", "0", "--out", str(home)]) == 2
    assert "choose another --out" in capsys.readouterr().err
