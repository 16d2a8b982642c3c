"""Results of comparisons in one long table: one row a prediction, made to be stored and merged.

    dataset, label      what was predicted: a dataset's folder name and one of its labels
    task_kind           whether the label is a number (regression) or 0 and 1 (binary)
    method, kind        who predicted it, and whether that is a network or another method
    seed, fold, part    the seed of the folds, the number of the fold, and train or test
    row                 the molecule's row in the dataset
    truth, prediction   in the unit of the label, of a binary one the probability of 1; the
                        prediction is NaN in training rows that a method did not learn from
    seconds             that the method took on the fold, the same in all rows of it

Tables of several comparisons are joined by `pandas.concat`.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from ..errors import InputError
from ..files import write_table
from .metrics import REGRESSION, find_metric

COLUMNS = {
    "dataset": "str",
    "label": "str",
    "task_kind": "str",
    "method": "str",
    "kind": "str",
    "seed": "int64",
    "fold": "int64",
    "part": "str",
    "row": "int64",
    "truth": "float64",
    "prediction": "float64",
    "seconds": "float64",
}
NETWORK = "network"  # a kind: what must be trained to conclusion to count
OTHER = "other"

# The columns that name one prediction.
_PREDICTION = ["dataset", "label", "method", "seed", "fold", "part", "row"]


def empty_results() -> pd.DataFrame:
    """A table of results without rows."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})


def check_results(results: pd.DataFrame) -> None:
    """Raise InputError for a table that lacks a column or holds a prediction twice."""
    missing = [name for name in COLUMNS if name not in results.columns]
    if missing:
        raise InputError(
            f"a table of results needs the columns {', '.join(COLUMNS)}: "
            f"this one has no {', '.join(missing)}"
        )
    repeated = results[results.duplicated(_PREDICTION)]
    if len(repeated):
        example = ", ".join(f"{name} {repeated.iloc[0][name]}" for name in _PREDICTION)
        raise InputError(
            f"{len(repeated)} predictions are in the table twice, the first is {example}: "
            "leave one out, or give the comparisons seeds of their own"
        )


def kind_of(results: pd.DataFrame) -> str:
    """The kind of task that a table of results is of; raises InputError where they are several."""
    kinds = results["task_kind"].unique().tolist()
    if len(kinds) > 1:
        raise InputError(f"the results are of {' and '.join(kinds)}: compare one at a time")
    return kinds[0] if kinds else REGRESSION


def write_results(results: pd.DataFrame, path: Path | str) -> None:
    """Write a table of results to a Parquet file, whole or not at all."""
    check_results(results)
    write_table(pa.Table.from_pandas(results, preserve_index=False), Path(path))


def load_results(path: Path | str) -> pd.DataFrame:
    """The table of results in a Parquet file that `write_results` wrote."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is no file: give the Parquet file that write_results made")
    try:
        results = pd.read_parquet(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is not readable as Parquet ({error}): write it again") from None
    if "task_kind" not in results.columns and "label" in results.columns:
        # written when only numbers were compared
        position = results.columns.get_loc("label") + 1
        results.insert(position, "task_kind", pd.Series(REGRESSION, results.index, dtype="str"))
    check_results(results)
    return results


def fold_scores(results: pd.DataFrame, metric: str = "mae", part: str = "test") -> pd.DataFrame:
    """Scores of one dataset's methods: a row a fold (indexed by seed and fold), a column a method.

    Rows without a prediction do not count; a fold that has none at all is NaN.
    """
    score = find_metric(metric).score
    methods = results["method"].unique()
    counted = results[(results["part"] == part) & results["prediction"].notna()]
    scores = [
        (*key, score(rows["truth"].to_numpy(), rows["prediction"].to_numpy()))
        for key, rows in counted.groupby(["seed", "fold", "method"])
    ]
    table = pd.DataFrame(scores, columns=["seed", "fold", "method", metric])
    by_method = table.pivot(index=["seed", "fold"], columns="method", values=metric)
    return by_method.reindex(columns=methods)
