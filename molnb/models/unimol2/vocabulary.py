"""Which rows of the two-track encoder's embedding tables training has asked for, and what they
mean.

A row that no training molecule asks for would stay at its random start and disturb whoever asks for
it later. So the encoder keeps count of the rows that training asked for, and in evaluation all
others are zero: an element, chirality or path that was never seen contributes nothing, and is
named. The exception is the distance kernel: its rows of an unseen element keep the initial stretch
(but for weight decay), so that distances to such an atom are still read.

A run that starts from another inherits what that one has seen. Where the embeddings are frozen
nothing is added: a row that cannot learn says no more than before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...data.batch import MolBatch, pad
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
_LONGER = re.compile(r"path: over (\d+) bonds")

Rows = Mapping[str, Bool[np.ndarray, " row"]]  # table -> one truth value a row


class SeenRows(nn.Module):
    """The rows of each table that training has asked for; stored with the weights.

    Of an encoder that nobody has trained yet, all rows count as seen: its weights are what they
    are.
    """

    tables = tuple(TABLES)

    def __init__(self):
        super().__init__()
        for table, n_row in TABLES.items():
            self.register_buffer(table, torch.ones(n_row, dtype=torch.bool))

    def reset(self) -> None:
        """Count from here on: no row was asked for."""
        for table in TABLES:
            self.get_buffer(table).fill_(False)

    def mark(self, inputs: EncoderInputs, bond_rows: Int[Tensor, "63 3"]) -> None:
        """Keep count of the rows that a batch asks for."""
        kinds = torch.zeros(len(bond_rows), dtype=torch.bool, device=bond_rows.device)
        kinds[inputs.bond_kind] = True
        rows = {
            "tokens": inputs.tokens,
            "features": inputs.feats,
            "degrees": inputs.degree,
            "bonds": bond_rows[kinds],
            "hops": inputs.hops,
        }
        for table, asked_for in rows.items():
            self.get_buffer(table)[asked_for] = True

    def mask(self, table: str) -> Float[Tensor, "row 1"]:
        """One for the rows of a table that were asked for, zero for the others."""
        return self.get_buffer(table).float()[:, None]

    def unseen(self, parity: bool = True) -> Rows:
        """The rows that mean something and that training never asked for."""
        rows = {}
        for table, names in row_names(parity).items():
            meant = np.zeros(TABLES[table], bool)
            meant[list(names)] = True
            rows[table] = meant & ~self.get_buffer(table).cpu().numpy()
        return rows


@cache
def row_names(parity: bool = True) -> dict[str, dict[int, str]]:
    """What each row of the embedding tables stands for: table, row, name."""
    features = {HIDDEN_ROW: "hidden: features"}
    for column, (feature, values) in enumerate(ATOM_VALUES):
        values = CHIRALITY_PARITIES if parity and feature == "chirality" else values
        first = FIRST_ATOM_ROW + ROWS_A_COLUMN * column
        features |= {first + v: f"{feature}: {value}" for v, value in enumerate(values)}
    bonds = {HIDDEN_ROW: "hidden: bond", NO_BOND_ROW: "bond type: no bond"}
    for column, (feature, values) in enumerate(BOND_VALUES):
        first = FIRST_BOND_ROW + ROWS_A_COLUMN * column
        bonds |= {first + v: f"{feature}: {value}" for v, value in enumerate(values)}
    degrees = {FIRST_DEGREE_ROW + n: f"heavy neighbours: {n}" for n in range(N_DEGREE - 2)}
    paths = {FIRST_HOP_ROW + n: f"path: {n} bonds" for n in range(LONGEST_PATH + 1)}
    return {
        "tokens": dict(enumerate((f"element: {symbol}" for symbol in SYMBOLS), 1))
        | {MASK_TOKEN: "hidden: element"},
        "features": features,
        "degrees": {HIDDEN_ROW: "hidden: degree"} | degrees,
        "bonds": bonds,
        "hops": paths | {UNREACHABLE_HOP_ROW: "path: none", HIDDEN_HOP_ROW: "hidden: path"},
    }


def names_of(rows: Rows, parity: bool = True) -> list[str]:
    """Rows by name, each as "what: value"; the paths above the longest that is no row in one."""
    names = [
        name
        for table, known in row_names(parity).items()
        for row, name in known.items()
        if rows[table][row]
    ]
    longest = longest_path(rows)
    if longest == LONGEST_PATH:
        return names
    longer = {f"path: {n} bonds" for n in range(longest + 1, LONGEST_PATH + 1)}
    return [name for name in names if name not in longer] + [f"path: over {longest} bonds"]


def rows_named(names: Iterable[str], parity: bool = True) -> Rows:
    """Undo `names_of`."""
    wanted = set(names)
    for longer in filter(None, map(_LONGER.fullmatch, list(wanted))):
        wanted |= {f"path: {n} bonds" for n in range(int(longer[1]) + 1, LONGEST_PATH + 1)}
    rows = {}
    for table, known in row_names(parity).items():
        rows[table] = np.zeros(TABLES[table], bool)
        rows[table][[row for row, name in known.items() if name in wanted]] = True
    return rows


def longest_path(unseen: Rows) -> int:
    """The longest shortest path (bonds) that is not among the unseen; -1 if all are."""
    seen = np.flatnonzero(~unseen["hops"][FIRST_HOP_ROW:UNREACHABLE_HOP_ROW])
    return int(seen[-1]) if len(seen) else -1


def degrees(batch: MolBatch) -> Int[np.ndarray, " atom"]:
    """Bonds of each atom of a flat batch, to the atoms that the batch has."""
    return torch.bincount(batch.bond_ends().flatten(), minlength=len(batch.numbers)).numpy()


class Shown(NamedTuple):
    """The row of one table that each atom, or each bond, of a batch asks for."""

    table: str
    rows: Int[np.ndarray, " item"]
    level: str


def shown_rows(batch: MolBatch, parity: bool = True) -> Iterator[Shown]:
    """The rows that a batch (on the CPU) asks for, but for paths."""
    feats = batch.feats.numpy().astype(np.int64)
    bond_feats = batch.bond_feats.numpy().astype(np.int64)
    yield Shown("tokens", batch.numbers.numpy().astype(np.int64), "atom")
    yield Shown("degrees", degrees(batch) + FIRST_DEGREE_ROW, "atom")
    for column in range(len(ATOM_VALUES)):
        values = feats[:, 8] if column == 0 and parity else feats[:, column]
        yield Shown("features", values + FIRST_ATOM_ROW + ROWS_A_COLUMN * column, "atom")
    for column in range(len(BOND_VALUES)):
        rows = bond_feats[:, column] + FIRST_BOND_ROW + ROWS_A_COLUMN * column
        yield Shown("bonds", rows, "bond")


def unseen_in(unseen: Rows, batch: MolBatch, parity: bool = True) -> list[tuple[str, ...]]:
    """The unseen features that each molecule of a batch (on the CPU) shows, by name."""
    if not any(rows.any() for rows in unseen.values()):
        return [()] * batch.n_mol
    # dictionaries and not sets, to keep the order
    features: list[dict[str, None]] = [{} for _ in range(batch.n_mol)]
    names = row_names(parity)
    owner = {"atom": batch.mol_of_atom().numpy(), "bond": batch.mol_of_bond().numpy()}
    for table, rows, level in shown_rows(batch, parity):
        for item in np.flatnonzero(unseen[table][rows]):
            features[owner[level][item]][names[table].get(int(rows[item]), "")] = None
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
    n = batch.n_atoms.numpy()
    ends = np.bincount(batch.mol_of_atom().numpy()[degrees(batch) == 1], minlength=batch.n_mol)
    # a path visits an atom once, and two end atoms at most
    limit = np.minimum(n - 1, n - ends + 1)
    pieces = (batch.n_bonds < batch.n_atoms - 1).numpy()
    mols = torch.from_numpy(np.flatnonzero((limit > longest_seen) | pieces))
    if not len(mols):
        return []
    view = pad(select(batch, mols))
    apart = (view.hops < 0) & view.real[:, :, None] & view.real[:, None, :]
    longest = view.hops.flatten(1).amax(1)
    broken = apart.flatten(1).any(1)
    return [_Paths(*row) for row in zip(mols.tolist(), longest.tolist(), broken.tolist())]
