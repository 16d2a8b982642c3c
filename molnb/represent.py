"""Use a trained run: embeddings and predictions for any SMILES, in the order and the atom order they were given.

A molecule is treated as in curation (neutral parent, canonical SMILES, one conformer seeded by it), so any spelling
gives the same answer. What cannot be used gets an error in its row, and the others go on.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from . import chemistry
from .batches import Corpus, MolBatch, size_buckets
from .curation.workers import Pool, count_cores
from .errors import Refused
from .features import molecule_arrays
from .models.heads import every_index
from .objectives import Question, Supervised, Task, run_encoder
from .places import home
from .records import records
from .runs import Run, find_run
from .shards import Shards, writing
from .sources import find_source, recipe_for_file
from .train import autocast, choose_device

EMBED_LEVELS = ("molecule", "atom")
CHUNK = 512  # rows prepared and answered together


class Prepared(NamedTuple):
    """A molecule ready for the encoder; `place` is each canonical atom's number among the input's heavy atoms."""

    smiles: str
    place: np.ndarray
    n_input: int
    arrays: dict
    coords: np.ndarray


class Answer(NamedTuple):
    """One row of output: `values` by column, or an `error` and no values."""

    row: int
    input_smiles: str
    smiles: str | None
    values: dict[str, np.ndarray | float] | None
    error: str | None


def prepare(smiles: str, max_heavy_atoms: int = 64) -> Prepared:
    """Standardise and embed one molecule; raises chemistry.Failure with its step and reason."""
    given = chemistry.parse(smiles)
    heavy = np.cumsum([a.GetAtomicNum() != 1 for a in given.GetAtoms()])
    standard = chemistry.standardise(given, max_heavy_atoms)
    coords = chemistry.embed(standard.smiles).coords
    place = heavy[np.asarray(standard.order)] - 1
    return Prepared(
        standard.smiles, place, int(heavy[-1]), molecule_arrays(standard.mol), np.asarray(coords, np.float32)
    )


def prepare_all(smiles: Sequence[str | None], max_heavy_atoms: int = 64) -> list[Prepared | str]:
    """`prepare` for a list; what fails is its error message."""
    found: list[Prepared | str] = []
    for text in smiles:
        try:
            found.append(prepare(text or "", max_heavy_atoms))
        except chemistry.Failure as failure:
            found.append(str(failure))
    return found


def flat_batch(molecules: Sequence[Prepared], hydrogens: bool) -> MolBatch:
    """Prepared molecules as one flat batch, with hydrogens if the model sees them."""

    def join(name: str, count: str) -> torch.Tensor:
        kept = [m.arrays[name] if hydrogens else m.arrays[name][: m.arrays[count]] for m in molecules]
        return torch.from_numpy(np.concatenate(kept))

    def counts(name: str, count: str) -> torch.Tensor:
        return torch.tensor([len(m.arrays[name]) if hydrogens else m.arrays[count] for m in molecules])

    n_atoms = counts("numbers", "n_heavy")
    coords = [m.coords if hydrogens else m.coords[: m.arrays["n_heavy"]] for m in molecules]
    return MolBatch(
        ids=torch.arange(len(molecules)),
        n_atoms=n_atoms,
        n_bonds=counts("bonds", "n_heavy_bonds"),
        numbers=join("numbers", "n_heavy"),
        feats=join("atom_feats", "n_heavy"),
        coords=torch.from_numpy(np.concatenate(coords)),
        bonds=join("bonds", "n_heavy_bonds").to(torch.int64),
        bond_feats=join("bond_feats", "n_heavy_bonds"),
        labels={},
        longest=int(n_atoms.max()),
    )


class TrainedModel:
    """A run's model with its vocabulary and scales: `embed` and `predict` take SMILES."""

    def __init__(self, run: Run, device: str = "auto"):
        self.run, self.config, self.device = run, run.config, choose_device(device)
        self.model = run.load_model().to(self.device)

    @property
    def tasks(self) -> tuple[Task, ...]:
        objective = self.config.objective
        return objective.tasks_scaled if isinstance(objective, Supervised) else ()

    def embed(self, smiles: str | Sequence[str], level: str = "molecule") -> np.ndarray | list[np.ndarray | None]:
        """Encoder output as float32: `[molecule, d_atom]`, or for atoms a list of `[heavy atom, d_atom]`.

        Rows are in input order and atoms in the input's atom order. NaN (None for atoms) where a molecule failed, and
        NaN for atoms of removed salts; `answers` also gives the reasons.
        """
        rows = list(self.answers(_as_list(smiles), level))
        values = [r.values["embedding"] if r.values else None for r in rows]
        if level == "atom":
            return values
        blank = np.full(self.config.model.d_atom, np.nan, np.float32)
        return np.stack([blank if v is None else v for v in values])

    def predict(self, smiles: str | Sequence[str]) -> dict[str, np.ndarray | list]:
        """Labels in their units, one entry `<label>_<unit>` each; NaN or None where a molecule failed.

        Atom labels follow the input's atom order; bond and pair labels follow the standardised SMILES of `answers`.
        """
        rows = list(self.answers(_as_list(smiles), None))
        found: dict[str, np.ndarray | list] = {}
        for task in self.tasks:
            for name in label_columns(task):
                values = [r.values[name] if r.values else None for r in rows]
                if task.level == "molecule":
                    values = np.array([np.nan if v is None else v for v in values])
                found[name] = values
        return found

    @torch.no_grad()
    def embed_shards(self, shards: Shards) -> np.ndarray:
        """Embeddings `[molecule, d_atom]` of curated molecules from the geometries on disk, in sample order."""
        corpus = Corpus([shards], self.config.model.hydrogens)
        found = np.empty((corpus.n, self.config.model.d_atom), np.float32)
        for group in size_buckets(corpus.n_atoms, self.config.pair_budget):
            question = _nothing_withheld(corpus.batch(group).to(self.device))
            with autocast(self.device, self.config.precision):
                tracks = run_encoder(self.model.encoder, question, molecule_only=True)
            found[group] = tracks.molecule.float().cpu().numpy()
        return found

    def answers(self, smiles: Iterable[str | None], level: str | None, workers: int = 0) -> Iterator[Answer]:
        """Stream answers in input order: embeddings of a level, or predictions where `level` is None.

        Reads ahead a few chunks only. `workers` processes prepare conformers; 0 prepares them here.
        """
        self._refuse(level)
        row = itertools.count()
        for texts, prepared in _prepared(smiles, workers):
            usable = [m for m in prepared if isinstance(m, Prepared)]
            values = iter(self._evaluate(usable, level))
            for text, molecule in zip(texts, prepared):
                if isinstance(molecule, Prepared):
                    yield Answer(next(row), text, molecule.smiles, next(values), None)
                else:
                    yield Answer(next(row), text, None, None, molecule)

    def _refuse(self, level: str | None) -> None:
        if level is None and not self.tasks:
            raise Refused(
                f"{self.run.path} was trained without labels, so it has nothing to predict: "
                "use embed, or train a preset with labels (`molnb train labels_tiny`)"
            )
        if level is not None and level not in EMBED_LEVELS:
            raise Refused(f"unknown level {level!r}: choose one of {', '.join(EMBED_LEVELS)}")

    @torch.no_grad()
    def _evaluate(self, molecules: list[Prepared], level: str | None) -> list[dict]:
        """One dictionary of values a molecule, in the order given; batches are by size."""
        found: list[dict] = [{} for _ in molecules]
        hydrogens = self.config.model.hydrogens
        sizes = np.array([len(m.arrays["numbers"]) if hydrogens else m.arrays["n_heavy"] for m in molecules], int)
        for group in size_buckets(sizes, self.config.pair_budget):
            mine = [molecules[i] for i in group]
            question = _nothing_withheld(flat_batch(mine, hydrogens).to(self.device))
            with autocast(self.device, self.config.precision):
                rows = self._embedded(question, mine, level) if level else self._predicted(question, mine)
            for at, values in zip(group, rows):
                found[at] = values
        return found

    def _embedded(self, question: Question, molecules: list[Prepared], level: str) -> Iterator[dict]:
        tracks = run_encoder(self.model.encoder, question, molecule_only=True)
        if level == "molecule":
            return ({"embedding": v} for v in tracks.molecule.float().cpu().numpy())
        atoms = tracks.atoms[:, 1:].float().cpu().numpy()
        return ({"embedding": _in_input_order(a[: m.arrays["n_heavy"]], m)} for a, m in zip(atoms, molecules))

    def _predicted(self, question: Question, molecules: list[Prepared]) -> list[dict]:
        tracks = run_encoder(self.model.encoder, question, all(t.level == "molecule" for t in self.tasks))
        rows: list[dict] = [{} for _ in molecules]
        for task in self.tasks:
            index = every_index(question.batch, task.level)
            raw = self.model.heads[task.name](tracks, question.batch, index).float()
            values = _in_units(task, raw).cpu().numpy()
            owner = _owner(task.level, question.batch, index).cpu().numpy()
            for at, molecule in enumerate(molecules):
                mine = values[owner == at]
                for name, column in zip(label_columns(task), mine.T):
                    rows[at][name] = _as_value(task.level, column, molecule)
        return rows


