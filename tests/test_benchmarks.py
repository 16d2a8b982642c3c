"""The benchmarks run where there is neither a GPU nor the authors' code, and refuse what they
cannot do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(script: str, *args: object) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, ROOT / "benchmarks" / script, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_steps_and_loader_are_timed_without_the_reference(nci):
    asked = (
        "--size",
        "0m1",
        "--tasks",
        "step",
        "forward",
        "loader",
        "--rounds",
        1,
        "--repeats",
        1,
        "--threads",
        1,
    )
    done = run("two_track.py", "--data", nci.path, *asked)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ours") == 2 and "molecules/s on one core" in done.stdout


def test_the_gpu_benchmark_runs_on_a_cpu(nci):
    from molnb.data.dataset import Corpus

    size = int(Corpus([nci]).n_atoms[0])
    asked = (
        "--size",
        "0m1",
        "--device",
        "cpu",
        "--batch",
        2,
        "--steps",
        1,
        "--no-compile",
        "--atoms",
        size,
    )
    done = run("gpu.py", "--data", nci.path, *asked)
    assert done.returncode == 0, done.stderr
    assert "batch     2" in done.stdout and "of the card" in done.stdout


@pytest.mark.parametrize(
    ("script", "args", "message"),
    [
        ("two_track.py", ["--reference", "here"], "give both --reference and --core"),
        ("two_track.py", ["--reference", "here", "--core", "there"], "is no checkout of Uni-Mol"),
        (
            "gpu.py",
            ["--atoms", "1000", "--device", "cpu"],
            "no molecule of 1000 heavy atoms: choose --atoms from",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(nci, script, args, message):
    done = run(script, "--data", nci.path, "--size", "0m1", *args)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
