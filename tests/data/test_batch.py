"""Batches: which samples at which step, by size, flat and padded, with the labels that are
known.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rdkit import Chem

from molnb.data.batch import pad
from molnb.data.dataset import Corpus
from molnb.data.encodings import UNREACHABLE, shortest_paths
from molnb.data.sampling import batches, sample_ids, size_buckets
from molnb.errors import InputError
from molnb.rng import hash64, normal, shuffled, uniform


def test_every_epoch_shows_every_sample_once():
    n, batch = 103, 8
    stream = np.concatenate([sample_ids(5, step, batch, n) for step in range(52)])
    for epoch in range(4):
        assert sorted(stream[epoch * n : (epoch + 1) * n]) == list(range(n))
    assert not np.array_equal(stream[:n], stream[n : 2 * n])
    assert not np.array_equal(sample_ids(5, 0, batch, n), sample_ids(6, 0, batch, n))


@pytest.mark.parametrize("n", [1, 2, 3, 64, 1000])
def test_shuffling_is_a_permutation_of_any_length(n):
    assert sorted(shuffled(np.arange(n), n, 7, 0)) == list(range(n))


def test_draws_depend_on_their_coordinates_and_are_spread_as_they_should_be():
    samples = np.arange(20_000)
    u, z = uniform(1, 2, samples, 0), normal(1, 2, samples, 0)
    assert np.array_equal(u[::-1], uniform(1, 2, samples[::-1], 0))
    assert abs(u.mean() - 0.5) < 0.01 and abs(u.std() - 12**-0.5) < 0.01
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.03
    assert abs(np.corrcoef(u, uniform(1, 3, samples, 0))[0, 1]) < 0.03


def test_draws_are_the_same_bits_in_every_version_and_a_hash_goes_on_from_another():
    assert int(hash64(1, 2, 3)[0]) == 2869315087210772132
    assert normal(1, 2, 3)[0] == pytest.approx(-1.072903920898752, rel=1e-12)
    ids, items = np.arange(5), np.arange(3)
    begun = hash64(7, ids)[:, None]
    assert np.array_equal(hash64(items, 4, state=begun), hash64(7, ids[:, None], items, 4))
    assert np.array_equal(normal(items, state=begun), normal(7, ids[:, None], items))
    assert np.array_equal(begun[:, 0], hash64(7, ids))  # left as it was


def test_size_buckets_hold_everything_once_and_stay_in_budget():
    sizes = np.random.default_rng(0).integers(3, 40, 200)
    groups = size_buckets(sizes, 5000)
    assert sorted(np.concatenate(groups)) == list(range(200))
    assert all(len(g) * (sizes[g].max() + 1) ** 2 <= 5000 for g in groups)
    padded = sum(len(g) * (sizes[g].max() + 1) ** 2 for g in groups)
    assert padded < 1.25 * ((sizes + 1) ** 2).sum()
    assert [len(g) for g in size_buckets(np.array([50, 3]), 100)] == [1, 1]


def test_shortest_paths_are_those_of_rdkit(nci):
    corpus = Corpus([nci])
    view = pad(corpus.batch(np.arange(12)))
    for hops, smiles in zip(view.hops, nci.smiles()):
        expected = Chem.GetDistanceMatrix(Chem.MolFromSmiles(smiles))
        assert np.array_equal(hops[: len(expected), : len(expected)].numpy(), expected)
        assert (hops[0, len(expected) :] == UNREACHABLE).all()


def test_fragments_do_not_reach_each_other():
    adjacent = torch.zeros(1, 4, 4, dtype=torch.bool)
    adjacent[0, 0, 1] = adjacent[0, 1, 0] = adjacent[0, 2, 3] = adjacent[0, 3, 2] = True
    hops = shortest_paths(adjacent)[0]
    assert hops[0].tolist() == [0, 1, UNREACHABLE, UNREACHABLE]


def test_the_padded_view_holds_what_the_flat_one_does(nci):
    batch = Corpus([nci]).batch(np.array([5, 2, 9]))
    view = pad(batch, length=batch.longest + 3)
    assert view.real.sum(1).tolist() == batch.n_atoms.tolist()
    assert torch.equal(view.numbers[view.real], batch.numbers.long())
    assert torch.equal(view.coords[view.real], batch.coords)
    assert int((view.bond_code > 0).sum()) == 2 * batch.bonds.shape[0]
    assert not view.numbers[~view.real].any()
    with pytest.raises(InputError, match="cannot pad a molecule"):
        pad(batch, length=2)


def test_arrays_of_a_row_are_in_the_order_of_its_smiles(nci):
    corpus = Corpus([nci])
    for sample, smiles in enumerate(nci.smiles()[:20]):
        mol, batch = Chem.MolFromSmiles(smiles), corpus.batch(np.array([sample]))
        assert batch.numbers.tolist() == [a.GetAtomicNum() for a in mol.GetAtoms()]
        ends = [sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in mol.GetBonds()]
        assert batch.bonds.tolist() == ends


def test_hydrogens_are_there_when_asked_for(nci):
    heavy, full = Corpus([nci]), Corpus([nci], hydrogens=True)
    for ids in ([0], [3, 1]):
        a, b = heavy.batch(np.array(ids)), full.batch(np.array(ids))
        hydrogens = int((b.numbers == 1).sum())
        assert hydrogens and b.numbers.shape[0] == a.numbers.shape[0] + hydrogens
        assert b.bonds.shape[0] == a.bonds.shape[0] + hydrogens


def test_several_datasets_read_as_one(nci):
    one, two = Corpus([nci]), Corpus([nci, nci])
    assert two.n == 2 * one.n
    ids = np.array([one.n + 4, 1, one.n + 1, 7])
    both, single = two.batch(ids, ["nci_dipole"]), one.batch(ids % one.n, ["nci_dipole"])
    for name in ("n_atoms", "numbers", "coords", "bonds", "bond_feats"):
        assert torch.equal(getattr(both, name), getattr(single, name))
    order = both.labels["nci_dipole"].index.argsort()
    assert torch.equal(both.labels["nci_dipole"].values[order], single.labels["nci_dipole"].values)
    assert len(two.ids("train")) == 2 * len(one.ids("train"))


def test_labels_stand_where_they_belong(nci):
    corpus = Corpus([nci])
    table = nci.table(
        ["homo", "n_heavy", "charge", "charge_mulliken", "wiberg", "parent"]
    ).to_pylist()
    batch = corpus.batch(
        np.arange(corpus.n)[::-1].copy(),
        ["nci_orbitals", "nci_charges", "nci_bond_orders", "nci_pair_orders"],
    )
    orbitals = batch.labels["nci_orbitals"]
    for position, value in zip(orbitals.index.tolist(), orbitals.values[:, 0].tolist()):
        assert value == pytest.approx(table[corpus.n - 1 - position]["homo"], abs=1e-5)
    charges = batch.labels["nci_charges"]
    total = torch.zeros(batch.n_mol).index_add_(
        0, batch.mol_of_atom()[charges.index], charges.values[:, 0]
    )
    known = batch.mol_of_atom()[charges.index].unique()
    expected = torch.tensor([float(table[corpus.n - 1 - i]["charge"]) for i in known.tolist()])
    assert torch.allclose(total[known], expected, atol=1e-3)
    check_pairs(batch)


def check_pairs(batch):
    """The Wiberg order of a bonded pair is that of its bond."""
    pairs, bonds = batch.labels["nci_pair_orders"], batch.labels["nci_bond_orders"]
    assert bool((pairs.index[:, 1] < pairs.index[:, 2]).all())
    lookup = {tuple(i): v for i, v in zip(pairs.index.tolist(), pairs.values[:, 0].tolist())}
    mol = batch.mol_of_bond()
    for at, value in zip(bonds.index.tolist()[:300], bonds.values[:, 0].tolist()):
        assert lookup[(int(mol[at]), *batch.bonds[at].tolist())] == pytest.approx(value, abs=1e-4)


def test_batches_cover_their_ids_and_unknown_parts_are_refused(nci):
    corpus = Corpus([nci])
    ids = corpus.ids("train")
    seen = torch.cat([b.ids for b in batches(corpus, ids, pair_budget=2000)])
    assert sorted(seen.tolist()) == ids.tolist()
    with pytest.raises(InputError, match="unknown part 'dev'"):
        corpus.ids("dev")
    with pytest.raises(InputError, match="no split 'time'"):
        corpus.ids("train", "time")
