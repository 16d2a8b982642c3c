"""Methods answer in units and learn from training rows alone; what cannot be fine-tuned is
refused with one message.
"""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from rdkit import Chem
from safetensors.torch import load_file, save_file

pytest.importorskip("sklearn")
pytest.importorskip("lightgbm")

from molnb.chemistry.fingerprints import ecfp_counts, similarities
from molnb.curation.pipeline import curate
from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.evaluation.benchmark import load_benchmark
from molnb.evaluation.classical import (
    classical_methods,
    core_coverage,
    free_wilson,
    make_ridge,
    on_features,
)
from molnb.evaluation.comparison import compare
from molnb.evaluation.folds import Fold, make_folds
from molnb.evaluation.networks import (
    encoder_vectors,
    fold_config,
    frozen_encoder,
    trained_network,
)
from molnb.evaluation.report import comparison_table
from molnb.inference.predictor import load_run, predict_stored
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.recipes.sources import recipe_for_file
from molnb.training.loop import train
from molnb.training.presets import make_preset
from molnb.training.rows import training_rows
from molnb.training.runs import Run, find_run, start_run

SMALL = TwoTrackConfig(2, 32, 4, 32, 16, 4, n_kernel=16)
FAST = dict(model=SMALL, steps=3, global_batch=8, warmup_steps=1, eval_every=2, checkpoint_every=3)


@pytest.fixture(scope="module")
def benchmark(nci):
    return load_benchmark(nci, "nci_dipole")


@pytest.fixture(scope="module")
def fold(benchmark):
    return make_folds(benchmark.groups, 5)[0]


@pytest.fixture(scope="module")
def pretrained(nci, tmp_path_factory):
    config = make_preset("pretrain_tiny", [nci], **FAST)
    return train(config, tmp_path_factory.mktemp("runs") / "pretrained")


def finetuning(nci, **changes):
    return make_preset(
        "finetune_tiny", [nci], **{**FAST, "objective.task_names": ("nci_dipole",), **changes}
    )


def poisoned(benchmark, rows):
    """The same benchmark with impossible values in some rows, and no table computed yet."""
    values = benchmark.values.copy()
    values[rows] = 1e6
    return replace(benchmark, values=values)


# ---------------------------------------------------------------------------------------- classical


@pytest.mark.parametrize("name", classical_methods())
def test_values_of_test_rows_change_nothing(benchmark, fold, name):
    method = classical_methods()[name]
    clean, other = method(benchmark, fold, 0), method(poisoned(benchmark, fold.test), fold, 0)
    assert np.array_equal(clean.test, other.test) and np.array_equal(clean.train, other.train)
    assert clean.test.shape == fold.test.shape and np.isfinite(clean.test).all()
    low, high = benchmark.values.min(), benchmark.values.max()
    assert clean.test.min() > low - 5 and clean.test.max() < high + 5, (
        "debye, not standard deviations"
    )


def test_a_molecule_is_not_its_own_neighbour(benchmark, fold):
    shuffled = np.random.default_rng(0).permutation(len(benchmark.values)).astype(float)
    made = replace(benchmark, values=shuffled)
    fitted = classical_methods()["1-NN"](made, fold, 0)
    assert (fitted.train != shuffled[fold.train]).all(), "all values differ, so its own would show"
    tested_on_training = Fold(fold.train, fold.train[:5])
    fitted = classical_methods()["1-NN"](made, tested_on_training, 0)
    assert (fitted.test != shuffled[fold.train[:5]]).all()


@pytest.mark.parametrize(("name", "k"), [("1-NN", 1), ("kNN", 5)])
def test_neighbours_predict_as_the_whole_matrix_of_similarities_does(benchmark, fold, name, k):
    """In plain steps: all similarities, a stable sort, the weighted mean of the first k."""
    matrix = similarities(benchmark.smiles, benchmark.smiles)
    np.fill_diagonal(matrix, -1)
    fitted = classical_methods()[name](benchmark, fold, 0)
    for rows, predictions in ((fold.train, fitted.train), (fold.test, fitted.test)):
        for row, prediction in zip(rows, predictions):
            line = matrix[row, fold.train]
            best = np.argsort(-line, kind="stable")[:k]
            weights = np.maximum(line[best], 1e-6)
            values = benchmark.values[fold.train[best]]
            assert prediction == (values * weights).sum() / weights.sum()


