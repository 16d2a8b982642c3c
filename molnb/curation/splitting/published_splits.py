"""Splits that others have published: a seeded shuffle of the rows, or a file that lists them.

They are of the rows of the source, all of them: those that are dropped here count too. The first
row of a molecule decides.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rdkit import Chem, rdBase

from ...chemistry.failures import MoleculeError
from ...chemistry.parsing import parse_smiles
from ...chemistry.standardization import standardize
from ...errors import InputError
from ...recipes.own_split import NO_PART
from ...recipes.schema import Recipe
from ...recipes.split_files import Listing, read_listing, split_file
from ...recipes.split_schema import Split
from ...shards import SPLIT_VALUES

FEW = 5  # entries of a split file that may be unknown in any case, beside
FEW_SHARE = 0.01  # this share of all
COPY = "same molecule as an earlier row"  # why a row is dropped that repeats a molecule


def shuffled_parts(n: int, split: Split) -> np.ndarray:
    """0 (train), 1 (val) or 2 (test) for each of n rows, by the shuffle that papers publish.

    Rows 0, 1, ... are shuffled as by `random.seed(seed); random.shuffle(rows)`; train comes first,
    then val, then test, of which the sizes are rounded down.
    """
    order = array("q", range(n))
    random.Random(split.seed).shuffle(order)  # noqa: S311 (a published order, no secret)
    n_val = int(n * split.fractions[1])
    n_test = int(n * split.fractions[2])
    parts = np.zeros(n, np.int8)
    rows = np.frombuffer(order, np.int64) if n else np.zeros(0, np.int64)
    parts[rows[n - n_val - n_test : n - n_test]] = 1
    parts[rows[n - n_test :]] = 2
    return parts


# ------------------------------------------------------------------------- lists in a file


class Source(NamedTuple):
    """What is known of the rows of a source, kept or dropped: enough to find them in a list."""

    molecules: pa.Table  # row, id, input_smiles, smiles, stereo_groups
    dropped: pa.Table  # as DROPPED_SCHEMA
    n_row: int
    sampled: bool  # only some rows were curated, so others of a list may well be unknown


class Sides(NamedTuple):
    """The side of each molecule, NO_PART for none, and what was counted on the way."""

    side: np.ndarray
    counts: dict[str, Any]


def check_listing(split: Split, downloads: Path, snapshot: Path, recipe: str) -> None:
    """Raise InputError where a split file is of other rows than those of a snapshot.

    SMILES are compared later, when the rows have been read.
    """
    path = split_file(split, downloads, recipe)
    listing = read_listing(path, split)
    if split.by == "row":
        parts_of_rows(listing, pq.read_metadata(snapshot).num_rows, path)
    elif split.by == "id":
        ids = pq.read_table(snapshot, columns=["id"]).column(0)
        part_of_id = parts_of_ids(listing, path)
        _refuse_unknown(_unknown(part_of_id, ids), len(part_of_id), split, path)


def sides_by_shuffle(split: Split, source: Source) -> Sides:
    """The sides of molecules in a seeded shuffle of the rows of their source."""
    return _sides_by_row(shuffled_parts(source.n_row, split), source)


def sides_by_file(split: Split, source: Source, downloads: Path, recipe: Recipe) -> Sides:
    """The sides of molecules by what a split file lists."""
    path = split_file(split, downloads, recipe.name)
    listing = read_listing(path, split)
    if split.by == "row":
        sides = _sides_by_row(parts_of_rows(listing, source.n_row, path), source)
    elif split.by == "id":
        sides = _sides_by_id(parts_of_ids(listing, path), source, split, path)
    else:
        sides = _sides_by_smiles(listing, source, split, path, recipe)
    return sides._replace(counts=sides.counts | {"other_lists": listing.others})


def parts_of_rows(listing: Listing, n_row: int, path: Path) -> np.ndarray:
    """The part of each of n rows; InputError where rows are listed that there are not, or twice."""
    if listing.n_row not in (None, n_row):
        raise InputError(
            f"split file {path} has a part for {listing.n_row:,} rows, the source has {n_row:,}: "
            "it is of another version of the source"
        )
    parts = np.full(n_row, NO_PART, np.int8)
    for part, entries in sorted(listing.entries.items()):
        rows = _row_numbers(entries, path)
        outside = rows[(rows < 0) | (rows >= n_row)]
        if len(outside):
            raise InputError(
                f"split file {path} lists {len(outside):,} rows that the source does not have "
                f"(row {outside[0]:,} under {SPLIT_VALUES[part]}; rows are 0 to {n_row - 1:,}): it "
                "is of other rows, or lists identifiers (by: id)"
            )
        _refuse_twice(rows, parts, part, path)
        parts[rows] = part
    return parts


def _row_numbers(entries: list, path: Path) -> np.ndarray:
    numbers = np.array(entries)
    if numbers.dtype.kind not in "iu":
        numbers = np.array([_row_number(entry, path) for entry in entries])
    return numbers.astype(np.int64)


def _row_number(entry: Any, path: Path) -> int:
    try:
        number = float(entry)
        if number == int(number) and not isinstance(entry, bool):
            return int(number)
    except (ValueError, OverflowError):
        pass
    raise InputError(
        f"split file {path} lists {str(entry)[:40]!r}, which is no row: rows are 0, 1, 2, ...; for "
        "identifiers or SMILES say by: id or by: smiles in the split"
    )


def _refuse_twice(rows: np.ndarray, parts: np.ndarray, part: int, path: Path) -> None:
    """Raise InputError for rows that are listed in an earlier part already, or twice in this."""
    numbers, counts = np.unique(rows, return_counts=True)
    earlier = numbers[parts[numbers] != NO_PART]
    if len(earlier):
        other = SPLIT_VALUES[parts[earlier[0]]]
        raise InputError(
            f"split file {path} lists {len(earlier):,} rows under {other} and "
            f"{SPLIT_VALUES[part]}, such as row {earlier[0]:,}: a row is in one part"
        )
    repeated = numbers[counts > 1]
    if len(repeated):
        raise InputError(
            f"split file {path} lists {len(repeated):,} rows twice under {SPLIT_VALUES[part]}, "
            f"such as row {repeated[0]:,}"
        )


def parts_of_ids(listing: Listing, path: Path) -> dict[str, int]:
    """The part of each listed identifier; InputError where one is listed in two parts."""
    part_of_id: dict[str, int] = {}
    for part, entries in sorted(listing.entries.items()):
        for entry in map(_entry_text, entries):
            if part_of_id.setdefault(entry, part) != part:
                raise InputError(
                    f"split file {path} lists '{entry[:40]}' under "
                    f"{SPLIT_VALUES[part_of_id[entry]]} and {SPLIT_VALUES[part]}: an identifier "
                    "is in one part"
                )
    return part_of_id


def _entry_text(entry: Any) -> str:
    """An identifier as text; whole numbers without the decimal point that tables give them."""
    if isinstance(entry, float) and entry.is_integer():
        entry = int(entry)
    return str(entry).strip()


def _unknown(listed: Mapping[str, int], *known: Iterable[Any]) -> list[str]:
    texts = {str(text).strip() for column in known for text in column.drop_null().to_pylist()}
    return [entry for entry in listed if entry not in texts]


def _refuse_unknown(unknown: list[str], n: int, split: Split, path: Path) -> None:
    if len(unknown) > max(FEW, FEW_SHARE * n):
        what = {"id": "identifiers", "smiles": "SMILES"}[split.by]
        raise InputError(
            f"split file {path}: {len(unknown):,} of {n:,} {what} are not in the source, the first "
            f"is '{unknown[0][:60]}': it is of other rows, or of another column (by: row, id or "
            "smiles; columns.id names the column of identifiers)"
        )


# -------------------------------------------------------------------------- sides of molecules


def _sides_by_row(parts: np.ndarray, source: Source) -> Sides:
    side = parts[source.molecules.column("row").to_numpy()]
    copies = _copies(source.dropped)
    sides_of_copies = parts[copies.column("row").to_numpy()]
    return Sides(side, {"across_parts": _count_across(side, sides_of_copies, copies, source)})


def _sides_by_id(part_of_id: dict[str, int], source: Source, split: Split, path: Path) -> Sides:
    copies = _copies(source.dropped)
    side = _looked_up(source.molecules.column("id"), part_of_id)
    sides_of_copies = _looked_up(copies.column("id"), part_of_id)
    counts = {"across_parts": _count_across(side, sides_of_copies, copies, source)}
    if not source.sampled:
        unknown = _unknown(part_of_id, source.molecules.column("id"), source.dropped.column("id"))
        _refuse_unknown(unknown, len(part_of_id), split, path)
        counts["unknown_entries"] = len(unknown)
    return Sides(side, counts)


def _looked_up(texts: pa.ChunkedArray, parts: Mapping[str, int]) -> np.ndarray:
    sides = [
        NO_PART if text is None else parts.get(text.strip(), NO_PART) for text in texts.to_pylist()
    ]
    return np.array(sides, np.int8)


def _sides_by_smiles(
    listing: Listing, source: Source, split: Split, path: Path, recipe: Recipe
) -> Sides:
    """Sides by the text of the source, or else by the molecule that a listed SMILES is.

    A text that is listed in several parts counts for the first of train, val, test.
    """
    part_of_text: dict[str, int] = {}
    n_several = 0
    for part, entries in sorted(listing.entries.items()):
        for entry in map(_entry_text, entries):
            n_several += part_of_text.setdefault(entry, part) != part
    inputs = source.molecules.column("input_smiles")
    foreign = _unknown(part_of_text, inputs)
    part_of_mol: dict[str, int] = {}
    present = set(map(str.strip, _mol_keys(source.molecules)))
    of_dropped = {str(t).strip() for t in source.dropped.column("input_smiles").to_pylist()}
    unknown = []
    for text in foreign:
        key = _mol_key(text, present, recipe)
        if key is not None:
            part_of_mol[key] = min(part_of_text[text], part_of_mol.get(key, part_of_text[text]))
        elif text not in of_dropped:
            unknown.append(text)
    if not source.sampled:
        _refuse_unknown(unknown, len(part_of_text), split, path)
    side = _looked_up(inputs, part_of_text)
    by_mol = _looked_up(pa.chunked_array([_mol_keys(source.molecules)], pa.string()), part_of_mol)
    side = np.where(side == NO_PART, by_mol, side)
    copies = _copies(source.dropped)
    sides_of_copies = _looked_up(copies.column("input_smiles"), part_of_text)
    across = _count_across(side, sides_of_copies, copies, source) + n_several
    unknown_entries = {} if source.sampled else {"unknown_entries": len(unknown)}
    return Sides(side, {"across_parts": across} | unknown_entries)


def _mol_keys(molecules: pa.Table) -> list[str]:
    """Canonical SMILES and stereo groups of each molecule, by which duplicates are known."""
    smiles = molecules.column("smiles").to_pylist()
    return [
        f"{text} {groups or ''}".strip()
        for text, groups in zip(smiles, molecules.column("stereo_groups").to_pylist(), strict=True)
    ]


def _mol_key(text: str, present: set[str], recipe: Recipe) -> str | None:
    """The key of the molecule that a SMILES is, as it stands or standardised, if it is present."""
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(text)
        plain = None if mol is None else Chem.MolToSmiles(mol)
        if plain is None or plain in present:
            return plain
        try:
            structure = recipe.structure
            standard = standardize(parse_smiles(text), structure.max_heavy_atoms, structure.metals)
        except MoleculeError:
            return None
    key = f"{standard.smiles} {standard.stereo_groups}".strip()
    return key if key in present else None


def _copies(dropped: pa.Table) -> pa.Table:
    """Rows that were dropped because an earlier row is the same molecule, and which (``first``)."""
    copies = dropped.filter(pc.equal(dropped.column("reason"), COPY))
    first = pc.cast(pc.replace_substring(copies.column("detail"), "row ", ""), pa.int64())
    return copies.append_column("first", first)


def _count_across(
    side: np.ndarray, sides_of_copies: np.ndarray, copies: pa.Table, source: Source
) -> int:
    """Molecules whose rows stand in several parts."""
    rows = source.molecules.column("row").to_numpy()
    first = copies.column("first").to_numpy()
    position = np.searchsorted(rows, first)
    position = np.minimum(position, len(rows) - 1)
    of_first = np.where(rows[position] == first, side[position], NO_PART)  # some lack a conformer
    in_parts = (sides_of_copies != NO_PART) & (of_first != NO_PART)
    return len(np.unique(first[in_parts & (sides_of_copies != of_first)]))
