"""Where rows come from: files inside RDKit, local SMI, CSV, SDF and Parquet files, and downloads
with a hash.

Whatever the format, the rows end in one normalised snapshot (Parquet: row, line, id, structure, one
column a label), from which slices can be read by range. Text is read row by row, so a file of any
size passes through a small memory.
"""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from .downloads import download
from .readers import column_names
from .readers.record import file_format
from .registry import make_recipe, plain_name
from .schema import Recipe, Source


class LocatedSource(NamedTuple):
    """The files of a source on this computer, and one hash over them."""

    source: Source
    folder: Path
    sha256: str


def with_source(recipe: Recipe, source: str | Path | dict | None) -> Recipe:
    """The recipe reading from another file: a path, or a dictionary of source keys, also
    ``columns``.
    """
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
    return make_recipe(
        recipe.model_dump() | {"source": content, "columns": columns or recipe.columns}, where
    )


def _columns_there(recipe: Recipe) -> dict[str, str | None]:
    """The recipe's columns as far as its new file has them: an SDF needs no SMILES, no file an
    identifier.
    """
    names = column_names(recipe.source, source_path(recipe.source, recipe.folder))
    wanted = recipe.columns
    no_smiles = file_format(recipe.source) == "sdf" and wanted.smiles not in names
    return {
        "smiles": None if no_smiles else wanted.smiles,
        "id": wanted.id if wanted.id in names else None,
    }


def recipe_for_file(
    path: str | Path,
    smiles: str | None = None,
    labels: dict[str, str] | None = None,
    name: str | None = None,
) -> Recipe:
    """A recipe for one's own SMI, CSV, TSV, SDF or Parquet file.

    ``smiles`` names the column of structures (found by its name where it is the only candidate; an
    SDF's own structures need none); ``labels`` maps columns to units. The labels form one task
    named after the file.
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
        "columns": {
            "smiles": smiles,
            "id": next((c for c in names if c.lower() in ("id", "name")), None),
        },
        "labels": [
            {"name": plain_name(c), "column": c, "quantity": c, "unit": unit, **origin}
            for c, unit in wanted.items()
        ],
        "tasks": [{"name": stem, "labels": [plain_name(c) for c in wanted]}] if wanted else [],
    }
    return make_recipe(content, str(path))


def _guess_smiles(path: Path, names: list[str]) -> str:
    candidates = [c for c in names if c.lower() == "smiles"] or [
        c for c in names if "smiles" in c.lower()
    ]
    if len(candidates) != 1:
        raise InputError(
            f"{path}: which column holds the SMILES? Columns: {', '.join(names)}. Name one with --smiles COLUMN."
        )
    return candidates[0]


def _refuse_missing(path: Path, wanted: list[str], names: list[str]) -> None:
    for column in wanted:
        if column not in names:
            near = difflib.get_close_matches(column, names, 1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            raise InputError(
                f"{path} has no column '{column}'{hint}. Its columns are: {', '.join(names)}."
            )


# ------------------------------------------------------------------------------------------------------ finding


def find_source(recipe: Recipe, home: Path) -> LocatedSource:
    """The files of a recipe's source on this computer, downloaded where they come from a url,
    and their hash.
    """
    source, folder = recipe.source, recipe.folder
    if source.kind == "url":
        path = download(source.url, source.sha256, home / "downloads")
        source, folder = source.model_copy(update={"kind": "file", "file": str(path)}), path.parent
    hashes = [_sha256(source_path(source, folder))]
    if source.join is not None:
        hashes.append(_sha256(join_path(source, folder)))
    whole = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    if source.sha256 is not None and hashes[0] != source.sha256:
        raise InputError(
            f"{source_path(source, folder)} has SHA-256 {hashes[0]}, recipe '{recipe.name}' expects {source.sha256}. "
            "Fetch the file again, or take the key source.sha256 out of the recipe if the new content is meant."
        )
    return LocatedSource(source, folder, whole)


def source_path(source: Source, folder: Path) -> Path:
    """The file of a source; Data/... and Contrib/... of kind ``rdkit`` lie where RDKit was
    installed.
    """
    return _existing(source.kind, source.file, folder)


def join_path(source: Source, folder: Path) -> Path:
    """The file of the table that is joined to a source."""
    return _existing(source.kind, source.join.file, folder)


def _existing(kind: str, file: str, folder: Path) -> Path:
    if kind == "rdkit":
        from rdkit import RDConfig

        top, _, rest = file.partition("/")
        if top not in ("Data", "Contrib"):
            raise InputError(
                f"source.file '{file}' of kind rdkit must start with Data/ or Contrib/"
            )
        path = Path(RDConfig.RDDataDir if top == "Data" else RDConfig.RDContribDir) / rest
    else:
        path = folder / Path(file).expanduser()
        path = path if path.exists() else Path(file).expanduser()
    if not path.is_file():
        raise InputError(
            f"There is no file {path} (source.file of the recipe); give another with source=PATH."
        )
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
