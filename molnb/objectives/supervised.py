"""Known labels of one or several tasks: what is scored, and in which unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.batch import MolBatch
from ..data.masked import Count, MaskedBatch
from ..errors import InputError, did_you_mean
from ..models.heads import make_label_head
from ..models.interface import Encoder
from ..models.model import Model
from ..models.precision import at_least_float32
from ..rng import uniform
from ..shapes import Bool, Float, Shaped
from ..units import with_suffix
from .answers import Answers
from .class_counts import check_class_weights
from .geometry import centred
from .interface import Objective, SumCount
from .label_metrics import LabelMetrics
from .pretraining import VISIBLE_CHANNEL
from .targets import ScaledTask, known_labels

_LOSSES = {
    "mae": F.l1_loss,
    "mse": F.mse_loss,
    "smooth_mae": F.smooth_l1_loss,  # Huber's: squared below one standard deviation
}
WEIGHTINGS = ("even", "uncertainty")
HYBRID_SHARE = 0.5  # of cross entropy in `hybrid_ce`; the rest is the squared error of the number


@dataclass(frozen=True)
class Supervised(Objective):
    """Known labels: the mean over tasks of the mean over known labels.

    Regression labels are learnt in units of their standard deviation over training rows and
    reported in their own. Features are visible, coordinates are the conformer's, nothing is masked.
    Where no task is named, all that the data have are learnt.

    Labels that are classes are learnt by cross entropy, ordered ones perhaps by `hybrid_ce`
    (`class_loss`). With `class_weights` "balanced" each counts n / (k n_c), for its class with n_c
    of the n labels of the training rows and k classes; the sum is still divided by the number of
    labels, so that weights, one on average over training rows, leave the size of a step as it is
    and the expected loss of a batch is that of all rows. Probabilities are then those of classes
    that are equally frequent; how they rank is no matter of that.

    `task_weights` make the mean over tasks a weighted one (of a task by its key or name; 1 where
    nothing is said). A task without a label in a global batch has no part in its mean. With
    `weighting` "uncertainty" a task's loss L is replaced by exp(-s) L + s / 2, s being learnt with
    the head (Kendall, Gal & Cipolla 2018, doi:10.1109/CVPR.2018.00781; s = log σ² for
    classes; of numbers, whose paper's factor is 1 / (2σ²), s = log 2σ², which only adds a
    constant). The loss that is told, and by which the best weights are chosen, is that without s:
    runs with and without can be compared.

    `beside` names arrays of molecules that the datasets keep (`shards.add_array`, level
    "molecule"), as fingerprints or computed numbers: heads of molecules read their columns beside
    the encoder's vector, in standard deviations over training rows, missing ones as the mean.
    `drop_features` withholds none of them. Such a run predicts from shards alone. `beside_widths`
    are their columns, read from the data.
    """

    kind: ClassVar[str] = "supervised"
    learns_labels: ClassVar[bool] = True

    task_names: tuple[str, ...] = ()
    tasks_scaled: tuple[ScaledTask, ...] = ()
    head_depth: int = 2
    head_dropout: float = 0.0
    drop_features: float = 0.0
    class_weights: str = "none"
    task_weights: Mapping[str, Any] = field(default_factory=dict)  # numbers above 0
    weighting: str = "even"
    beside: tuple[str, ...] = ()
    beside_widths: tuple[int, ...] = ()

    def __post_init__(self):
        check_class_weights(self.class_weights)
        if self.weighting not in WEIGHTINGS:
            raise InputError(
                f"weighting is {self.weighting!r}{did_you_mean(str(self.weighting), WEIGHTINGS)}: "
                f"choose {' or '.join(WEIGHTINGS)}"
            )
        for name, weight in self.task_weights.items():
            _check_weight(name, weight)
        numbers = {name: float(weight) for name, weight in self.task_weights.items()}
        object.__setattr__(self, "task_weights", numbers)  # as they are read back from JSON
        if self.tasks_scaled:
            self._check_weighed()
            self._check_beside()

    def _check_weighed(self) -> None:
        """Raise InputError where a weight is of no task that is learnt."""
        known = {name for task in self.tasks_scaled for name in _names_of(task)}
        for name in self.task_weights:
            if name not in known:
                raise InputError(
                    f"objective.task_weights names {name!r}{did_you_mean(name, sorted(known))}, "
                    f"the tasks that are learnt are {', '.join(self.tasks)}"
                )

    def _check_beside(self) -> None:
        """Raise InputError where arrays are named, and no head is there that reads them."""
        if self.beside and not any(task.level == "molecule" for task in self.tasks_scaled):
            raise InputError(
                f"objective.beside names {', '.join(self.beside)}, which heads of molecules read, "
                f"and no task that is learnt ({', '.join(self.tasks)}) is of molecules: leave it "
                "out"
            )

    @property
    def learns_weights(self) -> bool:
        """Whether heads keep a weight of their task that is learnt."""
        return self.weighting == "uncertainty"

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
        counts: dict[str, Count] = {}
        labels = dict(batch.labels)
        for task in self.tasks_scaled:
            n_known = np.zeros(len(task.labels))
            if task.key in labels:
                values = known_labels(task, labels[task.key].values)
                labels[task.key] = labels[task.key]._replace(values=values)
                n_known = np.isfinite(values.numpy()).sum(0)
            n = float(n_known.sum())
            counts |= {loss_name(task): n, score_name(task): n_known}
            if self.learns_weights:
                counts |= {weighed_name(task): n, log_variance_name(task): n}
        return MaskedBatch(
            batch=replace(batch, labels=labels),
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
                encoder,
                task.level,
                task.n_output,
                self.head_depth,
                self.head_dropout,
                self.learns_weights,
                self._read_beside() if task.level == "molecule" else None,
            )
            for task in self.tasks_scaled
        }

    def _read_beside(self) -> dict[str, int]:
        """Columns of the arrays beside, by name; InputError where the data were not looked at."""
        if len(self.beside) != len(self.beside_widths):
            raise InputError(
                f"objective.beside names {', '.join(self.beside)}, and beside_widths is "
                f"{self.beside_widths}: leave that out, `train` reads it from the data"
            )
        return dict(zip(self.beside, self.beside_widths))

    def loss_terms(self, model: Model, masked: MaskedBatch) -> dict[str, SumCount]:
        """A loss a task, in scaled units, and scores of its labels (`label_scores`).

        Where weights are learnt there are a weighed loss a task, and the logarithm of its variance.
        """
        terms = self._terms(model(masked).outputs, masked)
        return terms | self._weighed_terms(model, terms) if self.learns_weights else terms

    def _weighed_terms(self, model: Model, terms: Mapping[str, SumCount]) -> dict[str, SumCount]:
        """Losses weighed by what their heads learnt.

        s / 2 is added once a label, so that the sums of all groups, over the labels of all of them,
        have it once.
        """
        weighed: dict[str, SumCount] = {}
        for task in self.tasks_scaled:
            if loss_name(task) in terms:
                loss, n = terms[loss_name(task)]
                s = model.head(task.key).log_variance
                weighed[weighed_name(task)] = SumCount(torch.exp(-s) * loss + 0.5 * n * s, n)
                weighed[log_variance_name(task)] = SumCount(s.detach().double() * n, n)
        return weighed

    def examine(self, model: Model, masked: MaskedBatch, answers: Answers) -> dict[str, SumCount]:
        """The terms, while what is answered goes into `answers`: numbers and probabilities."""
        outputs = model(masked).outputs
        for task in self.tasks_scaled:
            if task.key in outputs:
                answers.add(task, in_units(task, at_least_float32(outputs[task.key])))
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

    def weights(self, counts: Mapping[str, Count]) -> dict[str, float]:
        """Each task's share of the mean over tasks that have a label in the global batch."""
        return self._shares(counts, weighed_name if self.learns_weights else loss_name)

    def reported_weights(self, counts: Mapping[str, Count]) -> dict[str, float]:
        """The same of losses as they are, without what is learnt to weigh them."""
        return self._shares(counts, loss_name)

    def _shares(
        self, counts: Mapping[str, Count], name: Callable[[ScaledTask], str]
    ) -> dict[str, float]:
        present = [task for task in self.tasks_scaled if counts.get(loss_name(task))]
        weights = {name(task): self._weight_of(task) for task in present}
        total = sum(weights.values())
        return {name: weight / total for name, weight in weights.items()}

    def _weight_of(self, task: ScaledTask) -> float:
        """What is said of a task: by its key, else by its name, else 1."""
        said = [self.task_weights[name] for name in _names_of(task) if name in self.task_weights]
        return said[0] if said else 1.0

    def means(
        self, sums: Mapping[str, Tensor | np.ndarray | float], counts: Mapping[str, Count]
    ) -> dict[str, float]:
        """What sums come to: of each task its loss, and scores by `metric_names`."""
        scored = {score_name(task): task for task in self.tasks_scaled}
        means: dict[str, float] = {}
        for name, value in sums.items():
            if name in scored:
                means |= _label_means(scored[name], value, counts[name])
            elif counts[name]:
                means[name] = float(value) / counts[name]
        return means


