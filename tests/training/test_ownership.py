"""A run is trained by one process at a time, and a lock says by which."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from quick_processes import start_command, start_training
from tiny import small_run

from molnb.errors import InputError
from molnb.training.loop import fit, train, training_steps
from molnb.training.ownership import LOCK, is_owned, owned, read_owner
from molnb.training.runs import Run, start_run

HOLD = """
import sys, time
from pathlib import Path
from molnb.training.ownership import owned
with owned(Path(sys.argv[1])):
    print("owned", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that owns the folder, until it is killed."""
    pytest.importorskip("fcntl")
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"owned\n"
        yield process
        process.kill()


def test_a_folder_that_nobody_trained_is_free(tmp_path):
    assert read_owner(tmp_path) == {} and not is_owned(tmp_path)


def test_a_lock_names_its_process_and_ends_with_its_block(tmp_path):
    pytest.importorskip("fcntl")
    with owned(tmp_path):
        assert is_owned(tmp_path)
        assert read_owner(tmp_path) == {"pid": os.getpid(), "host": socket.gethostname()}
        with (
            pytest.raises(InputError, match=f"{tmp_path} is being trained by process"),
            owned(tmp_path),
        ):
            pass
    assert not is_owned(tmp_path)
    assert read_owner(tmp_path)["pid"] == os.getpid(), "who trained it last is still known"


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path, holder):
    assert is_owned(tmp_path)
    message = f"trained by process {holder.pid} on {socket.gethostname()}: wait for it or stop it"
    with pytest.raises(InputError, match=message), owned(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not is_owned(tmp_path)
    with owned(tmp_path):
        assert read_owner(tmp_path)["pid"] == os.getpid()


def test_the_word_of_another_machine_stands(tmp_path):
    """Its lock cannot always be seen; one who trains there anew may take the folder over."""
    (tmp_path / LOCK).write_text(json.dumps({"pid": 1, "host": "another.example"}))
    assert is_owned(tmp_path)
    with owned(tmp_path):
        assert read_owner(tmp_path)["host"] == socket.gethostname()
    assert not is_owned(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": 1', b"\xff\xfe\x00"])
def test_an_unreadable_lock_belongs_to_nobody_and_is_written_anew(tmp_path, content):
    (tmp_path / LOCK).write_bytes(content)
    assert read_owner(tmp_path) == {} and not is_owned(tmp_path)
    with owned(tmp_path):
        assert read_owner(tmp_path)["pid"] == os.getpid()


def test_a_process_that_left_no_word_is_told_as_unknown(tmp_path, holder):
    (tmp_path / LOCK).write_bytes(b"")
    message = r"trained by process \? on another machine"
    with pytest.raises(InputError, match=message), owned(tmp_path):
        pass


def test_a_look_at_the_lock_does_not_refuse_a_training_that_starts(tmp_path, monkeypatch):
    """`molnb runs` holds the lock for an instant, here until the first pause of the training."""
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / LOCK).open("a+") as look:
        fcntl.flock(look, fcntl.LOCK_EX)
        monkeypatch.setattr(time, "sleep", lambda seconds: fcntl.flock(look, fcntl.LOCK_UN))
        with owned(tmp_path):
            assert is_owned(tmp_path)


# -------------------------------------------------------------------------------------------- runs


def test_a_run_has_one_owner_and_a_second_training_is_refused(nci, tmp_path):
    run = start_run(small_run(nci), tmp_path / "r")
    steps = training_steps(run)
    next(steps)
    assert run.state == "running"
    with pytest.raises(InputError, match=f"is being trained by process {os.getpid()} on "):
        train(run)
    steps.close()
    assert run.state == "stopped"
    assert train(run).state == "done"


def wait_until_trained(run: Run, process: BaseProcess) -> None:
    while process.is_alive() and run.read("status.json").get("state") != "running":
        time.sleep(0.05)


def kill(process: BaseProcess) -> None:
    process.kill()
    process.join()


def test_a_killed_run_is_not_running_for_ever(nci, tmp_path):
    run = start_run(small_run(nci, steps=4000), tmp_path / "r")
    process = start_training(run.path)
    wait_until_trained(run, process)
    assert run.state == "running"
    with pytest.raises(InputError, match=f"trained by process {process.pid} on"):
        train(run)
    kill(process)
    assert run.state == "killed"


def test_a_run_that_another_process_finished_meanwhile_is_left_as_it_is(nci, tmp_path, monkeypatch):
    """It ends between this process's look at its state and its lock."""
    run = start_run(small_run(nci), tmp_path / "r")

    @contextlib.contextmanager
    def owned_after_another(folder: Path):
        run.write_status(state="done")
        with owned(folder):
            yield

    monkeypatch.setattr("molnb.training.loop.owned", owned_after_another)
    assert list(training_steps(run)) == []
    assert not any((run.path / "checkpoints").iterdir())


def steps_logged(run) -> list[int]:
    return [row["step"] for row in run.metrics("train")]


def test_of_two_cells_that_await_one_run_the_second_is_refused(nci, tmp_path):
    run = start_run(small_run(nci), tmp_path / "r")

    async def both():
        return await asyncio.gather(fit(run), fit(run), return_exceptions=True)

    first, refused = asyncio.run(both())
    assert first.state == "done" and isinstance(refused, InputError)
    assert f"is being trained by process {os.getpid()} on" in str(refused)
    assert steps_logged(run) == list(range(1, 13)), "each step once"


def test_a_configuration_given_twice_to_one_folder_is_trained_once(nci, tmp_path):
    config = small_run(nci)
    refusals = []

    def train_again(report):
        try:
            train(config, tmp_path / "r")
        except InputError as error:
            refusals.append(str(error))
        return report.step < 3

    run = train(config, tmp_path / "r", watch=train_again)
    assert len(refusals) == 3 and all("is being trained by" in text for text in refusals)
    assert steps_logged(run) == [1, 2, 3]
    assert steps_logged(train(run)) == list(range(1, 13))


def test_the_command_line_is_refused_a_run_that_a_program_trains(nci, tmp_path):
    run = start_run(small_run(nci), tmp_path / "r")
    steps = training_steps(run)
    next(steps)
    command = [sys.executable, "-m", "molnb", "train", str(run.path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"molnb train: {run.path} is being trained by process {os.getpid()} on" in done.stderr
    assert "Traceback" not in done.stderr
    steps.close()
    assert steps_logged(run) == [1]


def test_a_program_is_refused_a_run_that_the_command_line_trains(nci, tmp_path):
    run = start_run(small_run(nci, steps=4000), tmp_path / "r")
    process = start_command("train", run.path)
    wait_until_trained(run, process)
    for again in (lambda: train(run), lambda: asyncio.run(fit(run))):
        with pytest.raises(InputError, match=f"trained by process {process.pid} on"):
            again()
    kill(process)
    steps = steps_logged(run)
    assert steps == sorted(set(steps))


def test_a_folder_that_was_deleted_and_is_trained_anew_belongs_to_the_new_training(nci, tmp_path):
    """The first holds the lock of a file that is gone: it ends, and writes nothing into the new."""
    config = small_run(nci)
    old = training_steps(start_run(config, tmp_path / "r"))
    next(old)
    shutil.rmtree(tmp_path / "r")
    new = start_run(replace(config, seed=1, steps=4000), tmp_path / "r")
    process = start_command("train", new.path)
    wait_until_trained(new, process)
    message = f"no longer this training's: process {process.pid} on .* trains it now"
    with pytest.raises(InputError, match=message):
        list(old)
    assert new.state == "running"
    kill(process)
    assert new.config.seed == 1
    steps = steps_logged(new)
    assert steps == sorted(set(steps))


def test_a_training_whose_folder_was_deleted_says_so(nci, tmp_path):
    steps = training_steps(start_run(small_run(nci), tmp_path / "r"))
    next(steps)
    shutil.rmtree(tmp_path / "r")
    with pytest.raises(InputError, match="no longer this training's: it was deleted"):
        next(steps)
    assert not (tmp_path / "r").exists()
