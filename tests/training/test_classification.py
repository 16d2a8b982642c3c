"""Classes are learnt, ranked at every validation, weighed where asked, and resumed to the bit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from made_data import ALCOHOLS, ALKANES, make_binary, make_classes
from tiny import STEADY, TINY

from molnb.data.dataset import Corpus
from molnb.data.masked import unmasked
from molnb.errors import InputError
from molnb.files import file_digest
from molnb.objectives.supervised import Supervised, in_units
from molnb.training.config import RunConfig
from molnb.training.loop import train
from molnb.training.presets import make_preset
from molnb.training.runs import runs_table

SMILES = ALKANES + ALCOHOLS
AMINES = ["N" + "C" * n for n in range(2, 14)]


def config_for(shards, **changes) -> RunConfig:
    """A few steps of a small model on labels, judged by all validation rows."""
    settings = {
        "name": "t",
        "data": (str(shards.path),),
        "model": TINY,
        "objective": Supervised(),
        "steps": 6,
        "global_batch": 8,
        "learning_rate": 3e-3,
        "warmup_steps": 2,
        "n_val": 64,
        "eval_every": 2,
        "checkpoint_every": 3,
    }
    return RunConfig(**(settings | changes))


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    """Alcohols are wet, alkanes are not; of a second label little is known."""
    folder = tmp_path_factory.mktemp("water")
    wet = [0] * 12 + [1] * 12
    rare = [0, None, 0, 1] * 6
    return make_binary(folder, "water", SMILES, {"wet": wet, "rare": rare})


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Alkanes, alcohols and amines."""
    folder = tmp_path_factory.mktemp("kinds")
    return make_classes(folder, "kind", [*SMILES, *AMINES], [n // 12 for n in range(36)], 3)


@pytest.fixture(scope="module")
def run(water, tmp_path_factory):
    return train(config_for(water), tmp_path_factory.mktemp("run") / "r")


def answers(run, ids, task):
    """Probabilities and truths of some molecules, by the run's weights, a molecule at a time."""
    corpus = Corpus([run.config.data[0]])
    model = run.load_model()
    (scaled,) = run.config.objective.tasks_scaled
    batches = [corpus.batch(np.array([i]), [task]) for i in ids]
    guesses = [in_units(scaled, model(unmasked(b)).outputs[task]).detach().numpy() for b in batches]
    return np.concatenate(guesses), np.concatenate([b.labels[task].values for b in batches])


def test_validation_rows_hold_the_rankings_that_scikit_learn_finds(run):
    metrics = pytest.importorskip("sklearn.metrics")
    corpus = Corpus([run.config.data[0]])
    row = run.last()
    parts = {"val": corpus.ids("val"), "train_sample": corpus.ids("train")}
    for part, ids in parts.items():
        row = run.metrics(part)[-1]
        guess, truth = answers(run, ids, "water")
        areas = []
        for column, label in enumerate(("wet", "rare")):
            is_known = np.isfinite(truth[:, column])
            of_label = (truth[is_known, column], guess[is_known, column])
            areas.append(metrics.roc_auc_score(*of_label))
            assert row[f"{label}_auroc"] == pytest.approx(areas[-1], abs=1e-9)
            precision = metrics.average_precision_score(*of_label)
            assert row[f"{label}_ap"] == pytest.approx(precision, abs=1e-9)
            loss = metrics.log_loss(*of_label)
            assert row[f"{label}_n"] == is_known.sum()
            assert row[f"{label}_positives"] == of_label[0].sum()
            accuracy = ((of_label[1] > 0.5) == of_label[0]).mean()
            assert row[f"{label}_accuracy"] == pytest.approx(accuracy)
        assert row["water_mean_auroc"] == pytest.approx(np.mean(areas))
        assert np.isfinite(loss) and row["loss"] == row["water_loss"]


def test_several_classes_are_ranked_each_against_the_rest(kinds, tmp_path):
    metrics = pytest.importorskip("sklearn.metrics")
    run = train(config_for(kinds), tmp_path / "r")
    row = run.last()
    guess, truth = answers(run, Corpus([kinds]).ids("val"), "kind")
    assert guess.shape[1] == 3 and np.allclose(guess.sum(1), 1, atol=1e-6)
    numbers = truth[:, 0].astype(int)
    expected = metrics.roc_auc_score(numbers, guess, multi_class="ovr", average="macro")
    assert row["kind_auroc"] == pytest.approx(expected, abs=1e-9)
    one_hot = np.eye(3)[numbers]
    expected = metrics.average_precision_score(one_hot, guess, average="macro")
    assert row["kind_ap"] == pytest.approx(expected, abs=1e-9)
    assert row["kind_accuracy"] == pytest.approx((guess.argmax(1) == numbers).mean())
    assert (row["kind_n"], row["kind_rarest"]) == (len(truth), np.bincount(numbers).min())


def test_rows_of_batches_hold_no_ranking(run):
    assert run.metrics("train")
    for row in run.metrics("train"):
        assert not any(name.endswith(("_auroc", "_ap")) for name in row)
        assert {"wet_accuracy", "water_loss"} <= row.keys()


def test_classes_are_learnt_by_heart(water, kinds, tmp_path):
    changes = {"steps": 150, "eval_every": 150, "model": STEADY, "n_train": 10}
    for shards, label in ((water, "wet"), (kinds, "kind")):
        run = train(config_for(shards, **changes), tmp_path / label)
        row = run.metrics("train_sample")[-1]
        assert row[f"{label}_auroc"] > 0.99 and row[f"{label}_accuracy"] > 0.9
        assert row["loss"] < 0.3 * run.metrics("train_sample")[0]["loss"]


def test_every_bar_has_its_term_among_the_validation_terms(run):
    bars = run.baselines()["mean"]
    assert set(bars) <= set(run.last())
    assert bars["wet_auroc"] == 0.5
    assert bars["wet_ap"] == pytest.approx(run.last()["wet_positives"] / run.last()["wet_n"])


def test_a_run_of_classes_that_was_stopped_ends_in_the_same_bits(run, water, tmp_path):
    stopped = train(config_for(water), tmp_path / "r", watch=lambda report: report.step < 5)
    assert stopped.state == "stopped"
    again = train(stopped)
    for name in ("weights.safetensors", "metrics.jsonl", "notes.json"):
        assert file_digest(again.path / name) == file_digest(run.path / name)


def test_where_a_class_is_missing_nothing_is_ranked_and_it_is_said_once(water, tmp_path, capsys):
    """Validation on alkanes alone, none of which is wet."""
    ids = {"train_ids": tuple(range(4, 20)), "val_ids": tuple(range(4))}
    run = train(config_for(water, **ids), tmp_path / "r")
    row = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[0])
    assert row["wet_auroc"] is None and row["wet_ap"] is None
    assert (row["wet_positives"], row["wet_n"]) == (0, 4)
    assert row["rare_auroc"] is not None
    note = run.notes()[-1]
    assert note.startswith("Rare classes among 4 validation rows: wet 4 of class 0 and none of")
    assert "undefined (null)" in note
    assert capsys.readouterr().err.count("among 4 validation rows") == 1
    train(run.path)
    assert "among 4" not in capsys.readouterr().err, "not again"
    assert run.losses("val")["wet_auroc"].isna().all()


def test_a_label_of_one_class_among_others_is_named(water, tmp_path):
    """Of the first nine alkanes and one alcohol, `rare` is known to be 0 at two and 1 at two."""
    shards = make_binary(tmp_path, "two", SMILES, {"wet": [0, 1] * 12, "flat": [0] * 23 + [1]})
    run = train(config_for(shards, train_ids=tuple(range(20))), tmp_path / "r")
    assert "flat none of class 1 (20 known)" in run.notes()[0]
    assert run.last()["flat_n"] > 0


def test_weighed_classes_are_stored_with_the_run_and_change_what_is_learnt(water, tmp_path):
    config = config_for(water, train_ids=(0, 1, 2, 3, 4, 5, 12, 13), val_ids=(20, 21, 8, 9))
    plain = train(config, tmp_path / "plain")
    objective = Supervised(class_weights="balanced")
    weighed = train(replace(config, objective=objective), tmp_path / "weighed")
    (task,) = weighed.config.objective.tasks_scaled
    assert task.class_weights[0] == (8 / 12, 2.0), "six dry and two wet molecules"
    assert plain.config.objective.tasks_scaled[0].class_weights == ()
    assert plain.last()["wet_auroc"] is not None
    assert weighed.metrics("train")[-1]["loss"] != plain.metrics("train")[-1]["loss"]
    preset = make_preset("finetune_tiny", [water], **{"objective.class_weights": "balanced"})
    assert preset.objective.class_weights == "balanced"
    with pytest.raises(InputError, match="class_weights is 'blanced'"):
        make_preset("finetune_tiny", [water], **{"objective.class_weights": "blanced"})


def test_runs_of_classes_are_listed_without_their_counts(run):
    (row,) = runs_table(run.path.parent).to_dict("records")
    assert row["wet_auroc"] == run.last()["wet_auroc"]
    assert not any(name.endswith(("_positives", "_n")) for name in row)
