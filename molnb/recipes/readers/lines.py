"""A text file of any usual encoding, packed or not, as its lines.

A line ends at a line feed, a carriage return, or both. UTF-8 is tried first, line by line; a line
that is none is read as Windows-1252, which spreadsheets of western Europe and America write.
"""

from __future__ import annotations

import codecs
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ...errors import InputError
from .archives import Member
from .packing import DamagedError, open_unpacked

BLOCK_BYTES = 1 << 18
_SAMPLE_BYTES = 4096
_MARKS = {  # of UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_NO_TEXT = {  # how a file begins: what it is, and what to do with it
    b"PK\x03\x04": ("a zip archive or an .xlsx workbook", "let its name end in .zip or .xlsx"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save its sheet as CSV"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it"),
    b"PAR1": ("a Parquet file", "let its name end in .parquet"),
    b"\x89HDF": ("an HDF5 file", "let its name end in .h5"),
    b"%PDF": ("a PDF", "export its table as CSV"),
}


def read_lines(path: Path | Member) -> Iterator[str]:
    """Every line of a text file, without its end; raises InputError where it cannot be read."""
    pieces: list[bytes] = []  # of the line that is not whole yet
    n_line = 0
    with open_unpacked(path) as file:
        blocks = _text_blocks(path, file)
        while True:
            try:
                block = next(blocks, b"")
            except DamagedError as error:
                raise InputError(
                    f"{path}: the packed file ({error.how}) is damaged behind line {n_line} "
                    f"({error.reason}). Fetch or pack it again."
                ) from None
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}: line {n_line + 1} is no {error.encoding}, as the file is "
                    f"({error.reason}). Save the file as UTF-8."
                ) from None
            pieces.append(block)
            if block and b"\n" not in block and b"\r" not in block:
                continue
            lines, rest = _whole_lines(b"".join(pieces), at_end=not block)
            pieces = [rest]
            yield from _decoded(path, lines, n_line)
            n_line += len(lines)
            if not block:
                return


def foreign_lines(path: Path | Member) -> tuple[int, int | None]:
    """How many lines of a text file are no UTF-8, so read as Windows-1252; number of the first."""
    n_line = 0
    n_foreign = 0
    first = None
    pieces: list[bytes] = []
    with open_unpacked(path) as file:
        for block in itertools.chain(_text_blocks(path, file), [b""]):
            pieces.append(block)
            if block and b"\n" not in block and b"\r" not in block:
                continue
            lines, rest = _whole_lines(b"".join(pieces), at_end=not block)
            pieces = [rest]
            if not _is_utf8(b"\n".join(lines)):
                numbers = [n for n, line in enumerate(lines, n_line + 1) if not _is_utf8(line)]
                n_foreign += len(numbers)
                first = first or numbers[0]
            n_line += len(lines)
    return n_foreign, first


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class NumberedLines:
    """Numbered lines; those that were read ahead can be put back."""

    def __init__(self, numbered: Iterable[tuple[int, str]]):
        self._numbered = iter(numbered)
        self._ahead: deque[tuple[int, str]] = deque()

    def __iter__(self) -> Iterator[tuple[int, str]]:
        while True:
            if self._ahead:
                yield self._ahead.popleft()
                continue
            line = next(self._numbered, None)
            if line is None:
                return
            yield line

    def put_back(self, lines: list[tuple[int, str]]) -> None:
        """Have these lines come next."""
        self._ahead.extendleft(reversed(lines))


def _whole_lines(data: bytes, at_end: bool) -> tuple[list[bytes], bytes]:
    """The lines that end in some bytes, and what is left of the last one."""
    if b"\r" in data:
        held = b""
        if data.endswith(b"\r") and not at_end:  # its line feed may stand in the next block
            held = b"\r"
            data = data[:-1]
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        rest = lines.pop() + held
    else:
        lines = data.split(b"\n")
        rest = lines.pop()
    if at_end and rest:
        lines.append(rest)
    return lines, rest


def _decoded(path: Path | Member, lines: list[bytes], n_before: int) -> list[str]:
    try:
        text = b"\n".join(lines).decode("utf-8")
    except UnicodeDecodeError:
        return [_decoded_line(path, line, n) for n, line in enumerate(lines, n_before + 1)]
    return text.split("\n") if lines else []


def _decoded_line(path: Path | Member, line: bytes, number: int) -> str:
    """One line, as UTF-8 or else as Windows-1252."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return line.decode("cp1252")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: line {number} is neither UTF-8 nor Windows-1252 (byte "
            f"0x{line[error.start]:02X} at position {error.start + 1}). Save the file as UTF-8."
        ) from None


# ------------------------------------------------------------------------------------- bytes


def _text_blocks(path: Path | Member, file: BinaryIO) -> Iterator[bytes]:
    """An unpacked file in blocks of bytes: without its byte order mark, and as UTF-8.

    What a line is encoded in is decided by the line; only UTF-16 and UTF-32 are of the whole file.
    """
    block = _read_block(file)
    _refuse_what_is_no_text(path, block)
    mark, encoding = _encoding(block)
    block = block[len(mark) :]
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
    while block:
        yield from [block] if decoder is None else _as_utf8(decoder, block)
        block = _read_block(file)
    if decoder is not None:
        decoder.decode(b"", final=True)


def _as_utf8(decoder: codecs.IncrementalDecoder, block: bytes) -> Iterator[bytes]:
    """A block in UTF-8; of one that cannot be decoded the part before the fault, then the error."""
    try:
        text = decoder.decode(block)
    except UnicodeDecodeError as error:
        if error.start:
            yield error.object[: error.start].decode(error.encoding).encode()
        raise
    if text:
        yield text.encode()


def _read_block(stream: BinaryIO) -> bytes:
    """The next bytes, empty at the end; of a damaged file all that stands before the fault."""
    pieces = []
    n_left = BLOCK_BYTES
    while n_left:
        try:
            piece = stream.read1(n_left)
        except DamagedError:
            if pieces:
                break  # it comes again, when the lines before it are counted
            raise
        if not piece:
            break
        pieces.append(piece)
        n_left -= len(piece)
    return b"".join(pieces)


def _refuse_what_is_no_text(path: Path | Member, first: bytes) -> None:
    for start, (content, advice) in _NO_TEXT.items():
        if first.startswith(start):
            raise InputError(f"{path} is {content}, and no text: {advice}.")
    if first[257:262] == b"ustar":
        raise InputError(
            f"{path} is a tar archive: let its name end in .tar, or name source.member."
        )


def _encoding(first: bytes) -> tuple[bytes, str]:
    """The byte order mark a file begins with, and its encoding; "utf-8" also stands for cp1252."""
    for mark, encoding in _MARKS.items():
        if first.startswith(mark):
            return mark, encoding
    # Letters of SMILES and numbers, written with two bytes, have one that is zero.
    sample = first[:_SAMPLE_BYTES]
    half = max(len(sample) // 2, 1)
    zeros = (sample[0::2].count(0) / half, sample[1::2].count(0) / half)
    if zeros[1] > 0.3 and zeros[0] < 0.02:
        return b"", "utf-16-le"
    if zeros[0] > 0.3 and zeros[1] < 0.02:
        return b"", "utf-16-be"
    return b"", "utf-8"
