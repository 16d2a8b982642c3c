"""The process that trains a run: one at a time, by a lock that ends with the process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import InputError
from ..files import changing
from ..locks import take_lock

LOCK = "lock"

# A look at a lock (`is_owned`) holds it for an instant: a training tries again before it gives up.
TRIES = 5
PAUSE = 0.1  # seconds


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Keep a run's folder to this process while the block runs.

    Raises InputError, naming the owner, where another process has it. The lock is the system's, not
    the file: it ends when the process does, however that happens.
    """
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        if not _locked_soon(file):
            owner = read_owner(folder)
            raise InputError(
                f"{folder} is being trained by process {owner.get('pid', '?')} on "
                f"{owner.get('host', 'another machine')}: wait for it or stop it, or give this "
                "training another folder"
            )
        with changing(folder / LOCK):
            file.truncate(0)
            owner = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
            os.write(file.fileno(), owner.encode())  # not through a buffer, which would try again
        yield


def read_owner(folder: Path) -> dict:
    """`pid` and `host` of the process that trains a run, or did last; empty if none ever has."""
    try:
        return json.loads((folder / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def check_mine(folder: Path) -> None:
    """Raise InputError unless the folder still holds the lock that this process took.

    A lock is a file: where the folder was deleted and made again, another process may have its own.
    """
    if not is_mine(folder):
        owner = read_owner(folder)
        reason = "it was deleted"
        if owner:
            reason = f"process {owner.get('pid', '?')} on {owner.get('host', '?')} trains it now"
        raise InputError(
            f"{folder} is no longer this training's: {reason}. This training ends here and writes "
            "nothing more; give one of the two another folder"
        )


def is_mine(folder: Path) -> bool:
    """Whether this process was the last to take the lock of a run's folder."""
    return read_owner(folder) == {"pid": os.getpid(), "host": socket.gethostname()}


def is_owned(folder: Path) -> bool:
    """Whether some process trains a run now.

    A lock of another machine cannot always be seen; a run that it began then counts as owned.
    """
    try:
        with (folder / LOCK).open("r+", encoding="utf-8") as file:
            if not take_lock(file):
                return True
    except OSError:
        return False
    return read_owner(folder).get("host", socket.gethostname()) != socket.gethostname()


def _locked_soon(file: IO[str]) -> bool:
    """Take the lock of an open file, in several tries: whether it was free at one of them."""
    for _ in range(TRIES - 1):
        if take_lock(file):
            return True
        time.sleep(PAUSE)
    return take_lock(file)
