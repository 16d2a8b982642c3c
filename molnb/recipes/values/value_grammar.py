"""How the cells of one's own table are read, in lines of text: ``LABEL=VALUE``, ``COLUMN=VALUE``.

    --where 'Standard Units=nM'    rows to keep; several of one column: any of them
    --relation IC50=relation       the column with >, < or ~ of a label
    --qualified IC50=value         use what stands qualified, or leave it missing
    --percent inhibition           a label whose numbers have a percent sign behind them
    --max-spread IC50=0.5          repeated measurements further apart give no value
    --range IC50=3..12             what values can be, in the unit that is stored

Names are matched against columns and labels, longest first, so they may hold equal signs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import InputError, did_you_mean

Texts = Sequence[str] | Mapping[str, Any]


def parse_where(texts: Texts, columns: Sequence[str]) -> dict[str, Any]:
    """The key ``where`` of a recipe: of each column the values that are kept."""
    if isinstance(texts, Mapping):
        return dict(texts)
    where: dict[str, list[str]] = {}
    for column, value in _pairs("where", texts, columns, "column"):
        where.setdefault(column, []).append(value)
    return where


def add_values(
    labels: Sequence[dict[str, Any]],
    numeric: Sequence[str],
    relations: Texts = (),
    qualified: Texts = (),
    decimal: str | None = None,
    percent: Sequence[str] = (),
    ranges: Texts = (),
) -> None:
    """Put into the descriptions of labels how their cells are read.

    ``decimal`` is for all labels of numbers, which are the ``numeric`` ones.
    Raises InputError for the name of no label and for a text that is none.
    """
    described = {label["name"]: label for label in labels}
    for name, column in _pairs("relation", relations, described):
        described[name]["relation"] = column
    for name, use in _pairs("qualified", qualified, described):
        described[name]["qualified"] = use
    for name, limits in _pairs("range", ranges, described):
        described[name]["range"] = _parse_range(name, limits)
    for name in percent:
        _refuse_unknown("percent", name, name, described)
        described[name]["percent"] = True
    if decimal is not None:
        for name in numeric:
            described[name]["decimal"] = decimal


def parse_spreads(texts: Texts, labels: Sequence[str]) -> dict[str, float]:
    """The key ``max_spread`` of a recipe: how far repeated measurements may lie apart."""
    return {
        name: _number("max-spread", name, spread)
        for name, spread in _pairs("max-spread", texts, labels)
    }


def _parse_range(name: str, limits: Any) -> list[float]:
    """The least and the largest value, from ``LOW..HIGH`` or a pair of numbers."""
    ends = limits.split("..") if isinstance(limits, str) else list(limits)
    if len(ends) != 2:
        raise InputError(f"--range {name}={limits}: write LABEL=LOW..HIGH, as in {name}=0..14")
    return [_number("range", name, end) for end in ends]


def _number(option: str, name: str, text: Any) -> float:
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"--{option} {name}={text}: '{text}' is no number")
    return number


def _pairs(
    option: str, texts: Texts, names: Sequence[str], kind: str = "label"
) -> list[tuple[str, Any]]:
    """Name and value of each text; the longest name counts that it begins with."""
    if isinstance(texts, Mapping):
        pairs = list(texts.items())
        for name, value in pairs:
            _refuse_unknown(option, f"{name}={value}", name, names, kind)
        return pairs
    pairs = []
    for text in texts:
        matching = [name for name in names if text.startswith(f"{name}=")]
        name = max(matching, key=len) if matching else text.partition("=")[0]
        _refuse_unknown(option, text, name, names, kind)
        if "=" not in text[len(name) :]:
            raise InputError(f"--{option} {text!r} has no value: write {kind.upper()}=VALUE")
        pairs.append((name, text[len(name) + 1 :].strip()))
    return pairs


def _refuse_unknown(
    option: str, text: str, name: str, names: Sequence[str], kind: str = "label"
) -> None:
    """Raise InputError for a name that is none of those there are."""
    if name not in names:
        known = ", ".join(names) or "none, declare one with --label"
        raise InputError(
            f"--{option} {text!r}: there is no {kind} '{name}'{did_you_mean(name, names)}. "
            f"The {kind}s are: {known}"
        )
