"""Bonds as resistors of 1 Ω: potentials and the times that a random walk takes."""

from __future__ import annotations

import numpy as np

from ...shapes import Bool, Float


def pseudoinverse(laplacian: Float[np.ndarray, "graph n n"]) -> Float[np.ndarray, "graph n n"]:
    """The pseudoinverse of the Laplacians of connected graphs.

    The vector of ones is all that such a Laplacian takes to zero: with its projection 1/n added it
    can be inverted, and 1/n is taken away again.
    """
    share = 1 / laplacian.shape[1]
    inverse = np.linalg.inv(laplacian + share) - share
    return (inverse + inverse.transpose(0, 2, 1)) / 2


def electrostatic(inverse: Float[np.ndarray, "graph n n"]) -> Float[np.ndarray, "graph n n"]:
    """The potential at an atom (first), less that at the charged one (second): L+_ij - L+_jj."""
    return inverse - np.diagonal(inverse, axis1=1, axis2=2)[:, None, :]


def commute(
    inverse: Float[np.ndarray, "graph n n"], adjacent: Bool[np.ndarray, "graph n n"]
) -> Float[np.ndarray, "graph n n"]:
    """Steps that a random walk takes on average from an atom to another and back.

    vol (L+_ii + L+_jj - 2 L+_ij), where vol is twice the number of bonds of the connected graph.
    """
    diagonal = np.diagonal(inverse, axis1=1, axis2=2)
    resistance = diagonal[:, :, None] + diagonal[:, None, :] - 2 * inverse
    volume = adjacent.sum((1, 2))
    return volume[:, None, None] * resistance
