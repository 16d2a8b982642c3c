"""Where rows come from: files inside RDKit, local SMI, CSV, SDF and Parquet files, and downloads with a hash.

Whatever the format, the rows end in one normalised snapshot (Parquet: row, line, id, structure, one column a label),
from which slices can be read by range. Text is read row by row, so a file of any size passes through a small memory.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from .downloads import download
from .errors import Refused
from .recipes import Join, Label, Recipe, Source, make_recipe, plain_name
from .records import ROWS_PER_GROUP, Record, column_names, file_format, records


class Found(NamedTuple):
    """The files of a source on this computer, and one hash over them."""

    source: Source
    folder: Path
    sha256: str


def with_source(recipe: Recipe, source: str | Path | dict | None) -> Recipe:
    """The recipe reading from another file: a path, or a dictionary of source keys, also ``columns``."""
    if source is None:
        return recipe
    content = {"file": str(source)} if isinstance(source, str | Path) else dict(source)
    columns = content.pop("columns", None)
    content.setdefault("kind", "url" if "url" in content else "file")
    if content["kind"] == "file":
        content["file"] = str(Path(content["file"]).resolve())
    where = f"recipe {recipe.name} with source={source}"
    replaced = make_recipe(recipe.model_dump() | {"source": content}, where)
    if columns is None and replaced.source.kind == "file":
        columns = _columns_there(replaced)
    return make_recipe(recipe.model_dump() | {"source": content, "columns": columns or recipe.columns}, where)


def _columns_there(recipe: Recipe) -> dict[str, str | None]:
    """The recipe's columns as far as its new file has them: an SDF needs no SMILES, no file an identifier."""
    names = column_names(recipe.source, source_path(recipe.source, recipe.folder))
    wanted = recipe.columns
    no_smiles = file_format(recipe.source) == "sdf" and wanted.smiles not in names
    return {"smiles": None if no_smiles else wanted.smiles, "id": wanted.id if wanted.id in names else None}


def recipe_for_file(
    path: str | Path, smiles: str | None = None, labels: dict[str, str] | None = None, name: str | None = None
) -> Recipe:
    """A recipe for one's own SMI, CSV, TSV, SDF or Parquet file.

    ``smiles`` names the column of structures (found by its name where it is the only candidate; an SDF's own structures
    need none); ``labels`` maps columns to units. The labels form one task named after the file.
    """
    path = Path(path)
    source = Source(kind="file", file=str(path.resolve()))
    names = column_names(source, source_path(source, Path()))
    wanted = labels or {}
    _refuse_missing(path, [c for c in ([smiles] if smiles else []) + list(wanted)], names)
    if smiles is None and file_format(source) != "sdf":
        smiles = _guess_smiles(path, names)
    stem = plain_name(name or path.name.split(".")[0])
    origin = {"theory": "as given", "geometry": "none"}
    content = {
        "name": stem,
        "title": f"the user's file {path.name}",
        "licence": "not stated",
        "citation": "not stated",
        "source": source.model_dump(),
        "columns": {"smiles": smiles, "id": next((c for c in names if c.lower() in ("id", "name")), None)},
        "labels": [
            {"name": plain_name(c), "column": c, "quantity": c, "unit": unit, **origin} for c, unit in wanted.items()
        ],
        "tasks": [{"name": stem, "labels": [plain_name(c) for c in wanted]}] if wanted else [],
    }
    return make_recipe(content, str(path))


def _guess_smiles(path: Path, names: list[str]) -> str:
    candidates = [c for c in names if c.lower() == "smiles"] or [c for c in names if "smiles" in c.lower()]
    if len(candidates) != 1:
        raise Refused(
            f"{path}: which column holds the SMILES? Columns: {', '.join(names)}. Name one with --smiles COLUMN."
        )
    return candidates[0]