def test_a_feature_table_belongs_to_its_function_and_a_core_to_its_groups(benchmark, fold):
    """Methods of one benchmark share what they compute, never what another one computed."""
    wide = on_features(make_ridge, ecfp_counts)
    narrow = on_features(make_ridge, lambda smiles: ecfp_counts(smiles, n_bit=16))
    assert not np.array_equal(wide(benchmark, fold, 0).test, narrow(benchmark, fold, 0).test)
    assert benchmark.feature_table(ecfp_counts) is benchmark.feature_table(ecfp_counts)
    ring = Chem.MolFromSmiles("[*:1]c1ccccc1")
    chain = Chem.MolFromSmiles("[*:1]CC")
    assert (
        core_coverage(benchmark, ring)["with the core"]
        != core_coverage(benchmark, chain)["with the core"]
    )
    other = replace(benchmark, smiles=benchmark.smiles[::-1])
    tables = [b.feature_table(ecfp_counts) for b in (benchmark, other)]
    assert np.array_equal(tables[0], tables[1][::-1]) and not np.array_equal(*tables)


def test_strong_methods_beat_the_mean_on_what_can_be_learnt(benchmark):
    size = np.array([Chem.MolFromSmiles(s).GetNumHeavyAtoms() for s in benchmark.smiles], float)
    result = compare(
        replace(benchmark, values=size),
        make_folds(benchmark.groups, 3),
        classical_methods(),
        progress=False,
    )
    mae = comparison_table(result.results).set_index("method")["mae"]
    assert (
        max(mae["ridge"], mae["random forest"], mae["LightGBM + descriptors"]) < 0.8 * mae["mean"]
    )


def test_free_wilson_adds_groups_and_says_what_it_covers(benchmark):
    groups = {"C": 1.0, "O": 2.0, "Cl": 4.0, "N": 8.0}
    smiles = [f"{a}c1ccc({b})cc1C#N" for a in groups for b in groups] + ["CCO"]
    values = np.array([a + 10 * b for a in groups.values() for b in groups.values()] + [3.0])
    made = replace(
        benchmark,
        smiles=tuple(smiles),
        values=values,
        ids=np.arange(17),
        groups=np.arange(17),
    )
    core = Chem.MolFromSmiles("[*:1]c1ccc([*:2])cc1C#N")
    test = np.array([1, 6, 11, 16])
    fold = Fold(np.setdiff1d(np.arange(17), test), test)
    predictions = free_wilson(core)(made, fold, 0).test
    errors = np.abs(predictions[:3] - values[test[:3]])
    assert np.all(np.diff(predictions[:3]) > 5) and errors.max() < 0.2 * np.ptp(values)
    assert predictions[3] == values[fold.train].mean(), "no core: the training mean"
    assert core_coverage(made, core, [fold]) == {
        "molecules": 17,
        "with the core": 16,
        "all groups known": 3,
    }
    with pytest.raises(InputError, match="no training molecule has the core"):
        free_wilson(Chem.MolFromSmiles("[*:1]C1CCCCC1"))(made, fold, 0)


# ----------------------------------------------------------------------------------------- networks


def test_networks_learn_from_training_rows_alone_and_answer_in_units(
    nci, benchmark, fold, pretrained, tmp_path
):
    """Rows to learn from and to stop by are training rows, scales those of the rows learnt from."""
    config = finetuning(nci, start_from=str(pretrained.path))
    config_of_fold = fold_config(config, benchmark, fold, 0)
    learn = set(config_of_fold.train_ids)
    stop = set(config_of_fold.val_ids)
    assert learn | stop == set(benchmark.ids[fold.train].tolist()) and not learn & stop
    fitted = trained_network(config, tmp_path / "net")(benchmark, fold, 0)
    run = Run(tmp_path / "net" / "fold-0")
    (task,) = run.config.objective.tasks_scaled
    learnt = benchmark.values[np.isin(benchmark.ids, list(learn))]
    assert np.isclose(task.mean[0], learnt.mean(), atol=1e-5) and np.isclose(
        task.scale[0], learnt.std(), atol=1e-5
    )
    stopped_by = np.isin(benchmark.ids[fold.train], list(stop))
    assert (np.isnan(fitted.train) == stopped_by).all(), "those are not learnt from"
    by_smiles = load_run(run.path).predict([benchmark.smiles[i] for i in fold.test[:3]])["dipole_D"]
    assert np.allclose(by_smiles, fitted.test[:3], atol=1e-3)


