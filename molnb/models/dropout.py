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
from torch.nn import functional as F

from ..errors import InputError
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
    if torch.compiler.is_compiling():
        return torch.rand(shape, device=device) >= dropout
    if device.type != "cpu":  # written once, where `rand` would write four bytes an entry first
        return torch.empty(shape, dtype=torch.bool, device=device).bernoulli_(1 - dropout)
    return _draws(shape) >= _threshold(dropout)


def _draws(shape: tuple[int, ...]) -> Tensor:
    """Numbers of 16 bits on the CPU, even over -32768 to 32767, from the thread's generator."""
    generator = getattr(_of_thread, "generator", None)
    count = torch.Size(shape).numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64)
    bits.random_(-(2**63), 2**63 - 1, generator=generator)
    return bits.view(torch.int16)[:count].view(shape)


def _threshold(dropout: float) -> int:
    """The lowest draw that is kept."""
    return round(dropout * 65536) - 32768


def apply_dropout(x: Tensor, dropout: float) -> Tensor:
    """Entries dropped with this probability, the others scaled up; the masks of `keep_mask`."""
    if not dropout:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, dropout)
    return x * keep_factors(x.shape, dropout, x.dtype).mul_(1 / (1 - dropout))


def keep_factors(shape: tuple[int, ...], dropout: float, dtype: torch.dtype) -> Tensor:
    """`keep_mask` on the CPU as ones and zeros to multiply by, in a quarter of a choice's time."""
    factors = torch.empty(shape, dtype=dtype)
    return torch.ge(_draws(shape), _threshold(dropout), out=factors)


def kept(x: Tensor, keep: Bool[Tensor, "*shape"], dropout: float, in_place: bool = False) -> Tensor:
    """Entries of x that a mask keeps, scaled up, and zeros; `in_place` may overwrite x.

    A step of a gradient that is written out: automatic differentiation is not asked.
    """
    scale = 1 / (1 - dropout)
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.ops.aten.native_dropout_backward(x, keep, scale)  # one pass over x
    # seen as bytes: a product with a mask of bool converts the mask first
    masked = x.mul_(keep.view(torch.uint8)) if in_place else x * keep.view(torch.uint8)
    return masked.mul_(scale)


def check_dropout(name: str, dropout: float) -> None:
    """Raise InputError for a probability to drop an entry that leaves none, or is none."""
    if not 0 <= dropout < 1:
        raise InputError(f"{name} is {dropout}: give a share from 0 to below 1")


class Dropout(nn.Module):
    """`apply_dropout` while a network trains, nothing in evaluation."""

    def __init__(self, dropout: float):
        super().__init__()
        self.dropout = dropout

    @property
    def current(self) -> float:
        """The probability to drop an entry as things are: 0 in evaluation."""
        return self.dropout if self.training else 0.0

    def forward(self, x: Tensor) -> Tensor:
        return apply_dropout(x, self.current)
