"""Molecules held out at random, and scaffolds that validation has for itself."""

from __future__ import annotations

import numpy as np
import pytest
from made_mixes import curate_here, write_member, write_mix
from made_shards import make_shards
from tiny import TINY, small_run

from molnb.curation.pipeline import curate
from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.objectives.supervised import Supervised
from molnb.training.loop import train
from molnb.training.rows import row_notes, training_rows


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("trees"))


@pytest.fixture(scope="module")
def held_out(trees, tmp_path_factory):
    """A run that validates on both kinds of molecules; to be read, never changed."""
    config = small_run(trees, model=TINY, n_random_val=6, patience=9)
    return train(config, tmp_path_factory.mktemp("held") / "run")


def test_a_fixed_sample_is_taken_out_of_training(trees):
    corpus = Corpus([trees])
    plain = training_rows(corpus, small_run(trees))
    rows = training_rows(corpus, small_run(trees, n_random_val=6))
    assert len(rows.val_random) == 6 and not len(plain.val_random)
    assert np.array_equal(np.union1d(rows.train, rows.val_random), plain.train)
    assert not set(rows.train) & set(rows.val_random)
    assert np.array_equal(rows.val, plain.val)


def test_the_sample_depends_on_nothing_else(trees):
    """Not on the seed, on how many are learnt from, and more hold out the same and others."""
    corpus = Corpus([trees])
    six = training_rows(corpus, small_run(trees, n_random_val=6)).val_random
    for changes in ({"seed": 1}, {"n_train": 5}, {"model": TINY}):
        rows = training_rows(corpus, small_run(trees, n_random_val=6, **changes))
        assert np.array_equal(rows.val_random, six)
        assert not set(rows.train) & set(six)
    nine = training_rows(corpus, small_run(trees, n_random_val=9)).val_random
    assert set(six) < set(nine)


def test_holding_out_everything_is_refused(trees):
    config = small_run(trees, train_ids=tuple(range(30)), n_random_val=30)
    with pytest.raises(InputError, match="n_random_val is 30, and there are 30 training molecules"):
        training_rows(Corpus([trees]), config)


def test_both_kinds_are_scored_at_every_validation(held_out):
    rows = [row for row in held_out.metrics() if row["part"] != "train"]
    told = [(row["step"], row["part"], row["features"]) for row in rows]
    parts = [(part, f) for part in ("val", "val_random") for f in ("hidden", "visible")]
    assert told == [(step, *part) for step in (0, 6, 12) for part in parts]
    assert rows[0].keys() == rows[2].keys()


def test_best_and_last_are_those_of_the_split(held_out):
    of_split = held_out.metrics("val")
    assert held_out.last() in of_split and held_out.best() in of_split
    assert held_out.saved_scores("hidden")["part"] == "val"


def test_the_noise_is_that_of_validation(held_out, trees, tmp_path):
    """The same molecules as validation rows of another run have the same scores before training."""
    corpus = Corpus([trees])
    rows = training_rows(corpus, held_out.config)
    ids = {"val_ids": tuple(rows.val_random.tolist()), "train_ids": tuple(rows.train.tolist())}
    other = train(
        small_run(trees, model=TINY, n_val=None, steps=1, eval_every=1, **ids), tmp_path / "r"
    )
    ours = [row for row in held_out.metrics("val_random") if row["step"] == 0]
    theirs = [row for row in other.metrics("val") if row["step"] == 0]
    assert [row | {"part": "val"} for row in ours] == theirs


def test_labels_have_scores_on_both(trees, tmp_path):
    objective = Supervised(("of_molecule", "of_atom"))
    config = small_run(trees, model=TINY, objective=objective, n_random_val=5, steps=2)
    run = train(config, tmp_path / "r")
    counts = run.label_scores().groupby("part")["n"].max()
    assert set(counts.index) == {"val", "val_random"}
    mae = run.label_scores("val_random").set_index(["label", "metric"])["value"]
    last = run.metrics("val_random")[-1]
    assert mae["molecule_label", "mae"] == pytest.approx(last["molecule_label_mae_eV"], rel=1e-6)


