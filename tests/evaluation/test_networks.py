"""Networks answer in units and learn from training rows alone; their vectors are no others'."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from tiny import SMALL

pytest.importorskip("sklearn")
pytest.importorskip("lightgbm")

from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.evaluation.benchmark import load_benchmark
from molnb.evaluation.networks import (
    encoder_vectors,
    fold_config,
    frozen_encoder,
    trained_network,
)
from molnb.inference.predictor import load_run, predict_stored
from molnb.recipes.sources import recipe_for_file
from molnb.shards import add_array, load_shards
from molnb.training.loop import train
from molnb.training.presets import make_preset
from molnb.training.runs import Run

FAST = {
    "model": SMALL,
    "steps": 3,
    "global_batch": 8,
    "warmup_steps": 1,
    "eval_every": 2,
    "checkpoint_every": 3,
}


def finetuning(nci, **changes):
    settings = FAST | {"objective.task_names": ("nci_dipole",)} | changes
    return make_preset("finetune_tiny", [nci], **settings)


def test_networks_learn_from_training_rows_alone_and_answer_in_units(
    nci, benchmark, fold, finished, tmp_path
):
    """Rows to learn from and to stop by are training rows, scales those of the rows learnt from."""
    config = finetuning(nci, start_from=str(finished.path))
    config_of_fold = fold_config(config, benchmark, fold, 0)
    learn = set(config_of_fold.train_ids)
    stop = set(config_of_fold.val_ids)
    assert learn | stop == set(benchmark.ids[fold.train].tolist()) and not learn & stop
    fitted = trained_network(config, tmp_path / "net")(benchmark, fold, 0)
    run = Run(tmp_path / "net" / "fold-0")
    (task,) = run.config.objective.tasks_scaled
    learnt = benchmark.values[np.isin(benchmark.ids, list(learn))]
    assert task.mean[0] == pytest.approx(learnt.mean(), abs=1e-5)
    assert task.scale[0] == pytest.approx(learnt.std(), abs=1e-5)
    stopped_by = np.isin(benchmark.ids[fold.train], list(stop))
    assert (np.isnan(fitted.train) == stopped_by).all(), "those are not learnt from"
    by_smiles = load_run(run.path).predict([benchmark.smiles[i] for i in fold.test[:3]])
    assert np.allclose(by_smiles["dipole_D"], fitted.test[:3], atol=1e-3)


def test_arrays_that_heads_read_are_read_of_the_benchmark_too(nci, fold, tmp_path):
    """And scaled by the rows that are learnt from; an encoder's vectors need none."""
    copied = tmp_path / "nci"
    shutil.copytree(nci.path, copied)
    hint = np.random.default_rng(0).normal(size=nci.n)
    shards = add_array(load_shards(copied), "hint", "molecule", hint)
    benchmark = load_benchmark(shards, "nci_dipole")
    config = finetuning(shards, **{"objective.beside": ("hint",)})
    fitted = trained_network(config, tmp_path / "net")(benchmark, fold, 0)
    run = Run(tmp_path / "net" / "fold-0")
    learnt = hint[list(run.config.train_ids)]
    reader = run.load_model().head("nci_dipole").beside
    assert reader.mean.tolist() == pytest.approx([learnt.mean()])
    predicted = load_run(run.path).predict(shards)["dipole_D"].to_numpy()
    assert np.allclose(predicted[benchmark.ids[fold.test]], fitted.test, atol=1e-4)
    vectors = encoder_vectors(run, load_benchmark(nci, "nci_dipole"))
    assert np.allclose(vectors, encoder_vectors(run, benchmark), atol=1e-5)


def test_a_fold_that_was_trained_is_not_trained_again(nci, benchmark, fold, tmp_path):
    method = trained_network(finetuning(nci), tmp_path / "net")
    first = method(benchmark, fold, 0)
    weights = tmp_path / "net" / "fold-0" / "weights.safetensors"
    stamp = weights.stat().st_mtime_ns
    again = method(benchmark, fold, 0)
    assert weights.stat().st_mtime_ns == stamp and np.array_equal(first.test, again.test)


