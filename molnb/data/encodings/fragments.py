"""Fragments: the connected pieces of molecules, found for all molecules together."""

from __future__ import annotations

import numpy as np

from ...shapes import Int


def find_fragments(n_atom: int, bonds: Int[np.ndarray, "bond 2"]) -> Int[np.ndarray, " atom"]:
    """The connected piece that each atom belongs to, numbered in the order of their first atoms.

    Every piece hangs on its lowest atom: pieces that a bond joins are hung on the lower of their
    lowest atoms, until no bond joins two.
    """
    lowest = np.arange(n_atom)
    first, second = np.ascontiguousarray(bonds.T)
    while len(first):
        ends = np.minimum(lowest[first], lowest[second])
        np.minimum.at(lowest, lowest[first], ends)
        np.minimum.at(lowest, lowest[second], ends)
        lowest = _followed(lowest)
        joins = lowest[first] != lowest[second]
        first = first[joins]
        second = second[joins]
    number = np.cumsum(lowest == np.arange(n_atom)) - 1
    return number[lowest]


def _followed(lowest: Int[np.ndarray, " atom"]) -> Int[np.ndarray, " atom"]:
    """The end of the chain of ever lower atoms that begins at each."""
    while True:
        further = lowest[lowest]
        if np.array_equal(further, lowest):
            return lowest
        lowest = further
