"""What a training cost: counts are exact and go on, clocks add up over sessions and processes."""

from __future__ import annotations

import ctypes
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from made_shards import make_shards
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import SMALL_GRAPH, TINY, small_run

from molnb import accounts_table
from molnb.models.products import Cost
from molnb.models.unimol2.encoder import make_two_track
from molnb.objectives.supervised import Supervised
from molnb.training.accounts import Meter, StepAccounts
from molnb.training.config import RunConfig
from molnb.training.energy import EnergyMeter, nvml_counter, processor_counter
from molnb.training.loop import train
from molnb.training.ranks import Ranks
from molnb.training.runs import Run
from molnb.training.session import Session
from molnb.training.speed import matrix_rate

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("data") / "trees", n=60)


def tiny_run(trees, **changes) -> RunConfig:
    return small_run(trees, **{"model": TINY, "split": "random"} | changes)


def stopped_and_gone_on_with(config: RunConfig, folder: Path) -> Run:
    """A run that stopped after six steps, and was then trained to its end."""
    run = train(config, folder, watch=lambda report: report.step < 6)
    assert run.status()["state"] == "stopped"
    return train(run)


# --------------------------------------------------------------------------------------- measured


def work(seconds: float) -> None:
    """Keep a core busy."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_cpu_time_counts_work_and_not_waiting():
    meter = Meter(CPU)
    time.sleep(0.3)
    waited = meter.read()["cpu_seconds"]
    work(0.3)
    worked = meter.read()["cpu_seconds"]
    assert waited < 0.2 and 0.28 < worked - waited < 0.6


def test_memory_that_is_held_counts_and_so_does_what_was_given_back():
    meter = Meter(CPU)
    before = meter.read()["peak_mib"]
    held = torch.ones(64 * 2**20, dtype=torch.uint8)
    del held
    assert 50 < meter.read()["peak_mib"] - before < 100


def test_a_run_says_what_it_cost_and_goes_on_counting(trees, tmp_path):
    run = train(tiny_run(trees), tmp_path / "run", watch=lambda report: report.step < 6)
    first = run.status()
    assert first["state"] == "stopped" and first["cpu_seconds"] > 0 and first["peak_mib"] > 50
    assert first["processes"] == 1 and 0 < first["rate_share"] < 1
    assert first["device_hours"] == pytest.approx(first["seconds"] / 3600, abs=1e-5)
    run.write_status(peak_mib=1e6)
    second = train(run).status()
    assert second["state"] == "done" and second["cpu_seconds"] > first["cpu_seconds"]
    assert second["seconds"] > first["seconds"] and second["flops"] > first["flops"]
    assert second["device_hours"] == pytest.approx(second["seconds"] / 3600, abs=1e-5)
    assert second["peak_mib"] == 1e6, "the larger of both sessions"


def test_the_rate_of_a_device_is_measured_once_and_draws_nothing():
    state = torch.get_rng_state()
    rate = matrix_rate(CPU, torch.float32)
    assert rate > 1e8 and matrix_rate(torch.device("cpu"), torch.float32) == rate
    assert torch.equal(torch.get_rng_state(), state)


# ---------------------------------------------------------------------------------------- counted


@pytest.mark.parametrize("family", ["two tracks", "graph"])
def test_what_is_logged_is_the_sum_over_the_steps_so_far(trees, tmp_path, family):
    changes = {"max_atoms": 8, "hands": 2}
    if family == "graph":
        pytest.importorskip("torch_geometric")
        objective = Supervised(("of_atom", "of_molecule"))
        changes = {"model": SMALL_GRAPH, "objective": objective}
    config = tiny_run(trees, log_every=3, **changes)
    run = stopped_and_gone_on_with(config, tmp_path / "run")
    rows = run.metrics("train")
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    assert [row["molecules"] for row in rows] == [24, 48, 72, 96]
    session = Session(run, "cpu")
    expected = 0
    for step in range(12):
        ids = session.sample(step)
        groups = session.masked_batches(
            ids, run.config.seed, step, None, config.max_atoms, config.hands, draw=True
        )
        computed = session.accounts.take_from(session.accounts.count(groups))
        expected += computed["flops"]
        if (step + 1) % 3 == 0:
            assert rows[step // 3]["flops"] == expected
    assert run.status()["flops"] == expected and run.status()["molecules"] == 96


def test_a_run_that_was_interrupted_logs_what_one_logs_that_was_not(trees, tmp_path):
    whole = train(tiny_run(trees), tmp_path / "whole")
    parts = stopped_and_gone_on_with(tiny_run(trees), tmp_path / "parts")
    logs = [(run.path / "metrics.jsonl").read_bytes() for run in (whole, parts)]
    assert logs[0] == logs[1]
    for name in ("flops", "padding_flops", "bytes", "padding_bytes", "molecules"):
        assert whole.status()[name] == parts.status()[name] > 0


def test_a_checkpoint_without_counts_is_gone_on_with_and_says_that_they_are_unknown(
    trees, tmp_path
):
    run = train(tiny_run(trees), tmp_path / "run", watch=lambda report: report.step < 6)
    for file in (run.path / "checkpoints").iterdir():
        with safe_open(file, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
            step = opened.metadata()["step"]
        save_file(tensors, file, {"step": step})
    old = {"state", "step", "steps", "device", "weights_step", "seconds", "cpu_seconds", "peak_mib"}
    status = {name: value for name, value in run.read("status.json").items() if name in old}
    (run.path / "status.json").write_text(json.dumps(status))
    (blank,) = accounts_table([run]).to_dict("records")
    unknown = ["flops", "padding_share", "rate_share", "device_hours", "devices"]
    assert all(blank[name] is None for name in unknown) and blank["N"] > 0

    rows = train(run).metrics("train")
    assert rows[-1]["molecules"] == 96 and rows[-1]["flops"] is None
    status = run.status()
    assert status["flops"] is None and status["device_hours"] is None
    assert status["molecules"] == 96 and status["seconds"] > 0


def test_numbers_larger_than_floats_hold_are_added_exactly():
    accounts = StepAccounts.__new__(StepAccounts)
    accounts._count = lambda masked: Cost(flops=2**60 + 1, bytes=3)
    accounts.totals = {"molecules": 0, "flops": 5, "padding_flops": None}

    class Masked:
        class batch:
            n_mol = 4

    counts = {"token": 2.0} | accounts.count([Masked, Masked])
    counts = Ranks().add({name: 2 * value for name, value in counts.items()})  # as by two processes
    computed = accounts.take_from(counts)
    assert counts == {"token": 4.0}, "objectives see their own counts alone"
    assert computed["flops"] == 4 * (2**60 + 1) and computed["molecules"] == 16
    accounts.add(computed)
    assert accounts.totals == {
        "molecules": 16,
        "flops": 4 * (2**60 + 1) + 5,
        "padding_flops": None,
    }


# ----------------------------------------------------------------------------------------- energy


def make_zone(folder: Path, zone: str, name: str, microjoules: int, largest: int = 1000) -> Path:
    """A zone of RAPL as Linux shows it."""
    path = folder / zone
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text(f"{largest}\n")
    return path / "energy_uj"


def test_energy_of_processors_is_summed_and_begins_anew_where_a_counter_does(tmp_path):
    first = make_zone(tmp_path, "intel-rapl:0", "package-0", 100)
    second = make_zone(tmp_path, "intel-rapl:1", "package-1", 900)
    part = make_zone(tmp_path, "intel-rapl:0:0", "core", 0)
    whole = make_zone(tmp_path, "intel-rapl:2", "psys", 0)
    joules = processor_counter(tmp_path)
    assert joules() == 0
    for file, microjoules in ((first, 300), (second, 50), (part, 700), (whole, 700)):
        file.write_text(str(microjoules))
    assert joules() == pytest.approx((200 + 150) / 1e6)
    first.write_text("400")
    assert joules() == pytest.approx((300 + 150) / 1e6)
    first.unlink()
    assert math.isnan(joules())
    assert math.isnan(processor_counter(tmp_path / "nowhere")())


class FakeNvml:
    """NVIDIA's library with one GPU."""

    def __init__(self, uuid: bytes, failing: bool = False):
        self.uuid = uuid
        self.failing = failing
        self.millijoules = 5_000

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle) -> int:  # noqa: N802
        handle._obj.value = 7
        return int(uuid != self.uuid)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: ctypes.c_void_p, total) -> int:  # noqa: N802
        assert handle.value == 7
        total._obj.value = self.millijoules
        return 3 if self.failing else 0


