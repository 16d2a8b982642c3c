"""Random numbers that depend on what they are for, not on when they are drawn.

Every number is a hash of (seed, step, sample, item, channel). So noise and masks of a molecule do not depend on its
company in a batch, on the number of processes, or on what was drawn before, and a resumed run needs no generator state.
The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood 2014), applied once for each coordinate absorbed.
"""

from __future__ import annotations

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hash64(*coordinates) -> np.ndarray:
    """A 64-bit hash of integer coordinates, which broadcast against each other like numpy arrays."""
    state = np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):
        for coordinate in coordinates:
            absorbed = np.asarray(coordinate, np.int64).view(np.uint64) + np.uint64(1)
            state = _mix(state + _GOLDEN * absorbed)
    return state


def uniform(*coordinates) -> np.ndarray:
    """Uniform numbers in [0, 1), float64, one for each broadcast coordinate."""
    return (hash64(*coordinates) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(*coordinates) -> np.ndarray:
    """Standard normal numbers (Box-Muller), float64, one for each broadcast coordinate."""
    radius = np.sqrt(-2.0 * np.log1p(-uniform(*coordinates, 0)))
    return radius * np.cos(2.0 * np.pi * uniform(*coordinates, 1))


def integer_seed(*coordinates: int) -> int:
    """A non-negative 63-bit seed for a library's own generator (torch's, for dropout)."""
    return int(hash64(*coordinates)[0] >> np.uint64(1))


def shuffled(positions: np.ndarray, n: int, seed: int, epoch: np.ndarray | int) -> np.ndarray:
    """Where each position of 0..n-1 lands in a permutation of 0..n-1 chosen by (seed, epoch), without a table.

    A four-round Feistel network over the next even number of bits, walked until it lands below n: memory does not grow
    with n, so a billion molecules are shuffled as easily as ten.
    """
    half = np.uint64(max(1, (int(n - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    value = np.asarray(positions, np.int64).astype(np.uint64)
    epoch = np.broadcast_to(np.asarray(epoch, np.int64), value.shape)
    todo = np.ones(value.shape, bool)
    while todo.any():
        left, right = value[todo] >> half, value[todo] & mask
        for turn in range(4):
            left, right = right, left ^ (hash64(seed, epoch[todo], turn, right.view(np.int64)) & mask)
        value[todo] = (left << half) | right
        todo &= value >= np.uint64(n)
    return value.astype(np.int64)
