"""What every objective offers: what it withholds, what it scores, and how scores make a loss.

A global batch is worked through in groups of similar size; sums are added and divided once, so the
grouping never changes the loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..data.batch import MolBatch
from ..data.masked import Count, MaskedBatch
from ..models.interface import Encoder
from ..models.model import Model
from .answers import Answers
from .label_metrics import LabelMetrics
from .targets import ScaledTask


class SumCount(NamedTuple):
    """A sum and the number of things it runs over: their ratio is the metric.

    Both are one number, or one for each label of a task.
    """

    total: Tensor
    count: Count


class Objective:
    """Inherit, and say what is withheld, which heads there are and what they are scored by."""

    kind: str
    learns_labels: bool = False
    tells_classes: bool = False  # learns labels that are classes, which are ranked
    tasks: tuple[str, ...] = ()  # whose labels a batch should carry
    tasks_scaled: tuple[ScaledTask, ...] = ()  # the same, as they are learnt
    beside: tuple[str, ...] = ()  # arrays of molecules that heads read
    beside_widths: tuple[int, ...] = ()  # how many columns each has, once the data are known
    drop_features: float = 0.0  # share of the molecules that show no features in training

    def corrupt(
        self, batch: MolBatch, seed: int, step: int, drop_features: float | None = None
    ) -> MaskedBatch:
        """A batch (on the CPU) with something withheld, drawn from (seed, step, sample) alone.

        `drop_features` overrides the share of molecules that show no features.
        """
        raise NotImplementedError

    def make_heads(
        self, encoder: Encoder, masking_heads: Mapping[str, nn.Module]
    ) -> dict[str, nn.Module]:
        """The heads of a new model; `masking_heads` came with the encoder."""
        raise NotImplementedError

    def loss_terms(self, model: Model, masked: MaskedBatch) -> dict[str, SumCount]:
        """Each term of the objective over a batch, by a name that ends in its unit."""
        raise NotImplementedError

    def examine(self, model: Model, masked: MaskedBatch, answers: Answers) -> dict[str, SumCount]:
        """The terms of a batch that is only scored; what it says of labels goes to `answers`."""
        return self.loss_terms(model, masked)

    def rankings(self, metrics: LabelMetrics) -> dict[str, float | int | None]:
        """Scores of all batches together, from gathered answers; None where one is undefined."""
        return {}

    def weights(self, counts: Mapping[str, Count]) -> dict[str, float]:
        """What each term contributes to the loss; terms that are left out are only watched."""
        raise NotImplementedError

    def reported_weights(self, counts: Mapping[str, Count]) -> dict[str, float]:
        """The same of the loss that is told, and by which weights are chosen; here `weights`."""
        return self.weights(counts)

    def means(
        self, sums: Mapping[str, Tensor | np.ndarray | float], counts: Mapping[str, Count]
    ) -> dict[str, float]:
        """What sums over the groups of a global batch come to, by name; none of nothing."""
        return {name: float(value) / counts[name] for name, value in sums.items() if counts[name]}

    def __call__(
        self, model: Model, batch: MolBatch | MaskedBatch
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch, and each term by name.

        Of a plain batch is withheld what training would withhold at step 0 of seed 0.
        """
        masked = batch if isinstance(batch, MaskedBatch) else self.corrupt(batch, 0, 0)
        masked = masked.to(next(model.parameters()).device)
        terms = self.loss_terms(model, masked)
        weights = self.weights(masked.counts)
        loss = weighted_loss(terms, weights, masked.counts)
        sums = {name: term.total.detach() for name, term in terms.items()}
        return loss, self.means(sums, masked.counts)


def weighted_loss(
    terms: Mapping[str, SumCount], weights: Mapping[str, float], counts: Mapping[str, Count]
) -> Tensor:
    """The part of a loss that a group of molecules contributes: sums over the counts of all groups.

    Zero, without a gradient, where the group has nothing that is weighed.
    """
    parts = [
        weights[name] * term.total / counts[name]
        for name, term in terms.items()
        if weights.get(name) and counts[name]
    ]
    return sum(parts) if parts else torch.zeros(())
