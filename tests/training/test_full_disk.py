"""A full disk ends a training with one message, and costs only the steps since a checkpoint."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import namedtuple
from collections.abc import Iterator

import pytest
from test_loop import result_digests
from tiny import small_run

from molnb.errors import InputError
from molnb.training.checkpoints import last_checkpoint
from molnb.training.launched import follow
from molnb.training.loop import train
from molnb.training.runs import LOGS, Run, start_run

resource = pytest.importorskip("resource")


@contextlib.contextmanager
def room_for(n_byte: int) -> Iterator[None]:
    """Inside, no file of this process gets longer: the system refuses the rest of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_byte, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def train_until_full(run: Run, more: int | None) -> str:
    """Train while the disk has room for so many bytes more of metrics; says why training ended.

    It is full after step 5, and none is left for anything where `more` is None.
    """
    with contextlib.ExitStack() as stack:

        def fill(report) -> None:
            if report.step == 5:
                size = (run.path / LOGS[0]).stat().st_size
                stack.enter_context(room_for(1 if more is None else size + more))

        with pytest.raises(InputError) as refused:
            train(run, watch=fill)
    return str(refused.value)


@pytest.mark.parametrize(
    ("more", "state"), [(100, "failed"), (None, "killed")], ids=["a torn line", "no byte"]
)
def test_metrics_that_find_no_room_end_a_run_that_goes_on(finished, nci, tmp_path, more, state):
    run = start_run(small_run(nci), tmp_path / "r")
    said = train_until_full(run, more)
    assert said.startswith(f"The disk is full: could not write {run.path / LOGS[0]}")
    assert "Free space" in said and "the same command then goes on" in said
    assert run.state == state, "where there is no room for the state either, it was running"
    assert [row["step"] for row in run.timings()] == list(range(6))
    assert (run.path / LOGS[0]).read_text().endswith("}\n"), "no part of step 6"
    checkpoint = last_checkpoint(run.path / "checkpoints")
    assert checkpoint.step == 4 and run.load_model() is not None

    before = {name: (run.path / name).read_bytes() for name in LOGS}
    with pytest.raises(InputError, match=f"disk is full: could not write {run.path}"), room_for(1):
        train(run)
    assert {name: (run.path / name).read_bytes() for name in LOGS} == before

    for name in LOGS:  # where the system could not take back a part of a line
        with (run.path / name).open("a") as file:
            file.write('{"step": 6, "pa')
    train(run)
    assert run.state == "done" and result_digests(run) == result_digests(finished)
    assert [row["step"] for row in run.timings()] == list(range(13))


def test_a_status_that_finds_no_room_is_said_and_the_one_before_it_stays(finished, tmp_path):
    run = Run(shutil.copytree(finished.path, tmp_path / "r"))
    before = run.status()
    with room_for(100), pytest.raises(InputError, match="disk is full: could not write .*status"):
        run.write_status(state="running", step=1)
    assert run.status() == before and not list(run.path.glob(".*"))


def test_who_watches_a_run_that_could_not_even_say_so_hears_of_a_full_disk(
    nci, tmp_path, monkeypatch
):
    run = start_run(small_run(nci), tmp_path / "r")
    train_until_full(run, None)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(4096))
    with pytest.raises(InputError, match="without a word.*Free space first: .* 4,096 bytes left"):
        asyncio.run(follow(run))
