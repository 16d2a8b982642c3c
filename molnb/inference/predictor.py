"""Embeddings and predictions of a trained run for any molecules, in the order of the input.

SMILES and RDKit molecules are treated as in curation (`featurizer`), so any spelling gives the same
result; curated molecules are read from their shards. What cannot be used gets an error in its row,
and the others go on. What training never saw contributes nothing, and is named (`unseen`).
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from rdkit import Chem

from ..chemistry.failures import MoleculeError
from ..data.batch import MolBatch, every_index, owner_of, square_index
from ..data.dataset import Corpus
from ..data.encodings.catalogue import with_encodings
from ..data.masked import unmasked
from ..data.sampling import size_buckets
from ..errors import InputError
from ..models.model import Model
from ..objectives.supervised import Supervised, in_units
from ..objectives.targets import ScaledTask
from ..shapes import Float, Int
from ..shards import Shards
from ..training.config import RunConfig
from ..training.device import autocast, choose_device
from ..training.rows import corpus_for, encoder_corpus
from ..training.runs import Run, find_run
from ..training.threads import ThreadTeam
from ..units import with_suffix
from .featurizer import (
    FeaturizedMolecule,
    MoleculeInput,
    featurize_chunks,
    flat_batch,
)

EMBED_LEVELS = ("molecule", "atom", "pair")
MAX_NUMBERS = 2**24  # of output in memory while rows are streamed (64 MiB), or one molecule
_STORED = 4096  # curated molecules read together
ALL_CONFORMERS = "all"  # of curated molecules: answers are means over them

MoleculeInputs = str | Chem.Mol | Sequence[str | Chem.Mol]


class PredictionRow(NamedTuple):
    """One row of output: `values` by column, or an `error` and no values.

    Features of the molecule that are `unseen` contributed nothing. `carried` are columns of the
    input, unchanged.
    """

    row: int
    input_smiles: str | None
    smiles: str | None
    values: dict[str, np.ndarray | float] | None
    error: str | None
    unseen: tuple[str, ...] = ()
    carried: Mapping[str, Any] = MappingProxyType({})


class _Result(NamedTuple):
    """Values of one molecule by column, and its unseen features."""

    values: dict[str, np.ndarray | float]
    unseen: tuple[str, ...]


class Vectors(NamedTuple):
    """What is embedded: molecules, atoms or pairs, as the encoder gives them or a layer of it."""

    level: str
    layer: int | None = None  # the first is 1; None for the encoder's output


class TrainedModel:
    """A run's model with its scales: `embed` and `predict` take SMILES, molecules or shards.

    It answers for molecules of up to `max_heavy_atoms` heavy atoms: the limit of the data that the
    run learnt from, unless another is given.
    """

    def __init__(self, run: Run, device: str = "auto", max_heavy_atoms: int | None = None):
        self.run = run
        self.max_heavy_atoms = _checked_limit(run, max_heavy_atoms)
        self.metals = run.metals
        self.config = run.config
        self.device = choose_device(device)
        self.model = run.load_model().to(self.device)

    @property
    def tasks(self) -> tuple[ScaledTask, ...]:
        """The tasks that it predicts; none for a run without labels."""
        objective = self.config.objective
        return objective.tasks_scaled if isinstance(objective, Supervised) else ()

    @cached_property
    def columns(self) -> dict[str, list[str]]:
        """Names of a task's columns in tables, by its key; no two are alike.

        Of labels that differ in punctuation alone, as `IC50 (nM)` and `IC50_nM`, the later has a
        number behind its name, and so has one that is called like another column.
        """
        taken = set(PredictionRow._fields) | {"id"}
        columns: dict[str, list[str]] = {}
        for task in self.tasks:
            columns[task.key] = []
            for name in prediction_columns(task):
                numbered = itertools.chain([name], (f"{name}_{n}" for n in itertools.count(2)))
                free = next(candidate for candidate in numbered if candidate not in taken)
                taken.add(free)
                columns[task.key].append(free)
        return columns

    def embed(
        self,
        molecules: MoleculeInputs | Shards,
        level: str = "molecule",
        conformer: str = "new",
        layer: int | None = None,
    ) -> Float[np.ndarray, "molecule d"] | list[np.ndarray | None]:
        """Encoder output as float32: `[molecule, d]`, or a list of arrays, one a molecule.

        Level "atom" gives `[heavy atom, d]`, level "pair" `[heavy atom, heavy atom, d]`; pairs need
        not be symmetric: row i, column j as in the encoder. Rows are in input order; atoms are the
        heavy atoms in the order of the SMILES or RDKit molecule given (its hydrogens are left out,
        also where the model sees hydrogens), and for `Shards` in the order of the stored SMILES and
        arrays. NaN (None in lists) where a molecule failed, and NaN for atoms of removed salts;
        `embedding_rows` also gives the reasons. Atoms that the symmetry of the graph makes
        equivalent have different places in a conformer, and any of them may come first.

        A SMILES and an RDKit molecule get the conformer that curation would give them. With
        ``conformer="given"`` an RDKit molecule keeps its own 3D coordinates. Shards always keep
        theirs: the first of each molecule, or with ``conformer="all"`` the mean over all.

        With `layer` (1 is the first) they are what that layer of the encoder gives: states of the
        two-track model, or, of a graph network, states of atoms and, for a molecule, these pooled.
        """
        if isinstance(molecules, Shards):
            rows = self.stored_embedding_rows(molecules, level, conformer, layer)
        else:
            rows = self.embedding_rows(_as_list(molecules), level, 0, conformer, layer)
        arrays = [row.values["embedding"] if row.values else None for row in rows]
        if level != "molecule":
            return arrays
        width = self._width(Vectors(level, layer))
        embeddings = np.full((len(arrays), width), np.nan, np.float32)
        for embedding, array in zip(embeddings, arrays):
            if array is not None:
                embedding[:] = array
        return embeddings

    def predict(self, molecules: MoleculeInputs | Shards, conformer: str = "new") -> pd.DataFrame:
        """Labels in their units: a row a molecule, in input order; columns are `<label>_<unit>`.

        Labels of atoms, bonds and pairs are arrays, one in each cell. Atom labels follow the
        input's atom order, bond and pair labels the standardized SMILES in the column `smiles`.
        Missing where a molecule failed; the column `error` says why. `Shards` are predicted from
        their geometries, in sample order, all labels in the order of the stored SMILES; with
        ``conformer="all"`` from every geometry of a molecule, and the mean is given.
        """
        if isinstance(molecules, Shards):
            rows = list(self.stored_prediction_rows(molecules, conformer))
        else:
            rows = list(self.prediction_rows(_as_list(molecules), conformer=conformer))
        table: dict[str, list | np.ndarray] = {"smiles": [row.smiles for row in rows]}
        for task in self.tasks:
            for name in self.columns[task.key]:
                cells = [row.values[name] if row.values else None for row in rows]
                scalar = task.level == "molecule"
                table[name] = np.array(cells, float) if scalar else cells
        table["error"] = [row.error for row in rows]
        return pd.DataFrame(table)

    def embedding_rows(
        self,
        molecules: Iterable[MoleculeInput],
        level: str,
        workers: int = 0,
        conformer: str = "new",
        layer: int | None = None,
    ) -> Iterator[PredictionRow]:
        """Stream embeddings of a level in input order; reads ahead a few chunks only.

        `workers` processes make conformers; 0 makes them here.
        """
        vectors = self.vectors(level, layer)
        self._check_without(self.config.model.arrays)
        return self._rows(molecules, vectors, workers, conformer)

    def prediction_rows(
        self, molecules: Iterable[MoleculeInput], workers: int = 0, conformer: str = "new"
    ) -> Iterator[PredictionRow]:
        """Stream predicted labels in input order, likewise."""
        self.check_predicts()
        self._check_without(self.config.arrays)
        return self._rows(molecules, None, workers, conformer)

    def stored_embedding_rows(
        self,
        shards: Shards,
        level: str,
        conformer: str = "new",
        layer: int | None = None,
    ) -> Iterator[PredictionRow]:
        """Stream embeddings of curated molecules from the geometries on disk.

        `row` is that of the source; with `conformer` "all" they are means over the geometries.
        """
        vectors = self.vectors(level, layer)
        return self._stored_rows(shards, vectors, conformer == ALL_CONFORMERS)

    def stored_prediction_rows(
        self, shards: Shards, conformer: str = "new"
    ) -> Iterator[PredictionRow]:
        """Stream predicted labels of curated molecules, likewise."""
        self.check_predicts()
        return self._stored_rows(shards, None, conformer == ALL_CONFORMERS)

    def check_predicts(self) -> None:
        """Raise InputError for a run that learnt no labels, so has nothing to predict."""
        if not self.tasks:
            raise InputError(
                f"{self.run.path} was trained without labels, so it has nothing to predict: use "
                "embed, or train a preset with labels (`molnb train labels_tiny`)"
            )

    def _check_without(self, arrays: Sequence[str]) -> None:
        """Raise InputError where arrays are read that a SMILES or a molecule does not bring."""
        if arrays:
            raise InputError(
                f"{self.run.path} reads {', '.join(arrays)} beside the usual features, which only "
                "shards hold: give curated molecules (load_shards) that keep these arrays "
                "(molnb.shards.add_array)"
            )

    def vectors(self, level: str, layer: int | None) -> Vectors:
        """A level and a layer; InputError for one that there is not."""
        check_level(level)
        n_block = self.model.encoder.n_block
        if layer is not None and not 1 <= layer <= n_block:
            raise InputError(
                f"layer {layer} asked for, the encoder of {self.run.path.name} has {n_block}: give "
                f"1 to {n_block}, or leave it out for the encoder's output"
            )
        return Vectors(level, layer)

    def _width(self, vectors: Vectors) -> int:
        encoder = self.model.encoder
        if vectors.layer is None:
            return encoder.width(vectors.level)
        return encoder.layer_width(vectors.level, vectors.layer)

    def _rows(
        self,
        molecules: Iterable[MoleculeInput],
        vectors: Vectors | None,
        workers: int,
        conformer: str,
    ) -> Iterator[PredictionRow]:
        """Embeddings, or predictions where `vectors` is None."""
        number = itertools.count()
        limit = self.max_heavy_atoms
        for chunk in featurize_chunks(molecules, workers, conformer, limit, self.metals):
            featurized = [self._with_hydrogens(molecule) for molecule in chunk.featurized]
            usable = [
                molecule for molecule in featurized if isinstance(molecule, FeaturizedMolecule)
            ]
            results = self._results(usable, vectors)
            for molecule_input, molecule in zip(chunk.molecules, featurized, strict=True):
                text = _as_text(molecule_input)
                if isinstance(molecule, FeaturizedMolecule):
                    values, unseen = next(results)
                    smiles = molecule.smiles
                    yield PredictionRow(next(number), text, smiles, values, None, unseen)
                else:
                    yield PredictionRow(next(number), text, None, None, error=molecule)

    def _stored_rows(
        self, shards: Shards, vectors: Vectors | None, average: bool
    ) -> Iterator[PredictionRow]:
        """Embeddings of curated molecules in sample order, or predictions without `vectors`."""
        if vectors is None:
            corpus = corpus_for(self.config, [shards])
        else:
            corpus = encoder_corpus(self.config.model, [shards])
        n_heavy = np.asarray(shards.array("n_heavy"), int)
        columns = shards.rows(["row", "input_smiles", "smiles"])
        for start in range(0, corpus.n, _STORED):
            ids = np.arange(start, min(start + _STORED, corpus.n))
            for portion in np.split(ids, self._portions(n_heavy[ids], vectors)):
                results = self._stored_results(corpus, portion, n_heavy, vectors, average)
                for values, unseen in results:
                    yield PredictionRow(**next(columns), values=values, error=None, unseen=unseen)

    def _stored_results(
        self,
        corpus: Corpus,
        ids: Int[np.ndarray, " mol"],
        n_heavy: Int[np.ndarray, " row"],
        vectors: Vectors | None,
        average: bool,
    ) -> list[_Result]:
        """Values of molecules of a corpus, in the order of `ids`; batches are by size.

        With `average` they are means over all geometries of a molecule, else of the first.
        """
        count = corpus.n_conformers(ids) if average else np.ones(len(ids), np.int64)

        def compute(group: Int[np.ndarray, " k"]) -> list[_Result]:
            results = self._values_of(corpus, ids[group], n_heavy, vectors, None)
            for number in range(1, int(count[group].max(initial=0))):
                positions = np.flatnonzero(count[group] > number)
                conformers = np.full(len(positions), number)
                further = self._values_of(
                    corpus, ids[group[positions]], n_heavy, vectors, conformers
                )
                for position, (values, _) in zip(positions, further, strict=True):
                    total = results[position].values
                    for name in total:
                        total[name] = total[name] + values[name]
            for result, n in zip(results, count[group], strict=True):
                for name in result.values if n > 1 else ():
                    result.values[name] = result.values[name] / n
            return results

        return self._by_groups(corpus.n_atoms[ids], compute)

    def _values_of(
        self,
        corpus: Corpus,
        ids: Int[np.ndarray, " k"],
        n_heavy: Int[np.ndarray, " row"],
        vectors: Vectors | None,
        conformers: Int[np.ndarray, " k"] | None,
    ) -> list[_Result]:
        """Values of a group of molecules of a corpus, in one geometry of each."""
        batch = corpus.batch(ids, conformers=conformers)
        if vectors is None:
            values = self._predicted(batch, n_heavy[ids])
        else:
            # Copies: the arrays are views of the output of the whole batch.
            arrays = self._embedded(batch, n_heavy[ids], vectors)
            values = [{"embedding": array.copy()} for array in arrays]
        return list(map(_Result, values, self.model.encoder.unseen_in(batch)))

    def _by_groups(
        self,
        sizes: Int[np.ndarray, " mol"],
        compute: Callable[[Int[np.ndarray, " k"]], list[_Result]],
    ) -> list[_Result]:
        """Results in the order of the molecules; `compute` gives those of a group of like size."""
        budget = self.config.group_budget(self.device)
        groups = size_buckets(sizes, budget, self.config.model.padded)
        results: dict[int, _Result] = {}
        with ThreadTeam(self.device) as team:
            for group, of_group in zip(groups, team.map(compute, groups), strict=True):
                results |= zip(group.tolist(), of_group, strict=True)
        return [results[position] for position in range(len(sizes))]

    def _with_hydrogens(self, molecule: FeaturizedMolecule | str) -> FeaturizedMolecule | str:
        """The molecule, or an error where the model sees hydrogens that have no coordinates."""
        if not self.config.model.hydrogens or isinstance(molecule, str):
            return molecule
        if len(molecule.coords) == len(molecule.arrays["numbers"]):
            return molecule
        detail = "this model sees hydrogens: add those of the parent in 3D"
        return str(MoleculeError("no 3D coordinates", detail))

    def _portions(self, sizes: Int[np.ndarray, " mol"], vectors: Vectors | None) -> np.ndarray:
        """Where to split a sequence of molecules, so that no part's output is too large to hold."""
        vectors = vectors or Vectors("molecule")
        n_row = {"pair": sizes**2, "atom": sizes}.get(vectors.level, np.ones(len(sizes), int))
        width = self._width(vectors)
        splits = []
        n_number = 0
        for position, count in enumerate((n_row * width).tolist()):
            if position and n_number + count > MAX_NUMBERS:
                splits.append(position)
                n_number = 0
            n_number += count
        return np.array(splits, int)

    def _results(
        self, molecules: list[FeaturizedMolecule], vectors: Vectors | None
    ) -> Iterator[_Result]:
        """Values of each molecule, in the order given; batches are by size."""
        hydrogens = self.config.model.hydrogens
        if hydrogens:
            sizes = np.array([len(molecule.arrays["numbers"]) for molecule in molecules], int)
        else:
            sizes = np.array([molecule.n_heavy for molecule in molecules], int)
        n_output = np.array([molecule.n_input for molecule in molecules], int)
        for portion in np.split(np.arange(len(molecules)), self._portions(n_output, vectors)):
            compute = partial(self._results_of_group, molecules, portion, vectors)
            yield from self._by_groups(sizes[portion], compute)

    def _results_of_group(
        self,
        molecules: list[FeaturizedMolecule],
        portion: Int[np.ndarray, " mol"],
        vectors: Vectors | None,
        group: Int[np.ndarray, " k"],
    ) -> list[_Result]:
        """Values of a group: positions in a portion, which are positions among the molecules."""
        members = [molecules[i] for i in portion[group]]
        batch = flat_batch(members, self.config.model.hydrogens)
        batch = with_encodings(batch, self.config.model.encodings)
        n_heavy = [molecule.n_heavy for molecule in members]
        if vectors is None:
            values = self._predicted(batch, n_heavy, members)
        else:
            arrays = self._embedded(batch, n_heavy, vectors)
            values = [
                {"embedding": _in_input_order(array, molecule, vectors.level)}
                for array, molecule in zip(arrays, members, strict=True)
            ]
        return list(map(_Result, values, self.model.encoder.unseen_in(batch)))

    @torch.no_grad()
    def _embedded(
        self, batch: MolBatch, n_heavy: Sequence[int], vectors: Vectors
    ) -> list[Float[np.ndarray, "*atoms d"]]:
        """Vectors of a level, of heavy atoms in the order of the batch: one array a molecule."""
        level, layer = vectors
        batch = batch.to(self.device)
        index = square_index(batch) if level == "pair" else every_index(batch, level)
        with autocast(self.device, self.config.precision):
            encoding = self.model.encoder(unmasked(batch), (level,), keep_layers=layer is not None)
            if layer is not None:
                encoding = encoding.layers[layer - 1]
            rows = encoding.rows(level, index).float().cpu().numpy()
        if level == "molecule":
            return list(rows)
        n_atoms = batch.n_atoms.cpu().numpy()
        n_row = n_atoms if level == "atom" else n_atoms**2
        arrays = np.split(rows, np.cumsum(n_row)[:-1])
        if level == "atom":
            return [array[:n] for array, n in zip(arrays, n_heavy)]
        return [
            array.reshape(n, n, -1)[:heavy, :heavy]
            for array, n, heavy in zip(arrays, n_atoms, n_heavy)
        ]

    @torch.no_grad()
    def _predicted(
        self,
        batch: MolBatch,
        n_heavy: Sequence[int],
        molecules: Sequence[FeaturizedMolecule] | None = None,
    ) -> list[dict[str, np.ndarray | float]]:
        """Every label of each molecule of a batch, by column; of atoms, that of heavy ones.

        Those are in the order of the batch, or, of `molecules`, in the order of their input.
        """
        batch = batch.to(self.device)
        with autocast(self.device, self.config.precision):
            outputs = self.model(batch, everywhere=True).outputs
        rows: list[dict[str, np.ndarray | float]] = [{} for _ in n_heavy]
        for task in self.tasks:
            values = in_units(task, outputs[task.key].float()).cpu().numpy()
            if task.absent_classes is not None:
                values = values[:, ~task.absent_classes.ravel()]  # a column a class that there is
            index = every_index(batch, task.level)
            owner = owner_of(batch, task.level, index).cpu().numpy()
            for number, n_atom in enumerate(n_heavy):
                of_molecule = values[owner == number]
                if task.level == "atom":
                    of_molecule = of_molecule[:n_atom]
                if task.level == "atom" and molecules is not None:
                    of_molecule = _in_input_order(of_molecule, molecules[number], "atom")
                for name, column in zip(self.columns[task.key], of_molecule.T, strict=True):
                    # A copy: else every row would keep the output of the whole batch.
                    is_number = task.level == "molecule"
                    rows[number][name] = float(column[0]) if is_number else column.copy()
        return rows


