"""A split by time: the latest molecules are the test, those before them val, all others train."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from ...errors import InputError
from ...recipes.own_split import NO_PART

_ISO = re.compile(r"\d{4}-\d{2}(-\d{2}([T ].*)?)?$")
_SLASHES = re.compile(r"\d{1,2}/\d{1,2}/\d{4}$")
MOST_UNREADABLE = 0.5  # of the cells that are not empty


def _number(text: str) -> float | None:
    """A number, a year among them."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _iso_day(text: str) -> float | None:
    """Days of YYYY-MM-DD, with a time of day behind it or not; of YYYY-MM its first day."""
    if not _ISO.match(text):
        return None
    try:
        day = datetime.datetime.fromisoformat(f"{text}-01" if len(text) == 7 else text)
    except ValueError:
        return None
    offset = day.utcoffset() or datetime.timedelta()
    return (day.replace(tzinfo=None) - offset - datetime.datetime.min) / datetime.timedelta(days=1)


def _american_day(text: str) -> float | None:
    """Days of MM/DD/YYYY."""
    if not _SLASHES.match(text):
        return None
    month, day, year = map(int, text.split("/"))
    try:
        return float(datetime.date(year, month, day).toordinal())
    except ValueError:
        return None


_FORMS: dict[str, Callable[[str], float | None]] = {
    "numbers or years": _number,
    "dates YYYY-MM-DD": _iso_day,
    "dates MM/DD/YYYY": _american_day,
}


def read_times(texts: Sequence[str | None], column: str) -> np.ndarray:
    """A column of times as numbers, later ones larger; NaN for an empty or unreadable cell.

    All are of one form: numbers or years, YYYY-MM(-DD) with or without a time, or MM/DD/YYYY.
    Raises InputError where cells are of several forms, or most are of none.
    """
    plain = [(text or "").strip() for text in texts]
    n_text = sum(map(bool, plain))
    read = {}
    examples = {}
    for form, parse in _FORMS.items():
        times = [parse(text) if text else None for text in plain]
        read[form] = np.array(times, np.float64)
        n_time = int(np.isfinite(read[form]).sum())
        if n_time:
            first = plain[int(np.flatnonzero(np.isfinite(read[form]))[0])]
            examples[form] = f"{n_time:,} {form} ('{first[:40]}')"
    if len(examples) > 1:
        raise InputError(
            f"column '{column}' of the split by time holds {' and '.join(examples.values())}: "
            "write all as YYYY-MM-DD, or all as numbers"
        )
    _refuse_slashes_read_in_part(plain, read, column)
    form = next(iter(examples), "numbers or years")
    n_time = int(np.isfinite(read[form]).sum())
    if n_time <= MOST_UNREADABLE * n_text or not n_time:
        strange = next((text for text in plain if text), "")
        raise InputError(
            f"column '{column}' of the split by time: {n_time:,} of {n_text:,} cells are numbers "
            f"or dates (the first is '{strange[:40]}'): write YYYY-MM-DD, or choose another "
            "column"
        )
    return read[form]


def _refuse_slashes_read_in_part(
    plain: list[str], read: dict[str, np.ndarray], column: str
) -> None:
    """Raise InputError where some dates with slashes cannot begin with the month."""
    is_day = np.isfinite(read["dates MM/DD/YYYY"])
    if not is_day.any():
        return
    for text, is_read in zip(plain, is_day, strict=True):
        if not is_read and _SLASHES.match(text):
            raise InputError(
                f"column '{column}' of the split by time holds '{text}', which is no date "
                "MM/DD/YYYY: write all dates as YYYY-MM-DD"
            )


def latest_last(times: np.ndarray, fractions: tuple[float, float, float]) -> np.ndarray:
    """The side of each molecule by its time: the latest are test (2), those before val (1).

    Equal times stay on one side, so that sizes are those of the fractions to within a time; the
    earliest are train. NaN is in no part.
    """
    known = np.isfinite(times)
    values, position, sizes = np.unique(times[known], return_inverse=True, return_counts=True)
    later = np.cumsum(sizes[::-1])[::-1]  # molecules of this time or a later one
    n_known = int(known.sum())
    start_of_test = _boundary(later, fractions[2] * n_known, len(values))
    start_of_val = _boundary(later, (fractions[1] + fractions[2]) * n_known, start_of_test)
    side_of_value = np.zeros(len(values), np.int8)
    side_of_value[start_of_val:] = 1
    side_of_value[start_of_test:] = 2
    side = np.full(len(times), NO_PART, np.int8)
    side[known] = side_of_value[position]
    return side


def _boundary(later: np.ndarray, room: float, end: int) -> int:
    """The time, 1 or later, from which about ``room`` molecules are; ``end`` for no room."""
    candidates = np.arange(1, end)
    if not room or not len(candidates):
        return end
    return int(candidates[::-1][np.argmin(np.abs(later[candidates[::-1]] - room))])
