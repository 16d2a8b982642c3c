"""Batches: flat and padded views hold the same, and every index counts what a plain loop counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molnb.data.batch import LEVELS, MolBatch, every_index, owner_of, pad, square_index
from molnb.errors import InputError


def test_the_padded_view_holds_what_the_flat_one_does(corpus):
    batch = corpus.batch(np.array([5, 2, 9]))
    view = pad(batch, length=batch.longest + 3)
    assert view.real.sum(1).tolist() == batch.n_atoms.tolist()
    assert torch.equal(view.numbers[view.real], batch.numbers.long())
    assert torch.equal(view.coords[view.real], batch.coords)
    assert int((view.bond_code > 0).sum()) == 2 * batch.bonds.shape[0]
    assert not view.numbers[~view.real].any()
    with pytest.raises(InputError, match="cannot pad a molecule"):
        pad(batch, length=2)


# ----------------------------------------------------------------------------------------- indices


@pytest.fixture(scope="module")
def batch(corpus) -> MolBatch:
    """Five molecules of different size, one of them a single atom without a bond or a pair."""
    real = corpus.batch(np.array([5, 2, 9, 11]))
    single = torch.tensor([1])
    return MolBatch(
        molecule={
            "ids": torch.arange(5),
            "n_atoms": torch.cat([real.n_atoms[:2], single, real.n_atoms[2:]]),
            "n_bonds": torch.cat([real.n_bonds[:2], 0 * single, real.n_bonds[2:]]),
        },
        atom={
            "numbers": torch.zeros(int(real.n_atoms.sum()) + 1, dtype=torch.uint8),
        },
        bond=real.bond,
        labels={},
        longest=real.longest,
    )


def test_an_index_of_everything_counts_molecules_atoms_and_bonds(batch):
    n_atom = int(batch.n_atoms.sum())
    n_bond = int(batch.n_bonds.sum())
    assert every_index(batch, "molecule").tolist() == [0, 1, 2, 3, 4]
    assert every_index(batch, "atom").tolist() == list(range(n_atom))
    assert every_index(batch, "bond").tolist() == list(range(n_bond))


def test_an_index_of_all_pairs_is_that_of_a_loop(batch):
    sizes = list(enumerate(batch.n_atoms.tolist()))
    upper = [[mol, i, j] for mol, n in sizes for i in range(n) for j in range(i + 1, n)]
    square = [[mol, i, j] for mol, n in sizes for i in range(n) for j in range(n)]
    assert every_index(batch, "pair").tolist() == upper
    assert square_index(batch).tolist() == square


@pytest.mark.parametrize("level", LEVELS)
def test_the_owner_of_an_entry_is_that_of_a_loop(batch, level):
    """Of any entries in any order, one of them twice."""
    n_atoms = batch.n_atoms.tolist()
    counts = {
        "molecule": [1] * 5,
        "atom": n_atoms,
        "bond": batch.n_bonds.tolist(),
        "pair": [n * (n - 1) // 2 for n in n_atoms],
    }
    owners = [mol for mol, count in enumerate(counts[level]) for _ in range(count)]
    index = every_index(batch, level)
    assert owner_of(batch, level, index).tolist() == owners
    entries = [len(owners) - 1, 0, len(owners) // 2, 0]
    assert owner_of(batch, level, index[entries]).tolist() == [owners[entry] for entry in entries]


def test_bond_ends_are_counted_over_all_atoms(corpus):
    batch = corpus.batch(np.array([5, 2, 9]))
    expected = []
    first_atom = 0
    first_bond = 0
    for n_atom, n_bond in zip(batch.n_atoms.tolist(), batch.n_bonds.tolist()):
        bonds = batch.bonds[first_bond : first_bond + n_bond].tolist()
        expected += [[first_atom + i, first_atom + j] for i, j in bonds]
        first_atom += n_atom
        first_bond += n_bond
    assert batch.bond_ends().tolist() == expected
    assert batch.position().tolist() == [i for n in batch.n_atoms.tolist() for i in range(n)]
