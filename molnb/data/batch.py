"""Batches: flat arrays of many molecules on one device, and the padded view that a pair track
needs.

Atoms of all molecules lie one after another, bonds likewise, as they do on disk. A graph network
reads the flat arrays as they are; the two-track model pads them on the device (`pad`). Nothing here
loops over molecules. The legend of axes is in :mod:`molnb.shapes`; coordinates are in Å.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import InputError
from ..shapes import Bool, Float, Int, UInt8
from .encodings import shortest_paths

SPLITS = ("train", "val", "test")


class SparseLabels(NamedTuple):
    """Labels of one task in a batch: only what is known has a place here.

    `index` counts molecules, atoms or bonds of the batch from 0, after the task's level; for pairs
    its columns are (molecule, atom, atom). `values` is in the unit of the label; NaN where that one
    label of the row is unknown.
    """

    index: Int[Tensor, " k *pair"]
    values: Float[Tensor, "k label"]


@dataclass(frozen=True)
class MolBatch:
    """Molecules, flat: everything a model or an objective may ask about them.

    `ids` are positions in the corpus; `feats` the nine integer features of an atom, `bond_feats`
    the three of a bond (`molnb.features` lists them); `bonds` holds atom numbers within the
    molecule, the smaller first.
    """

    ids: Int[Tensor, " mol"]
    n_atoms: Int[Tensor, " mol"]
    n_bonds: Int[Tensor, " mol"]
    numbers: UInt8[Tensor, " atom"]
    feats: UInt8[Tensor, "atom feat"]
    coords: Float[Tensor, "atom xyz"]
    bonds: Int[Tensor, "bond 2"]
    bond_feats: UInt8[Tensor, "bond bond_feat"]
    labels: dict[str, SparseLabels]
    longest: int

    @property
    def n_mol(self) -> int:
        return self.n_atoms.shape[0]

    def mol_of_atom(self) -> Int[Tensor, " atom"]:
        return _owners(self.n_atoms, self.numbers.shape[0])

    def mol_of_bond(self) -> Int[Tensor, " bond"]:
        return _owners(self.n_bonds, self.bonds.shape[0])

    def position(self) -> Int[Tensor, " atom"]:
        """Number of each atom within its molecule."""
        start = torch.cumsum(self.n_atoms, 0) - self.n_atoms
        return torch.arange(self.numbers.shape[0], device=start.device) - start[self.mol_of_atom()]

    def to(self, device: torch.device | str) -> MolBatch:
        """The same batch on another device; small integers travel, everything wider is expanded
        there.
        """
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {
            k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v
            for k, v in moved.items()
        }
        moved["labels"] = {
            t: SparseLabels(*(x.to(device, non_blocking=True) for x in v))
            for t, v in self.labels.items()
        }
        return replace(self, **moved)


def _owners(counts: Tensor, total: int) -> Tensor:
    return torch.repeat_interleave(
        torch.arange(len(counts), device=counts.device), counts, output_size=total
    )


class Padded(NamedTuple):
    """The padded view: one row a molecule, `real` true where there is an atom; zeros elsewhere.

    `bond_code` is 0 between atoms without a bond, else 1 + 12·type + 2·stereo + conjugated (1 to
    60); `hops` the shortest path in bonds, -1 where there is none.
    """

    real: Bool[Tensor, "mol n"]
    numbers: Int[Tensor, "mol n"]
    feats: Int[Tensor, "mol n feat"]
    coords: Float[Tensor, "mol n xyz"]
    bond_code: Int[Tensor, "mol n n"]
    hops: Int[Tensor, "mol n n"]


def pad(batch: MolBatch, length: int | None = None) -> Padded:
    """Padded view of a batch, `length` atoms long (default: its longest molecule)."""
    n = batch.longest if length is None else length
    if n < batch.longest:
        raise InputError(
            f"cannot pad a molecule of {batch.longest} atoms to {n}: choose a length of at least that"
        )
    device = batch.numbers.device
    slot = batch.mol_of_atom() * n + batch.position()

    def spread(flat: Tensor, dtype: torch.dtype) -> Tensor:
        wide = torch.zeros(batch.n_mol * n, *flat.shape[1:], dtype=dtype, device=device)
        wide[slot] = flat.to(dtype)
        return wide.view(batch.n_mol, n, *flat.shape[1:])

    kind, stereo, conjugated = batch.bond_feats.to(torch.int64).unbind(-1)
    bond_code = torch.zeros(batch.n_mol, n, n, dtype=torch.int64, device=device)
    mol, (first, second) = batch.mol_of_bond(), batch.bonds.unbind(-1)
    code = 1 + 12 * kind + 2 * stereo + conjugated
    bond_code[mol, first, second] = code
    bond_code[mol, second, first] = code
    return Padded(
        real=spread(torch.ones_like(batch.numbers), torch.bool),
        numbers=spread(batch.numbers, torch.int64),
        feats=spread(batch.feats, torch.int64),
        coords=spread(batch.coords, torch.float32),
        bond_code=bond_code,
        hops=shortest_paths(bond_code > 0),
    )
