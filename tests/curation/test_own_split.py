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
