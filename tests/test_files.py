"""Files are there whole or not at all, whatever ends the writing."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from molnb.errors import InputError
from molnb.files import file_digest, write_json, write_table, writing, writing_array


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
