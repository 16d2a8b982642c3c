"""Dropout whose masks are drawn from the random numbers of the thread that computes.

torch draws from one generator for all threads of a process, so what several threads drop at once
would depend on who comes first. Here a thread draws, while `drawing_from` lasts, from a generator
of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..shapes import Bool

_of_thread = threading.local()  # its `generator`, while one is set


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Masks that this thread draws on the CPU come from a seed; torch's own state is not touched.

    On other devices, and in compiled code, masks come from torch's generator as ever.
    """
    before = getattr(_of_thread, "generator", None)
    _of_thread.generator = torch.Generator().manual_seed(seed)
    try:
        yield
    finally:
        _of_thread.generator = before


def keep_mask(
    shape: tuple[int, ...], dropout: float, device: torch.device
) -> Bool[Tensor, "*shape"]:
    """True with probability 1 - dropout (met to 1/65536).

    On the CPU four draws are taken from each 64-bit number, a quarter of the time of torch's own
    dropout.
    """
    if device.type != "cpu" or torch.compiler.is_compiling():
        return torch.rand(shape, device=device) >= dropout
    generator = getattr(_of_thread, "generator", None)
    count = torch.Size(shape).numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64)
    bits.random_(-(2**63), 2**63 - 1, generator=generator)
    draws = bits.view(torch.int16)[:count]  # even over -32768 to 32767
    return (draws >= round(dropout * 65536) - 32768).view(shape)


def apply_dropout(x: Tensor, dropout: float) -> Tensor:
    """Entries dropped with this probability, the others scaled up; the masks of `keep_mask`."""
    if not dropout:
        return x
    return torch.where(keep_mask(x.shape, dropout, x.device), x / (1 - dropout), 0)


class Dropout(nn.Module):
    """`apply_dropout` while a network trains, nothing in evaluation."""

    def __init__(self, dropout: float):
        super().__init__()
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        return apply_dropout(x, self.dropout if self.training else 0.0)
