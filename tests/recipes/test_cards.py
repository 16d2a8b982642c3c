"""The card of a recipe says everything that the recipe does, in lines of a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from molnb.cli import main
from molnb.recipes.catalogue.cards import recipe_card
from molnb.recipes.fetched.downloads import download_path
from molnb.recipes.mix_schema import Mix
from molnb.recipes.registry import list_recipes, make_recipe
from molnb.recipes.schema import Recipe
from molnb.texts import WIDTH

URL = "https://example.org/many_{part}.parquet"


def full_recipe(**keys) -> Recipe:
    """A recipe that uses every key a card has something to say of."""
    common = {"quantity": "energy of it", "theory": "PM6", "geometry": "PM6"}
    labels = [
        {**common, "name": "gap", "column": ["gap", "Gap"], "unit": "eV", "source_unit": "Hartree",
         "range": [0, 20]},
        {**common, "name": "assay_*", "column": "assayID-*", "unit": "1", "theory": "assay",
         "geometry": "none", "classes": {"no": 0, "yes": 1}},
        {**common, "name": "mulliken", "column": "charges", "unit": "e", "level": "atom"},
    ]  # fmt: skip
    content = {
        "name": "full",
        "title": "everything",
        "description": "what it is",
        "warning": "known to be flawed",
        "licence": "CC BY 4.0",
        "citation": "Somebody 2020",
        "source": {
            "kind": "url",
            "url": URL,
            "mirrors": ["https://mirror.org/{part}.parquet"],
            "parts": [1, 3],
            "format": "parquet",
            "rows": 83_000_000,
            "bytes": 87_000_000_000,
        },
        "columns": {"smiles": ["SMILES", "smiles"], "id": "cid", "keep": ["batch"]},
        "conformers": {"kind": "given"},
        "labels": labels,
        "tasks": [{"name": "screen", "labels": ["assay_*"], "kind": "binary", "loss": "bce"}],
        "splits": {
            "random": {"kind": "random"},
            "half": {"kind": "subset", "of": "random", "share": 0.5, "stratify": "gap"},
        },
        "default_split": "random",
        "max_spread": {"gap": 0.5},
        "where": {"Standard Units": "nM"},
        "faults": ["a third is wrong"],
        "unverified": ["the address"],
        "disk": "300 GB",
        "time": "a week",
    }
    return make_recipe(content | keys)


STATED = [
    "full: everything", "what it is", "Warning: known to be flawed",
    URL, "https://mirror.org/{part}.parquet", "3: 1 to 3, in the place",
    "87 GB (87,000,000,000 bytes)",
    "83,000,000", "SMILES in SMILES or smiles; identifiers in cid; kept as text: batch",
    "Standard Units is nM", "300 GB", "a week", "given by the source",
    "none of gap where they are more than 0.5 apart",
    "of atoms, PM6, on PM6:", "0 to 20", "column gap or Gap; from Hartree",
    "no/yes", "one of every column assayID-*", "molecule, binary, bce",
    "random (default)", "random with 0.5 times as many training as test molecules",
    "stratified by gap",
    "CC BY 4.0", "Somebody 2020", "- a third is wrong", "- the address", "downloaded no",
    "molnb fetch full", "molnb curate full --source FILE",
]  # fmt: skip


def test_a_card_says_what_the_recipe_states() -> None:
    card = " ".join(recipe_card(full_recipe()).split())  # wherever lines are broken
    assert [words for words in STATED if words not in card] == []


def test_a_card_says_which_parts_lie_here(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = download_path(URL.replace("{part}", "2"), None, home / "downloads")
    path.parent.mkdir()
    path.write_bytes(b"x")
    assert "downloaded    1 of 3 parts" in recipe_card(full_recipe())
    (tmp_path / "many_3.parquet").write_bytes(b"x")  # laid there by hand
    monkeypatch.setenv("MOLNB_SOURCES", str(tmp_path))
    assert "downloaded    2 of 3 parts" in recipe_card(full_recipe())


def test_many_labels_of_a_kind_are_cut_and_counted() -> None:
    label = full_recipe().labels[0].model_dump()
    labels = [label | {"name": f"y{k}", "column": f"y{k}"} for k in range(617)]
    card = recipe_card(full_recipe(labels=labels, tasks=[], max_spread={}))
    assert "Labels (617)" in card and "and 577 more" in card
    assert len(card.splitlines()) < 120


def test_every_card_fits_a_terminal_and_is_printed_by_name(capsys: pytest.CaptureFixture) -> None:
    for name in list_recipes():
        assert main(["recipes", name]) == 0
        card = capsys.readouterr().out
        assert card.startswith(f"{name}: ")
        too_long = [line for line in card.splitlines() if len(line) > WIDTH]
        # An address has no blank to break at, and stands behind its term.
        assert all(len(line.split()) <= 2 and "://" in line for line in too_long)


def test_a_card_says_what_was_curated_of_the_recipe_here(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curated_files import FEW, curate_smiles

    from molnb.recipes.registry import load_recipe
    from molnb.recipes.sources import recipe_for_file

    shards = curate_smiles(home, FEW)
    recipe = recipe_for_file(home / "mine.csv", labels={"y": "1"})
    assert f"{shards.path} (7 molecules)" in recipe_card(recipe)
    changed = recipe.model_copy(update={"default_split": "random"})
    card = " ".join(recipe_card(changed).split())
    assert "7 molecules, of another source or state of the recipe)" in card
    assert "curated       no" in recipe_card(load_recipe("nci"))


def test_the_card_of_a_mix_lists_its_members() -> None:
    members = {
        "nci": {"recipe": "nci", "split": "random", "weight": 2},
        "act": {"recipe": "chembl2321810", "changes": {"columns": {}}},
    }
    mix = Mix(name="two", title="t", licence="MIT", citation="c", members=members, leaks="drop")
    card = recipe_card(mix)
    assert "Members (2)" in card and "are taken out of training" in card
    rows = [line.split() for line in card.splitlines()]
    assert ["nci", "nci", "random", "2"] in rows
    assert ["act", "chembl2321810", "its", "default", "1", "columns"] in rows


def test_a_card_of_no_recipe_names_the_nearest(capsys: pytest.CaptureFixture) -> None:
    assert main(["recipes", "ncl"]) == 2
    assert "did you mean 'nci'?" in capsys.readouterr().err
