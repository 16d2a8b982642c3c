"""What molnb says when it cannot go on."""

from __future__ import annotations


class InputError(ValueError):
    """Input or parameters that molnb does not accept: the message names the value, the limit and
    what to do next.

    The command line prints the message alone and exits with 2, so it must make sense without a
    traceback.
    """
