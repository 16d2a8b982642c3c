"""A corpus reads datasets as one sequence of molecules, arrays and labels where they belong."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from made_data import ALKANES, make_dataset
from rdkit import Chem

from molnb.data.batch import MolBatch
from molnb.data.crops import crop
from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.shards import add_array, load_shards


def test_arrays_of_a_row_are_in_the_order_of_its_smiles(nci, corpus):
    for sample, smiles in enumerate(nci.smiles()[:20]):
        mol = Chem.MolFromSmiles(smiles)
        batch = corpus.batch(np.array([sample]))
        assert batch.numbers.tolist() == [a.GetAtomicNum() for a in mol.GetAtoms()]
        ends = [sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in mol.GetBonds()]
        assert batch.bonds.tolist() == ends


def test_a_corpus_with_hydrogens_has_them_and_their_bonds(nci, corpus):
    full = Corpus([nci], hydrogens=True)
    for ids in ([0], [3, 1]):
        heavy_batch = corpus.batch(np.array(ids))
        full_batch = full.batch(np.array(ids))
        n_hydrogen = int((full_batch.numbers == 1).sum())
        assert n_hydrogen
        assert len(full_batch.numbers) == len(heavy_batch.numbers) + n_hydrogen
        assert len(full_batch.bonds) == len(heavy_batch.bonds) + n_hydrogen


def test_several_datasets_read_as_one(gaps):
    """Atoms and bonds of two different datasets, in an order that mixes them."""
    alkanes = Corpus([gaps["alkanes"]])
    alcohols = Corpus([gaps["in_volts"]])
    both = Corpus([gaps["alkanes"], gaps["in_volts"]])
    assert both.n == alkanes.n + alcohols.n
    assert len(both.ids("train")) == len(alkanes.ids("train")) + len(alcohols.ids("train"))
    ids = np.array([alkanes.n + 4, 1, alkanes.n + 1, 7])
    mixed = both.batch(ids, ["shared"])
    singles = [
        (alcohols if sample >= alkanes.n else alkanes).batch(np.array([sample % alkanes.n]))
        for sample in ids
    ]
    for name in ("n_atoms", "numbers", "feats", "coords", "bonds", "bond_feats"):
        expected = torch.cat([getattr(single, name) for single in singles])
        assert torch.equal(getattr(mixed, name), expected), name
    assert (mixed.numbers == 8).sum() == 2, "an oxygen each of the two alcohols"
    labels = mixed.labels["shared"]
    gap_of = dict(zip(labels.index.tolist(), labels.values[:, 0].tolist()))
    assert gap_of == {0: 4.0, 1: 1.0, 2: 1.0, 3: 7.0}


def test_one_dataset_twice_is_read_twice(nci, corpus):
    twice = Corpus([nci, nci])
    ids = np.array([corpus.n + 4, 1, corpus.n + 1, 7])
    batch = twice.batch(ids, ["nci_charges"])
    single = corpus.batch(ids % corpus.n, ["nci_charges"])
    assert torch.equal(batch.coords, single.coords)
    order = batch.labels["nci_charges"].index.argsort()
    values = batch.labels["nci_charges"].values[order]
    assert torch.equal(values, single.labels["nci_charges"].values)


def test_labels_stand_where_they_belong(nci, corpus):
    columns = ["homo", "n_heavy", "charge", "charge_mulliken", "wiberg", "parent"]
    table = nci.table(columns).to_pylist()
    tasks = ["nci_orbitals", "nci_charges", "nci_bond_orders", "nci_pair_orders"]
    batch = corpus.batch(np.arange(corpus.n)[::-1].copy(), tasks)
    orbitals = batch.labels["nci_orbitals"]
    for position, value in zip(orbitals.index.tolist(), orbitals.values[:, 0].tolist()):
        assert value == pytest.approx(table[corpus.n - 1 - position]["homo"], abs=1e-5)
    charges = batch.labels["nci_charges"]
    owner = batch.mol_of_atom()[charges.index]
    total = torch.zeros(batch.n_mol).index_add_(0, owner, charges.values[:, 0])
    labelled = owner.unique()
    expected = [float(table[corpus.n - 1 - i]["charge"]) for i in labelled.tolist()]
    assert len(labelled) > 50
    assert torch.allclose(total[labelled], torch.tensor(expected), atol=1e-3)
    check_pairs(batch)


def check_pairs(batch: MolBatch) -> None:
    """The Wiberg order of a bonded pair is that of its bond."""
    pairs = batch.labels["nci_pair_orders"]
    bonds = batch.labels["nci_bond_orders"]
    assert bool((pairs.index[:, 1] < pairs.index[:, 2]).all())
    lookup = {tuple(i): v for i, v in zip(pairs.index.tolist(), pairs.values[:, 0].tolist())}
    mol = batch.mol_of_bond()
    for bond, value in zip(bonds.index.tolist()[:300], bonds.values[:, 0].tolist()):
        pair = (int(mol[bond]), *batch.bonds[bond].tolist())
        assert lookup[pair] == pytest.approx(value, abs=1e-4)


def test_molecules_shared_with_another_dataset_are_those_and_no_others(gaps):
    mix = Corpus([gaps["alkanes"], gaps["alcohols"]])
    assert mix.shared_with([gaps["by_pm6"]]).tolist() == list(range(12, 24)), "the alcohols"
    alkanes = Corpus([gaps["alkanes"]])
    assert alkanes.shared_with([gaps["alcohols"], gaps["by_pm6"]]).tolist() == []


def test_arrays_beyond_the_usual_travel_through_corpus_crop_and_device(gaps, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(gaps["alkanes"].path, folder)
    shards = load_shards(folder)
    n_bond = int(shards.array("bond_offset")[-1])
    shards = add_array(shards, "weight", "molecule", np.arange(shards.n, dtype=np.float32))
    shards = add_array(shards, "number_twice", "atom", 2 * np.asarray(shards.array("numbers")))
    shards = add_array(shards, "order", "bond", np.arange(2 * n_bond).reshape(n_bond, 2))
    corpus = Corpus([shards], arrays=("weight", "number_twice", "order"))
    batch = corpus.batch(np.array([7, 3]))
    assert batch.molecule["weight"].tolist() == [7.0, 3.0]
    assert torch.equal(batch.atom["number_twice"], 2 * batch.numbers)
    assert batch.bond["order"].shape == (len(batch.bonds), 2)
    piece = crop(batch, 3, seed=0, step=0).to("cpu")
    assert piece.n_atoms.tolist() == [3, 3]
    assert torch.equal(piece.atom["number_twice"], 2 * piece.numbers)
    assert len(piece.bond["order"]) == len(piece.bonds) == 4
    assert piece.molecule["weight"].tolist() == [7.0, 3.0]
    with pytest.raises(InputError, match="has no array 'nothing'"):
        Corpus([shards], arrays=("nothing",))
    with pytest.raises(InputError, match="has no array 'weight'"):
        Corpus([shards, gaps["alcohols"]], arrays=("weight",))


def test_labels_of_classes_take_half_the_memory_and_are_exact(tmp_path):
    """Of numbers all digits stay; class numbers are whole."""
    labels = {
        f"x{label}": [(row + label) % 2 if (row + label) % 5 < 2 else None for row in range(12)]
        for label in range(40)
    }
    tasks = [{"name": "w", "labels": [*labels], "kind": "binary", "loss": "bce"}]
    wide = Corpus([make_dataset(tmp_path, "wide", ALKANES, labels, tasks)])
    values = wide.labels(np.arange(12), ["w"])["w"].values
    assert values.dtype == torch.float32
    expected = np.array([[np.nan if v is None else v for v in row] for row in labels.values()]).T
    assert np.array_equal(values.numpy(), expected, equal_nan=True)
    numbers = {"y": [1e9 + 0.1 * row for row in range(12)]}
    task = [{"name": "y", "labels": ["y"]}]
    corpus = Corpus([make_dataset(tmp_path, "numbers", ALKANES, numbers, task)])
    values = corpus.labels(np.arange(12), ["y"])["y"].values
    assert values.dtype == torch.float64 and values[:, 0].tolist() == numbers["y"]


def test_known_cells_are_the_labels_without_what_is_unknown(nci, tmp_path):
    """Of every level, of known values that are kept alone, and of several datasets."""
    labels = {
        f"x{label}": [float(row) if (row + label) % 6 == 0 else None for row in range(12)]
        for label in range(40)
    }
    labels["up"] = [None if row % 3 else row % 2 for row in range(12)]
    tasks = [
        {"name": "wide", "labels": [*labels][:40]},
        {"name": "up", "labels": ["up"], "kind": "binary", "loss": "bce"},
    ]
    wide = make_dataset(tmp_path, "wide", ALKANES, labels, tasks)
    assert wide.array("wide.values").ndim == 1
    for datasets in ([nci], [wide], [wide, nci, wide]):
        corpus = Corpus(datasets)
        ids = np.random.default_rng(0).permutation(corpus.n)[:100]
        for key in corpus.tasks:
            rows = corpus.labels(ids, [key])[key].values.numpy()
            known, column = np.nonzero(~np.isnan(rows))
            cells = corpus.known_cells(ids, key)
            assert cells.label.tolist() == column.tolist(), key
            assert cells.values.tolist() == rows[known, column].tolist(), key


def test_labelled_molecules_are_those_of_any_of_the_tasks(gaps):
    corpus = Corpus(list(gaps.values()))
    tasks = [*corpus.tasks]
    for names in (tasks[:1], tasks):
        plain = [np.zeros(0, int)]
        for number, shards in enumerate(corpus.datasets):
            for name in shards.tasks:
                if any((number, name) in corpus.tasks[key].members for key in names):
                    plain.append(corpus.starts[number] + shards.array(f"{name}.index"))
        expected = np.unique(np.concatenate(plain))
        assert np.array_equal(corpus.labelled(names), expected)
        some = np.array([corpus.n + 3, 5, 1, 1, -1, corpus.n - 1])
        assert np.array_equal(corpus.labelled(names, some), np.intersect1d(some, expected))
    assert not len(corpus.labelled([]))
