"""The device that computes, its precision, and memory that a process keeps between steps."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from ..errors import InputError
from .ranks import local_rank, world_size

_TRIM_THRESHOLD = -1  # names of glibc's malloc.h
_MMAP_THRESHOLD = -3
KEEP_BYTES = 2**30
MMAP_BYTES = 2**25  # 32 MiB is the most that glibc takes


def choose_device(name: str = "auto") -> torch.device:
    """A device by name; `auto` is the GPU where there is one, under torchrun each its own.

    Raises InputError for a GPU that is not there, and for a name that torch does not know.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and world_size() > 1:
        name = f"cuda:{local_rank()}"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(
            f"device {name!r} asked for, but torch {torch.__version__} sees no GPU: use --device "
            "cpu"
        )
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"unknown device {name!r}: choose auto, cpu, cuda or cuda:0") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r} asked for, but torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} GPU(s), numbered from 0: choose one of them"
        )
    return device


def processor_name() -> str:
    """The name of this machine's processor, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """A context of bf16 on GPUs that have it, float32 elsewhere, unless `precision` insists."""
    narrow = precision == "bfloat16"
    if precision == "auto":
        narrow = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16) if narrow else nullcontext()


def number_of(precision: str) -> torch.dtype | None:
    """The kind of number that weights and data are made of; None for what they are, float32."""
    return torch.float64 if precision == "float64" else None


def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB that tensors free; true where the C library listens.

    It otherwise gives large freed blocks back to the system, which hands them out again page by
    page, each page cleared; a training step frees and asks for the same blocks over and over, and a
    tenth of its time can go into that. This is a setting of the whole process (glibc on Linux), so
    only who owns the process should call it: the command line does, and so do lessons.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    trimmed = mallopt(_TRIM_THRESHOLD, KEEP_BYTES)
    mapped = mallopt(_MMAP_THRESHOLD, MMAP_BYTES)
    return bool(trimmed and mapped)