def test_energy_of_a_gpu_is_that_of_the_one_with_its_identity():
    library = FakeNvml(b"GPU-one")
    joules = nvml_counter(library, "GPU-one")
    library.millijoules += 2_500
    assert joules() == 2.5
    assert math.isnan(nvml_counter(library, "GPU-other")())
    assert math.isnan(nvml_counter(FakeNvml(b"GPU-one", failing=True), "GPU-one")())


def test_energy_is_told_in_watt_hours():
    assert EnergyMeter(CPU, lambda: 7200.0).read() == 2.0


# ------------------------------------------------------------------------------------------ table


def test_a_table_has_a_row_a_run_with_what_it_cost(trees, tmp_path):
    run = train(tiny_run(trees), tmp_path / "run")
    (row,) = accounts_table([run.path]).to_dict("records")
    status = run.status()
    encoder, _ = make_two_track(TINY)
    assert row["run"] == "run" and row["family"] == "unimol2"
    assert row["N"] == encoder.count_parameters().n < row["parameters"]
    assert row["step"] == 12 and row["molecules"] == 96 and row["devices"] == 1
    assert row["unique_molecules"] == 24, "all that there are to learn from"
    assert row["flops"] == status["flops"] and row["rate_share"] == status["rate_share"]
    all_flops = status["flops"] + status["padding_flops"]
    assert row["padding_share"] == pytest.approx(status["padding_flops"] / all_flops)
    assert row["device_hours"] == pytest.approx(row["hours"], abs=1e-5)
    assert row["val_loss"] == run.saved_scores()["loss"]
    assert np.isfinite([row["peak_mib"], row["hours"]]).all() and row["device"]
