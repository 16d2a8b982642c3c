"""What a training cost: CPU time adds up over sessions, and a peak is one of the run."""

from __future__ import annotations

import time

import torch
from tiny import small_run

from molnb.training.accounts import Meter
from molnb.training.loop import train

CPU = torch.device("cpu")


def work(seconds: float) -> None:
    """Keep a core busy."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_cpu_time_counts_work_and_not_waiting():
    meter = Meter(CPU, {})
    time.sleep(0.3)
    waited = meter.read()["cpu_seconds"]
    work(0.3)
    worked = meter.read()["cpu_seconds"]
    assert waited < 0.2 and 0.28 < worked - waited < 0.6


def test_what_was_spent_before_is_on_top():
    meter = Meter(CPU, {"cpu_seconds": 100.0, "peak_mib": 1e6})
    work(0.1)
    spent = meter.read()
    assert 100 < spent["cpu_seconds"] < 105
    assert spent["peak_mib"] == 1e6, "the larger of both sessions"


def test_memory_that_is_held_counts_and_so_does_what_was_given_back():
    meter = Meter(CPU, {})
    before = meter.read()["peak_mib"]
    held = torch.ones(64 * 2**20, dtype=torch.uint8)
    del held
    assert 50 < meter.read()["peak_mib"] - before < 100


def test_a_run_says_what_it_cost_and_goes_on_counting(nci, tmp_path):
    run = train(small_run(nci), tmp_path / "run", watch=lambda report: report.step < 6)
    first = run.status()
    assert first["state"] == "stopped" and first["cpu_seconds"] > 0 and first["peak_mib"] > 50
    second = train(run).status()
    assert second["state"] == "done" and second["cpu_seconds"] > first["cpu_seconds"]
