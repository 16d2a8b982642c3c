"""Pretraining without labels: name masked atoms, return displaced atoms, restore distances.

The three losses of Uni-Mol2 (arXiv 2406.14969, section 3.3): cross entropy of masked atoms (nats),
L1 over x, y, z of displaced atoms (Å), L1 of distances (Å); equation 9 adds them with weight one.
What is hidden and which noise is added depends only on (seed, step, sample).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.batch import MolBatch
from ..data.masked import MaskedBatch
from ..errors import InputError
from ..models.interface import Encoder
from ..models.model import Model
from ..models.precision import at_least_float32
from ..rng import hash64, normal, uniform
from ..shapes import Float, Int, Shaped
from .geometry import about_centres, align, coord_scores
from .interface import Objective, SumCount

MASK_CHANNEL, KEY_CHANNEL, NOISE_CHANNEL, VISIBLE_CHANNEL = range(4)  # of the random numbers


@dataclass(frozen=True)
class Pretrain(Objective):
    """Masked atoms, denoised coordinates and distances.

    `mask_share` of the atoms are hidden (rounded up or down at random so that the mean is exact),
    all atoms receive Gaussian noise of `noise_angstrom` and are laid back over the true ones
    (Kabsch), and `drop_features` of the molecules show no features. Hidden atoms of the others keep
    theirs, which nearly name them (three hydrogens: carbon), as in Uni-Mol2, or with
    `hide_features` their bonds alone, as in attribute masking (Hu et al. 2020, arXiv 1905.12265). A
    family of encoders without a head for coordinates learns the masked atoms alone.
    """

    kind: ClassVar[str] = "pretrain"

    mask_share: float = 0.15
    noise_angstrom: float = 0.2
    drop_features: float = 0.5
    hide_features: bool = False  # of hidden atoms
    token_weight: float = 1.0
    coord_weight: float = 1.0
    distance_weight: float = 1.0

    def __post_init__(self):
        for name in ("mask_share", "drop_features"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}: give a share between 0 and 1")
        if self.noise_angstrom < 0:
            raise InputError(
                f"noise_angstrom is {self.noise_angstrom}: give a length of 0 Å or more"
            )

    def corrupt(
        self, batch: MolBatch, seed: int, step: int, drop_features: float | None = None
    ) -> MaskedBatch:
        """Hide elements and features and displace atoms; in float64 on the CPU."""
        drop = self.drop_features if drop_features is None else drop_features
        owner = batch.mol_of_atom().numpy()
        position = batch.position().numpy()
        sample = hash64(seed, step, batch.ids.numpy())  # mol
        hidden = hide_atoms(sample, batch.n_atoms.numpy(), owner, position, self.mask_share)
        component = position[:, None] * 3 + np.arange(3)
        noise = normal(component, NOISE_CHANNEL, state=sample[owner][:, None])
        start = np.searchsorted(owner, np.arange(batch.n_mol))
        clean = about_centres(batch.coords.numpy().astype(np.float64).T, owner, start).T
        noisy = align(clean + self.noise_angstrom * noise, clean, owner, batch.n_mol)
        n_hidden = float(hidden.sum())
        return MaskedBatch(
            batch=batch,
            hidden=torch.from_numpy(hidden),
            noisy=torch.from_numpy(noisy.astype(np.float32)),
            visible=torch.from_numpy(uniform(0, VISIBLE_CHANNEL, state=sample) >= drop),
            counts={
                "token_ce_nats": n_hidden,
                "token_accuracy": n_hidden,
                "coord_l1_angstrom": float(batch.n_mol),
                "distance_l1_angstrom": float(batch.n_mol),
            },
            hides_features=self.hide_features,
        )

    def make_heads(
        self, encoder: Encoder, masking_heads: Mapping[str, nn.Module]
    ) -> dict[str, nn.Module]:
        if "tokens" not in masking_heads:
            raise InputError(
                f"encoders of the family {encoder.config.family!r} have no head for masked atoms: "
                "train them on labels"
            )
        return dict(masking_heads)

    def loss_terms(self, model: Model, masked: MaskedBatch) -> dict[str, SumCount]:
        """Cross entropy (nats) and share of masked atoms named right; errors of coordinates (Å)."""
        outputs = model(masked).outputs
        elements = masked.batch.numbers[masked.hidden].long()
        scores = token_scores(at_least_float32(outputs["tokens"]), elements)
        if "movement" in outputs:
            scores |= coord_scores(outputs["movement"], masked.batch)
        return {name: SumCount(total, masked.counts[name]) for name, total in scores.items()}

    def weights(self, counts: Mapping[str, float]) -> dict[str, float]:
        return {
            "token_ce_nats": self.token_weight,
            "coord_l1_angstrom": self.coord_weight,
            "distance_l1_angstrom": self.distance_weight,
        }


def hide_atoms(
    sample: Shaped[np.ndarray, " mol"],
    n_atoms: Int[np.ndarray, " mol"],
    owner: Int[np.ndarray, " atom"],
    position: Int[np.ndarray, " atom"],
    share: float,
) -> np.ndarray:
    """Which atoms are masked (bool): ⌊share·n + u⌋ of each molecule, without replacement.

    `sample` is the hash of (seed, step, id) of each molecule; `owner` and `position` are those of
    each atom.
    """
    n_hidden = np.floor(share * n_atoms + uniform(0, MASK_CHANNEL, state=sample)).astype(np.int64)
    draw = hash64(position, KEY_CHANNEL, state=sample[owner])
    # one key to sort by, 24 bits of molecule before 40 of the draw: many times faster than two
    key = owner.astype(np.uint64) << np.uint64(40) | draw >> np.uint64(24)
    order = np.argsort(key)
    hidden = np.empty(len(owner), bool)
    # after sorting within molecules, rank and position run alike
    hidden[order] = position < n_hidden[owner]
    return hidden


def token_scores(logits: Float[Tensor, "k 128"], elements: Int[Tensor, " k"]) -> dict[str, Tensor]:
    """Summed cross entropy (nats) and number of atoms named correctly.

    Zero, not NaN, where nothing was masked.
    """
    n_right = (logits.argmax(-1) == elements).sum()
    return {
        "token_ce_nats": F.cross_entropy(logits, elements, reduction="sum"),
        "token_accuracy": n_right,
    }
