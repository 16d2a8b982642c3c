"""Known labels of one or several tasks: what is scored, and in which unit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.batch import MolBatch
from ..data.masked import MaskedBatch, SumCount
from ..models.heads import LabelHead
from ..models.model import Model, run_encoder
from ..models.unimol2.encoder import TwoTrack
from ..rng import uniform
from ..shapes import Float
from .geometry import centred
from .pretraining import _VISIBLE
from .targets import ScaledTask

_LOSSES = {
    "mae": F.l1_loss,
    "mse": F.mse_loss,
    "smooth_mae": F.smooth_l1_loss,
    "bce": F.binary_cross_entropy_with_logits,
}


@dataclass(frozen=True)
class Supervised:
    """Known labels of one or several tasks: the mean over tasks of the mean over known labels.

    Regression labels are learnt in units of their standard deviation over training rows and
    reported in their own. Features are visible, coordinates are the conformer's, nothing is masked.
    Where no task is named, all that the data have are learnt.
    """

    task_names: tuple[str, ...] = ()
    tasks_scaled: tuple[ScaledTask, ...] = ()
    head_depth: int = 2
    head_dropout: float = 0.0
    drop_features: float = 0.0
    kind: str = "supervised"

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.task_names

    def ask(
        self, batch: MolBatch, seed: int, step: int, drop_features: float | None = None
    ) -> MaskedBatch:
        """Nothing withheld but, if asked, the features."""
        drop = self.drop_features if drop_features is None else drop_features
        visible = torch.from_numpy(uniform(seed, step, batch.ids.numpy(), 0, _VISIBLE) >= drop)
        counts = {}
        for task in self.tasks_scaled:
            known = (
                torch.isfinite(batch.labels[task.name].values)
                if task.name in batch.labels
                else torch.zeros(0, 0)
            )
            counts[f"{task.name}_loss"] = float(known.sum())
            for column, name in enumerate(metric_names(task)):
                counts[name] = float(known[:, column].sum()) if known.numel() else 0.0
        hidden = torch.zeros(batch.numbers.shape[0], dtype=torch.bool)
        return MaskedBatch(batch, hidden, centred(batch), visible, counts)

    def make_heads(self, encoder: TwoTrack) -> nn.ModuleDict:
        c = encoder.config
        widths = dict(
            d_atom=c.d_atom, d_pair=c.d_pair, depth=self.head_depth, dropout=self.head_dropout
        )
        return nn.ModuleDict(
            {t.name: LabelHead(t.level, len(t.labels), **widths) for t in self.tasks_scaled}
        )

    def terms(self, model: Model, question: MaskedBatch) -> dict[str, SumCount]:
        """A loss a task, in scaled units, and an error a label, in the label's unit."""
        molecule_only = all(t.level == "molecule" for t in self.tasks_scaled)
        tracks = run_encoder(model.encoder, question, molecule_only)
        found: dict[str, SumCount] = {}
        for task in self.tasks_scaled:
            if task.name in question.batch.labels:
                known = question.batch.labels[task.name]
                guess = model.heads[task.name](tracks, question.batch, known.index)
                found |= {
                    k: SumCount(v, question.counts[k])
                    for k, v in label_scores(task, guess, known.values).items()
                }
        return found

    def weights(self, counts: dict[str, float]) -> dict[str, float]:
        """Every task that has a label in the global batch counts the same."""
        present = [name for t in self.tasks_scaled if counts.get(name := f"{t.name}_loss")]
        return {name: 1.0 / len(present) for name in present}


def metric_names(task: ScaledTask) -> list[str]:
    """One name a label, ending in its unit: the mean absolute error, or the share of a binary
    label named wrongly.
    """
    if task.kind == "binary":
        return [f"{label}_wrong_share" for label in task.labels]
    endings = [f"_{unit}" if unit not in ("", "1") else "" for unit in task.units]
    return [f"{label}_mae{ending}" for label, ending in zip(task.labels, endings, strict=True)]


def label_scores(
    task: ScaledTask, guess: Float[Tensor, "k label"], truth: Float[Tensor, "k label"]
) -> dict[str, Tensor]:
    """Summed loss (scaled units) and summed error a label (its unit); unknown labels count
    nothing.
    """
    known = torch.isfinite(truth)
    mean, scale = guess.new_tensor(task.mean), guess.new_tensor(task.scale)
    target = torch.where(known, (truth - mean) / scale, guess.detach())
    if task.kind == "binary":
        wrong = (guess > 0) != (truth > 0.5)
        loss = _LOSSES["bce"](guess, torch.where(known, truth, 0.0), reduction="none")
    else:
        wrong = (guess.detach() - target).abs() * scale
        loss = _LOSSES[task.loss](guess, target, reduction="none")
    scores = {f"{task.name}_loss": (loss * known).sum()}
    errors = (wrong * known).sum(0)
    return scores | dict(zip(metric_names(task), errors.unbind(), strict=True))
