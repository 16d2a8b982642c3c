"""Where rows come from: files inside RDKit, local files and folders, downloads with a hash.

Whatever the format, the rows end in one normalised snapshot (Parquet: row, line, id, structure, one
column a label), from which slices can be read by range. Text is read row by row, so a file of any
size passes through a small memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError, did_you_mean
from ..files import file_digest
from .absent_parts import without_absent_splits, without_lists
from .fetched.addresses import is_address
from .fetched.digests import remembered_digest
from .fetched.downloads import DOWNLOADS, RemoteFile, announce_parts, get_file
from .label_schema import plain_name
from .own_source import own_source_keys
from .readers import column_names
from .readers.collection import structure_files
from .readers.names import geometry_columns, identifier_column, smiles_candidates
from .readers.record import OWN_STRUCTURES, file_format, with_member
from .registry import make_recipe
from .schema import Recipe
from .source_schema import Source, part_address
from .values.label_grammar import DeclaredLabel, describe_labels, parse_label
from .values.value_grammar import add_values, parse_spreads, parse_where


class LocatedSource(NamedTuple):
    """The files of a source on this computer, and one hash over them.

    ``source`` is the first file; ``parts`` are all, where there are several.
    """

    source: Source
    folder: Path
    sha256: str
    parts: tuple[Source, ...] = ()

    @property
    def each(self) -> tuple[Source, ...]:
        """A source for each file, in order."""
        return self.parts or (self.source,)


# ------------------------------------------------------------------------------- one's own file


def with_source(recipe: Recipe, source: str | Path | dict | None) -> Recipe:
    """The recipe reading from another file: a path, or a dictionary of source keys.

    The dictionary may also hold ``columns``; without, the recipe's columns stay as far as the file
    has them. Of a path the format is told by its ending or its content. ``{part}`` in its name
    stands for the numbers of the recipe's parts.
    """
    if source is None:
        return recipe
    is_path = isinstance(source, str | Path)
    content = own_source_keys(recipe, _without_tilde(str(source))) if is_path else dict(source)
    columns = content.pop("columns", None)
    content.setdefault("kind", "url" if "url" in content else "file")
    if content["kind"] == "file":
        content["file"] = str(Path(content["file"]).resolve())
    where = f"recipe {recipe.name} with source={source}"
    replaced = make_recipe(recipe.model_dump() | {"source": content}, where)
    if content["kind"] == "file":
        recipe = without_absent_splits(recipe, _columns_of(replaced))
    if columns is None and replaced.source.kind == "file":
        columns = _matching_columns(replaced)
        if columns["id"] is None:
            recipe = without_lists(recipe)
    replaced = make_recipe(
        recipe.model_dump() | {"source": content, "columns": columns or recipe.columns}, where
    )
    replaced._folder = recipe.folder
    return replaced


def _columns_of(recipe: Recipe) -> list[str]:
    """The columns of the file of a recipe, of the first of several."""
    source = source_parts(recipe.source)[0]
    return column_names(source, source_path(source, recipe.folder))


def _matching_columns(recipe: Recipe) -> dict[str, Any]:
    """The recipe's columns as far as its file has them.

    An SDF needs no column of SMILES, no file needs identifiers, and SMILES may stand in another
    column where its name leaves no doubt.
    """
    source = source_parts(recipe.source)[0]
    names = _columns_of(recipe)
    columns = recipe.columns
    smiles = _first_present(columns.smiles, names)
    if smiles is None and file_format(source) not in OWN_STRUCTURES:
        candidates = smiles_candidates(names)
        if columns.smiles is not None:
            smiles = candidates[0] if len(candidates) == 1 else columns.smiles
    return {
        "smiles": smiles,
        "id": _first_present(columns.id, names),
        "keep": columns.keep,
        "geometry": columns.geometry,
    }


def _first_present(column: str | list[str] | None, names: Sequence[str]) -> str | None:
    """The first of a column's names that a file has; None without any."""
    choices = [column] if isinstance(column, str) else column or []
    return next((name for name in choices if name in names), None)


