"""Published splits: files that list the rows, identifiers or SMILES of each part.

A file is a mapping of parts to lists (JSON, NPZ, .pt, a table with a column a part, text), a table
with a column of parts beside the rows, or one part a row. Nothing in it is run: an .npz holds plain
arrays, a .pt is read by torch's reader of weights alone.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from ..files import file_digest
from .fetched.downloads import download
from .own_split import NO_PART, part_number
from .schema import Recipe
from .split_schema import Split

MAX_BYTES = 2 << 30  # of a split file after unpacking: 83 million rows as text take 0.8 GB
_KEY_COLUMNS = {  # names that the column of what is listed may have, in this order
    "row": ("row", "index", "idx", "row_id", "position", "", "Unnamed: 0"),
    "id": ("id", "ids", "identifier", "mol_id", "name"),
    "smiles": ("smiles", "canonical_smiles", "mol", "molecule", "structure"),
}
# What is written around the name of a part: train_idx, idx_train, test_smiles.
_AROUND = re.compile(r"^(idx|ids|rows)_|_(idxs?|index|indices|ids?|inds|rows?|smiles)$")


class Listing(NamedTuple):
    """What a split file lists: entries by the number of their part, or a part for every row."""

    entries: dict[int, list]
    n_row: int | None  # rows that the file must be of, where it has a part for every row
    others: list[str]  # lists of the file that are no part


# ---------------------------------------------------------------------------- where the file is


def with_located_splits(recipe: Recipe) -> Recipe:
    """The recipe with every local split file by its full path and SHA-256.

    So another content makes another recipe id, wherever the file lies. One that is absent stays as
    it is if its hash is stated: what was made of it before can then be loaded. Raises InputError
    for a file that is absent, or not the stated one.
    """
    located = {
        name: _located(split, recipe) if split.file is not None else split
        for name, split in recipe.splits.items()
    }
    if located == recipe.splits:
        return recipe
    changed = recipe.model_copy(update={"splits": located})
    changed._folder = recipe.folder
    return changed


def _located(split: Split, recipe: Recipe) -> Split:
    path = recipe.folder / split.file
    path = (path if path.exists() else Path(split.file)).resolve()
    if not path.is_file():
        if split.sha256 is not None:
            return split
        raise InputError(f"There is no split file {path} (key 'file' of a split of the recipe).")
    digest = file_digest(path)
    if split.sha256 not in (None, digest):
        raise InputError(
            f"{path} has SHA-256 {digest}, the recipe expects {split.sha256}. Fetch the split file "
            "again, or take the key sha256 out of the split if the new content is meant."
        )
    return split.model_copy(update={"file": str(path), "sha256": digest})


def split_file(split: Split, downloads: Path, recipe: str) -> Path:
    """The file of a recipe's split of kind file, fetched into a folder where it lies at a url."""
    if split.url is not None:
        return download(split.url, split.sha256, downloads, recipe=recipe)
    path = Path(split.file)
    if not path.is_file():
        raise InputError(f"There is no split file {path} (key 'file' of a split of the recipe).")
    return path


# ------------------------------------------------------------------------------ what it lists


def read_listing(path: Path, split: Split) -> Listing:
    """What a split file lists; InputError where it is none, or names nothing for training."""
    name = PurePosixPath(split.member or path.name)
    endings = [ending for ending in name.suffixes if ending.lower() != ".gz"]
    read = _READERS.get(endings[-1].lower() if endings else "")
    if read is None:
        raise InputError(
            f"{path}: a split file is known by its ending, one of {', '.join(_READERS)} (.gz too), "
            "or is the member of a .zip or .tar that the split names"
        )
    try:
        listing = read(_content(path, split.member), split.by)
    except InputError as error:
        raise InputError(f"split file {path}: {error}") from None
    except (*_DAMAGE, zipfile.BadZipFile, tarfile.TarError, zlib.error, pa.ArrowException) as error:
        raise InputError(
            f"split file {path} is not readable as {name.suffix}: {error}"[:400]
        ) from None
    if not listing.entries.get(0):
        parts = f"; it has {', '.join(listing.others)}" if listing.others else ""
        raise InputError(f"split file {path} lists nothing for training under 'train'{parts}")
    return listing


