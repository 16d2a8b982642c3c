"""Every mol block of a file is a row or a counted malformed one, and keeps its own properties."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdkit import Chem

from molnb.recipes.readers import column_names, read_records
from molnb.recipes.readers.record import Record
from molnb.recipes.source_schema import Source


def mol_file(smiles: str, title: str = "", v3000: bool = False) -> str:
    """A molecule as a mol block."""
    mol = Chem.MolFromSmiles(smiles)
    mol.SetProp("_Name", title)
    return Chem.MolToMolBlock(mol, forceV3000=v3000)


ETHANOL, ETHYLAMINE, PROPANE = map(mol_file, ("CCO", "CCN", "CCC"))
N_LINES = len(ETHANOL.splitlines())


def read(folder: Path, text: str) -> list[Record]:
    path = folder / "mine.sdf"
    path.write_bytes(text.encode())
    return list(read_records(Source(kind="file", file="mine.sdf"), path))


def molecules(records: list[Record]) -> list[str | None]:
    """The SMILES of each record; None where it is malformed."""
    return [
        None if r.problem else Chem.MolToSmiles(Chem.MolFromMolBlock(r.molblock)) for r in records
    ]


def item(name: str, value: str) -> str:
    return f"> <{name}>\n{value}\n\n"


JOINED = {
    "three mol files one behind the other": (
        ETHANOL + ETHYLAMINE + PROPANE,
        [("CCO", None), ("CCN", None), ("CCC", None)],
    ),
    "with titles": (
        mol_file("CCO", "a") + mol_file("CCN", "b"),
        [("CCO", None), ("CCN", None)],
    ),
    "each with its property and no $$$$": (
        ETHANOL + item("y", "1") + ETHYLAMINE + item("y", "2"),
        [("CCO", "1"), ("CCN", "2")],
    ),
    "the first without a property": (
        ETHANOL + ETHYLAMINE + item("y", "2") + "$$$$\n" + PROPANE + item("y", "3") + "$$$$\n",
        [("CCO", None), ("CCN", "2"), ("CCC", "3")],
    ),
    "one $$$$ forgotten in the middle": (
        ETHANOL + item("y", "1") + "$$$$\n" + ETHYLAMINE + item("y", "2")
        + PROPANE + item("y", "3") + "$$$$\n",
        [("CCO", "1"), ("CCN", "2"), ("CCC", "3")],
    ),
    "V3000": (
        mol_file("CCO", v3000=True) + item("y", "1") + mol_file("CCN", v3000=True) + item("y", "2"),
        [("CCO", "1"), ("CCN", "2")],
    ),
    "V3000 behind V2000": (
        ETHANOL + mol_file("CCN", v3000=True) + item("y", "2") + "$$$$\n",
        [("CCO", None), ("CCN", "2")],
    ),
    "files without a last line end": (
        ETHANOL.rstrip("\n") + ETHYLAMINE.rstrip("\n") + PROPANE.rstrip("\n"),
        [("CCO", None), ("CCN", None), ("CCC", None)],
    ),
    "a title that stands behind M  END": (
        mol_file("CCO", "a").rstrip("\n") + mol_file("CCN", "b"),
        [("CCO", None), ("CCN", None)],
    ),
    "line ends of DOS": (
        (ETHANOL + item("y", "1") + ETHYLAMINE + item("y", "2")).replace("\n", "\r\n"),
        [("CCO", "1"), ("CCN", "2")],
    ),
    "line ends of the old Mac": (
        (ETHANOL + item("y", "1") + "$$$$\n" + ETHYLAMINE + "$$$$\n").replace("\n", "\r"),
        [("CCO", "1"), ("CCN", None)],
    ),
    "no last $$$$": (
        ETHANOL + item("y", "1") + "$$$$\n" + ETHYLAMINE + item("y", "2"),
        [("CCO", "1"), ("CCN", "2")],
    ),
    "an empty property before the next file": (
        ETHANOL + "> <y>\n\n" + ETHYLAMINE + item("y", "2"),
        [("CCO", ""), ("CCN", "2")],
    ),
    "a heading before the first record": (
        "exported by the registry\n\n" + ETHANOL + item("y", "1") + "$$$$\n",
        [("CCO", "1")],
    ),
    "a blank line behind $$$$": (
        ETHANOL + item("y", "1") + "$$$$\n\n" + ETHYLAMINE + item("y", "2") + "$$$$\n\n\n",
        [("CCO", "1"), ("CCN", "2")],
    ),
    "two empty records": (ETHANOL + "$$$$\n$$$$\n\n$$$$\n", [("CCO", None), (None,), (None,)]),
    "a block cut off, and the next behind it": (
        "".join(ETHANOL.splitlines(True)[:-2]) + ETHYLAMINE + item("y", "2") + "$$$$\n",
        [(None,), ("CCN", "2")],
    ),
    "a second block without its counts line": (
        ETHANOL + item("y", "1") + "b\n  x\n\nC 0 0 0\nM  END\n" + item("y", "2") + "$$$$\n",
        [("CCO", "1"), (None,)],
    ),
    "two more blocks without their counts lines": (
        ETHANOL + item("y", "1") + 2 * ("b\n  x\n\nC 0 0 0\nM  END\n" + item("y", "2")) + "lost\n",
        [("CCO", "1"), (None,), (None,)],
    ),
    "a second block of which little is left": (
        ETHANOL + "lost\n" + item("y", "1") + "$$$$\n",
        [("CCO", "1"), (None,)],
    ),
    "text in the place of a block": (
        ETHANOL + "$$$$\nlost text\n\n\n" + "$$$$\n" + ETHYLAMINE,
        [("CCO", None), (None,), ("CCN", None)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("text, expected", JOINED.values(), ids=JOINED)
def test_every_block_is_a_row_with_its_own_value_or_a_malformed_one(
    tmp_path: Path, text: str, expected: list[tuple]
) -> None:
    records = read(tmp_path, text)
    assert molecules(records) == [row[0] for row in expected]
    values = [record.fields.get("y") for record in records if not record.problem]
    assert values == [row[1] for row in expected if row[0] is not None]


def test_a_record_is_named_by_its_own_title_and_its_first_line(tmp_path: Path) -> None:
    blocks = [mol_file(s, t) for s, t in (("CCO", "a"), ("CCN", ""), ("CCC", "c"))]
    records = read(tmp_path, "".join(blocks))
    assert [r.fields["name"] for r in records] == ["a", None, "c"]
    assert [r.line for r in records] == [1, 1 + N_LINES, 1 + 2 * N_LINES]
    glued = read(tmp_path, "".join(block.rstrip("\n") for block in blocks))
    assert [r.fields["name"] for r in glued] == ["a", None, "c"]
    assert [r.line for r in glued] == [1, N_LINES, 2 * N_LINES - 1], "the line with the title"


VALUES = {
    ">10000": ">10000",
    "> 30": "> 30",
    "<0.5": "<0.5",
    ">=5": ">=5",
    "><3": "><3",
    ">> <y> 99": ">> <y> 99",
    "> <y> 99 is another": "> <y> 99 is another",
    ">": ">",
    "3.5\n4.5": "3.5\n4.5",
    "first\n\nsecond": "first\n\nsecond",
    "first\n\n\n>10 beyond\n third": "first\n\n\n>10 beyond\n third",
    "\nbehind a blank line": "behind a blank line",
    "$ 5 and M  END": "$ 5 and M  END",
    "": "",
}


@pytest.mark.parametrize("written, value", VALUES.items())
def test_a_value_is_kept_whole(tmp_path: Path, written: str, value: str) -> None:
    record = item("before", "1") + item("note", written) + item("y", "5") + "$$$$\n"
    records = read(tmp_path, ETHANOL + record + ETHYLAMINE + "$$$$\n")
    assert molecules(records) == ["CCO", "CCN"]
    fields = {"name": None, "before": "1", "note": value, "y": "5"}
    assert records[0].fields == fields and records[1].fields == {"name": None}


@pytest.mark.parametrize(
    "header",
    ["> <y>", "><y>", ">  <y>", "> 25 <y>", ">  <y>  (1)", "> <y> (25)", "> (md-8) <y>", "> <y> "],
)
def test_headers_of_properties_are_written_in_many_ways(tmp_path: Path, header: str) -> None:
    (record,) = read(tmp_path, f"{ETHANOL}{item('x', '1')}{header}\n2\n\n$$$$\n")
    assert record.fields == {"name": None, "x": "1", "y": "2"}


def test_properties_may_bear_the_names_of_our_own(tmp_path: Path) -> None:
    properties = item("molblock", "x") + item("name", "aspirin") + item("file", "a.mol")
    text = mol_file("CCO", "title 1") + properties + "$$$$\n"
    (record,) = read(tmp_path, text)
    assert molecules([record]) == ["CCO"]
    assert record.fields == {
        "molblock": "x",
        "name": "aspirin",
        "file": "a.mol",
        "title": "title 1",
    }


@pytest.mark.parametrize("title", ["", "other"])
@pytest.mark.parametrize("v3000", [False, True])
def test_a_mol_block_may_be_a_value(tmp_path: Path, title: str, v3000: bool) -> None:
    inner = mol_file("c1ccccc1", title, v3000)
    text = ETHANOL + f"> <molfile>\n{inner}\n" + item("y", "5") + "$$$$\n" + ETHYLAMINE
    records = read(tmp_path, text)
    assert molecules(records) == ["CCO", "CCN"] and records[0].fields["y"] == "5"
    assert records[0].fields["molfile"].splitlines()[-1] == "M  END"


def test_two_values_of_one_name_are_both_kept(tmp_path: Path) -> None:
    text = ETHANOL + item("y", "5") + item("y", "5") + item("z", "1") + item("z", "2") + "$$$$\n"
    (record,) = read(tmp_path, text)
    assert record.fields == {"name": None, "y": "5", "z": "1\n2"}


def test_columns_are_those_of_all_records_and_name_only_where_there_are_titles(
    tmp_path: Path,
) -> None:
    source = Source(kind="file", file="mine.sdf")
    read(tmp_path, ETHANOL + item("y", "") + "$$$$\n" + ETHYLAMINE + item("z", "1") + "$$$$\n")
    assert column_names(source, tmp_path / "mine.sdf") == ["y", "z"]
    read(tmp_path, ETHANOL + item("y", "1") + "$$$$\n" + mol_file("CCN", "b"))
    assert column_names(source, tmp_path / "mine.sdf") == ["y", "name"]


def test_a_nul_character_makes_a_record_malformed(tmp_path: Path) -> None:
    (record,) = read(tmp_path, ETHANOL.replace("RDKit", "RD\0it"))
    assert record.problem == "a NUL character stands in the record"


@pytest.mark.parametrize(
    "title", ["12 V2000", "13 V3000", "1 2 3 V2000", "3  2  0 batch V2000", "7", "V2000"]
)
def test_a_title_that_looks_like_counts_is_a_title(tmp_path: Path, title: str) -> None:
    body = "\n".join(ETHANOL.splitlines()[1:]) + "\n"
    other = "\n".join(ETHYLAMINE.splitlines()[1:]) + "\n"
    first = f"{title}\n{body}" + item("y", "1") + "$$$$\n"
    records = read(tmp_path, first + f"{title}\n{other}" + item("y", "2") + "$$$$\n")
    assert molecules(records) == ["CCO", "CCN"]
    assert [(r.fields["name"], r.fields["y"]) for r in records] == [(title, "1"), (title, "2")]


@pytest.mark.parametrize("value", ["12 13 V2000", "3 V2000", "V3000", "2020 V2000 reader"])
def test_a_value_that_looks_like_counts_is_a_value(tmp_path: Path, value: str) -> None:
    text = ETHANOL + item("made by", value) + item("y", "1") + "$$$$\n" + PROPANE + "$$$$\n"
    records = read(tmp_path, text)
    assert molecules(records) == ["CCO", "CCC"]
    assert records[0].fields["made by"] == value and records[0].fields["y"] == "1"
