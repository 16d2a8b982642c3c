"""Methods answer in units and learn from training rows alone; what cannot be fine-tuned is
refused with one message.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rdkit import Chem

pytest.importorskip("sklearn")
pytest.importorskip("lightgbm")

from molnb.curation.pipeline import curate
from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.evaluation.benchmark import load_benchmark
from molnb.evaluation.classical import classical_methods, core_coverage, free_wilson
from molnb.evaluation.comparison import compare
from molnb.evaluation.folds import Fold, make_folds
from molnb.evaluation.networks import fold_config, frozen_encoder, predict_ids, trained_network
from molnb.evaluation.report import comparison_table
from molnb.inference.predictor import load_run
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
    """The same assay with impossible values in some rows, and no table computed yet."""
    values = benchmark.values.copy()
    values[rows] = 1e6
    return replace(benchmark, values=values, features={})


# ------------------------------------------------------------------------------------------------- classical


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
    found = classical_methods()["1-NN"](replace(benchmark, values=shuffled), fold, 0)
    assert (found.train != shuffled[fold.train]).all(), "all values differ, so its own would show"
    near = classical_methods()["1-NN"](
        replace(benchmark, values=shuffled), Fold(fold.train, fold.train[:5]), 0
    )
    assert (near.test != shuffled[fold.train[:5]]).all()


def test_strong_methods_beat_the_mean_on_what_can_be_learnt(benchmark):
    size = np.array([Chem.MolFromSmiles(s).GetNumHeavyAtoms() for s in benchmark.smiles], float)
    result = compare(
        replace(benchmark, values=size),
        make_folds(benchmark.groups, 3),
        classical_methods(),
        progress=False,
    )
    mae = {row["method"]: row["mae"] for row in comparison_table(result)}
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
        features={},
    )
    core = Chem.MolFromSmiles("[*:1]c1ccc([*:2])cc1C#N")
    test = np.array([1, 6, 11, 16])
    fold = Fold(np.setdiff1d(np.arange(17), test), test)
    found = free_wilson(core)(made, fold, 0).test
    assert np.all(np.diff(found[:3]) > 5) and np.abs(
        found[:3] - values[test[:3]]
    ).max() < 0.2 * np.ptp(values)
    assert found[3] == values[fold.train].mean(), "no core: the training mean"
    assert core_coverage(made, core, [fold]) == {
        "molecules": 17,
        "with the core": 16,
        "all groups known": 3,
    }
    with pytest.raises(InputError, match="no training molecule has the core"):
        free_wilson(Chem.MolFromSmiles("[*:1]C1CCCCC1"))(replace(made, features={}), fold, 0)


# -------------------------------------------------------------------------------------------------- networks


def test_networks_learn_from_training_rows_alone_and_answer_in_units(
    nci, benchmark, fold, pretrained, tmp_path
):
    """Another value in every test row changes neither scales, nor stopping, nor an answer."""
    config = finetuning(nci, start_from=str(pretrained.path))
    asked = fold_config(config, benchmark, fold, 0)
    rows = {*asked.train_ids, *asked.val_ids}
    assert rows == set(benchmark.ids[fold.train].tolist()) and not set(asked.train_ids) & set(
        asked.val_ids
    )
    found = trained_network(config, tmp_path / "net")(benchmark, fold, 0)
    run = Run(tmp_path / "net" / "fold-0")
    (task,) = run.config.objective.tasks_scaled
    learnt = benchmark.values[np.isin(benchmark.ids, asked.train_ids)]
    assert np.isclose(task.mean[0], learnt.mean(), atol=1e-5) and np.isclose(
        task.scale[0], learnt.std(), atol=1e-5
    )
    assert np.isnan(found.train).sum() == len(asked.val_ids), (
        "rows it was stopped by are not learnt from"
    )
    by_smiles = load_run(run.path).predict([benchmark.smiles[i] for i in fold.test[:3]])["dipole_D"]
    assert np.allclose(by_smiles, found.test[:3], atol=1e-3)


def test_a_fold_that_was_trained_is_not_trained_again(nci, benchmark, fold, tmp_path):
    method = trained_network(finetuning(nci), tmp_path / "net")
    first = method(benchmark, fold, 0)
    weights = tmp_path / "net" / "fold-0" / "weights.safetensors"
    stamp = weights.stat().st_mtime_ns
    again = method(benchmark, fold, 0)
    assert weights.stat().st_mtime_ns == stamp and np.array_equal(first.test, again.test)


def test_frozen_and_random_encoders_give_different_vectors(nci, benchmark, fold, pretrained):
    config = finetuning(nci)
    one = frozen_encoder(pretrained, pretrained.config, "pretrained")(benchmark, fold, 0)
    other = frozen_encoder(None, config, "random")(benchmark, fold, 0)
    known = [benchmark.features[f"vectors of {name}"] for name in ("pretrained", "random")]
    assert known[0].shape == known[1].shape == (len(benchmark.ids), SMALL.d_atom)
    assert (
        np.abs(known[0] - known[1]).max() > 1e-3
        and np.isfinite(one.test).all()
        and np.isfinite(other.test).all()
    )
    assert known[1].std(0).max() > 1e-3, (
        "random weights tell molecules apart, or they are no control"
    )
    order = np.random.default_rng(0).permutation(benchmark.ids)
    moved = predict_ids(pretrained.load_model(), pretrained.config, Corpus([nci]), order)
    back = {int(i): row for i, row in zip(order, moved)}
    assert np.allclose([back[int(i)] for i in benchmark.ids], known[0], atol=1e-5), (
        "rows follow the ids"
    )


def test_molecules_of_the_assay_are_left_out_of_pretraining(nci):
    config = replace(make_preset("pretrain_tiny", [nci]), exclude=(str(nci.path),))
    with pytest.raises(InputError, match="no training molecules"):
        training_rows(Corpus([nci]), config)


# ------------------------------------------------------------------------------------------ what is refused


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
    found = load_run(run.path).predict(["CCCO", "not a molecule"])
    assert (
        list(found) == ["act_mg_L"]
        and 10 < found["act_mg_L"][0] < 25
        and np.isnan(found["act_mg_L"][1])
    )


def test_a_network_of_a_comparison_learns_labels(nci, tmp_path):
    with pytest.raises(InputError, match="pretrain-tiny learns no labels"):
        trained_network(make_preset("pretrain_tiny", [nci]), tmp_path / "net")
