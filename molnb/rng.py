"""Random numbers that depend on what they are for, not on when they are drawn.

Every number is a hash of (seed, step, sample, item, channel). So noise and masks of a molecule do
not depend on its company in a batch, on the number of processes, or on what was drawn before, and a
resumed run needs no generator state. The mixing function is the finaliser of SplitMix64 (Steele,
Lea, Flood 2014), applied once for each coordinate absorbed.
"""

from __future__ import annotations

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_AT_ONCE = 1 << 16  # numbers of a long list that are hashed together


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 on unsigned 64-bit numbers, which it overwrites."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x ^= x >> np.uint64(31)
    return x


def hash64(*coordinates, state: np.ndarray | None = None) -> np.ndarray:
    """A 64-bit hash of integer coordinates, which broadcast against each other like numpy arrays.

    From `state`, an earlier hash, it goes on: ``hash64(a, b) == hash64(b, state=hash64(a))``.
    """
    state = np.zeros(1, np.uint64) if state is None else state
    with np.errstate(over="ignore"):
        for coordinate in coordinates:
            absorbed = np.asarray(coordinate, np.int64).view(np.uint64) + np.uint64(1)
            state = _mix(state + _GOLDEN * absorbed)
    return state


def uniform(*coordinates, state: np.ndarray | None = None) -> np.ndarray:
    """Uniform numbers in [0, 1), float64, one for each broadcast coordinate.

    `state` is that of `hash64`, here and in `normal`.
    """
    return (hash64(*coordinates, state=state) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(*coordinates, state: np.ndarray | None = None) -> np.ndarray:
    """Standard normal numbers (Box-Muller), float64, one for each broadcast coordinate."""
    state = hash64(*coordinates, state=state)
    radius = np.sqrt(-2.0 * np.log1p(-uniform(0, state=state)))
    return radius * np.cos(2.0 * np.pi * uniform(1, state=state))


def integer_seed(*coordinates: int) -> int:
    """A non-negative 63-bit seed for a library's own generator (torch's, for dropout)."""
    return int(hash64(*coordinates)[0] >> np.uint64(1))


def shuffled(positions: np.ndarray, n: int, seed: int, epoch: np.ndarray | int) -> np.ndarray:
    """Where each position of 0..n-1 lands in a permutation of 0..n-1 chosen by (seed, epoch).

    A four-round Feistel network over the next even number of bits, walked until it lands below n:
    no table, so memory does not grow with n, and a billion molecules are shuffled as easily as ten.
    """
    half = np.uint64(max(1, (int(n - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    value = np.asarray(positions, np.int64).astype(np.uint64)
    epoch = np.broadcast_to(np.asarray(epoch, np.int64), value.shape)
    keys = hash64(np.arange(4)[:, None], state=hash64(seed, epoch))  # turn position
    outside = np.arange(len(value))  # entries that have not landed below n
    while len(outside):
        high = value[outside] >> half
        low = value[outside] & mask
        for key in keys[:, outside]:
            mixed = high ^ (hash64(low.view(np.int64), state=key) & mask)
            high = low
            low = mixed
        value[outside] = (high << half) | low
        outside = outside[value[outside] >= np.uint64(n)]
    return value.astype(np.int64)


def sample_rows(n_row: int, n: int) -> np.ndarray:
    """The n of the rows 0 to n_row - 1 whose number has the smallest hash, ascending.

    A larger sample contains every smaller one. The hash is SplitMix64's own sequence: what a
    sample of a source holds decides the content of shards, so it stays as it is.
    """
    hashes = _mix(np.arange(n_row, dtype=np.uint64) + _GOLDEN)
    return np.sort(np.argpartition(hashes, n - 1)[:n])


def hash_sample(ids: np.ndarray, n: int | None, seed: int = 0) -> np.ndarray:
    """At most n of some ascending ids (None: all), the same ones every time, ascending."""
    if n is None or n >= len(ids):
        return ids
    hashes = np.empty(len(ids), np.uint64)
    for first in range(0, len(ids), _AT_ONCE):  # what hashing needs beside it stays small
        piece = slice(first, first + _AT_ONCE)
        hashes[piece] = hash64(seed, ids[piece])
    # one seed gives no two numbers the same hash (mixing can be undone), so order decides nothing
    return np.sort(ids[np.argpartition(hashes, n - 1)[:n]])
