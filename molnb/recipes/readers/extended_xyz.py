"""The comment of an extended XYZ frame: what the columns of its atoms are, and values by name.

``Lattice="..." Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.2 is_relaxed``
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_NAME = r"[A-Za-z_][\w./+-]*"
_VALUE = r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|[^\s\"'=]+"
_PAIR = re.compile(rf"({_NAME}|\"[^\"]+\")\s*=\s*({_VALUE})")
_WORD = re.compile(rf"({_NAME})")
_SPECIES = ("species", "element", "symbols")
_NUMBERS = ("Z", "numbers", "atomic_numbers")
_POSITIONS = ("pos", "positions", "coords")
_FALSE = ("F", "False", "FALSE", "false")


class AtomColumn(NamedTuple):
    """Columns of the lines of atoms: a name, the kind of value (S, R, I, L), which words."""

    name: str
    kind: str
    words: slice


def comment_values(comment: str) -> dict[str, str]:
    """The values of a comment by name; nothing where it is not made of such pairs.

    A word alone counts as true, where ``Properties`` or ``Lattice`` show that this is extended XYZ.
    """
    is_extended = "Properties=" in comment or "Lattice=" in comment
    values: dict[str, str] = {}
    position = 0
    while position < len(comment):
        if comment[position].isspace():
            position += 1
            continue
        pair = _PAIR.match(comment, position)
        word = None if pair or not is_extended else _WORD.match(comment, position)
        if pair:
            values[pair[1].strip('"')] = _unquoted(pair[2])
        elif word:
            values[word[1]] = "T"
        else:
            return values if is_extended else {}
        position = (pair or word).end()
    return values


def _unquoted(text: str) -> str:
    return text[1:-1].strip() if text[:1] in "\"'{[" else text


def atom_columns(properties: str) -> list[AtomColumn]:
    """The columns that ``Properties`` lists; raises ValueError where it is malformed."""
    words = properties.split(":")
    if len(words) % 3:
        raise ValueError(f"Properties={properties[:60]} is no list of name:kind:number")
    columns = []
    start = 0
    for name, kind, number in zip(words[::3], words[1::3], words[2::3]):
        if kind not in "SRIL" or not number.isdecimal() or not int(number):
            raise ValueError(f"Properties={properties[:60]} has {name}:{kind}:{number}")
        columns.append(AtomColumn(name, kind, slice(start, start + int(number))))
        start += int(number)
    return columns


def structure_columns(columns: list[AtomColumn]) -> tuple[AtomColumn, AtomColumn]:
    """Those of elements and of positions; raises ValueError where one is missing."""
    by_name = {column.name: column for column in columns}
    elements = [by_name[name] for name in (*_SPECIES, *_NUMBERS) if name in by_name]
    positions = [by_name[name] for name in _POSITIONS if name in by_name]
    if not elements or not positions or positions[0].words.stop - positions[0].words.start != 3:
        raise ValueError("Properties has no species, or no pos of three numbers")
    return elements[0], positions[0]


def further_columns(columns: list[AtomColumn]) -> list[AtomColumn]:
    """Those that are neither elements nor positions."""
    structure = structure_columns(columns)
    return [column for column in columns if column not in structure]


def atom_values(column: AtomColumn, atoms: list[list[str]]) -> list[Any]:
    """The values of a column, one an atom; raises ValueError where one is no such value."""
    for words in atoms:
        if len(words) < column.words.stop:
            raise ValueError(f"{len(words)} words in a line where it ends with {column.words.stop}")
    values = [[_value(word, column.kind) for word in words[column.words]] for words in atoms]
    if column.words.stop - column.words.start == 1:
        return [value for (value,) in values]
    return values


def _value(word: str, kind: str) -> Any:
    if kind == "R":
        return float(word)
    if kind == "I":
        return int(word)
    return word if kind == "S" else word not in _FALSE
