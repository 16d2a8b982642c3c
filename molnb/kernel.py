"""Whether a notebook is run by a person or by a machine."""

from __future__ import annotations

import os


def headless() -> bool:
    """True where a notebook is run by a machine: nobody can move a slider or press Stop."""
    return os.environ.get("MOLNB_HEADLESS") == "1"


def in_kernel() -> bool:
    """True in a Jupyter kernel, where there is something to display on."""
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
