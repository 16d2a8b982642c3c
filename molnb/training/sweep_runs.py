"""The trainings of a sweep: what is done is skipped, what was killed goes on, what fails is noted.

One cell after another is trained in this process, or several at a time in processes of their own
(`children`). A cell that fails does not hold up the others.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from ..errors import InputError
from ..files import write_json
from ..paths import find_data
from ..processes import SECONDS_ORPHAN
from .children import Children, Place, make_places, reason_of
from .launched import COMPLAINT, LOG
from .loop import Report, prepare_run, train
from .many_runs import as_done, differing_settings
from .ownership import is_owned, owned
from .ranks import world_size
from .runs import MACHINE, Run, check_run_folder, check_start
from .sweeps import (
    Cell,
    Sweep,
    check_sweep_folder,
    load_sweep,
    note_failure,
    with_begun,
    write_sweep,
)

_SECONDS_FREE = 5 * SECONDS_ORPHAN  # for processes whose parent was killed to see that, and end


@dataclass(frozen=True)
class SweepReport:
    """How far a sweep is.

    `step` of `steps` are those of the cells that were left when it began, where a cell that ended
    counts as a whole. Of all `n_cell` cells `n_done` are done; `n_failed` have failed since.
    """

    step: int
    steps: int
    n_done: int
    n_failed: int
    n_cell: int
    under_way: tuple[str, ...]


SweepWatch = Callable[[SweepReport], bool | None]


def run_sweep(
    sweep: Sweep | str | Path,
    workers: int | None = None,
    device: str = "auto",
    watch: SweepWatch | None = None,
) -> dict[str, str]:
    """Train all cells of a sweep that are not done; returns why others failed, by name.

    One after another here, or `workers` at a time in processes of their own: on CPUs with one
    thread each, on GPUs dealt to these (default on GPUs: one each). `watch` is called several times
    a second with a report; where it returns False all that is under way ends after its step. The
    same call goes on: with cells that were stopped, killed, or failed from their last checkpoints.
    Raises InputError, before anything is trained, where a folder holds a run of other settings, or
    data are not there.
    """
    sweep = sweep if isinstance(sweep, Sweep) else load_sweep(sweep)
    places = check_sweep(sweep, workers, device)
    sweep.path.mkdir(parents=True, exist_ok=True)
    with owned(sweep.path):
        write_sweep(with_begun(sweep))
        left = sweep.left()
        _await_orphans(left)
        standing = _Standing(sweep, left, watch)
        if places:
            _train_in_children(standing, places)
        else:
            _train_here(standing, device)
    return sweep.failures()


def check_sweep(sweep: Sweep, workers: int | None = None, device: str = "auto") -> list[Place]:
    """Where a sweep's processes would train (`make_places`); InputError where it cannot."""
    if world_size() > 1:
        raise InputError(
            f"a sweep deals its runs to GPUs itself, and torchrun started {world_size()} "
            "processes: start it without torchrun"
        )
    places = make_places(device, workers)
    check_sweep_folder(sweep)
    _check_cells(sweep.cells)
    return places


def _check_cells(cells: Sequence[Cell]) -> None:
    """Raise InputError for a cell whose folder, data or run to start from cannot be used."""
    datasets = [(*cell.config.data, *cell.config.exclude) for cell in cells]
    for name in dict.fromkeys(chain.from_iterable(datasets)):
        find_data(name)
    for cell in cells:
        check_run_folder(cell.folder)
        if cell.run is not None:
            differing = differing_settings(cell.run.config, cell.config)
            if differing:
                raise InputError(
                    f"{cell.folder} holds a run that differs in {', '.join(differing)}: give the "
                    "sweep another folder (--out), or delete that one"
                )
        elif cell.config.start_from:
            check_start(cell.config)


def _await_orphans(cells: Sequence[Cell]) -> None:
    """Wait until processes have ended that still train cells though their parent was killed.

    One that nobody killed trains on; the cell is then refused.
    """
    until = time.monotonic() + _SECONDS_FREE
    while any(is_owned(cell.folder) for cell in cells) and time.monotonic() < until:
        time.sleep(0.1)


