"""Runs: what a folder holds, how runs are listed, and what is no run."""

from __future__ import annotations

import json

import pytest
from tiny import SMALL, small_run

from molnb.errors import InputError
from molnb.models.families import count_parameters
from molnb.objectives.supervised import Supervised
from molnb.training.config import RunConfig
from molnb.training.loop import train
from molnb.training.runs import Run, find_run, load_runs, runs_table, start_run


def test_runs_are_listed(nci, home):
    run = train(small_run(nci, steps=2))
    assert run.path.parent == home / "runs" and run.path.name.endswith(f"_t_{run.config.id}")
    assert [other.path for other in load_runs()] == [run.path]
    (row,) = runs_table().to_dict("records")
    assert (row["state"], row["family"], row["step"]) == ("done", "unimol2", 2)
    assert row["molecules"] == 16 and row["N"] == count_parameters(SMALL).n
    assert row["token_ce_nats"] == run.last()["token_ce_nats"]
    again = start_run(small_run(nci, steps=2))
    assert again.path.name == f"{run.path.name}-2"
    assert runs_table()["state"].tolist() == ["done", "new"]
    stored = json.loads((run.path / "config.json").read_text())
    assert RunConfig.from_dict(stored) == run.config


def test_a_run_names_the_machine_that_it_began_on(finished):
    machine = json.loads((finished.path / "machine.json").read_text())
    assert machine["processor"] and machine["torch_threads"] >= 1


def test_a_run_is_found_by_its_folder_or_its_name(finished, nci, home):
    run = start_run(small_run(nci))
    assert find_run(run.path.name).path == run.path
    assert find_run(finished.path).path == finished.path


def test_a_folder_with_another_run_is_refused(nci, tmp_path):
    start_run(small_run(nci), tmp_path / "r")
    with pytest.raises(InputError, match="differs in seed"):
        start_run(small_run(nci, seed=9), tmp_path / "r")


@pytest.mark.parametrize(
    "left", [[], ["machine.json"], ["checkpoints", "data.json"], ["lesson.ipynb"], [".gitignore"]]
)
def test_a_folder_that_holds_no_more_than_a_run_begins_with_becomes_one(nci, tmp_path, left):
    """As after a kill, or where the notebook that trains keeps its copy."""
    for name in left:
        (tmp_path / name).mkdir() if name == "checkpoints" else (tmp_path / name).write_text("{}")
    assert start_run(small_run(nci), tmp_path).state == "new"


@pytest.mark.parametrize("name", ["notes.txt", "data", "weights.safetensors", "model.json"])
def test_a_folder_of_other_things_does_not_become_a_run(nci, tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match="holds 1 other things"):
        start_run(small_run(nci), tmp_path)
    with pytest.raises(InputError, match="is a file, and a folder is needed"):
        start_run(small_run(nci), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_is_no_run_is_refused(tmp_path, nci):
    with pytest.raises(InputError, match="is no run"):
        Run(tmp_path)
    with pytest.raises(InputError, match="no curated dataset at 'nowhere'"):
        train(small_run(nci, data=("nowhere",)), tmp_path / "r")
    with pytest.raises(InputError, match="no dataset of this run has the task 'colour'"):
        train(small_run(nci, objective=Supervised(("colour",))), tmp_path / "s")


def test_a_run_from_before_families_is_refused_in_one_message(nci, tmp_path):
    run = start_run(small_run(nci), tmp_path / "r")
    stored = run.read("config.json")
    del stored["model"]["family"]
    (run.path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="was made by an older molnb .* train it again"):
        train(run)
    assert runs_table(tmp_path)["family"].isna().all(), "and still listed"


def test_logged_rows_are_chosen_by_part_and_features_and_a_line_cut_short_is_left_out(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    run = Run(tmp_path)
    assert run.metrics() == [] and run.last() == {}
    run.log([{"step": 1, "part": "train", "features": "mixed", "loss": 3.0}], 0.5)
    val = [{"step": 2, "part": "val", "features": f, "loss": 2.0} for f in ("hidden", "visible")]
    run.log(val, 1.0)
    assert run.losses("val", "hidden")["loss"].tolist() == [2.0] and len(run.losses()) == 3
    run.log([], 2.0)
    assert [row["step"] for row in run.metrics("train")] == [1]
    assert run.metrics("val", "hidden") == val[:1] and run.last() == val[1]
    assert run.timings() == [{"step": 1, "seconds": 0.5}, {"step": 2, "seconds": 1.0}]
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "pa')
    assert len(run.metrics()) == 3
    run.forget_after(1)
    assert [row["step"] for row in run.metrics()] == [1]
    assert [row["step"] for row in run.timings()] == [1]


def test_a_file_of_a_run_that_is_not_readable_is_named(finished, tmp_path):
    (tmp_path / "config.json").write_text('{"name": ')
    with pytest.raises(InputError, match=f"{tmp_path}/config.json is not readable JSON"):
        Run(tmp_path).name  # noqa: B018
    assert finished.read("no_such.json") == {}
