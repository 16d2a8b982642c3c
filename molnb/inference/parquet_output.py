"""Embeddings and predictions as a file: a row for each row of a file, or each curated molecule.

Written as they are computed, so memory does not grow with the file. Columns: `row, id,
input_smiles, smiles`, columns of the input that are kept, the values, `unseen` (features that
training never saw and that contribute nothing; null where there are none) and `error`. The ending
of the name says the format (`table_files`). How a level is stored, and read again from ``table =
pyarrow.parquet.read_table(out)``:

    molecule   embedding list<float>              np.stack(table["embedding"].to_pylist())
    atom       embedding list<list<float>>        np.array(table["embedding"][k].as_py())
    pair       n_atoms, embedding list<float>     x = table["embedding"][k].values.to_numpy()
                                                  n = table["n_atoms"][k].as_py()
                                                  x.reshape(n, n, -1)

Pairs are flat, row by row: nested lists would be slow to read and hold as many numbers. They take
n * n * d_pair * 4 bytes a molecule before compression (0.6 MB for 24 atoms and d_pair 256).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ..chemistry.failures import REASONS
from ..files import check_output, writing
from ..processes import count_cores
from ..progress import Progress
from ..shards import Shards
from .featurizer import CHUNK
from .inputs import IDENTIFIER, CuratedMolecules, MoleculeFile, open_molecules
from .predictor import (
    MAX_NUMBERS,
    PredictionRow,
    TrainedModel,
    check_level,
    load_run,
)
from .table_files import ENDINGS, is_answers, open_writer, vectors_column

_FLOATS = pa.list_(pa.float32())
_KINDS = {
    "molecule": {"embedding": _FLOATS},
    "atom": {"embedding": pa.list_(_FLOATS)},
    "pair": {"n_atoms": pa.int32(), "embedding": _FLOATS},
}
_FIRST = {
    "row": pa.int64(),
    IDENTIFIER: pa.string(),
    "input_smiles": pa.string(),
    "smiles": pa.string(),
}
_KEPT = b"kept"  # in the metadata of a column that came with the input: its name there
_LAST = {"unseen": pa.list_(pa.string()), "error": pa.string()}
# How an error begins; the longest first, since one may begin as another does.
_REASONS = sorted((f"{step}: {reason}" for reason, step in REASONS.items()), key=len, reverse=True)


class Failure(NamedTuple):
    """Rows that failed for one reason: how many, and the first of them with its whole error."""

    count: int
    row: int
    error: str


def write_embeddings(
    file: str | os.PathLike | Shards,
    run: str | Path,
    out: str | Path,
    level: str = "molecule",
    layer: int | None = None,
    smiles: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    conformer: str = "new",
    identifier: str | None = None,
    keep: Sequence[str] = (),
    max_heavy_atoms: int | None = None,
    force: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Write embeddings for each row of a file, or each curated molecule; returns what was counted.

    A file's atoms are its heavy atoms in the order of the SMILES or SDF record;
    ``conformer="given"`` takes the 3D coordinates of an SDF's records. Curated molecules (`Shards`,
    their folder or name) are read from disk, with their geometries, in sample order and the atom
    order of their stored SMILES; `row` is then the row of their source.

    With `layer` they are what that layer of the encoder gives, the first being 1 (`embed`).

    `identifier` names the column that becomes `id` (found by its name if left out), `keep` columns
    that go along unchanged; one whose name the output has already is called `kept_<name>`. Heavier
    molecules than `max_heavy_atoms` (default: the limit of the run's data) are errors. `out` is
    replaced where molnb wrote it, anything else there only with `force`.

    Counted are `rows`, `errors`, rows with `unseen` features, and `failures`: the rows of each
    reason (`Failure`), most frequent first.
    """
    check_level(level)
    source = open_molecules(file, smiles, conformer, identifier, keep)
    model = load_run(run, device, max_heavy_atoms)
    vectors = model.vectors(level, layer)
    schema = _schema(source, _KINDS[level])
    target = _checked_place(out, source, model, schema, force)
    answers = source.answers(model, vectors, _n_worker(workers), conformer)
    stored = (_as_stored(row, level) for row in answers)
    return _write(stored, schema, target, Path(out), _progress("embed", source, progress))


