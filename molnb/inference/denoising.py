"""What a pretrained model makes of a disturbed molecule: the true, the noisy and the predicted
geometry of each.

Pretraining moves atoms by random noise and asks the model to move them back. Here single molecules
are asked that question, at a noise of one's choice, and the answers are kept to be looked at and
measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from ..data.dataset import Corpus
from ..errors import InputError
from ..models.model import run_encoder
from ..objectives.pretraining import Pretrain
from ..shards import Shards
from .predictor import TrainedModel


class Denoised(NamedTuple):
    """One molecule: coordinates in Å of the atoms the model sees, `noisy` laid over `true` as in
    training.
    """

    smiles: str
    true: np.ndarray
    noisy: np.ndarray
    predicted: np.ndarray

    def left(self) -> np.ndarray:
        """How far each atom still is from its true place (Å)."""
        return np.linalg.norm(self.predicted - self.true, axis=1)

    def moved(self) -> np.ndarray:
        """How far noise had moved each atom (Å): what is left when nothing is done."""
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
    """Ask a pretrained model to undo noise in molecules of a corpus, given by their place in it; no
    atom is masked.

    Noise (standard deviation of a coordinate) is that of its pretraining unless given; it depends
    on (seed, molecule) only, so two noise levels move atoms in the same directions. Without
    `features` the model does not see the bonds.
    """
    objective = model.config.objective
    if not isinstance(objective, Pretrain):
        raise InputError(
            f"{model.run.path} learnt labels and moves no atoms: name a run of pretrain_tiny or the like"
        )
    noise = objective.noise_angstrom if noise_angstrom is None else noise_angstrom
    objective = replace(objective, mask_share=0.0, noise_angstrom=noise)
    batch = Corpus([shards], model.config.model.hydrogens).batch(np.asarray(ids))
    question = objective.ask(batch, seed, 0, drop_features=0.0 if features else 1.0)
    answer = (
        run_encoder(model.model.encoder.eval(), question.to(model.device))
        .coords.float()
        .cpu()
        .numpy()
    )
    smiles, found, start = shards.smiles(), [], 0
    for row, (number, n) in enumerate(zip(batch.ids.tolist(), batch.n_atoms.tolist())):
        own = slice(start, start := start + n)
        true = batch.coords[own].numpy()
        noisy = question.noisy[own].numpy()
        found.append(Denoised(smiles[number], true - true.mean(0), noisy, answer[row, :n]))
    return found


def mean_left(answers: Sequence[Denoised]) -> tuple[float, float]:
    """Mean distance of an atom from its true place (Å): in the prediction, and in what the model
    was given.
    """
    return tuple(
        float(np.concatenate(values).mean())
        for values in zip(*((a.left(), a.moved()) for a in answers))
    )
