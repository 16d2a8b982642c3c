"""Crops: a piece of a molecule too large to train on whole.

The authors' code cuts coordinates and features by different rules, so that an atom may get another
one's features. Here one choice of atoms cuts graph, geometry, features and labels alike. A crop is
a random atom with its surroundings along bonds, nearer in space first where bonds do not decide, so
a connected molecule stays connected. It depends on (seed, step, sample) only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import InputError
from ..rng import uniform
from ..shapes import Bool
from .batch import MolBatch, SparseLabels, pad

_CROP = 200  # channel of the random numbers
_FARTHER_BOND = 1e6  # one bond farther outweighs any distance in Å


def crop(
    batch: MolBatch,
    max_atoms: int | None,
    seed: int,
    step: int,
    levels: Mapping[str, str] | None = None,
) -> MolBatch:
    """The batch (on the CPU) with molecules above `max_atoms` cut to that many; None cuts none.

    Degrees and shortest paths are those of the piece, since they are taken from the bonds that are
    kept; features that RDKit counted (hydrogens, ring membership) are those of the whole molecule.
    Labels of atoms, bonds and pairs go with what they belong to; labels of a cropped molecule are
    left out, for it is no longer that molecule. `levels` gives the level of each task that the
    batch has labels of.
    """
    if max_atoms is None or batch.longest <= max_atoms:
        return batch
    large = torch.nonzero(batch.n_atoms > max_atoms).flatten()
    keep = torch.ones(len(batch.numbers), dtype=torch.bool)
    in_large = torch.isin(batch.mol_of_atom(), large)
    keep[in_large] = choose_atoms(select(batch, large), max_atoms, seed, step)
    return cut(batch, keep, levels)


def choose_atoms(batch: MolBatch, max_atoms: int, seed: int, step: int) -> Bool[Tensor, " atom"]:
    """Which atoms of each molecule form its crop: the `max_atoms` nearest to a random one."""
    view = pad(batch)
    share = torch.from_numpy(uniform(seed, step, batch.ids.numpy(), 0, _CROP))
    centre = (share * batch.n_atoms).long()
    each_mol = torch.arange(batch.n_mol)
    hops = view.hops[each_mol, centre].double()  # mol n
    hops = torch.where(hops < 0, float(batch.longest), hops)  # another fragment comes last
    displacement = view.coords - view.coords[each_mol, centre][:, None]
    distance = torch.linalg.vector_norm(displacement, dim=-1).double()
    remoteness = torch.where(view.real, _FARTHER_BOND * hops + distance, float("inf"))
    rank = remoteness.argsort(dim=1, stable=True).argsort(1)
    return (rank < max_atoms)[view.real]


def select(batch: MolBatch, mols: Tensor) -> MolBatch:
    """Some molecules of a batch (ascending numbers), without labels."""
    chosen = torch.zeros(batch.n_mol, dtype=torch.bool)
    chosen[mols] = True
    n_atoms = batch.n_atoms[mols]
    return MolBatch(
        molecule=_selected(batch.molecule, chosen),
        atom=_selected(batch.atom, chosen[batch.mol_of_atom()]),
        bond=_selected(batch.bond, chosen[batch.mol_of_bond()]),
        labels={},
        longest=int(n_atoms.max()) if len(mols) else 0,
    )


def _selected(arrays: Mapping[str, Tensor], keep: Bool[Tensor, " row"]) -> dict[str, Tensor]:
    return {name: array[keep] for name, array in arrays.items()}


class _Piece(NamedTuple):
    """What of a level is still there, and the new number of each."""

    keep: Tensor
    number: Tensor


def cut(
    batch: MolBatch, keep: Bool[Tensor, " atom"], levels: Mapping[str, str] | None = None
) -> MolBatch:
    """The batch with the atoms of `keep` only, and the bonds and labels between them."""
    mol_of_atom = batch.mol_of_atom()
    mol_of_bond = batch.mol_of_bond()
    n_atoms = torch.bincount(mol_of_atom[keep], minlength=batch.n_mol)
    if not n_atoms.all():
        raise InputError("a crop leaves a molecule without atoms: keep at least one of each")
    first_atom = n_atoms.cumsum(0) - n_atoms  # of each molecule, among the atoms that are kept
    atom_number = keep.cumsum(0) - 1
    ends = batch.bond_ends()
    keep_bond = keep[ends].all(1)
    bonds = atom_number[ends] - first_atom[mol_of_bond][:, None]
    pieces = {
        "atom": _Piece(keep, atom_number),
        "bond": _Piece(keep_bond, keep_bond.cumsum(0) - 1),
        "molecule": _Piece(n_atoms == batch.n_atoms, torch.arange(batch.n_mol)),
        "pair": _Piece(keep, atom_number - first_atom[mol_of_atom]),
    }
    n_bonds = torch.bincount(mol_of_bond[keep_bond], minlength=batch.n_mol)
    return replace(
        batch,
        molecule={**batch.molecule, "n_atoms": n_atoms, "n_bonds": n_bonds},
        atom=_selected(batch.atom, keep),
        bond=_selected({**batch.bond, "bonds": bonds}, keep_bond),
        labels={
            task: _cut_labels(labels, (levels or {})[task], batch.first_atom(), pieces)
            for task, labels in batch.labels.items()
        },
        longest=int(n_atoms.max()),
    )


def _cut_labels(
    labels: SparseLabels, level: str, first_atom: Tensor, pieces: Mapping[str, _Piece]
) -> SparseLabels:
    """Labels of what is still there, under its new number."""
    keep, number = pieces[level]
    if level != "pair":
        stays = keep[labels.index]
        return SparseLabels(number[labels.index[stays]], labels.values[stays])
    mol = labels.index[:, 0]
    ends = first_atom[mol][:, None] + labels.index[:, 1:]
    stays = keep[ends].all(1)
    index = torch.cat([mol[stays, None], number[ends[stays]]], 1)
    return SparseLabels(index, labels.values[stays])
