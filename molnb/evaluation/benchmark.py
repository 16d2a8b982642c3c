"""A benchmark task: the labelled molecules of one dataset, and which of them are relatives."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..curation.grouping import connected_groups
from ..errors import InputError
from ..shapes import Bool, Int
from ..shards import LOOSE_KEYS, Shards
from ..units import with_unit

FEWEST = 10  # labelled molecules that a comparison needs


@dataclass(frozen=True)
class BenchmarkTask:
    """The labelled molecules of one task: their ids in the dataset, values in `unit`, groups.

    `groups` numbers sets of relatives, which stay on one side of every fold. `cache` starts empty
    in every object, also in one that `dataclasses.replace` makes of another.
    """

    shards: Shards
    task: str
    label: str
    unit: str
    ids: Int[np.ndarray, " row"]
    smiles: tuple[str, ...]
    values: np.ndarray
    groups: Int[np.ndarray, " row"]
    cache: dict[Hashable, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def cached(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """What `compute` returns, computed once for each key.

        The key must hold everything beside this task that decides the value (a function, a fold, a
        digest of weights). A name that a caller chose freely is no such key: it may come twice.
        """
        if key not in self.cache:
            self.cache[key] = compute()
        return self.cache[key]

    def feature_table(self, features: Callable[[tuple[str, ...]], Any]) -> Any:
        """What a function makes of the SMILES of all rows, such as fingerprints; computed once."""
        return self.cached(features, lambda: features(self.smiles))

    @property
    def dataset(self) -> str:
        """Name of the dataset's folder, which ends in the id of its content."""
        return Path(self.shards.path).name

    @property
    def axis(self) -> str:
        """Label and unit, as an axis calls them."""
        return with_unit(self.label, self.unit)

    def flag(self, column: str) -> Bool[np.ndarray, " row"]:
        """A flag of the dataset, such as `probably_censored`, row by row; False if missing."""
        if column not in self.shards.columns:
            return np.zeros(len(self.ids), bool)
        flags = self.shards.table([column])[column].to_numpy(zero_copy_only=False)
        return np.asarray(flags[self.ids], object) == True  # noqa: E712 (a missing flag is None)


def load_benchmark(
    shards: Shards, task: str | None = None, keep: Bool[np.ndarray, " mol"] | None = None
) -> BenchmarkTask:
    """The labelled molecules of a task with one label (default: the dataset's only such task).

    Groups join what shares a scaffold or a loose key, in chains, so relatives stay in one fold.
    `keep` selects
    molecules of the dataset; unknown labels are left out. Raises InputError for a task that cannot
    be compared: no such task, several labels, too few molecules, all values equal or not finite.
    """
    task = _task_with_one_label(shards, task)
    (label,) = shards.manifest["tasks"][task]["labels"]
    ids = np.asarray(shards.array(f"{task}.index"))
    values = np.asarray(shards.array(f"{task}.values"), np.float64)[:, 0]
    n_infinite = int(np.isinf(values).sum())
    if n_infinite:
        raise InputError(
            f"{n_infinite} values of task {task!r} are infinite: correct them in the table"
        )
    labelled = np.isfinite(values)
    if keep is not None:
        labelled &= np.asarray(keep)[ids]
    ids = ids[labelled]
    values = values[labelled]
    if len(ids) < FEWEST:
        raise InputError(
            f"task {task!r} of {shards.path}: {len(ids)} of {shards.n} molecules have a label, "
            f"a comparison needs at least {FEWEST}{_missing_labels(shards, label)}. "
            "Check the column, or curate more rows"
        )
    if np.ptp(values) == 0:
        raise InputError(
            f"all {len(ids)} values of task {task!r} are {values[0]:g}: there is nothing to learn"
        )
    all_smiles = shards.smiles()
    smiles = tuple(all_smiles[i] for i in ids)
    # Scaffolds of acyclic molecules are empty, and join nothing.
    groups = connected_groups(shards.table(["scaffold", *LOOSE_KEYS]).take(ids))
    return BenchmarkTask(shards, task, label["name"], label["unit"], ids, smiles, values, groups)


def _task_with_one_label(shards: Shards, task: str | None) -> str:
    """The name of a regression task with one label a molecule; the dataset's only one for None."""
    tasks = shards.manifest["tasks"]
    fitting = [
        name
        for name, declared in tasks.items()
        if declared["level"] == "molecule" and len(declared["labels"]) == 1
    ]
    if task is None and len(fitting) == 1:
        task = fitting[0]
    if task not in fitting:
        problem = f"it has no task {task!r} with one label a molecule"
        if task is None:
            problem = "no task was named"
        choice = ", ".join(fitting) or "none: curate it with a label"
        raise InputError(f"{shards.path}: {problem}; choose among {choice}")
    kind = tasks[task]["kind"]
    if kind != "regression":
        raise InputError(
            f"task {task!r} is {kind}: this comparison is of numbers (regression) only"
        )
    return task


def _missing_labels(shards: Shards, label: dict) -> str:
    """Why labels are missing, with counts, as the end of a message."""
    in_source = shards.manifest.get("molecules", {}).get("missing_in_source", {})
    reasons = in_source.get(label["name"]) or label["missing"]
    if not reasons:
        return ""
    return "; missing: " + ", ".join(f"{reason}: {n}" for reason, n in reasons.items())
