"""The same molecules with other labels: what changes, and what must not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from molnb.curation.relabelled import NewTask, relabel, renamed_tasks, shuffled_labels
from molnb.data.dataset import Corpus
from molnb.data.tasks import join_tasks
from molnb.data.verification import verify_shards
from molnb.errors import InputError


def of_molecules(values, name="numbers"):
    return NewTask(name, ("x",), ("a number",), ("1",), np.asarray(values, float)[:, None])


def test_shuffled_labels_are_the_same_numbers_on_other_molecules(nci):
    """Molecules keep their structure; their labels move, those of a molecule together."""
    shuffled = shuffled_labels(nci)
    assert np.array_equal(shuffled.array("numbers"), nci.array("numbers"))
    assert shuffled.smiles() == nci.smiles()
    for name in nci.tasks:
        before = np.asarray(nci.array(f"{name}.values"))
        after = np.asarray(shuffled.array(f"{name}.values"))
        assert np.array_equal(np.sort(after, 0), np.sort(before, 0)), name
        assert not np.array_equal(after, before), name
    homo, lumo, gap = np.asarray(shuffled.array("nci_orbitals.values")).T
    assert np.allclose(gap, lumo - homo, atol=1e-4), "labels of a molecule stay together"
    other = shuffled_labels(nci, seed=1)
    assert other.path != shuffled.path


def test_new_labels_are_those_given_and_unknown_ones_are_left_out(nci):
    values = np.arange(nci.n, dtype=float)
    values[3] = np.nan
    shards = relabel(nci, "made_up", [of_molecules(values)])
    assert list(shards.tasks) == ["numbers"]
    assert shards.tasks["numbers"]["labels"][0]["known"] == nci.n - 1
    corpus = Corpus([shards])
    assert 3 not in corpus.labelled(["numbers"])
    batch = corpus.batch(np.array([4, 7]), ["numbers"])
    assert batch.labels["numbers"].values.flatten().tolist() == [4, 7]
    assert "gap" not in shards.columns, "no label of the old ones is left"
    assert not verify_shards(shards).differences


def test_equal_calls_find_what_the_first_one_wrote(nci):
    values = np.arange(nci.n)
    first = relabel(nci, "made_up", [of_molecules(values)])
    stamp = (first.path / "manifest.json").stat().st_mtime_ns
    again = relabel(nci, "made_up", [of_molecules(values)])
    assert again.path == first.path
    assert (again.path / "manifest.json").stat().st_mtime_ns == stamp
    assert relabel(nci, "made_up", [of_molecules(values + 1)]).path != first.path


def test_a_folder_of_a_killed_process_is_made_anew(nci):
    first = relabel(nci, "made_up", [of_molecules(np.arange(nci.n))])
    (first.path / "manifest.json").unlink()
    again = relabel(nci, "made_up", [of_molecules(np.arange(nci.n))])
    assert again.path == first.path and not verify_shards(again).differences


def test_two_processes_at_once_make_one_folder(nci):
    """The second waits, and finds what the first wrote."""
    task = of_molecules(np.arange(nci.n))
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: relabel(nci, "made_up", [task]), range(4)))
    assert len({shards.path for shards in made}) == 1
    assert not verify_shards(made[0]).differences


def test_renamed_tasks_that_mean_the_same_are_one_task(nci):
    renamed = renamed_tasks(nci, {"nci_orbitals": "other", "nci_charges": "charges"})
    assert list(renamed.tasks) == ["other", "charges"] and not verify_shards(renamed).differences
    back = renamed_tasks(renamed, {"other": "nci_orbitals"})
    joined = join_tasks([nci, back])
    assert len(joined["nci_orbitals"].members) == 2


def test_what_cannot_be_learnt_is_refused(nci):
    with pytest.raises(InputError, match=f"has {nci.n} molecules and the task 1 labels"):
        relabel(nci, "x", [of_molecules([1.0, 2.0])])
    with pytest.raises(InputError, match="no known value"):
        relabel(nci, "x", [of_molecules(np.full(nci.n, np.nan))])
    with pytest.raises(InputError, match="has no task gaps"):
        renamed_tasks(nci, {"gaps": "x"})
