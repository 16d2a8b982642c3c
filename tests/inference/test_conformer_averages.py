"""Answers from all geometries of a molecule are the mean of the answers from each."""

from __future__ import annotations

import numpy as np
import pytest
from curated_files import FEW, curate_smiles
from tiny import small_run

from molnb.data.dataset import Corpus
from molnb.evaluation.run_answers import judgement, network_answers
from molnb.inference.predictor import load_run
from molnb.objectives.supervised import Supervised
from molnb.training.loop import train

SMILES = [*FEW[1:], "CCCCO", "NCCCC", "OCCc1ccccc1", "CC(=O)NCCO", "CCOCC"]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory):
    """Molecules with three conformers each."""
    folder = tmp_path_factory.mktemp("three")
    split = {"random": {"kind": "random", "fractions": [0.5, 0.25, 0.25]}}
    keys = {"conformers": {"n": 3}, "splits": split, "default_split": "random"}
    return curate_smiles(folder, SMILES, **keys)


@pytest.fixture(scope="module")
def run(three, tmp_path_factory: pytest.TempPathFactory):
    """A run that has learnt their number a little."""
    settings = {"steps": 15, "global_batch": 6, "learning_rate": 3e-3, "n_val": 3}
    config = small_run(three, objective=Supervised(("mine",)), **settings)
    return train(config, tmp_path_factory.mktemp("three_run") / "run")


def test_predictions_and_embeddings_are_means_over_all_conformers(three, run) -> None:
    model = load_run(run.path)
    ids = np.arange(three.n)
    n_heavy = np.asarray(three.array("n_heavy"), int)
    corpus = Corpus([three])
    assert corpus.n_conformers(ids).min() >= 2
    each = []
    for number in range(3):
        chosen = np.minimum(number, corpus.n_conformers(ids) - 1)
        values = model._values_of(corpus, ids, n_heavy, None, chosen)
        each.append([result.values["y"] for result in values])
    each = np.array(each, float)
    first = model.predict(three)["y"].to_numpy()
    averaged = model.predict(three, conformer="all")["y"].to_numpy()
    assert np.allclose(first, each[0], atol=1e-5)
    assert np.ptp(each, axis=0).max() > 1e-4, "conformers have answers of their own"
    for molecule, n in enumerate(corpus.n_conformers(ids)):
        assert averaged[molecule] == pytest.approx(each[:n, molecule].mean(), abs=1e-5)
    vectors = model.embed(three, conformer="all")
    assert vectors.shape == model.embed(three).shape
    assert np.abs(vectors - model.embed(three)).max() > 1e-4


def test_scores_are_of_means_over_all_conformers_where_that_is_asked_for(three, run) -> None:
    judged = judgement(run, "all", None)
    (first,) = network_answers(judged, progress=False)
    (averaged,) = network_answers(judged, progress=False, average=True)
    assert np.array_equal(first.mols, averaged.mols)
    expected = load_run(run.path).predict(three, conformer="all")["y"].to_numpy()
    assert np.allclose(averaged.of_label("network", 0), expected[averaged.mols], atol=1e-5)
    assert np.abs(first.of_label("network", 0) - averaged.of_label("network", 0)).max() > 1e-4
