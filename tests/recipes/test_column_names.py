"""Columns of structures and identifiers are found by usual names; SMILES files may name theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from molnb.errors import InputError, did_you_mean
from molnb.recipes.readers import column_names, read_records
from molnb.recipes.readers.record import Record
from molnb.recipes.source_schema import Source
from molnb.recipes.sources import recipe_for_file


def columns_of(folder: Path, header: str) -> tuple[str, str | None]:
    """The columns of structures and of identifiers that are found under a header."""
    path = folder / "mine.csv"
    path.write_text(f"{header}\n{','.join('C' for _ in header.split(','))}\n")
    columns = recipe_for_file(path).columns
    return columns.smiles, columns.id


@pytest.mark.parametrize(
    "name",
    """ID|id|Name|NAME|Molecule Name|molecule_name|CID|PubChem CID|Compound|Compound ID|compound_id|
    Molecule ChEMBL ID|zinc_id|ZINC-ID|mol_id|Compound_No.|CAS Number|DTXSID|Drug_ID|cmpd_id|
    gdb_id|NSC|#ID|Title|molregno""".split("|"),
)  # fmt: skip
def test_identifiers_are_found_under_usual_names_and_keep_them(tmp_path: Path, name: str) -> None:
    name = name.strip()
    assert columns_of(tmp_path, f"y,smiles,{name},z") == ("smiles", name)
    assert columns_of(tmp_path, f" {name} ,smiles") == ("smiles", name)


@pytest.mark.parametrize("name", "y nM width identity Activity_ID_type valid grid date".split())
def test_other_columns_are_no_identifiers(tmp_path: Path, name: str) -> None:
    assert columns_of(tmp_path, f"{name},smiles")[1] is None


def test_the_first_column_of_identifiers_counts(tmp_path: Path) -> None:
    assert columns_of(tmp_path, "y,CID,smiles,Name")[1] == "CID"
    assert columns_of(tmp_path, "Name,y,smiles,ID")[1] == "Name"


@pytest.mark.parametrize(
    "header, name",
    [
        ("id,Smiles", "Smiles"),
        ("canonical_smiles,y", "canonical_smiles"),
        ("Canonical SMILES,y", "Canonical SMILES"),
        ("id,CXSMILES,logD", "CXSMILES"),
        ("Smiles_unify,value", "Smiles_unify"),
        ("id, SMILES String ,y", "SMILES String"),
        ("isomericSMILES,y", "isomericSMILES"),
        ("id,smiles (curated)", "smiles (curated)"),
        ("SMILES,canonical_smiles,y", "SMILES"),
        ("canonical_smiles,smiles_of_metabolite", "canonical_smiles"),
        ("Drug_ID,Drug,Y", "Drug"),
        ("mol,CID,Class", "mol"),
        ("Structure,ID", "Structure"),
        ("smi,y", "smi"),
    ],
)
def test_structures_are_found_under_usual_names(tmp_path: Path, header: str, name: str) -> None:
    assert columns_of(tmp_path, header)[0] == name


@pytest.mark.parametrize(
    "header, candidates",
    [
        ("SMILES,smiles,y", "'SMILES' or 'smiles'"),
        ("canonical_smiles,isomeric_smiles", "'canonical_smiles' or 'isomeric_smiles'"),
        ("reactant_smiles,product_smiles", "'reactant_smiles' or 'product_smiles'"),
        ("Drug,mol", "'Drug' or 'mol'"),
    ],
)
def test_where_several_columns_could_hold_them_the_message_lists_these(
    tmp_path: Path, header: str, candidates: str
) -> None:
    with pytest.raises(InputError, match=f"It could be {candidates}.*Name one with --smiles"):
        columns_of(tmp_path, header)


@pytest.mark.parametrize(
    "name, choices, expected",
    [
        ("smiles", ["id", "SMILES"], "SMILES"),
        ("LOGS", ["logS", "logP"], "logS"),
        ("ic50", ["IC50", "IC90"], "IC50"),
        ("molecule name", ["Molecule Name"], "Molecule Name"),
        ("SMILE", ["Smiles"], "Smiles"),
        ("PIC50", ["pIC50 (nM)", "pIC50"], "pIC50"),
        ("löslichkeit", ["Löslichkeit"], "Löslichkeit"),
        ("Y", ["y", "z"], "y"),
        ("CHEMBLID", ["ChEMBL_ID"], "ChEMBL_ID"),
        ("Nci", ["nci", "wehi"], "nci"),
    ],
)
def test_the_nearest_name_is_found_whatever_its_case(
    name: str, choices: list[str], expected: str
) -> None:
    assert did_you_mean(name, choices) == f" (did you mean {expected!r}?)"
    assert did_you_mean("quite another", choices) == ""


