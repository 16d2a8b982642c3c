"""No number of a step is so small that a processor crawls: neither in training nor afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import SMALL, small_run

from molnb.models.subnormals import SMALLEST_NORMAL, SubnormalCounter, count_subnormals
from molnb.objectives.supervised import Supervised
from molnb.training.loop import prepare_run, take_step, validate, validation_batches
from molnb.training.optimizer import TRACES_EVERY, clear_traces
from molnb.training.session import Session

EVERY_LEVEL = ("nci_dipole", "nci_charges", "nci_bond_orders", "nci_pair_orders")
# Gaussians far narrower than distances differ: most of a pair's densities are negligible.
NARROW = replace(SMALL, n_kernel=128)


def steps_of(session: Session, n_step: int) -> SubnormalCounter:
    """Subnormal numbers of some training steps and a validation, moments of weights included."""
    with SubnormalCounter() as counter:
        for _ in range(n_step):
            take_step(session)
        validate(session, validation_batches(session))
    for state in session.optimizer.state.values():
        counter.of_operation["moments"] += sum(map(count_subnormals, state.values()))
    return counter


@pytest.fixture
def alone():
    """One thread: an operation of another would not be counted."""
    n_core = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_core)


@pytest.mark.parametrize("learns", ["masked atoms", "labels", "labels from a trained encoder"])
def test_no_number_of_a_step_is_subnormal(learns, nci, finished, tmp_path, alone):
    changes = {"model": NARROW, "global_batch": 16, "learning_rate": 3e-3, "steps": 8}
    if learns != "masked atoms":
        changes["objective"] = Supervised(EVERY_LEVEL)
    if learns == "labels from a trained encoder":
        changes |= {"model": SMALL, "start_from": str(finished.path), "layer_decay": 0.5}
    session = Session(prepare_run(small_run(nci, **changes), tmp_path / "run"), "cpu")
    counter = steps_of(session, 6)
    assert counter.n_result > 1000
    assert not +counter.of_operation


def test_subnormal_numbers_are_counted_in_both_directions():
    x = torch.tensor([1.0, 1e-30], requires_grad=True)
    with SubnormalCounter() as counter:
        (x * 1e-10).sum().backward()
    assert counter.of_operation["mul.Tensor"] == 1
    with SubnormalCounter() as counter:  # 1e-50 is zero
        (x * 1e-20).mul(1e-20).sum().backward()
    assert counter.of_operation["mul.Tensor"] == 1 + 2, "a value, gradients of both"


def test_moments_of_rows_that_nothing_reads_any_more_become_zero():
    """Left alone, they would stay at the smallest subnormal numbers for ever."""
    table = torch.nn.Parameter(torch.ones(4, 3))
    optimizer = torch.optim.AdamW([table], lr=1e-3, betas=(0.9, 0.99), fused=True)
    smallest = []
    for step in range(1, 1500):
        table.grad = torch.zeros_like(table)
        table.grad[0] = 1e-3  # read at every step
        if step == 1:
            table.grad[1] = 1e-3  # read once
        optimizer.step()
        if step % TRACES_EVERY == 0:
            clear_traces(optimizer)
        moments = optimizer.state[table]["exp_avg"]
        smallest.append(float(moments[moments > 0].min()))
    assert min(smallest) > SMALLEST_NORMAL
    assert torch.equal(moments[1], torch.zeros(3)) and float(moments[0].min()) > 9e-4


def test_training_clears_traces_and_keeps_what_is_alive(nci, tmp_path):
    session = Session(prepare_run(small_run(nci, steps=2000), tmp_path / "run"), "cpu")
    take_step(session)
    session.step = TRACES_EVERY - 1
    moments = session.optimizer.state[session.model.encoder.tokens.weight]["exp_avg"]
    before = moments.clone()
    moments[77] = 1e-40
    take_step(session)
    assert not moments[77].any() and before.any() and moments.any()
