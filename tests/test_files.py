"""Files are there whole or not at all, whatever ends the writing."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from molnb.errors import InputError
from molnb.files import (
    check_folder,
    check_output,
    file_digest,
    write_json,
    write_table,
    writing,
    writing_array,
)


def write_one_row(path: Path) -> None:
    with writing_array(path, np.int64, (1,)) as append:
        append(np.zeros(1, np.int64))


WRITERS = {
    "json": lambda path: write_json({}, path),
    "table": lambda path: write_table(pa.table({"a": [1]}), path),
    "array": write_one_row,
}


def fail_with(number: int):
    def fail(*_) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_refused_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write
) -> None:
    monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))
    message = f"The disk is full: could not write {tmp_path}/x.*MOLNB_HOME"
    with pytest.raises(InputError, match=message):
        write(tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_file_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json([1], tmp_path / "x")
    monkeypatch.setattr(os, "fsync", fail_with(errno.EDQUOT))
    with pytest.raises(InputError, match="The disk is full"):
        write_json([2], tmp_path / "x")
    assert (tmp_path / "x").read_text() == "[\n 1\n]\n"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_another_error_of_the_system_is_no_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", fail_with(errno.EIO))
    with pytest.raises(OSError, match="[Ii]nput/output error"):
        write_json({}, tmp_path / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_an_interruption_leaves_nothing_and_is_passed_on(
    tmp_path: Path, interruption: type[BaseException]
) -> None:
    with pytest.raises(interruption), writing(tmp_path / "folder" / "x") as partial:
        partial.write_text("half of")
        assert partial.exists() and not (tmp_path / "folder" / "x").exists()
        raise interruption
    assert not list((tmp_path / "folder").iterdir())


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("before")
    with writing(path) as partial:
        partial.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after" and list(tmp_path.iterdir()) == [path]


def test_an_array_is_written_in_pieces_and_read_by_numpy(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    with writing_array(tmp_path / "x.npy", np.float32, (4, 3)) as append:
        append(rows[:1])
        append(rows[1:].astype(np.float64))
    stored = np.load(tmp_path / "x.npy")
    assert stored.dtype == np.float32 and np.array_equal(stored, rows)


def test_an_array_with_fewer_rows_than_announced_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="x.npy: 1 rows written, 2 announced"),
        writing_array(tmp_path / "x.npy", np.int64, (2,)) as append,
    ):
        append(np.zeros(1))
    assert not list(tmp_path.iterdir())


def test_a_digest_is_that_of_the_content(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "x").write_bytes(content)
    assert file_digest(tmp_path / "x") == hashlib.sha256(content).hexdigest()


# --------------------------------------------------------------------------- where a result may go


def linked(folder: Path, name: str, target: str) -> Path:
    (folder / name).symlink_to(target)
    return folder / name


def hard_linked(folder: Path) -> Path:
    os.link(folder / "mine.csv", folder / "other.csv")
    return folder / "other.csv"


def piped(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.csv")
    return folder / "pipe.csv"


def below_a_linked_folder(folder: Path) -> Path:
    linked(folder, "link", str(folder))
    return folder / "link" / "mine.csv"


def written(path: Path, text: str = "a,b\n1,2\n", mode: int = 0o644) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "the input": (lambda f: f / "mine.csv", "which is read"),
    "the input by another spelling": (lambda f: f / "x" / ".." / "mine.csv", "which is read"),
    "the input through a link": (lambda f: linked(f, "l.csv", "mine.csv"), "which is read"),
    "the input through a hard link": (hard_linked, "which is read"),
    "the input through a linked folder": (below_a_linked_folder, "which is read"),
    "a file of a folder that is read": (lambda f: written(f / "run" / "a.csv"), "belongs to"),
    "a folder": (lambda f: f, "is a folder: name a file in it"),
    "a linked folder": (lambda f: linked(f, "l.csv", "run"), "is a folder: name a file in it"),
    "the working folder": (lambda f: Path(""), "is a folder: name a file in it"),
    "a pipe": (piped, "is a device, a pipe"),
    "a device": (lambda f: Path("/dev/null"), "is a device, a pipe"),
    "a link in a circle": (lambda f: linked(f, "o.csv", "o.csv"), "leads nowhere"),
    "below a file": (lambda f: f / "mine.csv" / "out.csv", "mine.csv is a file and no folder"),
    "far below a file": (lambda f: f / "mine.csv" / "a" / "out.csv", "is a file and no folder"),
    "below a device": (lambda f: Path("/dev/null/out.csv"), "/dev/null is a file and no folder"),
    "a name that is too long": (lambda f: f / ("n" * 250 + ".csv"), "File name too long"),
    "a folder's name that is too long": (lambda f: f / ("n" * 300) / "o.csv", "name too long"),
    "a spreadsheet": (lambda f: f / "out.xlsx", "which is one of .parquet, .csv: add one"),
    "no ending": (lambda f: f / "out", "which is one of .parquet, .csv: add one of them"),
    "somebody's file": (lambda f: written(f / "notes.csv"), "replaced with --force"),
    "an empty file": (lambda f: written(f / "empty.csv", ""), "replaced with --force"),
    "a protected file": (lambda f: written(f / "ours.csv", "ours", 0o444), "with --force"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_a_result_does_not_go_where_it_cannot_or_where_something_else_is(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    read = written(tmp_path / "mine.csv")
    (tmp_path / "run").mkdir()
    out = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    def is_ours(path: Path) -> bool:
        return path.read_text() == "ours"

    with pytest.raises(InputError) as refused:
        check_output(out, [read, tmp_path / "run"], (".parquet", ".csv"), is_ours)
    assert message in str(refused.value) and str(out) in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == before and read.read_text() == "a,b\n1,2\n"


def test_only_what_is_not_read_is_replaced_by_force(tmp_path: Path) -> None:
    read = written(tmp_path / "mine.csv")
    other = written(tmp_path / "other.csv")
    assert check_output(other, [read], force=True) == other
    for spared in (read, written(tmp_path / "run" / "a.csv"), tmp_path):
        with pytest.raises(InputError):
            check_output(spared, [read, tmp_path / "run"], force=True)


@pytest.mark.parametrize("place", ["new.csv", "a/b/new.csv", "OLD.CSV", "link.csv", "[x]*.csv"])
def test_a_place_that_is_free_or_ours_is_accepted_and_left_as_it_is(
    tmp_path: Path, place: str
) -> None:
    written(tmp_path / "OLD.CSV", "ours")
    linked(tmp_path, "link.csv", "target/new.csv")
    before = sorted(tmp_path.rglob("*"))
    path = check_output(tmp_path / place, [], (".csv",), lambda path: path.read_text() == "ours")
    assert path == (tmp_path / "target/new.csv" if place == "link.csv" else tmp_path / place)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_place_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: fail_with(number)())
    for check in (check_output, check_folder):
        message = f"cannot write {tmp_path}/x.*{os.strerror(number)}.*choose another --out"
        with pytest.raises(InputError, match=message):
            check(tmp_path / "x")


def test_a_folder_that_holds_other_things_is_not_filled(tmp_path: Path) -> None:
    written(tmp_path / "full" / "thesis.tex")
    written(tmp_path / "hidden" / ".gitignore")

    def is_ours(folder: Path) -> bool:
        return (folder / "run").exists()

    for name in ("new", "hidden", "a/b"):
        assert check_folder(tmp_path / name, is_ours) == tmp_path / name
    with pytest.raises(InputError, match=r"full holds 1 other things \(thesis.tex\)"):
        check_folder(tmp_path / "full", is_ours)
    assert check_folder(tmp_path / "full") == tmp_path / "full"
    written(tmp_path / "full" / "run")
    assert check_folder(tmp_path / "full", is_ours) == tmp_path / "full"
    for file in (tmp_path / "full" / "thesis.tex", Path("/dev/null")):
        with pytest.raises(InputError, match="is a file, and a folder is needed"):
            check_folder(file)
