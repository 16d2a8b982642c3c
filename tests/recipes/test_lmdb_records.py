"""LMDB files of pickled records are read without running anything, in the order of their keys."""

from __future__ import annotations

import collections
import gzip
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molnb.errors import InputError
from molnb.recipes.readers import column_names, read_records
from molnb.recipes.readers.plain_pickles import (
    DamagedPickleError,
    RefusedPickleError,
    load_plain,
)
from molnb.recipes.readers.record import Record
from molnb.recipes.source_schema import Source

lmdb = pytest.importorskip("lmdb")


def write_lmdb(path: Path, values: dict[bytes, bytes], subdir: bool = False) -> Path:
    with lmdb.open(str(path), subdir=subdir, map_size=1 << 26) as environment:
        with environment.begin(write=True) as transaction:
            for key, value in values.items():
                transaction.put(key, value)
    return path


def records(path: Path, columns: list[str] | None = None) -> list[Record]:
    return list(read_records(Source(kind="file", file=str(path)), path, columns))


def molecule(k: int) -> dict[str, Any]:
    """A record as Uni-Mol has it: hydrogens included, two conformers."""
    coords = np.arange(6, dtype=np.float32).reshape(2, 3) + k
    return {
        "smi": "C" * k,
        "atoms": ["C", "H"],
        "coordinates": [coords, -coords],
        "target": np.array([k / 2, np.nan]),
        "scaffold": "",
    }


def is_equal(left: Any, right: Any) -> bool:
    if isinstance(right, list):
        return len(left) == len(right) and all(map(is_equal, left, right))
    if isinstance(right, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right, equal_nan=True)
    return left == right


# --------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize("keys", ["big endian", "text", "padded", "long"])
def test_records_come_in_the_order_of_their_numbers(tmp_path: Path, keys: str) -> None:
    write = {
        "big endian": lambda k: struct.pack(">I", k),
        "text": lambda k: str(k).encode(),
        "padded": lambda k: b"%07d" % k,
        "long": lambda k: struct.pack(">Q", k),
    }[keys]
    numbers = [300, 2, 10, 1, 9]
    path = write_lmdb(
        tmp_path / "train.lmdb", {write(k): pickle.dumps(molecule(k)) for k in numbers}
    )
    read = records(path)
    assert [len(record.fields["smi"]) for record in read] == sorted(numbers)
    assert [int(record.fields["key"]) for record in read] == sorted(numbers)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zlib.compress])
def test_what_was_pickled_comes_back(tmp_path: Path, protocol: int, pack: Any) -> None:
    values = {b"%d" % k: pack(pickle.dumps(molecule(k), protocol)) for k in range(1, 4)}
    values[b"length"] = pickle.dumps(3)
    path = write_lmdb(tmp_path / "valid.lmdb", values)
    for k, record in enumerate(records(path), 1):
        assert record.problem is None and record.fields.pop("key") == str(k)
        for name, value in molecule(k).items():
            assert is_equal(record.fields[name], value), name
    names = column_names(Source(kind="file", file=str(path)), path)
    assert names[:4] == ["smi", "atoms", "coordinates", "target"] and "target[1]" in names
    (first, *_) = records(path, ["target[0]"])
    assert first.fields["target[0]"] == 0.5


def test_a_folder_with_data_mdb_is_read_too(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "train.lmdb", {b"0": pickle.dumps(molecule(1))}, subdir=True)
    assert (path / "data.mdb").is_file()
    assert [record.fields["smi"] for record in records(path)] == ["C"]


# ------------------------------------------------------------------------------------- damage


def test_a_damaged_value_is_a_malformed_row_and_its_neighbours_are_read(tmp_path: Path) -> None:
    good = pickle.dumps(molecule(1))
    values = {b"0": good, b"1": good[:-9], b"2": b"text", b"3": pickle.dumps([1, 2]), b"4": good}
    values[b"5"] = gzip.compress(good)[:-9]
    problems = [record.problem for record in records(write_lmdb(tmp_path / "a.lmdb", values))]
    assert problems[0] is None and problems[4] is None
    assert all("no readable pickle" in problems[k] for k in (1, 2, 5))
    assert problems[3] == "list where a map of fields is expected"


