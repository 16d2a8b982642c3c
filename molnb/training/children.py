"""Processes that train a run each, and end with this one: on a core, or on a GPU of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Lock
from types import TracebackType
from typing import NamedTuple

import torch

from ..errors import InputError
from ..extras import explain_missing
from ..processes import ENVIRONMENT, count_cores
from .device import choose_device
from .launched import COMPLAINT, LOG, said_last
from .runs import Run

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_CHILD = """
import sys
from molnb.processes import end_with_parent
end_with_parent(int(sys.argv[1]))
from molnb.cli import main
sys.exit(main(sys.argv[2:]))
"""


class Place(NamedTuple):
    """Where a process trains: the device that it is told, and the variables that it gets."""

    device: str
    variables: Mapping[str, str]


def make_places(device: str, workers: int | None) -> list[Place]:
    """A place for each process that may train at a time; none where this one is to train itself.

    That are `workers`, on CPUs with one thread each, on GPUs dealt to these; without a number, one
    a GPU (of the one that is named), and none on CPUs. On a GPU every run gets a process of its
    own: an error there can be the end of the GPU for the process, and what one compiled counts
    against the next.
    """
    if workers is not None and workers < 0:
        raise InputError(
            f"workers={workers}: 0 trains in this process, 1 or more in others; {count_cores()} "
            "cores here"
        )
    chosen = choose_device(device)
    if chosen.type != "cuda":
        return [Place(str(chosen), ENVIRONMENT)] * (workers or 0)
    gpus = visible_gpus()
    if chosen.index is not None:
        gpus = gpus[chosen.index : chosen.index + 1]
    return deal(gpus, len(gpus) if workers is None else workers)


def visible_gpus() -> list[str]:
    """The GPUs that this process sees, by the names that CUDA_VISIBLE_DEVICES knows them by."""
    named = [name.strip() for name in os.environ.get(_VISIBLE, "").split(",")]
    n_gpu = torch.cuda.device_count()
    return named[:n_gpu] if named != [""] else [str(number) for number in range(n_gpu)]


def deal(gpus: Sequence[str], workers: int) -> list[Place]:
    """Places on GPUs in turn, each of which sees its own alone; cores are shared out among them."""
    cores = {"OMP_NUM_THREADS": str(max(1, count_cores() // max(1, workers)))}
    return [
        Place("cuda", {**cores, _VISIBLE: gpus[number % len(gpus)]}) for number in range(workers)
    ]


class Children:
    """Processes that train runs, one in each place at a time; for use in a `with` statement.

    They are told nothing by a terminal's Ctrl-C: `stop` lets them end after their step, an error
    inside the statement ends them at once, and so does the end of this process.
    """

    def __init__(self, places: Sequence[Place]):
        self._free: SimpleQueue[Place] = SimpleQueue()
        for place in places:
            self._free.put(place)
        self._executor = ThreadPoolExecutor(len(places), "molnb-sweep")
        self._lock = Lock()
        self._running: set[subprocess.Popen] = set()
        self._stopped = False

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._signal(subprocess.Popen.kill)
        self._executor.shutdown(wait=True, cancel_futures=True)

    def submit(self, make_run: Callable[[], Run]) -> Future[str | None]:
        """Train the run that is made, when a place is free: why it could not be, or None."""
        return self._executor.submit(self._train, make_run)

    def stop(self) -> None:
        """Let all processes end after their step, or at once where they have not begun."""
        if not self._stopped:
            self._signal(subprocess.Popen.terminate)

    def _signal(self, send: Callable[[subprocess.Popen], None]) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                send(process)

    def _train(self, make_run: Callable[[], Run]) -> str | None:
        place = self._free.get()
        try:
            return self._train_in(place, make_run())
        except Exception as error:
            return reason_of(error)
        finally:
            self._free.put(place)

    def _train_in(self, place: Place, run: Run) -> str | None:
        """Train a run in a place, and wait for its end."""
        command = [sys.executable, "-c", _CHILD, str(os.getpid()), "train"]
        command += [str(run.path), "--device", place.device]
        file = run.path / LOG
        n_byte = file.stat().st_size if file.exists() else 0
        with file.open("ab") as log, self._lock:
            if self._stopped:
                return None
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **place.variables},
                start_new_session=True,  # a terminal's signals do not reach it
            )
            self._running.add(process)
        code = process.wait()
        with self._lock:
            self._running.discard(process)
        if code == 0 or self._stopped:
            return None
        return _why_it_ended(code, said_last(file, n_byte))


def _why_it_ended(code: int, said: Sequence[str]) -> str:
    """Why a process ended, from its exit code and the last that it said."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"its process was ended by signal {-code} ({name}), as where memory runs out"
    if not said:
        return f"its process ended with exit code {code} and said nothing"
    return said[-1].removeprefix(COMPLAINT)


def reason_of(error: Exception) -> str:
    """Why something failed, in a line."""
    if isinstance(error, ModuleNotFoundError) and explain_missing(error):
        return explain_missing(error)
    said = str(error).partition("\n")[0]
    return said if isinstance(error, InputError) else f"{type(error).__name__}: {said}"