def _check_weight(name: str, weight: Any) -> None:
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not is_number or not 0 < weight < np.inf:
        raise InputError(
            f"objective.task_weights has {weight!r} for {name!r}: give a number above 0, or leave "
            "the task out (objective.task_names)"
        )


def _names_of(task: ScaledTask) -> tuple[str, str]:
    """What a task may be called: its key, or the name in it that several tasks may bear."""
    return task.key, task.key.rpartition("/")[2]


def loss_name(task: ScaledTask) -> str:
    """The name of a task's loss among the terms."""
    return f"{task.key}_loss"


def score_name(task: ScaledTask) -> str:
    """The name of what is summed over each of a task's labels, among the terms."""
    return f"{task.key}_scores"


def weighed_name(task: ScaledTask) -> str:
    """The name of a task's loss as its head weighs it, among the terms."""
    return f"{task.key}_weighed"


def log_variance_name(task: ScaledTask) -> str:
    """The name of what a head weighs its task by, among the terms."""
    return f"{task.key}_log_variance"


def metric_names(task: ScaledTask) -> list[str]:
    """One name a label, of a mean over its known values; of very many labels one of their mean.

    Of numbers it is the mean absolute error, with its unit, and the mean over labels is one of
    errors in standard deviations; of classes the share named right.
    """
    if task.is_wide:
        return [f"{task.key}_mean_accuracy" if task.of_classes else f"{task.key}_mean_mae_sd"]
    if task.of_classes:
        return [f"{label}_accuracy" for label in task.labels]
    return [
        with_suffix(f"{label}_mae", unit)
        for label, unit in zip(task.labels, task.units, strict=True)
    ]


