"""How fast a device multiplies matrices: what a training can reach at most."""

from __future__ import annotations

import math
import statistics
import time
from functools import cache

import torch

N_ROW = 4096  # of the square matrices
N_ROW_ON_CPU = 512
N_PRODUCT = 10  # between two looks at the clock
ROUNDS = 5
SECONDS = 0.03  # after which no further round begins


@cache
def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a product of large square matrices, once a process: the median of a few rounds.

    With the threads and the precision of products that torch has at the time.
    """
    on_cpu = device.type == "cpu"
    n_row = N_ROW_ON_CPU if on_cpu else N_ROW
    n_product = 1 if on_cpu else N_PRODUCT
    return statistics.median(time_products(device, dtype, n_row, n_product, SECONDS))


def time_products(
    device: torch.device,
    dtype: torch.dtype,
    n_row: int,
    n_product: int = N_PRODUCT,
    seconds: float = math.inf,
) -> list[float]:
    """FLOP/s of products of square matrices, a number a round, until `seconds` are over."""
    draw = torch.Generator().manual_seed(0)  # of our own: what others draw stays as it is
    left, right = (torch.randn(n_row, n_row, generator=draw).to(device, dtype) for _ in range(2))
    out = torch.mm(left, right)  # does not count
    rounds: list[float] = []
    while len(rounds) < ROUNDS and sum(rounds) < seconds:
        _wait(device)
        start = time.perf_counter()
        for _ in range(n_product):
            torch.mm(left, right, out=out)
        _wait(device)
        rounds.append(time.perf_counter() - start)
    return [2 * n_row**3 * n_product / spent for spent in rounds]


def _wait(device: torch.device) -> None:
    """Let a GPU end what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
