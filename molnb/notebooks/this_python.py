"""A Jupyter kernel of this very Python, whatever kernels Jupyter finds on the machine.

The environment goes to the kernel alone: the process that starts it keeps its own, so that several
notebooks can run side by side.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from traitlets import Dict
from traitlets.config import Config

from ..kernel import torch_settings


class ThisPython(AsyncKernelManager):
    """Starts kernels with this interpreter, and with variables added to their environment."""

    environment = Dict(config=True)

    @property
    def kernel_spec(self) -> KernelSpec:
        """The command and the environment of a kernel; no kernelspec is looked for on disk."""
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            # Jupyter replaces $NAME and ${NAME} in these values; $$ is a plain dollar sign.
            env={name: value.replace("$", "$$") for name, value in self.environment.items()},
            display_name="Python 3",
            language="python",
        )


def kernel_config(folder: Path, home: Path) -> Config:
    """Settings of a `ThisPython` whose files lie in `folder`, with `home` as its MOLNB_HOME.

    A short path for the folder: names of sockets are limited to about 100 characters.
    """
    settings = {
        "environment": kernel_environment(folder, home),
        "connection_file": str(folder / "kernel.json"),
    }
    if os.name != "nt":
        # Sockets in the file system: no open TCP port, and no warning about one in the first cell.
        # Their names are said outright, or they would be made in, and left behind in, the working
        # directory.
        settings |= {"transport": "ipc", "ip": str(folder / "kernel")}
    return Config({"ThisPython": settings})


def kernel_environment(folder: Path, home: Path) -> dict[str, str]:
    """Variables of a kernel that a machine runs: the same molnb, nobody's IPython profile."""
    folder_of_package = Path(__file__).resolve().parents[2]
    # What is installed needs no help, and in this variable it would come before Python's own.
    is_installed = folder_of_package.name in ("site-packages", "dist-packages")
    package = "" if is_installed else str(folder_of_package)
    python_path = filter(None, [package, os.environ.get("PYTHONPATH")])
    return torch_settings() | {
        "MOLNB_HEADLESS": "1",
        "MOLNB_HOME": str(home.resolve()),
        "JUPYTER_RUNTIME_DIR": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": os.pathsep.join(python_path),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
