"""An assay as rows to learn from and to be judged by: labelled molecules, who belongs together,
grouped folds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..errors import InputError
from ..shapes import Bool, Int
from ..shards import Shards

FEWEST = 10  # labelled molecules


@dataclass(frozen=True)
class BenchmarkTask:
    """The labelled molecules of one dataset: ids in its corpus, SMILES, values in `unit`, and
    who belongs together.
    """

    shards: Shards
    task: str
    label: str
    unit: str
    ids: Int[np.ndarray, " row"]
    smiles: tuple[str, ...]
    values: np.ndarray
    groups: Int[np.ndarray, " row"]
    features: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    def cached(self, name: str, make: Callable[[tuple[str, ...]], np.ndarray]) -> np.ndarray:
        """A feature table of all rows, computed once."""
        if name not in self.features:
            self.features[name] = make(self.smiles)
        return self.features[name]

    @property
    def axis(self) -> str:
        """Label and unit, as an axis calls them."""
        return f"{self.label} ({self.unit})" if self.unit not in ("", "1") else self.label

    def flag(self, column: str) -> Bool[np.ndarray, " row"]:
        """A flag of the dataset, such as `probably_censored`, for the rows of the assay; all
        False if it has none.
        """
        if column not in self.shards.table().schema.names:
            return np.zeros(len(self.ids), bool)
        found = self.shards.table([column])[column].to_numpy(zero_copy_only=False)
        return np.asarray(found[self.ids], object) == True  # noqa: E712 (a missing flag is None)


def load_benchmark(
    shards: Shards, task: str | None = None, keep: Bool[np.ndarray, " mol"] | None = None
) -> BenchmarkTask:
    """The labelled molecules of a task with one label (default: the dataset's only such task).

    Groups join what shares a scaffold or a loose key, so relatives stay in one fold. `keep` selects
    molecules of the dataset; unknown labels are left out. Raises InputError for a task that cannot
    be compared: no such task, several labels, too few molecules, all values equal or not finite.
    """
    label = _only_label(shards, task)
    task = label.pop("task")
    ids = np.asarray(shards.array(f"{task}.index"))
    values = np.asarray(shards.array(f"{task}.values"), np.float64)[:, 0]
    if np.isinf(values).any():
        raise InputError(
            f"{int(np.isinf(values).sum())} values of task {task!r} are infinite: correct them in the table"
        )
    chosen = np.isfinite(values) if keep is None else np.isfinite(values) & np.asarray(keep)[ids]
    ids, values = ids[chosen], values[chosen]
    if len(ids) < FEWEST:
        missing = (
            shards.manifest.get("molecules", {}).get("missing_in_source", {}).get(label["name"])
            or label["missing"]
        )
        why = ", ".join(f"{reason}: {n}" for reason, n in missing.items())
        raise InputError(
            f"task {task!r} of {shards.path}: {len(ids)} of {shards.n} molecules have a label, a comparison needs at "
            f"least {FEWEST}"
            + (f"; missing: {why}" if why else "")
            + ". Check the column, or curate more rows"
        )
    if np.ptp(values) == 0:
        raise InputError(
            f"all {len(ids)} values of task {task!r} are {values[0]:g}: there is nothing to learn"
        )
    smiles = shards.smiles()
    kept = tuple(smiles[i] for i in ids)
    return BenchmarkTask(
        shards, task, label["name"], label["unit"], ids, kept, values, _groups(shards, ids)
    )


def _only_label(shards: Shards, task: str | None) -> dict:
    """The one label of a task, with the task's name under `task`."""
    tasks = shards.manifest["tasks"]
    fitting = [t for t, d in tasks.items() if d["level"] == "molecule" and len(d["labels"]) == 1]
    task = fitting[0] if task is None and len(fitting) == 1 else task
    if task not in fitting:
        asked = (
            "no task was named"
            if task is None
            else f"it has no task {task!r} with one label a molecule"
        )
        raise InputError(
            f"{shards.path}: {asked}; choose among {', '.join(fitting) or 'none: curate it with a label'}"
        )
    if tasks[task]["kind"] != "regression":
        raise InputError(
            f"task {task!r} is {tasks[task]['kind']}: this comparison is of numbers (regression) only"
        )
    return {"task": task} | tasks[task]["labels"][0]


def _groups(shards: Shards, ids: np.ndarray) -> np.ndarray:
    """Connected components over equal scaffolds (acyclic ones apart) and equal loose keys."""
    table = shards.table(["scaffold", "inchikey14", "tautomer_key"]).take(ids)
    n, links = len(ids), [(0, 0)]
    for column in (c.to_pylist() for c in table.columns):
        first: dict[str, int] = {}
        links += [(first.setdefault(key, i), i) for i, key in enumerate(column) if key]
    left, right = np.array(links).T
    return connected_components(
        coo_matrix((np.ones(len(links)), (left, right)), (n, n)), directed=False
    )[1]
