"""A file of the user's in the place of a recipe's: its format, and what stays of the source.

The ending says the format; where it says another than the content, or none, the content does. What
the recipe says of delimiter, header and archive stays where the file is as the recipe's own.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from .fetched.addresses import refuse_page
from .readers import column_names
from .readers.names import smiles_candidates
from .readers.record import FORMATS, TEXT_FORMATS, name_ending
from .schema import Recipe
from .source_schema import Source, part_address

_N_BYTE = 1 << 16  # of a file, to tell its format by
_PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)
_STARTS = {b"PAR1": "parquet", b"\x89HDF\r\n\x1a\n": "hdf5", b"MATLAB 5.0 MAT-file": "mat"}
_LMDB = b"\xde\xc0\xef\xbe"  # at byte 16, or 20 with a 32-bit writer
_ZIP = b"PK\x03\x04"
_SDF = re.compile(rb"^(M  END|\$\$\$\$)\s*$", re.M)
# A zip is one of these by its ending; any other is an archive.
_ZIPPED = ("xlsx", "npz")
_ARCHIVES = re.compile(r"\.(zip|tgz|tar(\.\w+)?)($|[?#])", re.I)
_HOW = ("format", "delimiter", "header")  # keys that say how a table is written


def own_source_keys(recipe: Recipe, path: Path) -> dict[str, Any]:
    """The keys of ``source`` for a recipe that reads from this path of the user's.

    A path with ``{part}`` stands for the files of all parts of a recipe that has parts.
    """
    source = recipe.source
    content: dict[str, Any] = {"kind": "file", "file": str(path.resolve())}
    if source.parts is not None and not path.exists():
        first = part_address(str(path), source.part_names[0])
        if first != str(path):
            content["parts"] = source.parts
            path = Path(first)
    if not path.exists():
        raise InputError(f"There is no file {path}: name another with --source FILE (source=PATH).")
    if not path.is_file():
        return content  # a folder of structures
    refuse_page(path)
    was_archive = source.member is not None or _ARCHIVES.search(source.file or source.url)
    if was_archive and is_archive(path):
        kept = {key: getattr(source, key) for key in (*_HOW, "member")}
        if source.join is not None and source.join.member is not None:
            kept["join"] = source.join.model_dump()  # another member of the archive
        return content | kept
    found = told_format(path, source)
    if found != _by_ending(path.name):
        content["format"] = found
    if found == _format_of(source) == "xyz":
        content["header"] = source.header
    elif found == _format_of(source) and found in ("csv", "tsv"):
        content |= _fitting_table_keys(recipe, content, path)
    return content


def is_archive(path: Path) -> bool:
    """Whether a file is an archive (zip, tar), packed or not."""
    first = _first_bytes(path)
    if first.startswith(_ZIP):
        return _by_ending(path.name) not in _ZIPPED
    return first[257:262] == b"ustar"


def told_format(path: Path, source: Source) -> str | None:
    """The format of a file, by ending and content; None where neither tells it.

    ``source`` is the recipe's own, whose format counts where neither tells another.
    """
    first = _first_bytes(path)
    by_ending = _by_ending(path.name)
    by_content = _by_content(first, by_ending)
    if by_content is not None:
        return by_content
    own = _format_of(source)
    if first.startswith(_ZIP) or first[257:262] == b"ustar":
        return own if by_ending is None and own in _ZIPPED else by_ending
    if name_ending(path.name) == name_ending(Path(source.file or source.url).name):
        return source.format or by_ending
    if by_ending is not None:
        return by_ending
    if _is_text(first):
        if _SDF.search(first):
            return own if own in ("sdf", "mol") else "sdf"
        return own if own in TEXT_FORMATS and own not in ("sdf", "mol") else "csv"
    return own


def _by_ending(name: str) -> str | None:
    return FORMATS.get(name_ending(name))


def _by_content(first: bytes, by_ending: str | None) -> str | None:
    """What the first bytes of a file say it is, whatever its name; None for text and the like."""
    for start, found in _STARTS.items():
        if first.startswith(start):
            # From version 7.3 on a MAT file is an HDF5 file.
            return "mat" if found == "hdf5" and by_ending == "mat" else found
    if _LMDB in (first[16:20], first[20:24]):
        return "lmdb"
    return None


def _format_of(source: Source) -> str | None:
    return source.format or _by_ending(Path(source.file or source.url).name)


def _first_bytes(path: Path) -> bytes:
    """The beginning of a file, unpacked where that is known how."""
    try:
        with path.open("rb") as file:
            first = file.read(_N_BYTE)
        for start, unpacked in _PACKED.items():
            if first.startswith(start):
                with unpacked(path, "rb") as file:
                    return file.read(_N_BYTE)
    except _DAMAGED:
        return b""
    return first


def _is_text(first: bytes) -> bool:
    """Whether bytes may be text: in UTF-16 every second one may be zero."""
    return first.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" not in first


# --------------------------------------------------------------------------- delimiter and header


def _fitting_table_keys(recipe: Recipe, content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Delimiter and header as the recipe has them, as far as they fit the file.

    A delimiter fits that parts the header into columns of the recipe. A recipe that names the
    columns of a table without a header may be given a table that has one.
    """
    kept: dict[str, Any] = {}
    source = recipe.source
    delimiter = {"delimiter": source.delimiter}
    if source.delimiter is not None and _has_structures(recipe, content | delimiter, path):
        kept |= delimiter
    if source.header is not True and not _has_structures(recipe, content | kept, path):
        kept["header"] = source.header
        if source.delimiter is not None:
            kept |= delimiter
    return kept


def _has_structures(recipe: Recipe, content: dict[str, Any], path: Path) -> bool:
    """Whether a table with a header, read in this way, has the recipe's column of structures."""
    try:
        names = column_names(Source(**content | {"parts": None, "file": str(path)}), path)
    except InputError:
        return False
    has_choice = bool(set(_choices(recipe.columns.smiles)) & set(names))
    # A whole line that was not parted holds the word too.
    return has_choice or (len(names) > 1 and bool(smiles_candidates(names)))


def _choices(column: str | list[str] | None) -> Sequence[str]:
    """The names that a column may have."""
    return [column] if isinstance(column, str) else column or []