# ------------------------------------------------------------------------------- SMILES files


def read(folder: Path, text: str) -> list[Record]:
    (folder / "mine.smi").write_text(text)
    return list(read_records(Source(kind="file", file="mine.smi"), folder / "mine.smi"))


@pytest.mark.parametrize(
    "text, names, rows",
    [
        ("smiles zinc_id\nCCO Z1\nCCN Z2\n", ["smiles", "zinc_id"], [("CCO", "Z1"), ("CCN", "Z2")]),
        (
            "SMILES\tName\nCCO\tethyl alcohol\nCCN\n",
            None,
            [("CCO", "ethyl alcohol"), ("CCN", None)],
        ),
        ("SMILES Name\nCCO ethyl alcohol\nCCN\n", None, [("CCO", "ethyl alcohol"), ("CCN", None)]),
        (
            "smiles\nCCO ethyl alcohol\nCCN\n",
            ["smiles", "name"],
            [("CCO", "ethyl alcohol"), ("CCN", None)],
        ),
        (
            "\n#SMILES\tID\tpIC50\nCCO\ta b\t5\nCCN\t\t6\n",
            ["#SMILES", "ID", "pIC50"],
            [("CCO", "a b", "5"), ("CCN", None, "6")],
        ),
        (
            "canonical_smiles id logP\nCCO a 5\nCCN b 6\n",
            ["canonical_smiles", "id", "logP"],
            [("CCO", "a", "5"), ("CCN", "b", "6")],
        ),
        ("zinc_id smiles\nZ1 CCO\nZ2 CCN\n", ["zinc_id", "smiles"], [("Z1", "CCO"), ("Z2", "CCN")]),
        ("id\tsmiles\ty\na b\tCCO\t5\n", ["id", "smiles", "y"], [("a b", "CCO", "5")]),
        (
            "CXSMILES ID\nC[C@H](N)O |&1:1| a\nCCO b\n",
            ["CXSMILES", "ID"],
            [("C[C@H](N)O |&1:1|", "a"), ("CCO", "b")],
        ),
        ("id smiles\na C[C@H](N)O |&1:1|\n", ["id", "smiles"], [("a", "C[C@H](N)O |&1:1|")]),
        ("smiles\tid\r\nCCO\ta\r\nCCN\tb\t\r\n", ["smiles", "id"], [("CCO", "a"), ("CCN", "b")]),
        (
            "CID\tOPENEYE_CAN_SMILES\ty\n5\tCCO\t1\n6\tCCN\t2\n",
            ["CID", "OPENEYE_CAN_SMILES", "y"],
            [("5", "CCO", "1"), ("6", "CCN", "2")],
        ),
        ("OPENEYE_ISO_SMILES CID\nCCO 5\n", ["OPENEYE_ISO_SMILES", "CID"], [("CCO", "5")]),
        ("SMILES_neutral id\nCCO 5\n", ["SMILES_neutral", "id"], [("CCO", "5")]),
        ("Input_SMILES\tID\nCCO\ta\n", ["Input_SMILES", "ID"], [("CCO", "a")]),
    ],
)
def test_a_first_line_of_names_names_the_columns_and_is_no_molecule(
    tmp_path: Path, text: str, names: list[str] | None, rows: list[tuple]
) -> None:
    names = names or ["SMILES", "Name"]
    records = read(tmp_path, text)
    assert [tuple(r.fields.values()) for r in records] == rows
    assert [list(r.fields) for r in records] == [names] * len(rows)
    assert not any(r.problem for r in records)
    assert records[0].line == (3 if text.startswith("\n") else 2)
    source = Source(kind="file", file="mine.smi")
    assert column_names(source, tmp_path / "mine.smi") == names
    columns = recipe_for_file(tmp_path / "mine.smi").columns
    assert columns.smiles in names and columns.id in names and columns.smiles != columns.id


