"""Use a trained run: embeddings and predictions for any molecules, in the order and the atom order
they were given.

SMILES and RDKit molecules are treated as in curation (`prepared`), so any spelling gives the same
answer; curated molecules are read from their shards. What cannot be used gets an error in its row,
and the others go on. What training never saw contributes nothing, and is named (`unseen`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from rdkit import Chem

from ..chemistry.failures import MoleculeError
from ..data.batch import MolBatch
from ..data.dataset import Corpus
from ..data.masked import MaskedBatch
from ..data.sampling import size_buckets
from ..errors import InputError
from ..models.heads import every_index
from ..models.model import run_encoder
from ..objectives.supervised import Supervised
from ..objectives.targets import ScaledTask
from ..shards import Shards
from ..training.device import autocast, choose_device, keep_freed_memory
from ..training.runs import Run, find_run
from ..training.unseen import Unseen
from .featurizer import (
    FeaturizedMolecule,
    MoleculeInput,
    featurize_chunks,
    flat_batch,
)

EMBED_LEVELS = ("molecule", "atom", "pair")
MAX_NUMBERS = (
    2**24
)  # of output that is held at once while answers are streamed (64 MiB), or one molecule
_STORED = 4096  # curated molecules read together


class PredictionRow(NamedTuple):
    """One row of output: `values` by column, or an `error` and no values; `unseen` features
    contributed nothing.
    """

    row: int
    input_smiles: str | None
    smiles: str | None
    values: dict[str, np.ndarray | float] | None
    error: str | None
    unseen: tuple[str, ...] = ()


class TrainedModel:
    """A run's model with its vocabulary and scales: `embed` and `predict` take SMILES, molecules
    or shards.
    """

    def __init__(self, run: Run, device: str = "auto"):
        self.run, self.config, self.device = run, run.config, choose_device(device)
        keep_freed_memory()
        self.model = run.load_model().to(self.device)
        self.unseen = Unseen.named(
            run.unseen(), self.config.model.conventions.chirality == "parity"
        )

    @property
    def tasks(self) -> tuple[ScaledTask, ...]:
        objective = self.config.objective
        return objective.tasks_scaled if isinstance(objective, Supervised) else ()

    def embed(
        self,
        molecules: str | Chem.Mol | Sequence[str | Chem.Mol] | Shards,
        level: str = "molecule",
        conformer: str = "new",
    ) -> np.ndarray | list[np.ndarray | None]:
        """Encoder output as float32: `[molecule, d_atom]`, or a list of arrays, one a molecule.

        Level "atom" gives `[heavy atom, d_atom]`, level "pair" `[heavy atom, heavy atom, d_pair]`;
        the pair track is not symmetric: row i, column j as in the encoder. Rows are in input order;
        atoms are the heavy atoms in the order of the SMILES or RDKit molecule given (its hydrogens
        are left out, also where the model sees hydrogens), and for `Shards` in the order of the
        stored SMILES and arrays. NaN (None in lists) where a molecule failed, and NaN for atoms of
        removed salts; `answers` also gives the reasons. Atoms that the symmetry of the graph makes
        equivalent have different places in a conformer, and any of them may come first.

        A SMILES and an RDKit molecule get the conformer that curation would give them. With
        ``conformer="given"`` an RDKit molecule keeps its own 3D coordinates. Shards always keep
        theirs.
        """
        if isinstance(molecules, Shards):
            rows = self.stored_answers(molecules, level)
        else:
            rows = self.answers(_as_list(molecules), level, conformer=conformer)
        values = [r.values["embedding"] if r.values else None for r in rows]
        if level != "molecule":
            return values
        found = np.full((len(values), self.config.model.d_atom), np.nan, np.float32)
        for row, value in zip(found, values):
            if value is not None:
                row[:] = value
        return found

    def predict(
        self, molecules: str | Chem.Mol | Sequence[str | Chem.Mol], conformer: str = "new"
    ) -> dict[str, np.ndarray | list]:
        """Labels in their units, one entry `<label>_<unit>` each; NaN or None where a molecule
        failed.

        Atom labels follow the input's atom order; bond and pair labels follow the standardised
        SMILES of `answers`.
        """
        rows = list(self.answers(_as_list(molecules), None, conformer=conformer))
        found: dict[str, np.ndarray | list] = {}
        for task in self.tasks:
            for name in prediction_columns(task):
                values = [r.values[name] if r.values else None for r in rows]
                if task.level == "molecule":
                    values = np.array([np.nan if v is None else v for v in values])
                found[name] = values
        return found

    def embed_shards(self, shards: Shards) -> np.ndarray:
        """Embeddings `[molecule, d_atom]` of curated molecules from the geometries on disk, in
        sample order.
        """
        return self.embed(shards)

    def answers(
        self,
        molecules: Iterable[MoleculeInput],
        level: str | None,
        workers: int = 0,
        conformer: str = "new",
    ) -> Iterator[PredictionRow]:
        """Stream answers in input order: embeddings of a level, or predictions where `level` is
        None.

        Reads ahead a few chunks only. `workers` processes prepare conformers; 0 prepares them here.
        """
        self.check_level(level)
        row = itertools.count()
        for given, prepared in featurize_chunks(molecules, workers, conformer):
            prepared = [self._with_hydrogens(m) for m in prepared]
            values = self._evaluated(
                [m for m in prepared if isinstance(m, FeaturizedMolecule)], level
            )
            for what, molecule in zip(given, prepared):
                if isinstance(molecule, FeaturizedMolecule):
                    found, unseen = next(values)
                    yield PredictionRow(
                        next(row), _as_text(what), molecule.smiles, found, None, unseen
                    )
                else:
                    yield PredictionRow(next(row), _as_text(what), None, None, molecule)

    def stored_answers(self, shards: Shards, level: str) -> Iterator[PredictionRow]:
        """Stream embeddings of curated molecules from the geometries on disk; `row` is that of
        the source.
        """
        self.check_level(level)
        corpus = Corpus([shards], self.config.model.hydrogens)
        n_heavy = np.asarray(shards.array("n_heavy"), int)
        about, columns = _stored_rows(shards), ["row", "input_smiles", "smiles"]
        for first in range(0, corpus.n, _STORED):
            ids = np.arange(first, min(first + _STORED, corpus.n))
            for part in np.split(ids, self._portions(n_heavy[ids], level)):
                found: list = [None] * len(part)
                for group in size_buckets(corpus.n_atoms[part], self.config.pair_budget):
                    batch = corpus.batch(part[group])
                    values = self._embedded(batch, n_heavy[part[group]], level)
                    for at, value, unseen in zip(group, values, self.unseen.notes(batch)):
                        found[at] = ({"embedding": value.copy()}, None, unseen)
                for rest in found:
                    stored = next(about)
                    yield PredictionRow(*(stored[c] for c in columns), *rest)

    def check_level(self, level: str | None) -> None:
        """Refuse a level of embeddings that does not exist, or predictions (None) of a run
        without labels.
        """
        if level is None and not self.tasks:
            raise InputError(
                f"{self.run.path} was trained without labels, so it has nothing to predict: "
                "use embed, or train a preset with labels (`molnb train labels_tiny`)"
            )
        if level is not None and level not in EMBED_LEVELS:
            raise InputError(f"unknown level {level!r}: choose one of {', '.join(EMBED_LEVELS)}")

    def _with_hydrogens(self, molecule: FeaturizedMolecule | str) -> FeaturizedMolecule | str:
        """The molecule, or an error where the model sees hydrogens that have no coordinates."""
        if not self.config.model.hydrogens or isinstance(molecule, str):
            return molecule
        if len(molecule.coords) == len(molecule.arrays["numbers"]):
            return molecule
        return str(
            MoleculeError(
                "no 3D coordinates", "this model sees hydrogens: add those of the parent in 3D"
            )
        )

    def _portions(self, sizes: np.ndarray, level: str | None) -> np.ndarray:
        """Where to split a sequence of molecules, so that no part's output is too large to be
        held at once.
        """
        c = self.config.model
        width = {"pair": sizes**2 * c.d_pair, "atom": sizes * c.d_atom}.get(
            level, np.full(len(sizes), c.d_atom)
        )
        splits, held = [], 0
        for at, numbers in enumerate(width.tolist()):
            if at and held + numbers > MAX_NUMBERS:
                splits.append(at)
                held = 0
            held += numbers
        return np.array(splits, int)

    def _evaluated(
        self, molecules: list[FeaturizedMolecule], level: str | None
    ) -> Iterator[tuple[dict, tuple[str, ...]]]:
        """Values and unseen features of each molecule, in the order given; batches are by size."""
        hydrogens = self.config.model.hydrogens
        sizes = np.array(
            [len(m.arrays["numbers"]) if hydrogens else m.arrays["n_heavy"] for m in molecules], int
        )
        outputs = np.array([m.n_input for m in molecules], int)
        for part in np.split(np.arange(len(molecules)), self._portions(outputs, level)):
            found: list = [None] * len(part)
            for group in size_buckets(sizes[part], self.config.pair_budget):
                mine = [molecules[i] for i in part[group]]
                batch = flat_batch(mine, hydrogens)
                if level is None:
                    rows = self._predicted(batch, mine)
                else:
                    values = self._embedded(batch, [m.arrays["n_heavy"] for m in mine], level)
                    rows = [
                        {"embedding": _in_input_order(v, m, level)} for v, m in zip(values, mine)
                    ]
                for at, values, unseen in zip(group, rows, self.unseen.notes(batch)):
                    found[at] = (values, unseen)
            yield from found

    @torch.no_grad()
    def _embedded(self, batch: MolBatch, n_heavy: Sequence[int], level: str) -> list[np.ndarray]:
        """The track of a level, its heavy atoms in the order of the batch."""
        question = _nothing_withheld(batch.to(self.device))
        with autocast(self.device, self.config.precision):
            tracks = run_encoder(self.model.encoder, question, molecule_only=level != "pair")
            track = {
                "molecule": lambda: tracks.molecule,
                "atom": lambda: tracks.atoms,
                "pair": lambda: tracks.pairs,
            }
            values = track[level]().float().cpu().numpy()
        if level == "molecule":
            return list(values)
        if level == "atom":
            return [v[1 : 1 + n] for v, n in zip(values, n_heavy)]
        return [v[1 : 1 + n, 1 : 1 + n] for v, n in zip(values, n_heavy)]

    @torch.no_grad()
    def _predicted(self, batch: MolBatch, molecules: list[FeaturizedMolecule]) -> list[dict]:
        question = _nothing_withheld(batch.to(self.device))
        with autocast(self.device, self.config.precision):
            tracks = run_encoder(
                self.model.encoder, question, all(t.level == "molecule" for t in self.tasks)
            )
            rows: list[dict] = [{} for _ in molecules]
            for task in self.tasks:
                index = every_index(question.batch, task.level)
                raw = self.model.heads[task.name](tracks, question.batch, index).float()
                values = _in_units(task, raw).cpu().numpy()
                owner = _owner(task.level, question.batch, index).cpu().numpy()
                for at, molecule in enumerate(molecules):
                    mine = values[owner == at]
                    for name, column in zip(prediction_columns(task), mine.T):
                        rows[at][name] = _as_value(task.level, column, molecule)
        return rows


def load_run(path: str | Path, device: str = "auto") -> TrainedModel:
    """The trained model of a run's folder (or of its name below ``MOLNB_HOME/runs``)."""
    return TrainedModel(find_run(path), device)


