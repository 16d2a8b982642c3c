"""Cells of a label's column as numbers, or the reason why one is none.

Nothing is guessed: a bound, a decimal comma or a percent sign is no number here, and is counted,
unless the label says how its column is written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...errors import InputError
from ..label_schema import Label
from .relations import (
    DISAGREEING,
    EXACT,
    UNKNOWN_RELATION,
    joint_relation,
    read_relation,
    split_relation,
    turned_relation,
)
from .transforms import Transform, parse_transform

EMPTY = "empty"
FILTERED = "row left out by where"
NOT_FINITE = "NaN or infinite"
FEW = 20  # texts that are no class, kept for the message
MOST_TEXTS = 1000  # of one column whose class is remembered
TRUE_FALSE = {"0": 0, "1": 1, "false": 0, "true": 1}  # what a binary label may hold undeclared
MARKS = {"na", "n/a", "#n/a", "nd", "n.d.", "none", "null", "-", "--", ".", "?"}
_NO_CLASS = "no declared class"
_WORDS = "not a number"
NO_LOGARITHM = "zero or less: no logarithm"
TOO_LARGE = "too large once it is converted"
_BOUNDED = "bounded or approximate (<, >, ~)"
_COMMA = "comma in the number (decimal or thousands)"
_POINT = "point in a column of decimal commas"
_OF_RELATIONS = (_BOUNDED, DISAGREEING, UNKNOWN_RELATION)
_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*(e[+-]?\d+)?", re.IGNORECASE)
_TRUE_FALSE = "true or false, not a number"
_REASONS = (
    (re.compile(r"^[<>~≤≥≈=±]"), _BOUNDED),
    (re.compile(r"^[+-]?\d+(,\d+)+(\.\d+)?$"), _COMMA),
    (re.compile(r"^(true|false)$", re.IGNORECASE), _TRUE_FALSE),
    (re.compile(r"%$"), "percent sign"),
    (re.compile(r"^[+-]?[\d.]+(e[+-]?\d+)?\s*\D+$", re.IGNORECASE), "text behind the number"),
)

Cell = tuple[float | None, str | None]  # a value, or the reason why there is none


def read_number(value: Any, decimal: str = ".", percent: bool = False) -> Cell:
    """A cell as a finite number, or None and why there is none.

    With ``decimal`` "," a text has its comma before the decimals; with ``percent`` a sign behind
    the number says nothing.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None, EMPTY
    if isinstance(value, bool):
        return None, _TRUE_FALSE
    if isinstance(value, str):
        value = value.strip()
        if percent and value != "%":
            value = value.removesuffix("%").rstrip()
        if decimal == "," and _NUMBER.fullmatch(value):
            if "." in value or value.count(",") > 1:
                return None, _POINT if "." in value else _COMMA
            value = value.replace(",", ".")
    try:
        number = math.nan if "_" in str(value) else float(value)
    except (TypeError, ValueError):
        return None, _why_no_number(str(value).strip())
    if "_" in str(value):  # Python reads 1_000 as a number
        return None, _WORDS
    return (number, None) if math.isfinite(number) else (None, NOT_FINITE)


