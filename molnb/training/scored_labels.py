"""The scores of each label by the weights that a run has saved, as a table in its folder.

    label_scores.parquet    a row a part, label and metric

It is written with the weights, from the validation before them, so that it never is of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..data.dataset import Corpus
from ..data.tasks import dataset_names
from ..errors import InputError
from ..files import write_table

FILE = "label_scores.parquet"
BEST_FILE = "best_label_scores.parquet"  # among checkpoints, beside the weights of the best

_ABOUT = {
    "value": "of all known values, in `unit`; null where undefined",
    "low": "lower end of the 95 % interval: a Poisson bootstrap over molecules, `draws` sets",
    "in_sd": "an error in standard deviations of the label in training rows, as papers give it",
    "baseline": "of the training mean, of an extensive label a fit on element counts, of classes "
    "their frequency in training rows",
    "sd": "standard deviation of the label in training rows",
    "n_ranked": "known values that a ranking is of, where that needs all answers at once",
}
_TEXT = "part dataset task label level kind metric unit"
_NUMBERS = "value low high in_sd baseline sd"
_COUNTS = "n n_positive n_ranked draws"
SCHEMA = pa.schema(
    [
        pa.field(name, kind, metadata={"about": _ABOUT[name]} if name in _ABOUT else None)
        for names, kind in (
            ("step", pa.int64()),
            (_TEXT, pa.string()),
            (_NUMBERS, pa.float64()),
            (_COUNTS, pa.int64()),
        )
        for name in names.split()
    ]
)


def make_label_table(
    corpus: Corpus, step: int, rows_of_parts: Iterable[tuple[str, Sequence[Mapping]]]
) -> pa.Table:
    """The table of a validation, from the rows of each part."""
    names = dataset_names(corpus.datasets)
    dataset = {
        key: ", ".join(names[member.dataset] for member in task.members)
        for key, task in corpus.tasks.items()
    }
    rows = [
        {"step": step, "part": part, "dataset": dataset[row["task"]], **row}
        for part, rows in rows_of_parts
        for row in rows
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def write_label_scores(table: pa.Table, file: Path) -> None:
    """Write the table, whole or not at all."""
    write_table(table, file)


def read_label_scores(folder: Path) -> pa.Table:
    """The table of a run's folder; raises InputError where there is none."""
    file = folder / FILE
    if not file.exists():
        raise InputError(
            f"{folder} has no {FILE}: it learns no labels, has saved no weights yet, or is of an "
            f"older molnb. `molnb evaluate {folder}` scores labels of saved weights"
        )
    return pq.read_table(file)