class _Standing:
    """How far the cells are that were left, what is said of it, and whether it goes on."""

    def __init__(self, sweep: Sweep, left: Sequence[Cell], watch: SweepWatch | None):
        self.sweep = sweep
        self.left = list(left)
        self.watch = watch
        self.going_on = True
        self._failed: set[str] = set()
        self._steps = dict.fromkeys((cell.name for cell in left), 0)
        self._under_way: dict[str, Cell] = {}
        self._done = len(sweep.cells) - len(left)

    def begin(self, cell: Cell) -> None:
        """Note that a cell is under way; why it failed before is no longer true."""
        note_failure(self.sweep, cell, None)
        self._under_way[cell.name] = cell

    def end(self, cell: Cell, reason: str | None) -> None:
        """Note that a cell has ended, and why it failed if it did."""
        del self._under_way[cell.name]
        is_done = reason is None and cell.state == "done"
        if reason is not None or is_done:  # and not stopped
            note_failure(self.sweep, cell, reason)
            self._steps[cell.name] = cell.config.steps
        if reason is not None:
            self._failed.add(cell.name)
        self._done += is_done
        self.look()

    def look(self, steps: Mapping[str, int] | None = None) -> bool:
        """Say how far it is, with the steps of some cells; whether it is to go on."""
        if self.watch is None or not self.going_on:
            return self.going_on
        if steps is None:
            runs = {name: cell.run for name, cell in self._under_way.items()}
            steps = {name: run.last_step for name, run in runs.items() if run is not None}
        self._steps.update(steps)
        report = SweepReport(
            step=sum(self._steps.values()),
            steps=sum(cell.config.steps for cell in self.left),
            n_done=self._done,
            n_failed=len(self._failed),
            n_cell=len(self.sweep.cells),
            under_way=tuple(self._under_way),
        )
        self.going_on = self.watch(report) is not False
        return self.going_on


def _train_in_children(standing: _Standing, places: Sequence[Place]) -> None:
    """Train the cells that are left in processes of their own, one in each place at a time."""
    n_thread = int(places[0].variables["OMP_NUM_THREADS"])
    with Children(places) as children:

        def submit(cell: Cell) -> Future:
            standing.begin(cell)
            return children.submit(partial(_begin, cell, n_thread))

        def going_on() -> bool:
            if not standing.look():
                children.stop()
            return standing.going_on

        for cell, future in as_done(submit, standing.left, len(places), going_on):
            standing.end(cell, future.result())


def _train_here(standing: _Standing, device: str) -> None:
    """Train the cells that are left in this process, one after another."""
    for cell in standing.left:
        if not standing.look():
            return
        standing.begin(cell)
        standing.end(cell, _train_cell(cell, device, standing))


def _begin(cell: Cell, n_thread: int | None = None) -> Run:
    """The run of a cell, a new one or the one to go on with.

    Its record names the threads of the process that is to train it, where that is another.
    """
    run = prepare_run(cell.config if cell.run is None else cell.run, cell.folder)
    if n_thread is not None:
        write_json(run.read(MACHINE) | {"torch_threads": n_thread}, run.path / MACHINE)
    return run


def _train_cell(cell: Cell, device: str, standing: _Standing) -> str | None:
    """Train a cell's run to its end; why it could not be, or None.

    What it has to say goes to its log, as that of a process of its own would.
    """
    try:
        run = _begin(cell)
    except Exception as error:
        return reason_of(error)
    shown = sys.stderr
    raised: list[Exception] = []

    def watch(report: Report) -> bool:
        with redirect_stderr(shown):
            try:
                return standing.look({cell.name: report.step})
            except Exception as error:  # of who watches: it is no failure of the run, which stops
                raised.append(error)
                return False

    reason = None
    with (run.path / LOG).open("a", encoding="utf-8") as log, redirect_stderr(log):
        try:
            train(run, watch=watch, device=device)
        except InputError as error:
            print(f"{COMPLAINT}{error}", file=log)
            reason = reason_of(error)
        except Exception as error:
            traceback.print_exc(file=log)
            reason = reason_of(error)
    if raised:
        raise raised[0]
    return reason
