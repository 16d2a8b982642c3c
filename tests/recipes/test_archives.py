"""Members of zip and tar archives are read where they are; what is unsafe is refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.inference.inputs import read_molecules
from molnb.recipes.readers import column_names, packing, read_records, scratch
from molnb.recipes.readers.archives import natural_key
from molnb.recipes.registry import make_recipe
from molnb.recipes.snapshot import write_snapshot
from molnb.recipes.source_schema import Source
from molnb.recipes.sources import find_source, recipe_for_file

TABLE = "id,smiles,y\na,CCO,1\nb,CCN,2\nc,CCC,4\n"
WATER = "3\nwater\nO 0 0 0.12\nH 0 0.76 -0.48\nH 0 -0.76 -0.48\n"


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


def write_zip(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, str | bytes], packing: str = "") -> Path:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            content = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    path.write_bytes(PACKINGS[packing](data.getvalue()))
    return path


def rows(path: Path, **keys: str) -> list[dict]:
    source = Source(kind="file", file=str(path), **keys)
    return [record.fields for record in read_records(source, path)]


def refusal(path: Path, **keys: str) -> str:
    with pytest.raises(InputError) as refused:
        rows(path, **keys)
    return str(refused.value)


# --------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_packed_table_and_a_table_in_an_archive_give_the_same_rows(
    tmp_path: Path, packing: str
) -> None:
    plain = tmp_path / "plain.csv"
    plain.write_text(TABLE)
    packed = tmp_path / f"mine.csv{packing}"
    packed.write_bytes(PACKINGS[packing](TABLE.encode()))
    tar = write_tar(tmp_path / f"mine.tar{packing}", {"data/mine.csv": TABLE}, packing)
    inner = {"a/mine.csv" + packing: PACKINGS[packing](TABLE.encode())}
    archive = write_zip(tmp_path / "mine.zip", inner)
    for path in (packed, tar, archive):
        assert rows(path) == rows(plain), path
        assert column_names(Source(kind="file", file=str(path)), path) == ["id", "smiles", "y"]


@pytest.mark.parametrize("ending", ["tgz", "tar.gz", "tar", "zip"])
def test_a_binary_table_in_an_archive_is_read(tmp_path: Path, ending: str) -> None:
    table = pa.table({"smiles": ["CCO", "CCN"], "z": [[8, 6], [7, 6, 6]]})
    pq.write_table(table, tmp_path / "mine.parquet")
    content = {"deep/mine.parquet": (tmp_path / "mine.parquet").read_bytes()}
    path = tmp_path / f"mine.{ending}"
    write_zip(path, content) if ending == "zip" else write_tar(
        path, content, ".gz" if "gz" in ending else ""
    )
    assert rows(path) == table.to_pylist()
    assert [mol for mol in read_molecules(path)] == ["CCO", "CCN"]


def test_several_members_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files = {f"x/mol_{k}.xyz": WATER.replace("water", f"number {k}") for k in (10, 9, 1, 2)}
    files["x/notes.txt"] = "no molecules"
    for path in (write_zip(tmp_path / "a.zip", files), write_tar(tmp_path / "a.tgz", files, ".gz")):
        read = rows(path, member="*.xyz")
        assert [row["name"] for row in read] == [f"number {k}" for k in (1, 2, 9, 10)]
        assert read[1]["file"] == "mol_2.xyz"
    assert sorted(["b10", "b9", "a"], key=natural_key) == ["a", "b9", "b10"]


def test_the_only_readable_file_counts_and_several_are_listed(tmp_path: Path) -> None:
    notes = {"README.txt": "read me", "__MACOSX/._mine.csv": "x", ".DS_Store": "x", "a.pdf": "x"}
    path = write_zip(tmp_path / "one.zip", notes | {"mine.csv": TABLE})
    assert len(rows(path)) == 3
    recipe = recipe_for_file(path)
    assert recipe.source.member == "mine.csv" and recipe.columns.smiles == "smiles"
    path = write_zip(tmp_path / "two.zip", notes | {"b.csv": TABLE, "a.csv": TABLE})
    text = refusal(path)
    assert "2 files that could be read: a.csv, b.csv" in text and "source.member" in text
    assert len(rows(path, member="a.csv")) == 3 and len(rows(path, member="*.csv")) == 6
    assert "did you mean 'a.csv'" in refusal(path, member="a.cs")
    path = write_zip(tmp_path / "none.zip", notes)
    assert "holds no file that is read" in refusal(path)
    path = write_zip(tmp_path / "twice.zip", {"a/mine.csv": TABLE, "b/mine.csv": TABLE})
    assert "2 times: a/mine.csv, b/mine.csv" in refusal(path, member="mine.csv")
    assert len(rows(path, member="b/mine.csv")) == 3


def test_members_with_other_columns_are_no_one_table(tmp_path: Path) -> None:
    files = {"1.csv": TABLE, "2.csv": TABLE.replace("y", "z", 1)}
    text = refusal(write_zip(tmp_path / "a.zip", files), member="*.csv")
    assert "2.csv has other columns than 1.csv: y, z" in text


def test_an_archive_is_unpacked_once_and_its_copy_goes_with_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / "mine.tar.xz", {f"{k}.xyz": WATER for k in range(20)}, ".xz")
    opened = []
    open_stream = packing._PACKINGS["xz"][1]

    def counted(file: io.BufferedReader) -> io.BufferedIOBase:
        opened.append(file)
        return open_stream(file)

    monkeypatch.setitem(packing._PACKINGS, "xz", (packing.XZ, counted))
    for _ in range(3):
        assert len(rows(path, member="*.xyz")) == 20
    assert len(opened) == 2, "to see that it is a tar, and to unpack it"
    code = (
        "import sys; from molnb.recipes.readers import read_records, scratch\n"
        "from molnb.recipes.source_schema import Source; from pathlib import Path\n"
        "path = Path(sys.argv[1]); s = Source(kind='file', file=str(path), member='*.xyz')\n"
        "print(len(list(read_records(s, path)))); print(*scratch._folders.values())"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    n_row, folder = done.stdout.split()
    assert n_row == "20" and Path(folder).parent == tmp_path and not Path(folder).exists()


def test_a_copy_that_made_room_for_others_is_made_again(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "mine.tgz", {"a.csv": TABLE}, ".gz")
    assert len(rows(path)) == 3
    for k in range(scratch.MAX_FILES):
        scratch.scratch_file(("other", k), "x", lambda file: None)
    assert len(rows(path)) == 3


def test_rows_and_their_joined_table_may_lie_in_one_archive(tmp_path: Path) -> None:
    activities = "Name,activity\nb,7.5\na,6.5\n"
    path = write_tar(tmp_path / "both.tgz", {"m.smi": "CCO a\nCCN b\n", "act.csv": activities})
    content = {
        "name": "joined",
        "title": "t",
        "licence": "x",
        "citation": "x",
        "source": {
            "kind": "file",
            "file": str(path),
            "member": "m.smi",
            "join": {"member": "act.csv", "key": "name", "column": "Name"},
        },
        "columns": {"smiles": "smiles", "id": "name"},
        "labels": [
            {
                "name": "activity",
                "column": "activity",
                "quantity": "activity",
                "unit": "1",
                "theory": "assay",
                "geometry": "none",
                "level": "molecule",
            }
        ],
    }
    recipe = make_recipe(content)
    snapshot = tmp_path / "snapshot.parquet"
    write_snapshot(recipe, find_source(recipe, tmp_path), snapshot)
    assert pq.read_table(snapshot).column("activity").to_pylist() == [6.5, 7.5]


def test_an_archive_of_ones_own_is_curated(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "mine.zip", {"deep/mine.csv": TABLE, "LICENSE.txt": "free"})
    recipe = recipe_for_file(path, labels={"y": "eV"})
    shards = curate(recipe, home=tmp_path, workers=1, progress=False)
    assert shards.n == 3 and shards.table(["y"]).column(0).to_pylist() == [1.0, 2.0, 4.0]


# ------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("name", ["../../evil.csv", "/tmp/evil.csv", "a/../../b.csv", "C:\\x.csv"])
def test_a_member_that_would_lie_elsewhere_is_refused_by_name(tmp_path: Path, name: str) -> None:
    for path in (
        write_tar(tmp_path / "evil.tar", {"good.csv": TABLE, name: TABLE}),
        write_zip(tmp_path / "evil.zip", {"good.csv": TABLE, name: TABLE}),
    ):
        text = refusal(path, member="good.csv")
        assert name.rsplit("\\")[-1] in text and "outside of the folder" in text
    assert not (tmp_path.parent.parent / "evil.csv").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_pipes_in_a_tar_are_not_followed(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "secret.csv").write_text(TABLE)
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        info = tarfile.TarInfo("mine.csv")
        info.type = kind
        info.linkname = str(tmp_path / "secret.csv")
        archive.addfile(info)
    assert "'mine.csv' is " in refusal(tmp_path / "links.tar", member="*.csv")
    assert "'mine.csv' is " in refusal(tmp_path / "links.tar")


def test_links_in_a_zip_are_not_followed(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("mine.csv")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as archive:
        archive.writestr(info, str(tmp_path / "secret.csv"))
    assert "'mine.csv' is a link" in refusal(tmp_path / "links.zip")


def test_an_encrypted_zip_says_so(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "locked.zip", {"mine.csv": TABLE})
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1  # the flag that zip programs set
    path.write_bytes(data)
    assert "'mine.csv' is encrypted: unpack it with its password" in refusal(path)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_tar_that_was_cut_off_is_not_taken_for_whole(tmp_path: Path, packing: str) -> None:
    files = {f"{k}.xyz": WATER for k in range(40)}
    whole = write_tar(tmp_path / f"a.tar{packing}", files, packing)
    data = whole.read_bytes()
    n_cut = 0
    for n in {10, len(data) // 3, len(data) // 2, 1024 * 20, 1024 * 40}:
        if 0 < n < len(data):
            path = tmp_path / f"cut{n}.tar{packing}"
            path.write_bytes(data[:n])
            text = refusal(path, member="*.xyz")
            assert "damaged or cut off" in text or "neither a zip nor a tar" in text
            n_cut += 1
    assert n_cut >= 3


def test_a_zip_that_was_cut_off_or_changed_is_one_message(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"mine.csv": TABLE * 1000})
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    assert "damaged or cut off zip" in refusal(path, member="mine.csv")
    changed = bytearray(data)
    changed[80] ^= 255
    (tmp_path / "b.zip").write_bytes(changed)
    assert "b.zip: mine.csv" in refusal(tmp_path / "b.zip")
    assert "damaged" in refusal(tmp_path / "b.zip")
    (tmp_path / "c.zip").write_bytes(b"nothing of the kind")
    assert "neither a zip nor a tar" in refusal(tmp_path / "c.zip")


@pytest.mark.parametrize("packing", [".gz", ".bz2", ".xz", ".zst"])
def test_a_bomb_is_refused_before_it_fills_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    monkeypatch.setattr("molnb.recipes.readers.packing.SMALL_BYTES", 1 << 16)
    zeros = ("id,smiles\n" + "a,C\n" * 100_000).encode()
    table = tmp_path / f"bomb.csv{packing}"
    table.write_bytes(PACKINGS[packing](zeros))
    tar = write_tar(tmp_path / f"bomb.tar{packing}", {"bomb.csv": zeros}, packing)
    archive = write_zip(tmp_path / "bomb.zip", {"bomb.csv": zeros})
    for path in (table, tar, archive):
        text = refusal(path)
        assert "more than 250 times its size" in text and "MOLNB_MAX_UNPACKED_RATIO=2500" in text
    monkeypatch.setenv("MOLNB_MAX_UNPACKED_RATIO", "100000")
    assert len(rows(archive)) == 100_000
    monkeypatch.setenv("MOLNB_MAX_UNPACKED_GB", "0.0002")
    for path in (table, tar, archive):
        text = refusal(path)
        assert "more than 0.0002 GB, the limit" in text and "MOLNB_MAX_UNPACKED_GB=0.0004" in text
    monkeypatch.setenv("MOLNB_MAX_UNPACKED_GB", "a lot")
    assert "MOLNB_MAX_UNPACKED_GB='a lot' is no number above 0" in refusal(table)


def test_a_file_that_is_no_archive_has_no_members(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(TABLE)
    assert "neither a zip nor a tar" in refusal(tmp_path / "mine.csv", member="a.csv")
