"""Scores of each label lie with the weights that they are of, and are the same bits again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_data import ALCOHOLS, ALKANES, make_binary, make_dataset
from tiny import STEADY, TINY, small_run

from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.files import file_digest
from molnb.objectives.answers import Answers
from molnb.objectives.label_metrics import task_means
from molnb.objectives.supervised import Supervised
from molnb.training.loop import Session, train, validation_batches
from molnb.training.runs import Run, runs_table
from molnb.training.scored_labels import FILE

SMILES = [*ALKANES, *ALCOHOLS]


def label_config(nci, **changes):
    """Numbers of molecules, atoms and bonds, validated at every other step."""
    tasks = ("nci_orbitals", "nci_charges", "nci_bond_orders")
    settings = {"model": STEADY, "objective": Supervised(tasks), "steps": 6, "eval_every": 2}
    return small_run(nci, **(settings | {"checkpoint_every": 2, "warmup_steps": 1} | changes))


@pytest.fixture(scope="module")
def run(nci, tmp_path_factory) -> Run:
    return train(label_config(nci), tmp_path_factory.mktemp("run") / "r")


def test_the_table_holds_every_label_and_agrees_with_the_row_of_the_weights(run):
    table = run.label_scores("val")
    row = run.saved_scores()
    labels = [label for task in run.config.objective.tasks_scaled for label in task.labels]
    assert list(dict.fromkeys(table["label"])) == labels
    assert set(table["step"]) == {run.status()["weights_step"]} == {6}
    assert set(table["metric"]) == {"mae", "rmse", "r2", "pearson", "spearman"}
    assert set(table["dataset"]) == {"nci"}
    errors = table[table["metric"] == "mae"].set_index("label")
    assert row["homo_mae_eV"] == pytest.approx(errors["value"]["homo"], rel=1e-5)
    assert row["charge_mulliken_mae_e"] == pytest.approx(
        errors["value"]["charge_mulliken"], rel=1e-5
    )
    bars = run.baselines()["mean"]
    assert errors["baseline"]["homo"] == pytest.approx(bars["homo_mae_eV"], rel=1e-4)
    (orbitals, *_) = run.config.objective.tasks_scaled
    assert errors["sd"]["homo"] == orbitals.scale[0]
    assert row["nci_orbitals_mean_mae_sd"] == pytest.approx(
        errors["in_sd"][list(orbitals.labels)].mean()
    )
    assert row["nci_orbitals_mean_r2_n"] == len(orbitals.labels)


def test_summaries_of_tasks_stand_in_the_list_of_runs(run):
    (row,) = runs_table(run.path.parent).to_dict("records")
    assert row["nci_charges_mean_r2"] == run.saved_scores()["nci_charges_mean_r2"]
    assert not any(name.endswith("_n") for name in row)


def test_with_patience_the_table_is_that_of_the_best_weights(nci, tmp_path):
    changes = {"patience": 2, "steps": 60, "learning_rate": 3e-2, "n_train": 6}
    run = train(label_config(nci, **changes), tmp_path / "r")
    best = run.status()["weights_step"]
    assert best < run.last()["step"]
    table = run.label_scores("val").set_index(["label", "metric"])
    assert set(table["step"]) == {best}
    assert run.best()["homo_mae_eV"] == pytest.approx(table["value"]["homo", "mae"], rel=1e-5)


def test_a_run_that_was_stopped_ends_in_the_same_table(run, nci, tmp_path):
    """Stopped between two validations, it has the table of the one before its weights."""
    config = label_config(nci, steps=6)
    stopped = train(config, tmp_path / "r", watch=lambda report: report.step < 5)
    assert stopped.status()["weights_step"] == 5
    assert set(stopped.label_scores()["step"]) == {4}
    again = train(stopped)
    assert file_digest(again.path / FILE) == file_digest(run.path / FILE)


def test_cores_do_not_change_a_bit_of_the_table(run, nci, tmp_path, monkeypatch):
    n_core = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        other = train(label_config(nci), tmp_path / "r")
    finally:
        torch.set_num_threads(n_core)
    assert file_digest(other.path / FILE) == file_digest(run.path / FILE)


def test_what_is_tabulated_are_the_answers_of_the_saved_weights(run):
    """A plain pass of the saved model over the validation rows, scored in one piece."""
    session = Session(run, "cpu")
    (examined,) = validation_batches(session)
    model = run.load_model()
    guesses = []
    truths = []
    (task, *_) = run.config.objective.tasks_scaled
    for masked in examined.groups:
        answers = Answers()
        with torch.no_grad():
            session.objective.examine(model, masked, answers)
        guesses.append(answers.guess(task.key))
        truths.append(masked.batch.labels[task.key].values.double().numpy())
    guess = np.concatenate(guesses)
    truth = np.concatenate(truths)
    table = run.label_scores("val").set_index(["label", "metric"])["value"]
    for number, label in enumerate(task.labels):
        error = guess[:, number] - truth[:, number]
        assert table[label, "rmse"] == pytest.approx((error**2).mean() ** 0.5, rel=1e-5)
        centred = truth[:, number] - truth[:, number].mean()
        explained = 1 - (error**2).sum() / (centred**2).sum()
        assert table[label, "r2"] == pytest.approx(explained, rel=1e-5, abs=1e-6)


def test_classes_have_rows_of_validation_and_of_a_sample_of_training_rows(tmp_path):
    wet = [0] * 12 + [1] * 12
    rare = [0, None, 0, 1] * 6
    shards = make_binary(tmp_path, "water", SMILES, {"wet": wet, "rare": rare})
    config = small_run(shards, model=TINY, objective=Supervised(), n_val=64, steps=4)
    run = train(config, tmp_path / "r")
    table = run.label_scores()
    assert set(table["part"]) == {"val", "train_sample"}
    for part in ("val", "train_sample"):
        row = run.metrics(part)[-1]
        of_part = run.label_scores(part).set_index(["label", "metric"])
        for label in ("wet", "rare"):
            assert row[f"{label}_n"] == of_part["n"][label, "auroc"]
            assert row[f"{label}_positives"] == of_part["n_positive"][label, "brier"]
            assert row[f"{label}_accuracy"] == pytest.approx(of_part["value"][label, "accuracy"])
            for metric in ("auroc", "ap"):
                expected = row[f"{label}_{metric}"]
                value = of_part["value"][label, metric]
                assert np.isnan(value) if expected is None else value == pytest.approx(expected)
        assert row["water_mean_ap"] is not None and row["water_mean_ap_n"] <= 2
    shares = run.label_scores("train_sample").set_index(["label", "metric"])["baseline"]
    corpus = Corpus([shards])
    values = corpus.labels(corpus.ids("train"), ["water"])["water"].values[:, 0]
    share = float(values.mean())
    assert shares["wet", "brier"] == pytest.approx(share * (1 - share))


def test_extensive_labels_are_judged_beyond_their_counts_of_atoms(tmp_path):
    """The quantity in the recipe says so; R² of the raw value stands nowhere."""
    n_carbon = [text.count("C") for text in SMILES]
    random = np.random.default_rng(0)
    labels = {
        "total energy": [-1000.0 * n + float(random.normal()) for n in n_carbon],
        "gap": [float(random.normal()) for _ in SMILES],
    }
    tasks = [{"name": "t", "labels": list(labels)}]
    shards = make_dataset(tmp_path, "e", SMILES, labels, tasks)
    config = small_run(shards, model=TINY, objective=Supervised(), n_val=64, steps=2)
    run = train(config, tmp_path / "r")
    metrics = run.label_scores("val").groupby("label")["metric"].agg(set)
    assert metrics["total energy"] == {
        "mae",
        "rmse",
        "r2_residual",
        "pearson_residual",
        "spearman_residual",
    }
    assert "r2" in metrics["gap"]
    row = run.last()
    assert {"t_mean_r2", "t_mean_r2_residual"} <= row.keys()
    assert (row["t_mean_r2_n"], row["t_mean_r2_residual_n"], row["t_mean_mae_sd_n"]) == (1, 1, 2)
    errors = run.label_scores("val").set_index(["label", "metric"])
    error = errors["value"]["total energy", "mae"]
    assert errors["baseline"]["total energy", "mae"] < 5 < error, "the fit is hard to beat"


def test_a_run_that_learns_no_labels_has_no_table(finished):
    with pytest.raises(InputError, match="has no label_scores.parquet"):
        finished.label_scores()
    assert task_means([]) == {}
