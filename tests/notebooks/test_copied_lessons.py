"""Lessons are copied to where one works, and what somebody has changed there stays."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from molnb.cli import main
from molnb.errors import InputError
from molnb.notebooks.lessons import NOTEBOOKS, copy_lessons

LESSONS = sorted(
    path.relative_to(NOTEBOOKS).as_posix()
    for pattern in ("*.ipynb", "solutions/*.ipynb")
    for path in NOTEBOOKS.glob(pattern)
)


def test_lessons_and_solutions_are_copied_byte_for_byte(tmp_path: Path) -> None:
    copies = copy_lessons(tmp_path / "new" / "lessons")
    assert sorted(copies.copied) == LESSONS and not copies.equal and not copies.different
    for name in LESSONS:
        assert (copies.folder / name).read_bytes() == (NOTEBOOKS / name).read_bytes()
    written = [path for path in copies.folder.rglob("*") if path.is_file()]
    assert len(written) == len(LESSONS), "nothing else is left there"


def test_a_file_that_differs_is_kept_unless_it_is_to_be_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["lessons", str(tmp_path)]) == 0
    assert f"next: molnb lab {tmp_path}" in capsys.readouterr().out
    edited = tmp_path / "05_pretrain.ipynb"
    edited.write_text("answers")
    (tmp_path / "00_tour.ipynb").unlink()
    (tmp_path / "mine.ipynb").write_text("own")
    assert main(["lessons", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert edited.read_text() == "answers" and (tmp_path / "mine.ipynb").read_text() == "own"
    assert f"kept    {edited}: it differs" in captured.out and "--force" in captured.err
    assert f"copied  {tmp_path / '00_tour.ipynb'}" in captured.out
    assert f"{len(LESSONS) - 2} are there already" in captured.out
    assert main(["lessons", str(tmp_path), "--force"]) == 0
    assert edited.read_bytes() == (NOTEBOOKS / "05_pretrain.ipynb").read_bytes()
    assert (tmp_path / "mine.ipynb").read_text() == "own", "no lesson has that name"
    assert "--force" not in capsys.readouterr().err


def test_copies_that_are_as_they_should_be_are_not_written_again(tmp_path: Path) -> None:
    first = copy_lessons(tmp_path)
    times = [(tmp_path / name).stat().st_mtime_ns for name in first.copied]
    second = copy_lessons(tmp_path, force=True)
    assert second.equal == first.copied and not second.copied
    assert times == [(tmp_path / name).stat().st_mtime_ns for name in first.copied]


def test_where_one_lesson_cannot_be_written_none_is(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "solutions").write_text("a file where a folder is needed")
    with pytest.raises(InputError, match="is a file and no folder; choose another"):
        copy_lessons(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["solutions"]
    (tmp_path / "file").touch()
    assert main(["lessons", str(tmp_path / "file")]) == 2
    assert "Traceback" not in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- lab


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple]:
    """What JupyterLab would be started with, in an empty working folder, instead of starting it."""
    pytest.importorskip("jupyterlab")
    pytest.importorskip("papermill")
    calls: list[tuple] = []
    monkeypatch.setattr(os, "execve", lambda *arguments: calls.append(arguments))
    monkeypatch.chdir(tmp_path)
    for name in ("GOMP_SPINCOUNT", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    return calls


needs_exec = pytest.mark.skipif(os.name == "nt", reason="a process cannot become another there")


@needs_exec
def test_jupyterlab_starts_on_copies_of_the_lessons_with_home_here(
    started: list[tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MOLNB_HOME")
    main(["lab"])
    ((program, command, environment),) = started
    assert program == sys.executable and command[1:] == ["-m", "jupyterlab", "notebooks"]
    assert environment["MOLNB_HOME"] == str(tmp_path)
    assert environment["GOMP_SPINCOUNT"] == "3000"
    assert environment["MALLOC_TRIM_THRESHOLD_"] == str(2**30)
    assert (tmp_path / "notebooks" / "solutions" / "01_curate.ipynb").is_file()


@needs_exec
def test_a_folder_with_numbered_notebooks_is_opened_as_it_is(
    started: list[tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "01_own.ipynb").write_text("{}")
    monkeypatch.setenv("MOLNB_HOME", "elsewhere")
    monkeypatch.setenv("GOMP_SPINCOUNT", "17")
    main(["lab", "work", "--", "--no-browser", "--port", "9000"])
    ((_, command, environment),) = started
    assert command[3:] == ["work", "--no-browser", "--port", "9000"]
    assert environment["MOLNB_HOME"] == str(tmp_path / "elsewhere"), "kernels start elsewhere"
    assert environment["GOMP_SPINCOUNT"] == "17", "the user's choice"
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["01_own.ipynb"]


@needs_exec
def test_options_for_jupyter_need_no_folder(started: list[tuple], tmp_path: Path) -> None:
    main(["lab", "--", "--no-browser"])
    ((_, command, _),) = started
    assert command[3:] == ["notebooks", "--no-browser"]


def test_an_option_of_jupyters_without_the_mark_before_it_is_refused(
    started: list[tuple], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["lab", "--no-browser"])
    assert end.value.code == 2
    assert not started and not list(tmp_path.iterdir())