def load_run(
    path: str | Path, device: str = "auto", max_heavy_atoms: int | None = None
) -> TrainedModel:
    """The trained model of a run's folder (or of its name below ``MOLNB_HOME/runs``)."""
    return TrainedModel(find_run(path), device, max_heavy_atoms)


def embed(
    run: str | Path | TrainedModel,
    molecules: MoleculeInputs | Shards,
    level: str = "molecule",
    layer: int | None = None,
) -> Float[np.ndarray, "molecule d"] | list[np.ndarray | None]:
    """Embeddings of molecules by a trained run (`TrainedModel.embed`)."""
    model = run if isinstance(run, TrainedModel) else load_run(run)
    return model.embed(molecules, level, layer=layer)


def predict(run: str | Path | TrainedModel, molecules: MoleculeInputs | Shards) -> pd.DataFrame:
    """Labels of molecules as a trained run predicts them (`TrainedModel.predict`)."""
    model = run if isinstance(run, TrainedModel) else load_run(run)
    return model.predict(molecules)


def predict_stored(
    model: Model,
    config: RunConfig,
    corpus: Corpus,
    ids: Int[np.ndarray, " row"],
    task: str | None = None,
) -> Float[np.ndarray, "row column"]:
    """For molecules of a corpus: a task's labels in their unit, or the encoder's molecule vectors.

    Rows are in the order of `ids`; features are visible and coordinates those of the shards.
    """
    device = choose_device("auto")
    model = model.eval().to(device)
    ids = np.asarray(ids, np.int64)
    scaled = None
    if task is not None:
        scaled = next(entry for entry in config.objective.tasks_scaled if entry.key == task)

    @torch.no_grad()
    def compute(group: Int[np.ndarray, " k"]) -> Float[np.ndarray, "k column"]:
        batch = corpus.batch(ids[group]).to(device)
        with autocast(device, config.precision):
            if scaled is None:
                encoding = model.encoder(unmasked(batch), ("molecule",))
                rows = encoding.rows("molecule", every_index(batch, "molecule")).float()
            else:
                output = model(batch, everywhere=True).outputs[task]
                rows = in_units(scaled, output.float())
        return rows.cpu().numpy()

    budget = config.group_budget(device)
    groups = size_buckets(corpus.n_atoms[ids], budget, config.model.padded)
    with ThreadTeam(device) as team:
        rows = np.concatenate(list(team.map(compute, groups)))
    table = np.empty_like(rows)
    table[np.concatenate(groups)] = rows
    return table


