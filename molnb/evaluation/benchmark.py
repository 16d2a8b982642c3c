"""A benchmark task: the labelled molecules of one dataset, and which of them are relatives."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..curation.grouping import connected_groups
from ..data.tasks import class_names
from ..errors import InputError, did_you_mean
from ..shapes import Bool, Int
from ..shards import LOOSE_KEYS, Shards, label_numbers
from ..units import readable, with_unit
from .metrics import BINARY, REGRESSION

FEWEST = 10  # labelled molecules that a comparison needs


@dataclass(frozen=True)
class BenchmarkTask:
    """The labelled molecules of one label: their ids in the dataset, values in `unit`, groups.

    `groups` numbers sets of relatives, which stay on one side of every fold. The values of a task
    of `kind` binary are 0 and 1, called by the names in `classes`, and what methods predict is the
    probability of 1; those of a regression are numbers. `cache` starts empty in every object, also
    in one that `dataclasses.replace` makes of another.
    """

    shards: Shards
    task: str
    label: str
    unit: str
    ids: Int[np.ndarray, " row"]
    smiles: tuple[str, ...]
    values: np.ndarray
    groups: Int[np.ndarray, " row"]
    kind: str = REGRESSION
    classes: tuple[str, ...] = ()
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
        """Label and unit, as an axis calls them; of a binary label what class 1 is called."""
        if self.kind == BINARY:
            name = self.classes[1] if self.classes else "1"
            return self.label if name == "1" else f"{self.label}: {name}"
        return with_unit(self.label, self.unit)

    def named(self, value: float) -> str:
        """A value as text; a class with its name, where it has one beside its number."""
        if self.kind == REGRESSION:
            return readable(value, 2)
        number = str(int(value))
        name = self.classes[int(value)] if self.classes else number
        return number if name == number else f"{number} ({name})"

    def flag(self, column: str) -> Bool[np.ndarray, " row"]:
        """A flag of the dataset, such as `probably_censored`, row by row; False if missing."""
        if column not in self.shards.columns:
            return np.zeros(len(self.ids), bool)
        flags = self.shards.table([column])[column].to_numpy(zero_copy_only=False)
        return np.asarray(flags[self.ids], object) == True  # noqa: E712 (a missing flag is None)


def load_benchmark(
    shards: Shards,
    task: str | None = None,
    keep: Bool[np.ndarray, " mol"] | None = None,
    label: str | None = None,
) -> BenchmarkTask:
    """The molecules with a known label: of a task (default: the dataset's only one that fits).

    A task of several labels is compared one label at a time, which `label` names. Groups join what
    shares a scaffold or a loose key, in chains, so relatives stay in one fold. `keep` selects
    molecules of the dataset; unknown labels are left out. Raises InputError for a label that cannot
    be compared: no such task, more than two classes, too few molecules, all values equal, not
    finite, or none of the classes.
    """
    task = _fitting_task(shards, task, label)
    declared = shards.manifest["tasks"][task]
    names = [entry["name"] for entry in declared["labels"]]
    column = names.index(label) if label is not None else 0
    chosen = declared["labels"][column]
    ids = np.asarray(shards.array(f"{task}.index"))
    values = _values_of(shards, task, column)
    _check_finite(values, task)
    labelled = np.isfinite(values)
    if keep is not None:
        labelled &= np.asarray(keep)[ids]
    ids = ids[labelled]
    values = values[labelled]
    if len(ids) < FEWEST:
        raise InputError(
            f"task {task!r} of {shards.path}: {len(ids)} of {shards.n} molecules have a label, "
            f"a comparison needs at least {FEWEST}{_missing_labels(shards, chosen)}. "
            "Check the column, or curate more rows"
        )
    _check_values(values, task, declared["kind"])
    all_smiles = shards.smiles()
    smiles = tuple(all_smiles[i] for i in ids)
    # Scaffolds of acyclic molecules are empty, and join nothing.
    groups = connected_groups(shards.table(["scaffold", *LOOSE_KEYS]).take(ids))
    return BenchmarkTask(
        shards=shards,
        task=task,
        label=chosen["name"],
        unit=chosen["unit"],
        ids=ids,
        smiles=smiles,
        values=values,
        groups=groups,
        kind=declared["kind"],
        classes=class_names(declared["kind"], chosen),
    )


def _values_of(shards: Shards, task: str, column: int) -> np.ndarray:
    """Values of one label for each molecule of a task, float64; NaN where unknown."""
    values = shards.array(f"{task}.values")
    if values.ndim == 2:
        return label_numbers(values[:, column])
    # known values of all labels one after another, each with the number of its label
    found = np.flatnonzero(shards.array(f"{task}.label") == column)
    offset = shards.array(f"{task}.offset")
    numbers = np.full(len(offset) - 1, np.nan)
    numbers[np.searchsorted(offset, found, side="right") - 1] = label_numbers(values[found])
    return numbers


def _check_finite(values: np.ndarray, task: str) -> None:
    n_infinite = int(np.isinf(values).sum())
    if n_infinite:
        raise InputError(
            f"{n_infinite} values of task {task!r} are infinite: correct them in the table"
        )


def _check_values(values: np.ndarray, task: str, kind: str) -> None:
    """Raise InputError where there is nothing to learn, or a binary value is neither 0 nor 1."""
    if np.ptp(values) == 0:
        raise InputError(
            f"all {len(values)} values of task {task!r} are {values[0]:g}: there is nothing to "
            "learn"
        )
    wrong = values[(values != 0) & (values != 1)]
    if kind == BINARY and len(wrong):
        raise InputError(
            f"task {task!r} is binary, but {len(wrong)} of its {len(values)} values are neither 0 "
            f"nor 1 (the first is {wrong[0]:.7g}): say in the recipe which values stand for which "
            "class, and curate again"
        )


def _fitting_task(shards: Shards, task: str | None, label: str | None) -> str:
    """The name of the task that is meant: of molecules, with one label or the one that is named."""
    fitting = [
        name
        for name, declared in shards.manifest["tasks"].items()
        if declared["level"] == "molecule" and _has_one(declared["labels"], label)
    ]
    if task is None and len(fitting) == 1:
        task = fitting[0]
    if task not in fitting:
        raise InputError(f"{shards.path}: {_no_task(shards, fitting, task, label)}")
    kind = shards.manifest["tasks"][task]["kind"]
    if kind not in (REGRESSION, BINARY):
        raise InputError(
            f"task {task!r} has more than two classes: this comparison is of numbers and of binary "
            "labels only. Declare one class against the others, or see the scores of a run "
            "(molnb.evaluate)"
        )
    return task


def _has_one(labels: list[dict], label: str | None) -> bool:
    """Whether a task's labels say which is meant: the one named, or there is one only."""
    if label is None:
        return len(labels) == 1
    return label in [entry["name"] for entry in labels]


def _no_task(shards: Shards, fitting: list[str], task: str | None, label: str | None) -> str:
    """What is wrong with a choice of task and label, and what to choose from."""
    choice = ", ".join(fitting) or "none: curate it with a label"
    several = shards.manifest["tasks"].get(task)
    if several is not None and several["level"] == "molecule":
        names = [entry["name"] for entry in several["labels"]]
        if label is None:
            return f"task {task!r} has {len(names)} labels; name one (label=): {', '.join(names)}"
        near = did_you_mean(label, names)
        return f"task {task!r} has no label {label!r}{near}; it has {', '.join(names)}"
    meant = "one label a molecule" if label is None else f"a label {label!r} of molecules"
    if task is None:
        if not fitting:
            return f"no task was named; choose among none with {meant}: curate it with a label"
        return f"no task was named; choose among {choice}"
    return f"it has no task {task!r} with {meant}; choose among {choice}"


def _missing_labels(shards: Shards, label: dict) -> str:
    """Why labels are missing, with counts, as the end of a message."""
    in_source = shards.manifest.get("molecules", {}).get("missing_in_source", {})
    reasons = in_source.get(label["name"]) or label["missing"]
    if not reasons:
        return ""
    return "; missing: " + ", ".join(f"{reason}: {n}" for reason, n in reasons.items())
