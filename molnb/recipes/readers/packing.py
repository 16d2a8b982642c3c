"""The content of a file that is packed with gzip, bzip2, xz or zstd, whatever its name.

A small file may hold a very large one. What is unpacked is counted, and refused beyond a total and
beyond a ratio to what was read for it.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa

from ...errors import InputError

if TYPE_CHECKING:
    from .archives import Member

TOTAL_VARIABLE = "MOLNB_MAX_UNPACKED_GB"
RATIO_VARIABLE = "MOLNB_MAX_UNPACKED_RATIO"
DEFAULT_TOTAL_GB = 500.0  # the largest public set of molecules, 115 GB packed, stays below
DEFAULT_RATIO = 250.0  # text of tables comes to 30, sparse tables to 100; bombs begin at 1,000
SMALL_BYTES = 100_000_000  # as much may come out of anything
GZIP = b"\x1f\x8b"
BZIP2 = b"BZh"
XZ = b"\xfd7zXZ\x00"
ZSTD = b"\x28\xb5\x2f\xfd"
ENDINGS = (".gz", ".bz2", ".xz", ".zst")
FAULTS = (
    EOFError,
    lzma.LZMAError,
    zlib.error,
    zipfile.BadZipFile,
    NotImplementedError,  # a way of packing that zipfile does not know
    OSError,  # of gzip, bzip2, and of zstd as Arrow unpacks it
)


class DamagedError(Exception):
    """A packed file is damaged or cut off: how it is packed, and what is wrong."""

    def __init__(self, how: str, reason: object):
        super().__init__(f"{how}: {reason}")
        self.how = how
        self.reason = str(reason)


def without_packing(name: str) -> str:
    """A name without the ending of a packed file: ``a.csv`` of ``a.csv.xz``, in its own case."""
    for ending in ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def open_unpacked(path: Path | Member) -> BinaryIO:
    """The content of a file, unpacked as often as it is packed, as a stream."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened ({error.strerror}). Check its name and your rights to it."
        ) from None
    try:
        return unpacked(file, path)
    except DamagedError as error:
        raise InputError(f"{path} is damaged or cut off ({error}). Fetch or pack it again.") from (
            None
        )


def unpacked(file: BinaryIO, path: Path | Member) -> BinaryIO:
    """What a stream holds: itself, or what is packed in it."""
    start = file.peek(len(XZ))
    for how, (mark, open_stream) in _PACKINGS.items():
        if start.startswith(mark):
            stream = CountedStream(open_stream(file), how, path, file.tell, file)
            return unpacked(io.BufferedReader(stream), path)
    return file


def is_packed(path: Path | Member) -> bool:
    """Whether a file is packed, by its first bytes."""
    with path.open("rb") as file:
        start = file.peek(len(XZ))
    return any(start.startswith(mark) for mark, _ in _PACKINGS.values())


def _zstd(file: BinaryIO) -> BinaryIO:
    return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")


_PACKINGS: dict[str, tuple[bytes, Callable[[BinaryIO], BinaryIO]]] = {
    "gzip": (GZIP, lambda file: gzip.GzipFile(fileobj=file, mode="rb")),
    "bzip2": (BZIP2, bz2.BZ2File),
    "xz": (XZ, lzma.LZMAFile),
    "zstd": (ZSTD, _zstd),
}


class CountedStream(io.RawIOBase):
    """An unpacking stream that counts what comes out, and says plainly what is wrong with it.

    ``n_read`` tells how many bytes were read for it, ``inner`` is closed with it.
    """

    def __init__(
        self,
        stream: BinaryIO,
        how: str,
        path: Path | Member,
        n_read: Callable[[], int],
        inner: BinaryIO | None = None,
    ):
        self._stream = stream
        self._how = how
        self._path = path
        self._n_read = n_read
        self._inner = inner
        self._n_byte = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def tell(self) -> int:
        """How many bytes came out."""
        return self._n_byte

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer as far as one reading does; raises DamagedError, or InputError."""
        read = getattr(self._stream, "read1", self._stream.read)
        try:
            piece = read(len(buffer))
        except FAULTS as error:
            raise DamagedError(self._how, error) from None
        self._n_byte += len(piece)
        refuse_bomb(self._path, self._n_byte, self._n_read)
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Close the streams below."""
        if not self.closed:
            self._stream.close()
            if self._inner is not None:
                self._inner.close()
        super().close()


def refuse_bomb(path: Path | Member, n_byte: int, n_read: Callable[[], int]) -> None:
    """Raise InputError where so many bytes come out of as many that were read."""
    if n_byte <= SMALL_BYTES:
        return
    total = _limit(TOTAL_VARIABLE, DEFAULT_TOTAL_GB)
    if n_byte > total * 1e9:
        raise InputError(
            f"{path} unpacks to more than {total:g} GB, the limit. If it is meant to, raise it in "
            f"the environment: {TOTAL_VARIABLE}={2 * total:g}"
        )
    ratio = _limit(RATIO_VARIABLE, DEFAULT_RATIO)
    n_packed = max(n_read(), 1)
    if n_byte > ratio * n_packed:
        raise InputError(
            f"{path} unpacks to more than {ratio:g} times its size ({n_byte / 1e6:,.0f} MB of "
            f"{n_packed / 1e6:,.2f} MB), as files do that are made to fill a disk. If it is to be "
            f"trusted, raise the limit in the environment: {RATIO_VARIABLE}="
            f"{10 * ratio:g}"
        )


def _limit(variable: str, default: float) -> float:
    text = os.environ.get(variable)
    if not text:
        return default
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < float("inf"):
        raise InputError(f"{variable}={text!r} is no number above 0: correct or unset it")
    return limit
