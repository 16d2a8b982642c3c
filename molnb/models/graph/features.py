"""Atoms and bonds as a graph network reads them: small integers, each a few columns of numbers.

A feature is a table with a row for each value of an integer that shards keep; no one-hot matrix of
atoms is ever made, since the first linear layer of a network turns each table into one of its own
width. The set `toymix` is Graphium's (arXiv 2310.04292), 85 columns of an atom and 13 of a bond in
its order; `wide` adds what else is known of elements, hydrogens, hybridisation, handedness, rings
and conjugation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from ...errors import InputError, did_you_mean
from ...periodic_table import (
    COVALENT_RADII,
    ELECTRONEGATIVITIES,
    MASSES,
    N_GROUP,
    N_PERIOD,
    VAN_DER_WAALS_RADII,
    group_of,
    period_of,
)
from ...shapes import Float, UInt8
from ...vocabulary import SYMBOLS

FEATURES = ("toymix", "wide")
ELEMENT = -1  # the source of a feature that comes from the atomic number
N_NUMBER = 128  # atomic numbers that tables have rows for; 0 is a hidden atom
# Columns of `atom_feats`.
DEGREE, CHARGE, HYDROGENS, RADICALS, HYBRIDISATION, AROMATIC, RING, PARITY = range(1, 9)
VALENCE, SMALLEST_RING, LARGEST_RING, RINGS = range(9, 13)
# Columns of `bond_feats`.
BOND_TYPE, BOND_STEREO, CONJUGATED, BOND_RING = range(4)
N_BOND_VALUE = (5, 6, 2, 2)
# The elements that have a column of their own in Graphium, in its order; others share the last.
OWN_COLUMN = (
    "C N O S F Si P Cl Br Mg Na Ca Fe As Al I B V K Tl Yb Sb Sn Ag Pd Co Se Ti Zn H Li Ge Cu Au Ni "
    "Cd In Mn Zr Cr Pt Hg Pb"
).split()
# The column of each stereo value that shards keep (none Z E CIS TRANS ANY); Graphium's order is
# none any Z E cis trans, and a seventh for others.
STEREO_COLUMN = (0, 2, 3, 4, 5, 1)
_N_DEGREE = 12
_N_RING_SIZE = 256
_CARBON = 6


class Feature(NamedTuple):
    """Columns that are read off one integer of an atom or bond: a row for each value it can take.

    `source` is the column of `atom_feats` or `bond_feats`, or `ELEMENT`.
    """

    name: str
    source: int
    table: Float[np.ndarray, "value column"]


def check_features(name: str) -> None:
    """Raise InputError for a set of features that there is not."""
    if name not in FEATURES:
        raise InputError(
            f"model.features is {name!r}{did_you_mean(str(name), FEATURES)}: choose "
            f"{' or '.join(FEATURES)}"
        )


@cache
def atom_features(features: str) -> tuple[Feature, ...]:
    """The features of atoms of a set, in the order of their columns."""
    numbers = range(1, N_NUMBER)
    narrow = (
        _scalar("neighbours", DEGREE, [n - 2 for n in range(_N_DEGREE)]),
        _scalar("charge", CHARGE, [*range(-5, 6), 0]),
        _scalar("radical electrons", RADICALS, range(6)),
        _scalar("aromatic atom", AROMATIC, range(2)),
        _scalar("ring atom", RING, range(2)),
        _of_elements("element", [_own_column(z) for z in numbers], len(OWN_COLUMN) + 1),
        _of_elements("group", [group_of(min(z, 118)) - 1 for z in numbers], N_GROUP + 1),
        _of_elements("period", [period_of(min(z, 118)) - 1 for z in numbers], N_PERIOD + 1),
        _one_hot("valence", VALENCE, [min(v, 7) for v in range(16)], 8),
    )
    if features == "toymix":
        return narrow
    of_size = [*([0] * 3), *range(1, 7), *([7] * (_N_RING_SIZE - 9))]
    return (
        *narrow,
        _element_scalar("mass", [None if m is None else m / 10 for m in MASSES]),
        _element_scalar("covalent radius", COVALENT_RADII),
        _element_scalar("van der Waals radius", VAN_DER_WAALS_RADII),
        _element_scalar("electronegativity", ELECTRONEGATIVITIES),
        _scalar("hydrogens", HYDROGENS, range(10)),
        _scalar("rings", RINGS, range(16)),
        _one_hot("hybridisation", HYBRIDISATION, range(6), 6),
        _one_hot("parity", PARITY, range(3), 3),
        _one_hot("smallest ring", SMALLEST_RING, of_size, 8),  # none, 3 to 8 atoms, larger
        _one_hot("largest ring", LARGEST_RING, of_size, 8),
    )


@cache
def bond_features(features: str) -> tuple[Feature, ...]:
    """The features of bonds of a set, in the order of their columns."""
    narrow = (
        _one_hot("bond type", BOND_TYPE, range(5), 5),
        _one_hot("bond stereo", BOND_STEREO, STEREO_COLUMN, len(STEREO_COLUMN) + 1),
        _scalar("ring bond", BOND_RING, range(2)),
    )
    if features == "toymix":
        return narrow
    return (*narrow, _scalar("conjugated bond", CONJUGATED, range(2)))


def n_column(features: Sequence[Feature]) -> int:
    """How many columns features have together."""
    return sum(feature.table.shape[1] for feature in features)


def column_values(
    feature: Feature,
    integers: UInt8[np.ndarray, "row feat"],
    numbers: UInt8[np.ndarray, " row"] | None = None,
) -> Float[np.ndarray, "row column"]:
    """The columns of a feature of atoms (with their atomic numbers) or of bonds."""
    values = numbers if feature.source == ELEMENT else integers[:, feature.source]
    return feature.table[values]


@cache
def bond_kinds(features: str) -> Float[np.ndarray, "kind column"]:
    """The columns of every kind of bond: each combination of the integers, numbered by `kind_of`.

    There are so few that a network works on kinds and not on bonds.
    """
    values = np.indices(N_BOND_VALUE).reshape(len(N_BOND_VALUE), -1)
    columns = [feature.table[values[feature.source]] for feature in bond_features(features)]
    return np.concatenate(columns, 1)


def _own_column(number: int) -> int:
    """The column of an element among those of `OWN_COLUMN`; the last for others."""
    symbol = SYMBOLS[number - 1] if number <= len(SYMBOLS) else ""
    return OWN_COLUMN.index(symbol) if symbol in OWN_COLUMN else len(OWN_COLUMN)


def _scalar(name: str, source: int, values: Iterable[int]) -> Feature:
    """A feature of one column: a number for each value."""
    return Feature(name, source, np.array(values, np.float32)[:, None])


def _one_hot(name: str, source: int, columns: Sequence[int], width: int) -> Feature:
    """A feature that is one in one column, by value, and zero elsewhere."""
    return Feature(name, source, np.eye(width, dtype=np.float32)[list(columns)])


def _of_elements(name: str, columns: Sequence[int], width: int) -> Feature:
    """A feature of the elements 1, 2, ...; of hidden atoms (number 0) it is zero everywhere."""
    table = np.zeros((N_NUMBER, width), np.float32)
    table[1:] = np.eye(width, dtype=np.float32)[list(columns)]
    return Feature(name, ELEMENT, table)


def _element_scalar(name: str, values: Sequence[float | None]) -> Feature:
    """A number of each element less that of carbon; zero where none is known, or it is hidden."""
    table = np.zeros((N_NUMBER, 1), np.float32)
    carbon = values[_CARBON - 1]
    for number, value in enumerate(values, 1):
        if value is not None:
            table[number] = value - carbon
    return Feature(name, ELEMENT, table)