def write_predictions(
    file: str | os.PathLike | Shards,
    run: str | Path,
    out: str | Path,
    smiles: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    conformer: str = "new",
    identifier: str | None = None,
    keep: Sequence[str] = (),
    max_heavy_atoms: int | None = None,
    force: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Write a column `<label>_<unit>` a label for each row of a file, or each curated molecule.

    Everything else as in `write_embeddings`. Labels of atoms follow the atoms of the row's SMILES
    or SDF record; of curated molecules, those of their stored SMILES.
    """
    source = open_molecules(file, smiles, conformer, identifier, keep)
    model = load_run(run, device, max_heavy_atoms)
    model.check_predicts()
    kinds = {
        name: pa.float64() if task.level == "molecule" else _FLOATS
        for task in model.tasks
        for name in model.columns[task.key]
    }
    schema = _schema(source, kinds)
    target = _checked_place(out, source, model, schema, force)
    answers = source.answers(model, None, _n_worker(workers), conformer)
    return _write(answers, schema, target, Path(out), _progress("predict", source, progress))


def _n_worker(workers: int | None) -> int:
    return count_cores() if workers is None else workers


def _schema(source: MoleculeFile | CuratedMolecules, kinds: dict[str, pa.DataType]) -> pa.Schema:
    """Columns of the output; those that are kept stand behind the structure, by position."""
    identifier, *chosen = source.columns
    first = _FIRST | {IDENTIFIER: identifier.kind}
    names = [*first, *kinds, *_LAST]
    carried = {}
    for column in chosen:
        name = column.name
        while name in names or name in carried:
            name = f"kept_{name}"
        carried[name] = pa.field(name, column.kind, metadata={_KEPT: column.name})
    fields = [pa.field(name, kind) for name, kind in (kinds | _LAST).items()]
    return pa.schema([*first.items(), *carried.values(), *fields])


def _checked_place(
    out: str | Path,
    source: MoleculeFile | CuratedMolecules,
    model: TrainedModel,
    schema: pa.Schema,
    force: bool,
) -> Path:
    """The file to write, links followed; refused before anything is computed."""

    def is_ours(path: Path) -> bool:
        return is_answers(path, schema)

    return check_output(out, [source.path, model.run.path], ENDINGS, is_ours, force)


def _progress(command: str, source: MoleculeFile | CuratedMolecules, visible: bool) -> Progress:
    """How many rows are answered, of all."""
    total = source.count() if visible else None
    return Progress(f"{command} {source.path.name}", total, visible)


def _as_stored(row: PredictionRow, level: str) -> PredictionRow:
    """A row as Parquet holds it: pairs as one list, beside the number of atoms."""
    if level != "pair" or row.values is None:
        return row
    pairs = row.values["embedding"]
    return row._replace(values={"n_atoms": len(pairs), "embedding": pairs.reshape(-1)})


def _write(
    rows: Iterable[PredictionRow], schema: pa.Schema, place: Path, out: Path, progress: Progress
) -> dict[str, Any]:
    """Stream rows to a file; counts rows, errors with their reasons, rows with unseen features."""
    counts: dict[str, Any] = {"rows": 0, "errors": 0, "unseen": 0}
    failures: dict[str, Failure] = {}
    with progress, writing(place) as partial, open_writer(partial, out.name, schema) as writer:
        for chunk in _chunks(rows):
            writer.write_table(_table(chunk, schema))
            counts["rows"] += len(chunk)
            counts["unseen"] += sum(bool(row.unseen) for row in chunk)
            for row in chunk:
                _count_failure(failures, row)
            progress.advance(len(chunk))
    counts["errors"] = sum(failure.count for failure in failures.values())
    by_count = sorted(failures.items(), key=lambda item: -item[1].count)
    return counts | {"failures": dict(by_count)}


def _count_failure(failures: dict[str, Failure], row: PredictionRow) -> None:
    """Add a row that failed to those of its reason, such as `parse: impossible valence`."""
    if row.error is None:
        return
    reasons = (reason for reason in _REASONS if row.error.startswith(reason))
    reason = next(reasons, row.error)
    first = failures.get(reason, Failure(0, row.row, row.error))
    failures[reason] = first._replace(count=first.count + 1)


def _chunks(rows: Iterable[PredictionRow]) -> Iterator[list[PredictionRow]]:
    """Rows to be written together: a bounded number of them, and of numbers in them."""
    chunk: list[PredictionRow] = []
    n_number = 0
    for row in rows:
        chunk.append(row)
        n_number += sum(np.size(value) for value in (row.values or {}).values())
        if len(chunk) == CHUNK or n_number > MAX_NUMBERS:
            yield chunk
            chunk = []
            n_number = 0
    if chunk:
        yield chunk


def _table(chunk: list[PredictionRow], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table."""
    columns = []
    n_carried = 0
    for field in schema:
        if field.name == IDENTIFIER or _KEPT in (field.metadata or {}):
            values = [row.carried[n_carried] for row in chunk]
            columns.append(pa.array(values, field.type))
            n_carried += 1
        elif field.name == "unseen":
            columns.append(pa.array([list(row.unseen) or None for row in chunk], field.type))
        elif field.name in (*_FIRST, "error"):
            columns.append(pa.array([getattr(row, field.name) for row in chunk], field.type))
        else:
            values = [(row.values or {}).get(field.name) for row in chunk]
            columns.append(vectors_column(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)
