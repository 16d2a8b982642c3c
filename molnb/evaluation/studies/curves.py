"""A learning curve with controls: every arm on the same folds and labels, and what to compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...errors import InputError
from ..benchmark import BenchmarkTask
from ..comparison import Method
from ..folds import Fold
from ..statistics import Interval, corrected_interval
from .arms import AGAIN, ALONE, REPLICATE, Arm, Settings, make_learning, make_pretraining
from .design import Design, make_design, relative_change, resolvable
from .trials import Tested, Trial, run_trials, trials_table


@dataclass(frozen=True)
class Setup:
    """How a study is carried out: training, place, folds and seeds, the same for all its curves."""

    settings: Settings
    folder: Path
    n_fold: int = 5
    n_seed: int = 1
    seed: int = 0

    def curve(
        self, name: str, assay: BenchmarkTask, arms: Sequence[Arm], sizes: Sequence[int]
    ) -> LearningCurve:
        """The learning curve of some arms on an assay."""
        design = make_design(assay, sizes, self.n_fold, self.seed)
        return LearningCurve(
            name, assay, tuple(arms), design, self.settings, self.folder, self.n_seed
        )


@dataclass(frozen=True)
class LearningCurve:
    """An assay, arms that learn it, and numbers of labels: one panel of a study.

    `n_seed` runs a fold, whose errors are averaged before anything is compared: what folds differ
    by is then less the luck of a seed.
    """

    name: str
    assay: BenchmarkTask
    arms: tuple[Arm, ...]
    design: Design
    settings: Settings
    folder: Path
    n_seed: int = 1

    def stages(self, arms: Sequence[str] | None = None) -> list[list[Trial]]:
        """All trials, or those of some arms: first those that others start from."""
        first = {trial.folder: trial for trial in self._pretrainings(arms)}
        return [list(first.values()), list(self.trials(arms))]

    def _chosen(self, names: Sequence[str] | None) -> list[Arm]:
        return [arm for arm in self.arms if names is None or arm.name in names]

    def _pretrainings(self, arms: Sequence[str] | None) -> Iterator[Trial]:
        for arm in self._chosen(arms):
            for seed in range(self.n_seed):
                trial = make_pretraining(
                    arm, self.assay, self.settings, arm.seed + seed, self.folder
                )
                if trial is not None:
                    yield trial

    def trials(self, arms: Sequence[str] | None = None) -> Iterator[Trial]:
        """The tested trials, of some arms."""
        for arm in self._chosen(arms):
            for seed in range(self.n_seed):
                start = make_pretraining(
                    arm, self.assay, self.settings, arm.seed + seed, self.folder
                )
                for size in self.design.sizes:
                    for number in range(len(self.design.folds)):
                        yield self._trial(arm, size, number, seed, start)

    def _trial(self, arm: Arm, size: int, number: int, seed: int, start: Trial | None) -> Trial:
        of_fold = 1_000 * number + arm.seed + seed
        rows = self.design.learnt(number, size)
        config = make_learning(
            arm, self.assay, rows, self.settings, of_fold, start and start.folder.resolve()
        )
        test = self.design.folds[number].test
        return Trial(
            config,
            self.folder / f"{arm.folder}-{size}-fold{number}-seed{seed}",
            {
                "panel": self.name,
                "arm": arm.name,
                "role": arm.role,
                "size": size,
                "fold": number,
                "seed": seed,
            },
            Tested(
                self.assay.task,
                (self.assay.label,),
                self.assay.ids[test],
                self.assay.values[test, None],
                (1.0,),
            ),
        )

    def run(
        self,
        workers: int | None = None,
        watch: Callable[[int, int], Any] | None = None,
        arms: Sequence[str] | None = None,
    ) -> int:
        """Train and test what is not done yet, see `run_trials`; returns how many trials it was."""
        return run_trials(self.stages(arms), workers, watch)

    def table(self) -> pd.DataFrame:
        """A row a finished trial, see `trials_table`."""
        return trials_table(list(self.trials()))

    def classical(self, methods: Mapping[str, Method]) -> pd.DataFrame:
        """The same rows for methods without a network, on the same labels and test rows."""
        rows = []
        for name, method in methods.items():
            for size in self.design.sizes:
                for number, fold in enumerate(self.design.folds):
                    learnt = Fold(self.design.learnt(number, size), fold.test)
                    answers = method(self.assay, learnt, number).test
                    key = {"panel": self.name, "arm": name, "role": "classical", "size": size}
                    mae = float(np.abs(answers - self.assay.values[fold.test]).mean())
                    rows.append(key | {"fold": number, "seed": 0, "mae": mae})
        return pd.DataFrame(rows)

    def smallest_differences(self, table: pd.DataFrame) -> pd.DataFrame:
        """What the design can resolve, a row a size: from the reference and its repetition alone.

        `resolvable` is in the unit of the label, `in_percent` of the error of the reference.
        """
        rows = []
        for size in self.design.sizes:
            by_fold = _by_fold(table, size)
            if AGAIN not in by_fold or ALONE not in by_fold:
                raise InputError(
                    f"what {self.name} can resolve is known once {ALONE!r} and {AGAIN!r} have run"
                )
            differences = (by_fold[AGAIN] - by_fold[ALONE]).to_numpy()
            smallest = resolvable(differences, self.design.correction(size))
            reference = float(by_fold[ALONE].mean())
            rows.append(
                {
                    "size": size,
                    "mae": reference,
                    "resolvable": smallest,
                    "in_percent": 100 * smallest / reference,
                    "overlap": self.design.overlap(size),
                }
            )
        return pd.DataFrame(rows)

    def smallest_change(self, table: pd.DataFrame) -> float:
        """What the design can resolve over all sizes together, in percent of the error."""
        logs = []
        for size in self.design.sizes:
            by_fold = _by_fold(table, size)
            logs.append(np.log(by_fold[AGAIN] / by_fold[ALONE]).to_numpy())
        return float(100 * np.expm1(resolvable(np.mean(logs, 0), self._largest_correction)))

    @property
    def _largest_correction(self) -> float:
        """That of the size at which training sets share most: for means over sizes."""
        return max(self.design.correction(size) for size in self.design.sizes)

    def differences(self, table: pd.DataFrame, reference: str = ALONE) -> pd.DataFrame:
        """Each arm minus a reference, paired by fold, a row an arm and size; with intervals.

        The last rows, of size 0, are over all sizes: the mean of the relative changes of the error.
        """
        rows = []
        for arm in dict.fromkeys(table["arm"]):
            if arm == reference:
                continue
            of_arm = table[table["arm"] == arm]
            logs = []
            for size in self.design.sizes:
                by_fold = _by_fold(table, size)
                if arm not in by_fold or by_fold[arm].isna().any():
                    continue
                pair = by_fold[[arm, reference]].to_numpy()
                correction = self.design.correction(size)
                interval = corrected_interval(pair[:, 0] - pair[:, 1], correction)
                logs.append(np.log(pair[:, 0] / pair[:, 1]))
                rows.append(self._difference(of_arm, size, interval, float(pair[:, 0].mean())))
            if logs:
                percent = relative_change(np.mean(logs, 0), self._largest_correction)
                rows.append(self._difference(of_arm, 0, percent, float("nan")))
        return pd.DataFrame(rows)

    def _difference(
        self, of_arm: pd.DataFrame, size: int, interval: Interval, mae: float
    ) -> dict[str, Any]:
        first = of_arm.iloc[0]
        key = {"panel": self.name, "arm": first["arm"], "role": first["role"], "size": size}
        return key | {"mae": mae} | interval._asdict()

    def verdicts(self, table: pd.DataFrame, reference: str = ALONE) -> dict[str, Interval]:
        """Of each arm the relative change of its error against a reference, in percent."""
        rows = self.differences(table, reference)
        overall = rows[(rows["size"] == 0) & (rows["role"] != REPLICATE)]
        return {
            row.arm: Interval(row.mean, row.low, row.high, row.p)
            for row in overall.itertuples(index=False)
        }


def _by_fold(table: pd.DataFrame, size: int) -> pd.DataFrame:
    """Errors of a size, a row a fold and a column an arm; means over seeds."""
    of_size = table[table["size"] == size]
    return of_size.pivot_table(index="fold", columns="arm", values="mae", aggfunc="mean")