def named_scores(task: ScaledTask, scores: Shaped[np.ndarray, " label"]) -> dict[str, float]:
    """A score a label by `metric_names`; NaN where it is unknown."""
    if task.is_wide:
        if not task.of_classes:
            scores = scores / np.array(task.scale)
        known = scores[~np.isnan(scores)]
        scores = np.array([known.mean() if len(known) else np.nan])
    return dict(zip(metric_names(task), scores.tolist(), strict=True))


def _label_means(
    task: ScaledTask, sums: Tensor | np.ndarray, counts: Shaped[np.ndarray, " label"]
) -> dict[str, float]:
    """Sums over labels as named means; none of labels that are all unknown."""
    totals = sums.cpu().numpy() if isinstance(sums, Tensor) else sums
    means = np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)
    is_counted = [bool(counts.any())] if task.is_wide else counts > 0
    named = named_scores(task, means)
    return {name: value for (name, value), n in zip(named.items(), is_counted, strict=True) if n}


def label_scores(
    task: ScaledTask, guess: Float[Tensor, "k output"], truth: Float[Tensor, "k label"]
) -> dict[str, Tensor]:
    """Summed loss (scaled units), and a summed score of each label; unknown labels count zero.

    The score is the absolute error in the label's unit, of classes whether the likeliest is right.
    Labels are scaled in the precision they come in, so that a small spread on a large value stays,
    and errors are summed in float64: float32 holds no label of 1e39.
    """
    guess = at_least_float32(guess)
    is_known = torch.isfinite(truth)
    if not task.of_classes:
        mean = truth.new_tensor(task.mean)
        scaled = (truth - mean) / truth.new_tensor(task.scale)
        # an unknown label is replaced by the guess: no error and no gradient
        target = torch.where(is_known, scaled.to(guess.dtype), guess.detach())
        error = (guess.detach() - target).abs().sum(0, dtype=torch.float64)
        score = error * error.new_tensor(task.scale)
        loss = _LOSSES[task.loss](guess, target, reduction="sum")
    else:
        guess = by_class(task, guess)
        target = torch.where(is_known, truth, 0.0).to(guess.dtype)
        score = (named_right(task, guess.detach(), target) & is_known).sum(0)
        loss = (class_loss(task, guess, target) * is_known).sum()
    return {loss_name(task): loss, score_name(task): score}


