"""Multiplications of the two-track encoder by part, for one molecule of n heavy atoms.

Only matrix products are counted, one multiplication with its addition each (two FLOPs); norms,
GELU, softmax and gates are of lower order. They are counted twice over: as the equations stand in
the paper (`plain`), and as they are computed here. The difference is the outer product, whose h²
numbers a pair are never made, and the folded movement head.
"""

from __future__ import annotations

from ..heads import N_TOKEN
from .config import TwoTrackConfig


def count_multiplications(
    config: TwoTrackConfig, n: int, plain: bool = False, hidden_share: float = 0.15
) -> dict[str, int]:
    """Multiplications of a forward pass over one molecule of `n` atoms, by part; FLOPs are twice.

    `hidden_share` of the atoms go through the token head. Without padding, as a molecule is
    computed on a CPU; for a molecule padded to a length, give that length.
    """
    nodes = n + 1  # the virtual node
    pairs = nodes**2
    d_atom = config.d_atom
    d_pair = config.d_pair
    h = config.d_hidden
    head_bias = pairs * d_pair * config.n_head
    outer = _plain_outer(nodes, d_pair, h) if plain else _outer(nodes, d_pair, h)
    layer = {
        "attention": 4 * nodes * d_atom * d_atom + head_bias + 2 * pairs * d_atom,
        "feed-forward": 2 * nodes * d_atom * config.d_ffn,
        "outer product": nodes * d_atom * 2 * h + outer,
        "triangle update": pairs * (4 * d_pair * h + d_pair**2 + h * d_pair) + 2 * nodes**3 * h,
        "pair transition": 2 * pairs * d_pair * d_pair,
    }
    tokens = round(hidden_share * n) * d_atom * (d_atom + N_TOKEN)
    movement = 2 * nodes * d_atom * d_atom + n * n * d_atom + head_bias
    if plain:  # values of full width, mixed for each of three directions, then projected
        movement += nodes * d_atom * d_atom + 3 * n * n * d_atom + 3 * n * d_atom
    else:  # one number a head instead of its values
        movement += nodes * d_atom * config.n_head + 3 * n * n
    return {part: config.n_layer * count for part, count in layer.items()} | {
        "distance kernel": pairs * config.n_kernel * (config.n_kernel + d_pair),
        "heads": tokens + movement,
    }


def _plain_outer(nodes: int, d_pair: int, h: int) -> int:
    """W vec(a_i ⊗ b_j): h² products of a pair, and W of them."""
    return nodes**2 * h * h * (1 + d_pair)


def _outer(nodes: int, d_pair: int, h: int) -> int:
    """W b_j once for each node, then a_i with it for each pair."""
    return nodes * d_pair * h * h + nodes**2 * d_pair * h


def count_training(config: TwoTrackConfig, n: int, hidden_share: float = 0.15) -> dict[str, int]:
    """Multiplications of a training step on one molecule of `n` atoms, by part.

    They are those of the forward pass, of the backward pass (two for each matrix product), and of
    what the backward pass does again: the outer product, the last product of the triangle update
    and the first of the distance kernel, which cost less than keeping their results.
    """
    nodes = n + 1
    repeated = {
        "outer product": config.n_layer * _outer(nodes, config.d_pair, config.d_hidden),
        "triangle update": config.n_layer * nodes**2 * config.d_hidden * config.d_pair,
        "distance kernel": nodes**2 * config.n_kernel**2,
    }
    forward = count_multiplications(config, n, hidden_share=hidden_share)
    return {part: 3 * count + repeated.get(part, 0) for part, count in forward.items()}