def differences(label: Label, fields: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What a label's column holds beyond its column ``minus``, row by row.

    Where one of the two cells is no number, that cell, so that its reason is told.
    """
    return [_difference(label, row.get(label.column), row.get(label.minus)) for row in fields]


def _difference(label: Label, cell: Any, subtrahend: Any) -> Any:
    number, reason = read_number(cell, label.decimal, label.percent)
    if reason is not None:
        return cell
    less, reason = read_number(subtrahend, label.decimal, label.percent)
    return subtrahend if reason is not None else number - less


def _why_no_number(text: str) -> str:
    if text.lower() in MARKS:
        return "marked as missing (NA, -, ...)"
    for pattern, reason in _REASONS:
        if pattern.search(text):
            return reason
    return _WORDS


def read_class(value: Any, numbers: Mapping[str, int]) -> Cell:
    """A cell as the number of its class, or None and why there is none.

    Case counts only where two classes differ by nothing else; 1, 1.0 and "1" are one text.
    """
    text = "" if value is None else str(value).strip()
    if text in numbers:
        return float(numbers[text]), None
    if not text or text.lower() in MARKS | {"nan"}:
        return None, EMPTY if not text else "marked as missing (NA, -, ...)"
    plain = _plain_class(text)
    alike = {number for name, number in numbers.items() if _plain_class(name) == plain}
    return (float(alike.pop()), None) if len(alike) == 1 else (None, _NO_CLASS)


def _plain_class(text: str) -> str:
    """A class without its case; of a number, whose spelling says nothing, its value."""
    try:
        number = math.nan if "_" in text else float(text)
    except ValueError:
        return text.casefold()
    return repr(number) if math.isfinite(number) else text.casefold()


class Unread(NamedTuple):
    """Cells of a column that gave no value, for one reason: how many, and the first of them."""

    n: int
    first: str | None
    line: int | None


class Stored(NamedTuple):
    """What the shards get of a cell: its value, and how that stands to what was measured."""

    value: float | None
    relation: str | None = None  # <, <=, ~, >=, >; None where it is exact


class ColumnReader:
    """Reads the cells of one label, and keeps account of those that give no value."""

    def __init__(self, label: Label, kind: str):
        self.label = label
        self.kind = kind
        self.unread: dict[str, Unread] = {}
        self.counts: dict[float, int] = {}  # of each value, as long as there are few
        self.no_class: dict[str, int] = {}  # texts that are no class, or no number
        self.example: tuple[float, float] | None = None  # the first value, as read and as stored
        self.n_known = 0
        self.n_outside = 0  # values outside the range of the label
        self.outside: tuple[float, int | None] | None = None  # the first of them, and its line
        self.relations: dict[str, int] = {}  # values that are bounds, or approximate, by relation
        self.transform = self._transform()
        self._classes_read: dict[str | None, Cell] = {}

    def _transform(self) -> Transform:
        if self.label.transform is None:
            return Transform(self.label.scale, None, self.label.unit)
        return parse_transform(self.label.transform, self.label.source_unit)

    def read(self, value: Any, line: int | None, reason: str | None = None) -> float | None:
        """The value to store; `reason` says beforehand why there can be none."""
        return self.read_qualified(value, line, reason).value

    def read_qualified(
        self, value: Any, line: int | None, reason: str | None = None, relation: Any = None
    ) -> Stored:
        """Likewise with its relation; ``relation`` is the cell of the label's relation column."""
        if reason is None and self.kind != "regression":
            number, reason = self.read_class(value)
            stored = Stored(number)
        elif reason is None:
            stored, reason = self._read_measurement(value, relation)
        if reason is not None:
            if reason in _OF_RELATIONS and relation is not None:
                value = f"{relation} {value}".strip()
            self.count_unread(reason, value, line)
            return Stored(None)
        self.count_known(stored.value, line)
        if stored.relation is not None:
            self.relations[stored.relation] = self.relations.get(stored.relation, 0) + 1
        return stored

    def read_class(self, value: Any) -> Cell:
        """A cell as the number of its class, or why there is none; few texts come up again."""
        text = None if value is None else str(value)
        if text not in self._classes_read:
            if len(self._classes_read) >= MOST_TEXTS:
                self._classes_read.clear()
            self._classes_read[text] = read_class(text, self.label.classes or TRUE_FALSE)
        return self._classes_read[text]

    def _read_measurement(self, value: Any, relation: Any) -> tuple[Stored, str | None]:
        """A number with its relation, both as they are stored, or the reason why there is none."""
        label = self.label
        before, text = split_relation(value) if isinstance(value, str) else (None, value)
        if before is not None and label.qualified == "missing":
            return Stored(None), _BOUNDED
        number, reason = read_number(text, label.decimal, label.percent)
        if reason is not None:
            return Stored(None), reason
        beside = EXACT if label.relation is None else read_relation(relation)
        sign, problem = joint_relation(before, beside)
        if problem is None and sign is not None and label.qualified == "missing":
            problem = _BOUNDED
        if problem is not None:
            return Stored(None), problem
        stored, reason = self.convert(number)
        if reason is None and self.example is None:
            self.example = (number, stored)
        return Stored(stored, turned_relation(sign) if self.transform.turns else sign), reason

    def convert(self, number: float) -> Cell:
        """A number of the file as it is stored, or why it cannot be."""
        stored = self.transform.apply(number)
        if stored is None:
            return None, NO_LOGARITHM
        return (stored, None) if math.isfinite(stored) else (None, TOO_LARGE)

    def count_known(self, number: float, line: int | None, n: int = 1) -> None:
        """Keep account of n cells that gave one value, the first of them in a line."""
        self.n_known += n
        if number in self.counts or len(self.counts) < FEW:
            self.counts[number] = self.counts.get(number, 0) + n
        low, high = self.label.range or (number, number)
        if not low <= number <= high:
            self.n_outside += n
            self.outside = self.outside or (number, line)

    def count_unread(self, reason: str, value: Any, line: int | None, n: int = 1) -> None:
        """Keep account of n cells without a value, for one reason, and of the first of them."""
        before = self.unread.get(reason)
        if before is None:
            first = None if value is None else str(value)[:80]
            self.unread[reason] = Unread(n, first, line)
        else:
            self.unread[reason] = before._replace(n=before.n + n)
        if reason in (_NO_CLASS, _WORDS):
            text = str(value).strip()[:80]
            if text in self.no_class or len(self.no_class) < FEW:
                self.no_class[text] = self.no_class.get(text, 0) + n

    # ---------------------------------------------------------------------- the whole column

    def check(self, file: str, n_row: int) -> None:
        """Raise InputError for a column that holds nothing to learn, or no class of its label."""
        label = self.label
        if self.kind == "binary" and label.classes is None and self.no_class:
            values = ", ".join(f"'{text}' {n:,}" for text, n in self.no_class.items())
            raise InputError(
                f"{file}: label '{label.name}' is binary, but its column '{label.column}' holds "
                f"values that are neither 0 nor 1 ({values}). Say which class they are: on the "
                f"command line {self._proposal()}, in a recipe 'classes'."
            )
        if label.optional:  # one of many: it is said of it that nothing can be learnt
            return
        if not self.n_known:
            raise InputError(
                f"{file}: label '{label.name}' has no value in any of {n_row:,} rows "
                f"({self.describe_unread()}). Take the label out, or name another column"
                f"{self._classes_instead()}"
            )
        if self.kind != "regression" and len(self.counts) == 1:
            (only,) = [name for name, n in self.class_counts().items() if n]
            raise InputError(
                f"{file}: all {self.n_known:,} known values of label '{label.name}' are of one "
                f"class ({only}): there is nothing to tell apart. Take the "
                "label out, or map its classes"
            )

    def _proposal(self) -> str:
        """Declarations of the column's texts: as two classes, and of all where they are more."""
        start = f"--label '{self.label.column}={self.label.name}:"
        texts = sorted([*(str(int(number)) for number in self.counts), *self.no_class])
        two = ",".join(f"{text}={number}" for number, text in enumerate(texts[:2]))
        proposal = f"{start}binary({two})'"
        if len(texts) > 2 and len(self.no_class) < FEW:
            proposal += (
                f" (values of neither class count as missing) or {start}classes({','.join(texts)})'"
            )
        return proposal

    def _classes_instead(self) -> str:
        """What to write where a column of numbers holds a few words; else nothing."""
        if _TRUE_FALSE in self.unread:
            return f"; true and false are classes: --label '{self.label.column}:binary'"
        if self.kind != "regression" or not 2 <= len(self.no_class) < FEW:
            return ""
        words = sorted(self.no_class)
        kind = "binary" if len(words) == 2 else "classes"
        return (
            f"; if its words are classes, declare them: --label "
            f"'{self.label.column}:{kind}({','.join(words)})'"
        )

    def class_counts(self) -> dict[str, int]:
        """Rows of each class, by name."""
        names = enumerate(self.label.class_names or ("0", "1"))
        return {name: self.counts.get(float(number), 0) for number, name in names}

    @property
    def looks_binary(self) -> bool:
        """Whether a column declared as numbers holds 0 and 1 and nothing else."""
        return self.kind == "regression" and set(self.counts) == {0.0, 1.0}

    def describe_unread(self) -> str:
        """Every reason why cells gave no value, with the first of them."""
        return ", ".join(
            f"{reason} {unread.n:,}" + _first_of(unread) for reason, unread in self.unread.items()
        )


def _first_of(unread: Unread) -> str:
    if not unread.first:
        return ""
    line = "" if unread.line is None else f" in line {unread.line}"
    return f" (first {unread.first!r}{line})"
