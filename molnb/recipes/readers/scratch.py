"""Unpacked files that readers need on a disk, in a temporary folder that goes with the process."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ...errors import InputError

MAX_FILES = 4  # kept at a time; what is asked for again is unpacked again

_files: dict[tuple, Path] = {}  # by what was unpacked, the one used last at the end
_folders: dict[int, Path] = {}  # by process: a forked one has its own


def scratch_file(key: tuple, name: str, write: Callable[[BinaryIO], None]) -> Path:
    """A file with what ``write`` writes, made once for a key and kept while few others are.

    The system's folder for temporary files (TMPDIR) holds it. A full disk becomes an InputError.
    """
    key = (os.getpid(), *key)
    path = _files.pop(key, None)
    if path is None or not path.exists():
        while len(_files) >= MAX_FILES:
            oldest = _files.pop(next(iter(_files)))
            with contextlib.suppress(OSError):  # where one that is open cannot be removed
                oldest.unlink()
        path = _write(name, write)
    _files[key] = path
    return path


def _write(name: str, write: Callable[[BinaryIO], None]) -> Path:
    handle, made = tempfile.mkstemp(suffix=Path(name).suffix, dir=_folder())
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
    except BaseException as error:
        Path(made).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"The disk is full: could not unpack {name} in {tempfile.gettempdir()}. Free "
                "space, or set TMPDIR to a folder on a larger disk."
            ) from None
        raise
    return Path(made)


def _folder() -> Path:
    process = os.getpid()
    if process not in _folders or not _folders[process].is_dir():
        _folders[process] = Path(tempfile.mkdtemp(prefix="molnb-unpacked-"))
    return _folders[process]


@atexit.register
def clear_scratch() -> None:
    """Remove all that this process has unpacked."""
    folder = _folders.pop(os.getpid(), None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    _files.clear()
