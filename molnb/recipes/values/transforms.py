"""Transforms of a label: logarithms and factors, each with the unit that it gives."""

from __future__ import annotations

import math
import unicodedata
from typing import NamedTuple

from ...units import conversion_factor

FUNCTIONS = ("log10", "-log10", "log1p")
GRAMMAR = "FUNCTION or FUNCTION:FROM->TO, where FUNCTION is log10, -log10, log1p or a factor"


class Transform(NamedTuple):
    """What is done with each value: a factor (change of unit), then a logarithm or nothing."""

    factor: float
    function: str | None  # one of FUNCTIONS
    unit: str  # of the result

    @property
    def turns(self) -> bool:
        """Whether a larger value gives a smaller one: a lower bound becomes an upper one."""
        return (self.factor < 0) != (self.function == "-log10")

    def apply(self, value: float) -> float | None:
        """The transformed value; None where the logarithm is of nothing positive."""
        value = value * self.factor
        if self.function is None:
            return value
        if self.function == "log1p":
            return math.log1p(value) if value > -1 else None
        if value <= 0:
            return None
        logarithm = math.log10(value)
        return -logarithm if self.function == "-log10" else logarithm


def parse_transform(text: str, unit: str) -> Transform:
    """A transform from its text, as in ``-log10:nM->M``, for values in a unit.

    ``FROM`` must be the unit of the values. Raises ValueError for a text that is none.
    """
    function, _, units = text.partition(":")
    source, arrow, target = units.partition("->")
    source = source.strip() or unit
    target = target.strip() or source
    if units and not (arrow and units.partition("->")[2].strip()):
        raise ValueError(f"transform '{text}' names no units to convert: write {GRAMMAR}")
    if _one_spelling(source) != _one_spelling(unit):
        raise ValueError(f"transform '{text}' starts from {source}, the label is in {unit}")
    if function in FUNCTIONS:
        return Transform(conversion_factor(source, target), function, f"{function}({target})")
    return Transform(_factor(text, function, units), None, target)


def _one_spelling(unit: str) -> str:
    """A unit with one of the two letters that look like a micro sign."""
    return unicodedata.normalize("NFKC", unit)


def _factor(text: str, function: str, units: str) -> float:
    """The factor that stands in place of a function; it needs the units before and after."""
    try:
        factor = float(function)
    except ValueError:
        factor = math.nan
    if not math.isfinite(factor) or factor == 0:
        raise ValueError(f"transform '{text}' is unknown: write {GRAMMAR}")
    if not units:
        raise ValueError(
            f"transform '{text}' changes the unit: name both, as in {function}:mg/L->g/L"
        )
    return factor
