"""Objectives: hide, add noise, predict, score. Each returns named terms, kept as a sum and a count.

A global batch is worked through in groups of similar size; sums are added and divided once, so the
grouping never changes the loss. What is hidden and which noise is added depends only on (seed,
step, sample).

Pretraining (Uni-Mol2, arXiv 2406.14969, section 3.3): name masked atoms (cross entropy, nats),
return displaced atoms (L1 over x, y, z: Å), restore distances (L1: Å); equation 9 adds them with
weight one. Supervised objectives score the labels that are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.batch import MolBatch
from ..data.masked import MaskedBatch, SumCount, spread
from ..errors import InputError
from ..models.model import Model, run_encoder
from ..models.unimol2.encoder import TwoTrack
from ..rng import hash64, normal, uniform
from ..shapes import Float
from .geometry import _centred, align, centred, coord_scores

_MASK, _KEY, _NOISE, _VISIBLE = range(4)  # channels of the draws


@dataclass(frozen=True)
class Pretrain:
    """Masked atoms, denoised coordinates and distances: the three losses of Uni-Mol2, equation 9.

    `mask_share` of the atoms are hidden (rounded up or down at random so that the mean is exact),
    all atoms receive Gaussian noise of `noise_angstrom` and are laid back over the true ones
    (Kabsch), and `drop_features` of the molecules show no features.
    """

    mask_share: float = 0.15
    noise_angstrom: float = 0.2
    drop_features: float = 0.5
    token_weight: float = 1.0
    coord_weight: float = 1.0
    distance_weight: float = 1.0
    kind: str = "pretrain"

    def __post_init__(self):
        for name in ("mask_share", "drop_features"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}: give a share between 0 and 1")
        if self.noise_angstrom < 0:
            raise InputError(
                f"noise_angstrom is {self.noise_angstrom}: give a length of 0 Å or more"
            )

    @property
    def tasks(self) -> tuple[str, ...]:
        return ()

    def ask(
        self, batch: MolBatch, seed: int, step: int, drop_features: float | None = None
    ) -> MaskedBatch:
        """Withhold part of each molecule.

        Drawn from (seed, step, sample), in float64 on the CPU.
        """
        drop = self.drop_features if drop_features is None else drop_features
        ids, owner, place = batch.ids.numpy(), batch.mol_of_atom().numpy(), batch.position().numpy()
        sample = hash64(seed, step, ids)
        hidden = hide_atoms(sample, batch.n_atoms.numpy(), owner, place, self.mask_share)
        noise = normal(place[:, None] * 3 + np.arange(3), _NOISE, state=sample[owner][:, None])
        start = np.searchsorted(owner, np.arange(batch.n_mol))
        clean = _centred(batch.coords.numpy().astype(np.float64).T, owner, start).T
        noisy = align(clean + self.noise_angstrom * noise, clean, owner, batch.n_mol)
        visible = uniform(0, _VISIBLE, state=sample) >= drop
        counts = {"token_ce_nats": float(hidden.sum()), "token_accuracy": float(hidden.sum())}
        counts |= {
            "coord_l1_angstrom": float(batch.n_mol),
            "distance_l1_angstrom": float(batch.n_mol),
        }
        tensors = (
            torch.from_numpy(hidden),
            torch.from_numpy(noisy.astype(np.float32)),
            torch.from_numpy(visible),
        )
        return MaskedBatch(batch, *tensors, counts)

    def make_heads(self, encoder: TwoTrack) -> nn.ModuleDict:
        return nn.ModuleDict()

    def terms(self, model: Model, question: MaskedBatch) -> dict[str, SumCount]:
        """Score the answers to a question; see the class for the terms."""
        tracks = run_encoder(model.encoder, question)
        batch, n = question.batch, tracks.real.shape[1]
        truth = centred(batch)
        at = batch.mol_of_atom()[question.hidden], batch.position()[question.hidden]
        logits = model.encoder.token_head(tracks.atoms_at(*at)).float()
        elements = batch.numbers[question.hidden].long()
        scores = token_scores(logits, elements) | coord_scores(
            tracks.coords, spread(truth, batch, n), tracks.real
        )
        return {name: SumCount(total, question.counts[name]) for name, total in scores.items()}

    def weights(self, counts: dict[str, float]) -> dict[str, float]:
        """What each term contributes to the loss; terms left out are only watched."""
        return {
            "token_ce_nats": self.token_weight,
            "coord_l1_angstrom": self.coord_weight,
            "distance_l1_angstrom": self.distance_weight,
        }


def hide_atoms(sample, n_atoms, owner, place, share) -> np.ndarray:
    """Which atoms are masked: ⌊share·n + u⌋ of each molecule, without replacement (bool, one an
    atom).

    `sample` is the hash of (seed, step, id) of each molecule.
    """
    k = np.floor(share * n_atoms + uniform(0, _MASK, state=sample)).astype(np.int64)
    key = hash64(place, _KEY, state=sample[owner])
    # one key to sort by, 24 bits of molecule before 40 of the draw: many times faster than sorting
    # by two
    order = np.argsort(owner.astype(np.uint64) << np.uint64(40) | key >> np.uint64(24))
    hidden = np.empty(len(owner), bool)
    hidden[order] = place < k[owner]  # after sorting within molecules, rank and place run alike
    return hidden


def token_scores(logits: Float[Tensor, "k 128"], elements: Tensor) -> dict[str, Tensor]:
    """Summed cross entropy (nats) and number of atoms named correctly.

    Zero, not NaN, where nothing was masked.
    """
    right = (logits.argmax(-1) == elements).sum()
    return {
        "token_ce_nats": F.cross_entropy(logits, elements, reduction="sum"),
        "token_accuracy": right,
    }
