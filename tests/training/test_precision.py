"""What rounding does to a run, and that in float64 it does next to nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import SMALL_GRAPH, small_run

import molnb.training.session as session
from molnb.errors import InputError
from molnb.objectives.supervised import Supervised
from molnb.training.config import RunConfig
from molnb.training.loop import train
from molnb.training.runs import Run
from molnb.training.session import Session

HANDS = 5


def run_of(nci, family: str, **changes) -> RunConfig:
    """A run whose steps are of five groups of molecules."""
    if family == "two tracks":
        return small_run(nci, **{"hands": HANDS, "steps": 6} | changes)
    pytest.importorskip("torch_geometric")
    tasks = ("nci_orbitals", "nci_charges", "nci_bond_orders")
    settings = {"hands": HANDS, "steps": 6, "model": SMALL_GRAPH, "objective": Supervised(tasks)}
    return small_run(nci, **settings | changes)


def difference(run: Run, other: Run) -> float:
    """The largest difference between losses, in parts of a loss."""
    ours, theirs = (np.array([row["loss"] for row in r.metrics()]) for r in (run, other))
    return float(np.abs(ours / theirs - 1).max())


@pytest.mark.parametrize("family", ["two tracks", "graph"])
def test_in_float64_the_order_of_sums_hardly_matters(nci, tmp_path, family, monkeypatch):
    """One number anywhere in float32 would make 1e-8 of it, and Adam more."""
    configs = {p: run_of(nci, family, precision=p) for p in ("float64", "float32")}
    forwards = {p: train(config, tmp_path / p) for p, config in configs.items()}
    in_order = Session.masked_batches
    monkeypatch.setattr(Session, "masked_batches", lambda *a, **k: in_order(*a, **k)[::-1])
    backwards = {p: train(config, tmp_path / f"{p}-back") for p, config in configs.items()}
    off = {p: difference(forwards[p], backwards[p]) for p in configs}
    assert off["float64"] < 1e-11 < 1e-8 < off["float32"]
    # and float32 is not far from the truth
    assert difference(forwards["float64"], forwards["float32"]) < 1e-4


@pytest.mark.parametrize("family", ["two tracks", "graph"])
def test_in_float64_two_threads_do_what_one_does(nci, tmp_path, family, monkeypatch):
    """Gradients of threads are kept as they come: columns of a matrix among them."""
    n_thread = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        config = run_of(nci, family, precision="float64", hands=2)
        two = train(config, tmp_path / "two")
        monkeypatch.setattr(session, "N_SIDE", 1)
        one = train(config, tmp_path / "one")
    finally:
        torch.set_num_threads(n_thread)
    assert difference(two, one) < 1e-12


def test_weights_of_a_run_in_float64_are_kept_and_read_as_such(nci, tmp_path):
    run = train(run_of(nci, "two tracks", precision="float64", steps=2), tmp_path / "r")
    stored = load_file(run.path / "weights.safetensors")
    assert {str(t.dtype) for t in stored.values()} == {"torch.float64", "torch.bool"}
    assert run.load_model().encoder.tokens.weight.dtype.itemsize == 4


def test_an_unknown_precision_is_refused(nci):
    with pytest.raises(InputError, match="choose one of auto, float32, bfloat16, float64"):
        small_run(nci, precision="float16")
