"""What a loss must beat: identity, element frequencies, and tables of visible features."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_data import ALCOHOLS, ALKANES, make_classes, make_dataset

from molnb.data.batch import MolBatch
from molnb.data.dataset import Corpus
from molnb.data.sampling import batches
from molnb.objectives import trivial_baselines
from molnb.objectives.pretraining import Pretrain
from molnb.objectives.supervised import Supervised
from molnb.objectives.targets import scale_tasks
from molnb.objectives.trivial_baselines import (
    ElementTable,
    SumTable,
    atom_keys,
    label_baselines,
    label_keys,
    pretrain_baselines,
)


def test_the_baseline_of_coordinates_is_the_untouched_noise(corpus):
    masked = Pretrain().corrupt(corpus.batch(corpus.ids("val")), 0, -1)
    bars = pretrain_baselines(corpus, corpus.ids("train"), [masked])
    batch = masked.batch
    errors = []
    for mol in range(batch.n_mol):
        atoms = batch.mol_of_atom() == mol
        truth = batch.coords[atoms] - batch.coords[atoms].mean(0)
        errors.append(float((masked.noisy[atoms] - truth).abs().sum(-1).mean()))
    assert bars["hidden"]["coord_l1_angstrom"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert bars["visible"]["token_accuracy"] > bars["hidden"]["token_accuracy"] + 0.1
    assert bars["visible"]["token_ce_nats"] < bars["hidden"]["token_ce_nats"]


def test_bonds_alone_name_fewer_atoms_than_bonds_and_features(corpus):
    batch = corpus.batch(corpus.ids("val"))
    right = {}
    for hide in (False, True):
        masked = Pretrain(hide_features=hide).corrupt(batch, 0, -1)
        bars = pretrain_baselines(corpus, corpus.ids("train"), [masked])
        right[hide] = bars["visible"]["token_accuracy"]
        assert bars["hidden"]["token_accuracy"] < bars["visible"]["token_accuracy"]
    assert right[True] < right[False] - 0.05


def test_the_element_table_counts_what_it_saw():
    numbers = np.array([6, 6, 8, 7])
    keys = np.array([1, 1, 1, 2])
    table = ElementTable()
    table.add(numbers[:2], keys[:2])
    table.add(numbers[2:], keys[2:])
    assert table.by_frequency(np.array([6, 8]))[1] == 1
    assert table.by_features(np.array([7]), np.array([2]))[1] == 1
    # of a key never seen the most frequent element is guessed
    assert table.by_features(np.array([6]), np.array([9]))[1] == 1


def test_sums_by_key_are_those_of_a_dictionary_whatever_the_pieces():
    random = np.random.default_rng(0)
    keys = random.integers(-5, 5, 200)
    rows = random.integers(0, 9, (200, 2)).astype(float)
    table = SumTable(2)
    assert table.find(keys).tolist() == np.zeros((200, 2)).tolist()
    sums: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(2))
    for key, row in zip(keys.tolist(), rows):
        sums[key] += row
    for piece in np.array_split(np.arange(200), 7):
        table.add(keys[piece], rows[piece])
    lookup = np.array([*range(-8, 8), 99])
    expected = [sums[key].tolist() if key in sums else [0, 0] for key in lookup.tolist()]
    assert table.find(lookup).tolist() == expected


def test_visible_keys_do_not_hold_the_element(corpus):
    batch = corpus.batch(np.arange(5))
    fluorine = batch.with_arrays("atom", {"numbers": torch.full_like(batch.numbers, 9)})
    assert np.array_equal(atom_keys(batch), atom_keys(fluorine))
    assert len(np.unique(atom_keys(batch))) > 5, "and still tell atoms apart"


# ------------------------------------------------------------------------------------------ labels


def supervised(corpus: Corpus, names: tuple[str, ...], train_ids: np.ndarray) -> Supervised:
    return Supervised(names, scale_tasks(corpus, names, train_ids))


def plain_baselines(task, train: MolBatch, val: MolBatch, looked_up: bool) -> list[float]:
    """Mean absolute error of each label, by dictionaries over all rows at once."""
    values = train.labels[task.key].values.double().numpy()
    truth = val.labels[task.key].values.double().numpy()
    guess = np.tile(np.nanmean(values, 0), (len(truth), 1))
    if looked_up:
        rows_of_key = defaultdict(list)
        for key, row in zip(label_keys(train, task).tolist(), values):
            rows_of_key[key].append(row)
        for position, key in enumerate(label_keys(val, task).tolist()):
            if key in rows_of_key:
                guess[position] = np.nanmean(rows_of_key[key], 0)
    return np.nanmean(np.abs(guess - truth), 0).tolist()


@pytest.mark.parametrize("pair_budget", [400, 16_384])
def test_baselines_of_labels_streamed_in_pieces_are_those_of_all_rows(
    corpus, pair_budget, monkeypatch
):
    """Training rows come in batches of a given size, validation rows a molecule at a time."""
    names = ("nci_orbitals", "nci_charges", "nci_bond_orders")
    train_ids = corpus.ids("train")
    val_ids = corpus.ids("val")
    objective = supervised(corpus, names, train_ids)

    def in_pieces(*arguments, **options):
        return batches(*arguments, pair_budget=pair_budget, **options)

    monkeypatch.setattr(trivial_baselines, "batches", in_pieces)
    pieces = [corpus.batch(val_ids[i : i + 1], names) for i in range(len(val_ids))]
    bars = label_baselines(corpus, objective, train_ids, iter(pieces))
    train = corpus.batch(train_ids, names)
    val = corpus.batch(val_ids, names)
    orbitals, charges, orders = objective.tasks_scaled
    means = [plain_baselines(task, train, val, False) for task in objective.tasks_scaled]
    assert list(bars["mean"].values()) == pytest.approx(np.concatenate(means), rel=1e-5)
    lookups = [plain_baselines(task, train, val, True) for task in (charges, orders)]
    assert list(bars["lookup"].values()) == pytest.approx(np.concatenate(lookups), rel=1e-5)
    assert bars["lookup"]["wiberg_mae"] < bars["mean"]["wiberg_mae"]


def test_of_a_binary_label_the_share_of_positives_is_guessed(tmp_path):
    """Eight alkanes and four alcohols in training; three and eight to be judged by."""
    smiles = ALKANES + ALCOHOLS
    wet = [0] * 12 + [1] * 12
    wet[3] = None
    tasks = [{"name": "water", "labels": ["wet"], "kind": "binary", "loss": "bce"}]
    corpus = Corpus([make_dataset(tmp_path, "wet", smiles, {"wet": wet}, tasks)])
    train_ids = np.r_[0:9, 12:16]
    objective = supervised(corpus, ("water",), train_ids)
    val = [corpus.batch(np.r_[9:12, 16:20], ["water"]), corpus.batch(np.r_[20:24], ["water"])]
    bars = label_baselines(corpus, objective, train_ids, val)
    assert bars == {
        "mean": {
            "water_loss": pytest.approx((3 * np.log(3 / 2) + 8 * np.log(3)) / 11, rel=1e-5),
            "wet_accuracy": pytest.approx(3 / 11),
            "wet_auroc": 0.5,
            "wet_ap": pytest.approx(8 / 11),
        }
    }
    (task,) = objective.tasks_scaled
    balanced = Supervised(("water",), (task._replace(class_weights=((0.75, 1.5),)),))
    bars = label_baselines(corpus, balanced, train_ids, val)
    weighed = (3 * 0.75 + 8 * 1.5) * np.log(2) / 11
    assert bars["mean"]["water_loss"] == pytest.approx(weighed, rel=1e-5), "an even guess"
    assert bars["mean"]["wet_accuracy"] == pytest.approx(3 / 11), "and still the frequent class"


def test_of_several_classes_their_shares_are_guessed(tmp_path):
    """Four, two and two molecules in training; one of each to be judged by."""
    numbers = [0, 0, 0, 0, 1, 1, 2, 2, 0, 1, 2, 2]
    corpus = Corpus([make_classes(tmp_path, "three", ALKANES, numbers, 3)])
    objective = supervised(corpus, ("three",), np.arange(8))
    val = [corpus.batch(np.r_[8:11], ["three"])]
    assert label_baselines(corpus, objective, np.arange(8), val) == {
        "mean": {
            "three_loss": pytest.approx((np.log(2) + 2 * np.log(4)) / 3, rel=1e-5),
            "three_accuracy": pytest.approx(1 / 3),
            "three_auroc": 0.5,
            "three_ap": pytest.approx(1 / 3),
        }
    }


def test_a_table_of_features_gives_probabilities_of_atom_classes(corpus):
    """Made of charges: an atom is positive where its charge is."""
    names = ("nci_charges",)
    train_ids = corpus.ids("train")
    (task,) = scale_tasks(corpus, names, train_ids)
    binary = task._replace(
        kind="binary", loss="bce", mean=(0.0,), scale=(1.0,), classes=(("0", "1"),)
    )

    def signs(ids: np.ndarray) -> MolBatch:
        batch = corpus.batch(ids, names)
        labels = batch.labels["nci_charges"]
        values = (labels.values > 0).float()
        return replace(batch, labels={"nci_charges": labels._replace(values=values)})

    table = trivial_baselines.LabelTable(binary)
    table.add(signs(train_ids))
    batch = signs(corpus.ids("val"))
    guess = table.guess(batch, looked_up=True)
    truth = batch.labels["nci_charges"].values.numpy()
    assert 0 < guess.min() and guess.max() < 1
    bars = {name: trivial_baselines._class_bars(table, [batch], name) for name in (False, True)}
    assert bars[False]["charge_mulliken_auroc"] == 0.5
    assert bars[True]["charge_mulliken_auroc"] > 0.9
    assert bars[True]["nci_charges_loss"] < bars[False]["nci_charges_loss"]
    likely = np.where(truth > 0.5, guess, 1 - guess)
    assert bars[True]["nci_charges_loss"] == pytest.approx(-np.log(likely).mean(), rel=1e-4)


def test_a_task_without_labels_on_validation_rows_has_no_baseline_and_no_error(corpus):
    names = ("nci_dipole", "nci_charges")
    labelled = corpus.labelled(names)
    unlabelled = np.setdiff1d(np.arange(corpus.n), labelled)
    assert len(unlabelled)
    objective = supervised(corpus, names, labelled)
    val = [corpus.batch(unlabelled, names)]
    bars = label_baselines(corpus, objective, labelled, val)
    assert bars["mean"].keys() == {"dipole_mae_D", "charge_mulliken_mae_e"}
    assert bars["lookup"].keys() == {"charge_mulliken_mae_e"}
    assert np.isnan([*bars["mean"].values(), *bars["lookup"].values()]).all()
