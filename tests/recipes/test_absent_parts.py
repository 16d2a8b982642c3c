"""What belongs to a recipe's own file is left out where another stands in its place."""

from __future__ import annotations

from pathlib import Path

from molnb.recipes.registry import load_recipe, make_recipe
from molnb.recipes.sources import with_source

LISTED = {"kind": "file", "url": "https://example.org/splits.pt"}


def recipe(**splits) -> object:
    return make_recipe(
        {
            "name": "mine",
            "title": "mine",
            "licence": "none",
            "citation": "none",
            "source": {"kind": "url", "url": "https://example.org/mine.csv"},
            "splits": splits,
            "default_split": next(iter(splits)),
        }
    )


def test_with_a_file_of_one_s_own_listed_rows_are_no_split_and_that_is_said(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.csv").write_text("smiles\nCCO\n")
    named = LISTED | {"by": "id"}
    subset = {"kind": "subset", "of": "theirs", "share": 0.5}
    mine = recipe(theirs=LISTED, few=subset, random={"kind": "random"}, named=named)
    own = with_source(mine, tmp_path / "own.csv")
    assert list(own.splits) == ["random", "named"] and own.default_split == "random"
    assert "left out: split few, theirs" in own.warning and "MOLNB_SOURCES" in own.warning
    assert with_source(mine, None).splits == mine.splits


def test_a_split_by_a_column_that_the_file_lacks_is_left_out_too(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("smiles\nCCO\n")
    (tmp_path / "whole.csv").write_text("smiles,part\nCCO,train\n")
    mine = recipe(theirs={"kind": "column", "column": "part"}, random={"kind": "random"})
    assert list(with_source(mine, tmp_path / "own.csv").splits) == ["random"]
    assert with_source(mine, tmp_path / "whole.csv").splits == mine.splits


def test_a_recipe_whose_splits_need_no_list_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("smiles\nCCO\n")
    mine = recipe(scaffold={"kind": "scaffold"}, random={"kind": "random"})
    own = with_source(mine, tmp_path / "own.csv")
    assert own.splits == mine.splits and own.warning is None


def test_pcqm4m_from_a_file_of_one_s_own_needs_no_list_from_the_network(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("smiles,homolumogap,z,pos,bonds\nC,5,[6],[0],[]\n")
    own = with_source(load_recipe("pcqm4m_g25_n4"), tmp_path / "own.csv")
    assert list(own.splits) == ["random", "scaffold"] and own.default_split == "random"


def test_without_identifiers_a_flag_of_a_list_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("smiles,mu\nCCO,1\n")
    own = with_source(load_recipe("qm9"), tmp_path / "own.csv")
    assert not own.flags and "left out: flag uncharacterized" in own.warning
    (tmp_path / "numbered.csv").write_text("mol_id,smiles,mu\ngdb_1,CCO,1\n")
    assert "uncharacterized" in with_source(load_recipe("qm9"), tmp_path / "numbered.csv").flags
