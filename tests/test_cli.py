"""The command line: messages without tracebacks, exit codes, and help that answers at once."""

from __future__ import annotations

import argparse
import operator
import os
import re
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from molnb.cli import READER_GONE, main, make_parser

if TYPE_CHECKING:
    from molnb.shards import Shards
    from molnb.training.runs import Run


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
    commands = (
        "lessons lab tour run recipes fetch curate inspect verify train evaluate embed predict "
        "convert presets runs sweep study advise"
    )
    for command in commands.split():
        assert f"\n    {command} " in done.stdout
    assert "3 a notebook" in done.stdout


SHARED = ("--out", "--seed", "--workers", "--device")
TAKEN = {
    "tour": ("--out", "--seed"),
    "run": ("--out", "--seed"),
    "fetch": ("--out",),
    "curate": ("--out", "--workers"),
    "train": ("--out", "--seed", "--device"),
    "sweep": ("--out", "--workers", "--device"),
    "evaluate": ("--out", "--seed", "--device"),
    "embed": ("--out", "--workers", "--device"),
    "predict": ("--out", "--workers", "--device"),
}


@pytest.mark.parametrize(("command", "taken"), TAKEN.items(), ids=TAKEN)
def test_help_lists_the_shared_options_that_a_command_takes_and_no_other(
    command: str, taken: tuple[str, ...], capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert tuple(option for option in SHARED if f"{option} " in text) == taken


@pytest.mark.parametrize(
    ("command", "option"),
    [(command, option) for command in TAKEN for option in SHARED if option not in TAKEN[command]],
)
def test_a_shared_option_that_a_command_does_not_take_is_refused_with_the_reason(
    command: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    needed = {
        "run": ["05_pretrain"],
        "fetch": ["nci"],
        "curate": ["nci"],
        "train": ["pretrain_tiny"],
        "sweep": ["pretrain_tiny"],
        "evaluate": ["x"],
        "embed": ["x.csv", "--run", "x"],
        "predict": ["x.csv", "--run", "x"],
    }
    message = refusal(capsys, command, *needed.get(command, []), option, "1")
    assert message.startswith(f"molnb {command}: {option}: ")


def visible_options() -> list[tuple[str, argparse.Action]]:
    """Every option of every command that its help shows."""
    (commands,) = make_parser()._subparsers._group_actions
    return [
        (name, action)
        for name, command in commands.choices.items()
        for action in command._actions
        if action.option_strings and action.help != argparse.SUPPRESS and action.dest != "help"
    ]


VALUES = {
    "--workers": ["0"],
    "--device": ["cpu"],
    "--seed": ["3"],
    "--n": ["5"],
    "--timeout": ["60"],
    "--max-heavy-atoms": ["70"],
    "--size": ["test"],
    "--conformer": ["new"],
    "--level": ["atom"],
    "--layer": ["1"],
    "--smiles": ["SMILES"],
    "--id": ["name"],
    "--keep": ["note"],
    "--label": ["y:eV"],
    "--transform": ["y:log10"],
    "--split-column": ["part"],
    "--repeats": ["first"],
    "--conformers": ["made"],
    "--where": ["note=x"],
    "--relation": ["y=note"],
    "--qualified": ["y=value"],
    "--decimal": [","],
    "--percent": ["y"],
    "--range": ["y=0..3"],
    "--max-spread": ["y=0.5"],
    "--cluster": ["tcp://host:1"],
    "--data": ["nci"],
    "--set": ["steps", "2"],
    "--parameter": ["quick", "False"],
    "--single": [],
    "--split": ["random"],
    "--part": ["val"],
    "--alone": [],
    "--force": [],
    "--labels": [],
    "--stop": [],
    "--watch": [],
    "--accounts": [],
    "--shard": [],
    "--grid": ["n_val=4"],
    "--seeds": ["0,1"],
    "--hours": ["0.02"],
    "--features": ["visible"],
    "--flops-per-second": ["1e10"],
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("table") / "mine.csv"
    file.write_text("name,SMILES,y,note,part\na,CCO,1,x,train\nb,CCN,2,y,test\n")
    return file


@pytest.mark.parametrize(
    ("command", "option"),
    [(name, action.option_strings[-1]) for name, action in visible_options()],
)
def test_every_option_in_the_help_of_a_command_is_taken(
    command: str,
    option: str,
    table: Path,
    label_run: Run,
    nci: Shards,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Curation, training and the tour are not done, only asked for."""
    pytest.importorskip("papermill")
    from made_notebooks import write_notebook
    from made_runs import made_sweep

    import molnb.notebooks.execution as execution
    from molnb.curation import pipeline
    from molnb.training.sweeps import make_sweep, write_sweep

    config = SimpleNamespace(steps=1)
    done = SimpleNamespace(path=table, name="x", config=config, saved_scores=dict)
    monkeypatch.setattr(pipeline, "curate", lambda *_, **__: done)
    monkeypatch.setattr("molnb.training.loop.prepare_run", lambda *_: done)
    monkeypatch.setattr("molnb.training.loop.train", lambda *_, **__: done)
    monkeypatch.setattr("molnb.commands.data.curated_folder", lambda name: table)
    monkeypatch.setattr(execution, "tour", lambda *_, **__: [])
    monkeypatch.setattr(execution, "export", lambda *_, **__: table)
    if command == "study":
        pytest.importorskip("lightgbm")
        report = SimpleNamespace(sentences=[], tables={})
        monkeypatch.setattr("molnb.evaluation.studies.catalogue.run_study", lambda *_, **__: report)
    if option == "--tensorboard":
        pytest.importorskip("tensorboardX")
    monkeypatch.setattr("molnb.training.sweep_runs.run_sweep", lambda *_, **__: {})
    monkeypatch.setattr("molnb.training.sweep_runs.check_sweep", lambda *_: [])
    begun = make_sweep("pretrain_tiny", [table], {}, tmp_path / "sweep", seeds=(0, 1))
    write_sweep(begun)
    if command == "advise":
        made_sweep(tmp_path / "family", n_seed=1)
    notebook = str(write_notebook(tmp_path / "a.ipynb", "1"))
    needed = {
        "lessons": [str(tmp_path / "lessons")],
        "tour": [],
        "export": [notebook],
        "run": [notebook],
        "fetch": ["nci"],
        "curate": [str(table), "--smiles", "SMILES"],
        "train": ["pretrain_tiny"],
        "sweep": [str(begun.path)] if option == "--go-on" else ["pretrain_tiny", "laptop_0m1"],
        "runs": [str(label_run.path)],
        "evaluate": [str(label_run.path)],
        "embed": [str(table), "--run", str(label_run.path), "--workers", "0"],
        "predict": [str(table), "--run", str(label_run.path), "--workers", "0"],
        "study": ["controls"],
        "advise": [str(tmp_path / "family"), "--hours", "0.01"],
    }
    values = {
        **VALUES,
        "--run": [str(label_run.path)],
        "--predictions": [str(tmp_path / "predictions.csv")],
        "--out": [str(tmp_path / {"run": "x.ipynb"}.get(command, "x.csv"))],
        "--tensorboard": [str(tmp_path / "board")],
        "--go-on": [],
    }
    if command == "sweep":
        values["--set"] = ["steps=2"]
    if command == "study":
        values["--set"] = ["n_fold", "2"]
    if command == "evaluate":
        values["--data"] = [str(nci.path)]
        values["--all-conformers"] = []
    if option == "--source":
        assert main([command, "nci", option, str(table)]) == 0
        return
    if (command, option) == ("export", "--split"):
        pytest.importorskip("lmdb")
        needed["export"] = [str(nci.path), str(tmp_path / "lmdb")]
    arguments = [command, *needed[command], option, *values[option]]
    if option == "--label" or command != "curate":
        assert main(arguments) == 0
        return
    assert main([*arguments, "--label", "y:eV"]) == 0


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


def test_tables_are_printed_as_text_with_three_digits_and_blanks(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"preset": "first", "N": 0.123456, "about": None}, {"preset": "second", "N": None}]
    monkeypatch.setattr("molnb.training.presets.preset_rows", lambda: rows)
    assert main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["preset  N      about", "first   0.123", "second"]


def test_runs_are_listed_with_the_scores_of_each_in_one_column(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {f"y{k}_auroc": 0.5 for k in range(13)}
    first = {
        "run": "a",
        "steps": 20,
        "validated": 20,
        "features": "visible",
        "loss": 0.25,
        "t_loss": 0.25,
    }
    rows = [
        {**first, "y_mae_eV": 1.5},
        {"run": "b", "steps": None, "validated": None},
        {"run": "c", "steps": 7, "validated": 7, "loss": 0.75, "u_loss": 0.75,
         **many, "u_mean_auroc": 0.5},
    ]  # fmt: skip
    monkeypatch.setattr("molnb.training.runs.run_rows", lambda: rows)
    assert main(["runs"]) == 0
    lines = [re.sub(" {2,}", "|", line) for line in capsys.readouterr().out.splitlines()]
    assert lines[:2] == ["run|steps|validated|scores", "a|20|20|loss 0.25, y_mae_eV 1.5"]
    assert lines[2].startswith("b")
    words = "loss 0.75, u_mean_auroc 0.5 (and 13 scores of single labels, in its metrics.jsonl)"
    assert lines[3].endswith(words)


def test_a_named_run_shows_its_scores_a_line_a_task_or_a_label(
    capsys: pytest.CaptureFixture, label_run: Run, finished: Run
) -> None:
    name = str(label_run.path)
    assert main(["runs", name]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert re.split(" {2,}", lines[0])[2:5] == ["task", "labels", "known values"]
    tasks = label_run.config.objective.tasks_scaled
    assert [re.split(" {2,}", line)[2] for line in lines[1 : 1 + len(tasks)]] == [
        task.key for task in tasks
    ]
    assert "mean MAE / training sd" in lines[0] and "in standard deviations of the label" in out
    assert "scores of the saved weights, from the validation of step 20" in out.lower()
    assert main(["runs", name, "--labels"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "  homo (eV)  " in line]
    assert re.search(r"\d\.\d{3} \(-?\d\.\d{3} to \d\.\d{3}\)", line)
    assert "name it" in refusal(capsys, "runs", "--labels")
    assert "learns no labels" in refusal(capsys, "runs", str(finished.path))


def test_what_runs_cost_is_listed_of_some_or_all(
    capsys: pytest.CaptureFixture, label_run: Run, finished: Run
) -> None:
    names = [str(label_run.path), str(finished.path)]
    assert main(["runs", *names, "--accounts"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    columns = head.split()
    assert columns[:4] == ["run", "family", "N", "parameters"] and "device_hours" in columns
    assert [line.split()[0] for line in lines] == [label_run.path.name, finished.path.name]
    assert "2 runs are named" in refusal(capsys, "runs", *names)
    assert main(["runs", "--accounts"]) == 0
    assert "no runs in" in capsys.readouterr().err


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
        "import molnb.cli as m, molnb.commands.training as t\n"
        "t.show_runs = lambda args: print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)\n"
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
        (["curate", "ncy"], "'ncy' is neither a recipe (did you mean 'nci'?) nor a file"),
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
        (["curate", "{csv}", "--source", "x.csv"], "leave --source out, or name a recipe"),
        (["curate", "nci", "--source", "a", "--source", "b"], "'nci' reads one file: give one"),
        (["curate", "nci", "--source", "nowhere.csv"], "There is no file nowhere.csv"),
        (["fetch", "ncy"], "There is no recipe 'ncy' (did you mean 'nci'?)"),
        (["fetch", "nci", "--workers", "2"], "files are fetched one after the other"),
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
        "import sys, molnb.cli as m, molnb.commands.training as t\n"
        "t.show_runs = lambda args: 1 / 0\n"
        "sys.argv = ['molnb', 'runs']\nsys.exit(m.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr


# -------------------------------------------------------------------------------- where results go


def outputs(folder: Path) -> dict[str, list[str]]:
    """Commands with an input of their own, up to `--out`."""
    from made_notebooks import write_notebook

    csv = folder / "mine.csv"
    csv.write_text("smiles,y\nCCO,1\n")
    notebook = str(write_notebook(folder / "a.ipynb", "print(1)"))
    return {
        "embed": ["embed", str(csv), "--run", "RUN", "--workers", "0", "--out"],
        "predict": ["predict", str(csv), "--run", "RUN", "--workers", "0", "--out"],
        "run": ["run", notebook, "--out"],
        "export": ["export", notebook, "--out"],
        "curate": ["curate", str(csv), "--label", "y:eV", "--out"],
        "train": ["train", "pretrain_tiny", "--data", "NCI", "--out"],
        "sweep": ["sweep", "pretrain_tiny", "--data", "NCI", "--seeds", "0,1", "--out"],
        "tour": ["tour", "--out"],
        "convert": ["convert", "RUN"],
    }


COMMANDS = ("embed", "predict", "run", "export", "curate", "train", "sweep", "tour", "convert")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_a_place_that_cannot_be(
    command: str,
    label_run: Run,
    nci: Shards,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another's file, a device, below a file: one message, and nothing has changed."""
    pytest.importorskip("papermill")
    monkeypatch.setattr("molnb.training.conversion.read_checkpoint", pytest.fail)
    stand_in = {"RUN": str(label_run.path), "NCI": str(nci.path)}
    arguments = [stand_in.get(word, word) for word in outputs(tmp_path)[command]]
    endings = {"embed": "csv", "predict": "csv", "run": "ipynb", "export": "html"}
    theirs = tmp_path / f"theirs.{endings.get(command, 'txt')}"
    theirs.write_text("a year of work")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for out in (theirs, theirs / "x" / theirs.name, "/dev/null"):
        message = refusal(capsys, *arguments, str(out))
        assert message.startswith(f"molnb {command}: ") and message.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("command", ["embed", "predict", "run", "export"])
def test_every_command_spares_its_input_and_replaces_by_force_and_its_own(
    command: str, label_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("papermill")
    arguments = [word.replace("RUN", str(label_run.path)) for word in outputs(tmp_path)[command]]
    source = Path(arguments[1])
    content = source.read_bytes()
    if command != "export":  # whose input and output have endings of their own
        link = tmp_path / f"link{source.suffix}"
        link.symlink_to(source)
        for out in (source, link, tmp_path / "none" / ".." / source.name):
            assert "which is read" in refusal(capsys, *arguments, str(out), "--force")
        assert source.read_bytes() == content
    out = tmp_path / f"out{'.html' if command == 'export' else source.suffix}"
    out.write_text("a year of work")
    assert "--force" in refusal(capsys, *arguments, str(out))
    assert out.read_text() == "a year of work"
    assert main([*arguments, str(out), "--force"]) == 0
    assert main([*arguments, str(out)]) == 0, "its own"


def test_a_copy_that_somebody_has_worked_on_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("papermill")
    nbformat = pytest.importorskip("nbformat")
    arguments = outputs(tmp_path)["run"]
    out = tmp_path / "out.ipynb"
    assert main([*arguments, str(out)]) == 0
    capsys.readouterr()
    notebook = nbformat.read(out, 4)
    notebook.cells.append(nbformat.v4.new_markdown_cell("my thoughts"))
    nbformat.write(notebook, out)
    assert "--force" in refusal(capsys, *arguments, str(out))
    assert "my thoughts" in out.read_text()


def test_training_does_not_fill_a_folder_of_other_things(
    nci: Shards, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("x")
    arguments = ["train", "pretrain_tiny", "--data", str(nci.path), "--out", str(folder)]
    assert "holds 1 other things (chapter.tex)" in refusal(capsys, *arguments)
    (folder / "config.json").write_text('{"hidden_size": 768}')
    assert "holds 2 other things" in refusal(capsys, *arguments)
    assert sorted(path.name for path in folder.iterdir()) == ["chapter.tex", "config.json"]


# ------------------------------------------------------------------------------ a reader that goes


@pytest.mark.parametrize(
    ("command", "buffering"),
    [
        *product(("recipes", "--help", "curate --help", "--version"), ("", "1")),
        ("presets", ""),  # imports torch, as most commands do
    ],
)
def test_a_reader_that_goes_ends_a_command_quietly(
    command: str, buffering: str, tmp_path: Path
) -> None:
    """As `molnb recipes | head -0`, for all that prints."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "molnb", *command.split()],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=os.environ | {"MOLNB_HOME": str(tmp_path), "PYTHONUNBUFFERED": buffering},
    )
    os.close(writer)
    assert done.stderr == b""
    # argparse itself passes over a help that nobody reads, where it is written at once
    is_passed_over = command.startswith(("--", "curate")) and buffering
    assert done.returncode == (0 if is_passed_over else READER_GONE)


def test_messages_that_nobody_reads_end_a_command_quietly(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "molnb", "runs"]
    environment = os.environ | {"MOLNB_HOME": str(tmp_path)}
    done = subprocess.run(command, stdout=writer, stderr=writer, env=environment)
    os.close(writer)
    assert done.returncode == READER_GONE


def test_a_reader_that_goes_in_the_middle_of_a_long_table(tmp_path: Path) -> None:
    code = (
        "import sys, molnb.cli as m, molnb.commands.training as t\n"
        "t.show_runs = lambda args: [print('run', n) for n in range(10**6)]\n"
        "sys.argv = ['molnb', 'runs']\nsys.exit(m.main())"
    )
    command = f'set -o pipefail; {sys.executable} -c "{code}" | head -2'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout == "run 0\nrun 1\n" and done.stderr == ""
    assert done.returncode == READER_GONE


def test_a_broken_pipe_that_is_not_the_readers_is_an_error_like_any_other() -> None:
    code = (
        "import sys, molnb.cli as m, molnb.commands.training as t\n"
        "def fail(args):\n    raise BrokenPipeError('of a worker')\n"
        "t.show_runs = fail\nsys.argv = ['molnb', 'runs']\nsys.exit(m.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "of a worker" in done.stderr
