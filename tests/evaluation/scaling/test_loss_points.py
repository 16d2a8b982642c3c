"""Points of scaling laws: what runs logged, as sizes, data, FLOPs and losses."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
from made_runs import Plan, made_run, made_sweep
from made_shards import make_shards
from tiny import TINY, small_run

from molnb import final_points, later_points, loss_points, sizes_table, train
from molnb.data.draws import Sampling
from molnb.errors import InputError
from molnb.evaluation.scaling.points import find_runs, replicate_group
from molnb.models.families import count_parameters
from molnb.training.config import RunConfig

HAS_BRANCHES = "branch" in {field.name for field in fields(RunConfig)}


def test_a_row_is_a_validation_with_size_data_and_flops(tmp_path):
    plan = Plan()
    run = made_run(tmp_path / "run", plan)
    points = loss_points([run])
    counts = count_parameters(plan.config().model)
    assert points["step"].tolist() == list(range(0, 401, 50))
    assert (points["N"] == counts.n).all() and (points["parameters"] == counts.total).all()
    assert points["samples"].tolist() == [64 * step for step in points["step"]]
    assert points["unique"].tolist() == [min(64 * step, 20_000) for step in points["step"]]
    # step 50 lies between the logged steps 40 and 60
    assert points["flops"].tolist() == pytest.approx(
        [100 * counts.n * n for n in points["samples"]]
    )
    assert points["final"].tolist() == [False] * 8 + [True]
    assert set(points["device"]) == {"a processor"} and set(points["name"]) == {"made"}
    hidden = [row["loss"] for row in run.metrics("val", "hidden")]
    assert points["loss"].tolist() == hidden
    visible = loss_points([run], features="visible", term="coords")
    assert visible["loss"].tolist() == pytest.approx([loss / 6 for loss in hidden])


def test_runs_that_differ_in_seed_and_name_are_replicates(tmp_path):
    plans = [
        Plan(),
        Plan(seed=1, name="other"),
        Plan(changes=(("learning_rate", 1e-3),)),
        Plan(n_layer=5),
    ]
    groups = [replicate_group(made_run(tmp_path / str(k), p)) for k, p in enumerate(plans)]
    assert groups[0] == groups[1] and len({*groups}) == 3


def test_only_ends_of_finished_runs_whose_rate_has_fallen_are_final(tmp_path):
    done = made_run(tmp_path / "done")
    stopped = made_run(tmp_path / "stopped", Plan(seed=1), state="stopped")
    constant = made_run(tmp_path / "constant", Plan(seed=2))
    file = constant.path / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    same = [row | {"learning_rate": 1e-4} if row["part"] == "train" else row for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in same))
    points = loss_points([done, stopped, constant])
    assert final_points(points)["run"].tolist() == ["done"]
    with pytest.raises(InputError, match="none of 2 runs is finished with a fallen learning rate"):
        final_points(points[points["run"] != "done"])


def test_the_beginning_of_each_training_is_left_out_by_its_own_length(tmp_path):
    runs = [made_run(tmp_path / str(n), Plan(steps=n)) for n in (200, 400)]
    later = later_points(loss_points(runs))
    assert later.groupby("run")["step"].min().to_dict() == {"200": 100, "400": 150}
    with pytest.raises(InputError, match="share is 1"):
        later_points(later, 1)
    with pytest.raises(InputError, match="no validation lies behind the first 99 %"):
        later_points(later[~later["final"]], 0.99)


def test_runs_are_found_by_name_path_or_folder_and_counted_once(tmp_path, home):
    sweep = made_sweep(tmp_path / "sweep", n_seed=1)
    named = made_run(home / "runs" / "named")
    first = next(iter(sorted(sweep.iterdir())))
    runs = find_runs([sweep, first, "named", named])
    assert len(runs) == 10
    with pytest.raises(InputError, match="is no run"):
        find_runs([tmp_path / "nowhere"])
    table = sizes_table(loss_points(runs))
    assert table["runs"].sum() == 10 and table["N"].is_monotonic_increasing


def test_runs_of_one_name_in_two_folders_stay_apart(tmp_path):
    runs = [made_run(tmp_path / part / "run", Plan(seed=k)) for k, part in enumerate("ab")]
    points = loss_points(runs)
    assert points["run"].nunique() == 2 == points["trunk"].nunique()


def test_runs_without_a_validation_are_named_and_unknown_kinds_refused(tmp_path):
    run = made_run(tmp_path / "run")
    young = made_run(tmp_path / "young", Plan(seed=1), state="running")
    (young.path / "metrics.jsonl").unlink()
    points = loss_points([run, young])
    assert points.attrs["notes"] == ["young has not been validated yet: it is killed."]
    with pytest.raises(InputError, match="of 1 runs none has been validated yet"):
        loss_points([young])
    with pytest.raises(InputError, match="no validation of part 'val_random'"):
        loss_points([run], part="val_random")
    with pytest.raises(InputError, match=r"features 'hiden' \(did you mean 'hidden'\?\)"):
        loss_points([run], features="hiden")
    with pytest.raises(InputError, match="no term 'coord'.*choose one of loss, coords"):
        loss_points([run], term="coord")


def test_what_a_run_did_not_count_is_missing(tmp_path):
    run = made_run(tmp_path / "run", Plan(changes=(("sampling", Sampling("scaffold")),)))
    file = run.path / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        row.pop("flops", None)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    points = loss_points([run])
    assert points["flops"].isna().all()
    assert points["unique"].isna().all(), "molecules of a scaffold are drawn unevenly"


@pytest.mark.skipif(not HAS_BRANCHES, reason="runs cannot branch yet")
def test_cool_downs_belong_to_their_trunk_and_to_those_of_its_replicates(tmp_path):
    stable = {"schedule": "stable", "decay_steps": 0, "keep_every": 50}
    groups = []
    for seed in range(2):
        parent = made_run(tmp_path / f"trunk{seed}", Plan(seed=seed, changes=(*stable.items(),)))
        branch = {"schedule": "stable", "branch": str(parent.path), "branch_step": 100}
        plan = Plan(seed=seed, steps=200, changes=(*branch.items(),))
        cooled = made_run(tmp_path / f"cooled{seed}", plan)
        points = loss_points([parent, cooled])
        assert set(points["trunk"]) == {f"trunk{seed}"}
        alone = loss_points([cooled])
        assert set(alone["trunk"]) == {f"trunk{seed}"}
        groups.append([replicate_group(run) for run in (parent, cooled)])
    assert groups[0] == groups[1] and groups[0][0] != groups[0][1]


def test_real_runs_of_two_seeds_are_read_as_they_were_trained(tmp_path):
    shards = make_shards(tmp_path / "trees")
    config = {"model": TINY, "split": "random", "log_every": 4, "steps": 12, "eval_every": 6}
    runs = [
        train(small_run(shards, seed=seed, **config), tmp_path / f"run{seed}") for seed in (0, 1)
    ]
    points = loss_points(runs)
    assert points["step"].tolist() == [0, 6, 12] * 2
    assert points["group"].nunique() == 1 and points["final"].sum() == 2
    for run, of_run in zip(runs, (points[:3], points[3:])):
        assert of_run["loss"].tolist() == [row["loss"] for row in run.metrics("val", "hidden")]
        assert of_run["flops"].iloc[-1] == run.status()["flops"]
        assert of_run["flops"].iloc[0] == 0 < of_run["flops"].iloc[1]
        assert of_run["samples"].tolist() == [0, 48, 96]
        assert of_run["unique"].tolist() == [0, 24, 24]
        assert np.isfinite(of_run["seconds"]).all() and of_run["corpus"].tolist() == [24] * 3
