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
from ..shapes import Bool, Float
from ..units import with_suffix
from .answers import Answers
from .class_counts import check_class_weights
from .geometry import centred
from .interface import Objective, SumCount
from .label_metrics import LabelMetrics
from .pretraining import VISIBLE_CHANNEL
from .targets import ScaledTask

_LOSSES = {
    "mae": F.l1_loss,
    "mse": F.mse_loss,
    "smooth_mae": F.smooth_l1_loss,
}


@dataclass(frozen=True)
class Supervised(Objective):
    """Known labels: the mean over tasks of the mean over known labels.

    Regression labels are learnt in units of their standard deviation over training rows and
    reported in their own. Features are visible, coordinates are the conformer's, nothing is masked.
    Where no task is named, all that the data have are learnt.

    Labels that are classes are learnt by cross entropy. With `class_weights` "balanced" each counts
    n / (k n_c), for its class with n_c of the n labels of the training rows and k classes; the sum
    is still divided by the number of labels, so that weights, one on average over training rows,
    leave the size of a step as it is and the expected loss of a batch is that of all rows.
    Probabilities are then those of classes that are equally frequent; how they rank is no matter of
    that.
    """

    kind: ClassVar[str] = "supervised"
    learns_labels: ClassVar[bool] = True

    task_names: tuple[str, ...] = ()
    tasks_scaled: tuple[ScaledTask, ...] = ()
    head_depth: int = 2
    head_dropout: float = 0.0
    drop_features: float = 0.0
    class_weights: str = "none"

    def __post_init__(self):
        check_class_weights(self.class_weights)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Keys of the tasks once their scales are known, before that their names."""
        return tuple(task.key for task in self.tasks_scaled) or self.task_names

    @property
    def tells_classes(self) -> bool:
        """Whether some of the labels are classes."""
        return any(task.of_classes for task in self.tasks_scaled)

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
                encoder, task.level, task.n_output, self.head_depth, self.head_dropout
            )
            for task in self.tasks_scaled
        }

    def loss_terms(self, model: Model, masked: MaskedBatch) -> dict[str, SumCount]:
        """A loss a task, in scaled units, and a score a label: see `metric_names`."""
        return self._terms(model(masked).outputs, masked)

    def examine(self, model: Model, masked: MaskedBatch, answers: Answers) -> dict[str, SumCount]:
        """The terms, while what is answered goes into `answers`: numbers and probabilities."""
        outputs = model(masked).outputs
        for task in self.tasks_scaled:
            if task.key in outputs:
                answers.add(task, in_units(task, outputs[task.key].float()))
        return self._terms(outputs, masked)

    def _terms(self, outputs: Mapping[str, Tensor], masked: MaskedBatch) -> dict[str, SumCount]:
        terms: dict[str, SumCount] = {}
        for task in self.tasks_scaled:
            if task.key in outputs:
                truth = masked.batch.labels[task.key].values
                for name, total in label_scores(task, outputs[task.key], truth).items():
                    terms[name] = SumCount(total, masked.counts[name])
        return terms

    def rankings(self, metrics: LabelMetrics) -> dict[str, float | int | None]:
        """How well classes are told apart, a label: see `answers.known_scores`."""
        scores: dict[str, float | int | None] = {}
        for task in self.tasks_scaled:
            if task.of_classes:
                scores |= metrics.class_scores(task)
        return scores

    def weights(self, counts: Mapping[str, float]) -> dict[str, float]:
        """Each task's weight: the same for every task that has a label in the global batch."""
        present = [name for name in map(loss_name, self.tasks_scaled) if counts.get(name)]
        return {name: 1.0 / len(present) for name in present}


def loss_name(task: ScaledTask) -> str:
    """The name of a task's loss among the terms."""
    return f"{task.key}_loss"


def metric_names(task: ScaledTask) -> list[str]:
    """One name a label, of what is summed over its known values.

    Of numbers it is the mean absolute error, with its unit; of classes the share named right.
    """
    if task.of_classes:
        return [f"{label}_accuracy" for label in task.labels]
    return [
        with_suffix(f"{label}_mae", unit)
        for label, unit in zip(task.labels, task.units, strict=True)
    ]


def label_scores(
    task: ScaledTask, guess: Float[Tensor, "k output"], truth: Float[Tensor, "k label"]
) -> dict[str, Tensor]:
    """Summed loss (scaled units) and summed score a label; unknown labels count zero.

    Labels are scaled in the precision they come in, so that a small spread on a large value stays,
    and errors are summed in float64: float32 holds no label of 1e39.
    """
    guess = guess.float()
    is_known = torch.isfinite(truth)
    if not task.of_classes:
        mean = truth.new_tensor(task.mean)
        scaled = (truth - mean) / truth.new_tensor(task.scale)
        # an unknown label is replaced by the guess: no error and no gradient
        target = torch.where(is_known, scaled.to(guess.dtype), guess.detach())
        score = (guess.detach() - target).abs().double()
        score = score * score.new_tensor(task.scale)
        loss = _LOSSES[task.loss](guess, target, reduction="none")
    else:
        target = torch.where(is_known, truth, 0.0).to(guess.dtype)
        score = named_right(task, guess.detach(), target)
        loss = class_loss(task, guess, target)
    scores = {loss_name(task): (loss * is_known).sum()}
    sums = (score * is_known).sum(0)
    return scores | dict(zip(metric_names(task), sums.unbind(), strict=True))


def class_loss(
    task: ScaledTask, guess: Float[Tensor, "k output"], target: Float[Tensor, "k label"]
) -> Float[Tensor, "k label"]:
    """Cross entropy (nats) of logits against class numbers, as much as each class counts."""
    if task.kind == "binary":
        loss = F.binary_cross_entropy_with_logits(guess, target, reduction="none")
    else:
        loss = F.cross_entropy(guess, target[:, 0].long(), reduction="none")[:, None]
    if task.class_weights:
        # as exact as the targets: logits may be bfloat16
        weights = target.new_tensor(task.class_weights)  # label class
        column = torch.arange(len(task.labels), device=guess.device)
        loss = loss * weights[column, target.long()]
    return loss


def named_right(
    task: ScaledTask, guess: Float[Tensor, "k output"], target: Float[Tensor, "k label"]
) -> Bool[Tensor, "k label"]:
    """Whether the likeliest class, by its logit, is the true one."""
    if task.kind == "binary":
        return (guess > 0) == (target > 0.5)
    return guess.argmax(-1, keepdim=True) == target.long()


def in_units(task: ScaledTask, output: Float[Tensor, "k output"]) -> Float[Tensor, "k output"]:
    """A head's output as labels in their units, in float64; classes as probabilities.

    Of a binary label that is the probability of class 1, of several classes that of each.
    """
    if task.kind == "binary":
        return torch.sigmoid(output)
    if task.kind == "classes":
        return torch.softmax(output, -1)
    output = output.double()
    return output * output.new_tensor(task.scale) + output.new_tensor(task.mean)
