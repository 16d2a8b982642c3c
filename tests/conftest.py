"""What all tests share: checked shapes, a temporary home, skips for what a machine lacks."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

# The models here are tiny: a second thread gains nothing, and waits while other processes compute.
# Before torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest

# No test loses its power, and thousands of small files need not be on the disk before it goes on.
os.fsync = lambda descriptor: None

# Before the first import of the package, so that its shapes are checked.
import shape_checker

shape_checker.install()

if TYPE_CHECKING:
    from molnb.curation.smiles_corpus import Molecules
    from molnb.data.dataset import Corpus
    from molnb.evaluation.benchmark import BenchmarkTask
    from molnb.evaluation.folds import Fold
    from molnb.notebooks.pages import NotebookResult
    from molnb.shards import Shards
    from molnb.training.runs import Run

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Names of folders, one after another; pytest's own would list thousands for each."""
    above = tmp_path_factory.mktemp("homes")
    return (above / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def home(homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty MOLNB_HOME for each test, so that none reads what another, or the user, made."""
    folder = next(homes)
    folder.mkdir()
    monkeypatch.setenv("MOLNB_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for tests that build on the same shards (notebooks, embeddings)."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session", autouse=True)
def remembered_conformers() -> Iterator[None]:
    """Curation within this process makes the conformer of a molecule once: tests use few molecules.

    That it is the same every time is shown where conformers are made.
    """
    if not CURATES:
        yield
        return
    from unittest.mock import patch

    from molnb.curation import geometries

    with patch.object(geometries, "make_conformer", cache(geometries.make_conformer)):
        yield


@pytest.fixture(scope="session")
def untouched_nci(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a hundred rows of nci with all labels as curation left it: copy it.

    Tests run in several processes; the first that asks curates for all of them.
    """
    from molnb.curation.pipeline import curate

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of all processes
    with locked(folder / "nci.lock"):
        curated = curate("nci", n=100, workers=2, home=folder / "nci", progress=False)
    return curated.path


@pytest.fixture(scope="session")
def nci(shared_home: Path, untouched_nci: Path) -> Shards:
    """The same for models, objectives and the loop, which may keep encodings there."""
    from molnb.shards import load_shards

    path = shared_home / "data" / untouched_nci.name
    if not path.exists():
        shutil.copytree(untouched_nci, path)
    return load_shards(path)


@pytest.fixture(scope="session")
def sample(shared_home: Path) -> Molecules:
    """Three hundred rows of nci, without conformers."""
    from molnb.curation.smiles_corpus import load_molecules

    return load_molecules("nci", n=300, workers=2, home=shared_home, progress=False)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Let one process in at a time; all at once where there are no locks (Windows)."""
    with file.open("w") as lock:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def corpus(nci: Shards) -> Corpus:
    """The molecules of nci as a run reads them."""
    from molnb.data.dataset import Corpus

    return Corpus([nci])


@pytest.fixture(scope="session")
def gaps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shards]:
    """Different tiny datasets: gaps of alkanes in eV, and of alcohols in eV, in meV and by PM6."""
    from made_data import ALCOHOLS, ALKANES, make_gaps

    folder = tmp_path_factory.mktemp("gaps")
    volts = [float(n) for n in range(12)]
    millivolts = [1000 * gap for gap in volts]
    return {
        "alkanes": make_gaps(folder, "alkanes", ALKANES, volts),
        "alcohols": make_gaps(folder, "alcohols", ALCOHOLS, millivolts, unit="meV"),
        "in_volts": make_gaps(folder, "in_volts", ALCOHOLS, volts),
        "by_pm6": make_gaps(folder, "by_pm6", ALCOHOLS, volts, theory="PM6"),
    }


@pytest.fixture(scope="session")
def finished(nci: Shards, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of `small_run(nci)` that has taken its twelve steps; to be read, never changed."""
    from tiny import small_run

    from molnb.training.loop import train

    return train(small_run(nci), tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="session")
def label_run(nci: Shards, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that has learnt labels of every level, a little; to be read, never changed."""
    from tiny import small_run

    from molnb.objectives.supervised import Supervised
    from molnb.training.loop import train

    tasks = ("nci_orbitals", "nci_charges", "nci_bond_orders", "nci_pair_orders")
    settings = {"steps": 20, "global_batch": 16, "learning_rate": 3e-3, "n_val": 4}
    config = small_run(nci, objective=Supervised(tasks), **settings)
    return train(config, tmp_path_factory.mktemp("labels") / "run")


@pytest.fixture(scope="session")
def run_lesson(shared_home: Path) -> Callable[[Path], NotebookResult]:
    """What runs a lesson at its smallest size, once for all who look at its executed copy."""
    from quick_kernels import quick_kernels

    from molnb.notebooks.execution import run_notebook

    @cache
    def run(path: Path) -> NotebookResult:
        with quick_kernels():
            copy = shared_home / "executed" / path.name
            return run_notebook(path, copy, {"size": "test"}, home=shared_home)

    return run


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the clone these tests stand in."""
    return Path(__file__).resolve().parent.parent


CURATES = importlib.util.find_spec("rdkit") is not None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """On a machine that only trains, only files with tests for a GPU: the others need RDKit."""
    if CURATES or collection_path.is_dir() or not collection_path.name.startswith("test_"):
        return None
    return "on_devices" not in collection_path.read_text(encoding="utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores: many tests wait for what another process does."""
    from molnb.processes import count_cores

    return count_cores() + 1


# Files whose tests take many seconds each. They come first: workers share short tests evenly, and
# none should begin a long one while the others have nothing left to do.
LONG = ["test_browser.py", "test_lessons.py", "test_gpu_benchmark.py", "test_wheel.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)
    marked = {
        mark: [item for item in items if item.get_closest_marker(mark)] for mark in ("gpu", "ui")
    }
    if marked["gpu"] and not _cuda():
        _skip(marked["gpu"], "needs a CUDA device")
    if marked["ui"] and CHROMIUM is None:
        _skip(marked["ui"], "needs Chromium on the PATH")


def _cuda() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return False
    import torch

    return torch.cuda.is_available()


def _skip(items: list[pytest.Item], reason: str) -> None:
    for item in items:
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def benchmark(nci: Shards) -> BenchmarkTask:
    """The dipoles of the curated sample of nci, for comparisons of methods."""
    from molnb.evaluation.benchmark import load_benchmark

    return load_benchmark(nci, "nci_dipole")


@pytest.fixture(scope="module")
def fold(benchmark: BenchmarkTask) -> Fold:
    """The first of five folds by scaffold."""
    from molnb.evaluation.folds import make_folds

    return make_folds(benchmark.groups, 5)[0]