def _checked_limit(run: Run, given: int | None) -> int:
    """How many heavy atoms a run answers for; says so where it has not seen as many."""
    if given is None:
        return run.max_heavy_atoms
    if given < 1:
        raise InputError(f"max_heavy_atoms is {given}: give 1 or more, or leave it out")
    if given > run.max_heavy_atoms:
        print(
            f"molnb: {run.path.name} learnt from molecules of at most {run.max_heavy_atoms} heavy "
            f"atoms; up to {given}, answers are extrapolated to sizes that it has never seen",
            file=sys.stderr,
        )
    return given


def check_level(level: str) -> None:
    """Raise InputError for a level of embeddings that does not exist."""
    if level not in EMBED_LEVELS:
        raise InputError(f"unknown level {level!r}: choose one of {', '.join(EMBED_LEVELS)}")


def prediction_columns(task: ScaledTask) -> list[str]:
    """Names of a task's columns in tables: `<label>_<unit>`; classes are probabilities.

    Of a binary label `<label>_probability` is that of class 1; several classes have a column each,
    `<label>_<class>_probability`, with the numbers of the classes where their names are no words.
    """
    if task.kind == "classes":
        columns = []
        for label, classes in zip(task.labels, task.classes, strict=True):
            columns += [
                _as_word(f"{label}_{word}_probability") for word in _words_of_classes(classes)
            ]
        return columns
    units = task.units if task.kind != "binary" else ["probability"] * len(task.labels)
    names = [with_suffix(label, unit) for label, unit in zip(task.labels, units, strict=True)]
    return [_as_word(name) for name in names]


