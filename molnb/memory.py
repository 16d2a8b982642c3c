"""Memory between steps: what tensors free is kept for the next ones.

The C library gives large freed blocks back to the system, which hands them out again page by page, each page cleared.
A training step frees and asks for the same blocks over and over; a tenth of its time can go into that.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
KEEP_BYTES, MMAP_BYTES = 2**30, 2**25  # 32 MiB is the most glibc takes for the second


def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB that tensors free; true where the C library listens (glibc on Linux)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEEP_BYTES) and mallopt(_MMAP_THRESHOLD, MMAP_BYTES))