# Errors of JSON and of Unicode are ValueErrors; a RuntimeError: nested too deeply, or encrypted.
_DAMAGE = (OSError, EOFError, ValueError, KeyError, RuntimeError)


def _content(path: Path, member: str | None) -> io.BytesIO:
    """The bytes of a file or of a member of an archive, unpacked; nothing is written anywhere."""
    name = (member or path.name).lower()
    if member is None:
        stream = path.open("rb")
    elif zipfile.is_zipfile(path):
        stream = zipfile.ZipFile(path).open(member)
    else:
        stream = tarfile.open(path).extractfile(member)
        if stream is None:
            raise InputError(f"{member} is a folder of the archive: name a file in it")
    with stream:
        source = gzip.open(stream) if name.endswith(".gz") else stream
        content = source.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(f"more than {MAX_BYTES:,} bytes when unpacked: that is no split file")
    return io.BytesIO(content)


def _refuse_bomb(content: io.BytesIO) -> None:
    """Raise InputError for an .npz or .pt, which are zip files, of enormous content."""
    n_byte = 0
    if zipfile.is_zipfile(content):
        with zipfile.ZipFile(content) as archive:
            n_byte = sum(entry.file_size for entry in archive.infolist())
    if n_byte > MAX_BYTES:
        raise InputError(f"{n_byte:,} bytes when unpacked: that is no split file")
    content.seek(0)


def _text(content: io.BytesIO) -> str:
    return content.getvalue().decode("utf-8-sig")


def _read_json(content: io.BytesIO, by: str) -> Listing:
    return _listing_of(json.loads(_text(content)), by)


def _read_npz(content: io.BytesIO, by: str) -> Listing:
    _refuse_bomb(content)
    with np.load(content, allow_pickle=False) as arrays:
        return _listing_of({name: arrays[name] for name in arrays.files}, by)


