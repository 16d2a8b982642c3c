"""Divide molecules into train, val and test so that what is nearly the same stays on one side.

The unit is the loose group (stereoisomers, protomers, tautomers together); for the scaffold split
groups that share a Murcko scaffold are joined further, acyclic molecules stay by themselves. How
near the test molecules are to the training molecules is measured and reported with every split.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from ..files import write_table
from ..recipes.schema import Recipe, Split
from ..shards import SPLIT_VALUES
from .deduplication import connect, loose_groups

N_TEST, N_TRAIN = 500, 20_000  # molecules sampled for the nearest-neighbour similarity
GROUPED_BY = {
    "random": ["inchikey14", "tautomer_key"],
    "scaffold": ["inchikey14", "tautomer_key", "scaffold"],
}


def write_splits(parts: list[Path], recipe: Recipe, folder: Path) -> tuple[dict[str, dict], int]:
    """Write ``splits.parquet`` for the molecules of some parts; returns what to report, and the
    loose duplicates.
    """
    con = connect(folder / "work" / "spill")
    files = "[" + ", ".join("'" + str(path).replace("'", "''") + "'" for path in parts) + "]"
    con.execute(
        "CREATE TABLE mol AS SELECT row, smiles, inchikey14, tautomer_key, coalesce(scaffold, '') AS scaffold "
        f"FROM read_parquet({files})"
    )
    loose_groups(con, "mol", GROUPED_BY["random"])
    out = con.sql(
        "SELECT m.row, smiles, grp FROM mol m JOIN groups g USING (row) ORDER BY row"
    ).to_arrow_table()
    smiles, group = out.column("smiles"), out.column("grp").to_numpy()
    table = pa.table({"row": out.column("row"), "group": pa.array(group)})
    report = {}
    for name, split in recipe.splits.items():
        side = _assign(con, split)
        table = table.append_column(f"split_{name}", pa.array(side))
        report[name] = _report(side, smiles, split)
    con.close()
    write_table(table, folder / "splits.parquet")
    return report, len(group) - len(np.unique(group))


def _assign(con: duckdb.DuckDBPyConnection, split: Split) -> np.ndarray:
    """0 (train), 1 (val) or 2 (test) for every molecule in source order."""
    loose_groups(con, "mol", GROUPED_BY[split.kind])
    # The order of groups is drawn by a hash of their first SMILES: no other row of the source
    # changes it.
    groups = con.execute(
        "SELECT grp, count(*) AS size FROM mol JOIN groups USING (row) GROUP BY grp "
        f"ORDER BY md5('{split.seed} ' || min(smiles))"
    ).fetchnumpy()
    side = assign_groups(groups["size"], split.fractions)
    of_group = pa.table({"grp": groups["grp"], "side": side})
    con.register("of_group", of_group)
    rows = con.execute(
        "SELECT side FROM groups JOIN of_group USING (grp) ORDER BY row"
    ).fetchnumpy()
    con.unregister("of_group")
    return np.asarray(rows["side"], np.int8)


def assign_groups(sizes: np.ndarray, fractions: tuple[float, float, float]) -> np.ndarray:
    """Fill test, then val, with groups in the order given; whatever does not fit is training data.

    A group larger than half of what a side may hold is training data too: one scaffold should not
    be the test set.
    """
    n = int(sizes.sum())
    room = {2: round(fractions[2] * n), 1: round(fractions[1] * n)}
    side = np.zeros(len(sizes), np.int8)
    for wanted in (2, 1):
        limit = max(1, room[wanted] // 2)
        for i, size in enumerate(sizes):
            if room[wanted] <= 0:
                break
            if side[i] == 0 and size <= min(limit, room[wanted]):
                side[i] = wanted
                room[wanted] -= int(size)
    return side


def _report(side: np.ndarray, smiles: pa.ChunkedArray, split: Split) -> dict[str, Any]:
    sizes = {name: int((side == value).sum()) for value, name in enumerate(SPLIT_VALUES)}
    draw = np.random.default_rng(split.seed)
    train, test = (
        np.sort(draw.permutation(np.flatnonzero(side == value))[:limit])
        for value, limit in ((0, N_TRAIN), (2, N_TEST))
    )
    median = _nearest_similarity(
        smiles.take(pa.array(test)).to_pylist(), smiles.take(pa.array(train)).to_pylist()
    )
    how = {
        "nn_similarity_median": median,
        "nn_similarity_of": {"test": len(test), "train": len(train)},
    }
    return split.model_dump() | sizes | how


def _nearest_similarity(test: list[str], train: list[str]) -> float | None:
    """Median over test molecules of the similarity to the nearest training molecule; None where
    a side is empty.
    """
    if not test or not train:
        return None
    return round(float(np.median(nearest_similarities(test, train))), 4)


def nearest_similarities(test: list[str], train: list[str]) -> np.ndarray:
    """Tanimoto similarity (ECFP4, 2,048 bits) of each test molecule to its nearest training
    molecule.
    """
    known = [_fingerprint(smiles) for smiles in train]
    return np.array(
        [max(DataStructs.BulkTanimotoSimilarity(_fingerprint(smiles), known)) for smiles in test]
    )


@functools.lru_cache(2 * (N_TEST + N_TRAIN))  # every split asks for nearly the same molecules
def _fingerprint(smiles: str) -> DataStructs.ExplicitBitVect:
    return rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048).GetFingerprint(
        Chem.MolFromSmiles(smiles)
    )


def read_default(folder: Path, recipe: Recipe) -> np.ndarray:
    """The default split of every molecule, in sample order."""
    name = f"split_{recipe.default_split}"
    return pq.read_table(folder / "splits.parquet", columns=[name]).column(0).to_numpy()
