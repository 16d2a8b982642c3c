"""Locks of files between processes: the system's, which end with the process that holds them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def take_lock(file: IO, wait: bool = False) -> bool:
    """Lock an open file for this process: whether it could; True where there are no locks.

    With `wait` it comes back when whoever has the lock gives it up.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def waiting_turn(path: Path) -> Iterator[None]:
    """Let one process at a time into the block; others wait and say so, once, on stderr.

    Raises OSError where no file can be made at the path, as in a folder that is read-only.
    """
    with path.open("a+b") as file:
        if not take_lock(file):
            print(f"waiting for another process that writes to {path.parent}", file=sys.stderr)
            take_lock(file, wait=True)
        yield
