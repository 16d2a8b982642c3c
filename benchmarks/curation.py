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
import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from molnb.chemistry import conformer as chemistry
from molnb.chemistry import features
from molnb.chemistry import standardization as parents
from molnb.curation.chunks import Job, label_slice, read_slice
from molnb.curation.deduplication import merge
from molnb.curation.pipeline import curate, cut_slices
from molnb.recipes.registry import load_recipe
from molnb.recipes.sources import find_source

curation = importlib.import_module("molnb.curation.pipeline")
OURS = (parents, chemistry, features)


class Inside:
    """CPU seconds inside the outermost timed calls."""

    def __init__(self) -> None:
        self.seconds, self.depth, self.undo = 0.0, 0, []

    def timed(self, function: Callable) -> Callable:
        @functools.wraps(function, assigned=("__name__", "__doc__"))
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.depth:
                return function(*args, **kwargs)
            self.depth, start = 1, time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.process_time() - start
                self.depth = 0

        return call

    def watch(self, owner: Any, name: str) -> None:
        """Replace an attribute by its timed self."""
        plain = getattr(owner, name)
        with contextlib.suppress(
            AttributeError
        ):  # some attributes of RDKit's classes cannot be replaced
            setattr(owner, name, self.timed(plain))
            self.undo.append((owner, name, plain))

    def __enter__(self) -> Inside:
        from rdkit.ForceField import rdForceField
        from tblite.interface import Calculator, Result

        for library in {rdForceField} | {
            v
            for m in OURS
            for v in vars(m).values()
            if getattr(v, "__name__", "").startswith("rdkit")
        }:
            if isinstance(library, ModuleType):
                self._watch_all(library)
                for kind in {
                    v
                    for v in vars(library).values()
                    if isinstance(v, type) and not issubclass(v, int)
                }:
                    self._watch_all(kind)
        for kind, names in (
            (Calculator, ("__init__", "set", "add", "singlepoint")),
            (Result, ("get",)),
        ):
            for name in names:
                self.watch(kind, name)
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


def _forget_cached() -> None:
    """Cached methods of RDKit's objects were looked up before they were timed, or while they
    were.
    """
    for value in [value for module in OURS for value in vars(module).values()]:
        if hasattr(value, "cache_clear"):
            value.cache_clear()


def profile(n: int, recipe_name: str) -> None:
    """Print the share of a worker's CPU time inside RDKit and tblite, for the two passes that
    workers do.
    """
    recipe = load_recipe(recipe_name)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder), recipe)
        source = curation.take_snapshot(job, find_source(recipe, Path(folder)), n)
        read = _both_ways(job, read_slice, source["sampled"], 100)
        kept = merge(job)["n_kept"]
        label = _both_ways(job, label_slice, kept, 24)
    for name, (whole, inside), rows in (("read", read, n), ("label", label, kept)):
        print(
            f"{recipe_name} {name}: {1e3 * whole / rows:.1f} ms CPU a row, {inside / whole:.1%} inside RDKit and tblite"
        )
    print(
        f"{recipe_name} both: {(read[1] + label[1]) / (read[0] + label[0]):.1%} inside RDKit and tblite"
    )


def _both_ways(job: Job, work: Callable, n: int, least: int) -> tuple[float, float]:
    whole, inside = 0.0, 0.0
    work(job, cut_slices(n, least)[0], False)  # imports and tables are read once in a worker's life
    for piece in cut_slices(n, least):
        start = time.process_time()
        work(job, piece, True)
        whole += time.process_time() - start
        with Inside() as timed:
            work(job, piece, True)
        inside += timed.seconds
    return whole, inside


def ratio(n: int) -> None:
    """Print the time of two workers over the time of one."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for workers in (1, 2):
            with tempfile.TemporaryDirectory() as home:
                start = time.perf_counter()
                curate("nci", n=n, workers=workers, home=home, progress=False)
                seconds[workers].append(time.perf_counter() - start)
    one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
    print(
        f"nci n={n}: {one:.1f} s with 1 worker, {two:.1f} s with 2; ratio {two / one:.2f} (median of 3)"
    )


if __name__ == "__main__":
    n_row = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    profile(n_row, "nci")
    profile(n_row, "wehi")
    ratio(n_row)
