"""Noise undone by a pretrained model: true, noisy and predicted geometries of single molecules.

Pretraining moves atoms by random noise and lets the model move them back. Here that is done at a
noise of one's choice, and the geometries are kept to be looked at and measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from ..errors import InputError
from ..objectives.pretraining import Pretrain
from ..shapes import Float
from ..shards import Shards
from ..training.rows import corpus_for
from .predictor import TrainedModel


class Denoised(NamedTuple):
    """One molecule: coordinates in Å of the atoms the model sees.

    `noisy` is laid over `true` as in training.
    """

    smiles: str
    true: Float[np.ndarray, "atom 3"]
    noisy: Float[np.ndarray, "atom 3"]
    predicted: Float[np.ndarray, "atom 3"]

    def predicted_error(self) -> Float[np.ndarray, " atom"]:
        """Distance (Å) of each predicted atom from its true position."""
        return np.linalg.norm(self.predicted - self.true, axis=1)

    def noisy_error(self) -> Float[np.ndarray, " atom"]:
        """Distance (Å) by which noise had moved each atom: the error when nothing is undone."""
        return np.linalg.norm(self.noisy - self.true, axis=1)


@torch.no_grad()
def denoise(
    model: TrainedModel,
    shards: Shards,
    ids: Sequence[int],
    noise_angstrom: float | None = None,
    seed: int = 0,
    features: bool = True,
) -> list[Denoised]:
    """Molecules of a corpus, by their row in it, with noise that a pretrained model undoes.

    No atom is masked. Noise (standard deviation of a coordinate) is that of its pretraining unless
    given; it depends on (seed, molecule) only, so two noise levels move atoms in the same
    directions. Without `features` the model does not see the bonds. Raises InputError for a model
    that does not move atoms.
    """
    objective = model.config.objective
    if not isinstance(objective, Pretrain) or "movement" not in model.model.heads:
        raise InputError(
            f"{model.run.path} moves no atoms: name a run of pretrain_tiny or the like"
        )
    noise = objective.noise_angstrom if noise_angstrom is None else noise_angstrom
    objective = replace(objective, mask_share=0.0, noise_angstrom=noise)
    batch = corpus_for(model.config, [shards]).batch(np.asarray(ids))
    masked = objective.corrupt(batch, seed, 0, drop_features=0.0 if features else 1.0)
    output = model.model.eval()(masked.to(model.device)).outputs["movement"]
    predicted = output.float().cpu().numpy()
    ends = np.cumsum(batch.n_atoms.numpy())
    smiles = shards.smiles()
    molecules = []
    for number, end, n_atom in zip(batch.ids.tolist(), ends, batch.n_atoms.tolist()):
        atoms = slice(end - n_atom, end)
        true = batch.coords[atoms].numpy()
        denoised = Denoised(
            smiles[number], true - true.mean(0), masked.noisy[atoms].numpy(), predicted[atoms]
        )
        molecules.append(denoised)
    return molecules


def mean_errors(molecules: Sequence[Denoised]) -> tuple[float, float]:
    """Mean distance (Å) of atoms from their true positions: as predicted, and with the noise."""
    predicted = np.concatenate([molecule.predicted_error() for molecule in molecules])
    noisy = np.concatenate([molecule.noisy_error() for molecule in molecules])
    return float(predicted.mean()), float(noisy.mean())
