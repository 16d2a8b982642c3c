"""A run whose heads read arrays predicts from shards that keep them, and embeds any molecule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")
from made_data import ALCOHOLS, ALKANES, make_dataset
from tiny import TINY, small_run

from molnb.cli import main
from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.evaluation.run_scores import evaluate
from molnb.inference.predictor import load_run, predict_stored
from molnb.objectives.supervised import Supervised
from molnb.shards import Shards, add_array
from molnb.training.loop import train
from molnb.training.rows import corpus_for

SMILES = [*ALKANES, *ALCOHOLS]


def make_wet(folder, seed: int = 0) -> Shards:
    """Molecules with a random label, without an array that tells it."""
    folder.mkdir()
    labels = {"wet": np.random.default_rng(seed).normal(size=len(SMILES)).tolist()}
    return make_dataset(folder, "wet", SMILES, labels, [{"name": "wet", "labels": ["wet"]}])


def with_hint(shards: Shards) -> Shards:
    """The shards with an array of two columns, of which one is the label."""
    label = shards.array("wet.values")[:, 0]
    noise = np.random.default_rng(9).normal(size=shards.n)
    return add_array(shards, "hint", "molecule", np.column_stack([noise, label]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("wet")


@pytest.fixture(scope="module")
def shards(folder):
    return with_hint(make_wet(folder / "wet"))


@pytest.fixture(scope="module")
def bare(folder):
    """Other molecules' labels, and no array."""
    return make_wet(folder / "bare", seed=1)


@pytest.fixture(scope="module")
def run(shards, folder):
    objective = Supervised(("wet",), beside=("hint",))
    settings = {"model": TINY, "objective": objective, "learning_rate": 1e-2, "steps": 60}
    return train(small_run(shards, **settings, eval_every=60), folder / "run", device="cpu")


@pytest.fixture(scope="module")
def model(run):
    return load_run(run.path, "cpu")


def test_shards_that_keep_the_array_are_predicted_from_it(model, run, shards, folder):
    truth = shards.array("wet.values")[:, 0]
    predicted = model.predict(shards)["wet"].to_numpy()
    assert np.corrcoef(predicted, truth)[0, 1] > 0.8
    others = with_hint(make_wet(folder / "others", seed=2))
    corpus = corpus_for(run.config, [others])
    order = np.random.default_rng(0).permutation(others.n)
    stored = predict_stored(run.load_model(), run.config, corpus, order, "wet")[:, 0]
    of_others = model.predict(others)["wet"].to_numpy()
    assert np.allclose(of_others[order], stored, atol=1e-5)
    assert np.corrcoef(of_others, others.array("wet.values")[:, 0])[0, 1] > 0.8
    scores = evaluate(run, data=others, baselines=False, n_draw=10, device="cpu", progress=False)
    error = np.abs(of_others - others.array("wet.values")[:, 0]).mean()
    assert scores["mae"].tolist() == pytest.approx([error], rel=1e-4)
    own = evaluate(run, baselines=False, n_draw=10, device="cpu", progress=False)
    in_test = Corpus([shards]).ids("test")
    error = np.abs(predicted - truth)[in_test].mean()
    assert own["n"].tolist() == [len(in_test)]
    assert own["mae"].tolist() == pytest.approx([error], rel=1e-4)


def test_smiles_are_refused_with_the_names_of_the_arrays(model, run, tmp_path, capsys):
    message = "run reads hint beside the usual features, which only shards hold: give curated"
    with pytest.raises(InputError, match=message):
        model.predict("CCO")
    with pytest.raises(InputError, match=message):
        model.prediction_rows(["CCO"])
    file = tmp_path / "new.smi"
    file.write_text("CCO\n")
    out = tmp_path / "out.csv"
    assert main(["predict", str(file), "--run", str(run.path), "--out", str(out)]) == 2
    assert message in capsys.readouterr().err and not out.exists()


def test_shards_without_the_array_are_refused(model, run, bare):
    message = "has no array 'hint', which heads read beside molecules.*it has none: add it"
    for ask in (model.predict, lambda shards: evaluate(run, data=shards, progress=False)):
        with pytest.raises(InputError, match=message):
            ask(bare)


def test_embeddings_need_no_array(model, run, shards, bare):
    vectors = model.embed(["CCO", "CC"])
    assert vectors.shape == (2, TINY.d_atom) and np.isfinite(vectors).all()
    assert np.allclose(model.embed(shards), model.embed(bare), atol=1e-5)


def test_a_run_is_trained_by_a_line_in_a_shell(shards, tmp_path):
    line = ["train", "finetune_tiny", "--data", str(shards.path), "--out", str(tmp_path / "run")]
    changes = {"steps": "1", "patience": "None", "objective.beside": "hint"}
    for name, value in changes.items():
        line += ["--set", name, value]
    assert main(line) == 0
    objective = load_run(tmp_path / "run", "cpu").config.objective
    assert objective.beside == ("hint",) and objective.beside_widths == (2,)


def test_a_run_may_start_from_one_whose_heads_read_other_arrays(run, shards, tmp_path):
    config = replace(run.config, start_from=str(run.path), steps=1, frozen_layers=1)
    without = replace(config, objective=Supervised(("wet",)))
    again = train(without, tmp_path / "without", device="cpu")
    assert "from_beside.weight" not in dict(again.load_model().head("wet").named_parameters())
    assert load_run(again.path, "cpu").predict("CCO")["wet"].notna().all()
    read = load_run(train(config, tmp_path / "with", device="cpu").path, "cpu")
    assert read.predict(shards)["wet"].notna().all()
