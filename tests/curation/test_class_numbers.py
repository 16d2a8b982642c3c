"""Labels of classes take a byte a value on disk, and are read as the same numbers as before."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from made_data import ALCOHOLS, ALKANES, make_binary, make_classes

from molnb.curation.arrays import are_class_numbers
from molnb.data.dataset import Corpus
from molnb.data.verification import verify_shards
from molnb.evaluation.benchmark import load_benchmark
from molnb.files import file_digest, write_json
from molnb.objectives.targets import scale_tasks
from molnb.paths import MANIFEST
from molnb.shards import SHA256, UNKNOWN_CLASS, Shards, label_numbers, load_shards

SMILES = ALKANES + ALCOHOLS
EVERY = np.arange(24)
# Of the first 40 labels a molecule has two fifths, of `up` four fifths.
MANY = {
    f"x{label}": [(row + label) % 2 if (row + label) % 5 < 2 else None for row in range(24)]
    for label in range(40)
}
UP = [None if row % 5 == 4 else row % 3 for row in range(24)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shards]:
    """A task of many labels, known values alone, and one of a label, with gaps."""
    folder = tmp_path_factory.mktemp("classes")
    return {
        "sparse": make_binary(folder, "many", SMILES, MANY),
        "dense": make_classes(folder, "up", SMILES, UP, 3),
    }


def as_before(shards: Shards, folder: Path) -> Shards:
    """A copy whose classes are numbers of 64 bits, NaN where unknown, as they once were kept."""
    shutil.copytree(shards.path, folder)
    for name in shards.tasks:
        file = f"arrays/{name}.values.npy"
        np.save(folder / file, label_numbers(shards.array(f"{name}.values")))
        shards.manifest["files"] |= {file: (folder / file).stat().st_size}
        digests = shards.manifest[SHA256] | {file: file_digest(folder / file)}
        write_json(shards.manifest | {SHA256: digests}, folder / MANIFEST)
    return load_shards(folder)


def test_a_class_is_a_byte(stored):
    many = stored["sparse"].array("many.values")
    assert many.dtype == np.int8 and many.ndim == 1
    assert set(many.tolist()) == {0, 1}
    up = stored["dense"].array("up.values")
    assert up.dtype == np.int8
    assert up[:, 0].tolist() == [number for number in UP if number is not None]


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_folders_of_before_are_read_as_the_same(kind, stored, tmp_path):
    shards = load_shards(stored[kind].path)
    older = as_before(load_shards(stored[kind].path), tmp_path / "older")
    (name,) = shards.tasks
    assert older.array(f"{name}.values").dtype == np.float64
    assert not verify_shards(shards).differences and not verify_shards(older).differences
    corpus = Corpus([shards])
    before = Corpus([older])
    labels = corpus.labels(EVERY, [name])[name]
    expected = before.labels(EVERY, [name])[name]
    assert labels.index.equal(expected.index) and labels.values.dtype == expected.values.dtype
    assert np.array_equal(labels.values, expected.values, equal_nan=True)
    assert scale_tasks(corpus, [name], EVERY) == scale_tasks(before, [name], EVERY)
    label = shards.tasks[name]["labels"][0]["name"]
    if kind == "sparse":
        now = load_benchmark(shards, name, label=label)
        then = load_benchmark(older, name, label=label)
        assert now.ids.tolist() == then.ids.tolist()
        assert now.values.tolist() == then.values.tolist()
        assert now.values.tolist() == [value for value in MANY[label] if value is not None]


def test_rows_with_an_unknown_class_beside_a_known_one_have_nan_there(tmp_path):
    labels = {"a": [0, 1] * 6, "b": [None, 0, 1] * 4}
    shards = make_binary(tmp_path, "two", ALKANES, labels)
    stored = shards.array("two.values")
    assert stored.dtype == np.int8
    assert stored[:, 1].tolist() == [UNKNOWN_CLASS, 0, 1] * 4
    values = Corpus([shards]).labels(np.arange(12), ["two"])["two"].values.numpy()
    expected = np.array([[np.nan, 0, 1] * 4], np.float32)
    assert np.array_equal(values[:, 1:], expected.T, equal_nan=True)
    assert not verify_shards(shards).differences


def test_more_classes_than_a_byte_tells_apart_are_kept_as_they_are(tmp_path):
    shards = make_classes(tmp_path, "t", ALKANES, [0, 1] * 5 + [0, 200], 201)
    values = shards.array("t.values")
    assert values.dtype == np.float64 and values[-1, 0] == 200
    assert Corpus([shards]).labels(EVERY[:12], ["t"])["t"].values[-1, 0] == 200


def test_class_numbers_are_whole_and_none_is_taken_for_an_unknown_one():
    assert are_class_numbers(np.array([0.0, 1.0, 127.0]))
    assert are_class_numbers(np.zeros(0))
    for wrong in (0.5, -1.0, 128.0, np.nan, np.inf):
        assert not are_class_numbers(np.array([0.0, wrong])), wrong
