"""The command sweep: a summary, what is done, the table; it ends when asked, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from made_shards import make_shards
from quick_processes import server

from molnb.cli import main
from molnb.training.runs import Run
from molnb.training.sweep_tables import sweep_rows
from molnb.training.sweeps import load_sweep

TINY = {
    "model.n_layer": 1,
    "model.d_atom": 16,
    "model.n_head": 2,
    "model.d_ffn": 16,
    "model.d_pair": 8,
    "model.d_hidden": 4,
    "model.n_kernel": 8,
    "steps": 4,
    "global_batch": 8,
    "n_val": 8,
    "checkpoint_every": 2,
}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("trees") / "shards")


def command(trees, folder: Path, *options: str) -> list[str]:
    """A sweep of tiny runs over learning rates, in the words of a shell."""
    words = ["sweep", "pretrain_tiny", "--data", str(trees.path), "--out", str(folder)]
    for name, value in TINY.items():
        words += ["--set", f"{name}={value}"]
    return [*words, *options]


@pytest.fixture(scope="module")
def swept(trees, tmp_path_factory):
    """A sweep of two rates and two seeds, of which the larger rate diverges, and its exit code."""
    folder = tmp_path_factory.mktemp("swept") / "s"
    options = ["--grid", "learning_rate=1e-3,1e30", "--set", "clip_norm=1e30", "--seeds", "0,1"]
    return folder, main(command(trees, folder, *options))


def test_a_sweep_is_trained_and_what_failed_is_told_in_lines(swept, capsys):
    folder, code = swept
    assert code == 1
    assert main(["sweep", str(folder)]) == 0, "looking at it is no failure"
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0] == f"4 runs in {folder}: 2 done, 2 left"
    assert "learning_rate  0.001, 1e+30" in lines and "seed           0, 1" in lines
    header = next(line for line in lines if " state " in line)
    assert header.split()[:6] == ["preset", "learning_rate", "N", "seed", "state", "step"]
    rows = lines[lines.index(header) + 1 :][:4]
    assert [row.split()[4] for row in rows].count("failed") == 2
    assert "loss over seeds" in lines
    failed = told.err.splitlines()
    assert len(failed) == 2
    assert all("learning_rate=1e+30-seed=" in line and "the loss is" in line for line in failed)


def test_the_same_command_goes_on_and_so_does_its_folder(trees, tmp_path, capsys):
    words = command(trees, tmp_path / "s", "--grid", "learning_rate=1e-3")
    assert main(words) == 0
    assert capsys.readouterr().out.startswith(f"1 run in {tmp_path / 's'}: 0 done, 1 left")
    assert main([*words, "--seeds", "0,1"]) == 0
    assert "2 runs in" in capsys.readouterr().out
    (tmp_path / "s" / "pretrain_tiny-learning_rate=0.001-seed=1" / "config.json").unlink()
    assert main(["sweep", str(tmp_path / "s")]) == 0
    assert "1 done, 1 left" in capsys.readouterr().out


def terminated(words: list[str], folder: Path) -> None:
    """Run a command, and be told to end as soon as the first run has made a step."""
    from molnb.training.sweep_runs import _Standing

    look = _Standing.look

    def look_and_end(self, steps=None):
        if steps and max(steps.values()) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return look(self, steps)

    _Standing.look = look_and_end
    sys.exit(main(words))


def test_told_to_end_it_ends_after_a_step_and_goes_on(trees, tmp_path, capsys):
    folder = tmp_path / "s"
    words = command(trees, folder, "--grid", "learning_rate=1e-3,2e-3")
    process = server().Process(target=terminated, args=(words, folder))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    first, second = load_sweep(folder).cells
    assert (first.state, first.run.status()["step"], second.state) == ("stopped", 3, "new")
    assert [row["state"] for row in sweep_rows(folder)] == ["stopped", "new"]
    assert main(["sweep", str(folder), "--go-on", "--device", "cpu"]) == 0
    assert [cell.state for cell in load_sweep(folder).cells] == ["done", "done"]
    assert "0 done, 2 left" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "learning_rate"], "--grid learning_rate: write NAME=VALUE"),
        (["--grid", "learning_rate="], "no value for 'learning_rate'"),
        (["--grid", "lerning_rate=1"], "did you mean 'learning_rate'?"),
        (["--grid", "learning_rate=0"], "learning_rate=0-seed=0: learning_rate is 0.0"),
        (["--grid", "epsilon=1", "--grid", "epsilon=2"], "--grid gives 'epsilon' twice"),
        (["--grid", "steps=1,2"], "stands in the grid and in the changes"),
        (["--grid", "epsilon=1", "--set", "steps"], "--set steps: write NAME=VALUE"),
        (["--seeds", "a"], "--seeds a: give whole numbers"),
        (["--seed", "3"], "--seed: a sweep has several"),
        ([], "the grid is empty"),
        (["--go-on", "--seeds", "0,1"], "--go-on is of a sweep that was begun"),
        (["--seeds", ",".join(map(str, range(1001)))], "the grid has 1,001 runs"),
        (["--seeds", "0,1", "--workers", "-1"], "workers=-1"),
        (["--seeds", "0,1", "--device", "gpu"], "unknown device 'gpu'"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_what_cannot_be_is_refused_in_a_line_and_nothing_is_begun(
    options, message, trees, tmp_path, capsys
):
    assert main(command(trees, tmp_path / "s", *options)) == 2
    told = capsys.readouterr().err
    assert told.startswith("molnb sweep: ") and message in told and told.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_an_unknown_preset_is_refused_before_any_data_are_curated(tmp_path, capsys):
    assert main(["sweep", "laptop_0m2", "--grid", "steps=1", "--data", "nowhere"]) == 2
    assert "unknown preset 'laptop_0m2' (did you mean" in capsys.readouterr().err
    assert main(["sweep", "laptop_0m1", "--grid", "steps=1", "--data", "nowhere"]) == 2
    assert "no curated dataset at 'nowhere'" in capsys.readouterr().err


def test_a_sweep_keeps_its_grid(swept, capsys):
    folder, _ = swept
    assert main(["sweep", str(folder), "--grid", "steps=1"]) == 2
    assert "is a sweep, which keeps its grid: leave out --grid" in capsys.readouterr().err
    assert main(["sweep", str(folder), "--workers", "2"]) == 2
    assert "nothing is trained without --go-on" in capsys.readouterr().err


def test_runs_of_a_sweep_are_runs_as_any_other(swept, capsys):
    folder, _ = swept
    cell = load_sweep(folder).cells[0]
    assert Run(cell.folder).load_model() is not None
    assert main(["runs", str(cell.folder), "--accounts"]) == 0
    assert cell.name in capsys.readouterr().out
    stored = json.loads((cell.folder / "config.json").read_text())
    assert stored["learning_rate"] == 0.001


def test_the_help_says_what_sweeps_do_with_workers():
    done = subprocess.run(
        [sys.executable, "-m", "molnb", "sweep", "--help"], capture_output=True, text=True
    )
    words = " ".join(done.stdout.split())
    assert "runs at a time, on CPUs with a core each" in words and "betas=(0.9,0.99)" in words
    assert "--seed SEED " not in words
