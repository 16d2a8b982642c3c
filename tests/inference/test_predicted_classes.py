"""Classes are predicted as probabilities, a column a class, under names that tell them apart."""

from __future__ import annotations

import numpy as np
import pytest
from made_data import ALKANES, make_binary, make_classes
from tiny import small_run

from molnb.data.dataset import Corpus
from molnb.inference.predictor import load_run, predict_stored, prediction_columns
from molnb.objectives.supervised import Supervised
from molnb.objectives.targets import ScaledTask
from molnb.training.loop import train


@pytest.mark.parametrize(
    ("classes", "columns"),
    [
        (("low", "high"), ["low", "high"]),
        (("a b", "a-c", "d"), ["a_b", "a_c", "d"]),
        (("0", "1", "2"), ["0", "1", "2"]),
        (("a b", "a-b"), ["class_0", "class_1"]),
        (("низкий", "высокий"), ["низкий", "высокий"]),
        (("+", "low"), ["class_0", "class_1"]),
    ],
)
def test_every_class_has_a_column_of_its_own(classes, columns):
    task = ScaledTask("t", "molecule", "classes", "ce", ("c",), ("1",), (0.0,), (1.0,), (classes,))
    assert prediction_columns(task) == [f"c_{name}_probability" for name in columns]


def test_predictions_of_classes_are_probabilities_from_smiles_as_from_shards(tmp_path):
    shards = make_classes(tmp_path, "c", ALKANES, [0, 1, 2] * 4, 3)
    run = train(small_run(shards, objective=Supervised()), tmp_path / "c-run")
    model = load_run(run.path)
    table = model.predict([*shards.smiles()[:5], "C("])
    columns = [f"c_{number}_probability" for number in range(3)]
    assert list(table) == ["smiles", *columns, "error"]
    assert np.allclose(table[columns][:5].sum(axis=1), 1, atol=1e-6)
    assert table[columns].iloc[5].isna().all() and table["error"].notna().tolist() == [
        False
    ] * 5 + [True]
    stored = predict_stored(run.load_model(), run.config, Corpus([shards]), np.arange(5), "c")
    assert np.allclose(stored, table[columns][:5], atol=1e-3)


def test_predictions_of_binary_labels_are_probabilities(tmp_path):
    shards = make_binary(tmp_path, "b", ALKANES, {"x": [0, 1] * 6, "y": [1, 0, 0, None] * 3})
    run = train(small_run(shards, objective=Supervised()), tmp_path / "b-run")
    table = load_run(run.path).predict(shards.smiles()[:3])
    assert list(table) == ["smiles", "x_probability", "y_probability", "error"]
    guesses = table[["x_probability", "y_probability"]].to_numpy()
    assert (guesses > 0).all() and (guesses < 1).all()
