"""Divide molecules into train, val and test so that what is nearly the same stays on one side.

The unit is the loose group (stereoisomers, protomers, tautomers together); for the scaffold split
groups that share a Murcko scaffold are joined further, acyclic molecules stay by themselves. A
split that the user's own column gives is taken as it is, and the loose groups that it parts are
counted. How near the test molecules are to the training molecules is measured and reported with
every split.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..chemistry.fingerprints import nearest_similarities
from ..files import write_table
from ..recipes.own_split import NO_PART, part_number
from ..recipes.schema import Recipe
from ..recipes.split_schema import Split
from ..shards import LOOSE_KEYS, SPLIT_VALUES
from .database import connect, parquet_table, quoted
from .grouping import group_rows

N_TEST = 500  # molecules sampled for the nearest-neighbour similarity
N_TRAIN = 20_000
TRAIN, VAL, TEST = range(3)  # as SPLIT_VALUES
GROUPED_BY = {"random": LOOSE_KEYS, "scaffold": (*LOOSE_KEYS, "scaffold")}


def write_splits(parts: list[Path], recipe: Recipe, folder: Path) -> tuple[dict[str, dict], int]:
    """Write ``splits.parquet`` for the molecules of some parts.

    Returns a report of every split, and the number of loose duplicates.
    """
    con = connect(folder / "work" / "spill")
    texts = "".join(f", {quoted(name)}" for name in _split_columns(recipe).values())
    con.execute(
        "CREATE TABLE mol AS SELECT row, smiles, inchikey14, tautomer_key, scaffold "
        f"FROM {parquet_table(con, parts)}"
    )
    # apart, since the user's columns may be called like those that groups are found by
    con.execute(f"CREATE TABLE own AS SELECT row{texts} FROM {parquet_table(con, parts)}")
    group_rows(con, "mol", LOOSE_KEYS)
    molecules = con.sql(
        "SELECT m.row, smiles, grp FROM mol m JOIN groups g USING (row) ORDER BY row"
    ).to_arrow_table()
    smiles = molecules.column("smiles")
    group = molecules.column("grp").to_numpy()
    table = pa.table({"row": molecules.column("row"), "group": pa.array(group)})
    report = {}
    for name, split in recipe.splits.items():
        if split.kind == "column":
            texts = con.sql(
                f"SELECT {quoted(_split_columns(recipe)[name])} FROM own ORDER BY row"
            ).fetchall()
            side = np.array([part_number(text) for (text,) in texts], np.int8)
            held_back = hold_back(side, group, smiles, split)
            report[name] = _report(side, smiles, split) | {
                "without_side": int((side == NO_PART).sum()),
                "val_from_train": held_back,
                "parted_groups": _count_parted(side, group),
            }
        else:
            side = _assign_molecules(con, split)
            report[name] = _report(side, smiles, split)
        table = table.append_column(f"split_{name}", pa.array(side))
    con.close()
    write_table(table, folder / "splits.parquet")
    return report, len(group) - len(np.unique(group))


def _split_columns(recipe: Recipe) -> dict[str, str]:
    """The column of the parts that each split of kind column reads."""
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
    return int((np.isin(group, in_training) & np.isin(side, (VAL, TEST))).sum())


def _assign_molecules(con: duckdb.DuckDBPyConnection, split: Split) -> np.ndarray:
    """0 (train), 1 (val) or 2 (test) for every molecule in source order."""
    group_rows(con, "mol", GROUPED_BY[split.kind])
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
    return np.asarray(rows["side"], np.int8)


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
