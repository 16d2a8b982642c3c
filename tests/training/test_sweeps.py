"""Sweeps: a grid is trained once, whatever ends it in between; a failure holds up no other."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from made_shards import make_shards
from quick_processes import server
from test_loop import result_digests
from tiny import TINY

from molnb.errors import InputError
from molnb.files import append_lines
from molnb.models.families import count_parameters
from molnb.training import children
from molnb.training.children import Children, Place, deal, make_places
from molnb.training.loop import train
from molnb.training.many_runs import as_done, differing_settings
from molnb.training.ownership import is_owned, read_owner
from molnb.training.runs import LOGS, Run
from molnb.training.sweep_runs import run_sweep
from molnb.training.sweep_tables import by_setting, setting_rows, sweep_rows, sweep_table
from molnb.training.sweeps import (
    MOST_CELLS,
    Sweep,
    cool_down_sweep,
    load_sweep,
    make_sweep,
)

SHORT = {
    "model": TINY,
    "steps": 6,
    "global_batch": 8,
    "warmup_steps": 2,
    "n_val": 8,
    "eval_every": 3,
    "checkpoint_every": 2,
}
RATES = {"learning_rate": (1e-3, 2e-3)}
DIVERGING = 1e30


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("trees") / "shards")


@pytest.fixture(scope="module")
def unbroken(trees, tmp_path_factory):
    """Two rates and two seeds, trained without a break; to be read, never changed."""
    sweep = rates(trees, tmp_path_factory.mktemp("unbroken") / "s")
    assert run_sweep(sweep, device="cpu") == {}
    return sweep


def rates(trees, folder, grid=RATES, seeds=(0, 1), **changes) -> Sweep:
    """A sweep of short runs."""
    return make_sweep("pretrain_tiny", [trees], grid, folder, SHORT | changes, seeds)


def digests(sweep: Sweep) -> dict[str, dict[str, str]]:
    """Digests of what the runs of a sweep are for."""
    return {cell.name: result_digests(cell.run) for cell in sweep.cells}


def files_of(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Every file below a folder, with when it was written."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def wait_for(condition, seconds: float = 120.0) -> None:
    since = time.time()
    while not condition():
        assert time.time() - since < seconds, "waited too long"
        time.sleep(0.02)


# ------------------------------------------------------------------------------------ what it is


def test_a_sweep_is_every_combination_in_folders_named_after_what_varies(trees, tmp_path):
    grid = {"learning_rate": "1e-3,2e-3", "model.n_layer": (1, 2)}
    presets = ["laptop_0m1", "laptop_0m25"]
    sweep = make_sweep(presets, [trees], grid, tmp_path, {"steps": "20"}, (3, 4))
    names = [cell.name for cell in sweep.cells]
    assert len(set(names)) == len(names) == 16
    assert names[0] == "laptop_0m1-learning_rate=0.001-model.n_layer=1-seed=3"
    assert all(name.endswith("-seed=3") for name in names[:8]), "one seed after another"
    last = sweep.cells[-1]
    assert last.values == {
        "preset": "laptop_0m25",
        "learning_rate": 0.002,
        "model.n_layer": 2,
        "seed": 4,
    }
    assert (last.config.learning_rate, last.config.model.n_layer) == (0.002, 2)
    assert (last.config.steps, last.config.seed) == (20, 4)
    assert last.folder == tmp_path / last.name and last.state == "new"
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_without_a_folder_the_same_sweep_is_at_the_same_place(trees, home):
    places = [rates(trees, None, seeds=seeds).path for seeds in ((0,), (0,), (1,))]
    assert places[0] == places[1] != places[2] and places[0].parent == home / "runs"


def test_values_are_told_apart_whatever_they_are(trees, tmp_path):
    grid = {
        "model": [TINY, replace(TINY, d_ffn=24)],
        "betas": "(0.9,0.99),(0.9,0.95)",
        "learning_rate": np.logspace(-3, -2, 2),
        "split": ["random", None, "a/b", "a_b", "a" * 60, "a" * 61],
    }
    changes = {name: value for name, value in SHORT.items() if name != "model"}
    cells = make_sweep("pretrain_tiny", [trees], grid, tmp_path, changes, np.arange(1)).cells
    assert len({cell.name for cell in cells}) == 48
    assert all(re.fullmatch(r"[\w.+=-]+", cell.name) for cell in cells)
    assert {cell.config.betas for cell in cells} == {(0.9, 0.99), (0.9, 0.95)}
    assert {cell.values["betas"] for cell in cells} == {"0.9+0.99", "0.9+0.95"}
    assert json.loads(json.dumps([dict(cell.values) for cell in cells]))
    again = make_sweep("pretrain_tiny", [trees], grid, tmp_path, changes, (0,)).cells
    assert [cell.name for cell in again] == [cell.name for cell in cells]


def test_a_text_is_read_as_the_command_line_reads_settings(trees, tmp_path):
    grid = {"objective.task_names": "(of_bond,of_atom),of_pair", "patience": "none,5"}
    cells = make_sweep("labels_tiny", trees.path, grid, tmp_path).cells
    assert [(c.config.objective.task_names, c.config.patience) for c in cells] == [
        (("of_bond", "of_atom"), None),
        (("of_bond", "of_atom"), 5),
        (("of_pair",), None),
        (("of_pair",), 5),
    ]
    assert cells[0].config.data == (str(trees.path),)


@pytest.mark.parametrize(
    ("presets", "grid", "changes", "seeds", "message"),
    [
        (["laptop_0m"], RATES, {}, (0,), "unknown preset 'laptop_0m' .did you mean 'laptop_"),
        (["laptop_0m1"], {"lerning_rate": [1]}, {}, (0,), "did you mean 'learning_rate'"),
        (["laptop_0m1"], RATES, {"step": 1}, (0,), "unknown setting 'step'"),
        (
            ["laptop_0m1"],
            {"learning_rate": "1e-3,-1"},
            {},
            (0,),
            "laptop_0m1-learning_rate=-1-seed=0: learning_rate is -1.0: give a number above 0",
        ),
        (["laptop_0m1"], {"steps": "5,many"}, {}, (0,), "steps=many-seed=0: .*give a int"),
        (["laptop_0m1"], {"steps": []}, {}, (0,), "no value for 'steps'"),
        (["laptop_0m1"], {"steps": "5,,6"}, {}, (0,), "no value for 'steps', or an empty one"),
        (["laptop_0m1"], {"betas": "(0.9,0.99"}, {}, (0,), "a bracket is open in '.0.9,0.99'"),
        ([], RATES, {}, (0,), "needs a preset and a seed"),
        (["laptop_0m1"], RATES, {}, (), "needs a preset and a seed"),
        (["laptop_0m1"], {"seed": [1, 2]}, {}, (0,), "'seed' is no setting of a grid"),
        (["laptop_0m1"], RATES, {"learning_rate": 1}, (0,), "in the grid and in the changes"),
        (["laptop_0m1"], {"learning_rate": "0.001,1e-3"}, {}, (0,), "2 runs would be laptop_0m1-"),
        (["laptop_0m1"], RATES, {}, range(501), "the grid has 1,002 runs, .* at most 1,000"),
    ],
)
def test_what_cannot_be_is_refused_with_its_cell(
    presets, grid, changes, seeds, message, trees, tmp_path
):
    assert MOST_CELLS == 1_000
    with pytest.raises(InputError, match=message):
        make_sweep(presets, [trees], grid, tmp_path, changes, seeds)


# -------------------------------------------------------------------------------------- training


def test_one_that_fails_holds_up_no_other_and_is_tried_again(trees, tmp_path):
    grid = {"learning_rate": (DIVERGING, 1e-3)}
    sweep = rates(trees, tmp_path / "s", grid, (0,), clip_norm=DIVERGING)
    reports = []
    failures = run_sweep(sweep, device="cpu", watch=reports.append)
    bad, good = sweep.cells
    assert list(failures) == [bad.name] and "the loss is nan at step" in failures[bad.name]
    assert (bad.state, good.state) == ("failed", "done")
    assert "lower the learning rate" in (bad.folder / "log.txt").read_text()
    last = reports[-1]
    assert (last.step, last.steps) == (12, 12)
    assert (last.n_done, last.n_failed, last.n_cell, last.under_way) == (1, 1, 2, ())
    assert sweep.failures() == load_sweep(sweep.path).failures() == failures
    before = files_of(good.folder)
    assert run_sweep(sweep, device="cpu") == failures
    assert files_of(good.folder) == before, "what is finished is not touched"


def test_what_cannot_even_begin_is_a_failure_too(trees, tmp_path):
    sweep = make_sweep(
        "labels_tiny",
        [trees],
        {"objective.task_names": ["of_molecule", "of_nothing"]},
        tmp_path / "s",
        SHORT,
    )
    failures = run_sweep(sweep, device="cpu")
    assert sweep.cells[0].state == "done" and sweep.cells[1].run is None
    assert "no dataset of this run has the task 'of_nothing'" in failures[sweep.cells[1].name]
    done, failed = sweep_rows(sweep)  # finished ones come first
    assert (done["state"], failed["state"]) == ("done", "failed")
    assert failed["reason"] and failed["loss"] is None and "val_hidden_loss" not in done


def test_a_folder_of_other_settings_is_refused_before_anything_is_trained(unbroken, trees):
    other = rates(trees, unbroken.path, steps=7)
    before = files_of(unbroken.path)
    with pytest.raises(InputError, match=r"holds a run that differs in steps: give the sweep"):
        run_sweep(other, device="cpu")
    assert files_of(unbroken.path) == before


def test_places_that_cannot_be_are_refused(trees, tmp_path, monkeypatch):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="holds 1 other things"):
        run_sweep(rates(trees, tmp_path))
    lost = make_sweep("pretrain_tiny", [tmp_path / "nowhere"], RATES, tmp_path / "s", SHORT)
    with pytest.raises(InputError, match="no curated dataset at .*nowhere"):
        run_sweep(lost)
    assert not (tmp_path / "s").exists()
    with pytest.raises(InputError, match="is no sweep: it has no sweep.json"):
        load_sweep(tmp_path)
    with pytest.raises(InputError, match="workers=-1"):
        run_sweep(rates(trees, tmp_path / "s"), workers=-1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="start it without torchrun"):
        run_sweep(rates(trees, tmp_path / "s"))


def test_a_grid_that_has_grown_keeps_what_it_had(trees, tmp_path):
    small = rates(trees, tmp_path / "s", {"learning_rate": (1e-3,)}, (0,))
    run_sweep(small, device="cpu")
    before = files_of(small.cells[0].folder)
    grown = rates(trees, tmp_path / "s", {"learning_rate": (2e-3, 1e-3)}, (0,))
    began = []
    run_sweep(grown, device="cpu", watch=lambda report: began.extend(report.under_way))
    assert set(began) == {grown.cells[0].name}
    assert files_of(small.cells[0].folder) == before
    run_sweep(small, device="cpu")
    assert len(load_sweep(small.path).cells) == 2, "those of the larger grid are still known"


def test_stopping_leaves_a_sweep_that_goes_on_to_the_same_bits(unbroken, trees, tmp_path):
    sweep = rates(trees, tmp_path / "s")
    run_sweep(sweep, device="cpu", watch=lambda report: report.step < 9)
    assert [cell.state for cell in sweep.cells] == ["done", "stopped", "new", "new"]
    assert sweep.failures() == {}
    moved = sweep.path.rename(tmp_path / "moved")
    run_sweep(moved, device="cpu")
    assert digests(load_sweep(moved)) == digests(unbroken)


def test_an_error_of_who_watches_is_no_failure_of_a_run(trees, tmp_path):
    sweep = rates(trees, tmp_path / "s")
    with pytest.raises(ZeroDivisionError):
        run_sweep(sweep, device="cpu", watch=lambda report: 1 / (report.step - 3))
    assert sweep.cells[0].state == "stopped" and sweep.failures() == {}


def die_in_the_second_run(trees, folder):
    """Train a sweep, and be killed after the third step of its second run."""

    def watch(report):
        if report.step == 9:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    run_sweep(rates(trees, folder), device="cpu", watch=watch)


def test_a_killed_sweep_goes_on_and_ends_as_one_that_was_not(unbroken, trees, tmp_path):
    sweep = rates(trees, tmp_path / "s")
    process = server().Process(target=die_in_the_second_run, args=(trees, sweep.path))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert [cell.state for cell in sweep.cells] == ["done", "killed", "new", "new"]
    assert sweep_table(sweep.path)["state"].tolist()[0] == "done"
    before = files_of(sweep.cells[0].folder)
    assert run_sweep(sweep, device="cpu") == {}
    assert files_of(sweep.cells[0].folder) == before
    assert digests(sweep) == digests(unbroken)
    costs = ["seconds", "cpu_seconds", "peak_mib", "run"]
    tables = [sweep_table(one).drop(columns=costs) for one in (sweep, unbroken)]
    pd.testing.assert_frame_equal(*tables)


def test_two_processes_do_not_train_one_sweep(trees, tmp_path):
    sweep = rates(trees, tmp_path / "s")

    def watch(_report):
        with pytest.raises(InputError, match="is being trained by process"):
            run_sweep(sweep, device="cpu")
        return False

    run_sweep(sweep, device="cpu", watch=watch)


# ------------------------------------------------------------------------- processes of their own

LONG = {"steps": 60, "eval_every": 60, "checkpoint_every": 5}


def sweep_with_workers(trees, folder, grid):
    run_sweep(rates(trees, folder, grid, (0,), clip_norm=DIVERGING, **LONG), 2, "cpu")


def test_processes_end_with_the_one_that_began_them_and_the_same_call_goes_on(trees, tmp_path):
    """And give what one process gives, with one thread each."""
    grid = {"learning_rate": (1e-3, DIVERGING)}
    sweep = rates(trees, tmp_path / "s", grid, (0,), clip_norm=DIVERGING, **LONG)
    good, bad = sweep.cells
    process = server().Process(target=sweep_with_workers, args=(trees, sweep.path, grid))
    process.start()
    wait_for(lambda: good.run and good.run.last_step)
    assert read_owner(good.folder)["pid"] != process.pid and is_owned(good.folder)
    process.kill()
    process.join()
    failures = run_sweep(sweep, 2, "cpu")
    assert list(failures) == [bad.name]
    assert failures[bad.name].startswith("the loss is nan at step"), "without the command's name"
    assert [cell.state for cell in sweep.cells] == ["done", "failed"]
    assert good.run.read("machine.json")["torch_threads"] == 1
    alone = train(good.config, tmp_path / "alone", device="cpu")
    assert result_digests(good.run) == result_digests(alone)


@pytest.fixture
def quick_child(monkeypatch):
    """Processes that run some code in the place of a training."""

    def set_code(code: str) -> None:
        monkeypatch.setattr(children, "_CHILD", code)

    return set_code


def some_runs(folder: Path, n: int) -> list[SimpleNamespace]:
    """Folders that pass for runs."""
    runs = [SimpleNamespace(path=folder / str(number)) for number in range(n)]
    for run in runs:
        run.path.mkdir()
    return runs


def test_every_process_sees_one_gpu_and_each_gpu_has_as_many(tmp_path, quick_child):
    quick_child(
        "import os, sys, time\n"
        "names = ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS')\n"
        "print(*map(os.environ.get, names), *sys.argv[2:], flush=True); time.sleep(0.3)"
    )
    runs = some_runs(tmp_path, 6)
    places = deal(["2", "GPU-5a"], 2)
    with Children(places) as team:
        futures = [team.submit(lambda run=run: run) for run in runs]
        assert [future.result() for future in futures] == [None] * 6
    said = [(run.path / "log.txt").read_text().split() for run in runs]
    assert sorted(words[0] for words in said) == ["2"] * 3 + ["GPU-5a"] * 3
    assert said[0][2:] == ["train", str(runs[0].path), "--device", "cuda"]
    assert int(said[0][1]) >= 1


def test_places_are_dealt_to_the_gpus_that_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def dealt(device, workers):
        return [place.variables["CUDA_VISIBLE_DEVICES"] for place in make_places(device, workers)]

    assert dealt("auto", None) == ["0", "1", "2"]
    assert dealt("cuda", 5) == ["0", "1", "2", "0", "1"]
    assert dealt("cuda:1", None) == ["1"]
    assert make_places("auto", 0) == make_places("cpu", None) == []
    assert [place.variables["OMP_NUM_THREADS"] for place in make_places("cpu", 2)] == ["1", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 6,MIG-7")
    assert dealt("auto", None) == ["4", "6", "MIG-7"]
    assert dealt("cuda:2", 2) == ["MIG-7", "MIG-7"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.kill(os.getpid(), 9)", r"ended by signal 9 \(SIGKILL\)"),
        ("raise SystemExit(3)", "exit code 3 and said nothing"),
        ("raise MemoryError('no room')", "MemoryError: no room"),
        (
            "import sys; print('molnb train: no task'); print('bye'); sys.exit(2)",
            "^no task$",
        ),
    ],
)
def test_why_a_process_ended_is_told(code, reason, tmp_path, quick_child):
    quick_child(code)
    (run,) = some_runs(tmp_path, 1)
    (run.path / "log.txt").write_text("molnb train: of yesterday\n")
    with Children([Place("cpu", {})]) as team:
        assert re.search(reason, team.submit(lambda: run).result())


def test_processes_are_let_end_or_ended(tmp_path, quick_child):
    quick_child(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\n"
        "print('begun', flush=True); time.sleep(100)"
    )
    runs = some_runs(tmp_path, 2)
    log = runs[0].path / "log.txt"
    with Children([Place("cpu", {})]) as team:
        futures = [team.submit(lambda run=run: run) for run in runs]
        wait_for(lambda: log.exists() and "begun" in log.read_text())
        team.stop()
        assert [future.result() for future in futures] == [None, None]
    assert log.read_text() == "begun\nsaved\n"
    assert not (runs[1].path / "log.txt").read_text(), "it was not begun"
    since = time.time()
    with pytest.raises(KeyboardInterrupt), Children([Place("cpu", {})]) as team:
        team.submit(lambda: runs[1])
        wait_for((runs[1].path / "log.txt").read_text)
        raise KeyboardInterrupt
    assert time.time() - since < 60 and (runs[1].path / "log.txt").read_text() == "begun\n"


# ------------------------------------------------------------------------------- many under way


def test_no_more_are_under_way_than_there_is_room_for():
    under_way = []
    most = []

    def submit(item):
        future = Future()
        under_way.append((item, future))
        most.append(len(under_way))
        if len(under_way) == 3 or item == 6:
            while under_way:  # all at once
                item, waiting = under_way.pop()
                waiting.set_result(10 * item)
        return future

    done = {item: future.result() for item, future in as_done(submit, range(7), 3)}
    assert done == {item: 10 * item for item in range(7)} and max(most) == 3


def test_nothing_more_is_begun_once_it_is_not_to_go_on():
    asked = []

    def submit(item):
        future = Future()
        future.set_result(item)
        return future

    def going_on():
        asked.append(1)
        return len(asked) < 3

    assert [item for item, _ in as_done(submit, range(9), 1, going_on)] == [0, 1]


def test_settings_that_a_run_reads_from_its_data_are_no_difference(trees, tmp_path):
    changes = {"model": TINY, "steps": 1, "global_batch": 4}
    (cell,) = make_sweep("finetune_tiny", [trees], {"n_val": [4]}, tmp_path, changes).cells
    run = train(cell.config, cell.folder, device="cpu")
    assert run.config != cell.config, "tasks and their scales were read"
    assert differing_settings(run.config, cell.config) == []
    named = replace(cell.config, objective=replace(cell.config.objective, task_names=("of_bond",)))
    assert differing_settings(run.config, named) == ["objective"]
    assert differing_settings(run.config, replace(cell.config, seed=2, steps=3)) == [
        "steps",
        "seed",
    ]


# ---------------------------------------------------------------------------------------- tables


def test_the_table_says_what_varies_how_far_it_is_and_what_it_cost(unbroken):
    table = sweep_table(unbroken.path)
    assert table.columns.tolist() == [
        *("preset", "learning_rate", "N", "seed", "state", "step", "steps", "loss"),
        *("val_hidden_loss", "val_visible_loss"),
        *("flops", "seconds", "cpu_seconds", "peak_mib", "reason", "run"),
    ]
    assert table["loss"].is_monotonic_increasing and len(table) == 4
    assert set(table["N"]) == {count_parameters(TINY).n}
    for row in table.to_dict("records"):
        run = Run(row["run"])
        assert row["loss"] == row["val_hidden_loss"] == run.last("hidden")["loss"]
        assert row["val_visible_loss"] == run.last("visible")["loss"]
        assert row["learning_rate"] == run.config.learning_rate and row["seed"] == run.config.seed
        assert (row["state"], row["step"], row["steps"]) == ("done", 6, 6)
        status = run.status()
        costs = ("flops", "seconds", "cpu_seconds", "peak_mib")
        assert {name: row[name] for name in costs} == {name: status[name] for name in costs}


def test_validation_of_another_part_has_columns_of_its_own(trees, tmp_path):
    sweep = rates(trees, tmp_path / "s", {"learning_rate": (1e-3,)}, (0,))
    run_sweep(sweep, device="cpu")
    run = sweep.cells[0].run
    of_part = [row | {"part": "val_random", "loss": 0.5} for row in run.metrics("val")]
    append_lines(run.path / LOGS[0], map(json.dumps, of_part))
    (row,) = sweep_rows(sweep)
    assert row["val_random_hidden_loss"] == row["val_random_visible_loss"] == 0.5
    assert row["loss"] == row["val_hidden_loss"] == run.last("hidden")["loss"]


def test_means_and_spread_are_over_seeds_alone(unbroken):
    table = sweep_table(unbroken)
    means = by_setting(table)
    assert means["learning_rate"].nunique() == len(means) == 2
    assert means["mean"].is_monotonic_increasing
    for row in means.to_dict("records"):
        losses = table.loc[table["learning_rate"] == row["learning_rate"], "loss"]
        assert row["mean"] == pytest.approx(losses.mean())
        assert row["sd"] == pytest.approx(losses.std(ddof=1))
        assert (row["lowest"], row["highest"]) == (losses.min(), losses.max())
        assert (row["seeds"], row["failed"]) == (2, 0)
    assert set(by_setting(table, "flops")["mean"]) == set(
        table.groupby("learning_rate")["flops"].mean()
    )
    with pytest.raises(InputError, match="no column 'lost'"):
        by_setting(table, "lost")


def test_means_leave_out_what_is_not_done():
    common = {"a": 1, "N": 5}
    rows = [
        common | {"seed": 0, "state": "done", "loss": 2.0},
        common | {"seed": 1, "state": "failed", "loss": 9.0},
        common | {"seed": 2, "state": "running", "loss": 9.0},
        common | {"seed": 3, "state": "done", "loss": math.nan},
        common | {"a": math.nan, "seed": 0, "state": "new", "loss": None},
    ]
    first, second = setting_rows(rows)
    assert first == common | {
        **{"seeds": 1, "failed": 1, "mean": 2.0, "sd": None},
        **{"lowest": 2.0, "highest": 2.0},
    }
    assert (second["a"], second["seeds"], second["mean"]) == (None, 0, None)
    assert setting_rows(rows[::-1])[0]["mean"] == 2.0


def test_the_last_step_is_read_from_the_end_of_a_log(unbroken, tmp_path):
    run = unbroken.cells[0].run
    assert run.last_step == 6
    (tmp_path / "config.json").write_text("{}")
    copied = Run(tmp_path)
    assert copied.last_step == 0
    lines = [json.dumps({"step": step, "seconds": step / 7}) for step in range(1000)]
    (tmp_path / LOGS[1]).write_text("\n".join(lines) + '\n{"step": 1000, "sec')
    assert copied.last_step == 999


def test_the_cool_downs_of_a_sweep_are_a_sweep_that_needs_its_runs(trees, tmp_path):
    stable = {**SHORT, "schedule": "stable", "decay_steps": 2, "keep_every": 1}
    family = make_sweep("laptop_0m1", [trees.path], {}, tmp_path / "s", stable, seeds=(0, 1))
    with pytest.raises(InputError, match="laptop_0m1-seed=0, laptop_0m1-seed=1 .*not finished"):
        cool_down_sweep(family, [3])
    assert run_sweep(family, device="cpu") == {}
    cooled = cool_down_sweep(family, [3, 4], share=0.5)
    assert cooled.path == tmp_path / "s-cool-downs"
    assert [cell.name for cell in cooled.cells] == [
        f"laptop_0m1-seed={seed}-to-{end}" for seed in (0, 1) for end in (3, 4)
    ]
    assert run_sweep(cooled, device="cpu") == {}
    for cell in cooled.cells:
        assert cell.run.config.branch_step == cell.config.steps // 2
        assert cell.run.last_step == cell.config.steps
    before = result_digests(cooled.cells[0].run)
    assert run_sweep(cool_down_sweep(family, [3, 4, 5], share=0.5), device="cpu") == {}
    assert result_digests(cooled.cells[0].run) == before, "what is done is not trained again"


def test_a_folder_of_a_cell_may_be_there_before_the_sweep(trees, tmp_path):
    sweep = make_sweep("laptop_0m1", [trees.path], {}, tmp_path / "s", SHORT)
    sweep.cells[0].folder.mkdir(parents=True)
    (sweep.cells[0].folder / "prediction.json").write_text("{}")
    assert run_sweep(sweep, device="cpu") == {} and sweep.cells[0].state == "done"
    (tmp_path / "t" / "another").mkdir(parents=True)
    with pytest.raises(InputError):
        run_sweep(replace(sweep, path=tmp_path / "t"), device="cpu")