@pytest.mark.parametrize(
    "line, fields",
    [
        ("CCO", {"smiles": "CCO", "name": None}),
        ("  CCO  ethanol ", {"smiles": "CCO", "name": "ethanol"}),
        ("CCO\tZ1", {"smiles": "CCO", "name": "Z1"}),
        ("CCO\tethyl alcohol\t5", {"smiles": "CCO", "name": "ethyl alcohol", "column_3": "5"}),
        (
            "CCO\tZ1\t5\tactive",
            {"smiles": "CCO", "name": "Z1", "column_3": "5", "column_4": "active"},
        ),
        ("CCO\tZ1\t\t7", {"smiles": "CCO", "name": "Z1", "column_3": "", "column_4": "7"}),
        ("CCO Z1 5", {"smiles": "CCO", "name": "Z1 5", "column_2": "Z1", "column_3": "5"}),
        ("C[C@H](N)O |&1:1|", {"smiles": "C[C@H](N)O |&1:1|", "name": None}),
        ("C[C@H](N)O |&1:1| name", {"smiles": "C[C@H](N)O |&1:1|", "name": "name"}),
        (
            "C[C@H](N)O |o1:1|\tmy name\t5",
            {"smiles": "C[C@H](N)O |o1:1|", "name": "my name", "column_3": "5"},
        ),
        ("C[C@H](N)O\t|&1:1|\tname", {"smiles": "C[C@H](N)O |&1:1|", "name": "name"}),
        ("*CC |$R1 a;;$,a:1| x", {"smiles": "*CC |$R1 a;;$,a:1|", "name": "x"}),
        ("CCO smiles", {"smiles": "CCO", "name": "smiles"}),
    ],
)
def test_a_line_holds_structure_name_and_columns(
    tmp_path: Path, line: str, fields: dict[str, str | None]
) -> None:
    (record,) = read(tmp_path, line + "\n")
    assert (record.line, record.fields, record.problem) == (1, fields, None)


@pytest.mark.parametrize(
    "line, problem",
    [
        ("CCO |&1:1 name", "the extension '|&1:1 name' behind the SMILES has no second '|'"),
        ("\tZ1\t5", "no SMILES before the first tab"),
        ("CC\0O name", "a NUL character stands in the line"),
    ],
)
def test_a_line_that_is_no_row_says_why(tmp_path: Path, line: str, problem: str) -> None:
    records = read(tmp_path, f"CCN a\n{line}\n")
    assert (records[1].line, records[1].problem) == (2, problem)
    if "\t" not in line:
        records = read(tmp_path, f"smiles id\nCCN a\n{line}\n")
        assert (records[1].line, records[1].problem) == (3, problem)


def test_under_a_header_a_field_too_many_is_malformed(tmp_path: Path) -> None:
    for text in ("smiles id y\nCCO a b 5\n", "smiles\tid\ty\nCCO\ta\tb\t5\n"):
        (record,) = read(tmp_path, text)
        assert record.problem == "4 fields where the header has 3"


def test_further_columns_of_a_smiles_file_can_be_labels(tmp_path: Path) -> None:
    read(tmp_path, "CCO\ta\t5\nCCN\tb\t6\n")
    recipe = recipe_for_file(tmp_path / "mine.smi", labels={"column_3": "1"})
    assert recipe.columns.id == "name" and recipe.labels[0].column == "column_3"
    source = Source(kind="file", file="mine.smi")
    assert column_names(source, tmp_path / "mine.smi") == ["smiles", "name", "column_3"]


@pytest.mark.parametrize("key", ["smiles", "identifier", "split_column"])
def test_a_column_without_a_name_is_in_no_table(tmp_path: Path, key: str) -> None:
    (tmp_path / "mine.csv").write_text("smiles,part\nCCO,train\n")
    with pytest.raises(InputError, match="has no column ''. Its columns are: smiles, part"):
        recipe_for_file(tmp_path / "mine.csv", **{key: ""})


def test_a_reserved_name_is_refused_with_the_column_that_can_be_named_anew(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("smiles,y\nCCO,1\n")
    with pytest.raises(InputError, match="--label 'y=NAME:UNIT'"):
        recipe_for_file(tmp_path / "mine.csv", labels=["y=charge:e"])
