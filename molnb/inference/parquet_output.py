"""Embeddings and predictions as Parquet: a row for each row of a file, or each curated molecule.

Written as they are computed, so memory does not grow with the file. Columns: `row, input_smiles,
smiles`, the values, `unseen` (features that training never saw and that contribute nothing; null
where there are none) and `error`. How a level is stored, and read again from ``table =
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
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..chemistry.failures import MoleculeError
from ..chemistry.parsing import parse_molblock
from ..errors import InputError
from ..files import writing
from ..paths import find_data, home
from ..processes import count_cores
from ..recipes.readers import read_records
from ..recipes.readers.collection import holds_structures
from ..recipes.readers.record import record_structure
from ..recipes.sources import find_source, recipe_for_file
from ..shards import Shards, load_shards
from .featurizer import CHUNK, MoleculeInput, check_conformer
from .predictor import MAX_NUMBERS, PredictionRow, check_level, load_run, prediction_columns

_FLOATS = pa.list_(pa.float32())
_KINDS = {
    "molecule": {"embedding": _FLOATS},
    "atom": {"embedding": pa.list_(_FLOATS)},
    "pair": {"n_atoms": pa.int32(), "embedding": _FLOATS},
}


def read_molecules(file: str | Path, smiles: str | None = None) -> Iterator[MoleculeInput]:
    """The molecules of a file, row by row.

    They are SMILES of a table, or structures of an SDF, mol or XYZ file or a folder of them. A row
    that curation would drop as malformed is a MoleculeError that says so.
    """
    recipe = recipe_for_file(file, smiles)
    located = find_source(recipe, home())
    column = recipe.columns.smiles
    for record in read_records(located.source, Path(file), [column] if column else None):
        structure, problem = record_structure(record, column)
        if problem is not None:
            yield MoleculeError("malformed row", problem)
            continue
        if column:
            yield structure
            continue
        try:
            yield parse_molblock(structure or "")
        except MoleculeError as error:
            yield error


def find_shards(source: str | os.PathLike | Shards) -> Shards | None:
    """Curated molecules by folder, or by name below ``MOLNB_HOME/data``; None for a file."""
    if isinstance(source, Shards):
        return source
    path = Path(source)
    if path.is_file() or (path.is_dir() and holds_structures(path)):
        return None
    try:
        folder = find_data(path)
    except InputError:
        raise InputError(
            f"{path} is neither a file nor curated molecules: name a CSV, SMI, SDF, XYZ or "
            "Parquet file, a folder of structures, a folder that curate made, or its name below "
            f"{home() / 'data'}"
        ) from None
    return load_shards(folder)


def write_embeddings(
    file: str | os.PathLike | Shards,
    run: str | Path,
    out: str | Path,
    level: str = "molecule",
    smiles: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    conformer: str = "new",
) -> dict[str, int]:
    """Write embeddings for each row of a file, or each curated molecule; returns counts of rows.

    A file's atoms are its heavy atoms in the order of the SMILES or SDF record;
    ``conformer="given"`` takes the 3D coordinates of an SDF's records. Curated molecules (`Shards`,
    their folder or name) are read from disk, with their geometries, in sample order and the atom
    order of their stored SMILES; `row` is then the row of their source.
    """
    model = load_run(run, device)
    check_level(level)
    shards = find_shards(file)
    if shards is not None and (smiles or conformer != "new"):
        raise InputError(
            f"{shards.path.name} is curated: its SMILES and geometries are on disk; leave the "
            "options out"
        )
    if shards is not None:
        rows = model.stored_embedding_rows(shards, level)
    else:
        check_conformer(conformer)
        molecules = read_molecules(file, smiles)
        rows = model.embedding_rows(molecules, level, _n_worker(workers), conformer)
    return _write((_as_stored(row, level) for row in rows), _KINDS[level], Path(out))


def write_predictions(
    file: str | Path,
    run: str | Path,
    out: str | Path,
    smiles: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    conformer: str = "new",
) -> dict[str, int]:
    """Write one column `<label>_<unit>` a label for each row of a file; returns counts of rows."""
    model = load_run(run, device)
    model.check_predicts()
    check_conformer(conformer)
    kinds = {
        name: pa.float64() if task.level == "molecule" else _FLOATS
        for task in model.tasks
        for name in prediction_columns(task)
    }
    molecules = read_molecules(file, smiles)
    return _write(model.prediction_rows(molecules, _n_worker(workers), conformer), kinds, Path(out))


def _n_worker(workers: int | None) -> int:
    return count_cores() if workers is None else workers


def _as_stored(row: PredictionRow, level: str) -> PredictionRow:
    """A row as Parquet holds it: pairs as one list, beside the number of atoms."""
    if level != "pair" or row.values is None:
        return row
    pairs = row.values["embedding"]
    return row._replace(values={"n_atoms": len(pairs), "embedding": pairs.reshape(-1)})


def _write(
    rows: Iterable[PredictionRow], kinds: dict[str, pa.DataType], out: Path
) -> dict[str, int]:
    """Stream rows to a Parquet file; counts rows, errors, and rows with unseen features."""
    fields = {"row": pa.int64(), "input_smiles": pa.string(), "smiles": pa.string()}
    fields |= kinds | {"unseen": pa.list_(pa.string()), "error": pa.string()}
    schema = pa.schema(list(fields.items()))
    counts = {"rows": 0, "errors": 0, "unseen": 0}
    with writing(out) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for chunk in _chunks(rows):
            writer.write_table(_table(chunk, schema))
            counts["rows"] += len(chunk)
            counts["errors"] += sum(row.error is not None for row in chunk)
            counts["unseen"] += sum(bool(row.unseen) for row in chunk)
    return counts


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
    for field in schema:
        if field.name == "unseen":
            columns.append(pa.array([list(row.unseen) or None for row in chunk], field.type))
        elif field.name in PredictionRow._fields:
            columns.append(pa.array([getattr(row, field.name) for row in chunk], field.type))
        else:
            values = [(row.values or {}).get(field.name) for row in chunk]
            columns.append(_column(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _column(values: list, kind: pa.DataType) -> pa.Array:
    """Numbers, or arrays as lists, as an Arrow column without a Python object a number."""
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    arrays = [np.asarray(value, np.float32) for value in values if value is not None]
    empty = np.zeros(0, np.float32)
    flat = pa.array(np.concatenate([empty, *(array.reshape(-1) for array in arrays)]))
    if pa.types.is_list(kind.value_type):  # lists of vectors: the vectors first
        width = arrays[0].shape[-1] if arrays else 1
        offsets = np.arange(len(flat) // width + 1) * width
        flat = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)
    lengths = [0 if value is None else len(value) for value in values]
    ends = np.cumsum([0, *lengths])
    missing = pa.array([value is None for value in values])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat, mask=missing)
