"""Fully connected layers in Graphium's order: linear, norm, dropout, activation."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ...shapes import Float
from ..dropout import Dropout


class Dense(nn.Module):
    """A linear layer with what follows it; without norm or activation where none is given."""

    def __init__(
        self,
        d_in: int,
        d_out: int,
        activation: Callable[[Tensor], Tensor] | None = None,
        norm: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.linear = nn.Linear(d_in, d_out)
        self.norm = nn.LayerNorm(d_out) if norm else nn.Identity()
        self.dropout = Dropout(dropout)
        self.activation = activation

    def forward(self, x: Float[Tensor, "*rows d_in"]) -> Float[Tensor, "*rows d_out"]:
        return self.finish(self.linear(x))

    def finish(self, x: Float[Tensor, "*rows d_out"]) -> Float[Tensor, "*rows d_out"]:
        """What follows the linear layer."""
        x = self.dropout(self.norm(x))
        return x if self.activation is None else self.activation(x)
