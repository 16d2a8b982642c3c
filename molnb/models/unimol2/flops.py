"""Where the work goes: multiplications of the two-track encoder by part, for one molecule of n
heavy atoms.

Only matrix products are counted, one multiplication with its addition each (two FLOPs); norms,
GELU, softmax and gates are of lower order. They are counted twice over: as the equations stand in
the paper (`plain`), and as they are computed here. The difference is the outer product, whose h²
numbers a pair are never made, and the folded movement head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import TwoTrackConfig

PARTS = (
    "attention",
    "feed-forward",
    "outer product",
    "triangle update",
    "pair transition",
    "distance kernel",
    "heads",
)
N_TOKEN = 128  # logits of the token head


def count_multiplications(
    config: TwoTrackConfig, n: int, plain: bool = False, hidden_share: float = 0.15
) -> dict[str, int]:
    """Multiplications of one forward pass over a molecule of `n` atoms, by part; FLOPs are twice as
    many.

    `hidden_share` of the atoms go through the token head. Without padding, as a molecule is
    computed on a CPU; for a molecule padded to a length, give that length.
    """
    c, nodes = config, n + 1
    pairs, d, p, h = nodes**2, config.d_atom, config.d_pair, config.d_hidden
    layer = {
        "attention": 4 * nodes * d * d + pairs * p * c.n_head + 2 * pairs * d,
        "feed-forward": 2 * nodes * d * c.d_ffn,
        "outer product": nodes * d * 2 * h + (_plain_outer if plain else _outer)(nodes, p, h),
        "triangle update": pairs * (4 * p * h + p * p + h * p) + 2 * nodes**3 * h,
        "pair transition": 2 * pairs * p * p,
    }
    tokens = round(hidden_share * n) * d * (d + N_TOKEN)
    movement = 2 * nodes * d * d + n * n * d + pairs * p * c.n_head
    movement += (
        nodes * d * d + 3 * n * n * d + 3 * n * d if plain else nodes * d * c.n_head + 3 * n * n
    )
    return {part: c.n_layer * count for part, count in layer.items()} | {
        "distance kernel": pairs * c.n_kernel * (c.n_kernel + p),
        "heads": tokens + movement,
    }


def _plain_outer(nodes: int, p: int, h: int) -> int:
    """W vec(a_i ⊗ b_j): h² products of a pair, and W of them."""
    return nodes**2 * h * h * (1 + p)


def _outer(nodes: int, p: int, h: int) -> int:
    """W b_j once for each node, then a_i with it for each pair."""
    return nodes * p * h * h + nodes**2 * p * h


def count_training(config: TwoTrackConfig, n: int, hidden_share: float = 0.15) -> dict[str, int]:
    """Multiplications of a training step on one molecule, by part: forward, backward, and what
    backward does again.

    The backward pass of a matrix product is two of them. Done again are the outer product, the last
    product of the triangle update and the first of the distance kernel, which cost less than
    keeping their results.
    """
    nodes, p, h, n_layer = n + 1, config.d_pair, config.d_hidden, config.n_layer
    again = {
        "outer product": n_layer * _outer(nodes, p, h),
        "triangle update": n_layer * nodes**2 * h * p,
    }
    again["distance kernel"] = nodes**2 * config.n_kernel**2
    forward = count_multiplications(config, n, hidden_share=hidden_share)
    return {part: 3 * count + again.get(part, 0) for part, count in forward.items()}
