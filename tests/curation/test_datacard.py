"""Data cards count what there is: shares add up, and every loss appears."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from curated_files import curate_smiles

from molnb.curation.datacard import (
    charge_shares,
    data_card,
    describe_molecules,
    element_shares,
    lost_rows,
    split_similarities,
    split_table,
    stereo_shares,
)
from molnb.curation.pipeline import curate
from molnb.recipes.sources import recipe_for_file


def test_shares_are_of_all_molecules(nci) -> None:
    assert sum(stereo_shares(nci).values()) == pytest.approx(1)
    assert sum(charge_shares(nci).values()) == pytest.approx(1)
    elements = element_shares(nci)
    assert elements["C"] > 0.9 and "H" not in elements
    assert list(elements.values()) == sorted(elements.values())[::-1]
    with_nitrogen = np.mean(["N" in smiles.upper().replace("NA", "") for smiles in nci.smiles()])
    assert elements["N"] == pytest.approx(with_nitrogen, abs=0.03)


def test_every_molecule_is_described(nci) -> None:
    described = describe_molecules(nci)
    assert described.shape == (nci.n, 3) and described.notna().all(axis=None)
    assert np.array_equal(described["heavy atoms"], nci.array("n_heavy"))


def test_cards_of_corpora_stand_side_by_side(nci) -> None:
    cards = pd.concat([data_card(nci), data_card(nci)], axis=1)
    assert list(cards.columns) == ["nci", "nci"]
    assert cards.loc["molecules"].iloc[0] == f"{nci.n}, from 100 of 4,999 rows"


def test_every_lost_row_is_listed(tmp_path) -> None:
    shards = curate_smiles(tmp_path, ["CCO", "C1CC", "OCC", "C1CC", "CCN"])
    table = lost_rows(shards).set_index("reason")
    rows = table[table["what"] == "row"]
    assert rows["n"].to_dict() == {
        "unreadable structure": 2,
        "same molecule as an earlier row": 1,
    }


def test_every_label_that_is_missing_is_listed(nci) -> None:
    table = lost_rows(nci)
    missing = nci.manifest["labels"]["gap"]["missing"]
    assert missing and set(table.loc[table["step"] == "label", "reason"]) >= set(missing)


def test_similarities_are_those_of_the_manifest(nci) -> None:
    for row in split_table(nci).to_dict("records"):
        similarities = split_similarities(nci, row["split"])
        assert len(similarities) == row["test"]
        assert np.median(similarities) == pytest.approx(list(row.values())[-1], abs=1e-4)


def test_the_card_shows_classes_conflicts_and_a_transform(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("smiles,IC50,hit\nCCO,100,no\nOCC,1000,no\nCCN,10,yes\nCCC,<5,yes\n")
    labels = ["IC50:nM", "hit:binary(no,yes)"]
    recipe = recipe_for_file(file, labels=labels, transforms=["IC50:-log10:nM->M"])
    card = data_card(curate(recipe, workers=0, home=tmp_path, progress=False))
    assert card["labels of the source"] == "IC50 2 (-log10(M)); hit 3 (no: 1, yes: 2)"
    assert card["molecules whose copies disagree"] == 1
    assert card["molecules with a value that only a later copy knows"] == 0
    assert card["transformed labels"] == "IC50: 100 nM is stored as 7 -log10(M)"


def test_the_card_counts_values_that_only_a_later_copy_knows(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("smiles,y,z\nCCO,,1\nOCC,5,\nCCN,3,\nCCC,,\nCCC,,2\n")
    recipe = recipe_for_file(file, labels=["y:1", "z:1"])
    card = data_card(curate(recipe, workers=0, home=tmp_path, progress=False))
    assert card["molecules with a value that only a later copy knows"] == 2
    assert card["molecules whose copies disagree"] == 0
