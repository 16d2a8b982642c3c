"""Labels of the size and sparsity of LargeMix are learnt in memory that grows by ids alone."""

from __future__ import annotations

import re
import sys
import tracemalloc
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from quick_processes import run_script
from tiny import TINY

from molnb.data.dataset import Corpus
from molnb.data.verification import verify_shards
from molnb.rng import hash_sample
from molnb.shards import Shards
from molnb.training.loop import prepare_run, say_notes, take_step
from molnb.training.session import Session

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "label_matrix.py"
SIZES = (20_000, 200_000)  # molecules: both have more of each kind than are read together
# Bytes that a molecule may add before the first step. Its labels take 290 on disk, and a row of all
# 3,309 as float32 13,236.
BYTES = 100
SETTINGS = Namespace(steps=2, batch=256, validation=64)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> Namespace:
    """The functions of `benchmarks/label_matrix.py`, which imports the script beside it."""
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import label_matrix
    finally:
        sys.path.remove(str(SCRIPT.parent))
    return label_matrix


@pytest.fixture(scope="module")
def datasets(benchmark, tmp_path_factory) -> list[list[Shards]]:
    """The four datasets, smaller and larger."""
    folder = tmp_path_factory.mktemp("matrix")
    return [benchmark.make_datasets(n, folder / str(n)) for n in SIZES]


def test_the_made_labels_are_as_many_and_as_sparse_as_those_of_largemix(benchmark, datasets):
    by_name = {shards.name: shards for shards in datasets[1]}
    assert {name: len(shards.tasks[name]["labels"]) for name, shards in by_name.items()} == {
        "pcqm": 25,
        "pcba": 1328,
        "l1000_vcap": 978,
        "l1000_mcf7": 978,
    }
    shares = {}
    for name, shards in by_name.items():
        n_cell = shards.n * len(shards.tasks[name]["labels"])
        shares[name] = benchmark.known_cells(shards) / n_cell
        assert (
            sum(map(len, (Corpus([shards]).ids(p) for p in ("train", "val", "test")))) == shards.n
        )
    assert shares["pcqm"] == pytest.approx(0.9, abs=0.01)
    assert shares["pcba"] == pytest.approx(0.108, abs=0.002)
    assert shares["l1000_vcap"] == shares["l1000_mcf7"] == 1
    n_byte = sum(map(benchmark.label_bytes, datasets[1]))
    assert n_byte < 300 * sum(shards.n for shards in datasets[1])


def test_made_data_are_what_their_manifests_say(datasets):
    assert [verify_shards(shards).differences for shards in datasets[0]] == [()] * 4


def test_memory_before_the_first_step_grows_by_ids_alone(benchmark, datasets, tmp_path):
    def first_step(number: int, name: str) -> None:
        paths = [shards.path for shards in datasets[number]]
        config = replace(benchmark.make_config("labels", paths, SETTINGS), model=TINY)
        session = Session(prepare_run(config, tmp_path / name), "cpu")
        say_notes(session)
        session.corpus.batch(hash_sample(session.train_ids, 64), session.objective.tasks)
        with session.team:
            take_step(session)

    def peak(number: int, name: str) -> int:
        tracemalloc.start()
        try:
            first_step(number, name)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    first_step(0, "once")  # what is made once in a process is made here
    peaks = [peak(0, "small"), peak(1, "large")]
    assert peaks[0] > 2**20  # what numpy holds is seen
    assert peaks[1] - peaks[0] < BYTES * (SIZES[1] - SIZES[0])


def test_labels_of_a_batch_cost_no_more_in_a_large_dataset(datasets):
    tasks = ["pcqm", "pcba", "l1000_vcap", "l1000_mcf7"]
    peaks = []
    for number in (0, 1):
        corpus = Corpus(datasets[number])
        ids = np.linspace(0, corpus.n - 1, 256).astype(np.int64)
        corpus.labels(ids, tasks)  # maps the arrays
        tracemalloc.start()
        corpus.labels(ids, tasks)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < SIZES[1] - SIZES[0]  # less than a byte a molecule


def measured(n: int, *options: str) -> str:
    """What the benchmark prints of training on the labels of n molecules."""
    process = run_script(SCRIPT, "--molecules", n, "--objectives", "labels", *options)
    assert process.returncode == 0, process.stderr
    return process.stdout


pytest_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads /proc, as on Linux"
)


@pytest_proc
@pytest.mark.slow
def test_the_benchmark_tells_bytes_seconds_and_memory(tmp_path):
    """Data that are kept are used again."""
    pytest.importorskip("torch_geometric")
    keep = tmp_path / "kept"
    options = ("--steps", "3", "--batch", "64", "--validation", "32", "--keep", str(keep))
    printed = measured(600, *options)
    assert "made in" in printed and "all labels:" in printed
    assert re.search(r"labels +first step after [\d.]+ s, then [\d.]+ s each", printed)
    assert re.search(r"\d+ MiB at most \(in \w+.*\); last loss \d", printed)
    assert sorted(path.name for path in keep.iterdir()) == [
        "l1000_mcf7",
        "l1000_vcap",
        "pcba",
        "pcqm",
    ]


@pytest_proc
@pytest.mark.slow
def test_200_000_molecules_with_3309_labels_are_learnt_in_800_mib():
    """It takes 590; a dense table of their labels alone would take 2.6 GB."""
    pytest.importorskip("torch_geometric")
    printed = measured(200_000)
    assert int(re.search(r"(\d+) MiB at most", printed)[1]) < 800
