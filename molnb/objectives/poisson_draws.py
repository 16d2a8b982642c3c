"""How often each molecule counts in each resampled set: a Poisson bootstrap that can be streamed.

In a bootstrap of many molecules each is drawn Poisson(1) times, nearly independently of the others
(Hanley & MacGibbon 2006; Chamandy et al. 2012). Here that number is a function of the draw and of
the molecule's id alone: it depends neither on batches nor on their order, the atoms of a molecule
are drawn together, and every score of a table rests on the same sets.
"""

from __future__ import annotations

from math import exp, factorial

import numpy as np

from ..rng import hash64
from ..shapes import Float, Int, Shaped, UInt8

N_DRAW = 200  # resampled sets; the ends of a 95 % interval are about the fifth from either side
FEWEST_DRAWS = 50  # where there is very much to draw from
LEVEL = 0.95
SEED = 1_000_003  # of nothing but these draws

_BITS = 16  # of a hash for one draw, so that one hash is enough for four
_PER_HASH = 64 // _BITS


def _poisson_table() -> UInt8[np.ndarray, " code"]:
    """Poisson(1) numbers by 16 bits that are evenly distributed (the inverse of its sum)."""
    shares = np.cumsum([exp(-1) / factorial(k) for k in range(12)])
    codes = (np.arange(2**_BITS) + 0.5) / 2**_BITS
    return np.searchsorted(shares, codes).astype(np.uint8)


_POISSON = _poisson_table()


def draw_counts(
    ids: Int[np.ndarray, " mol"], n_draw: int = N_DRAW
) -> UInt8[np.ndarray, "draw mol"]:
    """How often each molecule is in each of the first `n_draw` sets."""
    n_hash = -(-n_draw // _PER_HASH)
    hashes = hash64(np.arange(n_hash)[:, None], state=hash64(SEED, ids))  # hash mol
    shifts = np.arange(_PER_HASH, dtype=np.uint64) * np.uint64(_BITS)
    codes = (hashes[:, None] >> shifts[:, None]) & np.uint64(2**_BITS - 1)
    return _POISSON[codes.reshape(-1, len(ids))[:n_draw]]


def ends(draws: Shaped[np.ndarray, " draw *label"]) -> Float[np.ndarray, " 2 *label"]:
    """The percentiles between which 95 % of the draws that are defined lie; NaN where none is.

    They are numpy's, interpolated between the nearest two.
    """
    shape = draws.shape[1:]
    if not len(draws):
        return np.full((2, *shape), np.nan)
    ordered = np.sort(np.where(np.isfinite(draws), draws, np.nan), 0)  # NaN comes last
    n_defined = np.isfinite(ordered).sum(0)
    found = []
    for share in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2):
        place = share * np.maximum(n_defined - 1, 0)
        below = place.astype(np.int64)
        above = np.minimum(below + 1, np.maximum(n_defined - 1, 0))
        low, high = (np.take_along_axis(ordered, at[None], 0)[0] for at in (below, above))
        found.append(low + (place - below) * (high - low))
    return np.stack(found)
