"""Targets: mean and spread of labels, gathered in pieces, are those of numpy."""

from __future__ import annotations

import numpy as np
import pytest
from made_data import ALKANES, make_dataset

from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.objectives import targets
from molnb.objectives.targets import Moments, scale_tasks, unknown_notes


@pytest.fixture
def values() -> np.ndarray:
    """Rows of three columns, far from zero, a third of them unknown; the last is never known."""
    random = np.random.default_rng(0)
    table = random.normal(loc=1e4, size=(200, 3))
    table[random.random((200, 3)) < 1 / 3] = np.nan
    table[:, 2] = np.nan
    return table


def moments_of(pieces: list[np.ndarray]) -> Moments:
    moments = Moments(pieces[0].shape[1])
    for piece in pieces:
        moments.add(piece)
    return moments


def test_moments_of_one_piece_are_those_of_numpy(values):
    moments = moments_of([values])
    assert moments.count.tolist() == np.isfinite(values).sum(0).tolist()
    assert moments.mean[:2] == pytest.approx(np.nanmean(values[:, :2], 0), rel=1e-12)
    assert moments.deviation[:2] == pytest.approx(np.nanstd(values[:, :2], 0), rel=1e-12)
    assert (moments.mean[2], moments.deviation[2]) == (0, 0)


@pytest.mark.parametrize("size", [1, 7, 199])
def test_moments_gathered_in_pieces_are_those_of_all_rows(values, size):
    pieces = np.split(values, range(size, len(values), size))
    moments = moments_of(pieces)
    whole = moments_of([values])
    assert moments.count.tolist() == whole.count.tolist()
    assert moments.mean == pytest.approx(whole.mean, rel=1e-12)
    assert moments.deviation == pytest.approx(whole.deviation, rel=1e-10)


def test_moments_without_a_known_value_stay_as_they_were():
    moments = moments_of([np.array([[1.0], [3.0]]), np.full((5, 1), np.nan), np.zeros((0, 1))])
    assert (moments.count[0], moments.mean[0], moments.deviation[0]) == (2, 2, 1)


def test_scales_do_not_depend_on_how_many_molecules_are_read_together(nci, monkeypatch):
    corpus = Corpus([nci])
    names = ("nci_orbitals", "nci_charges")
    ids = corpus.ids("train")
    together = scale_tasks(corpus, names, ids)
    monkeypatch.setattr(targets, "CHUNK", 7)
    for task, other in zip(scale_tasks(corpus, names, ids), together, strict=True):
        assert task.labels == other.labels
        assert task.mean == pytest.approx(other.mean, rel=1e-12)
        assert task.scale == pytest.approx(other.scale, rel=1e-10)


def test_a_binary_label_is_not_scaled_and_a_constant_one_is_refused(tmp_path):
    labels = {"odd": [n % 2 for n in range(12)], "flat": [5.0] * 12}
    tasks = [
        {"name": "parity", "labels": ["odd"], "kind": "binary", "loss": "bce"},
        {"name": "level", "labels": ["flat"]},
    ]
    corpus = Corpus([make_dataset(tmp_path, "flat", ALKANES, labels, tasks)])
    (parity,) = scale_tasks(corpus, ["parity"], np.arange(12))
    assert (parity.mean, parity.scale) == ((0.0,), (1.0,))
    with pytest.raises(InputError, match="all 12 training values of task 'level' are 5"):
        scale_tasks(corpus, ["level"], np.arange(12))
    with pytest.raises(InputError, match="'parity' has no label on any training row"):
        scale_tasks(corpus, ["parity"], np.zeros(0, int))


@pytest.mark.parametrize(
    ("values", "lowest", "highest"),
    [
        ([1e300 * (1 + n) for n in range(12)], "1e+300", "1.2e+301"),
        ([1e-200 * (1 + n) for n in range(12)], "1e-200", "1.2e-199"),
        ([-1e200, *[1e200] * 11], "-1e+200", "1e+200"),
    ],
)
def test_a_spread_that_is_no_number_is_refused_and_not_called_none(
    values, lowest, highest, tmp_path
):
    task = [{"name": "far", "labels": ["y"]}]
    corpus = Corpus([make_dataset(tmp_path, "far", ALKANES, {"y": values}, task)])
    with pytest.raises(InputError, match="in another unit") as refused:
        scale_tasks(corpus, ["far"], np.arange(12))
    assert f"between {lowest} and {highest}" in str(refused.value)


def test_labels_of_one_task_may_have_different_numbers_of_classes(tmp_path):
    labels = {"a": ["low", "none", "high"] * 4, "b": ["no", "yes"] * 6}
    task = {"name": "genes", "labels": ["a", "b"], "kind": "classes", "loss": "hybrid_ce"}
    classes = {"a": {"low": 0, "none": 1, "high": 2}, "b": {"no": 0, "yes": 1}}
    corpus = Corpus([make_dataset(tmp_path, "genes", ALKANES, labels, [task], classes=classes)])
    (genes,) = scale_tasks(corpus, ["genes"], np.arange(12))
    assert (genes.n_class, genes.n_output, genes.loss) == (3, 6, "hybrid_ce")
    assert [genes.outputs_of(column) for column in (0, 1)] == [slice(0, 3), slice(3, 5)]
    assert genes.absent_classes.tolist() == [[False] * 3, [False, False, True]]
    assert genes._replace(classes=(genes.classes[0],) * 2).absent_classes is None


def test_a_task_without_any_training_label_is_left_out_where_it_was_not_named(tmp_path):
    labels = {"a": [float(n) for n in range(12)], "late": [None] * 10 + [1.0, 2.0]}
    tasks = [{"name": "early", "labels": ["a"]}, {"name": "late", "labels": ["late"]}]
    corpus = Corpus([make_dataset(tmp_path, "two", ALKANES, labels, tasks)])
    early, late = scale_tasks(corpus, ["early", "late"], np.arange(12), skip_unknown=True)
    assert scale_tasks(corpus, ["early", "late"], np.arange(10), skip_unknown=True) == (
        early._replace(mean=(4.5,), scale=pytest.approx((np.arange(10.0).std(),))),
    )
    (note,) = unknown_notes(corpus, ["early", "late"], [early])
    assert note == "Not learnt, for want of a label on any training row: late (1 of 2 tasks)."
    message = "'late' has no label on any training row"
    with pytest.raises(InputError, match=message):
        scale_tasks(corpus, ["early", "late"], np.arange(10))
    with pytest.raises(InputError, match=message):
        scale_tasks(corpus, ["late"], np.arange(10), skip_unknown=True)
