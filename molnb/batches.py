"""Batches: flat arrays of many molecules on one device, and the padded view that a pair track needs.

Atoms of all molecules lie one after another, bonds likewise, as they do on disk. A graph network reads the flat arrays
as they are; the two-track model pads them on the device (`pad`). Nothing here loops over molecules.
The legend of axes is in :mod:`molnb.shapes`; coordinates are in Å.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from .draws import shuffled
from .encodings import shortest_paths
from .errors import Refused
from .shapes import Bool, Float, Int, UInt8
from .shards import Shards, load_shards

SPLITS = ("train", "val", "test")


class Known(NamedTuple):
    """Labels of one task in a batch: only what is known has a place here.

    `index` counts molecules, atoms or bonds of the batch from 0, after the task's level; for pairs its columns are
    (molecule, atom, atom). `values` is in the unit of the label; NaN where that one label of the row is unknown.
    """

    index: Int[Tensor, " k *pair"]
    values: Float[Tensor, "k label"]


@dataclass(frozen=True)
class MolBatch:
    """Molecules, flat: everything a model or an objective may ask about them.

    `ids` are positions in the corpus; `feats` the nine integer features of an atom, `bond_feats` the three of a bond
    (`molnb.features` lists them); `bonds` holds atom numbers within the molecule, the smaller first.
    """

    ids: Int[Tensor, " mol"]
    n_atoms: Int[Tensor, " mol"]
    n_bonds: Int[Tensor, " mol"]
    numbers: UInt8[Tensor, " atom"]
    feats: UInt8[Tensor, "atom feat"]
    coords: Float[Tensor, "atom xyz"]
    bonds: Int[Tensor, "bond 2"]
    bond_feats: UInt8[Tensor, "bond bond_feat"]
    labels: dict[str, Known]
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
        """The same batch on another device; small integers travel, everything wider is expanded there."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in moved.items()}
        moved["labels"] = {t: Known(*(x.to(device, non_blocking=True) for x in v)) for t, v in self.labels.items()}
        return replace(self, **moved)


def _owners(counts: Tensor, total: int) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts, output_size=total)


class Padded(NamedTuple):
    """The padded view: one row a molecule, `real` true where there is an atom; zeros elsewhere.

    `bond_code` is 0 between atoms without a bond, else 1 + 12·type + 2·stereo + conjugated (1 to 60);
    `hops` the shortest path in bonds, -1 where there is none.
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
        raise Refused(f"cannot pad a molecule of {batch.longest} atoms to {n}: choose a length of at least that")
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


def sample_ids(seed: int, step: int, global_batch: int, n: int) -> np.ndarray:
    """Which of n samples form the global batch of a step: a pure function, so resuming needs one integer.

    The stream of samples is one shuffled epoch after another, each shuffled anew; a batch may span two epochs.
    """
    at = step * global_batch + np.arange(global_batch, dtype=np.int64)
    return shuffled(at % n, n, seed, at // n)


def size_buckets(sizes: np.ndarray, pair_budget: int) -> list[np.ndarray]:
    """Positions of a batch grouped by size, so that no group holds more than `pair_budget` padded pairs.

    A molecule larger than the budget forms a group of its own. Which samples are in the global batch does not change,
    only which of them are padded together; the loss is summed over groups before it is divided.
    """
    groups, group = [], []
    for position in np.argsort(sizes, kind="stable")[::-1]:
        longest = int(sizes[group[0]]) if group else int(sizes[position])
        if group and (len(group) + 1) * (longest + 1) ** 2 > pair_budget:
            groups.append(np.array(group))
            group = []
        group.append(int(position))
    return groups + ([np.array(group)] if group else [])


def _ragged(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Indices start[i] .. start[i] + count[i] - 1, one run after another."""
    ends = np.cumsum(count)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(start - (ends - count), count)