def _words_of_classes(classes: Sequence[str]) -> list[str]:
    """What each class is called in names of columns: its name, or its number if some have none."""
    words = [_as_word(name) for name in classes]
    if "" in words or len(set(words)) < len(words):
        return [f"class_{number}" for number in range(len(words))]
    return words


def _as_word(text: str) -> str:
    """A text as part of a column's name: letters of any script, digits, single underscores."""
    return re.sub(r"[\W_]+", "_", text).strip("_")


def _in_input_order(values: np.ndarray, molecule: FeaturizedMolecule, level: str) -> np.ndarray:
    """Values of canonical atoms, or pairs of them, where the input has them; NaN if removed."""
    if level == "molecule":
        return values
    n_axis = 2 if level == "pair" else 1
    shape = [molecule.n_input] * n_axis
    in_order = np.full((*shape, *values.shape[n_axis:]), np.nan, np.float32)
    in_order[np.ix_(*[molecule.input_position] * n_axis)] = values
    return in_order


def _as_list(molecules: MoleculeInputs) -> list[str | Chem.Mol]:
    return [molecules] if isinstance(molecules, str | Chem.Mol) else list(molecules)


def _as_text(molecule: MoleculeInput) -> str | None:
    """An input as text: a SMILES as it was, a molecule as RDKit writes it, None for others."""
    if not isinstance(molecule, Chem.Mol):
        return molecule if isinstance(molecule, str) else None
    try:
        return Chem.MolToSmiles(molecule)
    except Exception:  # RDKit raises its own kinds; the row's error says what is wrong
        return None
