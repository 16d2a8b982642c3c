"""Published splits are those of the papers: a shuffle to the row, a file as it lists, a time."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from curated_files import curate_smiles, refuse_conformers

from molnb.curation.datacard import split_table
from molnb.curation.pipeline import curate
from molnb.curation.splitting.published_splits import shuffled_parts
from molnb.curation.splitting.splits import downloads_beside
from molnb.curation.splitting.time_splits import latest_last, read_times
from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.recipes.fetched.downloads import download_path
from molnb.recipes.registry import make_recipe
from molnb.recipes.sources import recipe_for_file
from molnb.recipes.split_files import part_of_key, read_listing
from molnb.recipes.split_schema import Split
from molnb.shards import Shards

CHAINS = ["C" * n for n in range(2, 22)]
SEEDED = Split(kind="shuffle", seed=42)
PARTS = {"train": [0, 3, 4], "val": [1], "test": [2, 5]}
EXPECTED = {0: [0, 3, 4], 1: [1], 2: [2, 5]}


def curate_split(folder: Path, smiles: list[str], **split) -> Shards:
    """Molecules with one split of their own."""
    return curate_smiles(folder, smiles, splits={"s": split}, default_split="s")


# ------------------------------------------------------------------------------------ shuffle


@pytest.mark.parametrize(
    ("n", "first", "sizes"),
    [
        (133_885, [96754, 13640, 68811, 29949, 84973], [107_109, 13_388, 13_388]),
        (7_831, [2074, 2270, 4585, 3687, 4397], [6_265, 783, 783]),
        (12_000, [3785, 4440, 7186, 232, 4316], [9_600, 1_200, 1_200]),
    ],
    ids=["qm9", "tox21", "zinc12k"],
)
def test_the_shuffle_is_the_published_one(n: int, first: list[int], sizes: list[int]) -> None:
    state = random.getstate()
    parts = shuffled_parts(n, SEEDED)
    assert random.getstate() == state
    assert np.bincount(parts).tolist() == sizes
    assert (parts[first] == 0).all()
    rows = list(range(n))  # the published lines, whose beginning the papers' files show
    random.Random(42).shuffle(rows)
    assert rows[:5] == first
    assert (parts[rows[: sizes[0]]] == 0).all()
    assert (parts[rows[sizes[0] : sizes[0] + sizes[1]]] == 1).all()


def test_rows_that_are_dropped_count_in_the_shuffle(tmp_path: Path) -> None:
    smiles = ["C1CC", "CCO", *CHAINS[:8], "not a molecule", *CHAINS[8:]]
    shards = curate_split(tmp_path, smiles, kind="shuffle", seed=42)
    rows = shards.table(["row"]).column(0).to_numpy()
    assert 0 not in rows and 10 not in rows
    expected = shuffled_parts(len(smiles), SEEDED)
    assert np.array_equal(shards.array("split_s"), expected[rows])
    assert not np.array_equal(expected[rows], shuffled_parts(len(rows), SEEDED))


def test_a_sample_keeps_the_sides_of_the_whole(tmp_path: Path) -> None:
    whole = curate_split(tmp_path, CHAINS, kind="shuffle", seed=7)
    recipe = make_recipe(whole.manifest["recipe"])
    sample = curate(recipe, n=9, workers=0, home=tmp_path, progress=False)
    sides = dict(zip(whole.smiles(), whole.array("split_s").tolist(), strict=True))
    assert sample.n == 9
    assert sample.array("split_s").tolist() == [sides[smiles] for smiles in sample.smiles()]


def test_the_first_row_decides_and_molecules_in_several_parts_are_counted(tmp_path: Path) -> None:
    twice = [*CHAINS, *CHAINS, "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"]
    shards = curate_split(tmp_path, twice, kind="shuffle", seed=1)
    parts = shuffled_parts(42, Split(kind="shuffle", seed=1))
    assert np.array_equal(shards.array("split_s"), parts[[*range(20), 40, 41]])
    n_across = int((parts[:20] != parts[20:40]).sum())
    report = shards.manifest["splits"]["s"]
    assert 0 < report["across_parts"] == n_across
    assert f"{n_across} molecules stand in rows of several parts" in shards.summary()
    assert report["parted_groups"] == (parts[40] != parts[41]) * (min(parts[40:]) == 0)


# --------------------------------------------------------------------------------------- files


def _write(path: Path) -> Path:
    """The same split in every format, by the ending of the name."""
    texts = {
        ".csv": "row,split\n" + "".join(f"{r},{p}\n" for p, rows in PARTS.items() for r in rows),
        ".tsv": "train\tvalid\ttest\n0\t1\t2\n3\t\t5\n4\n",
        ".txt": "train: 0 3\n4\nval: 1\ntest: 2, 5\n",
    }
    if path.suffix in texts:
        path.write_text(texts[path.suffix])
    elif path.suffix == ".json":
        path.write_text(json.dumps(PARTS))
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(json.dumps(PARTS).encode()))
    elif path.suffix == ".npz":
        np.savez(path, **{f"{part}_idx": np.array(rows) for part, rows in PARTS.items()})
    elif path.suffix == ".pt":
        torch.save({part: torch.tensor(rows) for part, rows in PARTS.items()}, path)
    else:
        rows = {row: part for part, rows in PARTS.items() for row in rows}
        pq.write_table(pa.table({"index": list(rows), "part": list(rows.values())}), path)
    return path


@pytest.mark.parametrize("ending", "json json.gz csv tsv txt npz pt parquet".split())
def test_every_format_lists_the_same(tmp_path: Path, ending: str) -> None:
    path = _write(tmp_path / f"parts.{ending}")
    listing = read_listing(path, Split(kind="file", file=str(path)))
    entries = {part: sorted(map(int, rows)) for part, rows in listing.entries.items()}
    assert entries == EXPECTED and not listing.others


@pytest.mark.parametrize("ending", ["json", "txt", "csv"])
def test_a_file_may_have_a_part_for_every_row(tmp_path: Path, ending: str) -> None:
    names = ["train", "val", "test", "train", "Training", "TEST", ""]
    text = {"json": json.dumps(names), "txt": "\n".join(names) + "\n\n"}
    text["csv"] = "fold\n" + "".join(f'"{name}"\n' for name in names)
    path = tmp_path / f"parts.{ending}"
    path.write_text(text[ending])
    listing = read_listing(path, Split(kind="file", file=str(path)))
    assert listing.entries == EXPECTED and listing.n_row == 7 + (ending == "txt")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_of_an_archive_is_read_without_unpacking_it(tmp_path: Path, kind: str) -> None:
    content = json.dumps(PARTS).encode()
    path = tmp_path / f"all.{kind}"
    name = "../outside/parts.json"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, content)
    else:
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    listing = read_listing(path, Split(kind="file", file=str(path), member=name))
    assert listing.entries == EXPECTED
    assert not (tmp_path.parent / "outside").exists()


def test_names_of_parts_are_known_in_what_programs_write() -> None:
    names = ["train", "train_idx", "idx_train", "valid", "val_ids", "test", "test_seen", "Dev"]
    assert [part_of_key(name) for name in names] == [0, 0, 0, 1, 1, 2, 3, 1]
    assert [part_of_key(name) for name in ("", "test-dev", "trainable", "y")] == [None] * 4


class _Runs:
    def __reduce__(self) -> tuple:
        return (pytest.fail, ("a split file ran code",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pt", pickle.dumps(_Runs()), "no plain lists of rows"),
        ("a.pt", b"nothing", "no plain lists of rows"),
        ("a.npz", b"nothing", "not readable as .npz"),
        ("a.json", b'{"train": [1, ', "not readable as .json"),
        ("a.json", b"[" * 100_000, "not readable as .json"),
        ("a.json", b'{"train": {"0": 1}}', "'train' is no list of rows, but dict"),
        ("a.json", b'{"train": [[1, 2]]}', r"'train' lists \[1, 2\]"),
        ("a.json", b'{"fold_0": [1], "test": [2]}', "lists nothing for training.*has fold_0"),
        ("a.json", b'{"val": [1], "valid": [2], "train": [3]}', "listed twice under different"),
        ("a.json", b"\xff\xfe", "not readable as .json"),
        ("a.json.gz", b"not gzip", "not readable as"),
        ("a.csv", b"row,y\n1,2\n", "0 columns hold train, val and test"),
        ("a.csv", b"a,b,part\n1,2,train\n", "rename the one that is meant"),
        ("a.csv", b"row,part\n1,train,3\n", "row 2 has more cells"),
        ("a.csv", b"", "it is empty"),
        ("a.txt", b"train\nfold1\n", "entry 2 names no part"),
        ("a.bin", b"", "known by its ending, one of .json"),
    ],
)
def test_what_is_no_split_file_is_one_message(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_listing(path, Split(kind="file", file=str(path)))


def test_arrays_of_objects_and_bombs_are_refused(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, train=np.array([_Runs()], object))
    split = Split(kind="file", file=str(path))
    with pytest.raises(InputError, match="not readable as .npz"):
        read_listing(path, split)
    monkeypatch.setattr("molnb.recipes.split_files.MAX_BYTES", 100_000)
    np.savez_compressed(path, train=np.zeros(1_000_000, np.int64))
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match="when unpacked"):
        read_listing(path, split)
    bomb = tmp_path / "a.json.gz"
    bomb.write_bytes(gzip.compress(b" " * 1_000_000))
    with pytest.raises(InputError, match="when unpacked"):
        read_listing(bomb, Split(kind="file", file=str(bomb)))


def _listed(folder: Path, parts: dict, by: str = "row", **keys) -> dict:
    path = folder / "parts.json"
    path.write_text(json.dumps(parts))
    return {"kind": "file", "file": str(path), "by": by, **keys}


def test_rows_of_a_file_are_those_of_the_source(tmp_path: Path) -> None:
    smiles = ["C1CC", *CHAINS[:5], "CCO", "OCC"]
    parts = {"train": [0, 1, 2, 6], "val": [3], "test": [4, 7], "extra": [5]}
    shards = curate_split(tmp_path, smiles, **_listed(tmp_path, parts))
    assert shards.array("split_s").tolist() == [0, 0, 1, 2, -1, 0]
    summary = shards.summary()
    assert "split s: 1 molecules stand in rows of several parts" in summary
    assert "split s: 1 molecules are in no part of it" in summary
    assert "lists of its file that are no part are not used: extra" in summary


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": [0, 1], "test": [2, 20, 21]}, "2 rows that the source does not have .row 20 un"),
        ({"train": [0, -1]}, "row -1 under train; rows are 0 to 19"),
        ({"train": [0, 1], "test": [2, 1]}, "1 rows under train and test, such as row 1"),
        ({"train": [0, 1, 1]}, "1 rows twice under train, such as row 1"),
        ({"train": ["a"]}, "'a', which is no row"),
        ({"train": [0.5]}, "'0.5', which is no row"),
        (["train"] * 19, "a part for 19 rows, the source has 20"),
    ],
)
def test_a_file_for_other_rows_is_refused_before_any_work(
    tmp_path: Path, parts: dict, message: str, monkeypatch
) -> None:
    refuse_conformers(monkeypatch)
    with pytest.raises(InputError, match=message):
        curate_split(tmp_path, CHAINS, **_listed(tmp_path, parts))
    assert not list((tmp_path / "data").glob("mine-*"))


def _curate_ids(folder: Path, parts: dict, n: int | None = None) -> Shards:
    file = folder / "named.csv"
    rows = [f"{smiles},m{i}\n" for i, smiles in enumerate([*CHAINS, "CCCC"])]
    file.write_text("smiles,id\n" + "".join(rows))
    recipe = recipe_for_file(file, identifier="id")
    splits = {"splits": {"s": _listed(folder, parts, "id")}, "default_split": "s"}
    recipe = make_recipe(recipe.model_dump() | splits)
    return curate(recipe, n=n, workers=0, home=folder, progress=False)


def test_a_file_may_list_identifiers(tmp_path: Path) -> None:
    parts = {"train": [f"m{i}" for i in range(15)], "val": ["m15"], "test": ["m16", "m20", "m99"]}
    shards = _curate_ids(tmp_path, parts)
    assert shards.array("split_s").tolist() == [0] * 15 + [1, 2] + [-1] * 3
    report = shards.manifest["splits"]["s"]
    assert report["unknown_entries"] == 1 and report["across_parts"] == 1
    assert "1 entries of its file are not in the source" in shards.summary()
    assert _curate_ids(tmp_path, parts, n=4).manifest["splits"]["s"]["across_parts"] == 0


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": [f"x{i}" for i in range(30)]}, "30 of 30 identifiers are not in the source"),
        ({"train": ["m1"], "test": ["m1"]}, "lists 'm1' under train and test"),
    ],
)
def test_identifiers_of_another_source_are_refused(
    tmp_path: Path, parts: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _curate_ids(tmp_path, parts)


def test_a_file_may_list_smiles_in_any_spelling(tmp_path: Path) -> None:
    smiles = ["OCC", "c1ccccc1C", "CC(=O)[O-].[Na+]", "CCN", "NCC", "CCCl", "CCC"]
    parts = {"train": ["CCO", "Cc1ccccc1"], "val": ["CC(=O)O"], "test": ["CCN", "ClCC", "CCCl"]}
    parts["train"] += ["NCC"]  # the spelling of a later row
    shards = curate_split(tmp_path, smiles, **_listed(tmp_path, parts, "smiles"))
    assert shards.array("split_s").tolist() == [0, 0, 1, 2, 2, -1]
    report = shards.manifest["splits"]["s"]
    assert report["across_parts"] == 1 and report["unknown_entries"] == 0
    others = {"train": ["CCO", *[f"{'C' * n}I" for n in range(1, 9)]]}
    with pytest.raises(InputError, match="8 of 9 SMILES are not in the source, the first is 'CI'"):
        curate_split(tmp_path, smiles, **_listed(tmp_path, others, "smiles"))


def test_a_changed_file_makes_another_folder_and_no_conformer(tmp_path: Path, monkeypatch) -> None:
    split = _listed(tmp_path, {"train": list(range(18)), "val": [18], "test": [19]})
    first = curate_split(tmp_path, CHAINS, **split)
    assert curate_split(tmp_path, CHAINS, **split).path == first.path
    refuse_conformers(monkeypatch)
    split = _listed(tmp_path, {"train": list(range(2, 20)), "val": [1], "test": [0]})
    second = curate_split(tmp_path, CHAINS, **split)
    assert second.path != first.path and second.array("split_s")[0] == 2
    moved = tmp_path / "elsewhere.json"
    Path(split["file"]).rename(moved)
    assert curate_split(tmp_path, CHAINS, **split | {"file": str(moved)}).path == second.path
    with pytest.raises(InputError, match="the recipe expects 0000"):
        curate_split(tmp_path, CHAINS, **split | {"file": str(moved), "sha256": "0" * 64})
    with pytest.raises(InputError, match="There is no split file"):
        curate_split(tmp_path, CHAINS, **split)


def test_a_split_file_beside_the_recipe_is_taken_with_another_source_too(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("smiles\n" + "".join(f"{s}\n" for s in CHAINS))
    (tmp_path / "parts.json").write_text(json.dumps({"train": list(range(19)), "test": [19]}))
    (tmp_path / "recipe.yaml").write_text(
        "name: r\ntitle: r\nlicence: none\ncitation: none\nsource: {kind: file, file: none.csv}\n"
        "splits: {s: {kind: file, file: parts.json}}\ndefault_split: s\n"
    )
    source = tmp_path / "mine.csv"
    shards = curate(tmp_path / "recipe.yaml", source, workers=0, home=tmp_path, progress=False)
    assert shards.array("split_s").tolist().count(2) == 1
    assert shards.manifest["splits"]["s"]["val_from_train"] == 2  # a tenth of 19
    assert "its file names no validation rows, so 2 training molecules" in shards.summary()


def test_a_file_at_a_url_is_taken_from_the_downloads(tmp_path: Path) -> None:
    url = "https://localhost/nobody/listens/parts.json"
    path = download_path(url, None, downloads_beside(tmp_path / "data" / "x"))
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"train": list(range(19)), "test": [19]}))
    shards = curate_split(tmp_path, CHAINS, kind="file", url=url)
    assert shards.array("split_s")[19] == 2


# ------------------------------------------------------------------------------- test_seen


def test_test_seen_is_a_part_where_a_split_has_it(tmp_path: Path) -> None:
    parts = {"train": list(range(12)), "val": [12, 13], "test": [14, 15], "test_seen": [16, 17, 18]}
    splits = {"s": _listed(tmp_path, parts), "random": {"kind": "random"}}
    shards = curate_smiles(tmp_path, CHAINS, splits=splits, default_split="s")
    assert shards.array("split_s").tolist() == [0] * 12 + [1, 1, 2, 2, 3, 3, 3, -1]
    report = shards.manifest["splits"]
    assert report["s"]["test_seen"] == 3 and "test_seen" not in report["random"]
    summary = shards.summary()
    assert "split s: 12/2/2/3 train/val/test/test_seen" in summary
    assert "split random: 16/2/2 train/val/test," in summary
    assert split_table(shards)["test_seen"].tolist() == [3, 0]
    assert Corpus([shards]).ids("test_seen").tolist() == [16, 17, 18]
    assert Corpus([shards]).ids("test_seen", "random").tolist() == []


# ------------------------------------------------------------------------------------- times


def _curate_times(folder: Path, times: list[str], smiles: list[str], **split) -> Shards:
    file = folder / "timed.csv"
    rows = zip(smiles, times, strict=True)
    file.write_text("smiles,year\n" + "".join(f'{s},"{time}"\n' for s, time in rows))
    split = {"kind": "time", "column": "year", **split}
    keys = {"splits": {"s": split}, "default_split": "s"}
    recipe = make_recipe(recipe_for_file(file).model_dump() | keys)
    return curate(recipe, workers=0, home=folder, progress=False)


def test_the_latest_molecules_are_the_test_and_those_before_them_val(tmp_path: Path) -> None:
    times = ["2009", "", "2001", "n/a", *[str(2000 - i) for i in range(16)], "1950", "2009"]
    smiles = [*CHAINS[:19], "C[C@H](N)C(=O)O", "CCO", "C[C@@H](N)C(=O)O"]
    shards = _curate_times(tmp_path, times, smiles)
    side = shards.array("split_s")
    assert side[[0, 21]].tolist() == [2, 2]  # 2009
    assert side[[2, 4]].tolist() == [1, 1]  # 2001 and 2000
    assert side[[1, 3]].tolist() == [-1, -1]
    assert (side[5:21] == 0).all()
    report = shards.manifest["splits"]["s"]
    assert report["without_side"] == 2 and report["parted_groups"] == 1
    assert "2 molecules are in no part of it (no readable time)" in shards.summary()
    assert "1 molecules of val and test have a stereoisomer" in shards.summary()


def test_the_time_of_the_first_row_counts(tmp_path: Path) -> None:
    times = [str(1990 + i) for i in range(20)] + ["2050"]
    shards = _curate_times(tmp_path, times, [*CHAINS, CHAINS[0]])
    assert shards.array("split_s").tolist() == [0] * 16 + [1, 1, 2, 2]
    assert "1 molecules stand in rows of several times; the time of the first" in shards.summary()


def test_a_time_is_never_divided() -> None:
    times = np.array([2000.0] * 7 + [2001.0] * 2 + [2002.0] * 4)
    side = latest_last(times, (0.8, 0.1, 0.1))
    assert side.tolist() == [0] * 7 + [1] * 2 + [2] * 4
    assert latest_last(np.full(9, 2000.0), (0.8, 0.1, 0.1)).tolist() == [0] * 9
    assert latest_last(np.arange(10.0), (0.9, 0.1, 0.0)).tolist() == [0] * 9 + [1]
    shuffled = np.random.default_rng(0).permutation(50).astype(float)
    side = latest_last(shuffled, (0.8, 0.1, 0.1))
    assert np.bincount(side).tolist() == [40, 5, 5]
    assert shuffled[side == 2].min() > shuffled[side == 1].max() > shuffled[side == 0].max()


@pytest.mark.parametrize(
    ("early", "late"),
    [
        ("2011", "2012"),
        ("-1.5", "2e3"),
        ("2011-03-05", "2011-03-06"),
        ("2011-02", "2011-03-01"),
        ("2011-03-05T23:59:00", "2011-03-06 00:00"),
        ("2011-03-05T23:59:00-05:00", "2011-03-06T06:00:00+00:00"),
        ("12/31/2010", "1/2/2011"),
    ],
)
def test_numbers_and_dates_are_read_in_their_order(early: str, late: str) -> None:
    first, second, empty, strange = read_times([early, late, None, "unknown"], "c")
    assert first < second and np.isnan(empty) and np.isnan(strange)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["2011", "2011-03-05"], "1 numbers or years .'2011'. and 1 dates YYYY-MM-DD"),
        (["01/31/2011", "31/01/2011", "01/01/2011"], "'31/01/2011', which is no date MM/DD/YYYY"),
        (["spring", "autumn", "2011"], "1 of 3 cells are numbers or dates .the first is 'spring'"),
        (["", None], "0 of 0 cells"),
        (["2011-13-40", "nan", "inf"], "0 of 3 cells"),
    ],
)
def test_a_column_that_is_no_time_is_refused(texts: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_times(texts, "c")


def test_a_column_without_times_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'year' of the split by time"):
        _curate_times(tmp_path, ["early"] * 20, CHAINS)
    assert not list((tmp_path / "data").glob("timed-*"))
