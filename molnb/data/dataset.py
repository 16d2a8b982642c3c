"""Curated datasets read as one sequence of molecules, with the labels that are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from ..errors import InputError
from ..shapes import Float, Int
from ..shards import LOOSE_KEYS, SPLIT_VALUES, Shards, label_numbers, load_shards
from .batch import MolBatch, SparseLabels
from .encodings.catalogue import check_names, parse, with_encodings
from .encodings.stored import is_stored, stored_level, stored_name
from .tasks import DatasetTask, find_tasks, join_tasks

# What every dataset has of its atoms and bonds; `arrays` of a Corpus names more.
_ARRAYS = {
    "molecule": (),
    "atom": ("numbers", "atom_feats"),  # and coords, of which a molecule may have several
    "bond": ("bonds", "bond_feats"),
}
_COUNTED = ("ids", "n_atoms", "n_bonds")  # arrays of molecules that a batch makes itself


SEVERAL = "n_conformers"  # the array that datasets have whose molecules have several geometries
# (dataset, which molecules, their rows in it) -> where each begins in an array of the dataset
FirstRow = Callable[[int, np.ndarray, np.ndarray], np.ndarray]


def ragged(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The indices start[i] .. start[i] + count[i] - 1, one stretch after another."""
    ends = np.cumsum(count)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(start - (ends - count), count)


def spread(values: np.ndarray, label: np.ndarray, count: np.ndarray, n_label: int) -> np.ndarray:
    """Known values of some molecules, `count` of each, as a row a molecule; NaN is unknown."""
    rows = np.full((len(count), n_label), np.nan, values.dtype)
    rows[np.repeat(np.arange(len(count)), count), label] = values
    return rows


class _Transfer(NamedTuple):
    """Rows of one dataset's flat arrays, and the rows of a batch that they become."""

    dataset: int
    source: np.ndarray
    target: np.ndarray


class _Sizes(NamedTuple):
    """Atoms and bonds of each molecule, of a dataset or of a batch."""

    n_atoms: np.ndarray
    n_bonds: np.ndarray


class _StoredLabels(NamedTuple):
    """What one dataset knows of a task about the molecules of a batch."""

    mols: np.ndarray  # the labelled molecules, by their position in the batch
    rows: np.ndarray  # and in the dataset
    values: np.ndarray  # float [item, label], the items of one molecule after another
    count: np.ndarray  # items of each of these molecules
    label: np.ndarray | None  # where values are [known] ones alone: the label of each


class _PlacedLabels(NamedTuple):
    """Labels of one dataset as `SparseLabels` has them, still numpy arrays."""

    index: np.ndarray
    values: np.ndarray


class KnownCells(NamedTuple):
    """Known labels of a task and nothing else: which label each is, and its value."""

    label: Int[np.ndarray, " known"]
    values: Float[np.ndarray, " known"]