def load_run(path: str | Path, device: str = "auto") -> TrainedModel:
    """The trained model of a run's folder (or of its name below ``MOLNB_HOME/runs``)."""
    return TrainedModel(find_run(path), device)


def _nothing_withheld(batch: MolBatch) -> Question:
    """All atoms, all features, the geometry as it is."""
    visible = torch.ones(batch.n_mol, dtype=torch.bool, device=batch.numbers.device)
    return Question(batch, torch.zeros_like(batch.numbers, dtype=torch.bool), batch.coords, visible, {})


def label_columns(task: Task) -> list[str]:
    """Names of a task's columns in tables: `<label>_<unit>`; a binary label is a probability."""
    units = task.units if task.kind != "binary" else ["probability"] * len(task.labels)
    names = [f"{label}_{unit}" if unit not in ("", "1") else label for label, unit in zip(task.labels, units)]
    return [re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") for name in names]


def _in_units(task: Task, raw: torch.Tensor) -> torch.Tensor:
    if task.kind == "binary":
        return torch.sigmoid(raw)
    return raw * raw.new_tensor(task.scale) + raw.new_tensor(task.mean)


def _owner(level: str, batch: MolBatch, index: torch.Tensor) -> torch.Tensor:
    if level == "molecule":
        return index
    if level == "pair":
        return index[:, 0]
    return (batch.mol_of_atom() if level == "atom" else batch.mol_of_bond())[index]


def _as_value(level: str, column: np.ndarray, molecule: Prepared) -> float | np.ndarray:
    if level == "molecule":
        return float(column[0])
    return _in_input_order(column[: molecule.arrays["n_heavy"]], molecule) if level == "atom" else column


def _in_input_order(values: np.ndarray, molecule: Prepared) -> np.ndarray:
    out = np.full((molecule.n_input, *values.shape[1:]), np.nan, np.float32)
    out[molecule.place] = values
    return out


def _as_list(smiles: str | Sequence[str]) -> list[str]:
    return [smiles] if isinstance(smiles, str) else list(smiles)


def _prepared(smiles: Iterable, workers: int) -> Iterator[tuple[list, list[Prepared | str]]]:
    """Chunks of input and what became of it, in order; two chunks a worker are under way."""
    given = iter(smiles)
    chunks = iter(lambda: list(itertools.islice(given, CHUNK)), [])
    if workers == 0:
        yield from ((texts, prepare_all(texts)) for texts in chunks)
        return
    with Pool(workers) as pool:
        under_way: list = []
        for texts in chunks:
            pieces = [texts[i : i + 64] for i in range(0, len(texts), 64)]
            under_way.append((texts, pieces, [pool.submit(prepare_all, p) for p in pieces]))
            if len(under_way) > 2:
                yield _collect(pool, under_way)
        while under_way:
            yield _collect(pool, under_way)


def _collect(pool: Pool, under_way: list) -> tuple[list, list[Prepared | str]]:
    texts, pieces, futures = under_way.pop(0)
    found: list[Prepared | str] = []
    for piece, future in zip(pieces, futures):
        try:
            found += future.result()
        except BrokenExecutor:  # RDKit took a worker with it, and with it whatever was under way
            found += _again(pool, piece)
    return texts, found


def _again(pool: Pool, piece: list) -> list[Prepared | str]:
    """A piece whose worker died, once more with nothing beside it; halved until the one row is found."""
    pool.restart()
    try:
        return pool.submit(prepare_all, piece).result()
    except BrokenExecutor:
        if len(piece) == 1:
            return ["worker died (machine-dependent)"]
        middle = len(piece) // 2
        return _again(pool, piece[:middle]) + _again(pool, piece[middle:])


def read_smiles(file: str | Path, smiles: str | None = None) -> Iterator[str | None]:
    """The SMILES of an SMI, CSV or Parquet file, row by row; an SDF's structures as SMILES."""
    recipe = recipe_for_file(file, smiles)
    found = find_source(recipe, home())
    column = recipe.columns.smiles
    for record in records(found.source, Path(file), [column] if column else None):
        if column:
            yield record.fields.get(column)
        else:
            yield _smiles_of_block(record.fields.get("molblock"))


def _smiles_of_block(block: str | None) -> str | None:
    try:
        return chemistry.Chem.MolToSmiles(chemistry.parse_molblock(block or ""))
    except chemistry.Failure:
        return None


def write_embeddings(
    file: str | Path,
    run: str | Path,
    out: str | Path,
    level: str = "molecule",
    smiles: str | None = None,
    workers: int | None = None,
    device: str = "auto",
) -> dict[str, int]:
    """Write `row, input_smiles, smiles, embedding, error` for every row of a file; returns rows and errors."""
    vector = pa.list_(pa.float32())
    kind = {"embedding": vector if level == "molecule" else pa.list_(vector)}
    return _write(load_run(run, device), file, level, kind, Path(out), smiles, workers)


def write_predictions(
    file: str | Path,
    run: str | Path,
    out: str | Path,
    smiles: str | None = None,
    workers: int | None = None,
    device: str = "auto",
) -> dict[str, int]:
    """Write `row, input_smiles, smiles`, one column `<label>_<unit>` a label, `error`; returns rows and errors."""
    model = load_run(run, device)
    model._refuse(None)
    kinds = {
        name: pa.float64() if task.level == "molecule" else pa.list_(pa.float32())
        for task in model.tasks
        for name in label_columns(task)
    }
    return _write(model, file, None, kinds, Path(out), smiles, workers)


def _write(model, file, level, kinds, out: Path, smiles, workers) -> dict[str, int]:
    fixed = [("row", pa.int64()), ("input_smiles", pa.string()), ("smiles", pa.string())]
    schema = pa.schema([*fixed, *kinds.items(), ("error", pa.string())])
    workers = count_cores() if workers is None else workers
    counts = {"rows": 0, "errors": 0}
    with writing(out) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        answers = model.answers(read_smiles(file, smiles), level, workers)
        while chunk := list(itertools.islice(answers, CHUNK)):
            writer.write_table(pa.Table.from_pylist([_table_row(a, kinds) for a in chunk], schema))
            counts["rows"] += len(chunk)
            counts["errors"] += sum(a.error is not None for a in chunk)
    return counts


def _table_row(answer: Answer, kinds: dict) -> dict:
    values = answer.values or {}
    row = answer._asdict() | {name: _plain(values.get(name)) for name in kinds}
    row.pop("values")
    return row


def _plain(value):
    return value.tolist() if isinstance(value, np.ndarray) and value.ndim > 1 else value