def by_class(
    task: ScaledTask, output: Float[Tensor, "k output"]
) -> Float[Tensor, "k label class"] | Float[Tensor, "k label"]:
    """Logits of each label, and of each class of one that has several.

    Classes that other labels of the task have and this one lacks get -inf: they have no
    probability, and what stands for them in the head no gradient.
    """
    if task.kind != "classes":
        return output
    logits = output.unflatten(1, (len(task.labels), task.n_class))
    absent = task.absent_classes
    if absent is None:
        return logits
    return logits.masked_fill(torch.from_numpy(absent).to(logits.device), -torch.inf)


def class_loss(
    task: ScaledTask,
    logits: Float[Tensor, "k label *class"],
    target: Float[Tensor, "k label"],
) -> Float[Tensor, "k label"]:
    """Cross entropy (nats) of logits against class numbers, as much as each class counts.

    `hybrid_ce` is the mean of it and of the squared error of the expected class number: of classes
    in an order, the next one is a smaller mistake than the last.
    """
    if task.kind == "binary":
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    else:
        logs = F.log_softmax(logits, -1)  # of probabilities
        numbers = target.flatten().long()
        loss = F.nll_loss(logs.flatten(0, 1), numbers, reduction="none").view_as(target)
    if task.loss == "hybrid_ce":
        number = torch.arange(task.n_class, device=logits.device)
        # a product and a sum: autocast would make a matrix product one of bfloat16
        expected = (logs.exp() * number).sum(-1)  # k label
        loss = HYBRID_SHARE * loss + (1 - HYBRID_SHARE) * (expected - target) ** 2
    if task.class_weights:
        # as exact as the targets: logits may be bfloat16
        weights = target.new_tensor(task.class_weights)  # label class
        column = torch.arange(len(task.labels), device=logits.device)
        loss = loss * weights[column, target.long()]
    return loss


def named_right(
    task: ScaledTask,
    logits: Float[Tensor, "k label *class"],
    target: Float[Tensor, "k label"],
) -> Bool[Tensor, "k label"]:
    """Whether the likeliest class, by its logit, is the true one."""
    if task.kind == "binary":
        return (logits > 0) == (target > 0.5)
    return logits.argmax(-1) == target.long()


def in_units(task: ScaledTask, output: Float[Tensor, "k output"]) -> Float[Tensor, "k output"]:
    """A head's output as labels in their units, in float64; classes as probabilities.

    Of a binary label that is the probability of class 1, of several classes that of each; NaN of
    labels that are not learnt.
    """
    if task.kind == "binary":
        values = torch.sigmoid(output)
    elif task.kind == "classes":
        values = torch.softmax(by_class(task, output), -1).flatten(1)
    else:
        values = output.double()
        values = values * values.new_tensor(task.scale) + values.new_tensor(task.mean)
    if not task.learnt:
        return values
    learnt = torch.tensor(task.learnt, device=output.device).repeat_interleave(task.n_class)
    return torch.where(learnt, values, torch.nan)
