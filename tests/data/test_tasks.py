"""Two different datasets in one run: labels are joined only where they mean the same."""

from __future__ import annotations

import numpy as np
import pytest
from made_data import ALCOHOLS, ALKANES, make_binary
from tiny import TINY

from molnb.data.dataset import Corpus
from molnb.data.tasks import dataset_names, find_tasks, join_tasks
from molnb.errors import InputError
from molnb.inference.predictor import load_run
from molnb.objectives.supervised import Supervised
from molnb.objectives.targets import scale_tasks
from molnb.shards import Shards
from molnb.training.config import RunConfig
from molnb.training.loop import train


def test_tasks_that_mean_the_same_are_one(gaps):
    tasks = join_tasks([gaps["alkanes"], gaps["in_volts"]])
    assert list(tasks) == ["shared", "of_alkanes", "of_in_volts"]
    assert [member.dataset for member in tasks["shared"].members] == [0, 1]
    corpus = Corpus([gaps["alkanes"], gaps["in_volts"]])
    labels = corpus.batch(np.arange(corpus.n), ["shared"]).labels["shared"]
    assert labels.index.tolist() == list(range(24))
    assert labels.values[:, 0].tolist() == [*range(12), *range(12)]


@pytest.mark.parametrize("other", ["alcohols", "by_pm6"])
def test_another_unit_or_theory_keeps_tasks_of_one_name_apart(gaps, other):
    corpus = Corpus([gaps["alkanes"], gaps[other]])
    keys = ["alkanes/shared", f"{other}/shared"]
    assert [key for key in corpus.tasks if "shared" in key] == keys
    batch = corpus.batch(np.arange(corpus.n), ["shared"])
    assert list(batch.labels) == keys, "the plain name means both"
    assert batch.labels[keys[0]].index.tolist() == list(range(12))
    assert batch.labels[keys[1]].index.tolist() == list(range(12, 24))
    largest = 11_000 if other == "alcohols" else 11
    assert float(batch.labels[keys[1]].values.max()) == largest
    assert list(corpus.batch(np.arange(24), [keys[1]]).labels) == [keys[1]]


@pytest.mark.parametrize(("field", "other"), [("level", "atom"), ("loss", "mae")])
def test_another_level_or_loss_keeps_tasks_of_one_name_apart(gaps, field, other):
    """A head reads vectors of one level: two tasks it is, whatever they are called."""
    tasks = gaps["in_volts"].manifest["tasks"]
    declared = tasks | {"shared": tasks["shared"] | {field: other}}
    changed = Shards(gaps["in_volts"].path, gaps["in_volts"].manifest | {"tasks": declared})
    joined = join_tasks([gaps["alkanes"], changed])
    keys = ["alkanes/shared", "in_volts/shared"]
    assert [key for key in joined if "shared" in key] == keys
    assert getattr(joined[keys[1]], field) == other != getattr(joined[keys[0]], field)
    assert find_tasks(joined, ["shared"]) == keys, "the plain name means both"
    assert find_tasks(joined, ["in_volts/shared"]) == keys[1:]


def test_classes_that_are_called_otherwise_keep_tasks_apart(tmp_path):
    """A binary label that names no classes has 0 and 1."""
    wet = {"wet": [0, 1] * 6}
    plain = make_binary(tmp_path, "plain", ALKANES, wet)
    numbered, worded = (
        make_binary(tmp_path, name, ALCOHOLS, wet) for name in ("numbered", "worded")
    )
    for shards in (plain, numbered, worded):
        shards.manifest["tasks"] = {"water": shards.manifest["tasks"][shards.name]}
    numbered.manifest["tasks"]["water"]["labels"][0]["classes"] = ["0", "1"]
    worded.manifest["tasks"]["water"]["labels"][0]["classes"] = ["wet", "dry"]
    assert list(join_tasks([plain, numbered])) == ["water"]
    assert list(join_tasks([plain, worded])) == ["plain/water", "worded/water"]
    (label,) = join_tasks([worded])["water"].labels
    assert label.classes == ("wet", "dry")


def test_scales_are_those_of_each_dataset_and_labels_bear_names_of_their_own(gaps):
    corpus = Corpus([gaps["alkanes"], gaps["alcohols"]])
    volts, millivolts = scale_tasks(corpus, ["shared"], np.arange(corpus.n))
    assert volts.labels == ("alkanes/shared/gap",) and volts.units == ("eV",)
    assert millivolts.labels == ("alcohols/shared/gap",) and millivolts.units == ("meV",)
    assert millivolts.mean[0] == pytest.approx(1000 * volts.mean[0])
    assert volts.scale[0] == pytest.approx(np.arange(12.0).std())
    (alone,) = scale_tasks(Corpus([gaps["alkanes"]]), ["shared"], np.arange(12))
    assert alone.labels == ("gap",), "a plain name where it is clear"


def test_metrics_and_predictions_of_equal_names_do_not_overwrite_each_other(gaps, tmp_path):
    data = tuple(str(gaps[name].path) for name in ("alkanes", "alcohols"))
    objective = Supervised(("shared", "of_alkanes"))
    schedule = {"steps": 60, "learning_rate": 3e-3, "warmup_steps": 5, "eval_every": 60}
    config = RunConfig("two", data, TINY, objective, global_batch=8, **schedule)
    run = train(config, tmp_path / "two")
    row = run.last()
    assert {"alkanes/shared/gap_mae_eV", "alcohols/shared/gap_mae_meV", "size_mae"} <= set(row)
    assert row["alcohols/shared/gap_mae_meV"] > 20 * row["alkanes/shared/gap_mae_eV"]
    assert set(run.baselines()["mean"]) <= set(row)
    table = load_run(run.path).predict(["CCCCC", "OCCCCC"])
    columns = ["alkanes_shared_gap_eV", "alcohols_shared_gap_meV", "size"]
    assert list(table) == ["smiles", *columns, "error"]
    assert (table["alcohols_shared_gap_meV"] > 100 * table["alkanes_shared_gap_eV"].abs()).all()


def test_names_of_datasets_are_never_alike(gaps):
    shards = gaps["alkanes"]
    names = dataset_names([shards, gaps["alcohols"], shards])
    assert len(set(names)) == 3 and names[1] == "alcohols"
    assert all("." not in name for name in names), "heads are named after them"


def test_a_task_that_nobody_has_is_refused_with_the_nearest(gaps):
    tasks = join_tasks([gaps["alkanes"]])
    message = r"the task 'shard' \(did you mean 'shared'\?\): they have"
    with pytest.raises(InputError, match=message):
        find_tasks(tasks, ["shard"])
