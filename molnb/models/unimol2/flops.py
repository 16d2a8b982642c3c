"""Multiplications of the two-track encoder by part, for one molecule of n heavy atoms.

Only matrix products are counted, one multiplication with its addition each (two FLOPs); norms,
GELU, softmax and gates are of lower order. They stand in one list with their shapes
(`track_products`, `view_products`), from which FLOPs and bytes of any group of molecules follow.
They are counted twice over: as the equations stand in the paper (`plain`), and as they are computed
here. The difference is the outer product, whose h² numbers a pair are never made, and the folded
movement head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ...shapes import Int
from ..heads import token_products
from ..products import (
    Cost,
    CostBySize,
    Product,
    multiplications_by_part,
    repeated,
    unlearnt,
)
from .config import TwoTrackConfig

FLOAT32 = 4  # bytes of the distance kernel's numbers, also where the rest is bf16


class Planned(NamedTuple):
    """Sizes a group of molecules is computed at, in nodes: of both tracks, and of padded views."""

    groups: Sequence[tuple[int, int]]  # nodes of each molecule, molecules
    length: int


def track_products(
    config: TwoTrackConfig,
    n_mol: int,
    nodes: int,
    first_learning: int = 0,
    last_pairs: bool = True,
) -> list[Product]:
    """Products on rows of both tracks, of some molecules with so many nodes (the virtual one too).

    Blocks below `first_learning` (0 embeds) learn nothing. Without `last_pairs` the last block
    leaves pairs as they are.
    """
    depths = _Depths.of(config, first_learning)
    of_atoms = _atom_half(config, n_mol, nodes)
    of_pairs = _pair_half(config, n_mol, nodes)
    n_frozen_pairs = min(depths.frozen, config.n_layer - (not last_pairs))
    n_pairs = config.n_layer - (not last_pairs) - n_frozen_pairs
    kernel = _kernel(config, n_mol * nodes**2)
    return [
        *repeated(unlearnt(of_atoms), depths.frozen),
        *repeated(_first_to_learn(of_atoms), depths.first),
        *repeated(of_atoms, depths.others),
        *repeated(unlearnt(of_pairs), n_frozen_pairs),
        *repeated(of_pairs, n_pairs),
        *(unlearnt(kernel) if first_learning else kernel),
    ]


def view_products(
    config: TwoTrackConfig, n_mol: int, nodes: int, first_learning: int = 0
) -> list[Product]:
    """Products of attention, which a group computes at one padded length."""
    depths = _Depths.of(config, first_learning)
    attention = _attend("attention", config, n_mol, nodes)
    mix = attention._replace(k=nodes, n=attention.k)
    return [
        *repeated(unlearnt([attention, mix]), depths.frozen),
        *repeated([attention, mix], depths.first + depths.others),
    ]


def movement_products(config: TwoTrackConfig, n_mol: int, nodes: int) -> list[Product]:
    """Products of the movement head on rows of both tracks."""
    d_atom = config.d_atom
    columns = 2 * d_atom + config.n_head  # one number a head instead of its values
    return [
        Product("heads", n_mol * nodes, d_atom, columns),
        Product("heads", n_mol * nodes**2, config.d_pair, config.n_head),
    ]


def movement_view_products(
    config: TwoTrackConfig, n_mol: int, nodes: int, item_size: int = FLOAT32
) -> list[Product]:
    """Products of the movement head on padded views; displacements, of `item_size`, are data."""
    n = nodes - 1
    pull = Product("heads", 1, n, 3, times=n_mol * n, gradients=1, item_size=item_size)
    return [_attend("heads", config, n_mol, n), pull]


def _attend(part: str, config: TwoTrackConfig, n_mol: int, n: int) -> Product:
    """Logits of attention among n nodes: queries with keys, head by head."""
    return Product(part, n, config.d_atom // config.n_head, n, times=n_mol * config.n_head)


def _atom_half(config: TwoTrackConfig, n_mol: int, nodes: int) -> list[Product]:
    """Products of a block that the atom track gains by."""
    rows = n_mol * nodes
    d_atom = config.d_atom
    return [
        Product("attention", rows, d_atom, 3 * d_atom),
        _bias(config, n_mol, nodes),
        Product("attention", rows, d_atom, d_atom),
        Product("feed-forward", rows, d_atom, config.d_ffn),
        Product("feed-forward", rows, config.d_ffn, d_atom),
    ]


def _bias(config: TwoTrackConfig, n_mol: int, nodes: int) -> Product:
    return Product("attention", n_mol * nodes**2, config.d_pair, config.n_head)


def _first_to_learn(products: list[Product]) -> list[Product]:
    """The atom half of a block below which all is frozen: the pairs it reads are data."""
    of_atoms, bias, *others = products
    return [of_atoms, bias._replace(gradients=1), *others]


def _pair_half(config: TwoTrackConfig, n_mol: int, nodes: int) -> list[Product]:
    """Products of a block that the pair track gains by.

    What the backward pass does again costs less than keeping its result.
    """
    rows = n_mol * nodes
    pairs = n_mol * nodes**2
    d_pair = config.d_pair
    h = config.d_hidden
    return [
        Product("outer product", rows, config.d_atom, 2 * h),
        Product("outer product", rows, h, d_pair * h, again=1),  # W b_j once for each node
        # a_i with it for each pair
        Product("outer product", nodes, h, nodes * d_pair, times=n_mol, again=1),
        Product("triangle update", pairs, d_pair, 4 * h),
        Product("triangle update", pairs, d_pair, d_pair),
        Product("triangle update", nodes, nodes, nodes, times=2 * n_mol * h),
        Product("triangle update", pairs, h, d_pair, again=1),
        Product("pair transition", pairs, d_pair, d_pair),
        Product("pair transition", pairs, d_pair, d_pair),
    ]


def _kernel(config: TwoTrackConfig, pairs: int) -> list[Product]:
    n_kernel = config.n_kernel
    inner = Product("distance kernel", pairs, n_kernel, n_kernel, again=1, item_size=FLOAT32)
    return [inner, inner._replace(n=config.d_pair, again=0)]


class _Depths(NamedTuple):
    """How many blocks are frozen, are the first to learn above frozen ones, are others."""

    frozen: int
    first: int
    others: int

    @classmethod
    def of(cls, config: TwoTrackConfig, first_learning: int) -> _Depths:
        frozen = max(first_learning - 1, 0)
        first = int(0 < first_learning <= config.n_layer)
        return cls(frozen, first, config.n_layer - frozen - first)


def count_multiplications(
    config: TwoTrackConfig, n: int, plain: bool = False, hidden_share: float = 0.15
) -> dict[str, int]:
    """Multiplications of a forward pass over one molecule of `n` atoms, by part; FLOPs are twice.

    `hidden_share` of the atoms go through the token head. Without padding, as a molecule is
    computed on a CPU; for a molecule padded to a length, give that length.
    """
    parts = multiplications_by_part(_all_products(config, n, hidden_share))
    if plain:
        parts["outer product"] += config.n_layer * _outer_saved(config, n + 1)
        parts["heads"] += _movement_saved(config, n)
    return parts


def count_training(config: TwoTrackConfig, n: int, hidden_share: float = 0.15) -> dict[str, int]:
    """Multiplications of a training step on one molecule of `n` atoms, by part.

    They are those of the forward pass, of the backward pass (two for each matrix product that reads
    no data), and of what the backward pass does again: the outer product, the last product of the
    triangle update and the first of the distance kernel, which cost less than keeping their
    results.
    """
    return multiplications_by_part(_all_products(config, n, hidden_share), training=True)


def _all_products(config: TwoTrackConfig, n: int, hidden_share: float) -> list[Product]:
    """Products of encoder and masking heads over one molecule."""
    nodes = n + 1  # the virtual node
    return [
        *track_products(config, 1, nodes),
        *view_products(config, 1, nodes),
        *token_products(round(hidden_share * n), config.d_atom),
        *movement_products(config, 1, nodes),
        *movement_view_products(config, 1, nodes),
    ]


def _outer_saved(config: TwoTrackConfig, nodes: int) -> int:
    """What W vec(a_i ⊗ b_j) takes more: h² products of a pair, and W of them."""
    h = config.d_hidden
    plain = nodes**2 * h * h * (1 + config.d_pair)
    return plain - nodes * config.d_pair * h * h - nodes**2 * config.d_pair * h


def _movement_saved(config: TwoTrackConfig, n: int) -> int:
    """What values of full width take more, mixed for each of three directions, then projected."""
    nodes = n + 1
    d_atom = config.d_atom
    plain = nodes * d_atom * d_atom + 3 * n * n * d_atom + 3 * n * d_atom
    return plain - nodes * d_atom * config.n_head - 3 * n * n


class TwoTrackCounter:
    """Counts training on a group: products on tracks and on views, at the sizes of a plan.

    Both are functions of a number of molecules and their nodes; `plan` says, of molecules with so
    many atoms, which sizes they are computed at.
    """

    def __init__(
        self,
        on_tracks: Callable[[int, int], Sequence[Product]],
        on_views: Callable[[int, int], Sequence[Product]],
        plan: Callable[[Int[np.ndarray, " mol"]], Planned],
        item_size: int,
    ):
        self._tracks = CostBySize(on_tracks, item_size)
        self._views = CostBySize(on_views, item_size)
        self._plan = plan

    def __call__(
        self, n_atoms: Int[np.ndarray, " mol"], n_bonds: Int[np.ndarray, " mol"] | None = None
    ) -> Cost:
        nodes = n_atoms + 1
        useful = self._tracks(nodes).sum(0) + self._views(nodes).sum(0)
        planned = self._plan(n_atoms)
        sizes, n_mols = np.array(planned.groups).T
        computed = n_mols @ self._tracks(sizes)
        computed = computed + len(nodes) * self._views(np.array([planned.length]))[0]
        flops, n_byte = (useful + self._tracks.once).tolist()
        more_flops, more_byte = (computed - useful).tolist()
        return Cost(flops, more_flops, n_byte, more_byte)


def encoder_counter(
    config: TwoTrackConfig,
    first_learning: int,
    last_pairs: bool,
    plan: Callable[[Int[np.ndarray, " mol"]], Planned],
    item_size: int,
) -> TwoTrackCounter:
    """What counts training of the encoder; see `track_products`."""
    on_tracks = partial(
        track_products, config, first_learning=first_learning, last_pairs=last_pairs
    )
    on_views = partial(view_products, config, first_learning=first_learning)
    return TwoTrackCounter(on_tracks, on_views, plan, item_size)


def movement_counter(
    config: TwoTrackConfig,
    plan: Callable[[Int[np.ndarray, " mol"]], Planned],
    item_size: int,
    wide_size: int,
) -> TwoTrackCounter:
    """What counts training of the movement head, whose displacements are `wide_size` bytes wide."""
    on_tracks = partial(movement_products, config)
    on_views = partial(movement_view_products, config, item_size=wide_size)
    return TwoTrackCounter(on_tracks, on_views, plan, item_size)