def test_a_fold_that_was_trained_is_not_trained_again(nci, benchmark, fold, tmp_path):
    method = trained_network(finetuning(nci), tmp_path / "net")
    first = method(benchmark, fold, 0)
    weights = tmp_path / "net" / "fold-0" / "weights.safetensors"
    stamp = weights.stat().st_mtime_ns
    again = method(benchmark, fold, 0)
    assert weights.stat().st_mtime_ns == stamp and np.array_equal(first.test, again.test)


def test_frozen_and_random_encoders_give_different_vectors(nci, benchmark, fold, pretrained):
    config = finetuning(nci)
    for source in (pretrained, config):
        assert np.isfinite(frozen_encoder(source)(benchmark, fold, 0).test).all()
    learnt = encoder_vectors(pretrained, benchmark)
    random = encoder_vectors(config, benchmark)
    assert learnt.shape == random.shape == (len(benchmark.ids), SMALL.d_atom)
    assert np.abs(learnt - random).max() > 1e-3
    assert random.std(0).max() > 1e-3, "random weights tell molecules apart, or they are no control"
    order = np.random.default_rng(0).permutation(benchmark.ids)
    moved = predict_stored(pretrained.load_model(), pretrained.config, Corpus([nci]), order)
    vector_of_id = dict(zip(order.tolist(), moved))
    assert np.allclose([vector_of_id[i] for i in benchmark.ids.tolist()], learnt, atol=1e-5), (
        "rows follow the ids"
    )


def test_vectors_are_those_of_the_weights_and_of_the_seed(nci, benchmark, pretrained, tmp_path):
    """Runs of one configuration with other weights are two, also one after another in a folder."""
    folder = tmp_path / "run"
    shutil.copytree(pretrained.path, folder)
    copy = Run(folder)
    vectors = encoder_vectors(pretrained, benchmark)
    assert encoder_vectors(copy, benchmark) is vectors, "equal weights, computed once"
    weights = load_file(copy.weights_file())
    save_file({name: 1.5 * value for name, value in weights.items()}, copy.weights_file())
    assert np.abs(encoder_vectors(copy, benchmark) - vectors).max() > 1e-3
    one, other = (encoder_vectors(finetuning(nci, seed=seed), benchmark) for seed in (0, 1))
    assert np.abs(one - other).max() > 1e-3


def test_molecules_of_the_benchmark_are_left_out_of_pretraining(nci, home, tmp_path):
    """Exactly those: by keys that ignore stereo, charge and tautomer, and no others."""
    smiles = nci.smiles()
    shared = [0, 7]
    file = tmp_path / "assay.csv"
    respelled = Chem.MolToSmiles(Chem.MolFromSmiles(smiles[7]), canonical=False, rootedAtAtom=2)
    salt = f"{smiles[0]}.Cl"
    file.write_text("smiles\n" + "".join(f"{s}\n" for s in (salt, respelled, "C" * 17)))
    assay = curate(recipe_for_file(file), workers=0, home=home, progress=False)
    assert assay.n == 3
    corpus = Corpus([nci])
    config = make_preset("pretrain_tiny", [nci])
    without = np.concatenate(training_rows(corpus, replace(config, exclude=(str(assay.path),))))
    whole = np.concatenate(training_rows(corpus, config))
    assert set(whole) - set(without) == set(shared) & set(whole) != set()
    assert set(corpus.shared_with([assay]).tolist()) == set(shared)
    everything = replace(config, exclude=(str(nci.path),))
    with pytest.raises(InputError, match="no training molecules"):
        training_rows(corpus, everything)


# ---------------------------------------------------------------------------------- what is refused


