"""Rows: which molecules a run learns from, and which are left out."""

from __future__ import annotations

import pytest
from spellings import respelled
from tiny import small_run

from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.objectives.supervised import Supervised
from molnb.recipes.sources import recipe_for_file
from molnb.training.rows import training_rows


def test_rows_are_those_of_the_split_unless_they_are_given(nci, corpus):
    rows = training_rows(corpus, small_run(nci, n_val=None))
    assert rows.train.tolist() == corpus.ids("train").tolist()
    assert rows.val.tolist() == corpus.ids("val").tolist()
    rows = training_rows(corpus, small_run(nci, train_ids=(3, 1, 2), val_ids=(5,)))
    assert sorted(rows.train) == [1, 2, 3] and list(rows.val) == [5]


def test_only_labelled_molecules_are_rows_where_labels_are_learnt(nci, corpus):
    objective = Supervised(("nci_dipole",))
    everything = tuple(range(corpus.n))
    rows_given = {"train_ids": everything, "val_ids": everything[:9], "n_val": None}
    config = small_run(nci, objective=objective, **rows_given)
    rows = training_rows(corpus, config)
    labelled = corpus.labelled(["nci_dipole"]).tolist()
    assert 0 < len(labelled) < corpus.n
    assert rows.train.tolist() == labelled
    assert rows.val.tolist() == [sample for sample in labelled if sample < 9]


def test_a_smaller_sample_of_rows_is_part_of_a_larger_one(nci, corpus):
    small = training_rows(corpus, small_run(nci, n_train=10)).train
    large = training_rows(corpus, small_run(nci, n_train=30)).train
    assert len(small) == 10 and set(small.tolist()) < set(large.tolist())


def test_exactly_the_molecules_that_another_dataset_has_are_left_out(nci, corpus, tmp_path):
    """A salt and a respelling of two molecules are they by the loose keys, a stranger is not."""
    first, second = nci.smiles()[:2]
    (spelling,) = respelled(second, 1)
    (tmp_path / "other.smi").write_text(f"{first}.Cl\n{spelling}\nFC(F)(F)C#CC1CCC1\n")
    recipe = recipe_for_file(tmp_path / "other.smi")
    other = curate(recipe, workers=0, home=tmp_path, progress=False)
    everything = tuple(range(nci.n))
    config = small_run(nci, train_ids=everything, val_ids=(1, 4), exclude=(str(other.path),))
    rows = training_rows(corpus, config)
    assert sorted(set(everything) - set(rows.train.tolist())) == [0, 1]
    assert rows.val.tolist() == [4]


def test_a_run_without_training_molecules_is_refused(nci, corpus):
    with pytest.raises(InputError, match="no training molecules"):
        training_rows(corpus, small_run(nci, exclude=(str(nci.path),)))
