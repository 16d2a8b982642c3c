"""Mol and XYZ files, folders of them and workbooks are read; what is not says what to do."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import pandas as pd
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from molnb.chemistry.failures import MoleculeError
from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.inference.featurizer import featurize
from molnb.inference.inputs import find_shards, read_molecules
from molnb.recipes.readers import column_names, read_records
from molnb.recipes.readers.record import Record
from molnb.recipes.source_schema import Source
from molnb.recipes.sources import find_source, recipe_for_file

WATER = "3\nwater\nO 0 0 0.12\nH 0 0.76 -0.48\nH 0 -0.76 -0.48\n"


def in_3d(smiles: str, title: str = "") -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    mol.SetProp("_Name", title)
    return mol


def read(folder: Path, text: str, name: str = "mine.xyz") -> list[Record]:
    path = folder / name
    path.write_text(text)
    return list(read_records(Source(kind="file", file=str(path)), path))


def smiles_of(record: Record) -> str:
    return Chem.MolToSmiles(Chem.MolFromMolBlock(record.molblock))


# ---------------------------------------------------------------------------------- XYZ files


@pytest.mark.parametrize(
    "smiles",
    """CCO O C c1ccccc1 CC(=O)O C#N C[N+](=O)[O-] CS(C)(=O)=O N[C@@H](C)C(=O)O F/C=C/F
    c1ccc2[nH]ccc2c1 FC(F)(F)Cl O=C=O Cn1c(=O)c2c(ncn2C)n(C)c1=O""".split(),
)
def test_bonds_follow_from_the_geometry(tmp_path: Path, smiles: str) -> None:
    mol = in_3d(smiles)
    (record,) = read(tmp_path, Chem.MolToXYZBlock(mol))
    assert record.problem is None and smiles_of(record) == Chem.CanonSmiles(smiles)
    conformer = Chem.MolFromMolBlock(record.molblock, removeHs=False).GetConformer()
    assert conformer.Is3D()
    difference = conformer.GetPositions() - mol.GetConformer().GetPositions()
    assert abs(difference).max() < 1e-4, "Å, to the digits of a mol block"


@pytest.mark.parametrize("smiles, charge", [("C[NH3+]", "+1"), ("CC(=O)[O-]", "-1")])
def test_a_charge_counts_where_the_comment_states_it(
    tmp_path: Path, smiles: str, charge: str
) -> None:
    lines = Chem.MolToXYZBlock(in_3d(smiles)).splitlines()
    (record,) = read(tmp_path, "\n".join(lines))
    assert record.problem.startswith("no bonds could be perceived (Final molecular charge (0)")
    lines[1] = f"energy=-5.0 charge={charge}"
    (record,) = read(tmp_path, "\n".join(lines))
    assert smiles_of(record) == smiles and record.fields["name"] == "mine"
    assert record.fields["energy"] == "-5.0"


@pytest.mark.parametrize(
    "text, lines, problem",
    [
        (WATER.replace("3\n", "4\n"), [1], "3 atoms where the frame states 4"),
        (WATER.replace("3\n", "2\n"), [1], "3 atoms where the frame states 2"),
        (WATER.replace("0.76", "x"), [1, 4], "1 atoms where the frame states 3"),
        (WATER.replace("O ", "Qq "), [1], "no bonds could be perceived ('Qq' is no element)"),
        ("1\nmethyl\nC nan 0 0\n", [1, 3], "0 atoms where the frame states 1"),
        ("2\nno pair\nC 0 0 0\nC 0 0 9\n", [1], "no bonds could be perceived"),
        ("0\nnothing\n", [1], "a frame without atoms"),
        ("a table, 1, 2\n", [1], "no number of atoms, with which a frame begins: 'a table, 1, 2'"),
        ("", [], ""),
    ],
)
def test_a_frame_that_is_no_molecule_is_malformed_and_says_why(
    tmp_path: Path, text: str, lines: list[int], problem: str
) -> None:
    records = read(tmp_path, text + WATER)
    assert smiles_of(records[-1]) == "O" and records[-1].line == 1 + text.count("\n")
    bad = records[:-1]
    assert [record.line for record in bad] == lines
    assert all(record.problem for record in bad)
    assert not bad or bad[0].problem.startswith(problem)


@pytest.mark.parametrize("smiles", ["CCSC(C)=O", "CCOC(=O)C=CSc1ccccc1", "O=C1CC(=C)C(=O)S1"])
def test_a_thioester_is_never_read_as_another_molecule(tmp_path: Path, smiles: str) -> None:
    (record,) = read(tmp_path, Chem.MolToXYZBlock(in_3d(smiles)))
    if record.problem is None:
        mol = Chem.MolFromMolBlock(record.molblock)
        assert Chem.MolToSmiles(mol, isomericSmiles=False) == Chem.CanonSmiles(smiles)
    else:
        assert "a sulfur would be S+ with a double bond" in record.problem


@pytest.mark.parametrize(
    "smiles", ["C1OC2CC12", "C1C2CN1C2", "C1CC2(C1)CO2", "C12C3C4C1C5C2C3C45", "CC1OC1C1CC1"]
)
def test_bonds_of_strained_rings_are_no_more_than_there_are(tmp_path: Path, smiles: str) -> None:
    mol = in_3d(smiles)
    AllChem.MMFFOptimizeMolecule(mol)
    (record,) = read(tmp_path, Chem.MolToXYZBlock(mol))
    mol = Chem.MolFromMolBlock(record.molblock)
    assert Chem.MolToSmiles(mol, isomericSmiles=False) == Chem.CanonSmiles(smiles)


def test_frames_have_their_own_names(tmp_path: Path) -> None:
    other = WATER.replace("water", "")
    records = read(tmp_path, WATER + other + "\n" + other.replace("O", "8").replace("H", "1"))
    assert [record.fields["name"] for record in records] == ["water", "mine 2", "mine 3"]
    assert [record.line for record in records] == [1, 6, 12]
    assert {smiles_of(record) for record in records} == {"O"}


def test_lines_that_qm9_writes_behind_the_atoms_belong_to_the_frame(tmp_path: Path) -> None:
    tail = "1341.3\t3880.2\t3995.1\nO\tO\nInChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2\n"
    text = WATER.replace("0.76 ", "7.6*^-1 ").replace("water", "gdb 3\t799.5") + tail
    assert [smiles_of(record) for record in read(tmp_path, text)] == ["O"]


# ------------------------------------------------------------------- mol files and folders


def test_a_mol_file_is_one_molecule_named_by_its_title_or_its_file(tmp_path: Path) -> None:
    source = Source(kind="file", file="mine.mol")
    for title, name in (("ethanol", "ethanol"), ("", "mine")):
        mol = in_3d("CCO", title)
        (record,) = read(tmp_path, Chem.MolToMolBlock(mol), "mine.mol")
        assert smiles_of(record) == "CCO" and record.fields == {"name": name}
        assert column_names(source, tmp_path / "mine.mol") == ["name"]
    assert recipe_for_file(tmp_path / "mine.mol").columns.smiles is None


def make_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "b.mol").write_text(Chem.MolToMolBlock(in_3d("CCO")))
    (folder / "c.XYZ").write_text(Chem.MolToXYZBlock(in_3d("CCN")))
    items = "> <y>\n5\n\n$$$$\n"
    text = Chem.MolToMolBlock(in_3d("CCC", "propane")) + items + "\nlost\n$$$$\n"
    (folder / "a.sdf.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "notes.txt").write_text("no molecule")
    (folder / ".hidden.mol").write_text("no molecule")
    return folder


def test_a_folder_is_read_file_by_file_in_the_order_of_names(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "ligands")
    source = Source(kind="file", file=str(folder))
    records = list(read_records(source, folder))
    files = ["a.sdf.gz", "a.sdf.gz", "b.mol", "c.XYZ"]
    assert [record.fields["file"] for record in records] == files
    assert [record.fields["name"] for record in records] == ["propane", "a 2", "b", "c"]
    assert [r.problem for r in records] == [None, "no 'M  END' in the record", None, None]
    good = [smiles_of(record) for record in records if record.problem is None]
    assert good == ["CCC", "CCO", "CCN"]
    assert column_names(source, folder) == ["name", "file", "y"]


def test_a_folder_is_answered_molecule_by_molecule(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "ligands")
    assert find_shards(folder) is None, "no curated molecules, but a source of molecules"
    molecules = list(read_molecules(folder))
    assert isinstance(molecules[1], MoleculeError) and molecules[1].reason == "malformed row"
    good = [Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in molecules if mol is not molecules[1]]
    assert good == ["CCC", "CCO", "CCN"]


def test_a_folder_is_curated_and_known_by_its_content(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "ligands")
    recipe = recipe_for_file(folder, labels={"y": "1"})
    digest = find_source(recipe, tmp_path).sha256
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    table = shards.table(["smiles", "id"]).to_pandas()
    assert dict(zip(table["id"], table["smiles"])) == {"propane": "CCC", "b": "CCO", "c": "CCN"}
    assert [row["reason"] for row in shards.dropped().to_pylist()] == ["malformed row"]
    (folder / "notes.txt").write_text("other notes")
    assert find_source(recipe, tmp_path).sha256 == digest, "notes are no molecules"
    (folder / "b.mol").rename(folder / "d.mol")
    assert find_source(recipe, tmp_path).sha256 != digest


def test_a_folder_without_structures_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.pdf").touch()
    with pytest.raises(InputError, match=r"without a file that ends in .sdf.*it holds: .pdf"):
        recipe_for_file(tmp_path)


@pytest.mark.parametrize("name", ["mine.xyz", "mine.mol", "mine.sdf"])
def test_given_coordinates_reach_the_model(tmp_path: Path, name: str) -> None:
    mol = in_3d("CCO")
    write = Chem.MolToXYZBlock if name.endswith("xyz") else Chem.MolToMolBlock
    (tmp_path / name).write_text(write(mol))
    (molecule,) = read_molecules(tmp_path / name)
    coords = featurize(molecule, conformer="given").coords
    positions = mol.GetConformer().GetPositions()
    assert coords.shape == (9, 3)
    length = ((positions[0] - positions[1]) ** 2).sum() ** 0.5
    assert ((coords[0] - coords[1]) ** 2).sum() ** 0.5 == pytest.approx(length, abs=1e-3)


# ---------------------------------------------------------------------------------- workbooks


def test_a_workbook_is_read_from_its_first_row_with_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nan = float("nan")
    cells = [[nan, nan, nan], ["ID", " SMILES ", nan], [1, "CCO", "x"], [nan] * 3, ["b", "N", nan]]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(pd, "read_excel", lambda path, **_: pd.DataFrame(cells, dtype=object))
    (tmp_path / "mine.xlsx").touch()
    recipe = recipe_for_file(tmp_path / "mine.xlsx")
    assert (recipe.columns.smiles, recipe.columns.id) == ("SMILES", "ID")
    records = list(read_records(recipe.source, tmp_path / "mine.xlsx"))
    assert [record.line for record in records] == [3, 5]
    assert records[0].fields == {"ID": 1, "SMILES": "CCO", "column_3": "x"}
    assert records[1].fields == {"ID": "b", "SMILES": "N", "column_3": None}


def test_a_workbook_of_real_bytes(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    table = pd.DataFrame({"id": ["NA", "2"], "smiles": ["CCO", "CCN"], "y": [0.5, None]})
    table.to_excel(tmp_path / "mine.xlsx", index=False)
    source = Source(kind="file", file="mine.xlsx")
    records = list(read_records(source, tmp_path / "mine.xlsx"))
    assert [tuple(record.fields.values()) for record in records] == [
        ("NA", "CCO", 0.5),
        ("2", "CCN", None),
    ]
    (tmp_path / "mine.xlsx").write_bytes(b"no workbook")
    with pytest.raises(InputError, match="not a readable workbook.*as CSV"):
        column_names(source, tmp_path / "mine.xlsx")


def test_without_openpyxl_a_workbook_is_refused_with_two_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "mine.xlsx").touch()
    with pytest.raises(InputError, match=r"pip install 'molnb\[files\]'.*or save the sheet as CSV"):
        recipe_for_file(tmp_path / "mine.xlsx")


@pytest.mark.parametrize(
    "name, advice",
    [
        ("mine.rar", "What to do: unpack it, and name the file or the folder"),
        ("mine.7z", "What to do: unpack it"),
        ("mine.npy", "numpy.savez"),
        ("mine.xls", "What to do: save or export the table as CSV"),
        ("mine.ods", "What to do: save or export the table as CSV"),
        ("mine.json", "What to do: save or export the table as CSV"),
        ("mine.mol2", "obabel mine.mol2 -O mine.sdf"),
        ("mine.pdb", "obabel mine.pdb -O mine.sdf"),
        ("mine.rxn", "name molecules, and no reaction"),
        ("mine.abc", "let its name end in one of these, or set source.format"),
        ("mine", "let its name end in one of these, or set source.format"),
    ],
)
def test_other_files_are_refused_with_what_to_do(tmp_path: Path, name: str, advice: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"{name}: the ending .*known: .smi, .*{advice}"):
        recipe_for_file(tmp_path / name)