def test_a_run_without_weights_cannot_be_started_from(nci, tmp_path):
    empty = start_run(make_preset("pretrain_tiny", [nci], **FAST), tmp_path / "empty")
    with pytest.raises(InputError, match=r"empty has no weights yet \(it is new\)"):
        train(finetuning(nci, start_from=str(empty.path)), tmp_path / "run")
    assert not (tmp_path / "run").exists(), "refused before anything is written"
    with pytest.raises(InputError, match="is no run"):
        make_preset("finetune_tiny", [nci], start_from=str(tmp_path / "absent"))


def test_weights_of_another_architecture_are_refused_and_a_preset_takes_the_model_over(
    nci, pretrained, tmp_path
):
    taken = make_preset("finetune_tiny", [nci], start_from=str(pretrained.path))
    assert taken.model == SMALL
    wider = finetuning(nci, start_from=str(pretrained.path), model=replace(SMALL, d_pair=32))
    with pytest.raises(InputError, match=r"another architecture \(d_pair differ\): use its model"):
        train(wider, tmp_path / "run")


def test_a_run_is_found_by_its_name(nci, home, pretrained):
    run = start_run(make_preset("pretrain_tiny", [nci], **FAST))
    assert find_run(run.path.name).path == run.path
    assert find_run(pretrained.path).path == pretrained.path


def test_without_labels_there_is_nothing_to_fine_tune(nci, home, tmp_path):
    file = tmp_path / "bare.csv"
    file.write_text("smiles\nCCO\nCCN\nCCC\n")
    bare = curate(recipe_for_file(file), workers=0, home=home, progress=False)
    with pytest.raises(InputError, match="has no labels to learn"):
        train(make_preset("finetune_tiny", [bare], **FAST), tmp_path / "run")


ROWS = ["C" * n + "O" for n in range(1, 13)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["high"] * 12, "0 of 12 molecules have a label.*not a number: 12"),
        ([""] * 12, "0 of 12 molecules have a label.*empty: 12"),
        ([5.0] * 12, "all 12 values of task 'mine' are 5"),
        (["inf"] * 6 + [1.0] * 6, "6 of 12 molecules have a label.*NaN or infinite: 6"),
    ],
    ids=["strings", "missing", "constant", "infinite"],
)
def test_labels_that_say_nothing_are_refused_with_their_reason(values, message, home, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("smi,act\n" + "".join(f"{s},{v}\n" for s, v in zip(ROWS, values)))
    shards = curate(
        recipe_for_file(file, smiles="smi", labels={"act": "log"}),
        workers=0,
        home=home,
        progress=False,
    )
    with pytest.raises(InputError, match=message):
        load_benchmark(shards)
    if values[0] != "inf":
        with pytest.raises(
            InputError, match="no training molecules|nothing to learn|no label on any"
        ):
            train(make_preset("finetune_tiny", [shards], **FAST), tmp_path / "run")


def test_the_whole_path_for_a_table_of_ones_own(pretrained, home, tmp_path):
    """Table, shards, a fine-tuned run, predictions in the unit of the table."""
    file = tmp_path / "mine.csv"
    file.write_text("smi,act\n" + "".join(f"{s},{10 + len(s)}\n" for s in ROWS))
    shards = curate(
        recipe_for_file(file, smiles="smi", labels={"act": "mg/L"}),
        workers=0,
        home=home,
        progress=False,
    )
    config = make_preset(
        "finetune_tiny", [shards], **(FAST | {"steps": 1}), start_from=str(pretrained.path)
    )
    run = train(config, tmp_path / "run")
    assert run.config.objective.task_names == ("mine",) and run.config.data == (shards.path.name,)
    predictions = load_run(run.path).predict(["CCCO", "not a molecule"])
    assert list(predictions) == ["act_mg_L"]
    assert 10 < predictions["act_mg_L"][0] < 25 and np.isnan(predictions["act_mg_L"][1])


def test_a_network_of_a_comparison_learns_labels(nci, tmp_path):
    with pytest.raises(InputError, match="pretrain-tiny learns no labels"):
        trained_network(make_preset("pretrain_tiny", [nci]), tmp_path / "net")
