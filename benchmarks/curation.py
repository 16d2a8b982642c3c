"""How curation spends its time: the share inside RDKit and tblite, and what a second worker brings.

    python benchmarks/curation.py [N]

Profile: the work of a worker is done here, once as it is (its CPU time is the whole) and once with
every call into RDKit and tblite timed (their sum is the share), in alternation slice by slice.
Ratio: whole curations of N rows of nci by one and by two workers, three times each, in alternation;
medians. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import contextlib
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from molnb.chemistry import conformer, features, standardization
from molnb.curation.chunks import Job, label_slice, read_slice
from molnb.curation.deduplication import merge
from molnb.curation.passes import cut_slices, take_snapshot
from molnb.curation.pipeline import curate
from molnb.recipes.registry import load_recipe
from molnb.recipes.sources import find_source

MODULES = (standardization, conformer, features)


class Inside:
    """CPU seconds inside the outermost timed calls."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.depth = 0
        self.undo: list[tuple[Any, str, Any]] = []

    def timed(self, function: Callable) -> Callable:
        @functools.wraps(function, assigned=("__name__", "__doc__"))
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.depth:
                return function(*args, **kwargs)
            self.depth = 1
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.process_time() - start
                self.depth = 0

        return call

    def watch(self, owner: Any, name: str) -> None:
        """Replace an attribute by its timed self."""
        plain = getattr(owner, name)
        # Some attributes of RDKit's classes cannot be replaced.
        with contextlib.suppress(AttributeError):
            setattr(owner, name, self.timed(plain))
            self.undo.append((owner, name, plain))

    def __enter__(self) -> Inside:
        from tblite.interface import Calculator, Result

        for library in _rdkit_modules():
            self._watch_all(library)
            classes = {value for value in vars(library).values() if isinstance(value, type)}
            for kind in classes:
                if not issubclass(kind, int):  # enumerations
                    self._watch_all(kind)
        for name in ("__init__", "set", "add", "singlepoint"):
            self.watch(Calculator, name)
        self.watch(Result, "get")
        _forget_cached()
        return self

    def _watch_all(self, owner: Any) -> None:
        for name, value in list(vars(owner).items()):
            if callable(value) and not isinstance(value, type | staticmethod) and name[0] != "_":
                self.watch(owner, name)

    def __exit__(self, *_: Any) -> None:
        for owner, name, value in reversed(self.undo):
            setattr(owner, name, value)
        _forget_cached()


def _rdkit_modules() -> set[ModuleType]:
    from rdkit.ForceField import rdForceField

    used = {value for module in MODULES for value in vars(module).values() if _is_rdkit(value)}
    return {rdForceField} | used


def _is_rdkit(value: Any) -> bool:
    return isinstance(value, ModuleType) and value.__name__.startswith("rdkit")


def _forget_cached() -> None:
    """Cached methods of RDKit's objects were looked up before, or while, they were timed."""
    for value in [value for module in MODULES for value in vars(module).values()]:
        if hasattr(value, "cache_clear"):
            value.cache_clear()


def profile(n: int, recipe_name: str) -> None:
    """Print the share of workers' CPU time inside RDKit and tblite, for the passes they do."""
    recipe = load_recipe(recipe_name)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder), recipe)
        source = take_snapshot(job, find_source(recipe, Path(folder)), n)
        read = _both_ways(job, read_slice, source["sampled"], 100)
        n_kept = merge(job)["n_kept"]
        label = _both_ways(job, label_slice, n_kept, 24)
    for name, (seconds, inside), n_row in (("read", read, n), ("label", label, n_kept)):
        print(
            f"{recipe_name} {name}: {1e3 * seconds / n_row:.1f} ms CPU a row, "
            f"{inside / seconds:.1%} inside RDKit and tblite"
        )
    share = (read[1] + label[1]) / (read[0] + label[0])
    print(f"{recipe_name} both: {share:.1%} inside RDKit and tblite")


def _both_ways(job: Job, work: Callable, n: int, least: int) -> tuple[float, float]:
    """CPU seconds of a pass, and those inside RDKit and tblite."""
    seconds = 0.0
    inside = 0.0
    work(job, cut_slices(n, least)[0], False)  # imports and tables are read once in a worker's life
    for piece in cut_slices(n, least):
        start = time.process_time()
        work(job, piece, True)
        seconds += time.process_time() - start
        with Inside() as timed:
            work(job, piece, True)
        inside += timed.seconds
    return seconds, inside


def ratio(n: int) -> None:
    """Print the time of two workers over the time of one."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for workers in (1, 2):
            with tempfile.TemporaryDirectory() as home:
                start = time.perf_counter()
                curate("nci", n=n, workers=workers, home=home, progress=False)
                seconds[workers].append(time.perf_counter() - start)
    by_one = statistics.median(seconds[1])
    by_two = statistics.median(seconds[2])
    print(
        f"nci n={n}: {by_one:.1f} s with 1 worker, {by_two:.1f} s with 2; "
        f"ratio {by_two / by_one:.2f} (median of 3)"
    )


if __name__ == "__main__":
    n_row = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    profile(n_row, "nci")
    profile(n_row, "wehi")
    ratio(n_row)
