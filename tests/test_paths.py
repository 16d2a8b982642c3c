"""Datasets and runs are found by path, or by name below the home."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from molnb import paths
from molnb.errors import InputError
from molnb.paths import find_data, find_run_folder


def make_data(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


def test_home_is_the_working_directory_unless_it_is_set(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert paths.home() == home
    for value in ("", None):
        if value is None:
            monkeypatch.delenv("MOLNB_HOME")
        else:
            monkeypatch.setenv("MOLNB_HOME", value)
        assert paths.home() == Path(".")


def test_data_are_found_by_path_or_by_name_below_home(home: Path, tmp_path: Path) -> None:
    elsewhere = make_data(tmp_path / "elsewhere")
    below = make_data(home / "data" / "mine-1")
    assert find_data(elsewhere) == find_data(str(elsewhere)) == elsewhere
    assert find_data("mine-1") == below


def test_a_path_goes_before_a_name(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_data(home / "data" / "mine")
    make_data(tmp_path / "mine")
    (home / "runs" / "first").mkdir(parents=True)
    (tmp_path / "first").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_data("mine") == Path("mine")
    assert find_run_folder("first") == Path("first")


def test_a_folder_that_is_not_finished_is_no_dataset(home: Path) -> None:
    (home / "data" / "half").mkdir(parents=True)
    message = f"no curated dataset at 'half' or {home / 'data' / 'half'}: curate it first"
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        find_data("half")
    assert "`molnb curate NAME`" in str(refused.value)


def test_a_run_is_found_by_path_or_by_name_and_else_the_path_is_returned(
    home: Path, tmp_path: Path
) -> None:
    (home / "runs" / "first").mkdir(parents=True)
    assert find_run_folder("first") == home / "runs" / "first"
    assert find_run_folder(tmp_path) == tmp_path
    assert find_run_folder("absent") == Path("absent"), "the caller says what is missing there"
