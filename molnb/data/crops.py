"""Crops: a piece of a molecule too large to train on whole, cut out of graph, geometry and labels
alike.

The authors' code cuts coordinates and features by different rules, so that an atom may get another
one's features. Here one choice of atoms cuts everything. A crop is a random atom with its
surroundings along bonds, nearer in space first where bonds do not decide, so a connected molecule
stays connected. It depends on (seed, step, sample) only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import InputError
from ..rng import uniform
from ..shapes import Bool
from .batch import MolBatch, SparseLabels, pad

_CROP = 200  # channel of the draws


def crop(
    batch: MolBatch,
    max_atoms: int | None,
    seed: int,
    step: int,
    levels: Mapping[str, str] | None = None,
) -> MolBatch:
    """The batch (on the CPU), molecules above `max_atoms` cut to that many atoms; None cuts none.

    Degrees and shortest paths are those of the piece, since `encode` and `pad` take them from the
    bonds that are kept; features that RDKit counted (hydrogens, ring membership) are those of the
    whole molecule. Labels of atoms, bonds and pairs go with what they belong to; labels of a
    cropped molecule are left out, for it is no longer that molecule. `levels` tells the level of
    each task that the batch has labels of.
    """
    if max_atoms is None or batch.longest <= max_atoms:
        return batch
    large = torch.nonzero(batch.n_atoms > max_atoms).flatten()
    keep = torch.ones(len(batch.numbers), dtype=torch.bool)
    owner = batch.mol_of_atom()
    keep[torch.isin(owner, large)] = choose_atoms(select(batch, large), max_atoms, seed, step)
    return cut(batch, keep, levels)


def choose_atoms(batch: MolBatch, max_atoms: int, seed: int, step: int) -> Bool[Tensor, " atom"]:
    """Which atoms of each molecule form its crop: the `max_atoms` nearest to a random one."""
    view, n = pad(batch), batch.n_atoms
    draw = torch.from_numpy(uniform(seed, step, batch.ids.numpy(), 0, _CROP))
    centre = (draw * n).long()
    each = torch.arange(batch.n_mol)
    hops = view.hops[each, centre].double()  # mol n
    hops = torch.where(hops < 0, float(batch.longest), hops)  # another fragment comes last
    space = torch.linalg.vector_norm(
        view.coords - view.coords[each, centre][:, None], dim=-1
    ).double()
    far = torch.where(view.real, 1e6 * hops + space, float("inf"))
    rank = far.argsort(dim=1, stable=True).argsort(1)
    return (rank < max_atoms)[view.real]


def select(batch: MolBatch, which: Tensor) -> MolBatch:
    """Some molecules of a batch (ascending), without labels."""
    atom, bond = torch.isin(batch.mol_of_atom(), which), torch.isin(batch.mol_of_bond(), which)
    n_atoms = batch.n_atoms[which]
    return replace(
        batch,
        ids=batch.ids[which],
        n_atoms=n_atoms,
        n_bonds=batch.n_bonds[which],
        numbers=batch.numbers[atom],
        feats=batch.feats[atom],
        coords=batch.coords[atom],
        bonds=batch.bonds[bond],
        bond_feats=batch.bond_feats[bond],
        labels={},
        longest=int(n_atoms.max()) if len(which) else 0,
    )


def cut(
    batch: MolBatch, keep: Bool[Tensor, " atom"], levels: Mapping[str, str] | None = None
) -> MolBatch:
    """The batch with the atoms of `keep` only, and the bonds and labels between them."""
    owner, mol_of_bond = batch.mol_of_atom(), batch.mol_of_bond()
    n_atoms = torch.bincount(owner[keep], minlength=batch.n_mol)
    if not n_atoms.all():
        raise InputError("a crop leaves a molecule without atoms: keep at least one of each")
    old, new = batch.n_atoms.cumsum(0) - batch.n_atoms, n_atoms.cumsum(0) - n_atoms
    flat = keep.cumsum(0) - 1  # number among all atoms that are kept
    ends = old[mol_of_bond][:, None] + batch.bonds
    kept_bond = keep[ends].all(1)
    bonds = flat[ends] - new[mol_of_bond][:, None]
    found = {
        "atom": (keep, flat),
        "bond": (kept_bond, kept_bond.cumsum(0) - 1),
        "molecule": (n_atoms == batch.n_atoms, torch.arange(batch.n_mol)),
        "pair": (keep, flat - new[owner]),
    }
    return replace(
        batch,
        n_atoms=n_atoms,
        n_bonds=torch.bincount(mol_of_bond[kept_bond], minlength=batch.n_mol),
        numbers=batch.numbers[keep],
        feats=batch.feats[keep],
        coords=batch.coords[keep],
        bonds=bonds[kept_bond],
        bond_feats=batch.bond_feats[kept_bond],
        labels={
            task: _cut_labels(known, (levels or {})[task], old, found)
            for task, known in batch.labels.items()
        },
        longest=int(n_atoms.max()),
    )


def _cut_labels(
    known: SparseLabels, level: str, old: Tensor, found: dict[str, tuple[Tensor, Tensor]]
) -> SparseLabels:
    """Labels of what is still there, under its new number."""
    kept, number = found[level]
    if level != "pair":
        stays = kept[known.index]
        return SparseLabels(number[known.index[stays]], known.values[stays])
    mol, ends = known.index[:, 0], old[known.index[:, 0]][:, None] + known.index[:, 1:]
    stays = kept[ends].all(1)
    return SparseLabels(torch.cat([mol[stays, None], number[ends[stays]]], 1), known.values[stays])
