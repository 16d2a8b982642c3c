"""Which rows of the two-track encoder's embedding tables training has read, and what they mean.

A row that no training molecule reads would stay at its random start and disturb a molecule that
reads it later. So the encoder keeps count of the rows that training read, and in evaluation all
others are zero: an element, chirality or path that was never seen contributes nothing, and is
named. The exception is the distance kernel: its rows of an unseen element keep the initial stretch
(but for weight decay), so that distances to such an atom are still read.

A run that starts from another inherits what that one has seen. Where the embeddings are frozen
nothing is added: a row that cannot learn says no more than before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...data.batch import MolBatch, pad, real_pairs
from ...data.crops import select
from ...shapes import Bool, Float, Int
from ...vocabulary import ATOM_VALUES, BOND_VALUES, CHIRALITY_PARITIES, SYMBOLS
from ..heads import N_TOKEN
from .inputs import (
    FIRST_ATOM_ROW,
    FIRST_BOND_ROW,
    FIRST_DEGREE_ROW,
    FIRST_HOP_ROW,
    HIDDEN_HOP_ROW,
    HIDDEN_ROW,
    MASK_TOKEN,
    N_BOND_VALUE,
    N_DEGREE,
    N_FEATURE,
    N_HOP,
    NO_BOND_ROW,
    ROWS_A_COLUMN,
    UNREACHABLE_HOP_ROW,
    EncoderInputs,
)

TABLES = {
    "tokens": N_TOKEN,
    "features": N_FEATURE,
    "degrees": N_DEGREE,
    "bonds": N_BOND_VALUE,
    "hops": N_HOP,
}
LONGEST_PATH = UNREACHABLE_HOP_ROW - FIRST_HOP_ROW - 1  # bonds, that a row stands for

# Some rows of the tables: table -> for each row whether it is among them.
RowMasks = Mapping[str, Bool[np.ndarray, " row"]]


class SeenRows(nn.Module):
    """The rows of each table that training has read; stored with the weights.

    Of an encoder that nobody has trained yet all rows count as seen.
    """

    tables = tuple(TABLES)

    def __init__(self):
        super().__init__()
        for table, n_row in TABLES.items():
            self.register_buffer(table, torch.ones(n_row, dtype=torch.bool))

    def reset(self) -> None:
        """Count from here on: no row has been read."""
        for table in TABLES:
            self.get_buffer(table).fill_(False)

    def mark(self, inputs: EncoderInputs, bond_rows: Int[Tensor, "63 3"]) -> None:
        """Count the rows that a batch reads as seen; `bond_rows` are those of each kind of bond."""
        kinds = torch.zeros(len(bond_rows), dtype=torch.bool, device=bond_rows.device)
        kinds[inputs.bond_kind] = True
        rows_read = {
            "tokens": inputs.tokens,
            "features": inputs.feats,
            "degrees": inputs.degree,
            "bonds": bond_rows[kinds],
            "hops": inputs.hops,
        }
        for table, rows in rows_read.items():
            self.get_buffer(table)[rows] = True

    def mask(self, table: str) -> Float[Tensor, "row 1"]:
        """One for the rows of a table that training has read, zero for the others."""
        return self.get_buffer(table).float()[:, None]

    def unseen(self, parity: bool = True) -> RowMasks:
        """The rows that mean something and that training never read."""
        masks = {}
        for table, names in row_names(parity).items():
            has_meaning = np.zeros(TABLES[table], bool)
            has_meaning[list(names)] = True
            masks[table] = has_meaning & ~self.get_buffer(table).cpu().numpy()
        return masks


@cache
def row_names(parity: bool = True) -> dict[str, dict[int, str]]:
    """What each row of the embedding tables stands for: table -> row -> "feature: value".

    `parity` says whether the encoder reads the parity of centres, or else RDKit's chirality tag.
    """
    tokens = {number: f"element: {symbol}" for number, symbol in enumerate(SYMBOLS, 1)}
    tokens[MASK_TOKEN] = "hidden: element"
    features = {HIDDEN_ROW: "hidden: features"}
    for column, (feature, values) in enumerate(ATOM_VALUES):
        if parity and feature == "chirality":
            values = CHIRALITY_PARITIES
        # Each column of features has 16 rows of its own, in the order of its values.
        for row, value in enumerate(values, FIRST_ATOM_ROW + ROWS_A_COLUMN * column):
            features[row] = f"{feature}: {value}"
    bonds = {HIDDEN_ROW: "hidden: bond", NO_BOND_ROW: "bond type: no bond"}
    for column, (feature, values) in enumerate(BOND_VALUES):
        for row, value in enumerate(values, FIRST_BOND_ROW + ROWS_A_COLUMN * column):
            bonds[row] = f"{feature}: {value}"
    degrees = {HIDDEN_ROW: "hidden: degree"}
    for n in range(N_DEGREE - FIRST_DEGREE_ROW):
        degrees[FIRST_DEGREE_ROW + n] = f"heavy neighbours: {n}"
    hops = {FIRST_HOP_ROW + n: f"path: {n} bonds" for n in range(LONGEST_PATH + 1)}
    hops[UNREACHABLE_HOP_ROW] = "path: none"
    hops[HIDDEN_HOP_ROW] = "hidden: path"
    return {
        "tokens": tokens,
        "features": features,
        "degrees": degrees,
        "bonds": bonds,
        "hops": hops,
    }


def names_of_rows(masks: RowMasks, parity: bool = True) -> list[str]:
    """Rows by name, each as "feature: value"; all paths above the longest that is no row as one."""
    names = []
    for table, name_of_row in row_names(parity).items():
        names += [name for row, name in name_of_row.items() if masks[table][row]]
    longest = longest_path(masks)
    if longest == LONGEST_PATH:
        return names
    longer = {f"path: {n} bonds" for n in range(longest + 1, LONGEST_PATH + 1)}
    return [name for name in names if name not in longer] + [f"path: over {longest} bonds"]


def longest_path(unseen: RowMasks) -> int:
    """The longest shortest path (bonds) that is not among the unseen; -1 if all are."""
    lengths = np.flatnonzero(~unseen["hops"][FIRST_HOP_ROW:UNREACHABLE_HOP_ROW])
    return int(lengths[-1]) if len(lengths) else -1


def degrees(batch: MolBatch) -> Int[np.ndarray, " atom"]:
    """Bonds of each atom of a flat batch, to the atoms that the batch has."""
    return torch.bincount(batch.bond_ends().flatten(), minlength=len(batch.numbers)).numpy()


class TableLookup(NamedTuple):
    """The row of one table that each atom, or each bond, of a batch reads."""

    table: str
    rows: Int[np.ndarray, " item"]
    level: str


def table_lookups(batch: MolBatch, parity: bool = True) -> Iterator[TableLookup]:
    """The rows that a batch (on the CPU) reads, but for those of paths."""
    feats = batch.feats.numpy().astype(np.int64)
    bond_feats = batch.bond_feats.numpy().astype(np.int64)
    yield TableLookup("tokens", batch.numbers.numpy().astype(np.int64), "atom")
    yield TableLookup("degrees", degrees(batch) + FIRST_DEGREE_ROW, "atom")
    for column in range(len(ATOM_VALUES)):
        # An encoder that reads the parity (column 8) has it in the place of the tag (column 0).
        values = feats[:, 8] if column == 0 and parity else feats[:, column]
        yield TableLookup("features", values + FIRST_ATOM_ROW + ROWS_A_COLUMN * column, "atom")
    for column in range(len(BOND_VALUES)):
        rows = bond_feats[:, column] + FIRST_BOND_ROW + ROWS_A_COLUMN * column
        yield TableLookup("bonds", rows, "bond")


def unseen_in(unseen: RowMasks, batch: MolBatch, parity: bool = True) -> list[tuple[str, ...]]:
    """The unseen features of each molecule of a batch (on the CPU), by name."""
    if not any(mask.any() for mask in unseen.values()):
        return [()] * batch.n_mol
    # Dictionaries and not sets, to keep the order.
    features: list[dict[str, None]] = [{} for _ in range(batch.n_mol)]
    names = row_names(parity)
    mol_of_item = {"atom": batch.mol_of_atom().numpy(), "bond": batch.mol_of_bond().numpy()}
    for table, rows, level in table_lookups(batch, parity):
        for item in np.flatnonzero(unseen[table][rows]):
            name = names[table].get(int(rows[item]), "")
            features[mol_of_item[level][item]][name] = None
    longest_seen = longest_path(unseen)
    for paths in _long_or_broken(batch, longest_seen):
        if paths.longest > longest_seen:
            features[paths.mol][f"path: over {longest_seen} bonds"] = None
        if paths.broken and unseen["hops"][UNREACHABLE_HOP_ROW]:
            features[paths.mol]["path: none"] = None
    return [tuple(names_of_mol) for names_of_mol in features]


class _Paths(NamedTuple):
    """The longest shortest path of a molecule (bonds), and whether two of its atoms have none."""

    mol: int
    longest: int
    broken: bool


def _long_or_broken(batch: MolBatch, longest_seen: int) -> list[_Paths]:
    """Paths of the molecules that may hold a longer one than was seen, or fall in pieces."""
    n_atom = batch.n_atoms.numpy()
    is_end = degrees(batch) == 1
    n_end = np.bincount(batch.mol_of_atom().numpy()[is_end], minlength=batch.n_mol)
    # A path visits an atom once, and two end atoms at most: few molecules are left to look at.
    most_bonds = np.minimum(n_atom - 1, n_atom - n_end + 1)
    in_pieces = (batch.n_bonds < batch.n_atoms - 1).numpy()
    mols = torch.from_numpy(np.flatnonzero((most_bonds > longest_seen) | in_pieces))
    if not len(mols):
        return []
    view = pad(select(batch, mols))
    without_path = (view.hops < 0) & real_pairs(view.real)
    longest = view.hops.flatten(1).amax(1)
    broken = without_path.flatten(1).any(1)
    return [_Paths(*row) for row in zip(mols.tolist(), longest.tolist(), broken.tolist())]