def test_a_file_that_is_none_or_was_cut_off_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    path.write_bytes(b"nothing of the kind" * 1000)
    with pytest.raises(InputError, match="a.lmdb is no readable LMDB file"):
        records(path)
    values = {b"%d" % k: pickle.dumps(molecule(1)) for k in range(500)}
    whole = write_lmdb(tmp_path / "whole.lmdb", values)
    n_byte = whole.stat().st_size
    path.write_bytes(whole.read_bytes()[: n_byte // 2])
    with pytest.raises(InputError, match="it was cut off. Fetch or write it again"):
        records(path)


# ------------------------------------------------------------------------------------ security


class RunsCode:
    def __init__(self, function: Any, *arguments: Any):
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize(
    "function, arguments, name",
    [
        (os.system, ("touch {}",), "posix.system|nt.system"),
        (eval, ("open({!r}, 'w')",), "builtins.eval"),
        (exec, ("open({!r}, 'w')",), "builtins.exec"),
        (getattr, ("", "join"), "builtins.getattr"),
        (np.load, ("{}",), "numpy.load|numpy.lib"),
        (np.fromfile, ("{}",), "numpy.*fromfile"),
        (np.memmap, ("{}", "u1", "w+", 0, (3,)), "numpy.*memmap"),
        (collections.Counter, ("{}",), "collections.Counter"),
    ],
)
def test_a_pickle_that_would_run_code_is_refused_by_name(
    tmp_path: Path, function: Any, arguments: tuple, name: str
) -> None:
    trace = tmp_path / "trace"
    filled = [a.format(str(trace)) if isinstance(a, str) else a for a in arguments]
    evil = pickle.dumps({"smi": "C", "atoms": RunsCode(function, *filled)})
    path = write_lmdb(tmp_path / "evil.lmdb", {b"0": evil})
    with pytest.raises(InputError, match=f"evil.lmdb: the value of key 0 holds ({name})"):
        records(path)
    assert not trace.exists()


def test_admitted_names_can_neither_be_changed_nor_taken_apart() -> None:
    # BUILD on what stands for numpy.ndarray, with a state of slots, would set its attributes.
    for state in (b"}X\x01\x00\x00\x00aK\x01s", b"N}X\x09\x00\x00\x00_functionNs\x86"):
        with pytest.raises(RefusedPickleError, match="a change of"):
            load_plain(b"\x80\x02cnumpy\nndarray\n" + state + b"b.")
    with pytest.raises(RefusedPickleError, match="a call of numpy.ndarray"):
        load_plain(b"\x80\x02cnumpy\nndarray\nK\x05\x85R.")
    with pytest.raises(RefusedPickleError, match="numpy.ndarray.tofile"):
        load_plain(b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.")
    with pytest.raises(RefusedPickleError, match="an object outside of it"):
        load_plain(b"\x80\x02K\x01Q.")


class Flagged:
    """A type of objects that says it holds none: NumPy itself would take bytes for pointers."""

    def __reduce__(self) -> tuple:
        return np.dtype, ("O", False, True), (3, "|", None, None, None, -1, -1, 0)


class Forged:
    def __reduce__(self) -> tuple:
        reconstruct = np.arange(2).__reduce__()[0]
        return reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), Flagged(), False, b"A" * 8)


def test_an_array_of_forged_objects_reaches_no_memory() -> None:
    with pytest.raises(DamagedPickleError, match="an array of objects without as many objects"):
        load_plain(pickle.dumps({"x": Forged()}))


def test_arrays_of_texts_objects_and_scalars_are_plain() -> None:
    values = {
        "texts": np.array(["C", "CC"]),
        "objects": np.array([np.arange(2), None], object),
        "scalar": np.float32(1.5),
        "true": np.bool_(True),
        "big": np.arange(3, dtype=">i4"),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "none": np.zeros((0, 3)),
        "set": {1},
        "ordered": collections.OrderedDict(a=1),
        "bytes": b"\xff",
    }
    read = load_plain(pickle.dumps(values))
    for name in ("texts", "big", "fortran", "none"):
        assert np.array_equal(read[name], values[name]), name
    assert read["scalar"] == 1.5 and read["true"] is True
    assert read["objects"][0].tolist() == [0, 1] and read["objects"][1] is None
    assert read["set"] == [1] and read["ordered"] == {"a": 1} and read["bytes"] == b"\xff"


def test_lists_that_multiply_themselves_end_soon() -> None:
    value: list = ["x"]
    for _ in range(10):
        value = [value] * 10  # ten billion entries, written out
    assert len(load_plain(pickle.dumps({"a": value}))["a"]) == 10
    endless: list = []
    endless.append(endless)
    with pytest.raises(DamagedPickleError, match="deep"):
        load_plain(pickle.dumps(endless))
