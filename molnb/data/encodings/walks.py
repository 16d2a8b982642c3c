"""Random walks along bonds: every step goes to any neighbour of an atom with equal probability.

The matrix of the walk is P = D^-1 A. S = D^-1/2 A D^-1/2 has the same diagonal in every power and
is symmetric, so powers of S are what is computed: P^k = D^-1/2 S^k D^1/2. Nothing is subtracted in
them, so float32 keeps all its digits but one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...shapes import Bool, Float


def symmetric_step(
    adjacent: Bool[np.ndarray, "graph n n"], whole: Bool[np.ndarray, " graph"]
) -> Float[np.ndarray, "graph n n"]:
    """S, one step of the walk made symmetric.

    An atom without bonds stays where it is if it is a molecule (`whole`); beside other fragments
    it has no probabilities, and its row is zero.
    """
    if adjacent.shape[1] == 1:
        return whole.astype(np.float32)[:, None, None]
    scale = (1 / np.sqrt(adjacent.sum(2))).astype(np.float32)
    return adjacent * scale[:, :, None] * scale[:, None, :]


def return_probabilities(
    powers: Sequence[Float[np.ndarray, "graph n n"]], n_step: int
) -> Float[np.ndarray, "graph n step"]:
    """The probability of being back after 1 to `n_step` steps: diag(P^k), from powers of S.

    Half as many powers as steps, rounded up, are enough: as they are symmetric, the diagonal of
    S^(a+b) is the sum over the rows of S^a times S^b, entry by entry.
    """
    graph, n, _ = powers[0].shape
    encoding = np.empty((graph, n, n_step), np.float32)
    encoding[:, :, 0] = np.diagonal(powers[0], axis1=1, axis2=2)
    for k in range(2, n_step + 1):
        first = powers[k // 2 - 1]
        second = powers[k - k // 2 - 1]
        encoding[:, :, k - 1] = np.einsum("gij,gij->gi", first, second)
    return encoding


def transitions(
    powers: Sequence[Float[np.ndarray, "graph n n"]], adjacent: Bool[np.ndarray, "graph n n"]
) -> Float[np.ndarray, "graph n n step"]:
    """The probability of being at another atom (second) after 1, 2, ... steps from one (first)."""
    graph, n, _ = adjacent.shape
    root = np.sqrt(np.maximum(adjacent.sum(2), 1))
    scale = root[:, None, :] / root[:, :, None]
    encoding = np.empty((graph, n, n, len(powers)), np.float32)
    for step, power in enumerate(powers):
        np.multiply(power, scale, out=encoding[..., step])
    return encoding
