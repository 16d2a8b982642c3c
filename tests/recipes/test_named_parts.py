"""Parts by number and by name, words of XYZ comments, and whose structure counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from molnb.errors import InputError
from molnb.recipes.chosen_columns import with_chosen_columns
from molnb.recipes.readers import column_names, read_records
from molnb.recipes.registry import make_recipe
from molnb.recipes.source_schema import Source, part_address
from molnb.recipes.sources import find_source
from molnb.units import conversion_factor, length_factor

METHANE = """5
-417.031 1.2 x
C 0 0 0
H 0.6276 0.6276 0.6276
H -0.6276 -0.6276 0.6276
H -0.6276 0.6276 -0.6276
H 0.6276 -0.6276 -0.6276
"""


def test_a_part_stands_in_its_address_as_a_number_padded_or_as_a_name() -> None:
    assert part_address("https://a/p_{part}.parquet", 7) == "https://a/p_7.parquet"
    assert part_address("https://a/p_{part:02}.parquet", 7) == "https://a/p_07.parquet"
    assert part_address("https://a/2D/{part}.smi", "AA/AAEA") == "https://a/2D/AA/AAEA.smi"


def test_parts_are_numbers_from_to_or_names_each_once() -> None:
    numbered = Source(kind="url", url="https://a/{part:02}.csv", parts=[1, 3])
    named = Source(kind="url", url="https://a/{part}.csv", parts=["x", "y"])
    assert numbered.part_names == [1, 2, 3]
    assert named.part_names == ["x", "y"]
    assert Source(kind="file", file="a.csv").part_names == []
    for parts in (["x", "x"], []):
        with pytest.raises(ValueError, match="parts by name"):
            Source(kind="url", url="https://a/{part}.csv", parts=parts)
    with pytest.raises(ValueError, match="where their number stands"):
        Source(kind="url", url="https://a/b.csv", parts=[1, 3])


def test_the_words_of_a_comment_are_columns_where_the_header_names_them(tmp_path: Path) -> None:
    path = tmp_path / "dsgdb7.xyz"
    path.write_text(METHANE + "\n" + METHANE.replace("1.2 x", "1.2"))
    source = Source(kind="file", file=str(path), header=["energy", "p", "mark"])
    assert column_names(source, path) == ["name", "energy", "p", "mark"]
    first, second = read_records(source, path)
    assert first.fields == {"name": "dsgdb7 1", "energy": "-417.031", "p": "1.2", "mark": "x"}
    assert first.problem is None and "V2000" in first.molblock
    assert second.problem == "2 words in the comment where the header names 3"


def chosen(tmp_path: Path, file: str, content: str, conformers: str) -> object:
    (tmp_path / file).write_text(content)
    recipe = make_recipe(
        {
            "name": "mine",
            "title": "mine",
            "licence": "none",
            "citation": "none",
            "source": {"kind": "file", "file": str(tmp_path / file)},
            "columns": {
                "smiles": ["smiles", "SMILES"],
                "geometry": {"numbers": "z", "coords": "pos"},
            },
            "conformers": conformers,
        }
    )
    return with_chosen_columns(recipe, find_source(recipe, tmp_path)).columns


def test_a_record_s_own_structure_counts_where_the_geometry_is_given(tmp_path: Path) -> None:
    from rdkit import Chem

    mol = Chem.MolFromSmiles("CCO")
    mol.SetProp("SMILES", "CCO")
    block = Chem.MolToMolBlock(mol) + "> <SMILES>\nCCO\n\n$$$$\n"
    given = chosen(tmp_path, "a.sdf", block, "given")
    assert given.smiles is None and given.geometry is None
    assert chosen(tmp_path, "a.sdf", block, "made").smiles == "SMILES"
    table = chosen(tmp_path, "a.csv", "smiles,z,pos\nC,[6],[0]\n", "given")
    assert table.smiles == "smiles" and table.geometry.coords == "pos"
    assert chosen(tmp_path, "a.csv", "smiles,y\nC,1\n", "given").geometry is None
    assert chosen(tmp_path, "a.csv", "smiles,z\nC,1\n", "given").geometry is not None


def test_a_table_without_any_of_the_names_of_smiles_is_refused(tmp_path: Path) -> None:
    from molnb.curation.pipeline import curate

    (tmp_path / "a.csv").write_text("structure,y\nC,1\n")
    recipe = make_recipe(
        {
            "name": "mine",
            "title": "mine",
            "licence": "none",
            "citation": "none",
            "source": {"kind": "file", "file": str(tmp_path / "a.csv")},
            "columns": {"smiles": ["smiles", "SMILES"]},
        }
    )
    with pytest.raises(InputError, match="no column 'smiles'"):
        curate(recipe, workers=0, home=tmp_path, progress=False)


def test_lengths_areas_and_volumes_of_atomic_units_agree() -> None:
    bohr = conversion_factor("a0", "Å")
    assert bohr**2 == pytest.approx(conversion_factor("a0^2", "Å^2"), rel=1e-9)
    assert bohr**3 == pytest.approx(conversion_factor("a0^3", "Å^3"), rel=1e-9)
    assert length_factor("1e-4 Å") == 1e-4
