"""Groups of molecules computed side by side, each by a thread of its own.

torch spreads every single operation over the cores and waits at its end for the slowest. For small
models there is little to spread, and where another program has one of the cores, everything waits
for the thread that shares it. Threads that each take whole groups of molecules meet once a step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
N_SIDE = 2  # more share a step on more cores, but every group is a pass of Python through the model


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes on the CPU with the calling thread alone.

    For hundreds of small operations in a row, each of which would wake the other threads.
    """
    n_core = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_core)


class ThreadTeam:
    """Threads that share the cores of torch among them; for use in a `with` statement.

    On the CPU with at least two cores (as torch counts them: OMP_NUM_THREADS, `set_num_threads`);
    elsewhere, and for a single item, the calling thread does everything.
    """

    def __init__(self, device: torch.device, n_thread: int = N_SIDE):
        n_core = torch.get_num_threads()
        self.n_thread = min(n_thread, n_core) if device.type == "cpu" else 1
        self._cores_each = max(1, n_core // self.n_thread)
        self._executor: ThreadPoolExecutor | None = None

    def __enter__(self) -> ThreadTeam:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def shares(self, items: Sequence) -> bool:
        """Whether these items would be computed by several threads."""
        return self.n_thread > 1 and len(items) > 1

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Results in the order of the items, whichever is done first."""
        if not self.shares(items):
            return map(function, items)
        if self._executor is None:
            self._executor = self._start()
        return self._executor.map(function, items)

    def _start(self) -> ThreadPoolExecutor:
        """Start all threads, each with its part of the cores."""
        n_core = torch.get_num_threads()
        started = threading.Barrier(self.n_thread + 1)

        def begin() -> None:
            torch.get_num_threads()  # a thread's first use of torch takes over the process's number
            torch.set_num_threads(self._cores_each)  # of this thread, and of those made later
            started.wait()

        executor = ThreadPoolExecutor(self.n_thread, "molnb", initializer=begin)
        for _ in range(self.n_thread):
            executor.submit(int)
        started.wait()
        torch.set_num_threads(n_core)  # threads made later get them all again
        return executor
