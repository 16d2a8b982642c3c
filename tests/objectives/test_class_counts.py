"""Labels against their kind are refused before anything is learnt, with what is wrong and where."""

from __future__ import annotations

import numpy as np
import pytest
from made_data import ALKANES, make_binary, make_classes, make_dataset

from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.objectives.class_counts import balanced_weights, count_classes
from molnb.objectives.targets import label_cells, scale_tasks, unknown_notes
from molnb.recipes.values.cells import ColumnReader

HALF = [0, 1] * 6


@pytest.fixture(autouse=True)
def _written_by_others(monkeypatch):
    """Curation refuses such labels; shards that others wrote may hold them, and are not trusted."""
    monkeypatch.setattr(ColumnReader, "check", lambda *_: None)


def stored_as_binary(folder, values):
    """Numbers in a task that its manifest calls binary: what others wrote is not trusted."""
    shards = make_dataset(folder, "t", ALKANES, {"act": values}, [{"name": "t", "labels": ["act"]}])
    shards.manifest["tasks"]["t"] |= {"kind": "binary", "loss": "bce"}
    return shards


def scaled(shards, ids=None, **options):
    corpus = Corpus([shards])
    ids = np.arange(corpus.n) if ids is None else np.array(ids)
    return scale_tasks(corpus, list(corpus.tasks), ids, **options)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2] * 6, "6 of the 12 values of its label 'act' are neither 0 nor 1 .the first is 2."),
        ([-1, 1] * 6, r"6 of the 12 values .* \(the first is -1\): say in the recipe"),
        ([0.5, *[0, 1] * 5, 1], r"1 of the 12 values .* \(the first is 0.5\)"),
        ([0, 1, 2, 0, 1, 2] * 2, r"4 of the 12 values .* \(the first is 2\)"),
        ([0.1, 0.9] * 6, r"12 of the 12 values .* \(the first is 0.1\)"),
        ([0, 100] * 6, r"6 of the 12 values .* \(the first is 100\)"),
        ([5.2, 6.3, 7.1] * 4, r"12 of the 12 values .* \(the first is 5.2\)"),
        ([0, 1, None] * 3 + [7, None, 1], r"1 of the 8 values .* \(the first is 7\)"),
        ([-0.001, *[0, 1] * 5, 1], r"1 of the 12 values .* \(the first is -0.001\)"),
        ([0, 1.000001] * 6, r"6 of the 12 values .* \(the first is 1.000001\)"),
        ([2] * 12, r"12 of the 12 values .* \(the first is 2\)"),
        ([0] * 12, r"all 12 known training labels of 'act' \(task 't'\) are 0: there is nothing"),
        ([1] * 12, r"all 12 known training labels of 'act' \(task 't'\) are 1: there is nothing"),
        ([1, None] * 6, r"all 6 known training labels of 'act' \(task 't'\) are 1: there is"),
    ],
)
def test_a_binary_label_is_zero_or_one_and_has_both(values, message, tmp_path):
    shards = stored_as_binary(tmp_path, values)
    with pytest.raises(InputError, match=message):
        scaled(shards)


@pytest.mark.parametrize(
    ("values", "n_class", "message"),
    [
        ([2] * 12, 3, r"all 12 known training labels of 'c' \(task 'c'\) are 2: there is nothing"),
        ([0, None] * 6, 4, r"all 6 known training labels of 'c' \(task 'c'\) are 0"),
    ],
)
def test_several_classes_are_told_apart_only_where_there_are_two(
    values, n_class, message, tmp_path
):
    with pytest.raises(InputError, match=message):
        scaled(make_classes(tmp_path, "c", ALKANES, values, n_class))


def test_a_class_number_that_was_not_declared_is_refused(tmp_path):
    shards = make_classes(tmp_path, "c", ALKANES, [0, 1, 2] * 4, 3)
    shards.manifest["tasks"]["c"]["labels"][0]["classes"] = ["low", "high"]
    message = "task 'c' is classes, but 4 of the 12 values of its label 'c' are none of the class "
    with pytest.raises(InputError, match=message + r"numbers 0 to 1 \(the first is 2\)"):
        scaled(shards)


def test_values_of_no_class_are_refused_wherever_they_stand(tmp_path):
    """Also on rows that are not learnt from: validation would be of nonsense."""
    shards = stored_as_binary(tmp_path, [*HALF[:11], 3])
    with pytest.raises(InputError, match="1 of the 12 values"):
        scaled(shards, ids=range(8))


def test_one_label_of_several_may_have_one_class(tmp_path):
    (task,) = scaled(make_binary(tmp_path, "t", ALKANES, {"a": HALF, "b": [0] * 12}))
    assert task.labels == ("a", "b") and task.classes == (("0", "1"), ("0", "1"))
    with pytest.raises(InputError, match="all 12 known training labels of 'a'"):
        scaled(make_binary(tmp_path, "u", ALKANES, {"a": [1] * 12, "b": [0] * 12}))


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_a_label_without_any_training_value_is_not_learnt(kind, tmp_path):
    """Its mean would be 0 and its scale 1, and the rows would be blamed for it."""
    labels = {"a": HALF, "b": [None] * 11 + [1], "c": [None] * 10 + [0, 1]}
    task = {"name": "t", "labels": list(labels)}
    if kind == "binary":
        task |= {"kind": "binary", "loss": "bce"}
    shards = make_dataset(tmp_path, "t", ALKANES, labels, [task])
    (two,) = scaled(shards, ids=range(11))
    assert two.labels == ("a", "b", "c") and two.learnt == (True, False, True)
    (one,) = scaled(shards, ids=range(10))
    assert one.learnt == (True, False, False)
    (all_of_them,) = scaled(shards)
    assert all_of_them.learnt == ()
    corpus = Corpus([shards])
    assert unknown_notes(corpus, ["t"], [all_of_them]) == []
    (note,) = unknown_notes(corpus, ["t"], [one])
    assert "Of the 3 labels of task 't', 2 have no value on any training row (b, c)" in note


def test_classes_are_counted_and_weighed_by_how_rare_they_are(tmp_path):
    labels = {"a": [1, 0, 0, 0] * 3, "b": [None, 1] * 6}
    shards = make_binary(tmp_path, "t", ALKANES, labels)
    corpus = Corpus([shards])
    counts = count_classes(corpus.tasks["t"], label_cells(corpus, "t"))
    assert counts.tolist() == [[9, 3], [0, 6]]
    assert balanced_weights(counts) == ((12 / 18, 2.0), (1.0, 1.0))
    assert balanced_weights(np.array([[4, 0, 2]])) == ((0.75, 1.0, 1.5),)
    (task,) = scaled(shards, class_weights="balanced")
    assert task.class_weights == ((12 / 18, 2.0), (1.0, 1.0))
    (task,) = scaled(shards)
    assert task.class_weights == ()
    with pytest.raises(InputError, match=r"'balancd' \(did you mean 'balanced'\?\): choose one of"):
        scaled(shards, class_weights="balancd")
