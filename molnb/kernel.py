"""The Jupyter kernel that this runs in, and the environment in which torch should load."""

from __future__ import annotations

import os

# How long a thread of torch's waits at full speed for the next piece of work before it sleeps (GNU
# OpenMP, read when torch loads). Its default makes a training step ten times slower on a machine
# that others use too; never to wait makes small models half as fast on one that is free.
THREAD_WAIT = {"GOMP_SPINCOUNT": "3000"}
# Memory that tensors free is kept for the next step (glibc, read when a process starts; see
# `training.device.keep_freed_memory`).
KEPT_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


def set_thread_wait() -> None:
    """Let torch's threads wait briefly in this process, unless the user has chosen a time.

    Only before torch loads, and only in a process that is molnb's own: an environment that others
    share is not changed.
    """
    for name, value in THREAD_WAIT.items():
        os.environ.setdefault(name, value)


def torch_settings() -> dict[str, str]:
    """Variables for a process in which torch will load, without those that the user has chosen."""
    settings = THREAD_WAIT | KEPT_MEMORY
    return {name: value for name, value in settings.items() if name not in os.environ}


def headless() -> bool:
    """True where a notebook is run by a machine: nobody can move a slider or press Stop."""
    return os.environ.get("MOLNB_HEADLESS") == "1"


def in_kernel() -> bool:
    """True in a Jupyter kernel, where there is something to display on."""
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
