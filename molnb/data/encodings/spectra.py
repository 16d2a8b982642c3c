"""Spectra of Laplacians of connected molecular graphs, and encodings of atoms made of them.

Eigenvectors are unique up to a sign, and within the space of one eigenvalue up to any rotation.
`eigenpairs` fixes the sign by the numbers alone and leaves the rotation as the solver gives it, so
it may change with the numbering of symmetric atoms; `eigengroups` depends on neither.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...shapes import Bool, Float, Int

SAME_EIGENVALUE = 1e-5  # neighbours in the spectrum that are nearer count as one eigenvalue
SKEWED = 1e-6  # a sum of cubes above this is no rounding error
ROUNDING = 1e-12  # an entry below it is zero
NO_NODE = 1e-4  # nor is an entry of a unit vector above this


class Spectrum(NamedTuple):
    """Eigenvalues of symmetric matrices, ascending, and their unit vectors in columns."""

    values: Float[np.ndarray, "graph n"]
    vectors: Float[np.ndarray, "graph n n"]


def make_laplacian(adjacent: Bool[np.ndarray, "graph n n"]) -> Float[np.ndarray, "graph n n"]:
    """D - A in float64: the number of neighbours on the diagonal, -1 for a bond."""
    laplacian = -adjacent.astype(np.float64)
    diagonal = np.arange(adjacent.shape[1])
    laplacian[:, diagonal, diagonal] = adjacent.sum(2)
    return laplacian


def normalised(laplacian: Float[np.ndarray, "graph n n"]) -> Float[np.ndarray, "graph n n"]:
    """I - D^-1/2 A D^-1/2 from D - A; 0 for an atom without bonds."""
    n_neighbour = np.diagonal(laplacian, axis1=1, axis2=2)
    scale = 1 / np.sqrt(np.maximum(n_neighbour, 1))
    return laplacian * scale[:, :, None] * scale[:, None, :]


def eigenpairs(spectrum: Spectrum, n_pair: int) -> Float[np.ndarray, "graph n channel"]:
    """The lowest `n_pair` eigenpairs at every atom: entries of the unit vectors, then the values.

    The first belongs to the eigenvalue 0. Zeros where a graph has fewer atoms than `n_pair`.
    """
    graph, n = spectrum.values.shape
    n_known = min(n, n_pair)
    encoding = np.zeros((graph, n, 2 * n_pair), np.float32)
    encoding[:, :, :n_known] = _without_rounding(_signed(spectrum.vectors[:, :, :n_known]))
    encoding[:, :, n_pair : n_pair + n_known] = _exact_zero(spectrum.values)[:, None, :n_known]
    return encoding


def eigengroups(spectrum: Spectrum, n_pair: int) -> Float[np.ndarray, "graph n channel"]:
    """The lowest `n_pair` eigenvalues at every atom: how much of the atom lies in each, then them.

    An eigenvalue of several vectors takes as many places, and each gets an equal share of the sum
    of their squared entries: of all its vectors, those beyond the last place included. Neither
    signs, nor the choice of vectors, nor the numbering of atoms changes it.
    """
    graph, n = spectrum.values.shape
    n_known = min(n, n_pair)
    group = _groups(spectrum.values)
    is_same = (group[:, :, None] == group[:, None, :n_known]).astype(np.float64)
    shares = is_same / is_same.sum(1, keepdims=True)  # graph, vector, place
    values = np.einsum("gn,gnk->gk", spectrum.values, shares)
    encoding = np.zeros((graph, n, 2 * n_pair), np.float32)
    encoding[:, :, :n_known] = _without_rounding(np.square(spectrum.vectors) @ shares)
    encoding[:, :, n_pair : n_pair + n_known] = _exact_zero(values)[:, None]
    return encoding


def _groups(values: Float[np.ndarray, "graph n"]) -> Int[np.ndarray, "graph n"]:
    """The number of the distinct eigenvalue that each of an ascending row is."""
    is_new = np.diff(values, axis=1, prepend=values[:, :1]) > SAME_EIGENVALUE
    return np.cumsum(is_new, axis=1)


def _without_rounding(entries: Float[np.ndarray, "graph n k"]) -> Float[np.ndarray, "graph n k"]:
    """Entries with exact zeros for what is one but for rounding: it has no digits to lose."""
    return np.where(np.abs(entries) < ROUNDING, 0, entries)


def _exact_zero(values: Float[np.ndarray, "graph n"]) -> Float[np.ndarray, "graph n"]:
    """The values with the lowest, which is 0 for every connected graph, free of rounding."""
    values = values.copy()
    values[:, 0] = 0
    return values


def _signed(vectors: Float[np.ndarray, "graph n k"]) -> Float[np.ndarray, "graph n k"]:
    """The vectors with the sign that makes the sum of their cubes positive.

    That does not depend on the numbering of the atoms. Where the sum is zero, as in a vector that
    a symmetry of the graph takes to its opposite, the first entry that is not zero is positive.
    """
    skew = (vectors * vectors * vectors).sum(1)
    first = (np.abs(vectors) > NO_NODE).argmax(1)
    lead = np.take_along_axis(vectors, first[:, None], 1)[:, 0]
    decisive = np.where(np.abs(skew) > SKEWED, skew, lead)
    return vectors * np.where(decisive < 0, -1.0, 1.0)[:, None]
