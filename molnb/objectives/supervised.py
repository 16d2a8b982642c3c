"""Known labels of one or several tasks: what is scored, and in which unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.batch import MolBatch
from ..data.masked import MaskedBatch
from ..models.heads import make_label_head
from ..models.interface import Encoder
from ..models.model import Model
from ..rng import uniform
from ..shapes import Float
from ..units import with_suffix
from .geometry import centred
from .interface import Objective, SumCount
from .pretraining import VISIBLE_CHANNEL
from .targets import ScaledTask

_LOSSES = {
    "mae": F.l1_loss,
    "mse": F.mse_loss,
    "smooth_mae": F.smooth_l1_loss,
    "bce": F.binary_cross_entropy_with_logits,
}


@dataclass(frozen=True)
class Supervised(Objective):
    """Known labels: the mean over tasks of the mean over known labels.

    Regression labels are learnt in units of their standard deviation over training rows and
    reported in their own. Features are visible, coordinates are the conformer's, nothing is masked.
    Where no task is named, all that the data have are learnt.
    """

    kind: ClassVar[str] = "supervised"
    learns_labels: ClassVar[bool] = True

    task_names: tuple[str, ...] = ()
    tasks_scaled: tuple[ScaledTask, ...] = ()
    head_depth: int = 2
    head_dropout: float = 0.0
    drop_features: float = 0.0

    @property
    def tasks(self) -> tuple[str, ...]:
        """Keys of the tasks once their scales are known, before that their names."""
        return tuple(task.key for task in self.tasks_scaled) or self.task_names

    def corrupt(
        self, batch: MolBatch, seed: int, step: int, drop_features: float | None = None
    ) -> MaskedBatch:
        """A batch of which nothing is withheld but features, of some molecules."""
        drop = self.drop_features if drop_features is None else drop_features
        visible = uniform(seed, step, batch.ids.numpy(), 0, VISIBLE_CHANNEL) >= drop
        counts = {}
        for task in self.tasks_scaled:
            labels = batch.labels.get(task.key)
            n_known = [0.0] * len(task.labels)
            if labels is not None:
                n_known = torch.isfinite(labels.values).sum(0).tolist()
            counts[loss_name(task)] = float(sum(n_known))
            counts |= {name: float(n) for name, n in zip(metric_names(task), n_known)}
        return MaskedBatch(
            batch=batch,
            hidden=torch.zeros(batch.numbers.shape[0], dtype=torch.bool),
            noisy=centred(batch),
            visible=torch.from_numpy(visible),
            counts=counts,
        )

    def make_heads(
        self, encoder: Encoder, masking_heads: Mapping[str, nn.Module]
    ) -> dict[str, nn.Module]:
        return {
            task.key: make_label_head(
                encoder, task.level, len(task.labels), self.head_depth, self.head_dropout
            )
            for task in self.tasks_scaled
        }

    def loss_terms(self, model: Model, masked: MaskedBatch) -> dict[str, SumCount]:
        """A loss a task, in scaled units, and an error a label, in the label's unit."""
        outputs = model(masked).outputs
        terms: dict[str, SumCount] = {}
        for task in self.tasks_scaled:
            if task.key in outputs:
                truth = masked.batch.labels[task.key].values
                for name, total in label_scores(task, outputs[task.key], truth).items():
                    terms[name] = SumCount(total, masked.counts[name])
        return terms

    def weights(self, counts: Mapping[str, float]) -> dict[str, float]:
        """Each task's weight: the same for every task that has a label in the global batch."""
        present = [name for name in map(loss_name, self.tasks_scaled) if counts.get(name)]
        return {name: 1.0 / len(present) for name in present}


def loss_name(task: ScaledTask) -> str:
    """The name of a task's loss among the terms."""
    return f"{task.key}_loss"


def metric_names(task: ScaledTask) -> list[str]:
    """One name a label, ending in its unit.

    It is the mean absolute error, or the share of a binary label that was named wrongly.
    """
    if task.kind == "binary":
        return [f"{label}_wrong_share" for label in task.labels]
    return [
        with_suffix(f"{label}_mae", unit)
        for label, unit in zip(task.labels, task.units, strict=True)
    ]


def label_scores(
    task: ScaledTask, guess: Float[Tensor, "k label"], truth: Float[Tensor, "k label"]
) -> dict[str, Tensor]:
    """Summed loss (scaled units) and summed error a label (its unit); unknown labels count zero."""
    is_known = torch.isfinite(truth)
    mean = guess.new_tensor(task.mean)
    scale = guess.new_tensor(task.scale)
    # an unknown label is replaced by the guess: no error and no gradient
    target = torch.where(is_known, (truth - mean) / scale, guess.detach())
    if task.kind == "binary":
        error = (guess > 0) != (truth > 0.5)
        loss = _LOSSES["bce"](guess, torch.where(is_known, truth, 0.0), reduction="none")
    else:
        error = (guess.detach() - target).abs() * scale
        loss = _LOSSES[task.loss](guess, target, reduction="none")
    scores = {loss_name(task): (loss * is_known).sum()}
    errors = (error * is_known).sum(0)
    return scores | dict(zip(metric_names(task), errors.unbind(), strict=True))


def in_units(task: ScaledTask, output: Float[Tensor, "k label"]) -> Float[Tensor, "k label"]:
    """A head's output as labels in their units; a binary label as a probability."""
    if task.kind == "binary":
        return torch.sigmoid(output)
    return output * output.new_tensor(task.scale) + output.new_tensor(task.mean)
