"""What all tests share: checked shapes, a temporary home, skips for what a machine lacks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# The models here are tiny: a second thread gains nothing, and waits while other processes compute.
# Before torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest

# Before the first import of the package, so that its shapes are checked.
import shape_checker

shape_checker.install()

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty MOLNB_HOME for each test, so that none reads what another, or the user, made."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MOLNB_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for tests that build on the same shards (notebooks, embeddings)."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def nci(shared_home: Path):
    """A hundred rows of nci with all labels (`Shards`): real molecules for models, objectives
    and the loop.
    """
    from molnb.curation.pipeline import curate

    return curate("nci", n=100, workers=2, home=shared_home, progress=False)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the clone these tests stand in."""
    return Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
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
