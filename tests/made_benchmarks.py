"""Benchmarks and methods made up for tests: nothing but values, groups and known errors."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from molnb.evaluation.benchmark import BenchmarkTask
from molnb.evaluation.comparison import Comparison, Fitted, compare
from molnb.evaluation.folds import make_folds


def made_benchmark(values, groups=None) -> BenchmarkTask:
    """A benchmark of nothing but values and groups."""
    values = np.asarray(values, float)
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    ids = np.arange(len(values)) * 3
    smiles = tuple("C" for _ in values)
    shards = SimpleNamespace(path="data/made-0")
    return BenchmarkTask(shards, "t", "act", "log", ids, smiles, values, groups)


def made_shards(values, kind="regression", labels=1, missing=None, flags=None):
    """What `load_benchmark` asks of shards, for molecules without relatives."""
    values = np.asarray(values, float)
    n = len(values)
    label = {"name": "act", "unit": "log", "missing": missing or {}}
    task = {"level": "molecule", "kind": kind, "labels": [label] * labels}
    columns = {
        "scaffold": [""] * n,
        "inchikey14": [f"k{i}" for i in range(n)],
        "tautomer_key": [f"t{i}" for i in range(n)],
    }
    table = pa.table(columns | (flags or {}))
    return SimpleNamespace(
        path="data/x",
        n=n,
        manifest={"tasks": {"t": task}},
        array=lambda name: np.arange(n) if name == "t.index" else values[:, None],
        columns=table.column_names,
        table=table.select,
        smiles=lambda: ["C" * (i + 1) for i in range(n)],
    )


def off_by(test, train=0.0, learns=None):
    """A method whose answers are wrong by `test` on test rows and by `train` on training rows.

    `learns` says row by row whether it learns from a training row; by default it does.
    """

    def fit(benchmark, fold, number):
        training = benchmark.values[fold.train] + train
        if learns is not None:
            training[~learns[fold.train]] = np.nan
        return Fitted(training, benchmark.values[fold.test] + test * (1 + 0.01 * number))

    return fit


def compared(benchmark, methods, networks=None) -> Comparison:
    """The methods and networks on five folds of the benchmark."""
    folds = make_folds(benchmark.groups)
    return compare(benchmark, folds, methods, networks, progress=False)
