"""Finds the operations of a computation that give subnormal numbers, at which processors crawl."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SMALLEST_NORMAL = torch.finfo(torch.float32).tiny


def count_subnormals(tensor: torch.Tensor) -> int:
    """How many numbers of a float32 tensor are below the smallest normal one, but not zero."""
    magnitude = tensor.detach().abs()
    return int(((magnitude > 0) & (magnitude < SMALLEST_NORMAL)).sum())


class SubnormalCounter(TorchDispatchMode):
    """Counts, in `of_operation`, the subnormal numbers in float32 results of each operation.

    Of the thread that enters it, the backward pass included.
    """

    def __init__(self):
        super().__init__()
        self.of_operation: Counter[str] = Counter()
        self.n_result = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None) -> Any:
        result = operation(*args, **(kwargs or {}))
        # not what lies in memory that nobody has filled, nor another view of it
        if "empty" not in operation.__name__ and not operation.is_view:
            for tensor in tree_leaves(result):
                if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32:
                    self.n_result += 1
                    count = count_subnormals(tensor)
                    if count:
                        self.of_operation[operation.__name__] += count
        return result
