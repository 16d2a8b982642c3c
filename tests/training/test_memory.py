"""What a run holds in memory before its first step is ids, however many molecules there are."""

from __future__ import annotations

import runpy
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from molnb.data.dataset import Corpus
from molnb.shards import Shards
from molnb.training.loop import prepare_run, training_steps

SIZES = (5000, 12_000)  # molecules: both above the pieces in which training rows are read
BYTES = 200  # that a molecule may add; ids and sizes take 24, the molecule itself 1,000 or more


@pytest.fixture(scope="module")
def benchmark() -> SimpleNamespace:
    """The names of `benchmarks/memory.py`."""
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "memory.py"
    return SimpleNamespace(**runpy.run_path(str(script)))


@pytest.fixture(scope="module")
def datasets(nci, benchmark, tmp_path_factory) -> list[Shards]:
    """The molecules of nci over and over: a small dataset and a large one."""
    folder = tmp_path_factory.mktemp("repeated")
    return [benchmark.repeat_shards(nci, n, folder / f"n{n}") for n in SIZES]


def peak(call: Callable[[], object]) -> int:
    """Bytes that Python and numpy hold at most during a call, beyond those held before."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "objective", [pytest.param("pretraining", marks=pytest.mark.slow), "labels"]
)
def test_memory_before_the_first_step_grows_by_ids_alone(
    nci, datasets, benchmark, tmp_path, objective
):
    def first_step(shards: Shards) -> None:
        config = benchmark.make_config(benchmark.OBJECTIVES[objective], shards.path)
        run = prepare_run(config, tmp_path / f"{shards.n}")
        with closing(training_steps(run, "cpu")) as steps:
            assert next(steps).step == 1
        assert run.baselines()

    first_step(nci)  # what is made once in a process is made here
    small, large = (peak(lambda shards=shards: first_step(shards)) for shards in datasets)
    assert small > 2**20  # what numpy holds is seen
    assert large - small < BYTES * (SIZES[1] - SIZES[0])


def test_reading_labels_of_two_molecules_takes_no_more_in_a_large_dataset(datasets):
    tasks = ["nci_charges", "nci_bond_orders", "nci_pair_orders"]
    ids = np.arange(2)
    peaks = []
    for shards in datasets:
        corpus = Corpus([shards])
        corpus.labels(ids, tasks)  # maps the arrays
        peaks.append(peak(lambda corpus=corpus: corpus.labels(ids, tasks)))
    assert peaks[1] - peaks[0] < SIZES[1] - SIZES[0]  # less than a byte a molecule


def test_repeated_shards_hold_the_same_molecules_and_labels(nci, datasets):
    few = Corpus([nci])
    many = Corpus([datasets[0]])
    assert many.n == SIZES[0] and datasets[0].n == SIZES[0]
    ids = np.arange(3, 9)
    tasks = ["nci_orbitals", "nci_charges"]
    batch = few.batch(ids, tasks)
    repeated = many.batch(ids + 7 * few.n, tasks)
    assert repeated.coords.equal(batch.coords) and repeated.bonds.equal(batch.bonds)
    for task in tasks:
        assert repeated.labels[task].values.equal(batch.labels[task].values)
    smiles = nci.table(["smiles"]).column(0).to_pylist()
    assert datasets[0].smiles() == [smiles[row % few.n] for row in range(many.n)]
