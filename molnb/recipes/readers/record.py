"""One row of a source, its structure, and the formats that are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InputError
from ..source_schema import Source
from .archives import Member, chosen_members, is_archive_name, only_member
from .packing import without_packing

ROWS_PER_GROUP = 1024  # of the Parquet files that slices are read from
FORMATS = {".smi": "smi", ".smiles": "smi", ".cxsmiles": "smi", ".ism": "smi",
           ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "csv",
           ".sdf": "sdf", ".sd": "sdf", ".mol": "mol", ".xyz": "xyz", ".xlsx": "xlsx",
           ".parquet": "parquet", ".pq": "parquet", ".npz": "npz", ".mat": "mat",
           ".h5": "hdf5", ".hdf5": "hdf5", ".hdf": "hdf5", ".msgpack": "msgpack",
           ".mpk": "msgpack", ".lmdb": "lmdb", ".mdb": "lmdb"}  # fmt: skip
OWN_STRUCTURES = ("sdf", "mol", "xyz", "folder")  # a record is a structure, in no column
TEXT_FORMATS = ("smi", "csv", "tsv", "sdf", "mol", "xyz")
_UNPACK = "unpack it, and name the file or the folder that comes out"
_CSV = "save or export the table as CSV"
_SDF = "convert it to SDF, e.g. with Open Babel: obabel {name} -O {stem}.sdf"
_ADVICE = {".7z": _UNPACK, ".rar": _UNPACK, ".xls": _CSV, ".xlsm": _CSV, ".ods": _CSV,
           ".numbers": _CSV, ".json": _CSV, ".jsonl": _CSV, ".feather": _CSV, ".arrow": _CSV,
           ".pkl": _CSV, ".npy": "save it with numpy.savez, beside the arrays of its other columns",
           ".db": _CSV, ".sqlite": _CSV, ".pdf": _CSV, ".docx": _CSV, ".mol2": _SDF, ".pdb": _SDF,
           ".cif": _SDF, ".cml": _SDF, ".cdx": _SDF, ".cdxml": _SDF, ".mrv": _SDF,
           ".inchi": _SDF, ".rdf": _SDF, ".rxn": "name molecules, and no reaction"}  # fmt: skip


class Record(NamedTuple):
    """One data row: the line it starts on, its fields by column, and what is wrong with it."""

    line: int | None  # 1-based; None in a file without lines
    fields: dict[str, Any]
    problem: str | None = None
    molblock: str | None = None  # the structure of a record that is one


def record_structure(record: Record, column: str | None) -> tuple[str | None, str | None]:
    """The structure of a record as text, and why the row is malformed (or None).

    ``column`` holds the SMILES; without one the record's own mol block counts. Whoever reads rows
    asks here, so that a row has one verdict.
    """
    structure = record.fields.get(column) if column else record.molblock
    if structure is None or record.problem is not None:
        return structure, record.problem
    if not isinstance(structure, str):
        structure = str(structure)
    if "\0" in structure:  # RDKit would read what stands before it
        return structure, "a NUL character stands in the structure"
    if column is None:
        return structure, None
    structure = structure.strip()
    if "\n" in structure or "\r" in structure:  # RDKit would read the first line alone
        return structure, "the structure goes over several lines: one SMILES a row"
    return structure, None


def file_format(source: Source) -> str:
    """The format of a source: as declared, or by the ending of its file or of its member.

    The endings of packed files (``.gz``, ...) do not count; an archive without ``member`` is opened
    for the only file in it that is read.
    """
    if source.format is not None:
        return source.format
    name = Path(source.file or source.url).name
    if source.member is not None:
        return _format_of_name(source.member)
    if source.file is not None and Path(source.file).is_dir():
        return "lmdb" if _is_lmdb_folder(Path(source.file)) else "folder"
    if is_archive_name(name):
        if source.file is None or not Path(source.file).is_file():
            raise InputError(
                f"{name} is an archive that is not on this computer yet: name the file in it that "
                "holds the rows (source.member)"
            )
        return _format_of_name(only_member(Path(source.file), is_readable_name).name)
    return _format_of_name(name)


def with_member(source: Source, path: Path) -> Source:
    """The source with the member of its archive and the format named, where it does not say them.

    A source that is no archive stays as it is.
    """
    if source.member is not None or not path.is_file() or not is_archive_name(path.name):
        return source

    def fits(name: str) -> bool:
        return source.format is None or FORMATS.get(name_ending(name)) == source.format

    member = only_member(path, lambda name: is_readable_name(name) and fits(name))
    kind = source.format or _format_of_name(member.name)
    return source.model_copy(update={"member": member.full_name, "format": kind})


def source_files(source: Source, path: Path) -> Sequence[Path | Member]:
    """What the rows of a source are read from: its file, or the members of its archive."""
    source = with_member(source, path)
    return [path] if source.member is None else chosen_members(path, source.member)


def is_readable_name(name: str) -> bool:
    """Whether the ending of a name tells a format that is read."""
    return name_ending(name) in FORMATS


def _is_lmdb_folder(path: Path) -> bool:
    return (path / "data.mdb").is_file()


def _format_of_name(name: str) -> str:
    ending = name_ending(name)
    if ending not in FORMATS:
        advice = _ADVICE.get(ending, "let its name end in one of these, or set source.format")
        advice = advice.format(name=name, stem=Path(name).stem)
        raise InputError(
            f"{name}: the ending '{ending}' tells no format that is read; known: "
            f"{', '.join(FORMATS)}, these packed (.gz, .bz2, .xz, .zst), one of them in a .zip or "
            f".tar, and a folder of .sdf, .mol or .xyz. What to do: {advice}."
        )
    return FORMATS[ending]


def name_ending(name: str) -> str:
    """The ending of a file's name in lower case, also before ``.gz`` and the like."""
    return Path(without_packing(name.lower())).suffix
