"""Relations of a measurement to its number: a text as one of <, <=, ~, >=, >, or as exact."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

UNKNOWN_RELATION = "unknown relation"
DISAGREEING = "two relations that disagree"
MIXED = "~"  # of a value made of measurements whose relations differ
_SPELLINGS = {
    "": None, "=": None, "==": None, "nan": None,
    ">": ">", ">>": ">", "<": "<", "<<": "<",
    ">=": ">=", "=>": ">=", "≥": ">=", "<=": "<=", "=<": "<=", "≤": "<=",
    "~": "~", "~=": "~", "≈": "~", "ca": "~", "ca.": "~", "approx": "~", "approx.": "~",
}  # fmt: skip
_TURNED = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "~": "~"}
_BEFORE_A_NUMBER = re.compile(r"(<=|>=|=<|=>|<<|>>|==|~=|[<>~≤≥≈=])\s*(.*)", re.DOTALL)


class Relation(NamedTuple):
    """How a measurement stands to its number, or why that cannot be told."""

    sign: str | None  # None: exactly
    problem: str | None = None


EXACT = Relation(None)


def read_relation(cell: Any) -> Relation:
    """The relation that a cell of its own holds; nothing and = are exact, quotes do not count."""
    text = "" if cell is None else str(cell).strip().strip("'\"").strip().lower()
    if text not in _SPELLINGS:
        return Relation(None, UNKNOWN_RELATION)
    return Relation(_SPELLINGS[text])


def split_relation(text: str) -> tuple[str | None, str]:
    """The relation that stands before a number, and the text behind it."""
    matched = _BEFORE_A_NUMBER.fullmatch(text.strip())
    if matched is None:
        return None, text
    return _SPELLINGS[matched[1]], matched[2]


def joint_relation(before: str | None, beside: Relation) -> Relation:
    """One relation from that before the number and that in a column of its own."""
    if beside.problem is not None or before is None:
        return beside
    if beside.sign not in (None, before):
        return Relation(None, DISAGREEING)
    return Relation(before)


def turned_relation(sign: str | None) -> str | None:
    """The relation of a number's negative: what was above is below."""
    return None if sign is None else _TURNED[sign]
