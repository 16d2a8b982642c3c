"""A crop cuts graph, features, coordinates and labels alike, and depends on nothing but (seed,
step, sample).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molnb.data.batch import pad
from molnb.data.crops import crop, cut
from molnb.data.dataset import Corpus

TASKS = ("nci_charges", "nci_bond_orders", "nci_pair_orders", "nci_orbitals")


@pytest.fixture(scope="module")
def corpus(nci) -> Corpus:
    return Corpus([nci])


@pytest.fixture(scope="module")
def large(corpus) -> np.ndarray:
    """Labelled molecules, larger and smaller than a crop of eight atoms."""
    labelled = corpus.labelled(TASKS)
    ids = np.concatenate(
        [labelled[corpus.n_atoms[labelled] > 10][:6], labelled[corpus.n_atoms[labelled] <= 8][:3]]
    )
    assert (corpus.n_atoms[ids] > 8).sum() == 6 and (corpus.n_atoms[ids] <= 8).sum() >= 2
    return ids


def levels(corpus: Corpus) -> dict[str, str]:
    return {key: task.level for key, task in corpus.tasks.items()}


def molecules(batch) -> list[dict]:
    """Each molecule of a batch by the coordinates of its atoms, which tell them apart."""
    place = [tuple(x) for x in batch.coords.tolist()]
    start = (batch.n_atoms.cumsum(0) - batch.n_atoms).tolist()
    found = []
    for m in range(batch.n_mol):
        mine, bonds = (
            (batch.mol_of_atom() == m).nonzero().flatten().tolist(),
            batch.mol_of_bond() == m,
        )
        atoms = {place[i]: (int(batch.numbers[i]), batch.feats[i].tolist()) for i in mine}
        ends = [
            tuple(sorted((place[start[m] + i], place[start[m] + j])))
            for i, j in batch.bonds[bonds].tolist()
        ]
        found.append({"atoms": atoms, "bonds": dict(zip(ends, batch.bond_feats[bonds].tolist()))})
    return found


def test_what_is_kept_of_a_molecule_is_what_it_was(corpus, large) -> None:
    """The reference crops coordinates and leaves features and bonds: atoms then carry those of
    others.
    """
    whole = corpus.batch(large)
    for piece, all_of_it in zip(molecules(crop(whole, 8, 0, 0)), molecules(whole)):
        assert len(piece["atoms"]) == min(8, len(all_of_it["atoms"]))
        assert all(all_of_it["atoms"][place] == seen for place, seen in piece["atoms"].items())
        between = {
            e: f
            for e, f in all_of_it["bonds"].items()
            if all(place in piece["atoms"] for place in e)
        }
        assert piece["bonds"] == between


def test_a_crop_is_one_piece_and_its_paths_are_its_own(corpus, large) -> None:
    view = pad(crop(corpus.batch(large), 8, 3, 5))
    both = view.real[:, :, None] & view.real[:, None]
    assert (view.hops[both] >= 0).all(), "a random atom's surroundings hang together"
    assert torch.equal(view.hops == 1, view.bond_code > 0)
    assert int(view.hops.max()) <= 7


def test_labels_go_with_their_atoms_bonds_and_pairs(corpus, large) -> None:
    whole = corpus.batch(large, TASKS)
    piece = crop(whole, 8, 0, 0, levels(corpus))

    def by_place(batch, task: str) -> dict:
        known, start = batch.labels[task], batch.n_atoms.cumsum(0) - batch.n_atoms
        place = [tuple(x) for x in batch.coords.tolist()]
        if task == "nci_charges":
            where = [(place[i],) for i in known.index.tolist()]
        elif task == "nci_bond_orders":
            ends = (start[batch.mol_of_bond()][:, None] + batch.bonds)[known.index]
            where = [(place[i], place[j]) for i, j in ends.tolist()]
        else:
            where = [(place[start[m] + i], place[start[m] + j]) for m, i, j in known.index.tolist()]
        return dict(zip(where, known.values.tolist()))

    there = {tuple(x) for x in piece.coords.tolist()}
    for task in TASKS[:3]:
        expected = {
            k: v for k, v in by_place(whole, task).items() if all(place in there for place in k)
        }
        assert by_place(piece, task) == expected and 0 < len(expected) < len(by_place(whole, task))
    of_whole = [m for m in whole.labels["nci_orbitals"].index.tolist() if whole.n_atoms[m] <= 8]
    assert piece.labels["nci_orbitals"].index.tolist() == of_whole, (
        "a piece has no label of its molecule"
    )


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
    assert (
        piece.n_bonds.sum() == len(piece.bonds)
        and (piece.bonds < piece.n_atoms[piece.mol_of_bond()][:, None]).all()
    )
    assert (piece.bonds[:, 0] < piece.bonds[:, 1]).all()


def test_a_run_crops_what_is_too_large_and_learns_no_labels_from_pieces(nci, tmp_path) -> None:
    from molnb.errors import InputError
    from molnb.models.unimol2.config import TwoTrackConfig
    from molnb.objectives.supervised import Supervised
    from molnb.training.config import RunConfig
    from molnb.training.loop import Session, train
    from molnb.training.runs import start_run

    small = TwoTrackConfig(1, 16, 2, 16, 8, 4, n_kernel=8)
    config = RunConfig("t", (str(nci.path),), small, steps=2, global_batch=16, n_val=4, max_atoms=8)
    session = Session(start_run(config, tmp_path / "r"), "cpu")
    sizes = [
        int(q.batch.longest) for q in session.masked_batches(session.train_ids, 0, 0, max_atoms=8)
    ]
    assert (
        max(sizes) == 8
        and max(q.batch.longest for q in session.masked_batches(session.val_ids, 0, 0)) > 8
    )
    assert train(config, tmp_path / "r").status()["state"] == "done"
    with pytest.raises(
        InputError,
        match="max_atoms is 8: .* only in pretraining. A label belongs to the whole molecule",
    ):
        RunConfig("t", (str(nci.path),), small, Supervised(), max_atoms=8)
