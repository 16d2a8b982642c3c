"""Where each molecule lies in the flat tracks: molecules of about equal size side by side.

Read this module first, then `pair_ops` (the steps on such tracks), `pair_autograd` (the updates
made of these steps), `layers` (their parameters) and `encoder`.

Both tracks are flat, `[node, d_atom]` and `[pair, d_pair]`, so everything that works on one node or
one pair is a plain matrix product over all of them. What couples nodes (attention, outer product,
triangles) needs squares: molecules of about equal size lie together in a *size group*, and a group
of m molecules with n nodes is a view `[m, n, n, ...]` of the flat array. On a CPU a group is padded
only where that costs less than one more group; on a GPU one group holds the whole batch at one
padded length, so that shapes are few. Nodes count the virtual node, which comes first in each
molecule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ...data.batch import real_pairs
from ...shapes import Bool, Float, Int

# Compiled code is made for each padded length; they go up in eights, dropout on and off are apart,
# and so is a last block that leaves pairs as they are.
MAX_GRAPHS = 128


def mark_shapes(arrays: Iterable[Tensor]) -> None:
    """Tell torch.compile that the number of molecules varies, and a padded length does not.

    Arrays begin with the axis of molecules, or of the rows of all. Each length is worth code of its
    own.
    """
    for array in arrays:
        torch._dynamo.maybe_mark_dynamic(array, 0)
        torch._dynamo.mark_static(array, list(range(1, array.ndim)))


class SizeGroup(NamedTuple):
    """Molecules that are computed at one length, and where they begin in the flat tracks."""

    n_mol: int
    n_node: int  # of each molecule, padding included
    first_node: int
    first_pair: int

    @property
    def nodes(self) -> slice:
        """The group's rows of the atom track."""
        return slice(self.first_node, self.first_node + self.n_mol * self.n_node)

    @property
    def pairs(self) -> slice:
        """The group's rows of the pair track."""
        return slice(self.first_pair, self.first_pair + self.n_mol * self.n_node * self.n_node)


class Layout(NamedTuple):
    """The size groups of a batch, and where each molecule of the batch lies in the flat tracks.

    Two orders of molecules occur: that of the batch (`first_node`, `first_pair`, `stride`,
    `key_mask`) and that of the groups (`length`). The padded view is `[mol, n_node, ...]` in the
    order of the batch.
    """

    groups: tuple[SizeGroup, ...]
    first_node: Int[Tensor, " mol"]  # row of a molecule's first node in the atom track
    first_pair: Int[Tensor, " mol"]  # row of its first pair in the pair track
    stride: Int[Tensor, " mol"]  # pair rows from one node of it to the next
    key_mask: Float[Tensor, "mol 1 1 n_node"]  # -inf for the padding of the padded view, else 0
    real_pairs: Bool[Tensor, " pair"] | None  # None where no group is padded
    node_cells: Int[Tensor, " node"] | None  # cell of the padded view that a row is; None: the same
    pair_cells: Int[Tensor, " pair"] | None  # likewise for pairs, cells `[mol, n_node, n_node]`
    length: Float[Tensor, " mol"]  # number of nodes that normalisations divide by

    @property
    def n_pair(self) -> int:
        """Rows of the pair track."""
        group = self.groups[-1]
        return group.first_pair + group.n_mol * group.n_node * group.n_node

    def walk(self) -> Iterator[tuple[SizeGroup, slice]]:
        """Yields each group, and which molecules it holds as a slice in the order of the groups."""
        start = 0
        for group in self.groups:
            yield group, slice(start, start + group.n_mol)
            start += group.n_mol

    def per_node(self, values: Float[Tensor, " mol"]) -> Float[Tensor, " node"]:
        """A number of each molecule, in the order of the groups, for each of its nodes."""
        parts = []
        for group, molecules in self.walk():
            size = group.n_mol * group.n_node  # stated, or torch would read it back from a GPU
            parts.append(values[molecules].repeat_interleave(group.n_node, output_size=size))
        return torch.cat(parts)

    def take_nodes(self, padded: Tensor) -> Tensor:
        """`[mol, n_node, ...]` of the batch as rows of the atom track."""
        cells = padded.flatten(0, 1)
        return cells if self.node_cells is None else cells.index_select(0, self.node_cells)

    def take_pairs(self, padded: Tensor) -> Tensor:
        """`[mol, n_node, n_node, ...]` of the batch as rows of the pair track."""
        cells = padded.flatten(0, 2)
        return cells if self.pair_cells is None else cells.index_select(0, self.pair_cells)

    def spread_nodes(self, rows: Tensor) -> Tensor:
        """Rows of the atom track as `[mol, n_node, ...]` of the batch; padding has no meaning."""
        n_mol, n_node = self._padded_shape()
        cells = _spread(rows, self.node_cells, n_mol * n_node)
        return cells.unflatten(0, (n_mol, n_node))

    def spread_pairs(self, rows: Tensor) -> Tensor:
        """Rows of the pair track as `[mol, n_node, n_node, ...]`; padding has no meaning."""
        n_mol, n_node = self._padded_shape()
        cells = _spread(rows, self.pair_cells, n_mol * n_node * n_node)
        return cells.unflatten(0, (n_mol, n_node, n_node))

    def _padded_shape(self) -> tuple[int, int]:
        return self.key_mask.shape[0], self.key_mask.shape[-1]


