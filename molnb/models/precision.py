"""How many digits numbers are kept in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """A tensor in float32, or as it is where it is wider: bf16 would lose what is small."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
