"""Divide molecules into train, val and test so that what is nearly the same stays on one side.

The unit is the loose group (stereoisomers, protomers, tautomers together); for the scaffold split
groups that share a Murcko scaffold are joined further, acyclic molecules stay by themselves; for
splits by similarity likewise groups that share a cluster. Splits that others define (a column, a
file, a shuffle, a time) are taken as they are, and the loose groups that they part are counted. How
near the test molecules are to the training molecules is measured and reported with every split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...chemistry.fingerprints import nearest_similarities
from ...errors import InputError
from ...files import write_table
from ...recipes.own_split import NO_PART, part_number
from ...recipes.schema import Recipe
from ...recipes.split_schema import Split
from ...shards import EVERY_SPLIT, LOOSE_KEYS, SPLIT_VALUES
from ..database import connect, parquet_table, quoted
from ..grouping import group_rows
from .clusters import similarity_clusters
from .published_splits import (
    Sides,
    Source,
    check_listing,
    sides_by_file,
    sides_by_shuffle,
)
from .subsets import label_values, subset_sides
from .time_splits import latest_last, read_times

N_TEST = 500  # molecules sampled for the nearest-neighbour similarity
N_TRAIN = 20_000
TRAIN, VAL, TEST, TEST_SEEN = range(4)  # as SPLIT_VALUES
GROUPED_BY = {
    "random": LOOSE_KEYS,
    "scaffold": (*LOOSE_KEYS, "scaffold"),
    "butina": (*LOOSE_KEYS, "cluster"),
    "cluster": (*LOOSE_KEYS, "cluster"),
}


class Curated(NamedTuple):
    """Curated molecules as splits need them; the rows of all tables are in source order."""

    con: duckdb.DuckDBPyConnection  # tables mol (row, smiles, keys) and texts (the user's columns)
    parts: list[Path]
    recipe: Recipe
    folder: Path
    n_row: int  # of the source, those included that are no molecule here
    sampled: bool
    smiles: pa.ChunkedArray
    group: np.ndarray


def check_splits(recipe: Recipe, snapshot: Path, folder: Path) -> None:
    """Raise InputError for splits that do not fit the rows of a source, before any long work."""
    for name, split in recipe.splits.items():
        if split.kind == "file":
            check_listing(split, downloads_beside(folder), snapshot, recipe.name)
        elif split.kind == "time":
            column = _split_columns(recipe)[name]
            read_times(pq.read_table(snapshot, columns=[column]).column(0).to_pylist(), column)
        elif split.stratify is not None:
            _check_stratified(recipe, name)


def downloads_beside(folder: Path) -> Path:
    """Where downloads lie, of the home in whose data/ a folder of shards is."""
    return folder.parent.parent / "downloads"


def write_splits(
    parts: list[Path], recipe: Recipe, folder: Path, n_row: int, sampled: bool = False
) -> tuple[dict[str, dict], int]:
    """Write ``splits.parquet`` for the molecules of some parts.

    ``n_row`` counts the rows of the source; ``sampled`` if only some of them were curated. Returns
    a report of every split, and the number of loose duplicates.
    """
    con = connect(folder / "work" / "spill")
    texts = "".join(f", {quoted(name)}" for name in set(_split_columns(recipe).values()))
    con.execute(
        "CREATE TABLE mol AS SELECT row, smiles, inchikey14, tautomer_key, scaffold "
        f"FROM {parquet_table(con, parts)}"
    )
    # apart, since the user's columns may be called like those that groups are found by
    con.execute(f"CREATE TABLE texts AS SELECT row{texts} FROM {parquet_table(con, parts)}")
    group_rows(con, "mol", LOOSE_KEYS)
    molecules = con.sql(
        "SELECT m.row, smiles, grp FROM mol m JOIN groups g USING (row) ORDER BY row"
    ).to_arrow_table()
    smiles = molecules.column("smiles")
    group = molecules.column("grp").to_numpy()
    curated = Curated(con, parts, recipe, folder, n_row, sampled, smiles, group)
    sides: dict[str, Sides] = {}
    for name in _bases_first(recipe):
        sides[name] = _make_sides(name, curated, sides)
    con.close()
    table = pa.table({"row": molecules.column("row"), "group": pa.array(group)})
    report = {}
    for name, split in recipe.splits.items():
        side, counts = sides[name]
        report[name] = _report(side, smiles, split) | counts
        table = table.append_column(f"split_{name}", pa.array(side))
    write_table(table, folder / "splits.parquet")
    return report, len(group) - len(np.unique(group))


def _bases_first(recipe: Recipe) -> Iterator[str]:
    """Names of splits, subsets behind the splits that they are of."""
    yield from (name for name, split in recipe.splits.items() if split.kind != "subset")
    yield from (name for name, split in recipe.splits.items() if split.kind == "subset")


def _make_sides(name: str, curated: Curated, sides: dict[str, Sides]) -> Sides:
    """The side of every molecule in a split, and what its report says beside the sizes."""
    split = curated.recipe.splits[name]
    if split.kind in GROUPED_BY:
        return _sides_by_groups(curated, split)
    if split.kind == "subset":
        base = sides[split.of]
        values = _stratifying_values(curated, name) if split.stratify else None
        side, counts = subset_sides(base.side, curated.smiles, values, split)
        if "parted_groups" not in base.counts:
            return Sides(side, counts | {"without_side": int((side == NO_PART).sum())})
    else:
        side, counts = _published_sides(name, split, curated)
    counts |= {
        "without_side": int((side == NO_PART).sum()),
        "parted_groups": _count_parted(side, curated.group),
    }
    return Sides(side, counts)


def _published_sides(name: str, split: Split, curated: Curated) -> Sides:
    """The sides that a column, a time, a shuffle or a file gives."""
    if split.kind == "time":
        times = read_times(_column_texts(name, curated), split.column)
        return Sides(latest_last(times, split.fractions), {})
    if split.kind == "shuffle":
        return sides_by_shuffle(split, _source(curated))
    if split.kind == "file":
        downloads = downloads_beside(curated.folder)
        side, counts = sides_by_file(split, _source(curated), downloads, curated.recipe)
    else:
        texts = _column_texts(name, curated)
        side, counts = np.array([part_number(text, split.parts) for text in texts], np.int8), {}
    n_moved = hold_back(side, curated.group, curated.smiles, split)
    return Sides(side, counts | {"val_from_train": n_moved})


def _column_texts(name: str, curated: Curated) -> list[str | None]:
    column = quoted(_split_columns(curated.recipe)[name])
    rows = curated.con.sql(f"SELECT {column} FROM texts ORDER BY row").fetchall()
    return [text for (text,) in rows]


def _source(curated: Curated) -> Source:
    """All rows of the source, kept or dropped."""
    columns = ["row", "id", "input_smiles", "smiles", "stereo_groups"]
    tables = [pq.read_table(path, columns=columns) for path in curated.parts]
    dropped = pq.read_table(curated.folder / "dropped.parquet")
    return Source(pa.concat_tables(tables), dropped, curated.n_row, curated.sampled)


def _check_stratified(recipe: Recipe, name: str) -> None:
    """Raise InputError where a subset is stratified by what is no label of numbers here."""
    split = recipe.splits[name]
    label = next((label for label in recipe.labels if label.name == split.stratify), None)
    is_number = label is not None and recipe.kind_of(label.name) == "regression"
    if not is_number or label.level != "molecule" or label.residual_of is not None:
        raise InputError(
            f"split '{name}' is stratified by '{split.stratify}', which is no label of numbers of "
            "molecules here (nor can it be a residual): name another label, or leave stratify out"
        )


def _stratifying_values(curated: Curated, name: str) -> np.ndarray:
    _check_stratified(curated.recipe, name)
    return label_values(curated.parts, curated.recipe.splits[name].stratify)


def _split_columns(recipe: Recipe) -> dict[str, str]:
    """The column of the parts that each split of kind column or time reads."""
    names = {column: name for name, column in recipe.text_columns.items()}
    return {name: names[split.column] for name, split in recipe.splits.items() if split.column}


def hold_back(side: np.ndarray, group: np.ndarray, smiles: pa.ChunkedArray, split: Split) -> int:
    """Move a share of the training molecules to val where there is none; returns how many.

    Whole loose groups are moved, drawn by a hash of their first SMILES.
    """
    if (side == VAL).any() or not split.val_share:
        return 0
    train = np.flatnonzero(side == TRAIN)
    groups, position, sizes = np.unique(group[train], return_inverse=True, return_counts=True)
    first = smiles.take(pa.array(train[np.unique(position, return_index=True)[1]])).to_pylist()
    keys = [hashlib.md5(f"{split.seed} {text}".encode()).digest() for text in first]  # noqa: S324
    room = round(split.val_share * len(train))
    chosen = []
    for number in sorted(range(len(groups)), key=keys.__getitem__):
        if sizes[number] <= room:
            chosen.append(number)
            room -= int(sizes[number])
    moved = train[np.isin(position, chosen)]
    side[moved] = VAL
    return len(moved)


def _count_parted(side: np.ndarray, group: np.ndarray) -> int:
    """Molecules of val and test that have a loose duplicate in training."""
    in_training = np.unique(group[side == TRAIN])
    return int((np.isin(group, in_training) & np.isin(side, (VAL, TEST, TEST_SEEN))).sum())


def _sides_by_groups(curated: Curated, split: Split) -> Sides:
    """Sides by whole groups of molecules: loose ones, those of a scaffold or of a cluster."""
    con = curated.con
    table = "mol"
    counts = {}
    if "cluster" in GROUPED_BY[split.kind]:
        table = "clustered"
        counts = _write_clusters(curated, split)
    group_rows(con, table, GROUPED_BY[split.kind])
    # The order of groups is drawn by a hash of their first SMILES: no other row of the source
    # changes it.
    groups = con.execute(
        "SELECT grp, count(*) AS size FROM mol JOIN groups USING (row) GROUP BY grp "
        f"ORDER BY md5('{split.seed} ' || min(smiles))"
    ).fetchnumpy()
    side_of_group = assign_groups(groups["size"], split.fractions)
    con.register("sides", pa.table({"grp": groups["grp"], "side": side_of_group}))
    rows = con.execute("SELECT side FROM groups JOIN sides USING (grp) ORDER BY row").fetchnumpy()
    con.unregister("sides")
    return Sides(np.asarray(rows["side"], np.int8), counts)


def _write_clusters(curated: Curated, split: Split) -> dict[str, int]:
    """Create the table ``clustered`` of molecules with their cluster; counts clusters."""
    smiles = curated.smiles.to_pylist()
    clusters = similarity_clusters(smiles, split.kind, split.similarity, split.seed)
    rows = curated.con.execute("SELECT row FROM mol ORDER BY row").fetchnumpy()["row"]
    texts = pa.array(clusters).cast(pa.string())  # as the other keys that join groups
    curated.con.register("numbers", pa.table({"row": rows, "cluster": texts}))
    curated.con.execute(
        "CREATE OR REPLACE TABLE clustered AS SELECT m.*, n.cluster "
        "FROM mol m JOIN numbers n USING (row)"
    )
    curated.con.unregister("numbers")
    sizes = np.bincount(clusters)
    return {"clusters": len(sizes), "largest_cluster": int(sizes.max(initial=0))}


def assign_groups(sizes: np.ndarray, fractions: tuple[float, float, float]) -> np.ndarray:
    """A side (0 train, 1 val, 2 test) for each group: test is filled first, in order, then val.

    Whatever does not fit is training data. So is a group larger than half of what a side may hold:
    one scaffold should not be the test set.
    """
    n_mol = int(sizes.sum())
    sides = np.zeros(len(sizes), np.int8)
    for side in (TEST, VAL):
        room = round(fractions[side] * n_mol)
        largest = max(1, room // 2)
        for i, size in enumerate(sizes):
            if room <= 0:
                break
            if sides[i] == TRAIN and size <= min(largest, room):
                sides[i] = side
                room -= int(size)
    return sides


def _report(side: np.ndarray, smiles: pa.ChunkedArray, split: Split) -> dict[str, Any]:
    """What the manifest says of a split: how it was made, its sizes, how near its sides are."""
    sizes = {name: int((side == value).sum()) for value, name in enumerate(SPLIT_VALUES)}
    sizes = {name: size for name, size in sizes.items() if size or name in EVERY_SPLIT}
    random = np.random.default_rng(split.seed)
    train = np.sort(random.permutation(np.flatnonzero(side == TRAIN))[:N_TRAIN])
    test = np.sort(random.permutation(np.flatnonzero(side == TEST))[:N_TEST])
    median = _median_similarity(
        smiles.take(pa.array(test)).to_pylist(), smiles.take(pa.array(train)).to_pylist()
    )
    similarity = {
        "nn_similarity_median": median,
        "nn_similarity_of": {"test": len(test), "train": len(train)},
    }
    return split.model_dump() | sizes | similarity


def _median_similarity(test: list[str], train: list[str]) -> float | None:
    """Median similarity of test molecules to the nearest in training; None if a side is empty."""
    if not test or not train:
        return None
    return round(float(np.median(nearest_similarities(test, train))), 4)


def read_default(folder: Path, recipe: Recipe) -> np.ndarray:
    """The side of every molecule in the default split, in sample order."""
    name = f"split_{recipe.default_split}"
    return pq.read_table(folder / "splits.parquet", columns=[name]).column(0).to_numpy()
