"""Read the rows of tables, structures, arrays and archives, each with its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError
from ..source_schema import Source
from .archives import Member, listed
from .collection import folder_columns, folder_records
from .delimited import csv_columns, csv_records
from .hdf5 import hdf5_columns, hdf5_records
from .lmdb_file import lmdb_columns, lmdb_records
from .matlab import mat_columns, mat_records
from .message_pack import msgpack_columns, msgpack_records
from .npz import npz_columns, npz_records
from .parquet import parquet_columns, parquet_records
from .record import Record, file_format, name_ending, source_files, with_member
from .sdf import sdf_columns, sdf_records
from .smi import smi_columns, smi_records
from .workbook import workbook_columns, workbook_records
from .xyz import xyz_columns, xyz_records
from .xyz_comments import comment_columns, named_words

_TABLES = ("parquet", "csv", "tsv", "smi", "xlsx")  # files of one table have the same columns
_N_SAMPLED = 1000  # members of one frame each that tell which columns there are
_OF_COLUMNS = {
    "parquet": parquet_records,
    "npz": npz_records,
    "mat": mat_records,
    "hdf5": hdf5_records,
    "msgpack": msgpack_records,
    "lmdb": lmdb_records,
}
_WHOLE = {
    "smi": smi_records,
    "sdf": sdf_records,
    "folder": folder_records,
    "xlsx": workbook_records,
}
_NAMES = {
    "smi": smi_columns,
    "sdf": sdf_columns,
    "folder": folder_columns,
    "xlsx": workbook_columns,
    "parquet": parquet_columns,
    "npz": npz_columns,
    "mat": mat_columns,
    "hdf5": hdf5_columns,
    "msgpack": msgpack_columns,
    "lmdb": lmdb_columns,
}


def read_records(source: Source, path: Path, columns: list[str] | None = None) -> Iterator[Record]:
    """Every data row of a file, in its order; blank lines are no rows.

    ``columns`` spares files of columns (Parquet, arrays) the reading of the others. Of several
    members of an archive the rows come one after another, each with the column ``file``.
    """
    source = with_member(source, path)
    files = source_files(source, path)
    kind = file_format(source)
    if len(files) == 1:
        return _file_records(source, kind, files[0], columns)
    return _member_records(source, kind, files, columns)


def _file_records(
    source: Source, kind: str, file: Path | Member, columns: list[str] | None
) -> Iterator[Record]:
    if kind in ("csv", "tsv"):
        return csv_records(source, file, kind)
    if kind == "mol":
        return sdf_records(file, with_stem=True)
    if kind == "xyz":
        return named_words(xyz_records(file), file, source.header)
    if kind in _OF_COLUMNS:
        return _OF_COLUMNS[kind](file, columns)
    return _WHOLE[kind](file)


def _member_records(
    source: Source, kind: str, files: list[Member], columns: list[str] | None
) -> Iterator[Record]:
    _refuse_mixture(source, files)
    expected = _file_columns(source, kind, files[0]) if kind in _TABLES else None
    for file in files:
        if kind in _TABLES:
            names = _file_columns(source, kind, file)
            if sorted(names) != sorted(expected):
                differing = sorted(set(names) ^ set(expected))
                raise InputError(
                    f"{file} has other columns than {files[0].full_name}: {listed(differing)}. "
                    "Choose members of one table (source.member)."
                )
        for record in _file_records(source, kind, file, columns):
            yield record._replace(fields={"file": file.name, **record.fields})


def _refuse_mixture(source: Source, files: list[Member]) -> None:
    """Raise InputError where members of several formats are to be read as one."""
    endings = sorted({name_ending(file.name) for file in files})
    if source.format is None and len(endings) > 1:
        raise InputError(
            f"the members '{source.member}' end in {', '.join(endings)}: choose those of one format"
        )


def column_names(source: Source, path: Path) -> list[str]:
    """The columns of a file: from its header, its schema, or the properties of all records."""
    source = with_member(source, path)
    files = source_files(source, path)
    kind = file_format(source)
    if len(files) == 1:
        return _file_columns(source, kind, files[0])
    _refuse_mixture(source, files)
    names: dict[str, None] = {}
    n_sampled = 1 if kind in _TABLES else _N_SAMPLED if kind == "xyz" else None
    for file in files[:n_sampled]:
        names |= dict.fromkeys(_file_columns(source, kind, file))
    return list(dict.fromkeys([*names, "file"]))


def _file_columns(source: Source, kind: str, file: Path | Member) -> list[str]:
    if kind in ("csv", "tsv"):
        return csv_columns(source, file, kind)
    if kind == "xyz":
        return list(dict.fromkeys([*xyz_columns(file), *comment_columns(source.header)]))
    if kind == "mol":
        return list(dict.fromkeys(["name", *sdf_columns(file)]))
    return _NAMES[kind](file)
