"""Where each molecule lies in the flat tracks: nodes one after another, pairs one after another,
hardly any padding.

Both tracks are flat, `[node, d_atom]` and `[pair, d_pair]`, so everything that works on one node or
one pair is a plain matrix product over all of them. What couples nodes (attention, outer product,
triangles) needs squares: molecules of about equal size lie together in a *run*, and a run of m
molecules with n nodes is a view `[m, n, n, ...]` of the flat array. On a CPU a run is padded only
where that costs less than a run more; on a GPU one run holds the whole batch at one padded length,
so that shapes are few. Nodes count the virtual node, which comes first in each molecule.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ...shapes import Bool, Float, Int


class SizeGroup(NamedTuple):
    """`m` molecules of `n` nodes, from this node and this pair of the flat tracks on."""

    m: int
    n: int
    first_node: int
    first_pair: int

    @property
    def nodes(self) -> slice:
        return slice(self.first_node, self.first_node + self.m * self.n)

    @property
    def pairs(self) -> slice:
        return slice(self.first_pair, self.first_pair + self.m * self.n * self.n)


class Layout(NamedTuple):
    """The runs of a batch, and for each molecule (in the order of the batch) where it starts.

    `masked` is -inf for the padding of the padded view; `real_pairs` is None where no run is
    padded. `nodes_of` and `pairs_of` say which cell of the padded view `[mol, node]` and `[mol,
    node, node]` each row of the tracks is; None if they are the same thing. `length` is the number
    of nodes of each molecule that the normalisations use, in the order of the runs.
    """

    runs: tuple[SizeGroup, ...]
    first_node: Int[Tensor, " mol"]
    first_pair: Int[Tensor, " mol"]
    stride: Int[Tensor, " mol"]
    masked: Float[Tensor, "mol 1 1 n_node"]
    real_pairs: Bool[Tensor, " pair"] | None
    nodes_of: Int[Tensor, " node"] | None
    pairs_of: Int[Tensor, " pair"] | None
    length: Float[Tensor, " mol"]

    @property
    def n_pair(self) -> int:
        """Rows of the pair track."""
        last = self.runs[-1]
        return last.first_pair + last.m * last.n * last.n

    def walk(self) -> Iterator[tuple[SizeGroup, slice]]:
        """Each run with its molecules, as a slice of everything that is in the order of the
        runs.
        """
        start = 0
        for run in self.runs:
            yield run, slice(start, start + run.m)
            start += run.m

    def per_node(self, values: Float[Tensor, " mol"]) -> Float[Tensor, " node"]:
        """A number of each molecule, in the order of the runs, for each of its nodes."""
        parts = [
            values[mols].repeat_interleave(run.n, output_size=run.m * run.n)
            for run, mols in self.walk()
        ]
        return torch.cat(parts)

    def take_nodes(self, padded: Tensor) -> Tensor:
        """`[mol, node, ...]` of the batch as rows of the atom track."""
        flat = padded.flatten(0, 1)
        return flat if self.nodes_of is None else flat.index_select(0, self.nodes_of)

    def take_pairs(self, padded: Tensor) -> Tensor:
        """`[mol, node, node, ...]` of the batch as rows of the pair track."""
        flat = padded.flatten(0, 2)
        return flat if self.pairs_of is None else flat.index_select(0, self.pairs_of)

    def spread_nodes(self, rows: Tensor) -> Tensor:
        """Rows of the atom track as `[mol, node, ...]` in the order of the batch; padding holds
        no meaning.
        """
        mol, n = self.masked.shape[0], self.masked.shape[-1]
        return _spread(rows, self.nodes_of, mol * n).unflatten(0, (mol, n))

    def spread_pairs(self, rows: Tensor) -> Tensor:
        """Rows of the pair track as `[mol, node, node, ...]`, likewise."""
        mol, n = self.masked.shape[0], self.masked.shape[-1]
        return _spread(rows, self.pairs_of, mol * n * n).unflatten(0, (mol, n, n))


def _spread(rows: Tensor, place: Tensor | None, size: int) -> Tensor:
    return (
        rows if place is None else rows.new_zeros(size, *rows.shape[1:]).index_copy(0, place, rows)
    )


def _masked(real: Bool[Tensor, "mol n_node"]) -> Float[Tensor, "mol 1 1 n_node"]:
    return torch.zeros(real.shape, device=real.device).masked_fill(~real, float("-inf"))[
        :, None, None
    ]


def padded_layout(real: Bool[Tensor, "mol n_node"], padded_norm: bool) -> Layout:
    """One run of the whole batch at its padded length."""
    mol, n = real.shape
    every = torch.arange(mol, device=real.device)
    run = SizeGroup(mol, n, 0, 0)
    length = (
        torch.full((mol,), float(n), device=real.device) if padded_norm else real.sum(1).float()
    )
    starts = every * n, every * n * n, torch.full_like(every, n)
    both = (real[:, :, None] & real[:, None, :]).flatten()
    return Layout((run,), *starts, _masked(real), both, None, None, length)


def packed_layout(real: Bool[Tensor, "mol n_node"], padded_norm: bool, slack: int = 0) -> Layout:
    """Runs of about equal size, the largest first; 0 as `slack` pads nothing. Reads the sizes, so
    for the CPU.

    Smaller molecules join a run while its padding stays below `slack` pairs: what a run of their
    own would cost.
    """
    sizes = real.sum(1)
    order = torch.argsort(sizes, descending=True, stable=True)
    longest = real.shape[1]
    runs, nodes, pairs = [], [], []
    node = pair = taken = 0
    first_node, first_pair, stride = (torch.empty_like(sizes) for _ in range(3))
    for n, m in _group(sizes[order].tolist(), slack):
        mols, place = order[taken : taken + m], torch.arange(n)
        first_node[mols] = node + n * torch.arange(m)
        first_pair[mols] = pair + n * n * torch.arange(m)
        stride[mols] = n
        cell = (mols[:, None] * longest + place).flatten()
        nodes.append(cell)
        pairs.append((cell.view(m, n, 1) * longest + place).flatten())
        runs.append(SizeGroup(m, n, node, pair))
        node, pair, taken = node + m * n, pair + m * n * n, taken + m
    length = torch.full((len(order),), float(longest)) if padded_norm else sizes[order].float()
    places = torch.cat(nodes), torch.cat(pairs)
    both = (real[:, :, None] & real[:, None, :]).flatten()[places[1]]
    both = None if slack == 0 or bool(both.all()) else both
    return Layout(tuple(runs), first_node, first_pair, stride, _masked(real), both, *places, length)


def _group(sizes: list[int], slack: int) -> list[tuple[int, int]]:
    """Descending sizes as runs: nodes, and how many molecules."""
    runs: list[list[int]] = []
    padding = 0
    for size in sizes:
        padding += runs[-1][0] ** 2 - size**2 if runs else 0
        if runs and padding <= slack:
            runs[-1][1] += 1
        else:
            runs.append([size, 1])
            padding = 0
    return [(n, m) for n, m in runs]
