"""One row of a source, its structure, and the formats that are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InputError
from ..source_schema import Source

ROWS_PER_GROUP = 1024  # of the Parquet files that slices are read from
FORMATS = {".smi": "smi", ".smiles": "smi", ".cxsmiles": "smi", ".ism": "smi",
           ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "csv",
           ".sdf": "sdf", ".sd": "sdf", ".mol": "mol", ".xyz": "xyz", ".xlsx": "xlsx",
           ".parquet": "parquet", ".pq": "parquet"}  # fmt: skip
OWN_STRUCTURES = ("sdf", "mol", "xyz", "folder")  # a record is a structure, in no column
TEXT_FORMATS = ("smi", "csv", "tsv", "sdf", "mol", "xyz")
_UNPACK = "unpack it, and name the file or the folder that comes out"
_CSV = "save or export the table as CSV"
_SDF = "convert it to SDF, e.g. with Open Babel: obabel {name} -O {stem}.sdf"
_ADVICE = {".tar": _UNPACK, ".tgz": _UNPACK, ".zip": _UNPACK, ".7z": _UNPACK, ".rar": _UNPACK,
           ".bz2": _UNPACK, ".xz": _UNPACK, ".zst": _UNPACK, ".xls": _CSV, ".xlsm": _CSV,
           ".ods": _CSV, ".numbers": _CSV, ".json": _CSV, ".jsonl": _CSV, ".feather": _CSV,
           ".arrow": _CSV, ".pkl": _CSV, ".h5": _CSV, ".hdf5": _CSV, ".db": _CSV,
           ".sqlite": _CSV, ".pdf": _CSV, ".docx": _CSV, ".mol2": _SDF, ".pdb": _SDF,
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
    """The format of a source: as declared, or by the ending of its file, also before ``.gz``."""
    if source.format is not None:
        return source.format
    name = Path(source.file or source.url).name
    if source.file is not None and Path(source.file).is_dir():
        return "folder"
    ending = name_ending(name)
    if ending not in FORMATS:
        advice = _ADVICE.get(ending, "let its name end in one of these, or set source.format")
        advice = advice.format(name=name, stem=Path(name).stem)
        raise InputError(
            f"{name}: the ending '{ending}' tells no format that is read; known: "
            f"{', '.join(FORMATS)}, and a folder of .sdf, .mol or .xyz. What to do: {advice}."
        )
    return FORMATS[ending]


def name_ending(name: str) -> str:
    """The ending of a file's name in lower case, also before ``.gz``."""
    return Path(name.lower().removesuffix(".gz")).suffix