def _read_pt(content: io.BytesIO, by: str) -> Listing:
    import pickle
    import warnings

    import torch

    _refuse_bomb(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how it was pickled
            parts = torch.load(content, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"no plain lists of rows, and nothing else is read ({first})") from None
    return _listing_of(parts, by)


def _listing_of(content: Any, by: str) -> Listing:
    """Lists by the names of their parts, or one list with a part for every row."""
    if isinstance(content, Mapping):
        entries: dict[int, list] = {}
        others = []
        for key, values in content.items():
            part = part_of_key(str(key))
            if part is None:
                others.append(str(key))
            elif part in entries:
                raise InputError(f"part '{key}' is listed twice under different names")
            else:
                entries[part] = _plain_list(values, key)
        return Listing(entries, None, others)
    return _listing_of_rows(_plain_list(content, "the list"), by)


def _plain_list(values: Any, name: str) -> list:
    """Numbers or texts as a list; None where a part is not there."""
    if values is None:
        return []
    if hasattr(values, "tolist"):  # arrays and tensors
        values = values.tolist()
    if not isinstance(values, list | tuple):
        raise InputError(f"'{name}' is no list of rows, but {type(values).__name__}")
    for value in values:
        if not isinstance(value, int | float | str):
            raise InputError(f"'{name}' lists {value!r}: write rows, identifiers or SMILES")
    return list(values)


def part_of_key(key: str) -> int | None:
    """The number of the part that a key such as train, valid or test_idx names; None for others."""
    part = part_number(_AROUND.sub("", key.strip().lower().replace("-", "_")))
    return None if part == NO_PART else part


def _listing_of_rows(texts: Sequence[Any], by: str) -> Listing:
    """A part for every row, in their order; empty for none."""
    if by != "row":
        raise InputError(f"it has a part for every row, and the split is by {by}: say by: row")
    entries: dict[int, list] = {}
    for row, text in enumerate(texts):
        entries.setdefault(_part(text, row + 1), []).append(row)
    entries.pop(NO_PART, None)
    return Listing(entries, len(texts), [])


def _part(text: Any, number: int) -> int:
    part = part_number(None if text is None else str(text))
    if part is None:
        raise InputError(f"entry {number:,} names no part ('{str(text)[:40]}'): train, val or test")
    return part


# ---------------------------------------------------------------------------- tables and text


def _read_csv(content: io.BytesIO, by: str, delimiter: str = ",") -> Listing:
    rows = list(csv.reader(io.StringIO(_text(content), newline=""), delimiter=delimiter))
    rows = [row for row in rows if row]
    if not rows:
        raise InputError("it is empty")
    header = [name.strip() for name in rows[0]]
    ragged = next((i for i, row in enumerate(rows[1:], 2) if len(row) > len(header)), None)
    if ragged is not None:
        raise InputError(f"row {ragged:,} has more cells than the header")
    padded = [row + [""] * (len(header) - len(row)) for row in rows[1:]]
    columns = {name: [row[i] for row in padded] for i, name in enumerate(header)}
    return _listing_of_table(columns, by)


def _read_tsv(content: io.BytesIO, by: str) -> Listing:
    return _read_csv(content, by, "\t")


def _read_parquet(content: io.BytesIO, by: str) -> Listing:
    table = pq.read_table(content)
    return _listing_of_table({name: table[name].to_pylist() for name in table.column_names}, by)


def _listing_of_table(columns: Mapping[str, Sequence], by: str) -> Listing:
    """A column for each part, or a column of parts beside the key, or that column alone."""
    keys = {name: part_of_key(name) for name in columns}
    if 0 in keys.values():
        lists = {
            name: [cell for cell in cells if cell not in (None, "")]
            for name, cells in columns.items()
        }
        return _listing_of(lists, by)
    parts = [name for name, cells in columns.items() if _is_column_of_parts(cells)]
    if len(parts) != 1:
        raise InputError(
            f"{len(parts)} columns hold train, val and test alone, and one should; it has "
            f"{', '.join(map(repr, columns))}"
        )
    rest = [name for name in columns if name != parts[0]]
    texts = columns[parts[0]]
    if not rest:
        return _listing_of_rows(texts, by)
    key = _key_column(rest, by)
    entries: dict[int, list] = {}
    for number, (entry, text) in enumerate(zip(columns[key], texts, strict=True), 1):
        entries.setdefault(_part(text, number), []).append(entry)
    entries.pop(NO_PART, None)
    return Listing(entries, None, [])


def _is_column_of_parts(cells: Iterable[Any]) -> bool:
    numbers = {part_number(None if cell is None else str(cell)) for cell in cells}
    return None not in numbers and numbers != {NO_PART}


def _key_column(names: Sequence[str], by: str) -> str:
    lower = {name.strip().lower(): name for name in reversed(names)}
    for name in _KEY_COLUMNS[by]:
        if name.lower() in lower:
            return lower[name.lower()]
    if len(names) == 1:
        return names[0]
    raise InputError(
        f"the split is by {by}, and none of the columns {', '.join(map(repr, names))} is called "
        f"'{by}': rename the one that is meant"
    )


def _read_text(content: io.BytesIO, by: str) -> Listing:
    """Lines "train: 0 1 2", which may go on in further lines; or a part a line, one a row."""
    lines = _text(content).splitlines()
    entries: dict[int, list] = {}
    part = None
    for line in lines:
        key, colon, rest = line.partition(":")
        named = part_of_key(key) if colon else None
        if named is not None:
            part = named
            line = rest
        elif part is None:
            return _listing_of_rows(lines, by)
        entries.setdefault(part, []).extend(line.replace(",", " ").split())
    return Listing(entries, None, [])


_READERS: dict[str, Callable[[io.BytesIO, str], Listing]] = {
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".pth": _read_pt,
    ".txt": _read_text,
}