def _refuse_missing(path: Path, wanted: list[str], names: list[str]) -> None:
    for column in wanted:
        if column not in names:
            near = difflib.get_close_matches(column, names, 1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            raise Refused(f"{path} has no column '{column}'{hint}. Its columns are: {', '.join(names)}.")


# ------------------------------------------------------------------------------------------------------ finding


def find_source(recipe: Recipe, home: Path) -> Found:
    """The files of a recipe's source on this computer, downloaded where they come from a url, and their hash."""
    source, folder = recipe.source, recipe.folder
    if source.kind == "url":
        path = download(source.url, source.sha256, home / "downloads")
        source, folder = source.model_copy(update={"kind": "file", "file": str(path)}), path.parent
    hashes = [_sha256(source_path(source, folder))]
    if source.join is not None:
        hashes.append(_sha256(join_path(source, folder)))
    whole = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    if source.sha256 is not None and hashes[0] != source.sha256:
        raise Refused(
            f"{source_path(source, folder)} has SHA-256 {hashes[0]}, recipe '{recipe.name}' expects {source.sha256}. "
            "Fetch the file again, or take the key source.sha256 out of the recipe if the new content is meant."
        )
    return Found(source, folder, whole)


def source_path(source: Source, folder: Path) -> Path:
    """The file of a source; Data/... and Contrib/... of kind ``rdkit`` lie where RDKit was installed."""
    return _existing(source.kind, source.file, folder)


def join_path(source: Source, folder: Path) -> Path:
    """The file of the table that is joined to a source."""
    return _existing(source.kind, source.join.file, folder)


def _existing(kind: str, file: str, folder: Path) -> Path:
    if kind == "rdkit":
        from rdkit import RDConfig

        top, _, rest = file.partition("/")
        if top not in ("Data", "Contrib"):
            raise Refused(f"source.file '{file}' of kind rdkit must start with Data/ or Contrib/")
        path = Path(RDConfig.RDDataDir if top == "Data" else RDConfig.RDContribDir) / rest
    else:
        path = folder / Path(file).expanduser()
        path = path if path.exists() else Path(file).expanduser()
    if not path.is_file():
        raise Refused(f"There is no file {path} (source.file of the recipe); give another with source=PATH.")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ----------------------------------------------------------------------------------------------------- snapshot


def write_snapshot(recipe: Recipe, found: Found, path: Path) -> dict[str, Any]:
    """Stream a source into one normalised Parquet file at ``path``; returns what was counted.

    A label that is empty, NaN or no number is null and counted by its reason. Raises Refused when a column is missing
    or there are no rows.
    """
    file = source_path(found.source, found.folder)
    columns = [label for label in recipe.labels if label.column is not None]
    side = _side_table(found, columns) if found.source.join is not None else None
    wanted = _wanted_columns(recipe, found, side)
    _refuse_missing(file, wanted, column_names(found.source, file))
    counts: dict[str, Counter] = {label.name: Counter() for label in columns}
    schema = snapshot_schema(recipe)
    n = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        rows = enumerate(records(found.source, file, wanted))
        while batch := list(itertools.islice(rows, ROWS_PER_GROUP)):
            prepared = [_snapshot_row(row, record, recipe, columns, side, counts) for row, record in batch]
            writer.write_table(pa.Table.from_pylist(prepared, schema))
            n += len(batch)
    if n == 0:
        raise Refused(f"{file} is empty: 0 rows. Give a file with at least one molecule.")
    return {"rows": n, "missing": {name: dict(count) for name, count in counts.items()}}


def snapshot_schema(recipe: Recipe) -> pa.Schema:
    """Columns of the snapshot: row, line, id, structure, problem, then a column for each label of the file."""
    text = [("id", pa.string()), ("structure", pa.string()), ("problem", pa.string())]
    labels = [(label.name, pa.float64()) for label in recipe.labels if label.column is not None]
    return pa.schema([("row", pa.int64()), ("line", pa.int64()), *text, *labels])


def _wanted_columns(recipe: Recipe, found: Found, side: dict | None) -> list[str]:
    wanted = [recipe.columns.smiles] if recipe.columns.smiles else []
    if recipe.columns.id and file_format(found.source) != "sdf":
        wanted.append(recipe.columns.id)
    if side is None:
        return wanted + [label.column for label in recipe.labels if label.column is not None]
    return [*wanted, found.source.join.key]


def _side_table(found: Found, labels: list[Label]) -> dict[str, dict]:
    """The joined table by its key; the first row of a key counts."""
    join: Join = found.source.join
    path = join_path(found.source, found.folder)
    source = Source(kind="file", file=str(path), format=join.format)
    _refuse_missing(path, [join.column, *(label.column for label in labels)], column_names(source, path))
    table: dict[str, dict] = {}
    for record in records(source, path):
        table.setdefault(str(record.fields.get(join.column)), record.fields)
    return table


def _snapshot_row(
    row: int, record: Record, recipe: Recipe, labels: list[Label], side: dict | None, counts: dict[str, Counter]
) -> dict[str, Any]:
    fields = record.fields
    structure, name = fields.get(recipe.columns.smiles or "molblock"), fields.get(recipe.columns.id or "name")
    out = {
        "row": row,
        "line": record.line,
        "id": None if name is None else str(name),
        "structure": None if structure is None else str(structure).strip() if recipe.columns.smiles else structure,
        "problem": record.problem,
    }
    values = fields
    if side is not None:
        values = side.get(str(fields.get(recipe.source.join.key)), {})
    for label in labels:
        value, reason = read_number(values.get(label.column))
        if reason is not None:
            counts[label.name]["no row in the joined table" if side is not None and not values else reason] += 1
        out[label.name] = None if value is None else value * label.scale
    return out


def read_number(value: Any) -> tuple[float | None, str | None]:
    """A label's value as a finite number, or None and why there is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None, "empty"
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None, "not a number"
    return (number, None) if math.isfinite(number) else (None, "NaN or infinite")
