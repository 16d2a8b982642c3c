"""Runs on sparse tasks: several labels of classes, absent tasks, weights given and learnt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_data import ALCOHOLS, ALKANES, make_dataset
from made_shards import make_shards
from safetensors.torch import load_file
from tiny import STEADY, TINY, small_run

from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.files import file_digest
from molnb.inference.predictor import load_run
from molnb.objectives.supervised import Supervised
from molnb.objectives.targets import scale_tasks
from molnb.training import groups
from molnb.training.config import RunConfig
from molnb.training.loop import prepare_run, train
from molnb.training.optimizer import make_optimizer
from molnb.training.overrides import change
from molnb.training.runs import make_model

SMILES = ALKANES + ALCOHOLS
RESULTS = ("weights.safetensors", "metrics.jsonl", "notes.json", "baselines.json")
LEVELS = ("of_molecule", "of_atom", "of_bond", "of_pair")


def digests(run) -> list[str]:
    return [file_digest(run.path / name) for name in RESULTS]


@pytest.fixture(scope="module")
def genes(tmp_path_factory):
    """Up, same or down after alkanes and alcohols; of a third gene nothing is known in training.

    A fourth is told in two classes only. A second task is of numbers, and known of two molecules.
    """
    folder = tmp_path_factory.mktemp("genes")
    steps = ["down", "same", "up"]
    labels = {
        "a": [steps[n // 8] for n in range(24)],
        "b": [None if n % 2 else steps[n % 3] for n in range(24)],
        "late": [None] * 20 + ["down", "same", "up", "up"],
        "two": ["no" if n < 12 else "yes" for n in range(24)],
        "size": [None] * 22 + [1.0, 2.0],
    }
    names = ["a", "b", "late", "two"]
    classes = {name: {step: number for number, step in enumerate(steps)} for name in names}
    classes["two"] = {"no": 0, "yes": 1}
    tasks = [
        {"name": "genes", "labels": names, "kind": "classes", "loss": "hybrid_ce"},
        {"name": "sizes", "labels": ["size"]},
    ]
    return make_dataset(folder, "genes", SMILES, labels, tasks, classes=classes)


def config_for(shards, **changes) -> RunConfig:
    """A few steps on the first twenty molecules, judged by the last four."""
    settings = {
        "model": TINY,
        "objective": Supervised(),
        "train_ids": tuple(range(20)),
        "val_ids": tuple(range(20, 24)),
        "steps": 6,
        "eval_every": 3,
        "checkpoint_every": 3,
    }
    return small_run(shards, **(settings | changes))


@pytest.fixture(scope="module")
def run(genes, tmp_path_factory):
    return train(config_for(genes), tmp_path_factory.mktemp("run") / "r")


# ----------------------------------------------------------------------- several labels of classes


def test_what_has_no_training_label_is_left_out_and_said_once(run, genes, tmp_path, capsys):
    (task,) = run.config.objective.tasks_scaled
    assert task.labels == ("a", "b", "late", "two")
    assert task.learnt == (True, True, False, True)
    of_tasks, of_labels, *rare = run.notes()
    assert of_tasks == (
        "Not learnt, for want of a label on any training row: sizes (1 of 2 tasks)."
    )
    assert of_labels.startswith("Of the 4 labels of task 'genes', 1 have no value on any training")
    assert not any("late" in note for note in rare)
    with pytest.raises(InputError, match="'sizes' has no label on any training row"):
        train(config_for(genes, objective=Supervised(("genes", "sizes"))), tmp_path / "named")


def test_rows_and_bars_of_several_labels_of_classes_have_the_same_names(run):
    row = run.last()
    bars = run.baselines()["mean"]
    assert set(bars) - {"late_accuracy"} <= set(row)
    learnt = ("a", "b", "two")
    scores = ("accuracy", "auroc", "ap", "rarest", "n")
    assert {f"{label}_{score}" for label in learnt for score in scores} <= set(row)
    assert {"genes_loss", "genes_mean_auroc", "genes_mean_ap"} <= set(row)
    assert not any(name.startswith("late") for name in row)
    assert row["loss"] == row["genes_loss"]
    accuracies = {name for name in run.metrics("train")[-1] if name.endswith("accuracy")}
    assert accuracies <= {"a_accuracy", "b_accuracy", "two_accuracy"}


def test_several_labels_of_classes_are_learnt_by_heart(genes, tmp_path):
    config = config_for(genes, steps=200, eval_every=200, model=STEADY, learning_rate=3e-3)
    run = train(config, tmp_path / "r")
    first, last = run.metrics("train_sample")
    assert last["loss"] < 0.3 * first["loss"]
    assert min(last["a_accuracy"], last["two_accuracy"]) > 0.9


def test_classes_of_several_labels_are_predicted_and_what_is_not_learnt_is_missing(run, genes):
    model = load_run(run.path)
    table = model.predict([*genes.smiles()[:5], "C("])
    steps = ("down", "same", "up")
    columns = [f"{gene}_{step}_probability" for gene in ("a", "b", "late") for step in steps]
    columns += ["two_no_probability", "two_yes_probability"]
    assert list(table) == ["smiles", *columns, "error"]
    known = table[:5]
    for label, own in {"a": steps, "b": steps, "two": ("no", "yes")}.items():
        total = sum(known[f"{label}_{step}_probability"] for step in own)
        assert np.allclose(total, 1, atol=1e-6)
    assert known[columns[6:9]].isna().all(axis=None)
    assert len(set(known["a_up_probability"])) > 1
    stored = model.predict(genes)
    assert np.allclose(stored[columns][:5], known[columns], atol=1e-3, equal_nan=True)
    assert model.embed(genes).shape == (24, TINY.d_atom)


def test_a_run_of_several_labels_of_classes_ends_in_the_same_bits(run, genes, tmp_path):
    part = train(config_for(genes), tmp_path / "r", watch=lambda report: report.step < 4)
    assert part.state == "stopped"
    assert digests(train(part.path)) == digests(run)


# ------------------------------------------------------------------------------------ absent tasks


def test_a_task_that_no_training_row_has_leaves_every_weight_as_it_would_be(genes, tmp_path):
    corpus = Corpus([genes])
    both = scale_tasks(corpus, ["genes", "sizes"], np.arange(24))
    config = config_for(genes, model=STEADY)
    runs = []
    for tasks in (both, both[:1]):
        objective = Supervised(tuple(task.key for task in tasks), tasks)
        runs.append(train(replace(config, objective=objective), tmp_path / str(len(tasks))))
    with_absent, without = (load_file(run.path / "weights.safetensors") for run in runs)
    assert set(without) < set(with_absent)
    assert all(torch.equal(with_absent[name], without[name]) for name in without)
    losses = [[row["loss"] for row in run.metrics("train")] for run in runs]
    assert losses[0] == losses[1]
    rest = {name: with_absent[name] for name in set(with_absent) - set(without)}
    untrained = make_model(runs[0].config).state_dict()
    assert rest and all(torch.equal(rest[name], untrained[name]) for name in rest)


# ------------------------------------------------------------------------ weights, given and learnt


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("trees"))


def test_weights_of_tasks_are_set_by_name_and_stored(trees, tmp_path):
    config = small_run(trees, objective=Supervised(LEVELS[:2]), steps=2)
    weighed = change(config, {"objective.task_weights": "of_molecule=3"})
    assert weighed.objective.task_weights == {"of_molecule": 3.0}
    run = train(weighed, tmp_path / "r")
    assert RunConfig.from_dict(run.config.to_dict()) == run.config
    row = run.last()
    expected = (3 * row["of_molecule_loss"] + row["of_atom_loss"]) / 4
    assert row["loss"] == pytest.approx(expected, rel=1e-12)
    misspelt = change(config, {"objective.task_weights": "of_molcule=3"})
    message = "names 'of_molcule' .did you mean 'of_molecule'.., the tasks that are learnt are of_"
    with pytest.raises(InputError, match=message):
        train(misspelt, tmp_path / "misspelt")
    for wrong in ("of_atom=0", "of_atom=-1", "of_atom=nan", "of_atom=inf"):
        with pytest.raises(InputError, match="for 'of_atom': give a number above 0"):
            change(config, {"objective.task_weights": wrong})
    with pytest.raises(InputError, match="weighting is 'uncertain' .did you mean 'uncertainty'"):
        change(config, {"objective.weighting": "uncertain"})


def learning_weights(trees, **changes) -> RunConfig:
    objective = Supervised(LEVELS, head_dropout=0.1, weighting="uncertainty")
    settings = {"objective": objective, "head_learning_rate": 5e-3, "weight_decay": 0.3}
    return small_run(trees, **(settings | changes))


def test_learned_weights_have_the_rate_of_heads_and_do_not_decay(trees, tmp_path):
    run = prepare_run(learning_weights(trees), tmp_path / "r")
    model = make_model(run.config)
    optimizer = make_optimizer(run.config, model)
    learnt = {id(model.head(task).log_variance) for task in LEVELS}
    rows = [row for row in optimizer.param_groups if learnt & set(map(id, row["params"]))]
    assert [(row["share"], row["weight_decay"]) for row in rows] == [(5.0, 0.0)]
    assert learnt <= set(map(id, rows[0]["params"]))
    plain = prepare_run(small_run(trees, objective=Supervised(LEVELS)), tmp_path / "plain")
    assert not any("log_variance" in name for name in make_model(plain.config).state_dict())


@pytest.fixture
def two_cores() -> Iterator[None]:
    n_core = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(n_core)


def test_learned_weights_are_resumed_and_shared_among_threads_in_the_same_bits(
    trees, tmp_path, two_cores, monkeypatch
):
    monkeypatch.setattr(groups, "WORTH_SHARING", 0)
    config = learning_weights(trees)
    whole = train(config, tmp_path / "whole")
    part = train(config, tmp_path / "part", watch=lambda report: report.step < 7)
    assert digests(train(part.path)) == digests(whole)
    torch.set_num_threads(1)
    assert digests(train(config, tmp_path / "alone")) == digests(whole)
    stored = load_file(whole.path / "weights.safetensors")
    last = whole.metrics("train")[-1]
    for task in LEVELS:
        learnt = float(stored[f"heads.{task}.log_variance"])
        assert learnt != 0
        assert learnt == pytest.approx(last[f"{task}_log_variance"], abs=0.02)
    row = whole.last()
    assert row["loss"] == pytest.approx(np.mean([row[f"{task}_loss"] for task in LEVELS]))


def test_learned_weights_tend_to_where_every_task_counts_a_half(trees, tmp_path):
    """exp(-s) L = 1/2 is the minimum over s: the larger a loss, the larger its variance."""
    changes = {"steps": 130, "eval_every": 130, "head_learning_rate": 8e-2}
    config = learning_weights(trees, model=TINY, **changes)
    run = train(config, tmp_path / "r")
    rows = run.metrics("train")[-20:]
    for task in LEVELS:
        weighed = np.mean([np.exp(-r[f"{task}_log_variance"]) * r[f"{task}_loss"] for r in rows])
        assert weighed == pytest.approx(0.5, rel=0.6)
        log_loss = np.mean([np.log(2 * r[f"{task}_loss"]) for r in rows])
        assert rows[-1][f"{task}_log_variance"] == pytest.approx(log_loss, abs=0.8)
