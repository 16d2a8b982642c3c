"""Batches: flat arrays of many molecules on one device, and a padded view of them.

Atoms of all molecules lie one after another, bonds likewise, as they do on disk. A graph network
reads the flat arrays as they are; the two-track model pads them on its device (`pad`). The legend
of axes is in :mod:`molnb.shapes`; coordinates are in Å.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import InputError
from ..shapes import Bool, Float, Int, UInt8
from .encodings.paths import shortest_paths

LEVELS = ("molecule", "atom", "bond", "pair")
N_BOND_STEREO = 6  # values of the second bond feature
N_CONJUGATION = 2  # values of the third


class SparseLabels(NamedTuple):
    """Labels of one task in a batch, of the molecules, atoms, bonds or pairs that have one.

    `index` counts molecules, atoms or bonds of the batch from 0, after the task's level; for pairs
    its columns are (molecule, atom, atom). `values` is in the unit of the label; NaN where that one
    label of the row is unknown.
    """

    index: Int[Tensor, " k *pair"]
    values: Float[Tensor, "k label"]


@dataclass(frozen=True)
class MolBatch:
    """Molecules, flat: everything a model or an objective may ask about them.

    Arrays stand under the name they have on disk, by what they belong to: `molecule` has `ids`
    (positions in the dataset), `n_atoms` and `n_bonds`; `atom` has `numbers`, `atom_feats` (13
    integers an atom) and `coords`; `bond` has `bonds` (atom numbers within the molecule, the
    smaller first) and `bond_feats` (four integers a bond). Whatever else a dataset keeps of its
    molecules, atoms or bonds stands beside them, is cut with them and travels with them.
    """

    molecule: dict[str, Tensor]
    atom: dict[str, Tensor]
    bond: dict[str, Tensor]
    labels: dict[str, SparseLabels]
    longest: int

    @property
    def ids(self) -> Int[Tensor, " mol"]:
        return self.molecule["ids"]

    @property
    def n_atoms(self) -> Int[Tensor, " mol"]:
        return self.molecule["n_atoms"]

    @property
    def n_bonds(self) -> Int[Tensor, " mol"]:
        return self.molecule["n_bonds"]

    @property
    def numbers(self) -> UInt8[Tensor, " atom"]:
        return self.atom["numbers"]

    @property
    def feats(self) -> UInt8[Tensor, "atom feat"]:
        return self.atom["atom_feats"]

    @property
    def coords(self) -> Float[Tensor, "atom xyz"]:
        return self.atom["coords"]

    @property
    def bonds(self) -> Int[Tensor, "bond 2"]:
        return self.bond["bonds"]

    @property
    def bond_feats(self) -> UInt8[Tensor, "bond bond_feat"]:
        return self.bond["bond_feats"]

    @property
    def n_mol(self) -> int:
        return self.n_atoms.shape[0]

    @property
    def device(self) -> torch.device:
        return self.n_atoms.device

    def mol_of_atom(self) -> Int[Tensor, " atom"]:
        """The molecule that each atom belongs to."""
        return _owners(self.n_atoms, self.numbers.shape[0])

    def mol_of_bond(self) -> Int[Tensor, " bond"]:
        """The molecule that each bond belongs to."""
        return _owners(self.n_bonds, self.bonds.shape[0])

    def first_atom(self) -> Int[Tensor, " mol"]:
        """Where the atoms of each molecule begin."""
        return torch.cumsum(self.n_atoms, 0) - self.n_atoms

    def position(self) -> Int[Tensor, " atom"]:
        """The number of each atom within its molecule."""
        start = self.first_atom()
        return torch.arange(self.numbers.shape[0], device=start.device) - start[self.mol_of_atom()]

    def bond_ends(self) -> Int[Tensor, "bond 2"]:
        """Both atoms of each bond, counted over all atoms of the batch."""
        return self.first_atom()[self.mol_of_bond()][:, None] + self.bonds

    def with_arrays(self, level: str, arrays: Mapping[str, Tensor]) -> MolBatch:
        """The batch with more, or other, arrays of a level (molecule, atom or bond)."""
        return replace(self, **{level: {**getattr(self, level), **arrays}})

    def to(self, device: torch.device | str, number: torch.dtype | None = None) -> MolBatch:
        """The same batch on another device; small integers travel, wider ones are made there.

        Floating-point numbers become those of the kind `number`, if one is given.
        """

        def moved(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: move(array, device, number) for name, array in arrays.items()}

        return MolBatch(
            molecule=moved(self.molecule),
            atom=moved(self.atom),
            bond=moved(self.bond),
            labels={
                task: SparseLabels(**moved(labels._asdict()))
                for task, labels in self.labels.items()
            },
            longest=self.longest,
        )


def move(array: Tensor, device: torch.device | str, number: torch.dtype | None = None) -> Tensor:
    """An array on another device, and if it holds floating-point numbers as those of a kind."""
    dtype = number if array.is_floating_point() else None
    return array.to(device, dtype, non_blocking=True)


def _owners(counts: Tensor, total: int) -> Tensor:
    """The number of the owner of each item, from how many each has (`total` in all)."""
    owners = torch.arange(len(counts), device=counts.device)
    return torch.repeat_interleave(owners, counts, output_size=total)


def _numbered(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Owner of each item, and its number with that owner (0, 1, ...), from how many each has."""
    owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    start = torch.cumsum(counts, 0) - counts
    return owner, torch.arange(len(owner), device=counts.device) - start[owner]


