"""Rows come in from five formats and the network, each with its line; what is missing is said."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molnb.errors import InputError
from molnb.recipes.fetched import digests
from molnb.recipes.fetched.digests import remembered_digest
from molnb.recipes.fetched.downloads import download
from molnb.recipes.readers import read_records
from molnb.recipes.registry import load_recipe, recipe_id
from molnb.recipes.snapshot import write_snapshot
from molnb.recipes.source_schema import Source
from molnb.recipes.sources import find_source, recipe_for_file, stated_digest, with_source

CSV = (
    'Name,SMILES,IC50,"a, b"\nx,CCO,1.5,1\n\ny,c1ccccc1O,NaN,2\n'
    '"z\nz",C1CC,3,\nv,N,n.d.,4\nw,OCC,2\n'
)


def snapshot(recipe, tmp_path: Path) -> tuple[list[dict], dict]:
    counted = write_snapshot(recipe, find_source(recipe, tmp_path), tmp_path / "snapshot.parquet")
    return pq.read_table(tmp_path / "snapshot.parquet").to_pylist(), counted


def test_csv_rows_keep_their_line_and_every_missing_label_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "my assay.csv"
    path.write_text(CSV, encoding="utf-8-sig")
    recipe = recipe_for_file(path, smiles="SMILES", labels={"IC50": "uM", "a, b": "1"})
    assert recipe.name == "my_assay" and recipe.tasks[0].labels == ["IC50", "a, b"]
    rows, counted = snapshot(recipe, tmp_path)
    assert [row["line"] for row in rows] == [2, 4, 5, 7, 8]
    assert [row["id"] for row in rows] == ["x", "y", "z\nz", "v", "w"]
    assert [row["IC50"] for row in rows] == [1.5, None, 3.0, None, None]
    assert rows[4]["problem"] == "3 fields where the header has 4"
    assert counted["rows"] == 5
    assert counted["missing"] == {
        "IC50": {"NaN or infinite": 1, "marked as missing (NA, -, ...)": 1, "malformed row": 1},
        "a, b": {"empty": 1, "malformed row": 1},
    }


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv", "smi", "parquet", "sdf"])
def test_every_format_gives_the_same_rows(tmp_path: Path, ending: str) -> None:
    from rdkit import Chem

    smiles = ["CCO", "c1ccccc1O", "CC(=O)N"]
    values = [1.0, None, 3.0]
    path = tmp_path / f"mine.{ending}"
    text = "".join(f"{s},{'' if v is None else v}\n" for s, v in zip(smiles, values, strict=True))
    if ending == "parquet":
        pq.write_table(pa.table({"smiles": smiles, "y": pa.array(values)}), path)
    elif ending == "sdf":
        with Chem.SDWriter(str(path)) as writer:
            for s, v in zip(smiles, values, strict=True):
                mol = Chem.MolFromSmiles(s)
                if v is not None:
                    mol.SetProp("y", str(v))
                writer.write(mol)
    elif ending == "csv.gz":
        path.write_bytes(gzip.compress(("smiles,y\n" + text).encode()))
    elif ending == "smi":
        path.write_text("".join(f"{s} mol{i}\n" for i, s in enumerate(smiles)))
    else:
        path.write_text(("smiles,y\n" + text).replace(",", "\t" if ending == "tsv" else ","))
    labels = {} if ending == "smi" else {"y": "1"}
    recipe = recipe_for_file(path, labels=labels)
    rows, _ = snapshot(recipe, tmp_path)
    parse = Chem.MolFromMolBlock if recipe.columns.smiles is None else Chem.MolFromSmiles
    parsed = [Chem.MolToSmiles(parse(row["structure"])) for row in rows]
    assert parsed == [Chem.CanonSmiles(s) for s in smiles]
    assert [row.get("y") for row in rows] == (values if labels else [None] * 3)


def test_a_missing_column_is_refused_with_the_columns_there_are(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(CSV)
    with pytest.raises(
        InputError,
        match=r"no column 'IC5' \(did you mean 'IC50'\?\). Its columns are: Name, SMILES, IC50",
    ):
        recipe_for_file(path, labels={"IC5": "uM"})
    with pytest.raises(InputError, match="no column 'Act'.*Its columns are: Name, SMILES"):
        snapshot(
            with_source(
                load_recipe("chembl2321810"), {"file": path, "columns": {"smiles": "SMILES"}}
            ),
            tmp_path,
        )
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="which column holds the SMILES.*--smiles COLUMN"):
        recipe_for_file(path)


@pytest.mark.parametrize("ending", ["csv", "smi", "sdf", "parquet"])
def test_an_empty_file_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mine.{ending}"
    path.write_text("")
    with pytest.raises(InputError, match="is empty: 0 rows|is not a readable Parquet file"):
        snapshot(recipe_for_file(path, smiles=None if ending == "sdf" else "smiles"), tmp_path)


def test_a_header_without_rows_and_an_unknown_ending_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("smiles,y\n")
    with pytest.raises(InputError, match="is empty: 0 rows"):
        snapshot(recipe_for_file(path), tmp_path)
    (tmp_path / "mine.abc").touch()
    with pytest.raises(InputError, match="the ending '.abc' tells no format.*set source.format"):
        recipe_for_file(tmp_path / "mine.abc")
    with pytest.raises(InputError, match="There is no file .*nothing.csv"):
        recipe_for_file(tmp_path / "nothing.csv")


def test_a_source_of_one_s_own_replaces_file_and_hash_and_keeps_the_meaning(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("smiles,Act\nCCO,6.00\n")
    recipe = with_source(load_recipe("chembl2321810"), path)
    assert (
        recipe.source.file == str(path) and recipe.source.join is None and recipe.columns.id is None
    )
    assert snapshot(recipe, tmp_path)[0][0]["pic50"] == 6.0


def test_the_rows_of_the_recipes_that_need_no_download(tmp_path: Path) -> None:
    for name, n_row in (("nci", 4999), ("wehi", 10_000), ("chembl2321810", 1017)):
        rows, counted = snapshot(load_recipe(name), tmp_path)
        assert counted["rows"] == n_row and rows[-1]["line"] == n_row
    assert counted["missing"] == {"pic50": {}}  # every activity found its molecule


def test_a_row_without_partner_in_the_joined_table_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("smiles,key\nCCO,1\nCCN,2\n")
    (tmp_path / "b.csv").write_text("key,Act\n1,6\n")
    source = {
        "file": tmp_path / "a.csv",
        "join": {"file": str(tmp_path / "b.csv"), "key": "key", "column": "key"},
    }
    rows, counted = snapshot(with_source(load_recipe("chembl2321810"), source), tmp_path)
    assert [row["pic50"] for row in rows] == [6.0, None]
    assert counted["missing"] == {"pic50": {"no row in the joined table": 1}}
    assert counted["repeated_join_keys"] == 0


@pytest.mark.parametrize(
    ("keys", "joined", "values"),
    [
        (["1", ""], "1,6\n,7\n", [6.0, None]),  # without a key on both sides
        (["1", " "], "1,6\n ,7\n", [6.0, None]),
        (["1", ""], "1,6\nNone,7\n", [6.0, None]),
        ([" 1", "2 "], "1 ,6\n 2,7\n", [6.0, 7.0]),
        (["1", "None"], "1,6\nNone,7\n", [6.0, 7.0]),
    ],
)
def test_rows_without_a_key_are_joined_to_nothing(
    tmp_path: Path, keys: list[str], joined: str, values: list
) -> None:
    (tmp_path / "a.csv").write_text(f"smiles,key\nCCO,{keys[0]}\nCCN,{keys[1]}\n")
    (tmp_path / "b.csv").write_text(f"key,Act\n{joined}")
    join = {"file": str(tmp_path / "b.csv"), "key": "key", "column": "key"}
    recipe = with_source(load_recipe("chembl2321810"), {"file": tmp_path / "a.csv", "join": join})
    rows, _ = snapshot(recipe, tmp_path)
    assert [row["pic50"] for row in rows] == values


def test_texts_that_a_parquet_file_holds_as_bytes_are_texts(tmp_path: Path) -> None:
    columns = {"smiles": [b"CCO", b"CCN"], "id": [b"\xc3\xa4", None], "y": [b"1.5", b"x"]}
    pq.write_table(pa.table(columns), tmp_path / "mine.parquet")
    recipe = recipe_for_file(tmp_path / "mine.parquet", labels=["y:1"])
    rows, _ = snapshot(recipe, tmp_path)
    assert [(row["structure"], row["id"], row["y"]) for row in rows] == [
        ("CCO", "\u00e4", 1.5),
        ("CCN", None, None),
    ]


def test_of_equal_keys_in_a_joined_table_the_first_counts_and_the_others_are_counted(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.csv").write_text("smiles,key\nCCO,1\nCCN,2\n")
    (tmp_path / "b.csv").write_text("key,Act\n1,6\n1,7\n2,8\n1,9\n")
    join = {"file": str(tmp_path / "b.csv"), "key": "key", "column": "key"}
    recipe = with_source(load_recipe("chembl2321810"), {"file": tmp_path / "a.csv", "join": join})
    rows, counted = snapshot(recipe, tmp_path)
    assert [row["pic50"] for row in rows] == [6.0, 8.0]
    assert counted["repeated_join_keys"] == 2


SDF_PROPERTIES = """> <COMMENT>
first line
 second line

