"""A crop cuts graph, features, geometry and labels alike, and depends on (seed, step, sample)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import TINY

from molnb.data.batch import MolBatch, pad
from molnb.data.crops import crop, cut
from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.objectives.supervised import Supervised
from molnb.training.config import RunConfig
from molnb.training.loop import Session, train
from molnb.training.runs import start_run

TASKS = ("nci_charges", "nci_bond_orders", "nci_pair_orders", "nci_orbitals")


@pytest.fixture(scope="module")
def large(corpus) -> np.ndarray:
    """Labelled molecules, larger and smaller than a crop of eight atoms."""
    labelled = corpus.labelled(TASKS)
    n_atoms = corpus.n_atoms[labelled]
    ids = np.concatenate([labelled[n_atoms > 10][:6], labelled[n_atoms <= 8][:3]])
    assert (corpus.n_atoms[ids] > 8).sum() == 6 and (corpus.n_atoms[ids] <= 8).sum() >= 2
    return ids


def levels(corpus: Corpus) -> dict[str, str]:
    return {key: task.level for key, task in corpus.tasks.items()}


def points_of(batch: MolBatch) -> list[tuple[float, ...]]:
    """The coordinates of each atom, which tell atoms apart whatever their number."""
    return [tuple(xyz) for xyz in batch.coords.tolist()]


def molecules_by_points(batch: MolBatch) -> list[dict]:
    """Atoms and bonds of each molecule with their features, by the coordinates of the atoms."""
    points = points_of(batch)
    molecules = []
    for mol in range(batch.n_mol):
        atoms = torch.nonzero(batch.mol_of_atom() == mol).flatten().tolist()
        bonds = torch.nonzero(batch.mol_of_bond() == mol).flatten()
        ends = batch.bond_ends()[bonds].tolist()
        bonded = [tuple(sorted((points[i], points[j]))) for i, j in ends]
        molecules.append(
            {
                "atoms": {
                    points[i]: (int(batch.numbers[i]), batch.feats[i].tolist()) for i in atoms
                },
                "bonds": dict(zip(bonded, batch.bond_feats[bonds].tolist())),
            }
        )
    return molecules


def test_what_is_kept_of_a_molecule_is_what_it_was(corpus, large) -> None:
    """The reference crops coordinates alone: atoms then carry features and bonds of others."""
    batch = corpus.batch(large)
    pieces = molecules_by_points(crop(batch, 8, 0, 0))
    for piece, whole in zip(pieces, molecules_by_points(batch), strict=True):
        assert len(piece["atoms"]) == min(8, len(whole["atoms"]))
        assert piece["atoms"].items() <= whole["atoms"].items()
        bonds_within = {
            ends: feats
            for ends, feats in whole["bonds"].items()
            if all(point in piece["atoms"] for point in ends)
        }
        assert piece["bonds"] == bonds_within


def test_a_crop_is_one_piece_and_its_paths_are_its_own(corpus, large) -> None:
    view = pad(crop(corpus.batch(large), 8, 3, 5))
    real_pairs = view.real[:, :, None] & view.real[:, None]
    assert (view.hops[real_pairs] >= 0).all(), "a random atom's surroundings hang together"
    assert torch.equal(view.hops == 1, view.bond_code > 0)
    assert int(view.hops.max()) <= 7


def test_labels_go_with_their_atoms_bonds_and_pairs(corpus, large) -> None:
    whole = corpus.batch(large, TASKS)
    piece = crop(whole, 8, 0, 0, levels(corpus))

    def by_points(batch: MolBatch, task: str) -> dict:
        """Labels of a task by the coordinates of the atoms they belong to."""
        labels = batch.labels[task]
        points = points_of(batch)
        if task == "nci_charges":
            atoms = labels.index[:, None]
        elif task == "nci_bond_orders":
            atoms = batch.bond_ends()[labels.index]
        else:
            atoms = batch.first_atom()[labels.index[:, 0]][:, None] + labels.index[:, 1:]
        owners = [tuple(points[atom] for atom in row) for row in atoms.tolist()]
        return dict(zip(owners, labels.values.tolist()))

    points = set(points_of(piece))
    for task in TASKS[:3]:
        labels = by_points(whole, task)
        expected = {owner: value for owner, value in labels.items() if points.issuperset(owner)}
        assert by_points(piece, task) == expected
        assert 0 < len(expected) < len(labels)
    uncut = [mol for mol in whole.labels["nci_orbitals"].index.tolist() if whole.n_atoms[mol] <= 8]
    assert piece.labels["nci_orbitals"].index.tolist() == uncut, "a piece is another molecule"


def test_crops_depend_on_step_and_sample_and_not_on_company(corpus, large) -> None:
    whole = crop(corpus.batch(large), 8, 1, 2)
    alone = crop(corpus.batch(large[2:3]), 8, 1, 2)
    assert torch.equal(whole.coords[whole.mol_of_atom() == 2], alone.coords)
    others = [crop(corpus.batch(large[2:3]), 8, 1, step).coords for step in range(8)]
    assert len({tuple(c.flatten().tolist()) for c in others}) > 2


def test_small_molecules_stay_whole_and_no_limit_cuts_nothing(corpus, large) -> None:
    batch = corpus.batch(large)
    assert crop(batch, None, 0, 0) is batch and crop(batch, 64, 0, 0) is batch
    piece = crop(batch, 8, 0, 0)
    small = torch.isin(batch.mol_of_atom(), (batch.n_atoms <= 8).nonzero().flatten())
    assert torch.equal(piece.coords[-int(small.sum()) :], batch.coords[small])


def test_any_choice_of_atoms_can_be_cut(corpus, large) -> None:
    batch = corpus.batch(large)
    keep = batch.position() % 2 == 0
    piece = cut(batch, keep)
    assert piece.n_bonds.sum() == len(piece.bonds)
    assert (piece.bonds < piece.n_atoms[piece.mol_of_bond()][:, None]).all()
    assert (piece.bonds[:, 0] < piece.bonds[:, 1]).all()


def test_a_run_crops_what_is_too_large_and_learns_no_labels_from_pieces(nci, tmp_path) -> None:
    settings = {"steps": 2, "global_batch": 16, "n_val": 4, "max_atoms": 8}
    config = RunConfig("t", (str(nci.path),), TINY, **settings)
    session = Session(start_run(config, tmp_path / "r"), "cpu")
    cropped = session.masked_batches(session.train_ids, 0, 0, max_atoms=8)
    assert max(masked.batch.longest for masked in cropped) == 8
    validation = session.masked_batches(session.val_ids, 0, 0)
    assert max(masked.batch.longest for masked in validation) > 8
    assert train(config, tmp_path / "r").status()["state"] == "done"
    message = "max_atoms is 8: .* only in pretraining. A label belongs to the whole molecule"
    with pytest.raises(InputError, match=message):
        RunConfig("t", (str(nci.path),), TINY, Supervised(), max_atoms=8)
