"""Text tables as people have them: every line is a row or a counted malformed one, or one error."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import random
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest

from molnb.errors import InputError
from molnb.recipes.readers import column_names, read_records
from molnb.recipes.readers.lines import BLOCK_BYTES, read_lines
from molnb.recipes.readers.record import Record
from molnb.recipes.source_schema import Source
from molnb.recipes.sources import recipe_for_file

TABLE = "id,smiles,y\nä 1,CCO,0.5\nµ 2,CCN,0.25\n"
ROWS = [("ä 1", "CCO", "0.5"), ("µ 2", "CCN", "0.25")]


def read(folder: Path, content: str | bytes, name: str = "mine.csv", **keys) -> list[Record]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_records(Source(kind="file", file=name, **keys), path))


def names(folder: Path, content: str, name: str = "mine.csv") -> list[str]:
    path = folder / name
    path.write_bytes(content.encode())
    return column_names(Source(kind="file", file=name), path)


def good(records: list[Record]) -> list[tuple]:
    return [tuple(record.fields.values()) for record in records if record.problem is None]


def malformed(records: list[Record]) -> dict[int, str]:
    return {record.line: record.problem for record in records if record.problem is not None}


# ---------------------------------------------------------------------------------- encodings

ENCODED = {
    "UTF-8": TABLE.encode(),
    "UTF-8 with its mark": TABLE.encode("utf-8-sig"),
    "UTF-16 with its mark": TABLE.encode("utf-16"),
    "UTF-16, big end first, with its mark": b"\xfe\xff" + TABLE.encode("utf-16-be"),
    "UTF-16, little end first, without": TABLE.encode("utf-16-le"),
    "UTF-16, big end first, without": TABLE.encode("utf-16-be"),
    "UTF-32 with its mark": TABLE.encode("utf-32"),
    "Windows-1252": TABLE.encode("cp1252"),
    "line ends of DOS": TABLE.replace("\n", "\r\n").encode(),
    "line ends of the old Mac": TABLE.replace("\n", "\r").encode(),
    "UTF-16 of DOS": TABLE.replace("\n", "\r\n").encode("utf-16"),
    "no last line end": TABLE.rstrip("\n").encode(),
    "packed": gzip.compress(TABLE.encode()),
    "packed with bzip2": bz2.compress(TABLE.encode()),
    "packed with xz": lzma.compress(TABLE.encode()),
    "packed with zstd": pa.compress(TABLE.encode(), codec="zstd", asbytes=True),
    "packed twice": gzip.compress(gzip.compress(TABLE.encode())),
    "packed UTF-16": gzip.compress(TABLE.encode("utf-16")),
}


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
@pytest.mark.parametrize("content", ENCODED.values(), ids=ENCODED)
def test_a_table_is_read_whatever_its_encoding_packing_and_name(
    tmp_path: Path, content: bytes, ending: str
) -> None:
    records = read(tmp_path, content, f"mine.{ending}")
    assert good(records) == ROWS and [record.line for record in records] == [2, 3]


@pytest.mark.parametrize(
    "written, encoding",
    [
        ("Müller", "cp1252"),
        ("µM", "cp1252"),
        ("α-Pinen", "utf-8"),
        ("Ångström", "cp1252"),
        ("β→γ", "utf-16"),
        ("アスピリン", "utf-8"),
        ("50 € – “a”", "cp1252"),
        ("naïve", "cp1252"),
        ("\u2028 and \x85 and \x0c end no line", "utf-8"),
        ("溶解度", "utf-16"),
    ],
)
def test_identifiers_keep_their_letters(tmp_path: Path, written: str, encoding: str) -> None:
    (record,) = read(tmp_path, f"id,smiles\n{written},CCO\n".encode(encoding))
    assert record.fields == {"id": written, "smiles": "CCO"}


def test_one_damaged_line_does_not_change_the_others(tmp_path: Path) -> None:
    content = "id,smiles\nä,CCO\n".encode() + b"\xe4,CCN\n" + "µ,CCC\n".encode()
    assert good(read(tmp_path, content)) == [("ä", "CCO"), ("ä", "CCN"), ("µ", "CCC")]


LONG = "x" * 200_000
REFUSED = {
    "a byte of no encoding": (
        "mine.csv",
        b"id,smiles\na,CCO\n\xff\x81,CCN\n",
        "line 3 is neither UTF-8 nor Windows-1252 .byte 0x81 at position 2.*Save.*as UTF-8",
    ),
    "half a letter of UTF-16": (
        "mine.csv",
        TABLE.encode("utf-16") + b"x",
        "line 4 is no utf-16-le, as the file is.*Save the file as UTF-8",
    ),
    "gzip cut off": (
        "mine.csv.gz",
        gzip.compress(TABLE.encode())[:-10],
        r"packed file .gzip. is damaged behind line \d .*again",
    ),
    "gzip cut off early": (
        "mine.csv",
        gzip.compress((TABLE * 50_000).encode())[:-200],
        r"is damaged behind line \d{5,} .*again",
    ),
    "gzip damaged": (
        "mine.csv",
        gzip.compress(TABLE.encode())[:-8] + b"12345678",
        r"packed file .gzip. is damaged behind line \d .*again",
    ),
    "a zip archive": ("mine.csv", b"PK\x03\x04 and more", "zip archive.*end in .zip"),
    "bzip2 cut off": (
        "mine.csv.bz2",
        bz2.compress(TABLE.encode())[:-10],
        r"packed file .bzip2. is damaged behind line \d .*again",
    ),
    "xz cut off": (
        "mine.csv.xz",
        lzma.compress(TABLE.encode())[:-10],
        r"packed file .xz. is damaged behind line \d .*again",
    ),
    "zstd cut off": (
        "mine.csv.zst",
        pa.compress(TABLE.encode(), codec="zstd", asbytes=True)[:-10],
        r"is damaged or cut off .zstd: .*again",
    ),
    "a Parquet file": ("mine.csv", b"PAR1 and more", "Parquet file.*end in .parquet"),
    "an old workbook": ("mine.csv", b"\xd0\xcf\x11\xe0 and more", "Excel.*as CSV"),
    "a PDF": ("mine.csv", b"%PDF-1.4", "PDF.*as CSV"),
    "a tar archive": ("mine.csv.gz", gzip.compress(b"m" * 257 + b"ustar" + b"0"), "tar archive"),
    "nothing": ("mine.csv", b"", "is empty: 0 rows"),
    "blank lines alone": ("mine.csv", b"\n \n\r\n,,,\n", "is empty: 0 rows"),
    "a quote left open in the header": (
        "mine.csv",
        b'id,"smiles,y\na,CCO,1\nb,CCN,2\n',
        "line 1, the header: a quote opens field 2 and does not close it. Correct that line",
    ),
    "a header that would swallow a row": (
        "mine.csv",
        b'id,"smiles,y\na,b",CCO\n',
        "line 1, the header: a quote opens field 2 and closes on line 2",
    ),
    "two columns of one name": (
        "mine.csv",
        b"\nid,smiles,y, y \n",
        "column 'y' stands 2 times in the header .line 2, columns 3, 4.; rename",
    ),
}


@pytest.mark.parametrize("name, content, message", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_with_line_and_advice(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        read(tmp_path, content, name)


def test_a_file_that_may_not_be_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "mine.csv").touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="mine.csv cannot be opened .Permission denied.*rights"):
        list(read_lines(tmp_path / "mine.csv"))


def test_lines_are_whole_wherever_blocks_of_bytes_end(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    for n_short in range(4):
        lines = [
            "long" * BLOCK_BYTES,
            "ä" * (BLOCK_BYTES // 4),
            "b" * (BLOCK_BYTES // 2 - n_short),
            "",
            "c",
            "dµ",
        ]
        for line_end in ("\n", "\r\n", "\r"):
            for encoding in ("utf-8", "utf-16"):
                path.write_bytes(line_end.join(lines).encode(encoding))
                assert list(read_lines(path)) == lines


def test_a_file_is_read_in_a_small_memory(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("id,smiles,y\n" + "a,CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCO,0.5\n" * 200_000)
    size = path.stat().st_size
    tracemalloc.start()
    n_row = sum(1 for _ in read_records(Source(kind="file", file="mine.csv"), path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_row == 200_000 and peak < size / 3


# ------------------------------------------------------------------------------------ headers

HEADERS = {
    "sep=;": ("sep=;\r\nid;smiles;y\r\na;CCO;-0,7\r\n", ["id", "smiles", "y"], 3),
    "SEP=|, and a mark before": ("\ufeffSEP=|\nid|smiles\na|CCO\n", ["id", "smiles"], 3),
    "sep= with a tab": ("sep=\t\nid\tsmiles\na\tCCO\n", ["id", "smiles"], 3),
    "sep=, where semicolons are more": ("sep=,\nid;a;b,smiles\na,CCO\n", ["id;a;b", "smiles"], 3),
    "blank lines before": ("\n  \n\nid,smiles\na,CCO\n", ["id", "smiles"], 5),
    "empty rows of a spreadsheet before": (",,\n,,\nid,smiles,y\na,CCO,1\n", None, 4),
    "commas between quotes": (
        'id;SMILES;"logS, measured, 25 C, pH 7"\na;CCO;-0.77\n',
        ["id", "SMILES", "logS, measured, 25 C, pH 7"],
        2,
    ),
    "commas in a name, decimal commas in the rows": (
        "id;SMILES;logS, measured\na;CCO;-0,77\nb;CCN;0,5\n",
        ["id", "SMILES", "logS, measured"],
        2,
    ),
    "semicolons between quotes": (
        '"a; b; c; d",smiles\n1,CCO\n2,CCN\n',
        ["a; b; c; d", "smiles"],
        2,
    ),
    "blanks around names": (" id , smiles ,\ty \na,CCO,1\n", ["id", "smiles", "y"], 2),
    "a line break in a name": ('id,smiles,"logS\n(mol/L)"\na,CCO,1\n', None, 3),
    "quotes in a name": ('id,smiles,"5"" pipe"\na,CCO,1\n', ["id", "smiles", '5" pipe'], 2),
    "one column": ("smiles\nCCO\n", ["smiles"], 2),
    "one column of CXSMILES": ("smiles\nC[C@H](N)O |&1:1|\n", ["smiles"], 2),
    "a first column without a name": (",smiles,y\n0,CCO,1\n", ["column_1", "smiles", "y"], 2),
    "commas behind the names": (
        "smiles,logS,,\nCCO,-0.77,,\n",
        ["smiles", "logS", "column_3", "column_4"],
        2,
    ),
    "a name that ours would be": (
        "smiles,column_2,column_3,\nCCO,1,2,\n",
        ["smiles", "column_2", "column_3", "column_4"],
        2,
    ),
    "blanks": ("smiles id y\nCCO a 1\nCCN b 2\n", ["smiles", "id", "y"], 2),
    "a name of two words": ("SMILES String\nCCO\nCCN\n", ["SMILES String"], 2),
    "pipes": ("id|smiles\na|CCO\n", ["id", "smiles"], 2),
}  # fmt: skip


@pytest.mark.parametrize("text, columns, line", HEADERS.values(), ids=HEADERS)
def test_columns_are_found_however_the_header_is_written(
    tmp_path: Path, text: str, columns: list[str] | None, line: int
) -> None:
    columns = columns or ["id", "smiles", "logS (mol/L)" if "logS" in text else "y"]
    assert names(tmp_path, text) == columns
    first = read(tmp_path, text)[0]
    assert (first.line, first.problem) == (line, None) and list(first.fields) == columns[
        : len(first.fields)
    ]


def test_a_tsv_may_turn_out_to_have_commas(tmp_path: Path) -> None:
    assert names(tmp_path, "id,smiles\na,CCO\n", "mine.tsv") == ["id", "smiles"]
    assert names(tmp_path, "id\tsmiles, drawn\na\tCCO\n", "mine.tsv") == ["id", "smiles, drawn"]


def test_a_declared_delimiter_and_a_declared_header_count(tmp_path: Path) -> None:
    text = "a;b,CCO\nc;d,CCN\n"
    records = read(tmp_path, text, delimiter=",", header=["id", "smiles"])
    assert good(records) == [("a;b", "CCO"), ("c;d", "CCN")] and records[0].line == 1
    records = read(tmp_path, text, delimiter=",", header=False)
    assert records[1].fields == {"column_1": "c;d", "column_2": "CCN"}


# ----------------------------------------------------------------------------- rows and quotes

HEAD = "id,comment,smiles,y\n"
QUOTES = {
    "one left open": (
        '1,5" pipe,CCO,1\n2,"open,CCN,2\n3,ok,CCC,3\n4,ok,CCCl,4\n',
        ["CCO", "CCC", "CCCl"],
        [3],
    ),
    "one left open in the last row": ('1,a,CCO,1\n2,"open,CCN,2\n', ["CCO"], [3]),
    "one left open in the first row": ('1,"open,CCN,2\n2,a,CCO,1\n', ["CCO"], [2]),
    "two left open, one behind the other": (
        '1,"open,CCN,1\n2,"open,CCN,2\n3,a,CCO,3\n',
        ["CCO"],
        [2, 3],
    ),
    "one left open, then a row between quotes": (
        '1,"open,CCN,1\n"2","a, b","CCO","2"\n3,c,CCC,3\n',
        ["CCO", "CCC"],
        [2],
    ),
    "one left open, and one too many later": (
        '1,"open,CCN,1\n2,a,CCO,2\n3,inch",CCC,3\n4,b,CCCl,4\n',
        ["CCO", "CCCl"],
        [2, 4],
    ),
    "one too many in the next row": ('1,"open,CCN,1\n2,inch",CCC,2\n3,b,CCO,3\n', ["CCO"], [2, 3]),
    "one that closes the last field only": (
        '"1","a","CCN","1\n"2","b","CCO","2"\n"3","c","CCC","3"\n',
        ["CCO", "CCC"],
        [2],
    ),
    "inches": ('1,5",CCO,1\n2,"7"" or 8""",CCN,2\n3,a "b" c,CCC,3\n', ["CCO", "CCN", "CCC"], []),
    "inches between quotes": ('1,"5" pipe",CCO,1\n2,b,CCN,2\n', ["CCO", "CCN"], []),
    "a cell of two lines": ('1,"a\nb",CCO,1\n2,c,CCN,2\n', ["CCO", "CCN"], []),
    "a cell of many lines, blank ones too": (
        '1,"a, b, c, d\n\n""quoted""\n, and, so, on",CCO,1\n2,c,CCN,2\n',
        ["CCO", "CCN"],
        [],
    ),
    "two cells of two lines": ('1,"a\nb","C\nCO",1\n2,c,CCN,2\n', ["C\nCO", "CCN"], []),
    "a cell of two lines and a field too few": ('1,"a\nb",CCO\n2,c,CCN,2\n', ["CCN"], [2, 3]),
    "blanks around quotes": ('1, "a, b" ,CCO,1\n', ["CCO"], []),
    "commas at the end of some rows": ('1,a,CCO,1,,\n2,b,CCN,2\n', ["CCO", "CCN"], []),
    "a comma too many": ('1,a,b,CCO,1\n2,b,CCN,2\n', ["CCN"], [2]),
    "a field too few": ('1,CCO,1\n2,b,CCN,2\n', ["CCN"], [2]),
    "a NUL character": ('1,a,CC\0O,1\n2,b,CCN,2\n', ["CCN"], [2]),
    "a NUL character between quotes": (
        '1,"a\n\0",CCO,1\n2,"\0",CCO,1\n3,b,CCN,2\n',
        ["CCN"],
        [2, 4],
    ),
    "a last row of NUL characters": ("1,a,CCO,1\n" + "\0" * 50 + "\n", ["CCO"], [3]),
    "a blank line between": ("1,a,CCO,1\n\n2,b,CCN,2\n", ["CCO", "CCN"], []),
    "a cell beyond any limit": (f"1,{LONG},CCO,1\n2,b,CCN,2\n", ["CCO", "CCN"], []),
    "such a cell between quotes": (
        f'1,"{LONG}, ""\n{LONG}",CCO,1\n2,b,CCN,2\n',
        ["CCO", "CCN"],
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("rows, smiles, lines", QUOTES.values(), ids=QUOTES)
def test_no_row_is_swallowed_multiplied_or_lost(
    tmp_path: Path, rows: str, smiles: list[str], lines: list[int]
) -> None:
    records = read(tmp_path, HEAD + rows)
    assert [r.fields["smiles"] for r in records if not r.problem] == smiles
    assert sorted(malformed(records)) == lines


CELLS = [
    "a",
    "CCO",
    '5"',
    "x, y",
    "a\nb",
    '"q"',
    "",
    " ",
    "ä",
    "1,2-di",
    "a\n\nb, c",
    '"',
    '""',
    "\t;",
]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_what_a_spreadsheet_writes_is_read_as_it_was(tmp_path: Path, quoting: int) -> None:
    draw = random.Random(quoting)
    n_same = 0
    for n_column in 100 * [2, 3, 5]:
        rows = [draw.choices(CELLS, k=n_column) for _ in range(6)]
        text = io.StringIO()
        writer = csv.writer(text, quoting=quoting)
        writer.writerows([[f"c{k}" for k in range(n_column)], *rows])
        read_rows = [list(row) for row in good(read(tmp_path, text.getvalue()))]
        assert all(row in rows for row in read_rows), "no row that nobody wrote"
        n_same += read_rows == rows
    assert n_same >= 297, "a few cells of several lines look like rows, and are malformed"


def test_a_quote_before_any_field_costs_its_own_row_alone(tmp_path: Path) -> None:
    for n_column in (2, 3, 5):
        rows = [[f"{k}-{column}" for column in range(n_column)] for k in range(6)]
        header = ",".join(f"c{column}" for column in range(n_column))
        for k in range(6):
            for column in range(n_column):
                written = [list(row) for row in rows]
                written[k][column] = f'"{written[k][column]}'
                text = "\n".join([header, *map(",".join, written)])
                records = read(tmp_path, text)
                others = [tuple(row) for row in rows if row is not rows[k]]
                assert good(records) == others and list(malformed(records)) == [k + 2]


def test_cells_hold_what_stands_between_the_quotes(tmp_path: Path) -> None:
    rows = '1,"a, ""b""\n\nc",CCO,1\n2,"5" pipe",CCN,\n3, "x" ,"",""\n'
    records = read(tmp_path, HEAD + rows)
    assert good(records) == [
        ("1", 'a, "b"\n\nc', "CCO", "1"),
        ("2", '"5" pipe"', "CCN", ""),
        ("3", "x", "", ""),
    ]
    assert [record.line for record in records] == [2, 5, 6]


def test_a_malformed_row_says_why(tmp_path: Path) -> None:
    rows = '1,"open,CCN,1\n2,inch",CCC,2\n3,a,b,CCO,1\n4,"open,CCN,1\n'
    assert malformed(read(tmp_path, HEAD + rows)) == {
        2: "a quote opens field 2 and closes on line 3, but that makes no row",
        3: "a quote here belongs to the one left open on line 2",
        4: "5 fields where the header has 4",
        5: "a quote opens field 2 and does not close it",
    }


def test_a_value_under_no_name_makes_a_row_malformed(tmp_path: Path) -> None:
    """It is most likely a comma inside a name, which moved the SMILES to the right."""
    text = "name,smiles,,\nS,S,S-tributyl phosphorotrithioate,CCCCSP(=O)(SCCCC)SCCCC,,\nb,CCO,,\n"
    records = read(tmp_path, text)
    assert malformed(records) == {2: "field 4 stands where the header has no name"}
    records = read(tmp_path, "name,smiles,,\nN,N-dimethylformamide,CN(C)C=O,\nb,CCO\n")
    assert malformed(records) == {2: "field 3 stands where the header has no name"}
    assert records[1].fields == {"name": "b", "smiles": "CCO"}


def test_a_smiles_over_two_lines_is_malformed_for_all_who_read(tmp_path: Path) -> None:
    from molnb.recipes.readers.record import record_structure

    (record,) = read(tmp_path, 'id,smiles\n1,"CCO\nCCN"\n')
    structure, problem = record_structure(record, "smiles")
    assert structure == "CCO\nCCN" and problem == (
        "the structure goes over several lines: one SMILES a row"
    )


def test_a_table_with_a_quote_left_open_is_curated_to_its_last_row(tmp_path: Path) -> None:
    from molnb.curation.pipeline import curate

    path = tmp_path / "mine.csv"
    path.write_text(HEAD + '1,a,CCO,1\n2,"open,CCN,2\n3,b,CCC,3\n')
    recipe = recipe_for_file(path, labels={"y": "1"})
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    assert shards.n == 2
    (dropped,) = shards.dropped().to_pylist()
    assert (dropped["line"], dropped["step"], dropped["reason"]) == (3, "read", "malformed row")
    assert dropped["detail"] == "a quote opens field 2 and does not close it"
