"""A launched training outlives who started it, is watched from anywhere, and ends when asked."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from test_loop import TWO_THREADS, result_digests
from tiny import small_run

from molnb.cli import main
from molnb.errors import InputError
from molnb.figures.live_curve import LiveCurve
from molnb.training.launched import LOG, follow, launch, reports_after
from molnb.training.loop import train
from molnb.training.ownership import is_owned, read_owner
from molnb.training.runs import start_run

LONG = {"steps": 100_000, "eval_every": 100_000, "checkpoint_every": 10, "log_every": 1}


@pytest.fixture
def two_threads(monkeypatch):
    """Children compute as the runs of this process do."""
    for name, value in TWO_THREADS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def long_run(nci, tmp_path):
    """A run that a process of its own trains until it is told to end, or the test does."""
    run = launch(small_run(nci, **LONG), tmp_path / "long")
    yield run
    run.stop()
    wait_for(lambda: run.state != "running")


def wait_for(condition, seconds: float = 120.0) -> None:
    since = time.time()
    while not condition():
        assert time.time() - since < seconds, "waited too long"
        time.sleep(0.05)


def test_a_run_outlives_the_kernel_that_launched_it(finished, nci, tmp_path, two_threads):
    folder = tmp_path / "r"
    start_run(small_run(nci), folder)
    code = f"from molnb import launch; launch({str(folder)!r}); print('begun', flush=True); input()"
    kernel = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert kernel.stdout.readline() == "begun\n"
    os.killpg(kernel.pid, signal.SIGKILL)  # as Jupyter ends a kernel and its children
    kernel.wait()
    seen = []
    run = asyncio.run(follow(folder, watch=lambda report: seen.append(report.step), every=0.05))
    assert run.state == "done"
    assert seen == list(range(1, 13))
    assert result_digests(run) == result_digests(finished)


def test_who_attaches_later_sees_the_whole_curve(finished):
    curve = LiveCurve()
    asyncio.run(follow(finished, watch=curve))
    ((_, steps, losses), *validation) = curve.curves()
    logged = finished.metrics("train")
    assert steps == [row["step"] for row in logged] and len(losses) == len(logged)
    assert {name for name, _, _ in validation} == {
        "validation, features hidden",
        "validation, features visible",
    }
    (last,) = reports_after(finished, 11)
    assert last.step == last.steps == 12 and last.loss == logged[-1]["loss"]


def test_stop_ends_a_run_cleanly_and_it_goes_on_to_the_same_bits(finished, nci, tmp_path):
    run = start_run(small_run(nci), tmp_path / "r")
    train(run, watch=lambda report: run.stop() if report.step == 5 else None)
    assert run.state == "stopped" and run.status()["step"] == 5
    train(run)
    assert run.state == "done" and not run.asked_to_stop
    assert result_digests(run) == result_digests(finished)


def test_a_watcher_that_stops_ends_the_training_elsewhere(long_run):
    assert long_run.state == "running"
    with pytest.raises(InputError, match="is being trained already"):
        launch(long_run)
    asyncio.run(follow(long_run, watch=lambda report: report.step < 3, every=0.05))
    assert long_run.state == "stopped" and 3 <= long_run.status()["step"] < 100_000
    assert long_run.load_model() is not None


def test_a_scheduler_that_sends_sigterm_gets_a_clean_end(long_run):
    wait_for(lambda: long_run.metrics("train"))
    os.kill(read_owner(long_run.path)["pid"], signal.SIGTERM)
    wait_for(lambda: long_run.state != "running")
    assert long_run.state == "stopped"
    assert "ending after this step" in (long_run.path / LOG).read_text()
    step = long_run.status()["step"]
    assert long_run.metrics("train")[-1]["step"] == step == long_run.status()["weights_step"]


def test_a_killed_training_is_told_from_one_that_ended(long_run):
    wait_for(lambda: long_run.metrics("train"))
    os.kill(read_owner(long_run.path)["pid"], signal.SIGKILL)
    with pytest.raises(InputError, match="ended without a word"):
        asyncio.run(follow(long_run, every=0.05))


def test_what_nobody_trains_is_not_watched(nci, tmp_path):
    run = start_run(small_run(nci), tmp_path / "r")
    with pytest.raises(InputError, match="nothing has trained .* yet: launch"):
        asyncio.run(follow(run))
    with pytest.raises(InputError, match="processes is 0: give 1 or more"):
        launch(run, processes=0)


def test_what_does_not_begin_says_why(nci, tmp_path):
    run = start_run(small_run(nci), tmp_path / "r")
    stored = json.loads((run.path / "config.json").read_text())
    stored["data"] = [str(tmp_path / "nowhere")]
    (run.path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="did not begin.*nowhere.*log.txt"):
        launch(run)
    assert not is_owned(run.path)


def test_a_failed_training_is_reported_with_what_it_said(tmp_path, nci):
    diverging = LONG | {"learning_rate": 1e30, "clip_norm": 1e30}
    run = launch(small_run(nci, **diverging), tmp_path / "r")
    with pytest.raises(InputError, match="training failed.*molnb train: the loss is"):
        asyncio.run(follow(run, every=0.05))


def test_the_command_line_watches_and_stops(finished, long_run, capsys):
    assert main(["runs", str(finished.path), "--watch"]) == 0
    assert capsys.readouterr().out.startswith("done; validation of the saved weights (step 12)")
    assert main(["runs", str(finished.path), "--stop"]) == 0
    assert "is done: nothing to stop" in capsys.readouterr().err
    assert not finished.asked_to_stop
    assert main(["runs", "--stop"]) == 2
    assert "--stop is of one run" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["runs", str(finished.path), "--stop", "--watch"])
    assert "not allowed with" in capsys.readouterr().err
    assert main(["runs", str(long_run.path), "--stop"]) == 0
    wait_for(lambda: long_run.state == "stopped")
