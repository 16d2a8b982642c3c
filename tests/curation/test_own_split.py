"""The user's own split: taken as it is, its leaks counted, a missing part said."""

from __future__ import annotations

from pathlib import Path

import pytest

from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.recipes.sources import recipe_for_file
from molnb.shards import Shards


def curate_own(folder: Path, rows: list[tuple[str, str]], column: str = "part") -> Shards:
    """Molecules with the part that each row names."""
    file = folder / "own.csv"
    file.write_text(
        f"smiles,y,{column}\n" + "".join(f"{s},{i},{p}\n" for i, (s, p) in enumerate(rows))
    )
    recipe = recipe_for_file(file, labels=["y:1"], split_column=column)
    return curate(recipe, workers=0, home=folder, progress=False)


CHAINS = ["C" * n for n in range(2, 22)]


def test_parts_are_those_of_the_column(tmp_path: Path) -> None:
    names = ["train", "Valid", "TEST ", "", "training", "val", "testing", "validation"]
    shards = curate_own(tmp_path, list(zip(CHAINS, names, strict=False)))
    assert shards.array("split_own").tolist() == [0, 1, 2, -1, 0, 1, 2, 1]
    report = shards.manifest["splits"]["own"]
    assert (report["train"], report["val"], report["test"]) == (2, 3, 2)
    assert report["without_side"] == 1 and report["val_from_train"] == 0
    assert "split own: 1 molecules are in no part of it" in shards.summary()
    assert shards.table(["part"]).column(0).to_pylist() == names


@pytest.mark.parametrize("column", ["grp", "side", "size", "old", "mol", "groups", "own", "m"])
def test_the_column_may_be_called_as_anything_that_groups_are_found_by(
    tmp_path: Path, column: str
) -> None:
    names = ["train", "val", "test", "train"]
    shards = curate_own(tmp_path, list(zip(CHAINS, names, strict=False)), column)
    assert shards.array("split_own").tolist() == [0, 1, 2, 0]


def test_a_split_without_val_holds_some_of_training_back_and_says_so(tmp_path: Path) -> None:
    rows = [(s, "test" if i % 4 == 3 else "train") for i, s in enumerate(CHAINS)]
    shards = curate_own(tmp_path, rows)
    parts = shards.array("split_own").tolist()
    assert [i for i, part in enumerate(parts) if part == 2] == [3, 7, 11, 15, 19]
    assert parts.count(1) == round(0.1 * 15) == 2
    assert "2 training molecules are held back as val" in shards.summary()


def test_loose_duplicates_across_the_split_are_counted_and_printed(tmp_path: Path) -> None:
    rows = [
        ("C[C@H](N)C(=O)O", "train"),
        ("C[C@@H](N)C(=O)O", "test"),
        ("Oc1ccccn1", "val"),
        ("O=c1cccc[nH]1", "train"),
        ("CCCC", "test"),
        ("CCO", "train"),
        ("OCC", "test"),
    ]
    shards = curate_own(tmp_path, rows)
    assert shards.manifest["splits"]["own"]["parted_groups"] == 2
    assert "2 molecules of val and test have a stereoisomer, tautomer or salt" in shards.summary()
    assert (
        "1 molecules stand in rows of several parts; the part of the first row" in shards.summary()
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train", "fold1"], "'fold1' 1"),
        (["0", "1"], "names no part ('0' 1, '1' 1)"),
        (["test", "val"], "names no row for training"),
        (["", ""], "names no row for training"),
    ],
)
def test_a_column_that_is_no_split_is_refused_before_any_work(
    tmp_path: Path, names: list[str], message: str
) -> None:
    with pytest.raises(InputError, match="split column 'part'") as refused:
        curate_own(tmp_path, list(zip(CHAINS, names, strict=False)))
    assert message in str(refused.value)
    assert not list((tmp_path / "data").glob("own-*"))


def test_an_empty_part_is_said_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "few.csv"
    file.write_text("smiles\nCCO\nCCN\n")
    summary = curate(recipe_for_file(file), workers=0, home=tmp_path, progress=False).summary()
    assert "split scaffold: no molecules for val and test" in summary
    assert "training has no validation score" in summary


@pytest.mark.parametrize(
    ("row", "n_dropped"),
    [
        ("CCC,3,4,valid", 1),  # a comma too many: "4" stands in the split's column
        ("CCC,3,nobody knows,x,y", 1),
        ('"CCC,3,train', 1),  # a quote that does not close
        ("CCC,3", 1),
        ("CCC,3,val,", 0),
    ],
)
def test_a_malformed_row_does_not_speak_for_the_split(
    tmp_path: Path, row: str, n_dropped: int
) -> None:
    file = tmp_path / "own.csv"
    file.write_text(f"smiles,y,part\nCCO,1,train\n{row}\nCCN,2,test\nCCCC,3,train\n")
    recipe = recipe_for_file(file, labels=["y:1"], split_column="part")
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    assert shards.manifest["n_dropped"] == n_dropped
    assert shards.manifest["splits"]["own"]["without_side"] == 0


@pytest.mark.parametrize("name", ["split_own", "Split_Own"])
def test_the_own_column_may_bear_the_name_of_a_split(tmp_path: Path, name: str) -> None:
    shards = curate_own(tmp_path, [("CCO", "train"), ("CCN", "train"), ("CC", "test")], name)
    assert shards.array("split_own").tolist().count(2) == 1
    texts = shards.table([f"{name} (source)"]).column(0).to_pylist()
    assert texts == ["train", "train", "test"]


@pytest.mark.parametrize("name", ["split_random", "split_scaffold", "SPLIT_RANDOM"])
def test_a_label_never_hides_behind_a_split(tmp_path: Path, name: str) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(f"smiles,{name}\nCCO,5\nCCN,7\n")
    with pytest.raises(InputError, match="--label 'COLUMN=NAME:UNIT'"):
        recipe_for_file(file, labels=[f"{name}:1"])
    recipe = recipe_for_file(file, labels=[f"{name}=part:1"])
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    assert shards.table(["part"]).column(0).to_pylist() == [5, 7]
