"""Kernels that need not import what lessons need: copies of a process that has.

A kernel that a machine starts for a lesson imports torch, RDKit, scikit-learn and plotly, which
takes as long as many a lesson. As the copy of a server it has them already. It is a process like
any other, with the variables, the folder and the arguments that Jupyter gave it.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from quick_processes import server

from molnb import processes

TESTS = Path(__file__).resolve().parent
PACKAGES = [
    *("ipykernel.kernelapp", "nbformat", "pandas", "duckdb", "plotly.graph_objs._figure"),
    *("scipy.stats", "sklearn.ensemble", "lightgbm", "torch_geometric.nn"),
    *("molnb.evaluation.classical", "molnb.figures.view3d"),
]
LATER = {"plotly.io._renderers", "ipywidgets"}  # they look for a kernel when they are imported


class Copy:
    """A process as Jupyter wants it: with the methods of `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, process: BaseProcess):
        self.process = process
        self.pid = process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()


@contextmanager
def quick_kernels() -> Iterator[None]:
    """While this lasts, kernels that this process starts are copies of the server."""
    from jupyter_client.provisioning import local_provisioner

    with patch.object(local_provisioner, "launch_kernel", start_kernel):
        yield


def start_kernel(
    command: Sequence[str], env: Mapping[str, str], cwd: str | None = None, **_: Any
) -> Copy:
    """A kernel that leads a group of processes, by which Jupyter ends it with its children."""
    program, *words = command
    assert program == sys.executable and words[:2] == ["-m", "ipykernel_launcher"]
    process = server(*PACKAGES).Process(target=_run_kernel, args=(words[2:], dict(env), cwd))
    process.start()
    while process.is_alive() and os.getpgid(process.pid) != process.pid:
        time.sleep(0.002)
    return Copy(process)


def _work_here(pool: processes.Pool) -> processes.Executor:
    """No further processes, which would import everything for seconds to work for tenths of one."""
    pool.workers = 0
    return processes._InProcess()


def _run_kernel(arguments: list[str], variables: dict[str, str], folder: str | None) -> None:
    """What such a process does."""
    assert not LATER & sys.modules.keys()
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder or os.getcwd())
    sys.argv[1:] = [*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"]
    sys.path[:] = [path for path in sys.path if TESTS not in (Path(path), *Path(path).parents)]
    os.setsid()
    gc.freeze()  # what was there before is no garbage of this process
    processes.Pool._start = _work_here
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()
