"""Noisy and true geometries: laid over each other, centred, measured. Coordinates are in Å."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..data.batch import MolBatch, distances, pad_atoms, real_pairs
from ..shapes import Float, Int


def align(
    moving: Float[np.ndarray, "atom 3"],
    fixed: Float[np.ndarray, "atom 3"],
    owner: Int[np.ndarray, " atom"],
    n_mol: int,
) -> Float[np.ndarray, "atom 3"]:
    """Each molecule of `moving` laid over `fixed` by least squares (Kabsch 1976), in float64.

    The atoms of a molecule (`owner`, ascending, at least one of each) follow one another. The
    rotation is proper: a mirror image is never turned into its twin.
    """
    start = np.searchsorted(owner, np.arange(n_mol))
    centred_moving = about_centres(moving.T, owner, start)  # 3 atom
    centred_fixed = about_centres(fixed.T, owner, start)
    products = centred_moving[:, None] * centred_fixed[None]
    covariance = np.add.reduceat(products, start, axis=2)  # 3 3 mol
    u, _, vt = np.linalg.svd(covariance.transpose(2, 0, 1))
    sign = np.sign(np.linalg.det(u @ vt))
    u[:, :, 2] *= np.where(sign == 0, 1.0, sign)[:, None]
    rotation = (u @ vt).transpose(1, 2, 0)[:, :, owner]  # 3 3 atom
    rotated = sum(centred_moving[axis] * rotation[axis] for axis in range(3))
    return (rotated + fixed.T - centred_fixed).T


def about_centres(
    coords: Float[np.ndarray, "3 atom"],
    owner: Int[np.ndarray, " atom"],
    start: Int[np.ndarray, " mol"],
) -> Float[np.ndarray, "3 atom"]:
    """Coordinates about the centre of each molecule, whose atoms begin at `start`."""
    n_atoms = np.diff(start, append=coords.shape[1])
    centres = np.add.reduceat(coords, start, axis=1) / n_atoms
    return coords - centres[:, owner]


def centred(batch: MolBatch) -> Float[Tensor, "atom xyz"]:
    """True coordinates about each molecule's centre: what denoising should return."""
    owner = batch.mol_of_atom()
    total = batch.coords.new_zeros(batch.n_mol, 3).index_add_(0, owner, batch.coords)
    return batch.coords - (total / batch.n_atoms[:, None])[owner]


def coord_scores(coords: Float[Tensor, "atom xyz"], batch: MolBatch) -> dict[str, Tensor]:
    """Errors of predicted coordinates, summed over molecules, in Å.

    One is the L1 displacement an atom, the other the L1 error of the distance a pair; pairs of an
    atom with itself are counted, as in the paper.
    """
    n = batch.longest
    real = pad_atoms(torch.ones_like(batch.numbers, dtype=torch.bool), batch, n)
    predicted = pad_atoms(coords, batch, n)  # mol n xyz
    truth = pad_atoms(centred(batch), batch, n)
    n_atoms = real.sum(1)
    displacement = ((predicted - truth).abs().sum(-1) * real).sum(1) / n_atoms
    error = (distances(predicted) - distances(truth)).abs() * real_pairs(real)
    return {
        "coord_l1_angstrom": displacement.sum(),
        "distance_l1_angstrom": (error.sum((1, 2)) / n_atoms**2).sum(),
    }