class Corpus:
    """One or several curated datasets, read as one sequence of molecules.

    Hydrogens are left out unless asked for. `arrays` names further arrays of molecules, atoms or
    bonds that the datasets keep (`shards.add_array`), which then stand in every batch. So do the
    `encodings` of their graphs (`encodings.catalogue`): read where all datasets keep them
    (`encodings.stored.keep_encodings`), computed with each batch otherwise.
    """

    def __init__(
        self,
        datasets: Sequence[Shards | str | Path],
        hydrogens: bool = False,
        arrays: Sequence[str] = (),
        encodings: Sequence[str] = (),
    ):
        self.datasets = [d if isinstance(d, Shards) else load_shards(d) for d in datasets]
        if not self.datasets:
            raise InputError(
                "a corpus needs at least one dataset: give the folder that curate() returned"
            )
        self.hydrogens = hydrogens
        self.starts = np.cumsum([0] + [shards.n for shards in self.datasets])
        self.n = int(self.starts[-1])
        sizes = [self._sizes(shards) for shards in self.datasets]
        self.n_atoms = np.concatenate([of_dataset.n_atoms for of_dataset in sizes])
        self.n_bonds = np.concatenate([of_dataset.n_bonds for of_dataset in sizes])
        self.tasks: dict[str, DatasetTask] = join_tasks(self.datasets)
        self.arrays = {level: [*names] for level, names in _ARRAYS.items()}
        for name in arrays:
            level = self._level_of(name)
            if hydrogens and level.startswith("heavy_"):
                raise InputError(
                    f"the array {name!r} has rows for heavy atoms alone, and hydrogens are asked "
                    "for: leave them out, or add an array that has rows for them"
                )
            if level == "molecule" and name in _COUNTED:
                raise InputError(
                    f"the array {name!r} cannot be read, every batch counts one of its own: add it "
                    "again under another name (shards.add_array)"
                )
            self.arrays[level.removeprefix("heavy_")].append(name)
        check_names(encodings)
        self.encodings = tuple(dict.fromkeys(encodings))
        self._stored = [name for name in self.encodings if self._is_stored(name)]

    def _sizes(self, shards: Shards) -> _Sizes:
        """Atoms and bonds of each molecule of a dataset, as far as the model sees them."""
        if self.hydrogens:
            return _Sizes(
                n_atoms=np.diff(shards.array("atom_offset")).astype(np.int32),
                n_bonds=np.diff(shards.array("bond_offset")).astype(np.int32),
            )
        return _Sizes(
            n_atoms=np.asarray(shards.array("n_heavy"), np.int32),
            n_bonds=np.asarray(shards.array("n_heavy_bond"), np.int32),
        )

    def _sizes_of(self, ids: np.ndarray) -> _Sizes:
        """Atoms and bonds of some molecules, as numbers that can be added up."""
        return _Sizes(self.n_atoms[ids].astype(np.int64), self.n_bonds[ids].astype(np.int64))

    def _is_stored(self, encoding: str) -> bool:
        """Whether all datasets keep an encoding."""
        return all(is_stored(shards, encoding, self.hydrogens) for shards in self.datasets)

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
        """Ascending ids of a part (train, val, test, test_seen) of a split; default: its own."""
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

    def labelled(self, tasks: Sequence[str], ids: np.ndarray | None = None) -> np.ndarray:
        """Ascending ids of the molecules, perhaps of some `ids` only, that carry any of the labels.

        That is at least one label of these tasks.
        """
        is_labelled = np.zeros(self.n, bool)  # a byte a molecule, where lists of ids take eight
        for key in find_tasks(self.tasks, tasks):
            for dataset, name in self.tasks[key].members:
                start, end = self.starts[dataset : dataset + 2]
                is_labelled[start:end][self.datasets[dataset].array(f"{name}.index")] = True
        if ids is not None:
            is_chosen = np.zeros(self.n, bool)
            is_chosen[ids[(ids >= 0) & (ids < self.n)]] = True
            is_labelled &= is_chosen
        return np.flatnonzero(is_labelled)

    def shared_with(self, others: Sequence[Shards]) -> np.ndarray:
        """Ascending ids of the molecules that another dataset also has, by either loose key."""
        keys_of_others = {}
        for key in LOOSE_KEYS:
            columns = [shards.table([key])[key] for shards in others]
            chunks = [chunk for column in columns for chunk in column.chunks]
            keys_of_others[key] = pa.chunked_array(chunks)
        ids = [np.zeros(0, np.int64)]
        for start, shards in zip(self.starts, self.datasets, strict=False):
            table = shards.table(list(LOOSE_KEYS))
            shared = np.zeros(shards.n, bool)
            for key, values in keys_of_others.items():
                same_key = pc.is_in(table[key], value_set=values)
                shared |= same_key.to_numpy(zero_copy_only=False)
            ids.append(start + np.flatnonzero(shared))
        return np.concatenate(ids)

    def sharing(self, ids: np.ndarray, columns: Sequence[str]) -> np.ndarray:
        """Ascending ids of the molecules that agree with some of these in one of the columns.

        Texts that are null or empty agree with none.
        """
        is_chosen = np.zeros(self.n, bool)
        is_chosen[ids] = True
        is_sharing = np.zeros(self.n, bool)
        for name in columns:
            texts = [shards.table([name])[name] for shards in self.datasets]
            parts = [*zip(self.starts, self.starts[1:], texts)]
            chosen = [pc.unique(t.filter(pa.array(is_chosen[i:j]))) for i, j, t in parts]
            values = pc.unique(pa.chunked_array(chosen))
            values = values.filter(pc.not_equal(values, ""))  # null is not unequal, and left out
            for i, j, of_dataset in parts:
                is_sharing[i:j] |= pc.is_in(of_dataset, value_set=values).to_numpy()
        return np.flatnonzero(is_sharing)

    def n_conformers(self, ids: np.ndarray) -> np.ndarray:
        """How many geometries each of these molecules has."""
        ids = np.asarray(ids, np.int64)
        count = np.ones(len(ids), np.int64)
        for dataset, chosen, rows in self._rows_by_dataset(ids):
            shards = self.datasets[dataset]
            if SEVERAL in shards.array_names:
                count[chosen] = shards.array(SEVERAL)[rows]
        return count

    def batch(
        self,
        ids: np.ndarray,
        tasks: Sequence[str] = (),
        conformers: np.ndarray | None = None,
    ) -> MolBatch:
        """The molecules `ids`, in that order, as a flat batch with the known labels of `tasks`.

        `conformers` says by number which geometry of each is taken, by default the first.
        """
        ids = np.asarray(ids, np.int64)
        n_atoms, n_bonds = self._sizes_of(ids)
        molecule = self._read("molecule", ids, np.ones(len(ids), np.int64))
        molecule["ids"] = torch.from_numpy(ids)
        molecule["n_atoms"] = torch.from_numpy(n_atoms)
        molecule["n_bonds"] = torch.from_numpy(n_bonds)
        bond = self._read("bond", ids, n_bonds)
        bond["bonds"] = bond["bonds"].to(torch.int64)
        atom = self._read("atom", ids, n_atoms)
        atom["coords"] = self._read_coords(ids, n_atoms, conformers)
        batch = MolBatch(
            molecule=molecule,
            atom=atom,
            bond=bond,
            labels=self.labels(ids, tasks),
            longest=int(n_atoms.max(initial=0)),
        )
        return with_encodings(batch, self.encodings)  # those that were not read

    def array_of_molecules(self, name: str, ids: np.ndarray) -> np.ndarray:
        """An array of molecules by name, for some of them, without all else of a batch."""
        ids = np.asarray(ids, np.int64)
        transfers = self._transfers(ids, np.ones(len(ids), np.int64), self._first_row("molecule"))
        return self._gather(name, transfers, len(ids))

    def _read(self, level: str, ids: np.ndarray, count: np.ndarray) -> dict[str, torch.Tensor]:
        """All arrays of a level for these molecules, across datasets, in the order of `ids`."""
        n_row = int(count.sum())
        arrays = {}
        for array_level, names in self._array_names(level).items():
            transfers = self._transfers(ids, count, self._first_row(array_level))
            for name, stored in names.items():
                arrays[name] = torch.from_numpy(self._gather(stored, transfers, n_row))
        return arrays

    def _array_names(self, level: str) -> dict[str, dict[str, str]]:
        """Names of the arrays of a level in a batch, with those on disk, by their level there."""
        names: dict[str, dict[str, str]] = {}
        for name in self.arrays[level]:
            is_usual = name in _ARRAYS[level]
            level_on_disk = level if is_usual else self.datasets[0].array_level(name)
            names.setdefault(level_on_disk, {})[name] = name
        for name in self._stored:
            if parse(name).level == level:
                level_on_disk = stored_level(name, self.hydrogens)
                stored = stored_name(name, self.hydrogens)
                names.setdefault(level_on_disk, {})[name] = stored
        return names

    def _read_coords(
        self, ids: np.ndarray, count: np.ndarray, conformers: np.ndarray | None
    ) -> torch.Tensor:
        """Coordinates (Å) of these molecules, of one conformer each."""

        def start(dataset: int, chosen: np.ndarray, rows: np.ndarray) -> np.ndarray:
            shards = self.datasets[dataset]
            atom_offset = shards.array("atom_offset")
            if SEVERAL not in shards.array_names:
                return atom_offset[rows]
            first = shards.array("coord_offset")[rows]
            if conformers is None:
                return first
            return first + conformers[chosen] * (atom_offset[rows + 1] - atom_offset[rows])

        transfers = self._transfers(ids, count, start)
        return torch.from_numpy(self._gather("coords", transfers, int(count.sum())))

    def _rows_by_dataset(self, ids: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Each dataset of some molecules, which of them it has, and their rows in it."""
        dataset_of_id = np.searchsorted(self.starts, ids, side="right") - 1
        for dataset in np.unique(dataset_of_id):
            chosen = np.flatnonzero(dataset_of_id == dataset)
            yield int(dataset), chosen, ids[chosen] - self.starts[dataset]

    def _first_row(self, level: str) -> FirstRow:
        """Where a molecule's rows of a level begin in the arrays of a dataset."""

        def start(dataset: int, chosen: np.ndarray, rows: np.ndarray) -> np.ndarray:
            return self.datasets[dataset].offsets(level)[rows]

        return start

    def _transfers(self, ids: np.ndarray, count: np.ndarray, start: FirstRow) -> list[_Transfer]:
        """Which rows of each dataset's arrays a batch takes; `count` is how many a molecule has.

        Without hydrogens a molecule takes its first rows only: heavy atoms, and the bonds between
        them, stand first on disk.
        """
        target_start = np.cumsum(count) - count  # of each molecule, in the batch
        transfers = []
        for dataset, chosen, rows in self._rows_by_dataset(ids):
            source = ragged(start(dataset, chosen, rows), count[chosen])
            target = ragged(target_start[chosen], count[chosen])
            transfers.append(_Transfer(dataset, source, target))
        return transfers

    def _gather(self, name: str, transfers: list[_Transfer], n_row: int) -> np.ndarray:
        """One array of a batch, of `n_row` rows."""
        if len(transfers) == 1:  # one dataset: its rows are in order, no second copy
            dataset, source, _ = transfers[0]
            return np.asarray(self.datasets[dataset].array(name)[source])
        arrays = [self.datasets[transfer.dataset].array(name) for transfer in transfers]
        arrays = arrays or [self.datasets[0].array(name)]
        # one dataset may keep integers, another fractions
        dtype = np.result_type(*(array.dtype for array in arrays))
        values = np.empty((n_row, *arrays[0].shape[1:]), dtype)
        for dataset, source, target in transfers:
            values[target] = self.datasets[dataset].array(name)[source]
        return values

    def labels(self, ids: np.ndarray, tasks: Sequence[str]) -> dict[str, SparseLabels]:
        """The known labels of these molecules, by the key of their task.

        A task of which nothing is known about any of them has no entry.
        """
        ids = np.asarray(ids, np.int64)
        sizes = self._sizes_of(ids)
        labels = {}
        for key in find_tasks(self.tasks, tasks):
            of_task = self._labels_of(self.tasks[key], ids, sizes)
            if of_task is not None:
                labels[key] = of_task
        return labels

    def _labels_of(self, task: DatasetTask, ids: np.ndarray, sizes: _Sizes) -> SparseLabels | None:
        """Labels of one task, from each dataset that has it; None where nothing is known."""
        indices = []
        values = []
        for dataset, name in task.members:
            stored = self._stored_labels(dataset, name, ids)
            if len(stored.mols):
                placed = self._place(task, self.datasets[dataset], stored, sizes)
                indices.append(placed.index)
                values.append(placed.values)
        if not indices:
            return None
        return SparseLabels(
            index=torch.from_numpy(np.concatenate(indices)),
            values=torch.from_numpy(np.concatenate(values)),
        )

    def known_cells(self, ids: np.ndarray, key: str) -> KnownCells:
        """The known labels of these molecules in one task, without a place for unknown ones."""
        ids = np.asarray(ids, np.int64)
        sizes = self._sizes_of(ids)
        task = self.tasks[key]
        cells = []
        for dataset, name in task.members:
            stored = self._stored_labels(dataset, name, ids)
            values = stored.values
            label = stored.label
            if label is None:
                values = self._place(task, self.datasets[dataset], stored, sizes).values
                label = np.broadcast_to(np.arange(len(task.labels)), values.shape)
            is_known = ~np.isnan(values)
            cells.append(KnownCells(label[is_known], values[is_known]))
        return KnownCells(*(np.concatenate(arrays) for arrays in zip(*cells, strict=True)))

    def _stored_labels(self, dataset: int, name: str, ids: np.ndarray) -> _StoredLabels:
        """What a dataset's task `name` holds about the molecules `ids`, as it lies on disk."""
        shards = self.datasets[dataset]
        start, end = self.starts[dataset : dataset + 2]
        mols = np.flatnonzero((ids >= start) & (ids < end))
        rows = ids[mols] - start
        # The task keeps the rows of its labelled molecules, ascending: where each of ours would
        # stand, and whether it does.
        labelled_rows = np.asarray(shards.array(f"{name}.index"))
        rank = np.searchsorted(labelled_rows, rows)
        is_labelled = rank < len(labelled_rows)
        is_labelled[is_labelled] = labelled_rows[rank[is_labelled]] == rows[is_labelled]
        rank = rank[is_labelled]
        offset = shards.array(f"{name}.offset")
        count = offset[rank + 1] - offset[rank]
        entries = ragged(offset[rank], count)
        values = shards.array(f"{name}.values")[entries]
        if shards.tasks[name]["kind"] != "regression":
            values = label_numbers(values, np.float32)  # class numbers: exact, in half the memory
        label = None
        if values.ndim == 1:  # known values alone, each with its label
            label = np.asarray(shards.array(f"{name}.label")[entries])
        return _StoredLabels(
            mols=mols[is_labelled],
            rows=rows[is_labelled],
            values=np.asarray(values),
            count=count,
            label=label,
        )

    def _place(
        self, task: DatasetTask, shards: Shards, stored: _StoredLabels, sizes: _Sizes
    ) -> _PlacedLabels:
        """Stored labels with the place in the batch of what each belongs to."""
        mols = stored.mols
        if stored.label is not None:
            rows = spread(stored.values, stored.label, stored.count, len(task.labels))
            return _PlacedLabels(mols, rows)
        if task.level == "molecule":
            return _PlacedLabels(mols, stored.values)
        if task.level == "pair":
            n_heavy = np.asarray(shards.array("n_heavy")[stored.rows], np.int64)
            is_square = stored.count.sum() == (n_heavy**2).sum()  # labels of ordered pairs
            index = _square_index if is_square else _pair_index
            return _PlacedLabels(index(mols, n_heavy), stored.values)
        if task.level == "bond":
            # Bonds between heavy atoms come first on disk: without hydrogens these are read.
            values = stored.values[_prefix(stored.count, sizes.n_bonds[mols])]
            return _PlacedLabels(_items_of(mols, sizes.n_bonds), values)
        values = stored.values
        if not self.hydrogens:
            values = _without_hydrogens(shards, task, stored)
        return _PlacedLabels(_items_of(mols, sizes.n_atoms), values)


def _items_of(mols: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Positions in a batch of all atoms (or bonds) of some of its molecules.

    `sizes` says how many each molecule of the batch has.
    """
    start = np.cumsum(sizes) - sizes
    return ragged(start[mols], sizes[mols])


def _prefix(count: np.ndarray, n_first: np.ndarray) -> np.ndarray:
    """Positions of the first `n_first` of each molecule's `count` items, which lie in a row."""
    return ragged(np.cumsum(count) - count, n_first)


def _pair_index(mols: np.ndarray, n_heavy: np.ndarray) -> np.ndarray:
    """(molecule, i, j) of the upper triangle, i < j, row by row, of each molecule."""
    first = ragged(np.zeros_like(n_heavy), n_heavy)  # 0, 1, ... of each molecule
    n_partner = np.repeat(n_heavy, n_heavy) - 1 - first  # atoms after it
    second = ragged(first + 1, n_partner)
    mol = np.repeat(np.repeat(mols, n_heavy), n_partner)
    return np.stack([mol, np.repeat(first, n_partner), second], 1)


def _square_index(mols: np.ndarray, n_heavy: np.ndarray) -> np.ndarray:
    """(molecule, i, j) of all ordered pairs, an atom with itself too, row by row."""
    first = ragged(np.zeros_like(n_heavy), n_heavy)
    n_partner = np.repeat(n_heavy, n_heavy)
    second = ragged(np.zeros_like(n_partner), n_partner)
    mol = np.repeat(np.repeat(mols, n_heavy), n_partner)
    return np.stack([mol, np.repeat(first, n_partner), second], 1)


def _without_hydrogens(shards: Shards, task: DatasetTask, stored: _StoredLabels) -> np.ndarray:
    """Labels of the heavy atoms: those of hydrogens added to them where the task says so."""
    n_heavy = np.asarray(shards.array("n_heavy")[stored.rows], np.int64)
    if task.fold != "sum":
        return stored.values[_prefix(stored.count, n_heavy)]
    atoms = ragged(shards.array("atom_offset")[stored.rows], stored.count)
    parent = np.asarray(shards.array("parent")[atoms], np.int64)  # within the molecule
    first_heavy = np.cumsum(n_heavy) - n_heavy
    summed = np.zeros((int(n_heavy.sum()), stored.values.shape[1]), np.float64)
    # Every atom, heavy ones too, adds to the heavy atom that it belongs to.
    np.add.at(summed, parent + np.repeat(first_heavy, stored.count), stored.values)
    return summed.astype(np.float32)
