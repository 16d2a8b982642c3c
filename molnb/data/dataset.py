"""Curated datasets read as one sequence of molecules, with the labels that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from ..errors import InputError
from ..shards import SPLIT_VALUES, Shards, load_shards
from .batch import MolBatch, SparseLabels
from .tasks import DatasetTask, find_tasks, join_tasks

# What every dataset has of its atoms and bonds; `arrays` of a Corpus names more.
_ARRAYS = {
    "molecule": (),
    "atom": ("numbers", "atom_feats", "coords"),
    "bond": ("bonds", "bond_feats"),
}
LOOSE_KEYS = ("inchikey14", "tautomer_key")


def ragged(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The indices start[i] .. start[i] + count[i] - 1, one stretch after another."""
    ends = np.cumsum(count)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(start - (ends - count), count)


class _Stretch(NamedTuple):
    """Rows of one dataset's flat array, and where a batch has them."""

    dataset: int
    source: np.ndarray
    target: np.ndarray


class _Sizes(NamedTuple):
    """Atoms and bonds of each molecule of a batch."""

    n_atoms: np.ndarray
    n_bonds: np.ndarray


class Corpus:
    """One or several curated datasets, read as one sequence of molecules.

    Hydrogens are left out unless asked for. `arrays` names further arrays of molecules, atoms or
    bonds that the datasets keep (`shards.add_array`), which then stand in every batch.
    """

    def __init__(
        self,
        datasets: Sequence[Shards | str | Path],
        hydrogens: bool = False,
        arrays: Sequence[str] = (),
    ):
        self.datasets = [d if isinstance(d, Shards) else load_shards(d) for d in datasets]
        if not self.datasets:
            raise InputError(
                "a corpus needs at least one dataset: give the folder that curate() returned"
            )
        self.hydrogens = hydrogens
        self.starts = np.cumsum([0] + [shards.n for shards in self.datasets])
        self.n = int(self.starts[-1])
        self.n_atoms = np.concatenate([self._sizes(shards).n_atoms for shards in self.datasets])
        self.n_bonds = np.concatenate([self._sizes(shards).n_bonds for shards in self.datasets])
        self.tasks: dict[str, DatasetTask] = join_tasks(self.datasets)
        self.arrays = {level: [*names] for level, names in _ARRAYS.items()}
        for name in arrays:
            self.arrays[self._level_of(name)].append(name)

    def _sizes(self, shards: Shards) -> _Sizes:
        if self.hydrogens:
            offsets = shards.array("atom_offset"), shards.array("bond_offset")
            return _Sizes(*map(np.diff, offsets))
        n_heavy = np.asarray(shards.array("n_heavy"), np.int64)
        return _Sizes(n_heavy, np.asarray(shards.array("n_heavy_bond"), np.int64))

    def _level_of(self, name: str) -> str:
        """The level of a further array, which all datasets must have alike."""
        kinds = set()
        for shards in self.datasets:
            shape = shards.array(name).shape[1:]  # refused where the dataset has no such array
            kinds.add((shards.array_level(name), shape))
        if len(kinds) > 1:
            described = ", ".join(f"{level} {list(shape)}" for level, shape in sorted(kinds))
            raise InputError(
                f"the array {name!r} differs between datasets ({described}): make it alike in all"
            )
        return kinds.pop()[0]

    def ids(self, part: str, split: str | None = None) -> np.ndarray:
        """Ascending ids of a part (train, val, test) of a split; by default each dataset's own."""
        if part not in SPLIT_VALUES:
            raise InputError(
                f"unknown part {part!r} of a split: choose one of {', '.join(SPLIT_VALUES)}"
            )
        ids = []
        for start, shards in zip(self.starts, self.datasets, strict=False):
            name = split or shards.manifest["default_split"]
            if name not in shards.manifest["splits"]:
                raise InputError(
                    f"{shards.path} has no split {name!r}: it has "
                    f"{', '.join(shards.manifest['splits'])}"
                )
            parts = np.asarray(shards.array(f"split_{name}"))
            ids.append(start + np.flatnonzero(parts == SPLIT_VALUES.index(part)))
        return np.concatenate(ids)

    def labelled(self, tasks: Sequence[str]) -> np.ndarray:
        """Ascending ids of the molecules that carry at least one label of these tasks."""
        ids = [np.zeros(0, np.int64)]
        for key in find_tasks(self.tasks, tasks):
            for dataset, name in self.tasks[key].members:
                index = np.asarray(self.datasets[dataset].array(f"{name}.index"))
                ids.append(self.starts[dataset] + index)
        return np.unique(np.concatenate(ids))

    def shared_with(self, others: Sequence[Shards]) -> np.ndarray:
        """Ascending ids of the molecules that another dataset also has, by either loose key."""
        keys_of_others = {
            key: pa.chunked_array([c for shards in others for c in shards.table([key])[key].chunks])
            for key in LOOSE_KEYS
        }
        ids = [np.zeros(0, np.int64)]
        for start, shards in zip(self.starts, self.datasets, strict=False):
            table = shards.table(list(LOOSE_KEYS))
            shared = np.zeros(shards.n, bool)
            for key, values in keys_of_others.items():
                same_key = pc.is_in(table[key], value_set=values)
                shared |= same_key.to_numpy(zero_copy_only=False)
            ids.append(start + np.flatnonzero(shared))
        return np.concatenate(ids)

    def batch(self, ids: np.ndarray, tasks: Sequence[str] = ()) -> MolBatch:
        """The molecules `ids` as one flat batch, in that order, with the known labels of
        `tasks`.
        """
        ids = np.asarray(ids, np.int64)
        n_atoms = self.n_atoms[ids]
        n_bonds = self.n_bonds[ids]
        counts = {"molecule": np.ones(len(ids), np.int64), "atom": n_atoms, "bond": n_bonds}
        arrays = {level: self._read(level, ids, count) for level, count in counts.items()}
        sizes = {"ids": ids, "n_atoms": n_atoms, "n_bonds": n_bonds}
        arrays["molecule"] |= {name: torch.from_numpy(values) for name, values in sizes.items()}
        arrays["bond"]["bonds"] = arrays["bond"]["bonds"].to(torch.int64)
        longest = int(n_atoms.max(initial=0))
        return MolBatch(**arrays, labels=self.labels(ids, tasks), longest=longest)

    def _read(self, level: str, ids: np.ndarray, count: np.ndarray) -> dict[str, torch.Tensor]:
        """All arrays of a level for these molecules, across datasets, in the order of `ids`."""
        plan = self._plan(level, ids, count)
        return {
            name: torch.from_numpy(self._gather(name, plan, int(count.sum())))
            for name in self.arrays[level]
        }

    def _plan(self, level: str, ids: np.ndarray, count: np.ndarray) -> list[_Stretch]:
        owner = np.searchsorted(self.starts, ids, side="right") - 1
        target_start = np.cumsum(count) - count
        plan = []
        for dataset in np.unique(owner):
            chosen = owner == dataset
            rows = ids[chosen] - self.starts[dataset]
            if level == "molecule":
                start = rows
            else:
                start = self.datasets[dataset].array(f"{level}_offset")[rows]
            source = ragged(start, count[chosen])
            plan.append(_Stretch(dataset, source, ragged(target_start[chosen], count[chosen])))
        return plan

    def _gather(self, name: str, plan: list[_Stretch], total: int) -> np.ndarray:
        if len(plan) == 1:  # one dataset: its rows are in order, no second copy
            return np.asarray(self.datasets[plan[0].dataset].array(name)[plan[0].source])
        sample = self.datasets[0].array(name)
        values = np.empty((total, *sample.shape[1:]), sample.dtype)
        for dataset, source, target in plan:
            values[target] = self.datasets[dataset].array(name)[source]
        return values

    def labels(self, ids: np.ndarray, tasks: Sequence[str]) -> dict[str, SparseLabels]:
        """The known labels of these molecules, by the key of their task; none without any."""
        ids = np.asarray(ids, np.int64)
        sizes = _Sizes(self.n_atoms[ids], self.n_bonds[ids])
        keys = find_tasks(self.tasks, tasks)
        labels = {key: self._labels_of(self.tasks[key], ids, sizes) for key in keys}
        return {key: known for key, known in labels.items() if known is not None}

    def _labels_of(self, task: DatasetTask, ids: np.ndarray, sizes: _Sizes) -> SparseLabels | None:
        pieces = []
        for dataset, name in task.members:
            shards = self.datasets[dataset]
            start, end = self.starts[dataset : dataset + 2]
            mols = np.flatnonzero((ids >= start) & (ids < end))
            rows = ids[mols] - start
            labelled = np.asarray(shards.array(f"{name}.index"))
            rank = np.searchsorted(labelled, rows)
            known = rank < len(labelled)
            known[known] = labelled[rank[known]] == rows[known]
            if known.any():
                entries = _Entries(mols[known], rank[known], rows[known])
                pieces.append(_PLACE[task.level](self, shards, task, name, entries, sizes))
        if not pieces:
            return None
        index, values = (np.concatenate(parts) for parts in zip(*pieces))
        return SparseLabels(torch.from_numpy(index), torch.from_numpy(values))


