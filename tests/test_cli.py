"""The command line: messages without tracebacks, exit codes, and help that answers at once."""

from __future__ import annotations

import operator
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from molnb.cli import main


def refusal(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """What a refused command prints; it must exit with 2."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    return captured.err


def test_help_lists_the_commands_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom molnb.cli import make_parser\ntext = make_parser().format_help()\n"
        "print([m for m in ('torch', 'rdkit', 'numpy', 'papermill') if m in sys.modules], text)"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - start < 5, "mere start of Python, on a busy machine"
    assert done.stdout.startswith("[] usage: molnb")
    for command in "tour run curate train embed predict convert recipes presets runs".split():
        assert f"\n    {command} " in done.stdout
    assert "3 a notebook" in done.stdout


@pytest.mark.parametrize("command", "tour run curate train embed predict".split())
def test_commands_share_four_options(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--out", "--seed", "--workers", "--device"))


def test_a_command_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main(["pretrain"])
    assert end.value.code == 2 and "invalid choice: 'pretrain'" in capsys.readouterr().err


def test_recipes_are_listed(capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("pydantic")
    assert main(["recipes"]) == 0
    names = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert {"nci", "wehi", "chembl2321810"} <= names


def test_presets_are_listed_with_their_parameters(capsys: pytest.CaptureFixture) -> None:
    assert main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("pretrain_84m")]
    assert line.split()[2:4] == ["80,658,496", "84,116,080"]


@pytest.mark.parametrize("as_frame", [False, True])
def test_tables_are_printed_as_text_with_three_digits_and_blanks(
    as_frame: bool, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pandas = pytest.importorskip("pandas")
    rows = [{"run": "first", "loss": 0.123456, "about": None}, {"run": "second", "loss": None}]
    table = pandas.DataFrame(rows) if as_frame else rows
    monkeypatch.setattr("molnb.training.runs.runs_table", lambda: table)
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["run     loss   about", "first   0.123", "second"]


def test_the_help_of_set_names_a_setting_that_can_be_set(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    setting = re.search(r"reach\s+inside,\s+as\s+([\w.]+)", capsys.readouterr().out)[1]
    message = refusal(capsys, "train", "pretrain_tiny", "--data", "nowhere", "--set", setting, "2")
    assert "no curated dataset at 'nowhere'" in message, "the setting itself is accepted"
    from molnb.training.presets import make_preset

    config = make_preset("pretrain_tiny", ["data"], **{setting: "2"})
    assert operator.attrgetter(setting)(config) == 2


def test_threads_wait_briefly_from_the_start_unless_the_user_says_otherwise() -> None:
    code = (
        "import os, sys\nos.environ.pop('GOMP_SPINCOUNT', None)\n"
        "if len(sys.argv) > 1: os.environ['GOMP_SPINCOUNT'] = sys.argv[1]\n"
        "import molnb.cli as m\n"
        "m.show_runs = lambda args: print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)\n"
        "m.main(['runs'])"
    )
    for arguments, expected in ([], "3000 False\n"), (["17"], "17 False\n"):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == expected


def test_no_runs_is_said(capsys: pytest.CaptureFixture) -> None:
    assert main(["runs"]) == 0
    captured = capsys.readouterr()
    assert "start one with `molnb train PRESET`" in captured.err and captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["curate", "ncy"], "'ncy' is neither a recipe (chembl2321810, nci, wehi) nor a file"),
        (
            ["curate", "{csv}", "--smiles", "smiles", "--label", "activity"],
            "has no unit: write COLUMN:UNIT",
        ),
        (["curate", "{csv}", "--smiles", "structure"], "has no column 'structure'"),
        (
            ["curate", "{csv}", "--smiles", "smiles", "--label", "activty:nM"],
            "has no column 'activty'",
        ),
        (["curate", "nci", "--smiles", "x"], "a recipe says this itself"),
        (["curate", "nci", "--seed", "1"], "stand in the recipe"),
        (
            ["train", "pretrain_tny"],
            "unknown preset 'pretrain_tny' (did you mean 'pretrain_tiny'?)",
        ),
        (["train", "pretrain_tiny", "--set", "lerning_rate", "1"], "did you mean 'learning_rate'?"),
        (["train", "pretrain_tiny", "--set", "steps", "many"], "give a int"),
        (["train", "pretrain_tiny", "--data", "nowhere"], "no curated dataset at 'nowhere'"),
        (["run", "nowhere.ipynb"], "there is no notebook nowhere.ipynb"),
        (["embed", "{csv}", "--run", "nowhere", "--out", "x.parquet"], "nowhere is no run"),
        (["predict", "{csv}", "--run", "nowhere", "--out", "x.parquet"], "nowhere is no run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_refused_with_a_message(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    csv = tmp_path / "mine.csv"
    csv.write_text("smiles,activity\nCCO,1.5\nCCN,2.5\n")
    printed = refusal(capsys, *(argument.format(csv=csv) for argument in arguments))
    assert printed.startswith(f"molnb {arguments[0]}: ") and message in printed


def test_a_gpu_that_is_not_there_is_refused(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = refusal(capsys, "train", "pretrain_tiny", "--device", "cuda")
    assert "'cuda' asked for, but torch" in message and "--device cpu" in message


def test_run_has_the_exit_code_of_the_notebook(
    tmp_path: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("papermill")
    from made_notebooks import write_notebook

    cell = "assert seed < 5, 'too many'\nprint('seed', seed)"
    path = str(write_notebook(tmp_path / "a.ipynb", cell))
    out = str(tmp_path / "out.ipynb")
    assert main(["run", path, "--seed", "3", "-p", "n_train", "5", "--out", out]) == 0
    assert out in capsys.readouterr().out
    assert "unknown parameter" not in caplog.text, "papermill's reader does not know int | None"
    assert main(["run", path, "-p", "seed", "7", "--out", out]) == 3
    assert "cell 3 failed: AssertionError: too many" in capsys.readouterr().err
    assert "did you mean 'seed'?" in refusal(capsys, "run", path, "-p", "sede", "7", "--out", out)


def test_run_without_out_keeps_the_copy_below_home(tmp_path: Path, home: Path) -> None:
    pytest.importorskip("papermill")
    from made_notebooks import write_notebook

    path = str(write_notebook(tmp_path / "a.ipynb", "print(1)"))
    assert main(["run", path]) == 0
    assert len(list((home / "runs" / "notebooks").glob("*_a.ipynb"))) == 1


def test_an_unexpected_error_keeps_its_traceback_and_exits_with_one() -> None:
    code = (
        "import sys, molnb.cli as m\nm.show_runs = lambda args: 1 / 0\n"
        "sys.argv = ['molnb', 'runs']\nsys.exit(m.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