# ---------------------------------------------------------------------------- scaffolds of several


def members(folder):
    """Two datasets: what one validates on has rings that the other trains on."""
    first = [("Cc1ccccc1", "train", 1), ("CCc1ccncc1", "train", 2), ("CC1CCCCC1", "val", 3)]
    first += [("CCCCO", "val", 4), ("c1ccoc1C", "test", 5), ("CCCCCC", "train", 6)]
    second = [("OC1CCCCC1", "train", 7), ("CCc1ccccc1", "val", 8), ("CCCCO", "train", 9)]
    second += [("CCCN", "train", 10), ("Nc1ccoc1", "test", 11), ("Oc1ccncc1", "train", 12)]
    made = {}
    for name, rows in (("a", first), ("b", second)):
        made[name] = write_member(folder, name, rows, {f"value_{name}": {}})
    return made


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """The two datasets, and a mix of them."""
    folder = tmp_path_factory.mktemp("several")
    recipes = members(folder)
    options = {"workers": 0, "home": folder, "progress": False}
    apart = [curate(recipe, **options) for recipe in recipes.values()]
    return apart, curate_here(folder, write_mix(folder, {"a": "a", "b": "b"}))


def scaffolds(corpus: Corpus, ids: np.ndarray) -> set[str]:
    """Scaffolds of molecules; those without a ring have none."""
    texts = np.concatenate([shards.table(["scaffold"])["scaffold"] for shards in corpus.datasets])
    return {text for text in texts[ids].tolist() if text}


def smiles(corpus: Corpus, ids: np.ndarray) -> set[str]:
    texts = np.concatenate([np.array(shards.smiles()) for shards in corpus.datasets])
    return set(texts[ids].tolist())


@pytest.mark.parametrize("kind", ["apart", "mix"])
def test_disjoint_leaves_out_training_molecules_of_validation_scaffolds(several, kind):
    """Members of a mix keep their own splits, so it needs this as much as several datasets do."""
    apart, mix = several
    corpus = Corpus(apart if kind == "apart" else [mix])
    config = small_run(mix, n_val=None)
    rows = training_rows(corpus, config)
    assert scaffolds(corpus, rows.train) & scaffolds(corpus, rows.val) == {"C1CCCCC1", "c1ccccc1"}
    assert "CCCCO" in smiles(corpus, rows.train) & smiles(corpus, rows.val)
    disjoint = small_run(mix, n_val=None, disjoint=True)
    clean = training_rows(corpus, disjoint)
    assert np.array_equal(clean.val, rows.val)
    assert smiles(corpus, clean.train) == {"CCc1ccncc1", "CCCCCC", "CCCN", "Oc1ccncc1"}
    notes = [note for note in row_notes(corpus, disjoint, clean) if "disjoint" in note]
    assert notes[0].startswith("3 of 7 training molecules are left out") and len(notes) == 1


def test_excluded_molecules_are_not_held_out(several):
    (first, second), _ = several
    corpus = Corpus([second])
    config = small_run(second, n_random_val=2, exclude=(str(first.path),))
    rows = training_rows(corpus, config)
    assert (
        smiles(corpus, rows.val_random) | smiles(corpus, rows.train)
        == {
            "CCCN",
            "OC1CCCCC1",
            "Oc1ccncc1",
        }
        and len(rows.val_random) == 2
    )


def test_disjoint_does_not_depend_on_how_many_are_validated_on(several):
    apart, mix = several
    corpus = Corpus(apart)
    few = training_rows(corpus, small_run(mix, n_val=1, disjoint=True))
    many = training_rows(corpus, small_run(mix, n_val=None, disjoint=True))
    assert len(few.val) == 1 and np.array_equal(few.train, many.train)


def test_disjoint_that_leaves_nothing_is_refused(several):
    apart, mix = several
    corpus = Corpus(apart[:1])
    config = small_run(mix, train_ids=(0,), val_ids=(0, 2), disjoint=True)
    with pytest.raises(InputError, match="disjoint leaves none of the 1 training molecules"):
        training_rows(corpus, config)