class _Entries(NamedTuple):
    """Labelled molecules of a batch: their place in it, in the task's arrays, and in the
    dataset.
    """

    mols: np.ndarray
    rank: np.ndarray
    rows: np.ndarray


def _stored(shards: Shards, name: str, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of a task for some labelled molecules, one after another, and how many each has."""
    offset = shards.array(f"{name}.offset")
    count = offset[rank + 1] - offset[rank]
    values = shards.array(f"{name}.values")[ragged(offset[rank], count)]
    return np.asarray(values, np.float32), count


def _place_molecules(corpus, shards, task, name, entries, sizes):
    values, _ = _stored(shards, name, entries.rank)
    return entries.mols, values


def _place_bonds(corpus, shards, task, name, entries, sizes):
    values, count = _stored(shards, name, entries.rank)
    n_bonds = sizes.n_bonds[entries.mols]
    start = (np.cumsum(sizes.n_bonds) - sizes.n_bonds)[entries.mols]
    # bonds between heavy atoms come first on disk, so a view without hydrogens reads a prefix
    return ragged(start, n_bonds), values[_prefix(count, n_bonds)]


def _place_pairs(corpus, shards, task, name, entries, sizes):
    values, _ = _stored(shards, name, entries.rank)
    n_heavy = np.asarray(shards.array("n_heavy")[entries.rows], np.int64)
    return _pair_index(entries.mols, n_heavy), values


def _place_atoms(corpus, shards, task, name, entries, sizes):
    values, count = _stored(shards, name, entries.rank)
    start = (np.cumsum(sizes.n_atoms) - sizes.n_atoms)[entries.mols]
    index = ragged(start, sizes.n_atoms[entries.mols])
    if not corpus.hydrogens:
        values = _without_hydrogens(shards, task, entries.rows, count, values)
    return index, values


# Labels of one dataset, put where the batch has the molecule, atom, bond or pair they belong to.
_PLACE: dict[str, Callable] = {
    "molecule": _place_molecules,
    "atom": _place_atoms,
    "bond": _place_bonds,
    "pair": _place_pairs,
}


def _prefix(count: np.ndarray, n_first: np.ndarray) -> np.ndarray:
    """Indices of the first `n_first` of each molecule's `count` entries."""
    return ragged(np.cumsum(count) - count, n_first)


def _pair_index(mols: np.ndarray, n_heavy: np.ndarray) -> np.ndarray:
    """(molecule, i, j) of the upper triangle, i < j, row by row, of each molecule."""
    first = ragged(np.zeros_like(n_heavy), n_heavy)
    n_partner = np.repeat(n_heavy, n_heavy) - 1 - first
    second = ragged(first + 1, n_partner)
    mol = np.repeat(np.repeat(mols, n_heavy), n_partner)
    return np.stack([mol, np.repeat(first, n_partner), second], 1)


def _without_hydrogens(
    shards: Shards, task: DatasetTask, rows: np.ndarray, count: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Labels of the heavy atoms: those of hydrogens added to them where the task says so."""
    n_heavy = np.asarray(shards.array("n_heavy")[rows], np.int64)
    if task.fold != "sum":
        return values[_prefix(count, n_heavy)]
    atoms = ragged(shards.array("atom_offset")[rows], count)
    parent = np.asarray(shards.array("parent")[atoms], np.int64)  # within the molecule
    first_heavy = np.cumsum(n_heavy) - n_heavy
    summed = np.zeros((int(n_heavy.sum()), values.shape[1]), np.float64)
    np.add.at(summed, parent + np.repeat(first_heavy, count), values)
    return summed.astype(np.float32)
