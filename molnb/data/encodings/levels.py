"""Encodings of one level carried over to another: atoms to bonds and pairs, pairs to atoms.

Pairs are all ordered pairs of atoms of a molecule, an atom with itself too, row by row, as
`data.batch.square_index` counts them. Statistics over pairs leave out those without a path where
`known` says so.
"""

from __future__ import annotations

import numpy as np

from ...shapes import Bool, Float, Int, Shaped
from .stacks import Molecules, molecules_by_size

N_STATISTIC = 6  # numbers at an atom for each number at its pairs


def all_pairs(molecules: Molecules) -> Int[np.ndarray, "pair 2"]:
    """Both atoms of every ordered pair, counted over all molecules."""
    n_partner = molecules.n_atoms[molecules.mol_of_atom]
    first = np.repeat(np.arange(len(n_partner)), n_partner)
    start = molecules.first_atom[molecules.mol_of_atom[first]]
    second = start + np.arange(len(first)) - molecules.first_pair[first]
    return np.stack([first, second], 1)


def between_ends(
    values: Float[np.ndarray, "atom channel"], ends: Int[np.ndarray, "k 2"]
) -> Float[np.ndarray, "k width"]:
    """Of atoms to bonds or pairs: the sum over both ends, then the size of their difference."""
    first = values[ends[:, 0]]
    second = values[ends[:, 1]]
    return np.concatenate([first + second, np.abs(first - second)], 1)


def pairs_to_bonds(
    values: Float[np.ndarray, "pair channel"], molecules: Molecules, symmetric: bool
) -> Float[np.ndarray, "bond width"]:
    """Of the pair that a bond joins; where (i, j) and (j, i) differ both, the bond's order first.

    A network that sends messages both ways along a bond swaps the halves on the way back.
    """
    first, second = molecules.bonds.T
    forth = values[molecules.pairs(first, second)]
    if symmetric:
        return forth
    back = values[molecules.pairs(second, first)]
    return np.concatenate([forth, back], 1)


def pairs_to_atoms(
    values: Float[np.ndarray, "pair channel"],
    molecules: Molecules,
    known: Bool[np.ndarray, " pair"] | None = None,
) -> Float[np.ndarray, "atom width"]:
    """Minimum, mean and standard deviation over an atom's pairs: six numbers a channel.

    Each statistic has all channels, each channel first the pairs (any, atom), then (atom, any).
    """
    width = N_STATISTIC * values.shape[1]
    encoding = np.empty((len(molecules.mol_of_atom), width), np.float32)
    for atoms in molecules_by_size(molecules):
        index = molecules.pairs(atoms[:, :, None], atoms[:, None, :])
        square = values[index].astype(np.float64)  # mol n n channel
        of_square = np.ones(index.shape, bool) if known is None else known[index]
        columns = _statistics(square.swapaxes(1, 2), of_square.swapaxes(1, 2))
        rows = _statistics(square, of_square)
        both = np.stack([columns, rows], -1)  # mol n statistic channel 2
        encoding[atoms] = both.reshape(*atoms.shape, width)
    return encoding


def _statistics(
    values: Float[np.ndarray, "mol n n channel"], known: Bool[np.ndarray, "mol n n"]
) -> Float[np.ndarray, "mol n statistic channel"]:
    """Minimum, mean and standard deviation of what is known in each row."""
    known = known[..., None]
    count = known.sum(2)
    minimum = np.where(known, values, np.inf).min(2)
    mean = np.where(known, values, 0).sum(2) / count
    deviation = np.where(known, values - mean[:, :, None], 0)
    spread = np.sqrt(np.square(deviation).sum(2) / count)
    return np.stack([minimum, mean, spread], 2)


def atoms_to_molecules(
    values: Float[np.ndarray, "atom channel"], molecules: Molecules
) -> Float[np.ndarray, "mol width"]:
    """The sum over the atoms of each molecule, then the mean."""
    total = np.zeros((len(molecules.n_atoms), values.shape[1]))
    np.add.at(total, molecules.mol_of_atom, values)
    mean = total / np.maximum(molecules.n_atoms, 1)[:, None]
    return np.concatenate([total, mean], 1).astype(np.float32)


def to_atoms(
    values: Shaped[np.ndarray, "mol channel"], molecules: Molecules
) -> Shaped[np.ndarray, "atom channel"]:
    """Of a molecule to each of its atoms."""
    return values[molecules.mol_of_atom]
