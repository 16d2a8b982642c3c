"""Files that are there whole or not at all: they are written beside their place and renamed.

Before a result is computed, `check_output` and `check_folder` refuse a place that cannot hold it,
or that holds what molnb did not write.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import InputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ANOTHER = "choose another --out"


def check_output(
    out: str | os.PathLike,
    inputs: Iterable[str | os.PathLike] = (),
    endings: Sequence[str] = (),
    is_ours: Callable[[Path], bool] | None = None,
    force: bool = False,
) -> Path:
    """The file that a result may be written to, links followed; InputError where there is none.

    `endings` are those its name may have. What is read (`inputs`) is never replaced, nor is a file
    in a folder that is read. Any other file that `is_ours` does not know is replaced with `force`
    only. Nothing is left behind: the place is tried with a file without a name.
    """
    path = Path(os.path.realpath(out))
    status = _status(path, out)
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise InputError(f"{out} is a folder: name a file in it, such as {Path(out, 'result')}")
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise InputError(f"{out} is a device, a pipe or a link that leads nowhere: name a file")
    if endings and not Path(out).name.lower().endswith(tuple(endings)):
        raise InputError(
            f"{out}: a result is written by the ending of its name, which is one of "
            f"{', '.join(endings)}: add one of them"
        )
    _check_place(path, out)
    if status is not None:
        _refuse_others(path, out, [Path(name) for name in inputs], is_ours, force)
    return path


def check_folder(folder: str | os.PathLike, is_ours: Callable[[Path], bool] | None = None) -> Path:
    """The folder that results may be written below; InputError where there can be none.

    With `is_ours`, a folder that holds anything (hidden files apart) must be known to it.
    """
    path = Path(os.path.realpath(folder))
    status = _status(path, folder)
    if status is not None and not stat.S_ISDIR(status.st_mode):
        raise InputError(f"{folder} is a file, and a folder is needed: {_ANOTHER}")
    _check_place(path / "x", folder)
    if status is None or is_ours is None or is_ours(path):
        return path
    others = sorted(name for name in os.listdir(path) if not name.startswith("."))
    if others:
        raise InputError(
            f"{folder} holds {len(others):,} other things ({', '.join(others[:3])}): {_ANOTHER}, "
            "a new or empty folder"
        )
    return path


def _status(path: Path, out: str | os.PathLike) -> os.stat_result | None:
    """What lies at a path; None for nothing."""
    try:
        return path.lstat()  # links were followed: one that is left leads into a circle
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}; {_ANOTHER}") from None


def _check_place(path: Path, out: str | os.PathLike) -> None:
    """Raise InputError where no file can be made at a path, whose folders need not be there."""
    folder = path.parent
    try:
        while not os.path.lexists(folder):
            folder = folder.parent
        if not folder.is_dir():
            raise InputError(f"cannot write {out}: {folder} is a file and no folder; {_ANOTHER}")
        for name in [*path.relative_to(folder).parts, _partial(path).name]:
            with contextlib.suppress(FileNotFoundError):
                os.lstat(folder / name)  # a name that is too long is an error also where nothing is
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror} ({folder}); {_ANOTHER}") from None


def _refuse_others(
    path: Path,
    out: str | os.PathLike,
    inputs: Sequence[Path],
    is_ours: Callable[[Path], bool] | None,
    force: bool,
) -> None:
    """Raise InputError where a file that is there must stay."""
    for read in inputs:
        if read.exists() and os.path.samefile(read, path):
            raise InputError(f"{out} would replace {read}, which is read: {_ANOTHER}")
    is_protected = not path.stat().st_mode & 0o222
    if is_ours is not None and not is_protected and is_ours(path):
        return
    for read in inputs:
        if read.is_dir() and Path(os.path.realpath(read)) in path.parents:
            raise InputError(f"{out} belongs to {read}, which is read: {_ANOTHER}")
    if not force:
        raise InputError(
            f"{out} is there, and not as this command writes it: {_ANOTHER}, or have it "
            "replaced with --force (force=True)"
        )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; what is written there is renamed at the end.

    A full disk becomes an InputError that names the path and what to do.
    """
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        # Arrow sometimes passes the system's error on as text only.
        if error.errno in _FULL or os.strerror(errno.ENOSPC) in str(error):
            raise _full_disk(error, path) from error
        raise
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


@contextlib.contextmanager
def changing(path: Path) -> Iterator[None]:
    """Inside, a file is changed in its place: a full disk is an InputError, as for `writing`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _full_disk(error, path) from error
        raise


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Add lines to the end of a file, or none of them where the disk is full (InputError)."""
    added = "".join(f"{line}\n" for line in lines).encode()
    before = path.stat().st_size if path.exists() else 0
    with changing(path):
        try:
            with path.open("ab") as file:
                file.write(added)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(path, before)  # a line that was begun
            raise


def _full_disk(error: OSError, path: Path) -> InputError:
    """What to do where there is no room for a file."""
    return InputError(
        f"The disk is full: could not write {path} ({error.strerror or error}). Free space, or set "
        "MOLNB_HOME to a folder on a larger disk; the same command then goes on, what was finished "
        "is kept."
    )


def _partial(path: Path) -> Path:
    """Where a file is written before it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_table(table: pa.Table, path: Path) -> None:
    """Write a Parquet file, whole or not at all."""
    with writing(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def write_json(content: Any, path: Path) -> None:
    """Write a JSON file, whole or not at all."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    with writing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def with_tuples(stored: dict[str, Any]) -> dict[str, Any]:
    """Values read from JSON, which has no tuples, for a frozen record, which has no lists."""
    return {name: _as_tuple(value) for name, value in stored.items()}


def _as_tuple(value: Any) -> Any:
    """A list, and every list in it, as a tuple; anything else as it is."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


@contextlib.contextmanager
def writing_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> Iterator[Any]:
    """Yield ``append(piece)``, which adds rows to a .npy file of a known shape.

    Written in sequence, not through a memory map: on a full disk a memory map kills the process.
    """
    dtype = np.dtype(dtype)
    with writing(path) as partial, partial.open("wb") as file:
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": shape,
        }
        np.lib.format.write_array_header_1_0(file, header)
        n_row = 0

        def append(piece: np.ndarray) -> None:
            nonlocal n_row
            file.write(np.ascontiguousarray(piece, dtype).tobytes())
            n_row += len(piece)

        yield append
        file.flush()
        if n_row != shape[0]:
            raise ValueError(f"{path.name}: {n_row} rows written, {shape[0]} announced")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
