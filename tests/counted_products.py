"""What torch multiplies while something runs: FLOPs and bytes of every matrix product."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten
# where both factors stand among the arguments of an operation
_PRODUCTS = {aten.mm: 0, aten.bmm: 0, aten.addmm: 1, aten.baddbmm: 1, aten.baddbmm_: 1}


class _Bytes(TorchDispatchMode):
    """Adds up what matrix products read and write."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        first = _PRODUCTS.get(function.overloadpacket)
        if first is not None:
            for matrix in (*args[first : first + 2], result):
                self.total += matrix.numel() * matrix.element_size()
        return result


class Counted(NamedTuple):
    """What torch saw: FLOPs, and bytes but for those of attention in one kernel."""

    flops: int
    bytes: int


def count_products(work: Callable[[], object]) -> Counted:
    """FLOPs of the matrix products in `work()`, as torch's own counter sees them, and bytes."""

    def of_baddbmm(_, a: torch.Size, b: torch.Size, **__) -> int:
        return 2 * prod(a) * b[-1]

    def of_attention(query: torch.Size, *_, **__) -> int:
        mol, head, n, d_head = query
        return 2 * 2 * mol * head * n * n * d_head

    def of_attention_backward(_, query: torch.Size, *__, **___) -> int:
        return 2 * of_attention(query)  # what a kernel repeats is its own business

    # the counter overlooks products that are added in place, and the CPU's attention
    mapping = {
        aten.baddbmm_: of_baddbmm,
        aten._scaled_dot_product_flash_attention_for_cpu: of_attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: of_attention_backward,
    }
    with FlopCounterMode(display=False, custom_mapping=mapping) as flops, _Bytes() as n_byte:
        work()
    return Counted(flops.get_total_flops(), n_byte.total)