def recipe_for_file(
    path: str | Path,
    smiles: str | None = None,
    labels: Mapping[str, str] | Sequence[str] | None = None,
    name: str | None = None,
    transforms: Sequence[str] = (),
    identifier: str | None = None,
    keep: Sequence[str] = (),
    split_column: str | None = None,
    repeats: str | None = None,
    where: Mapping[str, Any] | Sequence[str] = (),
    relations: Mapping[str, str] | Sequence[str] = (),
    qualified: Mapping[str, str] | Sequence[str] = (),
    decimal: str | None = None,
    percent: Sequence[str] = (),
    max_spread: Mapping[str, float] | Sequence[str] = (),
    ranges: Mapping[str, tuple[float, float]] | Sequence[str] = (),
    conformers: str | None = None,
) -> Recipe:
    """A recipe for one's own table, structure file, or folder of structure files.

    ``smiles`` names the column of structures (found by its name where it is the only candidate; the
    structures of SDF, mol and XYZ files need none), ``identifier`` that of names. ``labels`` are
    texts of the grammar in `label_grammar`, as ``"logS:log(mol/L)"`` or ``"toxic:binary"``, or a
    mapping of columns to what stands behind the colon; ``transforms`` likewise. Labels of numbers
    form one task named after the file, binary ones another. ``keep`` are columns to carry along as
    text, ``split_column`` says train, val or test of each row, ``repeats`` what becomes of repeated
    measurements. How cells are read, which rows are kept and how far repeated measurements may lie
    apart is said by a mapping, or by texts of the grammar in `value_grammar`: ``where``,
    ``relations``, ``qualified``, ``decimal`` ("," in all numbers), ``percent``, ``max_spread``,
    ``ranges``. With ``conformers`` "given" the geometries of the file are kept: those of its
    structures, or of columns that bear usual names of atoms and coordinates.
    """
    path = Path(path)
    source = with_member(Source(kind="file", file=str(path.resolve())), path)
    names = column_names(source, source_path(source, Path()))
    named = [smiles, identifier, split_column, *keep]
    declared = _declared_labels(path, labels or (), names)
    refuse_missing_columns(path, [column for column in named if column is not None], names)
    geometry = geometry_columns(names) if conformers == "given" else None
    if smiles is None and file_format(source) not in OWN_STRUCTURES:
        if geometry is None or smiles_candidates(names):
            smiles = _guess_smiles(path, names)
    stem = plain_name(name or path.name.split(".")[0])
    described = describe_labels(declared, transforms, stem)
    numeric = [label.name for label in declared if label.kind == "regression"]
    add_values(described["labels"], numeric, relations, qualified, decimal, percent, ranges)
    content = {
        "name": stem,
        "title": f"the user's file {path.name}",
        "licence": "not stated",
        "citation": "not stated",
        "source": source.model_dump(),
        "columns": {
            "smiles": smiles,
            "id": identifier or identifier_column(names, smiles),
            "keep": list(keep),
            "geometry": geometry,
        },
        "conformers": conformers or "made",
        "repeats": repeats,
        "where": parse_where(where, names),
        "max_spread": parse_spreads(max_spread, [label.name for label in declared]),
        **described,
    }
    if split_column is not None:
        own_split = {"kind": "column", "column": split_column}
        content |= {"splits": {"own": own_split}, "default_split": "own"}
    return make_recipe(content, str(path))


def _declared_labels(
    path: Path, labels: Mapping[str, str] | Sequence[str], columns: Sequence[str]
) -> list[DeclaredLabel]:
    """The labels that some texts, or a mapping of columns to units, declare."""
    if isinstance(labels, Mapping):
        refuse_missing_columns(path, labels, columns)
        # Only the column itself can match: a longer one would have to begin with it.
        return [parse_label(f"{column}:{unit}", [column]) for column, unit in labels.items()]
    return [parse_label(text, columns) for text in labels]


def _guess_smiles(path: Path, names: list[str]) -> str:
    candidates = smiles_candidates(names)
    if len(candidates) == 1:
        return candidates[0]
    could_be = f"It could be {' or '.join(map(repr, candidates))}. " if candidates else ""
    raise InputError(
        f"{path}: which column holds the SMILES? {could_be}Columns: {', '.join(names)}. "
        "Name one with --smiles COLUMN."
    )


def refuse_missing_columns(path: Path, columns: Iterable[str], names: list[str]) -> None:
    """Raise InputError where a file, whose columns have these names, lacks one of some columns."""
    for column in columns:
        if column not in names:
            raise InputError(
                f"{path} has no column '{column}'{did_you_mean(column, names)}. "
                f"Its columns are: {', '.join(names)}."
            )


# ------------------------------------------------------------------------- files and their hash


def stated_digest(recipe: Recipe) -> str | None:
    """The hash of a recipe's source as far as the recipe states it; None where it does not.

    It is enough to find what was made of the source before, without the source.
    """
    source = recipe.source
    digests = [source.sha256]
    if source.join is not None and source.join.file is not None:
        digests.append(source.join.sha256)
    return None if None in digests else _joint_digest(digests)