def test_frozen_and_random_encoders_give_different_vectors(nci, corpus, benchmark, fold, finished):
    config = finetuning(nci)
    for source in (finished, config):
        assert np.isfinite(frozen_encoder(source)(benchmark, fold, 0).test).all()
    learnt = encoder_vectors(finished, benchmark)
    random = encoder_vectors(config, benchmark)
    assert learnt.shape == random.shape == (len(benchmark.ids), SMALL.d_atom)
    assert np.abs(learnt - random).max() > 1e-3
    assert random.std(0).max() > 1e-3, "random weights tell molecules apart, or they are no control"
    order = np.random.default_rng(0).permutation(benchmark.ids)
    moved = predict_stored(finished.load_model(), finished.config, corpus, order)
    vector_of_id = dict(zip(order.tolist(), moved))
    in_order = [vector_of_id[i] for i in benchmark.ids.tolist()]
    assert np.allclose(in_order, learnt, atol=1e-5), "rows follow the ids"


def test_vectors_are_those_of_the_weights_and_of_the_seed(nci, benchmark, finished, tmp_path):
    """Runs of one configuration with other weights are two, also one after another in a folder."""
    folder = tmp_path / "run"
    shutil.copytree(finished.path, folder)
    copy = Run(folder)
    vectors = encoder_vectors(finished, benchmark)
    assert encoder_vectors(copy, benchmark) is vectors, "equal weights, computed once"
    weights = load_file(copy.weights_file())
    save_file({name: 1.5 * value for name, value in weights.items()}, copy.weights_file())
    assert np.abs(encoder_vectors(copy, benchmark) - vectors).max() > 1e-3
    by_seed = [encoder_vectors(finetuning(nci, seed=seed), benchmark) for seed in (0, 1)]
    assert np.abs(by_seed[0] - by_seed[1]).max() > 1e-3


# --------------------------------------------------------------------------- tables of one's own


ROWS = ["C" * n + "O" for n in range(1, 13)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([5.0] * 12, "all 12 values of task 'mine' are 5"),
        (["inf"] * 6 + [1.0] * 6, "6 of 12 molecules have a label.*NaN or infinite: 6"),
    ],
    ids=["constant", "infinite"],
)
def test_labels_that_say_nothing_are_refused_with_their_reason(values, message, home, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("smi,act\n" + "".join(f"{s},{v}\n" for s, v in zip(ROWS, values)))
    recipe = recipe_for_file(file, smiles="smi", labels={"act": "log"})
    shards = curate(recipe, workers=0, home=home, progress=False)
    with pytest.raises(InputError, match=message):
        load_benchmark(shards)
    if values[0] != "inf":
        message = "no training molecules|nothing to learn|no label on any"
        with pytest.raises(InputError, match=message):
            train(make_preset("finetune_tiny", [shards], **FAST), tmp_path / "run")


@pytest.mark.parametrize(("value", "reason"), [("high", "not a number 12"), ("", "empty 12")])
def test_labels_without_any_value_are_refused_by_curation(value, reason, home, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("smi,act\n" + "".join(f"{s},{value}\n" for s in ROWS))
    recipe = recipe_for_file(file, smiles="smi", labels={"act": "log"})
    with pytest.raises(InputError, match=f"label 'act' has no value in any of 12 rows.*{reason}"):
        curate(recipe, workers=0, home=home, progress=False)


def test_the_whole_path_for_a_table_of_ones_own(finished, home, tmp_path):
    """Table, shards, a fine-tuned run, predictions in the unit of the table."""
    file = tmp_path / "mine.csv"
    file.write_text("smi,act\n" + "".join(f"{s},{10 + len(s)}\n" for s in ROWS))
    recipe = recipe_for_file(file, smiles="smi", labels={"act": "mg/L"})
    shards = curate(recipe, workers=0, home=home, progress=False)
    settings = FAST | {"steps": 1, "start_from": str(finished.path)}
    run = train(make_preset("finetune_tiny", [shards], **settings), tmp_path / "run")
    assert run.config.objective.task_names == ("mine",) and run.config.data == (shards.path.name,)
    predictions = load_run(run.path).predict(["CCCO", "not a molecule"])
    assert list(predictions) == ["smiles", "act_mg_L", "error"]
    assert predictions["error"].isna().tolist() == [True, False]
    assert 10 < predictions["act_mg_L"][0] < 25 and np.isnan(predictions["act_mg_L"][1])


def test_a_network_of_a_comparison_learns_labels(nci, tmp_path):
    with pytest.raises(InputError, match="pretrain-tiny learns no labels"):
        trained_network(make_preset("pretrain_tiny", [nci]), tmp_path / "net")
