"""Curation goes on where it was killed, and a full disk loses nothing that was finished."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from curated_files import curate_smiles, file_digests, refuse_conformers, write_csv

from molnb.curation import chunks, pipeline
from molnb.curation.chunks import DIED, Job, label_slice
from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.processes import Slice
from molnb.recipes.sources import recipe_for_file
from molnb.shards import Shards

RUN = """
import sys
from molnb import curate
curate("wehi", n=60, workers=2, home=sys.argv[1], progress=False)
"""


def start_curation(home: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", RUN, str(home)], start_new_session=True)


def curate_with_kills(home: Path, kills: int, seconds: float) -> tuple[Shards, int]:
    """Kill a curation that takes so many seconds undisturbed at random moments; finish it.

    Returns the shards, and how many of the kills came before the end. Where the first came too
    late, because the machine has become faster, all begins anew with earlier ones.
    """
    draw = np.random.default_rng(kills)
    n_killed = 0
    for kill in range(kills):
        with start_curation(home) as process:
            try:
                process.wait(timeout=seconds * float(draw.uniform(0.3, 0.9)))
                if n_killed == 0:
                    shutil.rmtree(home)
                    seconds /= 2
            except subprocess.TimeoutExpired:
                n_killed += 1
                # The parent alone, or everything at once: both happen to people.
                end = os.kill if kill % 2 else os.killpg
                end(process.pid, signal.SIGKILL)
    return curate("wehi", n=60, workers=1, home=home, progress=False), n_killed


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments_curation_ends_in_the_same_files(
    tmp_path: Path, kills: int
) -> None:
    start = time.monotonic()
    with start_curation(tmp_path / "straight") as process:
        assert process.wait() == 0
    seconds = time.monotonic() - start
    straight = curate("wehi", n=60, home=tmp_path / "straight", progress=False)
    resumed, n_killed = curate_with_kills(tmp_path / "killed", kills, seconds)
    assert n_killed > 0 and file_digests(resumed) == file_digests(straight)
    assert not [path for path in resumed.path.rglob("*") if path.name.endswith(".tmp")]


AT_WORK = """
import time
from molnb.processes import Pool
print(Pool(2).submit(abs, -1).result(), flush=True)
time.sleep(60)
"""


def test_workers_do_not_outlive_a_killed_process() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", AT_WORK], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout.readline() == b"1\n"
        process.kill()
        try:
            process.communicate(timeout=20)  # until the last one that could still write has ended
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


DEADLY = ("CCCCCl",)


def deadly_label_slice(job: Job, piece: Slice, write: bool = True) -> None:
    """Label a slice, but die of certain molecules the way a segmentation fault does."""
    numbers = np.arange(piece.start, piece.stop)
    rows = chunks.read_rows(job.work / "kept.parquet", numbers).to_pylist()
    for number, row in zip(numbers.tolist(), rows):
        if row["smiles"] in DEADLY and number not in piece.died:
            os.kill(os.getpid(), signal.SIGKILL)
    label_slice(job, piece, write)


def test_a_row_that_kills_its_worker_is_found_and_dropped_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = pipeline.LABELLING._replace(work=deadly_label_slice, least=3)  # two slices
    monkeypatch.setattr(pipeline, "LABELLING", deadly)
    smiles = ["C" * i + x for i in range(3, 6) for x in ("O", "Cl")]
    recipe = recipe_for_file(write_csv(tmp_path, smiles))
    shards = curate(recipe, workers=2, home=tmp_path, progress=False)
    dropped = [(r["input_smiles"], r["step"], r["reason"]) for r in shards.dropped().to_pylist()]
    assert dropped == [(deadly, "worker", DIED) for deadly in DEADLY]
    assert shards.n == len(smiles) - 1


def test_a_full_disk_is_refused_keeps_finished_slices_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def fail_on_arrays(source: Path, target: Path) -> None:
        if "arrays" in str(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_on_arrays)
    message = "The disk is full: could not write .*arrays.*what was finished is kept"
    with pytest.raises(InputError, match=message):
        curate_smiles(tmp_path, ["CCO", "CCN"])
    monkeypatch.undo()
    refuse_conformers(monkeypatch)
    assert curate_smiles(tmp_path, ["CCO", "CCN"]).n == 2


def test_a_full_disk_under_the_workers_is_refused(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, {resource.RLIM_INFINITY}))
from molnb import curate
from molnb.recipes.sources import recipe_for_file
curate(recipe_for_file(sys.argv[1]), workers=1, home=sys.argv[2], progress=False)
"""
    path = write_csv(tmp_path, ["C" * i for i in range(1, 40)])
    command = [sys.executable, "-c", code, str(path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "molnb.errors.InputError: The disk is full: could not write" in done.stderr


def test_two_processes_do_not_work_on_one_folder(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    shards = curate_smiles(tmp_path, ["CCO"])
    (shards.path / "manifest.json").unlink()
    with (shards.path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another process is curating"):
            curate_smiles(tmp_path, ["CCO"])