>  25  <IC50>
>10

> <EMPTY>

> <NEXT> (1)
5
> <NO_BLANK_BEFORE>
6

> DT12
a field without a name

$$$$
"""


def test_an_sdf_property_keeps_all_its_lines(tmp_path: Path) -> None:
    from rdkit import Chem

    path = tmp_path / "mine.sdf"
    path.write_text(Chem.MolToMolBlock(Chem.MolFromSmiles("CCO")) + SDF_PROPERTIES)
    (record,) = read_records(Source(kind="file", file="mine.sdf"), path)
    properties = {key: v for key, v in record.fields.items() if key != "name"}
    assert properties == {
        "COMMENT": "first line\n second line",
        "IC50": ">10",
        "EMPTY": "",
        "NEXT": "5",
        "NO_BLANK_BEFORE": "6",
        "DT12": "a field without a name",
    }
    mol = next(iter(Chem.SDMolSupplier(str(path))))
    assert mol.GetProp("COMMENT") == properties["COMMENT"], "as RDKit reads it"


# ------------------------------------------------------------------------------------ digests


def test_a_digest_is_computed_once_and_again_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    plain = digests.file_digest
    monkeypatch.setattr(digests, "file_digest", lambda path: hashed.append(path) or plain(path))
    path = tmp_path / "mine.csv"
    path.write_text("smiles\nCCO\n")
    os.utime(path, (1000, 1000))
    first = remembered_digest(path, tmp_path)
    assert remembered_digest(path, tmp_path) == first and len(hashed) == 1
    path.write_text("smiles\nCCN\n")
    os.utime(path, (2000, 2000))
    second = remembered_digest(path, tmp_path)
    assert second != first and len(hashed) == 2
    path.write_text("smiles\nCCCN\n")
    os.utime(path, (2000, 2000))
    assert remembered_digest(path, tmp_path) != second, "the size differs"
    (tmp_path / "data" / ".digests.json").write_text("damaged")
    assert len(remembered_digest(path, tmp_path)) == 64


def test_where_nothing_can_be_written_digests_are_computed_and_forgotten(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("smiles\nCCO\n")
    os.utime(tmp_path / "mine.csv", (1000, 1000))
    (tmp_path / "data").touch()  # in the place of the folder
    assert len(remembered_digest(tmp_path / "mine.csv", tmp_path)) == 64


def test_a_file_that_changed_just_now_is_not_trusted_to_keep_its_time(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("smiles\nCCO\n")
    remembered_digest(path, tmp_path)
    assert not (tmp_path / "data" / ".digests.json").exists()


def test_the_stated_digests_of_source_and_join_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("smiles,key\nCCO,1\n")
    (tmp_path / "b.csv").write_text("key,Act\n1,6\n")
    a, b = (hashlib.sha256((tmp_path / f).read_bytes()).hexdigest() for f in ("a.csv", "b.csv"))
    join = {"file": str(tmp_path / "b.csv"), "key": "key", "column": "key"}
    source = {"file": tmp_path / "a.csv", "sha256": a, "join": join}
    recipe = with_source(load_recipe("chembl2321810"), source)
    assert stated_digest(recipe) is None, "the table that is joined decides the labels too"
    stated = with_source(recipe, source | {"join": join | {"sha256": b}})
    assert stated_digest(stated) == find_source(stated, tmp_path).sha256
    assert stated_digest(stated) == find_source(recipe, tmp_path).sha256
    assert recipe_id(stated, "x") == recipe_id(recipe, "x"), "to state a digest changes no id"
    wrong = with_source(recipe, source | {"join": join | {"sha256": a}})
    with pytest.raises(InputError, match="take the key source.join.sha256 out"):
        find_source(wrong, tmp_path)


# ---------------------------------------------------------------------------------- downloads

CONTENT = b"smiles,y\n" + b"CCO,1\n" * 50_000
NEWER = b"smiles,y\n" + b"CCN,2\n" * 60_000
N_SENT = 100_000  # bytes before a connection breaks


class _Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, ranges too, and breaks off the first answer, except for ``/mine.csv``.

    What a path says: ``dated`` has a date and no ETag, ``bare`` neither; the content of
    ``changing`` is another one at the second request, ``careless`` does not know If-Range.
    """

    requests: list[str] = []

    def do_GET(self) -> None:
        first = not any(line.startswith(f"{self.path} ") for line in self.requests)
        content = CONTENT if first or "changing" not in self.path else NEWER
        tag = hashlib.md5(content).hexdigest()
        headers = {"ETag": f'"{tag}"'}
        if "dated" in self.path:
            headers = {"Last-Modified": f"today {tag}", "ETag": 'W/"weak"'}
        if "bare" in self.path:
            headers = {}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=")[:-1])
        self.requests.append(f"{self.path} {start}")
        if self.path == "/gone":
            return self.send_error(404)
        if self.headers.get("If-Range") not in headers.values() and "careless" not in self.path:
            start = 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        self.send_response(206 if start else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        breaks = first and self.path != "/mine.csv"
        self.wfile.write(content[start:N_SENT] if breaks else content[start:])
        return None

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Server.requests = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between the attempts at a download."""
    monkeypatch.setattr("molnb.recipes.fetched.addresses.time.sleep", lambda _: None)


def test_a_download_is_checked_and_made_once(server: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    path = download(f"{server}/mine.csv", digest, tmp_path)
    assert path.read_bytes() == CONTENT and download(f"{server}/mine.csv", digest, tmp_path) == path
    assert _Server.requests == ["/mine.csv 0"] and list(tmp_path.iterdir()) == [path]
    recipe = with_source(
        recipe_for_file(path, labels={"y": "1"}), {"url": f"{server}/mine.csv", "sha256": digest}
    )
    assert find_source(recipe, tmp_path).sha256 == digest


@pytest.mark.parametrize("path", ["/cut", "/dated"])
def test_a_broken_download_goes_on_where_it_stopped(
    server: str, tmp_path: Path, patient: None, path: str
) -> None:
    assert download(f"{server}{path}", None, tmp_path).read_bytes() == CONTENT
    assert _Server.requests == [f"{path} 0", f"{path} {N_SENT}"]
    (record,) = tmp_path.glob("*.sha256")
    assert len(list(tmp_path.iterdir())) == 2, "neither a part nor a note of its version is left"
    assert record.read_text().split()[0] == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("path", ["/changing", "/dated-changing", "/careless-changing"])
def test_parts_of_two_versions_are_never_glued_together(
    server: str, tmp_path: Path, patient: None, path: str
) -> None:
    assert download(f"{server}{path}", None, tmp_path).read_bytes() == NEWER


def test_without_a_version_to_compare_a_download_starts_anew(
    server: str, tmp_path: Path, patient: None
) -> None:
    assert download(f"{server}/bare", None, tmp_path).read_bytes() == CONTENT
    assert _Server.requests == ["/bare 0", "/bare 0"]


def test_a_part_that_is_all_of_the_file_is_taken(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    url = f"{server}/mine.csv"
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path, **_: None)
    with pytest.raises(KeyboardInterrupt):  # killed when all of it was fetched
        download(url, None, tmp_path)
    monkeypatch.undo()
    assert Path.unlink is unlink and len(list(tmp_path.iterdir())) == 2
    assert download(url, None, tmp_path).read_bytes() == CONTENT
    assert _Server.requests == ["/mine.csv 0", f"/mine.csv {len(CONTENT)}"]


def test_other_content_than_expected_is_refused_and_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"expects {'0' * 64}.*Kept nothing"):
        download(f"{server}/mine.csv", "0" * 64, tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="the server answers 404"):
        download(f"{server}/gone", None, tmp_path)
    with pytest.raises(InputError, match="only https"):
        download("ftp://example.org/x.csv", None, tmp_path)


def test_two_columns_of_one_name_are_refused_in_parquet_too(tmp_path: Path) -> None:
    columns = [pa.array(["CCO", "CCN"]), pa.array([1.0, 2.0]), pa.array([3.0, 4.0])]
    pq.write_table(pa.table(columns, names=["smiles", "y", "y"]), tmp_path / "mine.parquet")
    with pytest.raises(InputError, match="2 columns are named 'y'; rename all but one"):
        recipe_for_file(tmp_path / "mine.parquet", labels=["y:1"])
