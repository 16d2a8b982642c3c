"""Files that are there whole or not at all: they are written beside their place and renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import InputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; what is written there is renamed at the end.

    A full disk becomes an InputError that names the path and what to do.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
            raise InputError(
                f"The disk is full: could not write {path} ({error.strerror or error}). "
                "Free space, or set MOLNB_HOME to a folder on a larger disk; the same command "
                "then goes on, finished slices are kept."
            ) from error
        raise
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


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
