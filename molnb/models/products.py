"""Matrix products of a network by their shapes, and the FLOPs and bytes that follow from them.

A network says its products as a list, for so many molecules of a size, or for so many rows. FLOPs
(two a multiplication) and bytes (of both operands and the result) are sums over the list, so they
are worked out once a size, and a group of molecules costs a few additions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ..data.masked import MaskedBatch
from ..shapes import Int


class Product(NamedTuple):
    """`times` products of matrices [m, k] and [k, n], and how often training makes each again.

    The gradient of an operand is a product of the same three sizes: there are two `gradients`, one
    where an operand is data, none where nothing below learns. What the backward pass computes
    `again` was not kept. `item_size` is in bytes, where it is not that of the network's precision.
    """

    part: str
    m: int
    k: int
    n: int
    times: int = 1
    gradients: int = 2
    again: int = 0
    item_size: int | None = None

    @property
    def multiplications(self) -> int:
        """Multiplications of the forward pass."""
        return self.times * self.m * self.k * self.n

    @property
    def numbers(self) -> int:
        """Numbers that the forward pass reads and writes."""
        return self.times * (self.m * self.k + self.k * self.n + self.m * self.n)

    @property
    def n_pass(self) -> int:
        """How many products of these sizes a training step makes of this one."""
        return 1 + self.gradients + self.again


def repeated(products: Iterable[Product], n: int) -> list[Product]:
    """The same products n times, as in n layers that are alike."""
    return [product._replace(times=n * product.times) for product in products]


def unlearnt(products: Iterable[Product]) -> list[Product]:
    """The same products where nothing learns: there is no backward pass."""
    return [product._replace(gradients=0, again=0) for product in products]


def multiplications_by_part(products: Iterable[Product], training: bool = False) -> dict[str, int]:
    """Multiplications of a forward pass, or of a training step, by part."""
    parts: dict[str, int] = {}
    for product in products:
        n_pass = product.n_pass if training else 1
        count = n_pass * product.multiplications
        parts[product.part] = parts.get(product.part, 0) + count
    return parts


class Cost(NamedTuple):
    """FLOPs, and bytes read and written, of training on some molecules; those of padding apart."""

    flops: int = 0
    padding_flops: int = 0
    bytes: int = 0
    padding_bytes: int = 0


GroupCounter = Callable[[Int[np.ndarray, " mol"], Int[np.ndarray, " mol"]], Cost]
BatchCounter = Callable[[MaskedBatch], Cost]


def add_costs(costs: Iterable[Cost]) -> Cost:
    """The sum of costs."""
    return Cost(*map(sum, zip(Cost(), *costs)))


def training_cost(products: Iterable[Product], item_size: int) -> Int[np.ndarray, " cost"]:
    """FLOPs and bytes of products in a training step; numbers are `item_size` bytes wide."""
    flops = 0
    n_byte = 0
    for product in products:
        flops += 2 * product.n_pass * product.multiplications
        n_byte += product.n_pass * product.numbers * (product.item_size or item_size)
    return np.array([flops, n_byte], np.int64)


class CostByRows:
    """What a training step costs by numbers of rows: so much once, and so much for each row."""

    def __init__(self, products: Callable[..., Sequence[Product]], n_kind: int, item_size: int):
        kinds = np.eye(n_kind, dtype=int).tolist()
        self.once = training_cost(products(*[0] * n_kind), item_size)
        of_one = [training_cost(products(*kind), item_size) for kind in kinds]
        self.each = np.stack(of_one) - self.once

    def __call__(self, *rows: int) -> Int[np.ndarray, " cost"]:
        """FLOPs and bytes of so many rows of each kind."""
        return self.once + np.array(rows, np.int64) @ self.each


class CostBySize:
    """What a training step costs by sizes of molecules: so much `once`, so much for each molecule.

    Of two molecules of a size, reading the weights costs no more than of one.
    """

    def __init__(self, products: Callable[[int, int], Sequence[Product]], item_size: int):
        self._of_size = lambda n_mol, size: training_cost(products(n_mol, size), item_size)
        self._table = np.zeros((1, 2), np.int64)
        self.once = 2 * self._of_size(1, 1) - self._of_size(2, 1)

    def __call__(self, sizes: Int[np.ndarray, " mol"]) -> Int[np.ndarray, "mol cost"]:
        """FLOPs and bytes of molecules of these sizes, without what is spent once."""
        largest = int(sizes.max(initial=0))
        if largest >= len(self._table):
            new = range(len(self._table), largest + 1)
            rows = [self._of_size(2, size) - self._of_size(1, size) for size in new]
            self._table = np.concatenate([self._table, rows])
        return self._table[sizes]