def _spread(rows: Tensor, cells: Tensor | None, n_cell: int) -> Tensor:
    if cells is None:
        return rows
    return rows.new_zeros(n_cell, *rows.shape[1:]).index_copy(0, cells, rows)


def _key_mask(real: Bool[Tensor, "mol n_node"]) -> Float[Tensor, "mol 1 1 n_node"]:
    zeros = torch.zeros(real.shape, device=real.device)
    return zeros.masked_fill(~real, float("-inf"))[:, None, None]


def padded_layout(real: Bool[Tensor, "mol n_node"], padded_norm: bool) -> Layout:
    """Layout of the whole batch as one group at its padded length.

    With `padded_norm` the normalisations divide by the padded length, else by a molecule's own.
    """
    n_mol, n_node = real.shape
    if padded_norm:
        length = torch.full((n_mol,), float(n_node), device=real.device)
    else:
        length = real.sum(1).float()
    return _one_group(real, length)


def remake_padded(
    key_mask: Float[Tensor, "mol 1 1 n_node"], length: Float[Tensor, " mol"]
) -> Layout:
    """A padded layout once more, from two of its arrays, within code that is compiled.

    Its sizes come from shapes. Those of a layout that is given to such code from outside become
    symbols there that torch cannot hand to functions with gradients of their own.
    """
    return _one_group(key_mask[:, 0, 0] == 0, length)


def _one_group(real: Bool[Tensor, "mol n_node"], length: Float[Tensor, " mol"]) -> Layout:
    n_mol, n_node = real.shape
    numbers = torch.arange(n_mol, device=real.device)
    return Layout(
        groups=(SizeGroup(n_mol, n_node, first_node=0, first_pair=0),),
        first_node=numbers * n_node,
        first_pair=numbers * n_node * n_node,
        stride=torch.full_like(numbers, n_node),
        key_mask=_key_mask(real),
        real_pairs=real_pairs(real).flatten(),
        node_cells=None,
        pair_cells=None,
        length=length,
    )


def packed_layout(real: Bool[Tensor, "mol n_node"], padded_norm: bool, slack: int = 0) -> Layout:
    """Layout in groups of about equal size, the largest molecules first; `slack` 0 pads nothing.

    Smaller molecules join a group while its padding stays below `slack` pairs: what a group of
    their own would cost. Sizes of molecules are read as numbers, so this is for the CPU.
    `padded_norm` as in `padded_layout`.
    """
    sizes = real.sum(1)  # mol
    order = torch.argsort(sizes, descending=True, stable=True)  # batch order, largest first
    longest = real.shape[1]
    first_node = torch.empty_like(sizes)
    first_pair = torch.empty_like(sizes)
    stride = torch.empty_like(sizes)
    groups = []
    node_cells = []
    pair_cells = []
    group = SizeGroup(n_mol=0, n_node=0, first_node=0, first_pair=0)
    start = 0
    for n_node, n_mol in group_sizes(sizes[order].tolist(), slack):
        # each group begins where the one before it ends
        group = SizeGroup(n_mol, n_node, group.nodes.stop, group.pairs.stop)
        groups.append(group)
        molecules = order[start : start + n_mol]
        start += n_mol
        first_node[molecules] = group.first_node + n_node * torch.arange(n_mol)
        first_pair[molecules] = group.first_pair + n_node * n_node * torch.arange(n_mol)
        stride[molecules] = n_node
        # cell (molecule, i) of the padded view is row molecule * longest + i once it is flat
        positions = torch.arange(n_node)
        nodes = (molecules[:, None] * longest + positions).flatten()
        node_cells.append(nodes)
        # and cell (molecule, i, j) is row (molecule * longest + i) * longest + j
        pair_cells.append((nodes.view(n_mol, n_node, 1) * longest + positions).flatten())
    cells_of_pairs = torch.cat(pair_cells)
    is_real = real_pairs(real).flatten()[cells_of_pairs]
    no_padding = slack == 0 or bool(is_real.all())
    if padded_norm:
        length = torch.full((len(order),), float(longest))
    else:
        length = sizes[order].float()
    return Layout(
        groups=tuple(groups),
        first_node=first_node,
        first_pair=first_pair,
        stride=stride,
        key_mask=_key_mask(real),
        real_pairs=None if no_padding else is_real,
        node_cells=torch.cat(node_cells),
        pair_cells=cells_of_pairs,
        length=length,
    )


def group_sizes(sizes: list[int], slack: int) -> list[tuple[int, int]]:
    """Descending sizes as groups: the length of each, and how many molecules it holds."""
    groups: list[list[int]] = []
    padding = 0  # pairs of the last group that hold no meaning
    for size in sizes:
        padding += groups[-1][0] ** 2 - size**2 if groups else 0
        if groups and padding <= slack:
            groups[-1][1] += 1
        else:
            groups.append([size, 1])
            padding = 0
    return [(n_node, n_mol) for n_node, n_mol in groups]