def every_index(batch: MolBatch, level: str) -> Int[Tensor, " k *pair"]:
    """An index of everything a batch has at a level; of pairs of atoms those with i < j.

    Of use where nothing is labelled: in prediction.
    """
    counts = {
        "molecule": batch.n_mol,
        "atom": batch.numbers.shape[0],
        "bond": batch.bonds.shape[0],
    }
    if level in counts:
        return torch.arange(counts[level], device=batch.device)
    position = batch.position()
    mol = batch.mol_of_atom()
    atom, number = _numbered(batch.n_atoms[mol] - 1 - position)  # partners after an atom
    first = position[atom]
    return torch.stack([mol[atom], first, first + 1 + number], 1)


def square_index(batch: MolBatch) -> Int[Tensor, "k 3"]:
    """An index of all ordered pairs of atoms of a batch, an atom with itself included."""
    mol = batch.mol_of_atom()
    atom, second = _numbered(batch.n_atoms[mol])
    return torch.stack([mol[atom], batch.position()[atom], second], 1)


def owner_of(batch: MolBatch, level: str, index: Int[Tensor, " k *pair"]) -> Int[Tensor, " k"]:
    """The molecule that each entry of an index belongs to."""
    if level == "molecule":
        return index
    if level == "pair":
        return index[:, 0]
    owners = batch.mol_of_atom() if level == "atom" else batch.mol_of_bond()
    return owners[index]


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


def pad_atoms(values: Tensor, batch: MolBatch, length: int) -> Tensor:
    """Values of a flat atom axis, one row a molecule of `length` places; zeros without an atom."""
    padded = values.new_zeros(batch.n_mol, length, *values.shape[1:])
    padded[batch.mol_of_atom(), batch.position()] = values
    return padded


def real_pairs(real: Bool[Tensor, "mol n"]) -> Bool[Tensor, "mol n n"]:
    """True where both atoms of a padded view are real."""
    return real[:, :, None] & real[:, None, :]


def distances(coords: Float[Tensor, "mol n xyz"]) -> Float[Tensor, "mol n n"]:
    """Distances between all atoms of a padded view; the gradient at zero distance is zero."""
    return torch.linalg.vector_norm(coords[:, None] - coords[:, :, None], dim=-1)


def pad(batch: MolBatch, length: int | None = None) -> Padded:
    """The padded view of a batch, `length` atoms long (default: its longest molecule)."""
    n = batch.longest if length is None else length
    if n < batch.longest:
        raise InputError(
            f"cannot pad a molecule of {batch.longest} atoms to {n}: choose a length of at least "
            "that"
        )
    wide = torch.promote_types(batch.coords.dtype, torch.float32)
    kind, stereo, conjugated = batch.bond_feats[:, :3].to(torch.int64).unbind(-1)
    code = 1 + N_BOND_STEREO * N_CONJUGATION * kind + N_CONJUGATION * stereo + conjugated
    mol = batch.mol_of_bond()
    first, second = batch.bonds.unbind(-1)
    bond_code = torch.zeros(batch.n_mol, n, n, dtype=torch.int64, device=batch.device)
    bond_code[mol, first, second] = code
    bond_code[mol, second, first] = code
    return Padded(
        real=pad_atoms(torch.ones_like(batch.numbers, dtype=torch.bool), batch, n),
        numbers=pad_atoms(batch.numbers.to(torch.int64), batch, n),
        feats=pad_atoms(batch.feats.to(torch.int64), batch, n),
        coords=pad_atoms(batch.coords.to(wide), batch, n),
        bond_code=bond_code,
        hops=shortest_paths(bond_code > 0),
    )
