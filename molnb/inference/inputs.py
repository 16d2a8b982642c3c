"""What is embedded or predicted: rows of a file, or curated molecules, with columns to carry along.

The identifier and chosen columns of a row go unchanged from the input to the output. A file is read
as `curate` reads it: a row that is malformed there is an error here.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from ..chemistry.failures import MoleculeError
from ..chemistry.parsing import parse_molblock
from ..errors import InputError
from ..paths import find_data, home
from ..recipes.readers import column_names, read_records
from ..recipes.readers.collection import holds_structures
from ..recipes.readers.parquet import open_parquet
from ..recipes.readers.record import Record, file_format, record_structure, source_files
from ..recipes.schema import Recipe
from ..recipes.sources import recipe_for_file, refuse_missing_columns
from ..shards import Shards, load_shards
from .featurizer import MoleculeInput, check_conformer
from .predictor import PredictionRow, TrainedModel, Vectors

IDENTIFIER = "id"  # the column of identifiers, of shards and of output
_COUNTED = (
    "smi",
    "csv",
    "tsv",
    "sdf",
    "mol",
)  # reading the rows takes no time beside answering them


class CarriedColumn(NamedTuple):
    """A column of the input that goes to the output; `name` is None where there is none."""

    name: str | None
    kind: pa.DataType


class InputRow(NamedTuple):
    """A molecule, its structure where that is text, and its values of the carried columns."""

    molecule: MoleculeInput
    text: str | None
    carried: tuple[Any, ...]


class MoleculeFile:
    """A file of molecules, read row by row; `columns` are carried along, the identifier first."""

    def __init__(self, path: Path, recipe: Recipe, columns: Sequence[CarriedColumn]):
        self.path = path
        self.recipe = recipe
        self.columns = tuple(columns)

    def answers(
        self, model: TrainedModel, vectors: Vectors | None, workers: int, conformer: str
    ) -> Iterator[PredictionRow]:
        """Embeddings, or predictions where `vectors` is None, a row a row of the file."""
        waiting: deque[InputRow] = deque()  # read, and not answered yet: a few chunks

        def molecules() -> Iterator[MoleculeInput]:
            for row in self.rows():
                waiting.append(row)
                yield row.molecule

        if vectors is None:
            answers = model.prediction_rows(molecules(), workers, conformer)
        else:
            level, layer = vectors
            answers = model.embedding_rows(molecules(), level, workers, conformer, layer)
        for answer in answers:
            row = waiting.popleft()
            text = answer.input_smiles if row.text is None else row.text
            yield answer._replace(input_smiles=text, carried=row.carried)

    def rows(self) -> Iterator[InputRow]:
        """Every row with its molecule, or with a MoleculeError where it cannot be read."""
        return (self._row(record) for record in self._records())

    def count(self) -> int | None:
        """Number of rows; None where nobody knows before they are read."""
        kind = file_format(self.recipe.source)
        if kind == "parquet":
            files = source_files(self.recipe.source, self.path)
            return sum(open_parquet(file).metadata.num_rows for file in files)
        return sum(1 for _ in self._records()) if kind in _COUNTED else None

    def _records(self) -> Iterator[Record]:
        names = [self.recipe.columns.smiles, *(column.name for column in self.columns)]
        names = list(dict.fromkeys(name for name in names if name is not None))
        return read_records(self.recipe.source, self.path, names)

    def _row(self, record: Record) -> InputRow:
        column = self.recipe.columns.smiles
        structure, problem = record_structure(record, column)
        text = structure if column else None
        carried = tuple(record.fields.get(column.name) for column in self.columns)
        if record.problem is not None:
            # Nobody knows which of its fields are whose; the identifier is there to find the row.
            carried = (*carried[:1], *[None] * (len(carried) - 1))
        if problem is not None:
            return InputRow(MoleculeError("malformed row", problem), text, carried)
        if column:
            return InputRow(structure, text, carried)
        try:
            return InputRow(parse_molblock(structure or ""), None, carried)
        except MoleculeError as error:
            return InputRow(error, None, carried)


class CuratedMolecules:
    """Curated molecules, answered from their geometries on disk; `columns` as for a file."""

    def __init__(self, shards: Shards, columns: Sequence[CarriedColumn]):
        self.path = shards.path
        self.shards = shards
        self.columns = tuple(columns)

    def answers(
        self, model: TrainedModel, vectors: Vectors | None, workers: int, conformer: str
    ) -> Iterator[PredictionRow]:
        """Embeddings, or predictions where `vectors` is None, in sample order."""
        if vectors is None:
            answers = model.stored_prediction_rows(self.shards)
        else:
            answers = model.stored_embedding_rows(self.shards, vectors.level, layer=vectors.layer)
        names = [column.name for column in self.columns]
        for answer, row in zip(answers, self.shards.rows(names), strict=True):
            yield answer._replace(carried=tuple(row[name] for name in names))

    def count(self) -> int:
        """Number of molecules."""
        return self.shards.n


def open_molecules(
    source: str | os.PathLike | Shards,
    smiles: str | None = None,
    conformer: str = "new",
    identifier: str | None = None,
    keep: Sequence[str] = (),
) -> MoleculeFile | CuratedMolecules:
    """A file or curated molecules, to be answered row by row.

    `smiles` and `identifier` name columns of a file, found by their names if left out; `keep` those
    that go along. Raises InputError for a column that is not there.
    """
    check_conformer(conformer)
    shards = find_shards(source)
    if shards is None:
        return _open_file(Path(source), smiles, identifier, keep)
    if smiles or conformer != "new":
        raise InputError(
            f"{shards.path.name} is curated: its SMILES and geometries are on disk; leave the "
            "options out"
        )
    names = [identifier or IDENTIFIER, *keep]
    refuse_missing_columns(shards.path, names, shards.columns)
    columns = [CarriedColumn(name, shards.schema.field(name).type) for name in _once(names)]
    return CuratedMolecules(shards, columns)


def _open_file(
    path: Path, smiles: str | None, identifier: str | None, keep: Sequence[str]
) -> MoleculeFile:
    """A table of SMILES, a file of structures or a folder of them."""
    recipe = recipe_for_file(path, smiles, identifier=identifier)
    if keep:
        refuse_missing_columns(path, keep, column_names(recipe.source, path))
    names = _once([recipe.columns.id, *keep])
    kinds: dict[str, pa.DataType] = {}
    if file_format(recipe.source) == "parquet":
        file = source_files(recipe.source, path)[0]
        kinds = {field.name: field.type for field in open_parquet(file).schema_arrow}
    columns = [CarriedColumn(name, kinds.get(name, pa.string())) for name in names]
    return MoleculeFile(path, recipe, columns)


def _once(names: Sequence[str | None]) -> list[str | None]:
    """The column of identifiers, then each other one; an identifier that is called so stays one."""
    identifier, *others = names
    return [identifier, *(name for name in dict.fromkeys(others) if name != identifier)]


def read_molecules(file: str | Path, smiles: str | None = None) -> Iterator[MoleculeInput]:
    """The molecules of a file, row by row; a MoleculeError for a row that cannot be read."""
    return (row.molecule for row in _open_file(Path(file), smiles, None, ()).rows())


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
