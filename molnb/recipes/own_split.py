"""The user's own split: what a column calls train, val and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ..errors import InputError
from ..shards import SPLIT_VALUES
from .split_schema import Split

NO_PART = -1  # of a row whose cell is empty
NAMES_OF_PARTS = {
    "train": ("train", "training", "tr"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "te"),
    "test_seen": ("test_seen",),
}
_NUMBERS = {
    name: SPLIT_VALUES.index(part) for part, names in NAMES_OF_PARTS.items() for name in names
}


def part_number(text: str | None, parts: Mapping[str, str] | None = None) -> int | None:
    """The number of a part in SPLIT_VALUES, NO_PART for an empty cell; None for any other text.

    ``parts`` says which part other texts mean.
    """
    plain = (text or "").strip()
    if parts and plain in parts:
        return SPLIT_VALUES.index(parts[plain])
    return _NUMBERS.get(plain.lower()) if plain else NO_PART


class PartCounter:
    """Counts the parts that a column names, to refuse a column that is no split."""

    def __init__(self, split: Split):
        self.split = split
        self.column = split.column
        self.parts: Counter[int] = Counter()
        self.unknown: Counter[str] = Counter()

    def add(self, text: str | None) -> None:
        """Count one cell."""
        part = part_number(text, self.split.parts)
        if part is None:
            self.unknown[text.strip()[:40]] += 1
        else:
            self.parts[part] += 1

    def check(self, file: str) -> None:
        """Raise InputError where a cell names no part, or none is for training."""
        if self.unknown:
            texts = ", ".join(f"'{text}' {n:,}" for text, n in self.unknown.most_common(5))
            raise InputError(
                f"{file}: split column '{self.column}' holds what names no part ({texts}): write "
                "train, val or test in it, or nothing"
            )
        if not self.parts[SPLIT_VALUES.index("train")]:
            raise InputError(
                f"{file}: split column '{self.column}' names no row for training "
                f"({self.parts.total():,} rows). Is it the right column?"
            )