def _nothing_withheld(batch: MolBatch) -> MaskedBatch:
    """All atoms, all features, the geometry as it is."""
    visible = torch.ones(batch.n_mol, dtype=torch.bool, device=batch.numbers.device)
    return MaskedBatch(
        batch, torch.zeros_like(batch.numbers, dtype=torch.bool), batch.coords, visible, {}
    )


def prediction_columns(task: ScaledTask) -> list[str]:
    """Names of a task's columns in tables: `<label>_<unit>`; a binary label is a probability."""
    units = task.units if task.kind != "binary" else ["probability"] * len(task.labels)
    names = [
        f"{label}_{unit}" if unit not in ("", "1") else label
        for label, unit in zip(task.labels, units)
    ]
    return [re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") for name in names]


def _in_units(task: ScaledTask, raw: torch.Tensor) -> torch.Tensor:
    if task.kind == "binary":
        return torch.sigmoid(raw)
    return raw * raw.new_tensor(task.scale) + raw.new_tensor(task.mean)


def _owner(level: str, batch: MolBatch, index: torch.Tensor) -> torch.Tensor:
    if level == "molecule":
        return index
    if level == "pair":
        return index[:, 0]
    return (batch.mol_of_atom() if level == "atom" else batch.mol_of_bond())[index]


def _as_value(level: str, column: np.ndarray, molecule: FeaturizedMolecule) -> float | np.ndarray:
    if level == "molecule":
        return float(column[0])
    return (
        _in_input_order(column[: molecule.arrays["n_heavy"]], molecule, level)
        if level == "atom"
        else column
    )


def _in_input_order(values: np.ndarray, molecule: FeaturizedMolecule, level: str) -> np.ndarray:
    """Values of canonical atoms, or pairs of them, where the input has them; NaN for atoms that
    were removed.
    """
    if level == "molecule":
        return values
    axes = 2 if level == "pair" else 1
    out = np.full((*[molecule.n_input] * axes, *values.shape[axes:]), np.nan, np.float32)
    out[np.ix_(*[molecule.place] * axes)] = values
    return out


def _as_list(molecules: str | Chem.Mol | Sequence[str | Chem.Mol]) -> list[str | Chem.Mol]:
    return [molecules] if isinstance(molecules, str | Chem.Mol) else list(molecules)


def _as_text(given: MoleculeInput) -> str | None:
    """How a row shows what was given: a SMILES as it was, a molecule as RDKit writes it."""
    if not isinstance(given, Chem.Mol):
        return given if isinstance(given, str) else None
    try:
        return Chem.MolToSmiles(given)
    except (
        Exception
    ):  # RDKit raises its own kinds; the row's error says what is wrong with the molecule
        return None


def _stored_rows(shards: Shards) -> Iterator[dict]:
    """`row`, `input_smiles` and `smiles` of curated molecules, in sample order, a part at a
    time.
    """
    for name in sorted(name for name in shards.manifest["files"] if name.startswith("shards/")):
        for rows in pq.ParquetFile(shards.path / name).iter_batches(
            1024, columns=["row", "input_smiles", "smiles"]
        ):
            yield from rows.to_pylist()
