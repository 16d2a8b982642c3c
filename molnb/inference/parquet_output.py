"""Embeddings and predictions as Parquet: a row for every row of a file, or for every molecule of
curated shards.

Written as they are computed, so memory does not grow with the file. Columns: `row, input_smiles,
smiles`, the values, `unseen` (features that training never saw and that contribute nothing; null
where there are none) and `error`. How a level is stored, and read again (``table =
pyarrow.parquet.read_table(out)``):

    molecule   embedding list<float>               np.stack(table["embedding"].to_pylist())
    atom       embedding list<list<float>>         np.array(table["embedding"][k].as_py())           [atom, d_atom]
    pair       n_atoms, embedding list<float>      x = table["embedding"][k].values.to_numpy()
                                                   x.reshape(n, n, -1) with n =
                                                   table["n_atoms"][k].as_py()

Pairs are flat, row by row: nested lists would be slow to read and hold as many numbers. They take n
* n * d_pair * 4 bytes a molecule before compression (0.6 MB for 24 atoms and d_pair 256).
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
from ..paths import home
from ..processes import count_cores
from ..recipes.readers import read_records
from ..recipes.sources import find_source, recipe_for_file
from ..shards import Shards, load_shards
from .featurizer import CHUNK, CONFORMERS, MoleculeInput
from .predictor import MAX_NUMBERS, PredictionRow, TrainedModel, load_run, prediction_columns

_FLOATS = pa.list_(pa.float32())
_KINDS = {
    "molecule": {"embedding": _FLOATS},
    "atom": {"embedding": pa.list_(_FLOATS)},
    "pair": {"n_atoms": pa.int32(), "embedding": _FLOATS},
}


def read_molecules(file: str | Path, smiles: str | None = None) -> Iterator[MoleculeInput]:
    """The molecules of a file, row by row: SMILES of an SMI, CSV or Parquet file, structures of
    an SDF.
    """
    recipe = recipe_for_file(file, smiles)
    found = find_source(recipe, home())
    column = recipe.columns.smiles
    for record in read_records(found.source, Path(file), [column] if column else None):
        if column:
            yield record.fields.get(column)
            continue
        try:
            yield parse_molblock(record.fields.get("molblock") or "")
        except MoleculeError as failure:
            yield failure


def find_shards(what: str | os.PathLike | Shards) -> Shards | None:
    """Curated molecules by folder, or by name below ``MOLNB_HOME/data``; None for a file."""
    if isinstance(what, Shards):
        return what
    path = Path(what)
    if path.is_file():
        return None
    for folder in (path, home() / "data" / path):
        if (folder / "manifest.json").is_file():
            return load_shards(folder)
    raise InputError(
        f"{path} is neither a file nor curated molecules: name a CSV, SMI, SDF or Parquet file, a folder that curate "
        f"made, or its name below {home() / 'data'}"
    )


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
    """Write the embeddings of a level for every row of a file, or every curated molecule; returns
    counts of rows.

    A file's atoms are its heavy atoms in the order of the SMILES or SDF record;
    ``conformer="given"`` takes the 3D coordinates of an SDF's records. Curated molecules (`Shards`,
    their folder or name) are read from disk, with their geometries, in sample order and the atom
    order of their stored SMILES; `row` is then the row of their source.
    """
    model = load_run(run, device)
    model.check_level(level)
    shards = find_shards(file)
    if shards is not None and (smiles or conformer != "new"):
        raise InputError(
            f"{shards.path.name} is curated: its SMILES and geometries are on disk; leave the options out"
        )
    if shards is not None:
        answers = model.stored_answers(shards, level)
    else:
        answers = _answers(model, file, level, smiles, workers, conformer)
    return _write((_as_stored(a, level) for a in answers), _KINDS[level], Path(out))


def write_predictions(
    file: str | Path,
    run: str | Path,
    out: str | Path,
    smiles: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    conformer: str = "new",
) -> dict[str, int]:
    """Write one column `<label>_<unit>` a label for every row of a file; returns counts of rows."""
    model = load_run(run, device)
    model.check_level(None)
    kinds = {
        name: pa.float64() if task.level == "molecule" else _FLOATS
        for task in model.tasks
        for name in prediction_columns(task)
    }
    return _write(_answers(model, file, None, smiles, workers, conformer), kinds, Path(out))


def _answers(
    model: TrainedModel,
    file: str | Path,
    level: str | None,
    smiles: str | None,
    workers: int | None,
    conformer: str,
) -> Iterator[PredictionRow]:
    if conformer not in CONFORMERS:
        raise InputError(f"unknown conformer {conformer!r}: choose one of {', '.join(CONFORMERS)}")
    molecules = read_molecules(file, smiles)
    return model.answers(molecules, level, count_cores() if workers is None else workers, conformer)


def _as_stored(answer: PredictionRow, level: str) -> PredictionRow:
    if level != "pair" or answer.values is None:
        return answer
    pairs = answer.values["embedding"]
    return answer._replace(values={"n_atoms": len(pairs), "embedding": pairs.reshape(-1)})


def _write(
    answers: Iterable[PredictionRow], kinds: dict[str, pa.DataType], out: Path
) -> dict[str, int]:
    """Stream answers to a Parquet file; counts of rows, of errors, and of rows with unseen
    features.
    """
    fixed = {"row": pa.int64(), "input_smiles": pa.string(), "smiles": pa.string()}
    schema = pa.schema(
        [*(fixed | kinds | {"unseen": pa.list_(pa.string()), "error": pa.string()}).items()]
    )
    counts = {"rows": 0, "errors": 0, "unseen": 0}
    with writing(out) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for chunk in _chunks(answers):
            writer.write_table(_table(chunk, schema))
            counts["rows"] += len(chunk)
            counts["errors"] += sum(a.error is not None for a in chunk)
            counts["unseen"] += sum(bool(a.unseen) for a in chunk)
    return counts


def _chunks(answers: Iterable[PredictionRow]) -> Iterator[list[PredictionRow]]:
    """Answers to be written together: a bounded number of rows, and of numbers in them."""
    chunk: list[PredictionRow] = []
    held = 0
    for answer in answers:
        chunk.append(answer)
        held += sum(np.size(value) for value in (answer.values or {}).values())
        if len(chunk) == CHUNK or held > MAX_NUMBERS:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _table(chunk: list[PredictionRow], schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        if field.name == "unseen":
            columns.append(pa.array([list(a.unseen) or None for a in chunk], field.type))
        elif field.name in PredictionRow._fields:
            columns.append(pa.array([getattr(a, field.name) for a in chunk], field.type))
        else:
            columns.append(_column([(a.values or {}).get(field.name) for a in chunk], field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _column(values: list, kind: pa.DataType) -> pa.Array:
    """Numbers, or arrays as lists, without a Python object a number."""
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    there = [np.asarray(v, np.float32) for v in values if v is not None]
    flat = pa.array(
        np.concatenate([v.reshape(-1) for v in there]) if there else np.zeros(0, np.float32)
    )
    if pa.types.is_list(kind.value_type):
        width = there[0].shape[-1] if there else 1
        flat = pa.ListArray.from_arrays(
            pa.array(np.arange(len(flat) // width + 1) * width, pa.int32()), flat
        )
    ends = np.cumsum([0, *(0 if v is None else len(v) for v in values)])
    missing = pa.array([v is None for v in values])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat, mask=missing)
