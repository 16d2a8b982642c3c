"""Heads: small networks that read vectors of an encoding; one for labels, one for masked atoms."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.batch import LEVELS, MolBatch, every_index
from ..data.masked import MaskedBatch
from ..errors import InputError
from ..shapes import Float, Int
from .dropout import Dropout
from .interface import Encoder, Encoding

N_TOKEN = 128  # elements, and the token that masks them


class LabelHead(nn.Module):
    """Predicts the labels of one task, in units of their standard deviation over training rows.

    Where the task belongs to pairs of atoms, the two directions of a pair are averaged. Encoders
    may end without a norm, so the head starts with one.
    """

    def __init__(
        self,
        level: str,
        n_label: int,
        width: int,
        depth: int = 2,
        dropout: float = 0.0,
        divisor: float = 1.0,
    ):
        super().__init__()
        self.divisor = divisor  # of what the last layer reads (`width_transfer`)
        if level not in LEVELS:
            raise InputError(
                f"unknown level {level!r} of a task: choose one of {', '.join(LEVELS)}"
            )
        self.levels = (level,)
        self.norm = nn.LayerNorm(width)
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.out = nn.Linear(width, n_label)
        self.dropout = Dropout(dropout)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def index(self, task: str, batch: MolBatch, everywhere: bool) -> Int[Tensor, " k *pair"] | None:
        """What of a batch the head should read: what is labelled (None without any), or all."""
        if everywhere:
            return every_index(batch, self.levels[0])
        return batch.labels[task].index if task in batch.labels else None

    def forward(
        self, encoding: Encoding, index: Int[Tensor, " k *pair"]
    ) -> Float[Tensor, "k label"]:
        (level,) = self.levels
        rows = encoding.rows(level, index)
        if level == "pair":
            rows = 0.5 * (rows + encoding.rows(level, index[:, [0, 2, 1]]))
        x = self.norm(rows.float())
        for layer in self.inner:
            x = self.dropout(F.gelu(layer(x)))
        return self.out(x if self.divisor == 1 else x / self.divisor)


class TokenHead(nn.Module):
    """Predicts the element of masked atoms: one logit for each of 128 tokens."""

    levels = ("atom",)

    def __init__(self, width: int, divisor: float = 1.0):
        super().__init__()
        self.divisor = divisor  # of what the last layer reads (`width_transfer`)
        self.norm = nn.LayerNorm(width)
        self.dense = nn.Linear(width, width)
        self.out = nn.Linear(width, N_TOKEN)

    def logits(self, rows: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows 128"]:
        """Logits from vectors of atoms."""
        x = F.gelu(self.dense(self.norm(rows)))
        return self.out(x if self.divisor == 1 else x / self.divisor)

    def forward(self, encoding: Encoding, masked: MaskedBatch) -> Float[Tensor, "k 128"]:
        hidden = torch.nonzero(masked.hidden).flatten()
        return self.logits(encoding.rows("atom", hidden))


def make_label_head(
    encoder: Encoder, level: str, n_label: int, depth: int, dropout: float
) -> LabelHead:
    """A head for a task of this level, as wide as the encoder's vectors of it."""
    width = encoder.width(level)
    return LabelHead(level, n_label, width, depth, dropout, encoder.config.width_transfer)
