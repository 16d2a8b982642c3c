"""Geometries: noisy ones are laid over the true ones, and errors are those of plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molnb.objectives.geometry import align, centred, coord_scores, distances


def test_alignment_undoes_a_rigid_motion_and_never_mirrors():
    rng = np.random.default_rng(0)
    fixed = rng.normal(size=(9, 3))
    owner = np.repeat([0, 1], [5, 4])
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn = q * np.sign(np.linalg.det(q))
    assert np.allclose(align(fixed @ turn + 4.0, fixed, owner, 2), fixed, atol=1e-9)
    assert not np.allclose(align(fixed * [1, 1, -1], fixed, owner, 2), fixed, atol=0.1)


def test_errors_of_coordinates_and_distances_are_those_of_a_loop_over_molecules(corpus):
    batch = corpus.batch(np.array([4, 0, 7]))
    torch.manual_seed(0)
    predicted = centred(batch) + 0.3 * torch.randn(len(batch.numbers), 3)
    displacement = 0.0
    distance = 0.0
    for mol in range(batch.n_mol):
        atoms = batch.mol_of_atom() == mol
        truth = batch.coords[atoms] - batch.coords[atoms].mean(0)
        displacement += float((predicted[atoms] - truth).abs().sum(-1).mean())
        error = torch.cdist(predicted[atoms], predicted[atoms]) - torch.cdist(truth, truth)
        distance += float(error.abs().mean())  # an atom with itself counts, as in the paper
    scores = coord_scores(predicted, batch)
    assert float(scores["coord_l1_angstrom"]) == pytest.approx(displacement, rel=1e-5)
    assert float(scores["distance_l1_angstrom"]) == pytest.approx(distance, rel=1e-5)


def test_the_gradient_of_a_distance_of_zero_is_zero():
    coords = torch.zeros(1, 2, 3, requires_grad=True)
    distances(coords).sum().backward()
    assert torch.equal(coords.grad, torch.zeros(1, 2, 3))
