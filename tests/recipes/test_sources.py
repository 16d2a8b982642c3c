"""Rows come in from any of four formats and from the network, each with its line; what is
missing is said.
"""

from __future__ import annotations

import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molnb.errors import InputError
from molnb.recipes.downloads import download
from molnb.recipes.registry import load_recipe
from molnb.recipes.snapshot import write_snapshot
from molnb.recipes.sources import find_source, recipe_for_file, with_source

CSV = 'Name,SMILES,IC50,"a, b"\nx,CCO,1.5,1\n\ny,c1ccccc1O,NaN,2\n"z\nz",C1CC,3,\nv,N,n.d.,4\nw,OCC,2\n'


def snapshot(recipe, tmp_path: Path) -> tuple[list[dict], dict]:
    counted = write_snapshot(recipe, find_source(recipe, tmp_path), tmp_path / "snapshot.parquet")
    return pq.read_table(tmp_path / "snapshot.parquet").to_pylist(), counted


def test_csv_rows_keep_their_line_and_every_missing_label_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "my assay.csv"
    path.write_text(CSV, encoding="utf-8-sig")
    recipe = recipe_for_file(path, smiles="SMILES", labels={"IC50": "uM", "a, b": "1"})
    assert recipe.name == "my_assay" and recipe.tasks[0].labels == ["ic50", "a_b"]
    rows, counted = snapshot(recipe, tmp_path)
    assert [row["line"] for row in rows] == [2, 4, 5, 7, 8]
    assert [row["id"] for row in rows] == ["x", "y", "z\nz", "v", "w"]
    assert [row["ic50"] for row in rows] == [1.5, None, 3.0, None, 2.0]
    assert rows[4]["problem"] == "3 fields where the header has 4"
    missing = {"ic50": {"NaN or infinite": 1, "not a number": 1}, "a_b": {"empty": 2}}
    assert counted == {"rows": 5, "missing": missing}


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv", "smi", "parquet", "sdf"])
def test_every_format_gives_the_same_rows(tmp_path: Path, ending: str) -> None:
    from rdkit import Chem

    smiles, values, path = (
        ["CCO", "c1ccccc1O", "CC(=O)N"],
        [1.0, None, 3.0],
        tmp_path / f"mine.{ending}",
    )
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
        path.write_text("smiles,y\n".replace(",", "\t" if ending == "tsv" else ",") + text.replace(
            ",", "\t" if ending == "tsv" else ","))  # fmt: skip
    labels = {} if ending == "smi" else {"y": "1"}
    recipe = recipe_for_file(path, labels=labels)
    rows, _ = snapshot(recipe, tmp_path)
    parsed = [
        (Chem.MolFromMolBlock if recipe.columns.smiles is None else Chem.MolFromSmiles)(
            r["structure"]
        )
        for r in rows
    ]
    assert [Chem.MolToSmiles(mol) for mol in parsed] == [Chem.CanonSmiles(s) for s in smiles]
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
    (tmp_path / "mine.xyz").touch()
    with pytest.raises(InputError, match="the ending '.xyz' tells no format"):
        recipe_for_file(tmp_path / "mine.xyz")
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


# ---------------------------------------------------------------------------------------------------- downloads

CONTENT = b"smiles,y\n" + b"CCO,1\n" * 50_000


class _Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, ranges too; ``/cut`` breaks off the first time."""

    asked: list[str] = []

    def do_GET(self) -> None:
        start = int(
            (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-")
        )
        self.asked.append(f"{self.path} {start}")
        if self.path == "/gone":
            return self.send_error(404)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(
            CONTENT[start:100_000] if self.path == "/cut" and not start else CONTENT[start:]
        )
        return None

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Server.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_download_is_checked_and_made_once(server: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    path = download(f"{server}/mine.csv", digest, tmp_path)
    assert path.read_bytes() == CONTENT and download(f"{server}/mine.csv", digest, tmp_path) == path
    assert _Server.asked == ["/mine.csv 0"]
    recipe = with_source(
        recipe_for_file(path, labels={"y": "1"}), {"url": f"{server}/mine.csv", "sha256": digest}
    )
    assert find_source(recipe, tmp_path).sha256 == digest


def test_a_broken_download_goes_on_where_it_stopped(server: str, tmp_path: Path) -> None:
    assert download(f"{server}/cut", None, tmp_path).read_bytes() == CONTENT
    assert _Server.asked == ["/cut 0", "/cut 100000"]


def test_other_content_than_expected_is_refused_and_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"expects {'0' * 64}.*Kept nothing"):
        download(f"{server}/mine.csv", "0" * 64, tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="the server answers 404"):
        download(f"{server}/gone", None, tmp_path)
    with pytest.raises(InputError, match="only https"):
        download("ftp://example.org/x.csv", None, tmp_path)
