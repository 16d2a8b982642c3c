"""Records of a folder of structure files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError
from .record import Record, name_ending
from .sdf import sdf_columns, sdf_records
from .xyz import xyz_records

_ENDINGS = (".sdf", ".sd", ".mol", ".xyz")


def holds_structures(folder: Path) -> bool:
    """Whether a folder holds structure files."""
    return any(map(_is_structure_file, folder.iterdir()))


def _is_structure_file(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return not hidden and name_ending(path.name) in _ENDINGS and path.is_file()


def structure_files(folder: Path) -> list[Path]:
    """The structure files that lie in a folder, by name; raises InputError where there is none."""
    files = sorted(filter(_is_structure_file, folder.iterdir()))
    if not files:
        others = sorted({path.suffix or path.name for path in folder.iterdir()})
        raise InputError(
            f"{folder} is a folder without a file that ends in {', '.join(_ENDINGS)} "
            f"(it holds: {', '.join(others[:8]) or 'nothing'}). Name a file, or such a folder."
        )
    return files


def folder_records(folder: Path) -> Iterator[Record]:
    """Every record of the structure files of a folder, one file after the other.

    The column ``file`` names the file, whose name stands for a missing title too.
    """
    for path in structure_files(folder):
        if name_ending(path.name) == ".xyz":
            records = xyz_records(path)
        else:
            records = sdf_records(path, with_stem=True)
        for record in records:
            record.fields.setdefault("file", path.name)
            yield record


def folder_columns(folder: Path) -> list[str]:
    """``name``, ``file``, and the properties of all records."""
    names = {"name": None, "file": None}
    for path in structure_files(folder):
        if name_ending(path.name) != ".xyz":
            names |= dict.fromkeys(sdf_columns(path))
    return list(names)
