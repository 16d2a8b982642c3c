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
    """The nearest of the choices to a name, as words for a message; empty where none is near."""
    nearest = difflib.get_close_matches(name, list(choices), 1)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""
