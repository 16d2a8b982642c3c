"""Shards written for other programs: SDF, CSV, and the LMDB of Uni-Mol."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path

from rdkit import Chem

from ...errors import InputError, did_you_mean
from ...files import check_folder, check_output, writing
from ...shards import SPLIT_VALUES, Shards, parts_present
from .exported_lmdb import LmdbWriter
from .exported_molecules import (
    ExportedRow,
    exported_rows,
    molecule_labels,
    with_coords,
    with_hydrogens,
)

ENDINGS = (".sdf", ".sdf.gz", ".csv", ".csv.gz", ".lmdb")
_UNIMOL_NAMES = ("train.lmdb", "valid.lmdb", "test.lmdb", "test_seen.lmdb")
LMDB_FILES = dict(zip(SPLIT_VALUES, _UNIMOL_NAMES, strict=True))


def export_shards(
    shards: Shards, path: str | os.PathLike, split: str | None = None, force: bool = False
) -> list[Path]:
    """Write curated molecules to a file, by its ending; returns the files.

    ``.sdf``: every conformer a record, with hydrogens; labels and splits are properties. ``.csv``:
    a molecule a row. ``.lmdb``: Uni-Mol's records (`smi`, `atoms`, `coordinates`, `target`); with
    ``split`` the path is a folder that gets train.lmdb, valid.lmdb and test.lmdb. Labels are those
    of molecules, the unit stands in their names (`gap (eV)`); in an LMDB they are the list
    `target`, in this order, NaN where unknown. Raises InputError where a file is there, unless
    ``force``.
    """
    if split is not None:
        return _export_split(shards, Path(path), split, force)
    file = check_output(path, [shards.path], ENDINGS, force=force)
    ending = next(e for e in sorted(ENDINGS, key=len)[::-1] if file.name.lower().endswith(e))
    with writing(file) as partial:
        if ending == ".lmdb":
            with LmdbWriter(partial) as writer:
                for row in exported_rows(shards):
                    writer.write(row)
        else:
            with _text_file(partial, ending.endswith(".gz")) as stream:
                write = _write_csv if ending.startswith(".csv") else _write_sdf
                write(shards, stream)
    return [file]


def label_headers(shards: Shards) -> dict[str, str]:
    """What each label of molecules is called in a file: with its unit, where it has one."""
    return {
        name: name if unit in ("", "1") else f"{name} ({unit})"
        for name, unit in molecule_labels(shards).items()
    }


@contextlib.contextmanager
def _text_file(path: Path, is_packed: bool) -> Iterator[io.TextIOBase]:
    opened = gzip.open if is_packed else open
    with opened(path, "wt", encoding="utf-8", newline="") as stream:
        yield stream


def _write_csv(shards: Shards, stream: io.TextIOBase) -> None:
    splits = [f"split_{name}" for name in shards.manifest["splits"]]
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["smiles", "id", *splits, *label_headers(shards).values()])
    for row in exported_rows(shards):
        labels = [_written(value) for value in row.labels.values()]
        table.writerow([row.smiles, row.identifier, *map(_written, row.splits.values()), *labels])


def _written(value: float | str | None) -> str:
    """A value as text that reads back to the same; empty where there is none."""
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(float(value))


def _write_sdf(shards: Shards, stream: io.TextIOBase) -> None:
    headers = label_headers(shards)
    writer = Chem.SDWriter(stream)
    for row in exported_rows(shards):
        mol = with_hydrogens(row)
        for number, coords in enumerate(row.coords):
            writer.write(_with_properties(with_coords(mol, coords), row, headers, number))
    writer.close()


def _with_properties(
    mol: Chem.Mol, row: ExportedRow, headers: dict[str, str], number: int
) -> Chem.Mol:
    properties = {"smiles": row.smiles}
    if len(row.coords) > 1:
        properties["conformer"] = str(number)
    properties |= {f"split_{name}": part for name, part in row.splits.items() if part is not None}
    for name, value in row.labels.items():
        if value is not None:
            properties[headers[name]] = _written(value)
    for name, value in properties.items():
        mol.SetProp(name, value)
    mol.SetProp("_Name", " ".join(row.identifier.split())[:80])
    return mol


def _export_split(shards: Shards, folder: Path, split: str, force: bool) -> list[Path]:
    splits = shards.manifest["splits"]
    if split not in splits:
        raise InputError(
            f"{shards.path} has no split '{split}'{did_you_mean(split, splits)}; it has: "
            f"{', '.join(splits)}"
        )
    if folder.name.lower().endswith(tuple(set(ENDINGS) - {".lmdb"})):
        raise InputError(f"{folder}: with a split LMDB files are written; name a folder for them")
    check_folder(folder)
    files = {
        part: check_output(folder / name, [shards.path], force=force)
        for part, name in LMDB_FILES.items()
        if part in parts_present(shards.manifest["splits"][split])
    }
    with contextlib.ExitStack() as stack:
        partials = {part: stack.enter_context(writing(file)) for part, file in files.items()}
        writers = {part: stack.enter_context(LmdbWriter(p)) for part, p in partials.items()}
        for row in exported_rows(shards):
            part = row.splits[split]
            if part is not None:
                writers[part].write(row)
    return list(files.values())
