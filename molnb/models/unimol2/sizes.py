"""Sizes of two-track models: the paper's six, and families for laptops and for a GPU.

N, the size that scaling laws speak of, leaves out what does not grow with the work of the model:
embedding tables (tokens, features, degrees, bonds, shortest paths, virtual atom and pair), the
distance kernel and the heads. The total counts them, as the authors do.
"""

from __future__ import annotations

from .config import TwoTrackConfig


def _paper(n_layer: int, d_atom: int) -> TwoTrackConfig:
    """A size of the paper: heads 16 wide, pairs 512, a feed-forward as wide as the atoms."""
    return TwoTrackConfig(
        n_layer, d_atom, n_head=d_atom // 16, d_ffn=d_atom, d_pair=512, d_hidden=64
    )


# Table 2 of arXiv 2406.14969; its name is the total. There are no released weights of 42m.
PAPER: dict[str, TwoTrackConfig] = {
    "42m": _paper(6, 768),
    "84m": _paper(12, 768),
    "164m": _paper(24, 768),
    "310m": _paper(32, 1024),
    "570m": _paper(32, 1536),
    "1100m": _paper(64, 1536),
}


def make_laptop(n_layer: int) -> TwoTrackConfig:
    """A laptop size from its depth: as many heads as layers, each 16 wide.

    So depth and width grow together. Pairs are half as wide as atoms and their hidden width is an
    eighth, so the pair track grows too. (In the paper it is 512 at every size, so that the smallest
    model costs almost what the largest costs a layer.) N grows as the third power of the depth and
    a little faster. No dropout: these models see their data a few times at most.
    """
    d = 16 * n_layer
    return TwoTrackConfig(
        n_layer,
        d_atom=d,
        n_head=n_layer,
        d_ffn=d,
        d_pair=d // 2,
        d_hidden=d // 8,
        n_kernel=64,
        dropout=0.0,
        attention_dropout=0.0,
        pair_dropout=0.0,
    )


# The name is N; the number of layers says all.
LAPTOP: dict[str, TwoTrackConfig] = {
    "0m002": make_laptop(1),
    "0m017": make_laptop(2),
    "0m056": make_laptop(3),
    "0m1": make_laptop(4),
    "0m25": make_laptop(5),
    "0m5": make_laptop(6),
    "1m": make_laptop(8),
    "2m": make_laptop(10),
    "5m": make_laptop(13),
    "10m": make_laptop(16),
}


def make_scaled(n_layer: int) -> TwoTrackConfig:
    """A size in the proportions of the paper's 84M from its depth; of 12 layers it is that.

    Heads are 16 wide as there; pairs and their hidden width shrink with the atoms. No dropout.
    """
    d = 64 * n_layer
    return TwoTrackConfig(
        n_layer,
        d_atom=d,
        n_head=d // 16,
        d_ffn=d,
        d_pair=8 * round(16 * n_layer / 3),
        d_hidden=4 * round(4 * n_layer / 3),
        dropout=0.0,
        attention_dropout=0.0,
        pair_dropout=0.0,
    )


# The name is N, as above. The last is the paper's 84M, whose tables and heads N leaves out.
GPU: dict[str, TwoTrackConfig] = {
    "1m": make_scaled(3),
    "2m": make_scaled(4),
    "9m": make_scaled(6),
    "31m": make_scaled(9),
    "81m": make_scaled(12),
}


def readable_size(size: str) -> str:
    """A size as people write it: 0.25M for 0m25, 84M for 84m, 1.1B for 1100m."""
    millions, _, decimals = size.partition("m")
    if decimals:
        return f"{millions}.{decimals}M"
    return f"{int(millions) / 1000:g}B" if int(millions) >= 1000 else f"{millions}M"


def find_paper_size(config: TwoTrackConfig) -> str | None:
    """The paper's name (42m to 1100m) of these widths and this depth; None for another size."""
    fields = ("n_layer", "d_atom", "n_head", "d_ffn", "d_pair", "d_hidden", "n_kernel")
    for size, published in PAPER.items():
        if all(getattr(published, name) == getattr(config, name) for name in fields):
            return size
    return None