class Corpus:
    """One or several curated datasets, read as one sequence of molecules, heavy atoms only unless asked otherwise."""

    def __init__(self, datasets: Sequence[Shards | str | Path], hydrogens: bool = False):
        self.datasets = [d if isinstance(d, Shards) else load_shards(d) for d in datasets]
        if not self.datasets:
            raise Refused("a corpus needs at least one dataset: give the folder that curate() returned")
        self.hydrogens = hydrogens
        self.starts = np.cumsum([0] + [d.n for d in self.datasets])
        self.n = int(self.starts[-1])
        tables = [self._counts(d) for d in self.datasets]
        self.n_atoms, self.n_bonds = (np.concatenate(column) for column in zip(*tables, strict=True))

    def _counts(self, shards: Shards) -> tuple[np.ndarray, np.ndarray]:
        if self.hydrogens:
            return np.diff(shards.array("atom_offset")), np.diff(shards.array("bond_offset"))
        return np.asarray(shards.array("n_heavy"), np.int64), np.asarray(shards.array("n_heavy_bond"), np.int64)

    @property
    def tasks(self) -> dict[str, dict]:
        """The tasks of all datasets by name, as their manifests declare them."""
        return {name: task for d in self.datasets for name, task in d.manifest["tasks"].items()}

    def ids(self, part: str, split: str | None = None) -> np.ndarray:
        """Ascending ids of a part (train, val, test) of a split; by default the one each dataset names."""
        if part not in SPLITS:
            raise Refused(f"unknown part {part!r} of a split: choose one of {', '.join(SPLITS)}")
        found = []
        for start, shards in zip(self.starts, self.datasets, strict=False):
            name = split or shards.manifest["default_split"]
            if name not in shards.manifest["splits"]:
                raise Refused(f"{shards.path} has no split {name!r}: it has {', '.join(shards.manifest['splits'])}")
            found.append(start + np.flatnonzero(np.asarray(shards.array(f"split_{name}")) == SPLITS.index(part)))
        return np.concatenate(found)

    def labelled(self, tasks: Sequence[str]) -> np.ndarray:
        """Ascending ids of the molecules that carry at least one label of these tasks."""
        found = [np.zeros(0, np.int64)]
        for start, shards in zip(self.starts, self.datasets, strict=False):
            found += [start + np.asarray(shards.array(f"{t}.index")) for t in tasks if t in shards.manifest["tasks"]]
        return np.unique(np.concatenate(found))

    def shared_with(self, others: Sequence[Shards]) -> np.ndarray:
        """Ascending ids of the molecules that another dataset also has, by either of the loose keys."""
        keys = ("inchikey14", "tautomer_key")
        theirs = {key: pa.chunked_array([c for o in others for c in o.table([key])[key].chunks]) for key in keys}
        found = [np.zeros(0, np.int64)]
        for start, shards in zip(self.starts, self.datasets, strict=False):
            mine = shards.table(list(keys))
            same = [pc.is_in(mine[key], value_set=theirs[key]).to_numpy(zero_copy_only=False) for key in keys]
            found.append(start + np.flatnonzero(same[0] | same[1]))
        return np.concatenate(found)

    def batch(self, ids: np.ndarray, tasks: Sequence[str] = ()) -> MolBatch:
        """The molecules `ids` as one flat batch, in that order, with the known labels of `tasks`."""
        ids = np.asarray(ids, np.int64)
        n_atoms, n_bonds = self.n_atoms[ids], self.n_bonds[ids]
        atom, bond = self._gather(ids, n_atoms, "atom"), self._gather(ids, n_bonds, "bond")
        return MolBatch(
            ids=torch.from_numpy(ids),
            n_atoms=torch.from_numpy(n_atoms),
            n_bonds=torch.from_numpy(n_bonds),
            numbers=torch.from_numpy(atom("numbers")),
            feats=torch.from_numpy(atom("atom_feats")),
            coords=torch.from_numpy(atom("coords")),
            bonds=torch.from_numpy(bond("bonds").astype(np.int64)),
            bond_feats=torch.from_numpy(bond("bond_feats")),
            labels={t: known for t in tasks if (known := self._known(t, ids, n_atoms, n_bonds)) is not None},
            longest=int(n_atoms.max(initial=0)),
        )

    def _gather(self, ids: np.ndarray, counts: np.ndarray, level: str):
        """A function that reads one flat array of a level for these molecules, across datasets, in their order."""
        owner = np.searchsorted(self.starts, ids, side="right") - 1
        ends = np.cumsum(counts)
        plan = []
        for d in np.unique(owner):
            mine = owner == d
            start = self.datasets[d].array(f"{level}_offset")[ids[mine] - self.starts[d]]
            plan.append((d, _ragged(start, counts[mine]), _ragged((ends - counts)[mine], counts[mine])))

        def read(name: str) -> np.ndarray:
            if len(plan) == 1:
                return np.asarray(self.datasets[plan[0][0]].array(name)[plan[0][1]])
            sample = self.datasets[0].array(name)
            out = np.empty((int(ends[-1]), *sample.shape[1:]), sample.dtype)
            for d, there, here in plan:
                out[here] = self.datasets[d].array(name)[there]
            return out

        return read

    def _known(self, task: str, ids: np.ndarray, n_atoms: np.ndarray, n_bonds: np.ndarray) -> Known | None:
        index, values = [], []
        for d, shards in enumerate(self.datasets):
            if task not in shards.manifest["tasks"]:
                continue
            mine = np.flatnonzero((ids >= self.starts[d]) & (ids < self.starts[d + 1]))
            labelled = np.asarray(shards.array(f"{task}.index"))
            rank = np.searchsorted(labelled, ids[mine] - self.starts[d])
            rank_ok = rank < len(labelled)
            hit = (
                rank_ok & (labelled[np.where(rank_ok, rank, 0)] == ids[mine] - self.starts[d])
                if len(labelled)
                else rank_ok
            )
            if hit.any():
                at, value = self._place(
                    shards, task, mine[hit], rank[hit], ids[mine[hit]] - self.starts[d], n_atoms, n_bonds
                )
                index.append(at)
                values.append(value)
        if not index:
            return None
        return Known(torch.from_numpy(np.concatenate(index)), torch.from_numpy(np.concatenate(values)))

    def _place(self, shards, task, mols, rank, samples, n_atoms, n_bonds) -> tuple[np.ndarray, np.ndarray]:
        """Labels of one dataset put where the batch has the molecule, atom, bond or pair they belong to."""
        level = shards.manifest["tasks"][task]["level"]
        offset, stored = shards.array(f"{task}.offset"), shards.array(f"{task}.values")
        count = offset[rank + 1] - offset[rank]
        value = np.asarray(stored[_ragged(offset[rank], count)], np.float32)
        if level == "molecule":
            return mols, value
        if level == "bond":
            # heavy-heavy bonds come first on disk, so a view without hydrogens reads a prefix
            keep = _prefix(count, n_bonds[mols])
            return _ragged((np.cumsum(n_bonds) - n_bonds)[mols], n_bonds[mols]), value[keep]
        if level == "pair":
            return _pair_index(mols, np.asarray(shards.array("n_heavy"), np.int64)[samples]), value
        atom = _ragged((np.cumsum(n_atoms) - n_atoms)[mols], n_atoms[mols])
        if not self.hydrogens:
            value = _fold(shards, task, samples, count, value)
        return atom, value


