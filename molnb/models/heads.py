"""Heads: small networks that read vectors of an encoding; one for labels, one for masked atoms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.batch import LEVELS, MolBatch, every_index
from ..data.masked import MaskedBatch
from ..errors import InputError
from ..shapes import Float, Int
from .dropout import Dropout
from .interface import Encoder, Encoding
from .precision import at_least_float32
from .products import BatchCounter, Cost, CostByRows, Product

N_TOKEN = 128  # elements, and the token that masks them


class Beside(nn.Module):
    """Arrays of a batch's molecules as numbers that a head reads: a row a molecule, standardised.

    They are float64. `widths` says how many columns each array has. What is missing (NaN, infinite)
    becomes the mean. A column without spread on training rows says nothing, whatever it holds
    elsewhere: no weight has learnt what to make of it.
    """

    def __init__(self, widths: Mapping[str, int]):
        super().__init__()
        self.widths = dict(widths)
        self.n_column = sum(widths.values())
        # Buffers, stored with the weights: scales of labels are few and stand in config.json, but
        # an array may have a thousand columns. In float64, which keeps small spreads on large
        # values.
        self.register_buffer("mean", torch.zeros(self.n_column, dtype=torch.float64))
        self.register_buffer("inverse_sd", torch.ones(self.n_column, dtype=torch.float64))

    def forward(self, batch: MolBatch, index: Int[Tensor, " k"]) -> Float[Tensor, "k column"]:
        columns = []
        for name, width in self.widths.items():
            if name not in batch.molecule:
                raise InputError(
                    f"a batch lacks the array {name!r} of its molecules, which a head reads: make "
                    "the batch with it (Corpus(datasets, arrays=...))"
                )
            columns.append(batch.molecule[name].double().reshape(batch.n_mol, width))
        scaled = (torch.cat(columns, 1)[index] - self.mean) * self.inverse_sd
        return torch.where(torch.isfinite(scaled), scaled, 0.0)


class LabelHead(nn.Module):
    """Predicts the labels of one task, in units of their standard deviation over training rows.

    Of labels that are classes it gives a logit a class. Where the task belongs to pairs of atoms,
    the two directions of a pair are averaged. Encoders may end without a norm, so the head starts
    with one. A head that `weighs_itself` keeps the logarithm of a variance, which the objective
    learns to weigh the task by.

    Of molecules it may read arrays `beside` their vectors (columns by name), as if these stood
    behind the normed vector in one row and the first layer were so much wider. Its columns for them
    are a matrix of their own: how many there are does not grow with the encoder, so width transfer
    neither lowers their rate nor divides what they say.
    """

    def __init__(
        self,
        level: str,
        n_label: int,
        width: int,
        depth: int = 2,
        dropout: float = 0.0,
        weighs_itself: bool = False,
        divisor: float = 1.0,
        beside: Mapping[str, int] | None = None,
    ):
        super().__init__()
        self.divisor = divisor  # of what the last layer reads of the encoder (`width_transfer`)
        if level not in LEVELS:
            raise InputError(
                f"unknown level {level!r} of a task: choose one of {', '.join(LEVELS)}"
            )
        if beside and level != "molecule":
            raise InputError(
                f"a head of {level}s reads no arrays of molecules ({', '.join(beside)})"
            )
        self.levels = (level,)
        self.norm = nn.LayerNorm(width)
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.out = nn.Linear(width, n_label)
        self.dropout = Dropout(dropout)
        self.log_variance = nn.Parameter(torch.zeros(())) if weighs_itself else None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.beside = Beside(beside) if beside else None
        if self.beside is not None:
            d_first = width if depth > 1 else n_label
            self.from_beside = nn.Linear(self.beside.n_column, d_first, bias=False)
            if depth == 1:
                nn.init.zeros_(self.from_beside.weight)

    def index(self, task: str, batch: MolBatch, everywhere: bool) -> Int[Tensor, " k *pair"] | None:
        """What of a batch the head should read: what is labelled (None without any), or all."""
        if everywhere:
            return every_index(batch, self.levels[0])
        return batch.labels[task].index if task in batch.labels else None

    def forward(
        self, encoding: Encoding, index: Int[Tensor, " k *pair"], batch: MolBatch | None = None
    ) -> Float[Tensor, "k output"]:
        (level,) = self.levels
        rows = encoding.rows(level, index)
        if level == "pair":
            rows = 0.5 * (rows + encoding.rows(level, index[:, [0, 2, 1]]))
        x = self.norm(at_least_float32(rows))
        for number, layer in enumerate(self.inner):
            x = layer(x)
            if number == 0:
                x = self._with_beside(x, batch, index)
            x = self.dropout(F.gelu(x))
        output = self.out(x if self.divisor == 1 else x / self.divisor)
        return output if self.inner else self._with_beside(output, batch, index)

    def products(self, n_row: int) -> list[Product]:
        """Matrix products of so many rows; arrays beside are data."""
        layers = [*self.inner, self.out]
        of_layers = [linear_product("heads", layer, n_row) for layer in layers]
        if self.beside is None:
            return of_layers
        return [*of_layers, linear_product("heads", self.from_beside, n_row)._replace(gradients=1)]

    def make_counter(
        self, task: str, encoder: Encoder, device: torch.device, item_size: int
    ) -> BatchCounter:
        """What counts training of the head, on the labelled rows of a group of molecules."""
        of_rows = CostByRows(self.products, 1, item_size)

        def count(masked: MaskedBatch) -> Cost:
            if task not in masked.batch.labels:
                return Cost()
            flops, n_byte = of_rows(len(masked.batch.labels[task].index)).tolist()
            return Cost(flops=flops, bytes=n_byte)

        return count

    def _with_beside(
        self, x: Float[Tensor, "k d"], batch: MolBatch | None, index: Int[Tensor, " k *pair"]
    ) -> Float[Tensor, "k d"]:
        """What the first layer makes of vectors, and of the arrays beside them if there are any."""
        if self.beside is None:
            return x
        numbers = self.beside(batch, index).to(self.from_beside.weight.dtype)
        return x + self.from_beside(numbers)


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

    def make_counter(
        self, name: str, encoder: Encoder, device: torch.device, item_size: int
    ) -> BatchCounter:
        """What counts training of the head, on the hidden atoms of a group of molecules."""
        width = self.dense.in_features
        of_rows = CostByRows(lambda n_row: token_products(n_row, width), 1, item_size)

        def count(masked: MaskedBatch) -> Cost:
            flops, n_byte = of_rows(int(masked.hidden.sum())).tolist()
            return Cost(flops=flops, bytes=n_byte)

        return count


def token_products(n_row: int, width: int) -> list[Product]:
    """Matrix products of a head for masked atoms."""
    return [Product("heads", n_row, width, width), Product("heads", n_row, width, N_TOKEN)]


def linear_product(part: str, layer: nn.Linear, n_row: int) -> Product:
    """The matrix product of a linear layer with so many rows."""
    return Product(part, n_row, layer.in_features, layer.out_features)


def make_label_head(
    encoder: Encoder,
    level: str,
    n_label: int,
    depth: int,
    dropout: float,
    weighs_itself: bool = False,
    beside: Mapping[str, int] | None = None,
) -> LabelHead:
    """A head for a task of this level, as wide as the encoder's vectors of it."""
    return LabelHead(
        level,
        n_label,
        encoder.width(level),
        depth,
        dropout,
        weighs_itself,
        encoder.config.width_transfer,
        beside,
    )
