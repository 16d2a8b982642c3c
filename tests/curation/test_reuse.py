"""What was finished is found again, and no conformer is computed twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from curated_files import curate_smiles, refuse_conformers, write_csv

from molnb.curation import pipeline
from molnb.curation.pipeline import curate
from molnb.curation.smiles_corpus import load_molecules
from molnb.errors import InputError
from molnb.files import file_digest
from molnb.recipes.fetched import digests
from molnb.recipes.registry import load_recipe
from molnb.recipes.sources import recipe_for_file, with_source
from molnb.shards import Shards, load_shards


def test_a_second_call_only_loads(nci: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_conformers(monkeypatch)
    for name in ("Pool", "take_snapshot", "finish"):
        monkeypatch.setattr(pipeline, name, lambda *_: pytest.fail("there was nothing to do"))
    again = curate("nci", n=100, home=nci.path.parent.parent, progress=False)
    assert again.manifest == load_shards(nci.path).manifest


@pytest.mark.parametrize("joined", [False, True])
def test_finished_molecules_are_found_with_the_source_gone_where_its_digest_is_stated(
    tmp_path: Path, joined: bool
) -> None:
    (tmp_path / "a.csv").write_text("smiles,key,Act\nCCO,1,6\nCCN,2,7\n")
    (tmp_path / "b.csv").write_text("key,Act\n1,6\n2,7\n")
    source = {"file": tmp_path / "a.csv", "sha256": file_digest(tmp_path / "a.csv")}
    if joined:
        digest = file_digest(tmp_path / "b.csv")
        join = {"file": str(tmp_path / "b.csv"), "key": "key", "column": "key", "sha256": digest}
        source["join"] = join
    recipe = with_source(load_recipe("chembl2321810"), source)
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    molecules = load_molecules(recipe, workers=0, home=tmp_path, progress=False)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).unlink()
    again = curate(recipe, home=tmp_path, progress=False)
    assert (again.path, again.manifest) == (shards.path, shards.manifest)
    assert load_molecules(recipe, home=tmp_path, progress=False) == molecules
    with pytest.raises(InputError, match="There is no file .*a.csv"):
        curate(recipe, n=1, home=tmp_path, progress=False)  # these were not made before


def test_a_source_without_a_stated_digest_is_read_for_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def note_and_hash(path: Path) -> str:
        hashed.append(path)
        return file_digest(path)

    monkeypatch.setattr(digests, "file_digest", note_and_hash)
    path = write_csv(tmp_path, ["CCO", "CCN"])
    os.utime(path, (1000, 1000))
    recipe = recipe_for_file(path)
    for _ in range(2):
        shards = curate(recipe, workers=0, home=tmp_path, progress=False)
        load_molecules(recipe, workers=0, home=tmp_path, progress=False)
    assert len(hashed) == 1
    os.utime(path, (2000, 2000))
    assert curate(recipe, workers=0, home=tmp_path, progress=False).path == shards.path
    assert len(hashed) == 2, "the time of change is another one"


def test_another_version_is_reported_before_reuse(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shards = curate_smiles(tmp_path, ["CCO"])
    shards.manifest["versions"]["rdkit"] = "1999.1"
    (shards.path / "manifest.json").write_text(json.dumps(shards.manifest))
    curate_smiles(tmp_path, ["CCO"])
    assert "was made with rdkit 1999.1 (here" in capsys.readouterr().err


def test_a_new_split_or_citation_computes_no_conformer_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smiles = ["CCO", "CCN", "c1ccccc1", "CCCl", "C1CC"]
    before = curate_smiles(tmp_path, smiles)
    refuse_conformers(monkeypatch)
    splits = {"other": {"kind": "random", "fractions": [0.5, 0.25, 0.25], "seed": 7}}
    after = curate_smiles(
        tmp_path, smiles, splits=splits, default_split="other", citation="a paper"
    )
    assert after.path != before.path and list(after.manifest["splits"]) == ["other"]
    assert after.table(["coords"]) == before.table(["coords"])
    assert after.dropped() == before.dropped()
    assert not (after.path / "work").exists()


def test_an_atomic_part_of_an_unfinished_sibling_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smiles = ["C" * i for i in range(1, 31)]

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "finish", interrupt)
    with pytest.raises(KeyboardInterrupt):
        curate_smiles(tmp_path, smiles)
    monkeypatch.undo()
    refuse_conformers(monkeypatch)
    assert curate_smiles(tmp_path, smiles, citation="a paper").n == 30
