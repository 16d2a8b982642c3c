"""A machine that has only the core trains, lists and converts, and says what it needs for more."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from core_only import absent_modules, run_core_only
from requirements import ROOT

from molnb.shards import Shards

CHECKPOINT = ROOT / "tests" / "fixtures" / "checkpoint.pt.gz"


def commands(*lines: list[str]) -> str:
    """Code that runs commands one after another; the first that is refused ends it."""
    return (
        "from molnb.cli import main\n"
        f"for arguments in {list(lines)!r}:\n"
        "    code = main(arguments)\n"
        "    if code:\n"
        "        sys.exit(code)\n"
    )


def test_what_these_tests_take_away_is_what_the_core_has_not() -> None:
    absent = absent_modules()
    assert {"rdkit", "pandas", "pydantic", "yaml", "plotly", "IPython", "duckdb"} <= absent
    assert not absent & {"molnb", "torch", "numpy", "pyarrow", "safetensors", "sympy"}


def test_commands_that_train_need_the_core_alone(nci: Shards, tmp_path: Path, home: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(gzip.decompress(CHECKPOINT.read_bytes()))
    train = ["train", "pretrain_tiny", "--data", str(nci.path)]
    sweep = ["sweep", "pretrain_tiny", "--data", str(nci.path), "--seeds", "1,2"]
    for name, value in {"steps": "2", "global_batch": "4", "n_val": "4"}.items():
        train += ["--set", name, value]
        sweep += ["--set", f"{name}={value}"]
    done = run_core_only(
        commands(
            ["presets"],
            ["inspect", str(nci.path)],
            ["verify", str(nci.path)],
            train,
            sweep,
            ["convert", "checkpoint.pt", str(home / "runs" / "official")],
            ["runs"],
        ),
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "pretrain_84m " in done.stdout and " 80,658,496 " in done.stdout
    assert "validation of the saved weights (step 2): loss " in done.stdout
    assert f"recipe        nci, {nci.manifest['recipe_id']}" in done.stdout
    assert "all as the manifest says" in done.stdout
    assert "loss over seeds" in done.stdout
    listed = done.stdout[done.stdout.rindex("run ") :]
    assert "pretrain-tiny_" in listed and "\nofficial " in listed


def test_help_and_lessons_need_no_more_than_python_and_the_core(tmp_path: Path) -> None:
    done = run_core_only(commands(["lessons", "copies"]), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copies" / "05_pretrain.ipynb").is_file()
    done = run_core_only(commands(["--help"]), tmp_path)
    assert done.returncode == 0 and "presets" in done.stdout


def test_names_of_the_core_can_be_imported_and_used(nci: Shards) -> None:
    code = (
        "from molnb import Corpus, Run, load_runs, load_shards, make_model, make_preset, train\n"
        f"corpus = Corpus([load_shards({str(nci.path)!r})])\n"
        f"config = make_preset('pretrain_tiny', [{str(nci.path)!r}])\n"
        "width = make_model(config).encoder.config.d_atom\n"
        "print(len(corpus.n_atoms), width, load_runs(), train, Run)"
    )
    done = run_core_only(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:3] == [str(nci.manifest["n_kept"]), "96", "[]"]


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["recipes"], "curate"),
        (["curate", "nci"], "curate"),
        (["predict", "x.csv", "--run", "x"], "curate"),
        (["embed", "x.csv", "--run", "x"], "curate"),
        (["evaluate", "x"], "evaluate"),
        (["advise", "x", "--hours", "1"], "evaluate"),
        (["tour"], "notebook"),
        (["run", "05_pretrain"], "notebook"),
        (["export", "05_pretrain"], "notebook"),
        (["lab"], "notebook"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_command_that_needs_more_says_how_to_get_it(
    arguments: list[str], extra: str, tmp_path: Path
) -> None:
    done = run_core_only(commands(arguments), tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"molnb {arguments[0]}: needs ")
    assert line.endswith(f": pip install 'molnb[{extra}]'")
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_function_that_needs_more_says_how_to_get_it() -> None:
    done = run_core_only("import molnb\nmolnb.curate('nci')")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: molnb.curate needs ")
    assert last.endswith(": pip install 'molnb[curate]'")


def test_data_that_are_not_there_are_named_and_not_what_would_curate_them(tmp_path: Path) -> None:
    train = ["train", "pretrain_tiny", "--data", "nowhere"]
    done = run_core_only(commands(train), tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("molnb train: no curated dataset at 'nowhere'")