def _prefix(count: np.ndarray, keep: np.ndarray) -> np.ndarray:
    return _ragged(np.cumsum(count) - count, keep)


def _pair_index(mols: np.ndarray, n_heavy: np.ndarray) -> np.ndarray:
    """(molecule, i, j) of the upper triangle, i < j, row by row, of each molecule."""
    first = _ragged(np.zeros_like(n_heavy), n_heavy)
    partners = np.repeat(n_heavy, n_heavy) - 1 - first
    second = _ragged(first + 1, partners)
    return np.stack([np.repeat(np.repeat(mols, n_heavy), partners), np.repeat(first, partners), second], 1)


def _fold(shards: Shards, task: str, samples: np.ndarray, count: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Atom labels for a view without hydrogens: summed onto the heavy atom where the task says so, else dropped."""
    n_heavy = np.asarray(shards.array("n_heavy"), np.int64)[samples]
    keep = _prefix(count, n_heavy)
    if shards.manifest["tasks"][task].get("fold") != "sum":
        return value[keep]
    parent = np.asarray(shards.array("parent")[_ragged(shards.array("atom_offset")[samples], count)], np.int64)
    base = np.cumsum(n_heavy) - n_heavy
    folded = np.zeros((int(n_heavy.sum()), value.shape[1]), np.float64)
    np.add.at(folded, parent + np.repeat(base, count), value)
    return folded.astype(np.float32)


def batches(
    corpus: Corpus, ids: np.ndarray, pair_budget: int, tasks: Sequence[str] = (), max_atoms: int | None = None
) -> Iterator[MolBatch]:
    """The molecules `ids` as batches of similar size, none above the budget of padded pairs.

    Those above `max_atoms`, which will be cropped to it (`crops.crop`), count as that large.
    """
    sizes = corpus.n_atoms[ids]
    for group in size_buckets(sizes if max_atoms is None else np.minimum(sizes, max_atoms), pair_budget):
        yield corpus.batch(ids[group], tasks)
