"""Records of msgpack files: a stream of maps, read molecule by molecule.

GEOM's layout is a stream of maps {SMILES: {"conformers": [...], ...}}, a thousand molecules each;
the key becomes the column ``smiles``. The list of conformers is read as columns of lists, one value
a conformer: their geometries, lists of [Z, x, y, z], as ``numbers`` (of the atoms) and ``coords``
(of each conformer), any other as ``conformers.boltzmannweight``. Other maps are records themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ...errors import InputError
from .archives import Member
from .array_table import text_or_bytes, with_indexed
from .optional import optional_module
from .packing import DamagedError, open_unpacked
from .record import Record

MAX_BYTES = 1 << 30  # of one molecule
_N_SAMPLED = 100
_GEOMETRY = ("geom", "xyz")


def msgpack_columns(path: Path | Member) -> list[str]:
    """The columns of a msgpack file: the keys of its first records."""
    records = itertools.islice(msgpack_records(path, None), _N_SAMPLED)
    return list(dict.fromkeys(name for record in records for name in record.fields))


def msgpack_records(path: Path | Member, columns: Sequence[str] | None) -> Iterator[Record]:
    """Every molecule of a msgpack file; one whose conformers disagree in their atoms says so."""
    optional_module(path, "msgpack")
    for number, content in enumerate(_molecules(path), 1):
        if not isinstance(content, dict):
            raise InputError(
                f"{path}: record {number:,} is {type(content).__name__} and no map of fields"
            )
        fields, problem = _fields(content)
        yield Record(None, with_indexed(fields, columns), problem)


def _fields(content: dict[Any, Any]) -> tuple[dict[str, Any], str | None]:
    """The columns of a molecule, and what is wrong with its conformers."""
    fields = {str(name): _plain(value) for name, value in content.items()}
    conformers = fields.get("conformers")
    if not isinstance(conformers, list) or not all(isinstance(c, dict) for c in conformers):
        return fields, None
    del fields["conformers"]
    names = dict.fromkeys(name for conformer in conformers for name in conformer)
    for name in names:
        values = [conformer.get(name) for conformer in conformers]
        if name not in _GEOMETRY:
            fields[f"conformers.{name}"] = values
            continue
        try:
            numbers = [[int(atom[0]) for atom in geometry] for geometry in values]
            fields["coords"] = [[list(atom[1:4]) for atom in geometry] for geometry in values]
        except (TypeError, ValueError, IndexError):
            return fields, f"'{name}' of a conformer is no list of [Z, x, y, z]"
        if any(of_one != numbers[0] for of_one in numbers):
            return fields, "the conformers do not list the same atoms in one order"
        fields["numbers"] = numbers[0]
    return fields, None


def _plain(value: Any) -> Any:
    return text_or_bytes(value) if isinstance(value, bytes) else value


# -------------------------------------------------------------------------------------- stream


def _molecules(path: Path | Member) -> Iterator[Any]:
    """The records of a stream, one at a time in memory."""
    import msgpack

    with open_unpacked(path) as file:
        kind = _kind(path, file.peek(1)[:1])
        counted = _Counted(file)
        unpacker = msgpack.Unpacker(
            counted, raw=False, strict_map_key=False, max_buffer_size=MAX_BYTES
        )
        n_whole = 0
        try:
            while True:
                yield from _of_object(unpacker, kind)
                n_whole = unpacker.tell()
        except msgpack.OutOfData:
            if counted.n_byte > n_whole:
                raise _damaged(path, f"it ends within a record, at byte {counted.n_byte:,}") from (
                    None
                )
        except (msgpack.UnpackException, ValueError, DamagedError) as error:
            if isinstance(error, InputError):
                raise
            raise _damaged(path, f"behind byte {n_whole:,}: {error or type(error).__name__}") from (
                None
            )


def _of_object(unpacker: Any, kind: str) -> Iterator[Any]:
    """The records in the next object of a stream: an array of maps, a map of maps, or a map."""
    if kind == "array":
        for _ in range(unpacker.read_array_header()):
            yield unpacker.unpack()
        return
    record = {}
    for _ in range(unpacker.read_map_header()):
        key = unpacker.unpack()
        value = unpacker.unpack()
        if isinstance(value, dict) and not record:
            yield {"smiles": _plain(key)} | value
        else:
            record[_plain(key)] = value
    if record:
        yield record


class _Counted:
    """A stream that counts what is read of it."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.n_byte = 0

    def read(self, n: int) -> bytes:
        """The next bytes."""
        data = self._file.read(n)
        self.n_byte += len(data)
        return data


def _kind(path: Path | Member, first: bytes) -> str:
    """Whether a stream is of maps or of arrays, by its first byte."""
    if not first:
        raise InputError(f"{path} is empty: 0 rows. Give a file with at least one molecule.")
    if 0x80 <= first[0] <= 0x8F or first[0] in (0xDE, 0xDF):
        return "map"
    if 0x90 <= first[0] <= 0x9F or first[0] in (0xDC, 0xDD):
        return "array"
    raise InputError(
        f"{path} is no msgpack stream of maps (its first byte is 0x{first[0]:02X}): a molecule is "
        "a map of fields, or a value in a map of SMILES."
    )


def _damaged(path: Path | Member, how: str) -> InputError:
    return InputError(f"{path} is a damaged or cut off msgpack file: {how}. Fetch it again.")
