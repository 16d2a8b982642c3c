"""An assay as rows to learn from and to be judged by: labelled molecules, who belongs together, grouped folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .draws import hash64
from .errors import Refused
from .shapes import Bool, Int
from .shards import Shards

FEWEST = 10  # labelled molecules


class Fold(NamedTuple):
    """Rows of an assay: what a method may learn from, and what it is judged by."""

    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]


@dataclass(frozen=True)
class Assay:
    """The labelled molecules of one dataset: ids in its corpus, SMILES, values in `unit`, and who belongs together."""

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
        """A flag of the dataset, such as `probably_censored`, for the rows of the assay; all False if it has none."""
        if column not in self.shards.table().schema.names:
            return np.zeros(len(self.ids), bool)
        found = self.shards.table([column])[column].to_numpy(zero_copy_only=False)
        return np.asarray(found[self.ids], object) == True  # noqa: E712 (a missing flag is None)


def load_assay(shards: Shards, task: str | None = None, keep: Bool[np.ndarray, " mol"] | None = None) -> Assay:
    """The labelled molecules of a task with one label (default: the dataset's only such task).

    Groups join what shares a scaffold or a loose key, so relatives stay in one fold. `keep` selects molecules of the
    dataset; unknown labels are left out. Raises Refused for a task that cannot be compared: no such task, several
    labels, too few molecules, all values equal or not finite.
    """
    label = _only_label(shards, task)
    task = label.pop("task")
    ids = np.asarray(shards.array(f"{task}.index"))
    values = np.asarray(shards.array(f"{task}.values"), np.float64)[:, 0]
    if np.isinf(values).any():
        raise Refused(f"{int(np.isinf(values).sum())} values of task {task!r} are infinite: correct them in the table")
    chosen = np.isfinite(values) if keep is None else np.isfinite(values) & np.asarray(keep)[ids]
    ids, values = ids[chosen], values[chosen]
    if len(ids) < FEWEST:
        missing = (
            shards.manifest.get("molecules", {}).get("missing_in_source", {}).get(label["name"]) or label["missing"]
        )
        why = ", ".join(f"{reason}: {n}" for reason, n in missing.items())
        raise Refused(
            f"task {task!r} of {shards.path}: {len(ids)} of {shards.n} molecules have a label, a comparison needs at "
            f"least {FEWEST}" + (f"; missing: {why}" if why else "") + ". Check the column, or curate more rows"
        )
    if np.ptp(values) == 0:
        raise Refused(f"all {len(ids)} values of task {task!r} are {values[0]:g}: there is nothing to learn")
    smiles = shards.smiles()
    kept = tuple(smiles[i] for i in ids)
    return Assay(shards, task, label["name"], label["unit"], ids, kept, values, _groups(shards, ids))


def _only_label(shards: Shards, task: str | None) -> dict:
    """The one label of a task, with the task's name under `task`."""
    tasks = shards.manifest["tasks"]
    fitting = [t for t, d in tasks.items() if d["level"] == "molecule" and len(d["labels"]) == 1]
    task = fitting[0] if task is None and len(fitting) == 1 else task
    if task not in fitting:
        asked = "no task was named" if task is None else f"it has no task {task!r} with one label a molecule"
        raise Refused(f"{shards.path}: {asked}; choose among {', '.join(fitting) or 'none: curate it with a label'}")
    if tasks[task]["kind"] != "regression":
        raise Refused(f"task {task!r} is {tasks[task]['kind']}: this comparison is of numbers (regression) only")
    return {"task": task} | tasks[task]["labels"][0]


def _groups(shards: Shards, ids: np.ndarray) -> np.ndarray:
    """Connected components over equal scaffolds (acyclic ones apart) and equal loose keys."""
    table = shards.table(["scaffold", "inchikey14", "tautomer_key"]).take(ids)
    n, links = len(ids), [(0, 0)]
    for column in (c.to_pylist() for c in table.columns):
        first: dict[str, int] = {}
        links += [(first.setdefault(key, i), i) for i, key in enumerate(column) if key]
    left, right = np.array(links).T
    return connected_components(coo_matrix((np.ones(len(links)), (left, right)), (n, n)), directed=False)[1]


def make_folds(groups: Int[np.ndarray, " row"], n_fold: int = 5, seed: int = 0) -> list[Fold]:
    """Folds that never part a group: the largest groups first, each into the fold that is emptiest.

    Groups of one size come in an order drawn from `seed`. Raises Refused if there are fewer groups than folds.
    """
    if n_fold < 2:
        raise Refused(f"{n_fold} folds leave nothing to learn from or nothing to judge by: use 2 or more")
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < n_fold:
        raise Refused(f"{len(names)} groups cannot fill {n_fold} folds: use fewer folds, or random_folds by molecule")
    filled, fold_of = np.zeros(n_fold), np.zeros(len(names), int)
    for group in np.lexsort((hash64(seed, names), -sizes)):
        fold_of[group] = filled.argmin()
        filled[filled.argmin()] += sizes[group]
    side = fold_of[inverse]
    return [Fold(np.flatnonzero(side != k), np.flatnonzero(side == k)) for k in range(n_fold)]


def random_folds(n: int, n_fold: int = 5, seed: int = 0) -> list[Fold]:
    """Folds by molecule: interpolation inside a series, for comparison with grouped folds."""
    return make_folds(np.arange(n), n_fold, seed)


def inner_split(assay: Assay, fold: Fold, share: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Training rows of a fold divided once more, by group, for early stopping: (learn from, stop by).

    No test row is looked at. Groups are drawn until `share` of the rows is reached; a group of more than twice that is
    passed over, and single molecules are drawn where no group fits.
    """
    groups = assay.groups[fold.train]
    names = np.unique(groups)
    wanted, held, count = share * len(fold.train), [], 0
    for name in names[np.argsort(hash64(seed, 1, names))]:
        size = int((groups == name).sum())
        if count < wanted and size <= max(2 * wanted, 1):
            held.append(name)
            count += size
    stop = np.isin(groups, held)
    if stop.all() or not stop.any():  # one group, or none small enough
        stop = hash64(seed, 2, np.arange(len(groups))) % np.uint64(round(1 / share)) == 0
    if stop.all() or not stop.any():
        stop = np.arange(len(groups)) == 0
    return fold.train[~stop], fold.train[stop]
