"""Rows: which molecules a run learns from, and which are left out."""

from __future__ import annotations

import numpy as np
import pytest
from made_data import ALKANES, make_binary
from spellings import respelled
from tiny import small_run

from molnb.curation.pipeline import curate
from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.objectives.supervised import Supervised
from molnb.recipes.sources import recipe_for_file
from molnb.training.loop import train
from molnb.training.rows import row_notes, training_rows


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


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Datasets split into training alone, and into training and validation; half are labelled."""
    folder = tmp_path_factory.mktemp("bare")
    labels = {"wet": [0, 1, None, None] * 3}
    shares = {"train_only": (1.0, 0.0, 0.0), "no_test": (0.5, 0.5, 0.0)}
    return {
        name: make_binary(folder, name, ALKANES, labels, fractions=fractions)
        for name, fractions in shares.items()
    }


def notes_of(shards, **changes) -> list[str]:
    config = small_run(shards, **changes)
    corpus = Corpus([shards])
    return row_notes(corpus, config, training_rows(corpus, config))


def test_an_empty_part_of_a_split_is_said_with_what_to_do(bare, nci):
    labels = {"objective": Supervised(("train_only",))}
    path = bare["train_only"].path
    val, test = notes_of(bare["train_only"], split="random", **labels)
    counts = "(12 train, 0 val, 0 test)"
    assert val == (
        f"Split 'random' of {path} has no validation rows {counts}: no validation score will be "
        "reported. Choose another split (--set split NAME), or curate more rows."
    )
    assert test.startswith(f"Split 'random' of {path} has no test rows {counts}: there is nothing")
    (val,) = notes_of(bare["train_only"])
    assert val.startswith("The default split of"), "pretraining is not judged by test rows"
    (test,) = notes_of(bare["no_test"], objective=Supervised(("no_test",)))
    assert "has no test rows (6 train, 6 val, 0 test)" in test
    assert notes_of(nci) == []


def test_validation_rows_that_were_not_asked_for_are_said_to_be_missing(nci, bare):
    for changes in ({"n_val": 0}, {"val_ids": ()}):
        (note,) = notes_of(nci, **changes)
        assert note.startswith("This run has no validation rows") and "Set n_val or val_ids" in note
    unlabelled = tuple(np.setdiff1d(np.arange(12), Corpus([bare["no_test"]]).labelled(["no_test"])))
    ids = {"train_ids": (0, 1, 4), "val_ids": unlabelled}
    (note,) = notes_of(bare["no_test"], objective=Supervised(("no_test",)), **ids)
    assert note.startswith("This run has no validation rows")


def test_patience_without_validation_rows_is_refused_before_anything_is_written(
    bare, nci, tmp_path
):
    settings = {"patience": 3, "steps": 1}
    labels = {"objective": Supervised(("train_only",))}
    message = "patience is 3, but there are no validation rows to stop by: choose another split"
    for config in (
        small_run(bare["train_only"], **settings, **labels),
        small_run(bare["train_only"], **settings),
        small_run(nci, n_val=0, **settings),
    ):
        with pytest.raises(InputError, match=message):
            train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_says_once_that_nothing_validates_it(nci, tmp_path, capsys):
    run = train(small_run(nci, n_val=0, steps=2), tmp_path / "r", watch=lambda report: False)
    assert capsys.readouterr().err.startswith("t: This run has no validation rows: no validation")
    assert run.notes() and run.last() == {}
    assert train(run).state == "done"
    assert capsys.readouterr().err == ""


def test_where_no_training_molecule_is_labelled_the_labels_are_blamed_and_not_the_rows(bare):
    shards = bare["no_test"]
    labelled = Corpus([shards]).labelled(["no_test"])
    rows = tuple(np.setdiff1d(np.arange(12), labelled).tolist())
    config = small_run(shards, objective=Supervised(("no_test",)), train_ids=rows)
    message = r"no label on any of the 6 training molecules of .* \(tasks 'no_test'; 6 of all 12"
    with pytest.raises(InputError, match=message):
        training_rows(Corpus([shards]), config)


def test_a_run_without_training_molecules_is_refused(nci, corpus):
    with pytest.raises(InputError, match="no training molecules"):
        training_rows(corpus, small_run(nci, exclude=(str(nci.path),)))
