"""Which tasks help or hinder each other? Every pair and all together, against each alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...curation.grouping import connected_groups
from ...errors import InputError
from ...rng import hash_sample
from ...shards import LOOSE_KEYS, Shards
from ..folds import Fold, make_folds
from .arms import AGAIN, ALONE, REPLICATE_SEED
from .auxiliary import molecule_values
from .curves import Setup
from .design import relative_change, resolvable
from .trials import Tested, Trial, run_trials, trials_table

ALL = "all tasks"


@dataclass(frozen=True)
class Interference:
    """Tasks of a dataset: alone, in pairs and all together, on the same molecules; a run a fold.

    All runs have as many steps. Tasks of molecules are tested; those of atoms, bonds and pairs can
    stand beside them. Alone each is learnt once more with other seeds: what that changes is noise.
    """

    shards: Shards
    folds: tuple[Fold, ...]
    setup: Setup
    n_train: int | None = None  # molecules of a fold's training rows that are learnt from

    @property
    def tested(self) -> list[str]:
        """Tasks that are tested: those of molecules."""
        return [name for name, task in self.shards.tasks.items() if task["level"] == "molecule"]

    def stages(self) -> list[list[Trial]]:
        """A trial a set of tasks, fold and tested task: first those that train, then the others.

        All tasks of a set are tested by one run.
        """
        stages: tuple[dict[Path, Trial], list[Trial]] = ({}, [])
        for target in self.tested:
            others = [name for name in self.shards.tasks if name != target]
            if len(others) > 1:  # of two tasks the pair is all
                others.append(ALL)
            for beside in (ALONE, AGAIN, *others):
                for number in range(len(self.folds)):
                    trial = self._trial(target, beside, number)
                    if trial.folder in stages[0]:
                        stages[1].append(trial)
                    else:
                        stages[0][trial.folder] = trial
        return [list(stages[0].values()), stages[1]]

    def _trial(self, target: str, beside: str, number: int) -> Trial:
        fold = self.folds[number]
        seed = self.setup.seed + number
        if beside in (ALONE, AGAIN):
            tasks = (target,)
            name = target
        elif beside == ALL:
            tasks = tuple(self.shards.tasks)
            name = "all"
        else:
            tasks = tuple(sorted((target, beside)))
            name = "-".join(tasks)
        if beside == AGAIN:
            seed += REPLICATE_SEED
            name = f"{target}-again"
        learnt = hash_sample(fold.train, self.n_train)
        config = self.setup.settings.of_others(
            [self.shards],
            **{
                "seed": seed,
                "train_ids": tuple(learnt.tolist()),
                "objective.task_names": tasks,
            },
        )
        names, values = molecule_values(self.shards, (target,))
        scales = tuple(np.nanstd(values[learnt], 0).tolist())
        return Trial(
            config,
            self.setup.folder / f"{name}-fold{number}",
            {"task": target, "beside": beside, "fold": number},
            Tested(target, tuple(names), fold.test, values[fold.test], scales),
        )

    def run(
        self, workers: int | None = None, watch: Callable[[int, int], Any] | None = None
    ) -> int:
        """Train and test what is not done yet; returns how many trials it was."""
        return run_trials(self.stages(), workers, watch)

    def table(self) -> pd.DataFrame:
        """A row a finished trial; `mae` is the mean over labels in standard deviations."""
        return trials_table([trial for stage in self.stages() for trial in stage])

    def matrix(self) -> pd.DataFrame:
        """A row a task and what is `beside` it: by how many percent the error of `task` changes.

        `smallest` is the change that would be found in four of five repetitions.
        """
        table = self.table()
        test_to_train = float(np.mean([len(f.test) / len(f.train) for f in self.folds]))
        rows = []
        for target in self.tested:
            errors = table[table["task"] == target].pivot(
                index="fold", columns="beside", values="mae"
            )
            noise = np.log(errors[AGAIN] / errors[ALONE]).to_numpy()
            smallest = float(100 * np.expm1(resolvable(noise, test_to_train)))
            for beside in errors.columns.drop([ALONE, AGAIN]):
                logs = np.log(errors[beside] / errors[ALONE]).to_numpy()
                change = relative_change(logs, test_to_train)
                rows.append(
                    {
                        "task": target,
                        "beside": beside,
                        "mae alone": float(errors[ALONE].mean()),
                        "change": change.mean,
                        "low": change.low,
                        "high": change.high,
                        "smallest": smallest,
                    }
                )
        return pd.DataFrame(rows)


def make_interference(shards: Shards, setup: Setup, n_train: int | None = None) -> Interference:
    """The interference of a dataset's tasks, on folds that part no relatives."""
    if len(shards.tasks) < 2:
        raise InputError(
            f"{shards.path} has {len(shards.tasks)} task: interference takes two or more"
        )
    groups = connected_groups(shards.table(["scaffold", *LOOSE_KEYS]))
    folds = make_folds(groups, setup.n_fold, setup.seed)
    return Interference(shards, tuple(folds), setup, n_train)
