"""Curated datasets read as one sequence of molecules, with the labels that are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from ..errors import InputError
from ..shards import Shards, load_shards
from .batch import SPLITS, MolBatch, SparseLabels


def _ragged(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Indices start[i] .. start[i] + count[i] - 1, one run after another."""
    ends = np.cumsum(count)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(start - (ends - count), count)


class Corpus:
    """One or several curated datasets, read as one sequence of molecules, heavy atoms only
    unless asked otherwise.
    """

    def __init__(self, datasets: Sequence[Shards | str | Path], hydrogens: bool = False):
        self.datasets = [d if isinstance(d, Shards) else load_shards(d) for d in datasets]
        if not self.datasets:
            raise InputError(
                "a corpus needs at least one dataset: give the folder that curate() returned"
            )
        self.hydrogens = hydrogens
        self.starts = np.cumsum([0] + [d.n for d in self.datasets])
        self.n = int(self.starts[-1])
        tables = [self._counts(d) for d in self.datasets]
        self.n_atoms, self.n_bonds = (
            np.concatenate(column) for column in zip(*tables, strict=True)
        )

    def _counts(self, shards: Shards) -> tuple[np.ndarray, np.ndarray]:
        if self.hydrogens:
            return np.diff(shards.array("atom_offset")), np.diff(shards.array("bond_offset"))
        return np.asarray(shards.array("n_heavy"), np.int64), np.asarray(
            shards.array("n_heavy_bond"), np.int64
        )

    @property
    def tasks(self) -> dict[str, dict]:
        """The tasks of all datasets by name, as their manifests declare them."""
        return {name: task for d in self.datasets for name, task in d.manifest["tasks"].items()}

    def ids(self, part: str, split: str | None = None) -> np.ndarray:
        """Ascending ids of a part (train, val, test) of a split; by default the one each dataset
        names.
        """
        if part not in SPLITS:
            raise InputError(f"unknown part {part!r} of a split: choose one of {', '.join(SPLITS)}")
        found = []
        for start, shards in zip(self.starts, self.datasets, strict=False):
            name = split or shards.manifest["default_split"]
            if name not in shards.manifest["splits"]:
                raise InputError(
                    f"{shards.path} has no split {name!r}: it has {', '.join(shards.manifest['splits'])}"
                )
            found.append(
                start
                + np.flatnonzero(np.asarray(shards.array(f"split_{name}")) == SPLITS.index(part))
            )
        return np.concatenate(found)

    def labelled(self, tasks: Sequence[str]) -> np.ndarray:
        """Ascending ids of the molecules that carry at least one label of these tasks."""
        found = [np.zeros(0, np.int64)]
        for start, shards in zip(self.starts, self.datasets, strict=False):
            found += [
                start + np.asarray(shards.array(f"{t}.index"))
                for t in tasks
                if t in shards.manifest["tasks"]
            ]
        return np.unique(np.concatenate(found))

    def shared_with(self, others: Sequence[Shards]) -> np.ndarray:
        """Ascending ids of the molecules that another dataset also has, by either of the loose
        keys.
        """
        keys = ("inchikey14", "tautomer_key")
        theirs = {
            key: pa.chunked_array([c for o in others for c in o.table([key])[key].chunks])
            for key in keys
        }
        found = [np.zeros(0, np.int64)]
        for start, shards in zip(self.starts, self.datasets, strict=False):
            mine = shards.table(list(keys))
            same = [
                pc.is_in(mine[key], value_set=theirs[key]).to_numpy(zero_copy_only=False)
                for key in keys
            ]
            found.append(start + np.flatnonzero(same[0] | same[1]))
        return np.concatenate(found)

    def batch(self, ids: np.ndarray, tasks: Sequence[str] = ()) -> MolBatch:
        """The molecules `ids` as one flat batch, in that order, with the known labels of
        `tasks`.
        """
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
            labels={
                t: known
                for t in tasks
                if (known := self._known(t, ids, n_atoms, n_bonds)) is not None
            },
            longest=int(n_atoms.max(initial=0)),
        )

    def _gather(self, ids: np.ndarray, counts: np.ndarray, level: str):
        """A function that reads one flat array of a level for these molecules, across datasets,
        in their order.
        """
        owner = np.searchsorted(self.starts, ids, side="right") - 1
        ends = np.cumsum(counts)
        plan = []
        for d in np.unique(owner):
            mine = owner == d
            start = self.datasets[d].array(f"{level}_offset")[ids[mine] - self.starts[d]]
            plan.append(
                (d, _ragged(start, counts[mine]), _ragged((ends - counts)[mine], counts[mine]))
            )

        def read(name: str) -> np.ndarray:
            if len(plan) == 1:
                return np.asarray(self.datasets[plan[0][0]].array(name)[plan[0][1]])
            sample = self.datasets[0].array(name)
            out = np.empty((int(ends[-1]), *sample.shape[1:]), sample.dtype)
            for d, there, here in plan:
                out[here] = self.datasets[d].array(name)[there]
            return out

        return read

    def _known(
        self, task: str, ids: np.ndarray, n_atoms: np.ndarray, n_bonds: np.ndarray
    ) -> SparseLabels | None:
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
                    shards,
                    task,
                    mine[hit],
                    rank[hit],
                    ids[mine[hit]] - self.starts[d],
                    n_atoms,
                    n_bonds,
                )
                index.append(at)
                values.append(value)
        if not index:
            return None
        return SparseLabels(
            torch.from_numpy(np.concatenate(index)), torch.from_numpy(np.concatenate(values))
        )

    def _place(
        self, shards, task, mols, rank, samples, n_atoms, n_bonds
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels of one dataset put where the batch has the molecule, atom, bond or pair they
        belong to.
        """
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
    return np.stack(
        [np.repeat(np.repeat(mols, n_heavy), partners), np.repeat(first, partners), second], 1
    )


def _fold(
    shards: Shards, task: str, samples: np.ndarray, count: np.ndarray, value: np.ndarray
) -> np.ndarray:
    """Atom labels for a view without hydrogens: summed onto the heavy atom where the task says
    so, else dropped.
    """
    n_heavy = np.asarray(shards.array("n_heavy"), np.int64)[samples]
    keep = _prefix(count, n_heavy)
    if shards.manifest["tasks"][task].get("fold") != "sum":
        return value[keep]
    parent = np.asarray(
        shards.array("parent")[_ragged(shards.array("atom_offset")[samples], count)], np.int64
    )
    base = np.cumsum(n_heavy) - n_heavy
    folded = np.zeros((int(n_heavy.sum()), value.shape[1]), np.float64)
    np.add.at(folded, parent + np.repeat(base, count), value)
    return folded.astype(np.float32)
