"""Records of LMDB files with a pickled map a key, as Uni-Mol has them.

A value may be packed (zlib or gzip). Keys are read in the order of their numbers, written as
integers of a fixed width or as text. What a pickle holds beside plain values is refused by name.
"""

from __future__ import annotations

import contextlib
import itertools
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from .archives import Member, natural_key, on_disk
from .array_table import indexed_names, plain_value, with_indexed
from .optional import optional_module
from .plain_pickles import DamagedPickleError, RefusedPickleError, load_plain
from .record import Record

if TYPE_CHECKING:
    import lmdb

MAX_VALUE_BYTES = 1 << 30  # of an unpacked value
_N_SAMPLED = 100
_COUNTS = (b"length", b"__len__", b"num_samples", b"num_examples", b"__keys__", b"keys")
_ANY_PACKING = 47  # zlib.decompressobj: zlib or gzip, by the first bytes
_PACKED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


def lmdb_columns(path: Path | Member) -> list[str]:
    """The columns of an LMDB file: the keys of its first records, and ``key``."""
    names: dict[str, None] = {}
    shapes: dict[str, Sequence[int]] = {}
    for record in itertools.islice(lmdb_records(path, None), _N_SAMPLED):
        for name, value in record.fields.items():
            names[name] = None
            if isinstance(value, list | np.ndarray) and _is_vector(value):
                shapes.setdefault(name, [len(value)])
    return [*names, *indexed_names(shapes)]


def lmdb_records(path: Path | Member, columns: Sequence[str] | None) -> Iterator[Record]:
    """Every record of an LMDB file; one that is no map, or is damaged, says so."""
    with _opened(path) as transaction:
        for key in _ordered_keys(transaction):
            if key in _COUNTS:
                continue
            name = _key_text(key)
            try:
                value = load_plain(_unpacked(transaction.get(key)))
            except RefusedPickleError as error:
                raise InputError(
                    f"{path}: the value of key {name} holds {error}, which is not read: a pickle "
                    "can run code, so only numbers, text, lists, maps and arrays of NumPy are. "
                    "Write the file again with these alone."
                ) from None
            except (DamagedPickleError, zlib.error) as error:
                yield Record(None, {"key": name}, f"no readable pickle ({error})")
                continue
            if not isinstance(value, dict):
                problem = f"{type(value).__name__} where a map of fields is expected"
                yield Record(None, {"key": name}, problem)
                continue
            fields = {str(field): plain_value(content) for field, content in value.items()}
            fields.setdefault("key", name)
            yield Record(None, with_indexed(fields, columns))


def _is_vector(value: Any) -> bool:
    return len(value) > 0 and all(isinstance(item, int | float | np.number) for item in value)


def _unpacked(value: bytes) -> bytes:
    """A value as it was pickled."""
    if not value.startswith(_PACKED):
        return value
    unpacking = zlib.decompressobj(_ANY_PACKING)
    data = unpacking.decompress(value, MAX_VALUE_BYTES)
    if unpacking.unconsumed_tail:
        raise zlib.error(f"it unpacks to more than {MAX_VALUE_BYTES:,} bytes")
    if not unpacking.eof:
        raise zlib.error("it is cut off")
    return data


# ---------------------------------------------------------------------------------------- keys


@contextlib.contextmanager
def _opened(path: Path | Member) -> Iterator[lmdb.Transaction]:
    """A reading transaction; raises InputError where the file is none, or cut off."""
    library = optional_module(path, "lmdb")
    file = on_disk(path)
    data = file / "data.mdb" if file.is_dir() else file
    options = {"readonly": True, "lock": False, "readahead": False, "meminit": False}
    try:
        environment = library.open(str(file), subdir=file.is_dir(), **options)
    except (library.Error, OSError) as error:
        raise InputError(
            f"{path} is no readable LMDB file ({error}). Fetch or write it again."
        ) from None
    with environment:
        n_page = environment.info()["last_pgno"] + 1
        n_byte = n_page * environment.stat()["psize"]
        if data.stat().st_size < n_byte:  # reading behind its end would end this process
            raise InputError(
                f"{path} has {data.stat().st_size:,} bytes and says that it has {n_byte:,}: it "
                "was cut off. Fetch or write it again."
            )
        try:
            with environment.begin() as transaction:
                yield transaction
        except library.Error as error:
            raise InputError(f"{path} is a damaged LMDB file ({error}). Fetch it again.") from None


def _ordered_keys(transaction: lmdb.Transaction) -> Iterator[bytes]:
    """All keys by their numbers.

    Keys of one length, which integers of a fixed width are, lie in this order; others are sorted.
    """
    widths = {len(key) for key in _stored_keys(transaction) if key not in _COUNTS}
    if len(widths) <= 1:
        return _stored_keys(transaction)
    return iter(sorted(_stored_keys(transaction), key=lambda key: natural_key(_key_text(key))))


def _stored_keys(transaction: lmdb.Transaction) -> Iterator[bytes]:
    return transaction.cursor().iternext(keys=True, values=False)


def _key_text(key: bytes) -> str:
    """A key as text; an integer of four or eight bytes, the highest first, by its value."""
    if len(key) in (4, 8) and not key.isdigit() and (key[0] == 0 or not key.isascii()):
        return str(int.from_bytes(key, "big"))
    return key.decode("utf-8", "backslashreplace")
