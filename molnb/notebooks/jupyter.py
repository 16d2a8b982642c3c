"""JupyterLab on a folder of lessons, in the environment that kernels should inherit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..kernel import torch_settings
from ..paths import home


def open_lab(folder: Path, options: Sequence[str] = ()) -> int:
    """Open JupyterLab on a folder; returns its exit code, or not at all where it takes over.

    `options` are jupyter's own. Its kernels keep `data/` and `runs/` in this MOLNB_HOME, wherever
    their notebooks lie.
    """
    command = [sys.executable, "-m", "jupyterlab", str(folder), *options]
    environment = os.environ | torch_settings() | {"MOLNB_HOME": str(home().resolve())}
    sys.stdout.flush()
    if os.name == "nt":  # where a process cannot become another
        return subprocess.call(command, env=environment)
    # In the place of this process, so that Ctrl-C reaches JupyterLab alone, which asks before it
    # ends.
    os.execve(sys.executable, command, environment)
