"""Locks let one process in at a time and end with the process that holds them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from molnb.locks import take_lock, waiting_turn

HOLD = """
import sys, time
from pathlib import Path
from molnb.locks import waiting_turn
with waiting_turn(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(float(sys.argv[2]))
    Path(sys.argv[1]).with_name("left").touch()
"""


def holder(path: Path, seconds: float) -> subprocess.Popen:
    """A process that is inside the lock for so long."""
    command = [sys.executable, "-c", HOLD, str(path), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in\n"
    return process


def test_whoever_comes_second_waits_and_says_so(tmp_path, capsys):
    with holder(tmp_path / "lock", 1.0), waiting_turn(tmp_path / "lock"):
        assert (tmp_path / "left").exists(), "the first is out"
    assert capsys.readouterr().err == f"waiting for another process that writes to {tmp_path}\n"


def test_a_lock_ends_with_a_killed_process(tmp_path, capsys):
    process = holder(tmp_path / "lock", 60)
    with (tmp_path / "lock").open("a") as file:
        assert not take_lock(file)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with waiting_turn(tmp_path / "lock"):
        pass
    assert not capsys.readouterr().err


def test_without_a_place_for_the_lock_there_is_no_turn(tmp_path):
    with pytest.raises(OSError), waiting_turn(tmp_path / "missing" / "lock"):
        pass
