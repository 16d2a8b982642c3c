"""Rows of SMILES files: a SMILES a line, behind it a name and further columns."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...errors import InputError
from .archives import Member
from .lines import read_lines
from .names import checked_names, is_identifier_name, plain_letters
from .record import Record

_N_SAMPLED = 1000  # lines that tell which columns there are
# A SMILES, the extension |...| that belongs to it (CXSMILES), and what follows.
_LINE = re.compile(r"\s*(\S+)(?:\s+(\|[^|]*\|)(?=\s|$))?(.*)$", re.DOTALL)


def smi_columns(path: Path | Member) -> list[str]:
    """The columns of a SMILES file: of its header, or ``smiles``, ``name``, ``column_3``, ..."""
    header = _header(path)
    if header is not None:
        return header
    further = set()
    for record in itertools.islice(smi_records(path), _N_SAMPLED):
        further |= record.fields.keys() - {"smiles", "name"}
    return ["smiles", "name", *sorted(further, key=lambda name: (len(name), name))]


def smi_records(path: Path | Member) -> Iterator[Record]:
    """Every line of a SMILES file; one that names the columns is no row.

    Without such a line ``name`` is all that follows the SMILES, or the second of several fields
    between tabs; further fields are ``column_3`` and so on, single words also ``column_2``.
    """
    header = _header(path)
    read: Callable[[str], tuple[dict[str, Any], str | None]] = _plain_fields
    if header is not None:
        read = _named_fields(header)
    header_to_come = header is not None
    for line, text in enumerate(read_lines(path), 1):
        if not text or text.isspace():
            continue
        if header_to_come:
            header_to_come = False
            continue
        if text[0] == "\t":  # the words behind it are no SMILES
            yield Record(line, {}, "no SMILES before the first tab")
            continue
        fields, problem = read(text)
        if "\0" in text:
            problem = "a NUL character stands in the line"
        yield Record(line, fields, problem)


def _header(path: Path | Member) -> list[str] | None:
    """The names of the columns where the first line holds names, and no molecule."""
    for line, text in enumerate(read_lines(path), 1):
        if text and not text.isspace():
            words = _words(text)
            first = plain_letters(words[0])
            if _names_smiles(first) or (
                is_identifier_name(first) and any(map(_names_smiles, words[1:]))
            ):
                names = checked_names(path, line, words)
                return names if len(names) > 1 else [*names, "name"]
            return None
    raise InputError(f"{path} is empty: 0 rows. Give a file with at least one molecule.")


def _names_smiles(word: str) -> bool:
    """Whether a word names a column of SMILES; no SMILES has these letters in it."""
    return "smiles" in plain_letters(word)


def _words(text: str) -> list[str]:
    return text.strip().split("\t") if "\t" in text.strip() else text.split()


def _plain_fields(text: str) -> tuple[dict[str, Any], str | None]:
    """The fields of a line in a file without a header."""
    words = text.split(None, 1)
    smiles = words[0]
    rest = words[1].rstrip() if len(words) > 1 else ""
    if rest.startswith("|"):
        smiles, rest = _with_extension(text)
        rest = rest.strip()
        if rest.startswith("|"):
            return {"smiles": smiles, "name": None}, _unclosed(rest)
    fields = {"smiles": smiles, "name": rest or None}
    if "\t" in rest:
        columns = rest.split("\t")
        fields["name"] = columns[0].strip() or None
        further = enumerate(columns[1:], 3)
    elif " " in rest:
        further = enumerate(rest.split(), 2)
    else:
        return fields, None
    return fields | {f"column_{number}": word.strip() for number, word in further}, None


def _named_fields(names: list[str]) -> Callable[[str], tuple[dict[str, Any], str | None]]:
    """What reads a line under a header of these names."""
    column = next(k for k, name in enumerate(names) if _names_smiles(name))

    def read(text: str) -> tuple[dict[str, Any], str | None]:
        smiles = None
        if column == 0:
            smiles, text = _with_extension(text)
            if text.strip().startswith("|"):
                return {names[0]: smiles}, _unclosed(text.strip())
        n_left = len(names) - (smiles is not None)
        values = _values(text, n_left, behind_smiles=smiles is not None)
        problem = None
        if len(values) > n_left:
            n_field = len(values) + (smiles is not None)
            problem = f"{n_field} fields where the header has {len(names)}"
        if smiles is not None:
            values = [smiles, *values]
        values += [None] * (len(names) - len(values))
        return dict(zip(names, values, strict=False)), problem

    return read


def _values(text: str, n_value: int, behind_smiles: bool) -> list[str | None]:
    """The fields of a line, or of its part behind the SMILES.

    Where a name is the last of two columns it keeps its blanks.
    """
    if "\t" in text:
        text = text.lstrip(" ").removeprefix("\t") if behind_smiles else text
        return [value.strip() or None for value in text.rstrip("\t").split("\t")]
    n_cut = n_value - 1 if n_value + behind_smiles == 2 else -1
    return list(text.split(None, n_cut)) if n_cut else [text.strip()] * bool(text.strip())


def _with_extension(text: str) -> tuple[str, str]:
    """A SMILES with its extension, and what follows them in the line."""
    smiles, extension, rest = _LINE.match(text).groups()
    return (f"{smiles} {extension}" if extension else smiles), rest


def _unclosed(rest: str) -> str:
    return f"the extension {rest[:20]!r} behind the SMILES has no second '|'"