def find_source(recipe: Recipe, home: Path, progress: bool = True) -> LocatedSource:
    """The files of a recipe's source on this computer, and their hash.

    What comes from an address is fetched. Raises InputError where a file is absent, or its SHA-256
    is not the one that the recipe states, or that it had when it was first fetched.
    """
    source = recipe.source
    parts = []
    digests = []
    announce_parts(remote_parts(recipe), source.bytes, home / DOWNLOADS)
    for part in source_parts(source):
        if part.kind == "url":
            file = get_file(remote_source(part, recipe.name), home / DOWNLOADS, progress)
            here = {"kind": "file", "file": str(file.path.resolve()), "url": None, "mirrors": []}
            part = part.model_copy(update=here)
            digests.append(file.sha256)
        else:
            path = source_path(part, recipe.folder)
            digests.append(_checked_digest(recipe, path, part.sha256, home))
        parts.append(with_member(part, source_path(part, recipe.folder)))
    if source.join is not None and is_address(source.join.file):
        file = get_file(remote_join(source, recipe.name), home / DOWNLOADS, progress)
        join = source.join.model_copy(update={"file": str(file.path.resolve())})
        parts = [part.model_copy(update={"join": join}) for part in parts]
        digests.append(file.sha256)
    elif source.join is not None and source.join.file is not None:
        table = join_path(source, recipe.folder)
        digests.append(_checked_digest(recipe, table, source.join.sha256, home, "join."))
    several = tuple(parts) if source.parts is not None else ()
    return LocatedSource(parts[0], recipe.folder, _joint_digest(digests), several)


def source_parts(source: Source) -> list[Source]:
    """A source for each of its files: with its number or name in the place of ``{part}``."""
    if source.parts is None:
        return [source]
    return [_one_part(source, name) for name in source.part_names]


def _one_part(source: Source, name: int | str) -> Source:
    key = "url" if source.kind == "url" else "file"
    mirrors = [part_address(mirror, name) for mirror in source.mirrors]
    address = part_address(getattr(source, key), name)
    # The size is that of all parts.
    update = {key: address, "mirrors": mirrors, "parts": None, "bytes": None}
    return source.model_copy(update=update)


def remote_parts(recipe: Recipe) -> list[RemoteFile]:
    """What is to be fetched for the rows of a recipe; nothing where its source is no address."""
    if recipe.source.kind != "url":
        return []
    return [remote_source(part, recipe.name) for part in source_parts(recipe.source)]


def remote_source(part: Source, recipe: str) -> RemoteFile:
    """What is to be fetched for a source, or one part of it."""
    return RemoteFile(part.url, tuple(part.mirrors), part.sha256, part.bytes, recipe)


def remote_join(source: Source, recipe: str) -> RemoteFile:
    """What is to be fetched for the table that is joined to a source."""
    return RemoteFile(source.join.file, (), source.join.sha256, None, recipe)


def _joint_digest(digests: list[str]) -> str:
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _checked_digest(
    recipe: Recipe, path: Path, stated: str | None, home: Path, table: str = ""
) -> str:
    digest = _digest(path, home)
    if stated is not None and digest != stated:
        raise InputError(
            f"{path} has SHA-256 {digest}, recipe '{recipe.name}' expects {stated}. Fetch the file "
            f"again, or take the key source.{table}sha256 out of the recipe if the new content is "
            "meant."
        )
    return digest


def _digest(path: Path, home: Path) -> str:
    """The hash of a file, or over the names and hashes of a folder's structure files."""
    if not path.is_dir():
        return remembered_digest(path, home)
    content = hashlib.sha256()
    for file in structure_files(path):
        content.update(f"{file_digest(file)} {file.name}\n".encode())
    return content.hexdigest()


def source_path(source: Source, folder: Path) -> Path:
    """The file of a source; Data/... and Contrib/... of kind ``rdkit`` lie inside RDKit."""
    return _existing_file(source.kind, source.file, folder)


def join_path(source: Source, folder: Path) -> Path:
    """The file of the table that is joined to a source, or the archive of both."""
    if source.join.file is None:
        return source_path(source, folder)
    return _existing_file(source.kind, source.join.file, folder)


def joined_source(source: Source, path: Path) -> Source:
    """The table that is joined to a source, whose file or archive lies at a path, as a source."""
    join = source.join
    return Source(kind="file", file=str(path), member=join.member, format=join.format)


def _existing_file(kind: str, file: str, folder: Path) -> Path:
    if kind == "rdkit" and not Path(file).is_absolute():
        path = _rdkit_file(file)
    else:
        path = folder / _without_tilde(file)
        path = path if path.exists() else _without_tilde(file)
    if not path.is_file() and not path.is_dir():
        raise InputError(
            f"There is no file {path} (source.file of the recipe); give another with source=PATH."
        )
    return path


def _without_tilde(file: str) -> Path:
    """A path with the user's home in the place of its tilde, if it is meant that way."""
    path = Path(file)
    if path.exists():
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # no user of that name: the tilde is a letter
        return path


def _rdkit_file(file: str) -> Path:
    from rdkit import RDConfig

    folders: dict[str, Any] = {"Data": RDConfig.RDDataDir, "Contrib": RDConfig.RDContribDir}
    top, _, below = file.partition("/")
    if top not in folders:
        raise InputError(f"source.file '{file}' of kind rdkit must start with Data/ or Contrib/")
    return Path(folders[top]) / below
