"""Run slices of rows on worker processes, and find the row that kills one.

Local processes by default (loky: a dead process is noticed, notebooks need no main guard); any Dask
cluster by its address. A worker that dies takes its slice with it; the slice is halved until the
one row is found, which is dropped, and everything else is kept.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from typing import Any, NamedTuple

from .errors import InputError
from .extras import how_to_install

SECONDS_IDLE = 600
SECONDS_ORPHAN = 2  # how often a worker looks whether its parent is still there
# A worker computes on one core; several slices at once use the others. One that trains holds a GiB
# or two, for which loky would take it for leaky and start another, with a warning.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "LOKY_MAX_MEMORY_LEAK_SIZE": "2e9",
}


class Slice(NamedTuple):
    """The work items ``start`` to ``stop``; those in ``died`` kill workers: only recorded."""

    index: int
    start: int
    stop: int
    died: tuple[int, ...] = ()


Work = Callable[[Any, Slice, bool], Any]  # (job, slice, whether to write the result)


def count_cores() -> int:
    """Cores this process may use: what a batch system or a container leaves it of the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def end_with_parent(parent: int) -> None:
    """Let this worker end when the process with the id `parent` has ended.

    A process that is killed cannot tell its workers to go. What a worker writes is whole or not
    there, so it may end at any moment. Windows does not tell of a lost parent.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_ORPHAN)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Pool:
    """Worker processes that can be started again after one has died."""

    def __init__(self, workers: int, cluster: str | None = None):
        self.workers = workers
        self.cluster = cluster
        self._client = None  # of Dask
        self._executor: Executor | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        self._stop(kill=kind is not None)
        if self._client is not None:
            self._client.close()

    def submit(self, function: Callable, *arguments: Any) -> Future:
        """Hand one call to a worker."""
        if self._executor is None:
            self._executor = self._start()
        return self._executor.submit(function, *arguments)

    def restart(self) -> None:
        """Throw the workers away; the next call starts new ones."""
        self._stop(kill=True)

    def _start(self) -> Executor:
        if self.cluster is not None:
            self._client = self._client or _dask_client(self.cluster)
            self.workers = max(1, sum(self._client.nthreads().values()))
            return self._client.get_executor(pure=False)
        if self.workers == 0:
            return _InProcess()
        from loky import ProcessPoolExecutor

        return ProcessPoolExecutor(
            max_workers=self.workers,
            timeout=SECONDS_IDLE,
            env=ENVIRONMENT,
            initializer=end_with_parent,
            initargs=(os.getpid(),),
        )

    def _stop(self, kill: bool) -> None:
        executor = self._executor
        self._executor = None
        if executor is None:
            return
        if self.cluster is None and self.workers:
            executor.shutdown(wait=True, kill_workers=kill)
        else:
            executor.shutdown(wait=False)


class _InProcess(Executor):
    """Calls run at once, in this process: for debugging."""

    def submit(self, function: Callable, /, *arguments: Any, **keywords: Any) -> Future:
        future: Future = Future()
        future.set_result(function(*arguments, **keywords))
        return future


def _dask_client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            f"cluster='{address}' needs Dask ({how_to_install('distributed')}): install it, or "
            "leave cluster out."
        ) from None
    try:
        return Client(address, timeout=20)
    except OSError as error:
        raise InputError(f"No Dask scheduler answers at {address} within 20 s ({error}).") from None


def run_slices(pool: Pool, work: Work, job: Any, slices: Iterable[Slice]) -> Iterator[Slice]:
    """Do ``work(job, slice, True)`` for every slice, in any order; yields each when it is done.

    Two slices a worker are under way at a time, so that a list of any length needs no memory.
    """
    waiting = iter(slices)
    under_way: dict[Future, Slice] = {}
    while True:
        for piece in waiting:
            under_way[pool.submit(work, job, piece, True)] = piece
            if len(under_way) >= max(1, 2 * pool.workers):
                break
        if not under_way:
            return
        suspects = []
        for future in wait(under_way, return_when=FIRST_COMPLETED).done:
            piece = under_way.pop(future)
            if _died(future):
                suspects.append(piece)
            else:
                future.result()
                yield piece
        if suspects and pool.cluster is None:  # one dead process breaks the whole pool
            suspects += under_way.values()
            under_way.clear()
            pool.restart()
        for piece in sorted(suspects):
            _run_suspect(pool, work, job, piece)
            yield piece


def _died(future: Future) -> bool:
    error = future.exception()
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"


def _run_suspect(pool: Pool, work: Work, job: Any, piece: Slice) -> None:
    """Run a slice that was under way when a worker died, alone, so that a death is its own."""
    survived_in_halves = 0
    while _kills(pool, work, job, piece, True):
        culprit = _find_culprit(pool, work, job, piece)
        if culprit is not None:
            piece = piece._replace(died=tuple(sorted({*piece.died, culprit})))
            continue
        survived_in_halves += 1  # then it is the machine (memory), not a row
        if survived_in_halves == 3:
            raise InputError(
                f"Workers died 3 times on rows {piece.start} to {piece.stop - 1} together, and on "
                "neither half alone: probably memory. Run the same command with fewer workers; "
                "finished slices are kept."
            )


def _find_culprit(pool: Pool, work: Work, job: Any, piece: Slice) -> int | None:
    """The one item that kills a worker, by halving; None where neither half does so alone."""
    start = piece.start
    stop = piece.stop
    while stop - start > 1:
        middle = (start + stop) // 2
        if _kills(pool, work, job, piece._replace(start=start, stop=middle), False):
            stop = middle
        elif _kills(pool, work, job, piece._replace(start=middle, stop=stop), False):
            start = middle
        else:
            return None
    return start


def _kills(pool: Pool, work: Work, job: Any, piece: Slice, write: bool) -> bool:
    future = pool.submit(work, job, piece, write)
    wait([future])
    if _died(future):
        if pool.cluster is None:
            pool.restart()
        return True
    future.result()
    return False
