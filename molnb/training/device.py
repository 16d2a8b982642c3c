"""Memory between steps: what tensors free is kept for the next ones.

The C library gives large freed blocks back to the system, which hands them out again page by page,
each page cleared. A training step frees and asks for the same blocks over and over; a tenth of its
time can go into that.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import nullcontext

import torch

from ..errors import InputError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
KEEP_BYTES, MMAP_BYTES = 2**30, 2**25  # 32 MiB is the most glibc takes for the second


def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB that tensors free; true where the C library listens
    (glibc on Linux).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEEP_BYTES) and mallopt(_MMAP_THRESHOLD, MMAP_BYTES))


def choose_device(asked: str = "auto") -> torch.device:
    """The device asked for; `auto` is the GPU where there is one. Raises InputError for a GPU
    that is not there.
    """
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(
            f"device {asked!r} asked for, but torch {torch.__version__} sees no GPU: use --device cpu"
        )
    try:
        return torch.device(asked)
    except RuntimeError:
        raise InputError(f"unknown device {asked!r}: choose auto, cpu, cuda or cuda:0") from None


def autocast(device: torch.device, precision: str):
    """bf16 on GPUs that have it, float32 elsewhere, unless the configuration insists."""
    wants = (
        device.type == "cuda" and torch.cuda.is_bf16_supported()
        if precision == "auto"
        else precision == "bfloat16"
    )
    return torch.autocast(device.type, torch.bfloat16) if wants else nullcontext()
