"""Rows are kept by what a column holds; the others are dropped with that reason, and counted."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.recipes.registry import make_recipe
from molnb.recipes.sources import recipe_for_file
from molnb.recipes.values.row_filters import RowFilter
from molnb.shards import Shards

TABLE = """smiles,IC50,units,level
CCO,10,nM,1
CCN,0.02,uM,1.0
CCC,30,nM ,2
CCCC,40,,1
C(,50,pM,1
CCCCC,60,nM,01
"""


def curate_where(folder: Path, where: dict | list, text: str = TABLE) -> Shards:
    """The table above, or another, with a filter."""
    file = folder / "assay.csv"
    file.write_text(text)
    recipe = recipe_for_file(file, labels=["IC50:nM"], where=where)
    return curate(recipe, workers=0, home=folder, progress=False)


def test_rows_that_are_left_out_are_dropped_with_the_column_and_their_cell(tmp_path: Path) -> None:
    shards = curate_where(tmp_path, {"units": "nM"})
    assert shards.smiles() == ["CCO", "CCC", "CCCCC"]
    assert shards.manifest["dropped"] == {"filter": {"where: units": 3}}
    dropped = shards.dropped().to_pylist()
    assert [(row["line"], row["detail"]) for row in dropped] == [(3, "uM"), (5, ""), (6, "pM")]
    assert {row["step"] for row in dropped} == {"filter"}
    assert shards.manifest["n_kept"] + shards.manifest["n_dropped"] == 6
    missing = shards.manifest["molecules"]["missing_in_source"]["IC50"]
    assert missing == {"row left out by where": 3}
    assert "filter: where: units 3" in shards.summary()
    assert "left out by where" not in " ".join(shards.manifest["notices"])


@pytest.mark.parametrize(
    ("where", "smiles"),
    [
        ({"units": ["nM", "uM"]}, ["CCO", "CCN", "CCC", "CCCCC"]),
        ({"level": 1}, ["CCO", "CCN", "CCCC", "CCCCC"]),
        ({"level": "1.0"}, ["CCO", "CCN", "CCCC", "CCCCC"]),
        ({"units": ["", "nM"], "level": [1]}, ["CCO", "CCCC", "CCCCC"]),
        ({"units": "uM"}, ["CCN"]),
        (["units=nM", "units=uM", "level=2"], ["CCC"]),
    ],
)
def test_cells_are_compared_as_text_and_numbers_by_value(
    tmp_path: Path, where: dict | list, smiles: list[str]
) -> None:
    assert curate_where(tmp_path, where).smiles() == smiles


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"units": "NM"}, "column 'units' should hold 'NM', it holds 'nM' 3"),
        ({"unit": "nM"}, "has no column 'unit' .did you mean 'units'"),
    ],
)
def test_a_filter_that_keeps_nothing_or_has_no_column_is_refused(
    tmp_path: Path, where: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        curate_where(tmp_path, where)
    assert not list((tmp_path / "data").glob("assay-*"))


def test_a_malformed_row_is_that_and_not_left_out(tmp_path: Path) -> None:
    shards = curate_where(tmp_path, {"units": "nM"}, TABLE + "CCCl,5\n")
    assert shards.manifest["dropped"]["read"] == {"malformed row": 1}


def test_another_filter_makes_other_molecules(tmp_path: Path) -> None:
    nanomolar = curate_where(tmp_path, {"units": "nM"})
    both = curate_where(tmp_path, {"units": ["nM", "uM"]})
    assert nanomolar.manifest["molecules_id"] != both.manifest["molecules_id"]


def test_the_column_may_stand_in_the_joined_table(tmp_path: Path) -> None:
    (tmp_path / "mols.csv").write_text("smiles,id\nCCO,a\nCCN,b\nCCC,c\n")
    (tmp_path / "acts.csv").write_text("key,y,units\na,1,nM\nb,2,uM\n")
    recipe = make_recipe(
        {
            "name": "joined", "title": "t", "licence": "n", "citation": "n",
            "source": {
                "kind": "file", "file": str(tmp_path / "mols.csv"),
                "join": {"file": str(tmp_path / "acts.csv"), "key": "id", "column": "key"},
            },
            "labels": [
                {"name": "y", "column": "y", "quantity": "q", "unit": "nM", "theory": "t",
                 "geometry": "none"}
            ],
            "where": {"units": "nM"},
        }
    )  # fmt: skip
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    assert shards.smiles() == ["CCO"]
    assert shards.manifest["dropped"] == {"filter": {"where: units": 2}}


def test_numbers_and_truths_of_a_parquet_file_are_compared_alike(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    columns = {"smiles": ["CCO", "CCN", "CCC"], "fine": [True, False, None], "set": [1, 2, 1]}
    pq.write_table(pa.table(columns), file)
    for where, smiles in (({"fine": True}, ["CCO"]), ({"set": "1"}, ["CCO", "CCC"])):
        recipe = recipe_for_file(file, where=where)
        shards = curate(recipe, workers=0, home=tmp_path, progress=False)
        assert shards.smiles() == smiles


def test_a_list_of_truths_means_truths() -> None:
    recipe = {
        "name": "x", "title": "x", "licence": "n", "citation": "n",
        "source": {"kind": "file", "file": "x.csv"}, "where": {"fine": [True], "n": [1, "a"]},
    }  # fmt: skip
    row_filter = RowFilter(make_recipe(recipe).where)
    assert row_filter.judge({"fine": "TRUE", "n": "1.0"}, {}) == (None, None)
    assert row_filter.judge({"fine": "1", "n": "a"}, {}) == ("fine", "1")
