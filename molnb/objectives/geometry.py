"""Noisy and true geometries: laid over each other, centred, measured."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..data.batch import MolBatch
from ..shapes import Float


def _centred(
    coords: Float[np.ndarray, "xyz atom"], owner: np.ndarray, start: np.ndarray
) -> np.ndarray:
    count = np.diff(start, append=coords.shape[1])
    return coords - (np.add.reduceat(coords, start, axis=1) / count)[:, owner]


def align(moving: np.ndarray, fixed: np.ndarray, owner: np.ndarray, n_mol: int) -> np.ndarray:
    """Each molecule of `moving` laid over `fixed` by the rotation and shift of least squares
    (Kabsch 1976), float64.

    Both are [atom, 3]; the atoms of a molecule (`owner`, ascending, at least one of each) follow
    one another. The rotation is proper: a mirror image is never turned into its twin.
    """
    start = np.searchsorted(owner, np.arange(n_mol))
    moving, about = _centred(moving.T, owner, start), _centred(fixed.T, owner, start)
    covariance = np.add.reduceat(moving[:, None] * about[None], start, axis=2)  # 3 3 mol
    u, _, vt = np.linalg.svd(covariance.transpose(2, 0, 1))
    sign = np.sign(np.linalg.det(u @ vt))
    u[:, :, 2] *= np.where(sign == 0, 1.0, sign)[:, None]
    turn = (u @ vt).transpose(1, 2, 0)[:, :, owner]  # 3 3 atom
    turned = sum(moving[axis] * turn[axis] for axis in range(3))
    return (turned + fixed.T - about).T


def centred(batch: MolBatch) -> Float[Tensor, "atom xyz"]:
    """True coordinates about each molecule's centre (Å): what denoising should return."""
    owner = batch.mol_of_atom()
    total = batch.coords.new_zeros(batch.n_mol, 3).index_add_(0, owner, batch.coords)
    return batch.coords - (total / batch.n_atoms[:, None])[owner]


def coord_scores(coords: Tensor, truth: Tensor, real: Tensor) -> dict[str, Tensor]:
    """Summed over molecules: L1 displacement an atom and L1 error a pair (self pairs counted, as
    in the paper), Å.
    """
    n = real.sum(1)
    pairs = real[:, :, None] & real[:, None, :]
    moved = ((coords - truth).abs().sum(-1) * real).sum(1) / n
    error = (distances(coords) - distances(truth)).abs() * pairs
    return {
        "coord_l1_angstrom": moved.sum(),
        "distance_l1_angstrom": (error.sum((1, 2)) / n**2).sum(),
    }


def distances(coords: Float[Tensor, "mol n xyz"]) -> Float[Tensor, "mol n n"]:
    """Distances between all atoms (Å); the gradient at zero distance is zero."""
    return torch.linalg.vector_norm(coords[:, None] - coords[:, :, None], dim=-1)
