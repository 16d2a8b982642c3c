"""A run is scored on what it did not learn from, as scikit-learn does, beside its bars."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

metrics = pytest.importorskip("sklearn.metrics")
pytest.importorskip("lightgbm")
from made_data import ALCOHOLS, ALKANES, make_binary, make_classes, make_dataset
from tiny import TINY, small_run

from molnb.chemistry.fingerprints import ecfp_counts
from molnb.cli import main
from molnb.curation.pipeline import curate
from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.evaluation import run_answers
from molnb.evaluation.classical import ClassBooster
from molnb.evaluation.run_scores import evaluate, predictions
from molnb.evaluation.score_table import readable_scores
from molnb.inference.predictor import load_run
from molnb.objectives.supervised import Supervised
from molnb.recipes.sources import recipe_for_file
from molnb.shards import label_numbers
from molnb.training.loop import train

AMINES = ["N" + "C" * n for n in range(2, 14)]
KETONES = ["CC(=O)" + "C" * n for n in range(1, 13)]
SMILES = [*ALKANES, *ALCOHOLS, *AMINES, *KETONES]
QUIET = {"progress": False, "n_draw": 50}


def trained(shards, folder, **changes):
    settings = {"objective": Supervised(), "model": TINY, "steps": 6, "n_val": 64}
    return train(small_run(shards, **(settings | changes)), folder / "run")


@pytest.fixture(scope="module")
def polar(tmp_path_factory):
    """Which molecules are polar; of a second label half is known."""
    folder = tmp_path_factory.mktemp("polar")
    is_polar = [0] * 12 + [1] * 36
    odd = [None if n % 2 else n // 2 % 2 for n in range(48)]
    return make_binary(folder, "polar", SMILES, {"polar": is_polar, "odd": odd})


@pytest.fixture(scope="module")
def run(polar, tmp_path_factory):
    return trained(polar, tmp_path_factory.mktemp("polar-run"))


@pytest.fixture(scope="module")
def table(run):
    return evaluate(run, **QUIET)


def test_there_is_a_row_for_each_label_and_method_with_counts_and_intervals(table, polar):
    assert table[["label", "method"]].to_numpy().tolist() == [
        [label, method] for label in ("polar", "odd") for method in ("network", "LightGBM", "mean")
    ]
    values = label_numbers(polar.array("polar.values"))[Corpus([polar]).ids("test")]
    assert table["n"].tolist() == np.repeat(np.isfinite(values).sum(0), 3).tolist()
    assert table["positives"].tolist() == np.repeat(np.nansum(values, 0), 3).tolist()
    assert set(table["kind"]) == {"binary"} and set(table["part"]) == {"test"}
    for name in ("auroc", "ap", "brier"):
        assert (table[f"{name}_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"]).all()
    constant = table[table["method"] == "mean"]
    assert (constant["auroc"] == 0.5).all()
    assert np.allclose(constant["ap"], constant["positives"] / constant["n"])


def test_scores_are_those_of_scikit_learn_on_the_predictions_that_are_handed_out(run, table):
    predicted = predictions(run, progress=False)
    network = table[table["method"] == "network"].set_index("label")
    for label, rows in predicted.groupby("label"):
        truth = rows["truth"]
        guess = rows["prediction"]
        assert len(rows) == network["n"][label]
        assert network["auroc"][label] == pytest.approx(metrics.roc_auc_score(truth, guess))
        precision = metrics.average_precision_score(truth, guess)
        assert network["ap"][label] == pytest.approx(precision)
        assert network["brier"][label] == pytest.approx(metrics.brier_score_loss(truth, guess))


def test_predictions_name_their_molecules_and_are_what_predict_says(run, polar):
    predicted = predictions(run, progress=False)
    assert list(predicted) == ["dataset", "row", "item", "smiles", "label", "truth", "prediction"]
    rows = predicted[predicted["label"] == "polar"]
    smiles = np.array(polar.smiles())
    assert rows["smiles"].tolist() == smiles[rows["row"]].tolist()
    assert rows["row"].tolist() == Corpus([polar]).ids("test").tolist()
    assert set(rows["dataset"]) == {polar.path.name} and not rows["item"].any()
    again = load_run(run.path).predict(rows["smiles"].tolist())["polar_probability"]
    assert np.allclose(again, rows["prediction"], atol=1e-3)


def test_the_score_of_the_validation_part_is_that_of_the_run(run):
    scores = evaluate(run, part="val", baselines=False, **QUIET).set_index("label")
    saved = run.saved_scores()
    for label in ("polar", "odd"):
        assert scores["auroc"][label] == pytest.approx(saved[f"{label}_auroc"])
        assert (scores["n"][label], scores["positives"][label]) == (
            saved[f"{label}_n"],
            saved[f"{label}_positives"],
        )
    assert scores["method"].tolist() == ["network"] * 2


def test_lightgbm_is_fitted_on_the_training_rows_of_the_run_alone(run, table, polar):
    corpus = Corpus([polar])
    smiles = polar.smiles()
    values = label_numbers(polar.array("polar.values"))[:, 0]
    train_ids = corpus.ids("train")
    test_ids = corpus.ids("test")
    model = ClassBooster().fit(ecfp_counts([smiles[i] for i in train_ids]), values[train_ids])
    guess = model.predict_proba(ecfp_counts([smiles[i] for i in test_ids]))[:, 1]
    boosted = table[table["method"] == "LightGBM"].set_index("label")
    assert boosted["brier"]["polar"] == pytest.approx(
        metrics.brier_score_loss(values[test_ids], guess), rel=1e-5
    )
    share = values[train_ids].mean()
    constant = table[table["method"] == "mean"].set_index("label")
    assert constant["brier"]["polar"] == pytest.approx(np.mean((values[test_ids] - share) ** 2))


def test_numbers_are_scored_in_their_unit(tmp_path):
    weights = [float(len(smiles)) + n % 3 for n, smiles in enumerate(SMILES)]
    task = [{"name": "size", "labels": ["size"]}]
    shards = make_dataset(tmp_path, "size", SMILES, {"size": weights}, task, {"size": "g"})
    run = trained(shards, tmp_path)
    table = evaluate(run, **QUIET).set_index("method")
    predicted = predictions(run, progress=False)
    assert set(table["unit"]) == {"g"} and table["positives"].isna().all()
    error = metrics.mean_absolute_error(predicted["truth"], predicted["prediction"])
    assert table["mae"]["network"] == pytest.approx(error)
    r2 = metrics.r2_score(predicted["truth"], predicted["prediction"])
    assert table["r2"]["network"] == pytest.approx(r2)
    mean = np.asarray(shards.array("size.values"))[Corpus([shards]).ids("train")].mean()
    assert table["mae"]["mean"] == pytest.approx(np.abs(predicted["truth"] - mean).mean())
    assert table["spearman"]["mean"] == 0


def test_several_classes_are_scored_by_the_likeliest_and_each_against_the_rest(tmp_path):
    numbers = [n // 12 if n < 36 else 0 for n in range(48)]
    run = trained(make_classes(tmp_path, "c", SMILES, numbers, 3), tmp_path)
    table = evaluate(run, **QUIET).set_index("method")
    predicted = predictions(run, progress=False)
    probabilities = np.stack(predicted["probabilities"])
    truth = predicted["truth"].astype(int)
    assert probabilities.shape[1] == 3
    assert table["accuracy"]["network"] == np.mean(predicted["prediction"] == truth)
    expected = metrics.roc_auc_score(truth, probabilities, multi_class="ovr")
    assert table["auroc"]["network"] == pytest.approx(expected)
    assert table["auroc"]["mean"] == 0.5 and table.index.tolist() == ["network", "LightGBM", "mean"]


def test_several_labels_of_classes_are_scored_each_by_its_own_classes(tmp_path):
    """Of a third label no training row has a value."""
    steps = ["down", "same", "up"]
    labels = {
        "a": [steps[n // 12 % 3] for n in range(48)],
        "two": ["no" if n % 24 < 12 else "yes" for n in range(48)],
        "late": [None] * 48,
    }
    names = ["a", "late", "two"]
    classes = {name: {step: number for number, step in enumerate(steps)} for name in names}
    classes["two"] = {"no": 0, "yes": 1}
    task = {"name": "genes", "labels": names, "kind": "classes", "loss": "hybrid_ce"}
    (tmp_path / "split").mkdir()
    numbers = [n // 12 % 3 for n in range(48)]
    in_test = Corpus([make_classes(tmp_path / "split", "genes", SMILES, numbers, 3)]).ids("test")
    for number, row in enumerate(in_test):
        labels["late"][row] = steps[number % 3]
    shards = make_dataset(tmp_path, "genes", SMILES, labels, [task], classes=classes)
    assert np.array_equal(Corpus([shards]).ids("test"), in_test)
    run = trained(shards, tmp_path)
    table = evaluate(run, **QUIET).set_index(["label", "method"])
    assert sorted(set(table.index.get_level_values("label"))) == ["a", "two"]
    assert "Not scored, for want of a value on any training row: late." in table.attrs["notes"]
    predicted = predictions(run, progress=False)
    for label, n_class in (("a", 3), ("two", 2)):
        of_label = predicted[predicted["label"] == label]
        probabilities = np.stack(of_label["probabilities"])
        truth = of_label["truth"].astype(int)
        assert probabilities.shape == (len(truth), n_class)
        assert np.allclose(probabilities.sum(1), 1, atol=1e-6)
        accuracy = np.mean(of_label["prediction"] == truth)
        assert table["accuracy"][label, "network"] == accuracy
        one_hot = np.eye(n_class)[truth]
        assert table["auroc"][label, "network"] == pytest.approx(
            metrics.roc_auc_score(one_hot, probabilities, average="macro")
        )
        assert table["auroc"][label, "mean"] == 0.5
        assert np.isfinite(table["accuracy"][label, "LightGBM"])


def test_labels_of_atoms_and_bonds_stand_beside_a_lookup_table(label_run, nci):
    table = evaluate(label_run, **QUIET)
    methods = table.groupby("label")["method"].apply(list)
    assert methods["charge_mulliken"] == ["network", "lookup", "mean"]
    assert methods["homo"] == ["network", "LightGBM", "mean"]
    levels = table.groupby("label")["level"].first()
    assert levels["wiberg"] == "bond" and levels["homo"] == "molecule"
    predicted = predictions(label_run, progress=False)
    charges = predicted[predicted["label"] == "charge_mulliken"]
    n_atoms = Corpus([nci]).n_atoms[charges["row"].unique()]
    assert charges.groupby("row").size().tolist() == n_atoms.tolist()
    assert (charges.groupby("row")["item"].max() == n_atoms - 1).all()
    network = table.set_index(["label", "method"])["mae"]["charge_mulliken"]["network"]
    assert network == pytest.approx(
        (charges["truth"] - charges["prediction"]).abs().mean(), rel=1e-5
    )


def test_rows_that_a_run_was_told_to_learn_from_are_not_tested_on(polar, tmp_path):
    """Of a run with rows of its own: the test part of the split less those."""
    test = Corpus([polar]).ids("test")
    rows = {"train_ids": tuple(range(48)), "val_ids": ()}
    learnt_all = trained(polar, tmp_path / "all", **rows)
    with pytest.raises(InputError, match="no molecule of the part 'test' of polar-.* has a label"):
        evaluate(learnt_all, **QUIET)
    most = tuple(np.setdiff1d(np.arange(48), test[:5]).tolist())
    learnt_most = trained(polar, tmp_path / "most", train_ids=most, val_ids=())
    predicted = predictions(learnt_most, progress=False)
    assert set(predicted["row"]) == set(test[:5].tolist())
    assert set(predictions(learnt_most, part="all", progress=False)["row"]) == set(range(48))


def test_other_data_are_judged_whole_and_shared_molecules_are_counted(run, polar, tmp_path):
    smiles = [*SMILES[:3], "OCC(C)C", "CC(C)C", "CCC(C)C", "NCC(C)C"]
    labels = {"polar": [0, 0, 0, 1, 0, 0, 1], "odd": [0, 1, None, 0, 1, 0, 1]}
    other = make_binary(tmp_path, "polar", smiles, labels)
    table = evaluate(run, data=other, **QUIET)
    assert set(table["part"]) == {"all"} and table["n"].tolist() == [7] * 3 + [6] * 3
    assert any(note.startswith("3 of 7 molecules") for note in table.attrs["notes"])
    assert any("polar: 2 of class 1 among 7 known" in note for note in table.attrs["notes"])
    pd.testing.assert_frame_equal(evaluate(run, data=str(other.path), **QUIET), table)


def test_other_data_must_mean_the_same_by_the_labels(run, tmp_path):
    no_task = make_binary(tmp_path, "another", ALKANES, {"polar": [0, 1] * 6, "odd": [0, 1] * 6})
    with pytest.raises(InputError, match="has no task 'polar', which run predicts; it has another"):
        evaluate(run, data=no_task, **QUIET)
    swapped = make_binary(tmp_path, "polar", ALKANES, {"odd": [0, 1] * 6, "polar": [0, 1] * 6})
    with pytest.raises(InputError, match="has other labels"):
        evaluate(run, data=swapped, **QUIET)
    for field, value in (("level", "atom"), ("kind", "regression")):
        same = make_binary(tmp_path, "polar", ALKANES, {"polar": [0, 1] * 6, "odd": [0, 1] * 6})
        same.manifest["tasks"]["polar"][field] = value
        with pytest.raises(InputError, match=f"has other {field} .{value}. than run learnt"):
            evaluate(run, data=same, **QUIET)
    same = make_binary(tmp_path, "polar", ALKANES, {"polar": [0, 1] * 6, "odd": [0, 1] * 6})
    same.manifest["tasks"]["polar"]["labels"][0]["unit"] = "eV"
    with pytest.raises(InputError, match="has other units"):
        evaluate(run, data=same, **QUIET)


def test_the_part_that_other_datasets_have_seen_is_scored_apart(tmp_path, capsys):
    parts = ["train"] * 24 + ["val"] * 8 + ["test"] * 8 + ["test_seen"] * 8
    rows = [f"{smiles},{n % 2},{part}\n" for n, (smiles, part) in enumerate(zip(SMILES, parts))]
    (tmp_path / "mine.csv").write_text("smiles,odd,part\n" + "".join(rows))
    recipe = recipe_for_file(tmp_path / "mine.csv", labels=["odd:binary"], split_column="part")
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    run = trained(shards, tmp_path)
    assert (
        predictions(run, part="test_seen", progress=False)["smiles"].tolist()
        == shards.smiles()[40:]
    )
    options = ["--part", "test_seen", "--alone", "--device", "cpu"]
    assert main(["evaluate", str(run.path), *options]) == 0
    assert "test_seen" in capsys.readouterr().out
    table = evaluate(run, **QUIET)
    assert (table["n"] == 8).all()


def test_what_cannot_be_scored_is_refused(run, finished):
    with pytest.raises(InputError, match="was trained without labels, so nothing can be scored"):
        evaluate(finished, **QUIET)
    with pytest.raises(InputError, match="unknown part 'tests': choose one of train, val, test"):
        evaluate(run, part="tests", **QUIET)


def test_results_do_not_depend_on_how_many_molecules_are_read_together(run, table, monkeypatch):
    monkeypatch.setattr(run_answers, "PORTION", 3)
    again = evaluate(run, **QUIET)
    for name in ("auroc", "ap", "brier", "brier_low", "auroc_high"):
        assert np.allclose(again[name], table[name], atol=1e-5)


def test_a_label_that_training_rows_know_one_class_of_has_no_lightgbm(polar, tmp_path):
    shards = make_binary(tmp_path, "p", SMILES, {"polar": [0, 1] * 24, "flat": [0] * 40 + [1] * 8})
    rows = {"train_ids": tuple(range(30)), "val_ids": tuple(range(30, 36))}
    table = evaluate(trained(shards, tmp_path, **rows), part="all", **QUIET)
    methods = table.groupby("label")["method"].apply(list)
    assert methods["flat"] == ["network", "mean"] and "LightGBM" in methods["polar"]
    assert any(
        "no answer for flat: its 30 training values are of one" in n for n in table.attrs["notes"]
    )


def test_a_large_training_part_is_sampled_for_lightgbm_and_that_is_said(run, monkeypatch):
    monkeypatch.setattr(run_answers, "MAX_BOOSTED", 10)
    notes = evaluate(run, **QUIET).attrs["notes"]
    assert notes[0] == "LightGBM was fitted on a sample of 10 of 24 training molecules."


UNITS = [(1.0, 0.0), (1e-9, 0.0), (1e9, 0.0), (1e39, 0.0), (0.01, 1e9)]


@pytest.mark.parametrize(("scale", "shift"), UNITS)
def test_numbers_of_any_size_are_scored_as_scikit_learn_scores_their_predictions(
    scale, shift, tmp_path
):
    values = [(len(smiles) + n % 3) * scale + shift for n, smiles in enumerate(SMILES)]
    task = [{"name": "size", "labels": ["size"]}]
    shards = make_dataset(tmp_path, "size", SMILES, {"size": values}, task, {"size": "nM"})
    run = trained(shards, tmp_path)
    table = evaluate(run, **QUIET).set_index("method")
    predicted = predictions(run, progress=False)
    truth = predicted["truth"].to_numpy()
    guess = predicted["prediction"].to_numpy()
    assert list(table.index) == ["network", "LightGBM", "mean"]
    assert truth.tolist() == [values[row] for row in predicted["row"]]
    assert len(set(guess)) > 1
    scores = table.loc["network"]
    assert scores["mae"] == pytest.approx(metrics.mean_absolute_error(truth, guess))
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean((guess - truth) ** 2)))
    assert scores["r2"] == pytest.approx(metrics.r2_score(truth, guess), rel=1e-6)
    assert scores["spearman"] == pytest.approx(stats.spearmanr(truth, guess).statistic)
    assert table["mae"]["LightGBM"] < 5 * scale and table["mae"]["mean"] < 5 * scale
    saved = run.saved_scores()
    assert 0 < saved["size_mae_nM"] < 50 * scale
    read = readable_scores(evaluate(run, **QUIET))
    assert not read["MAE"].str.startswith("0.000").any()


@pytest.mark.parametrize("name", ["train", "training", "type", "values", "keys", "forward"])
def test_a_task_may_be_called_as_anything_that_a_module_has(name, tmp_path):
    shards = make_binary(tmp_path, name, SMILES, {name: [n % 2 for n in range(48)]})
    run = trained(shards, tmp_path)
    table = evaluate(run, baselines=False, **QUIET)
    assert table["label"].tolist() == [name] and np.isfinite(table["auroc"][0])
    answers = load_run(run.path).predict(SMILES[:3])
    assert answers[f"{name}_probability"].between(0, 1).all()


def test_a_label_without_a_known_value_in_the_part_is_named(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
    in_test = Corpus([make_binary(tmp_path / "a", "t", SMILES, {"x": [0, 1] * 24})]).ids("test")
    labels = {
        "x": [n % 2 for n in range(48)],
        "y": [None if n in in_test else n % 2 for n in range(48)],
    }
    shards = make_binary(tmp_path / "b", "t", SMILES, labels)
    assert set(Corpus([shards]).ids("test")) == set(in_test)
    table = evaluate(trained(shards, tmp_path), baselines=False, **QUIET)
    assert table["label"].tolist() == ["x"]
    assert "Not scored, for want of a known value in the part test: y." in table.attrs["notes"]
    assert not any(note.startswith("y:") for note in table.attrs["notes"])


def test_a_table_of_several_kinds_leaves_scores_of_other_kinds_empty(tmp_path):
    labels = {
        "a": [n % 2 for n in range(48)],
        "b": [n % 4 // 2 for n in range(48)],
        "m": [float(n) for n in range(48)],
    }
    tasks = [
        {"name": "t", "labels": ["a", "b"], "kind": "binary", "loss": "bce"},
        {"name": "r", "labels": ["m"]},
    ]
    run = trained(make_dataset(tmp_path, "t", SMILES, labels, tasks), tmp_path)
    table = evaluate(run, baselines=False, **QUIET)
    read = readable_scores(table)
    assert read["label"].tolist()[:3] == ["a", "b", "m"]
    assert read["label"].tolist()[3:] == ["mean of 2 binary labels"]
    assert (read["MAE"] == "").tolist() == [True, True, False, True]
    assert (read["AUROC"] == "").tolist() == [False, False, True, False]
    assert read["AUROC"][3] == f"{table['auroc'][:2].mean():.3f}"
