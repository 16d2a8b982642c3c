"""What molnb says when it cannot go on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input or parameters that molnb does not accept.

    The message names the value, the limit and what to do next. The command line prints it alone and
    exits with 2, so it must make sense without a traceback.
    """


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """The nearest of the choices to a name, whatever the case; empty where none is near."""
    by_lower = {choice.lower(): choice for choice in reversed(list(choices))}
    nearest = difflib.get_close_matches(name.lower(), by_lower, 1)
    return f" (did you mean {by_lower[nearest[0]]!r}?)" if nearest else ""
