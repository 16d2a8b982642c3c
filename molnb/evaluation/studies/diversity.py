"""Many kinds of labels on few molecules, or few kinds on many? At one number of labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from ...curation.relabelled import NewTask, relabel
from ...errors import InputError
from ...rng import hash64
from ...shards import Shards
from ..benchmark import BenchmarkTask
from .arms import AGAIN, ALONE, BEFORE, QUESTION, Arm, auxiliary_ids, reference_arms
from .auxiliary import molecule_values
from .curves import LearningCurve, Setup
from .design import relative_change

MOST_SUBSETS = 4  # of labels, of one number of them
_DRAW = 601  # a channel of random numbers


def make_diversity(
    assay: BenchmarkTask,
    quantum: Shards,
    budget: int,
    numbers: Sequence[int],
    setup: Setup,
    size: int = 100,
) -> LearningCurve:
    """Arms with `budget` labels each: of k kinds on budget / k molecules, for some numbers k.

    Of each k some subsets of the quantum labels, drawn by seed. Raises InputError where a k needs
    more kinds or more molecules than there are.
    """
    names, values = molecule_values(quantum)
    n_all = len(auxiliary_ids(Arm("all", QUESTION, BEFORE, (quantum,)), assay))
    arms = reference_arms(setup.seed)
    for k in numbers:
        n_mol = budget // max(k, 1)
        if not 1 <= k <= len(names) or not 1 <= n_mol <= n_all:
            raise InputError(
                f"{budget:,} labels of {k} kinds need {n_mol:,} molecules: {quantum.path.name} has "
                f"{len(names)} kinds and {n_all:,} molecules that are not in the assay; give a "
                "smaller budget or other numbers"
            )
        for subset in _subsets(len(names), k, setup.seed):
            chosen = [names[column] for column in subset]
            shards = _with_labels(quantum, chosen, values[:, list(subset)])
            name = f"{k} x {n_mol:,}: {', '.join(chosen)}"
            arms.append(Arm(name, QUESTION, BEFORE, (shards,), n=n_mol, seed=setup.seed))
    name = f"{assay.label} of {assay.shards.name}, {size} labels"
    return setup.curve(name, assay, arms, (size,))


def _subsets(n: int, k: int, seed: int) -> list[tuple[int, ...]]:
    """Some subsets of k of n labels, in an order drawn by seed."""
    every = list(combinations(range(n), k))
    drawn = np.argsort(hash64(seed, _DRAW, k, np.arange(len(every))))
    return [every[position] for position in drawn[:MOST_SUBSETS]]


def _with_labels(shards: Shards, names: Sequence[str], values: np.ndarray) -> Shards:
    """The molecules with some of their labels alone, a task each."""
    declared = {label["name"]: label for task in shards.tasks.values() for label in task["labels"]}
    tasks = [
        NewTask(
            name=f"one_{name}",
            labels=(name,),
            quantities=(declared[name]["quantity"],),
            units=(declared[name]["unit"],),
            values=values[:, [column]],
            origin=declared[name]["theory"],
        )
        for column, name in enumerate(names)
    ]
    return relabel(shards, f"{shards.name}_some", tasks)


def by_number(curve: LearningCurve) -> pd.DataFrame:
    """A row a number of kinds: the change of the error in percent, over subsets and folds."""
    table = curve.table()
    (size,) = curve.design.sizes
    errors = table.pivot_table(index="fold", columns="arm", values="mae", aggfunc="mean")
    logs = np.log(errors.drop(columns=[ALONE, AGAIN]).div(errors[ALONE], axis=0))
    kinds = pd.Series({name: int(name.partition(" ")[0]) for name in logs})
    correction = curve.design.correction(size)
    rows = []
    for k in sorted(kinds.unique()):
        of_number = logs[kinds.index[kinds == k]]
        change = relative_change(of_number.mean(axis=1).to_numpy(), correction)
        rows.append(
            {
                "kinds of labels": k,
                "subsets": of_number.shape[1],
                "change": change.mean,
                "low": change.low,
                "high": change.high,
                # how much it matters which labels they are
                "spread over subsets": 100 * float(of_number.mean().std(ddof=0)),
            }
        )
    return pd.DataFrame(rows)
