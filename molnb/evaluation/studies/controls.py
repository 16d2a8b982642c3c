"""Can the study find a gain that is there, and none that is not? Planted labels, many times.

Half of a dataset's molecules, drawn anew each time, are an assay with a few labels; the other half
has the target and noise as auxiliary labels, and as control the same ones shuffled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ...curation.grouping import connected_groups
from ...curation.relabelled import shuffled_labels
from ...rng import hash64
from ...shards import LOOSE_KEYS, Shards
from ..benchmark import load_benchmark
from .arms import ALONE, BEFORE, NEGATIVE, QUESTION, REFERENCE, Arm
from .auxiliary import PLANTED, with_planted, with_target
from .curves import LearningCurve, Setup
from .trials import run_trials

SHUFFLED = "planted, shuffled"
_HALF = 501  # a channel of random numbers


@dataclass(frozen=True)
class Controls:
    """One learning curve a seed, of one size, with planted and with shuffled auxiliary labels."""

    curves: tuple[LearningCurve, ...]

    def run(
        self, workers: int | None = None, watch: Callable[[int, int], Any] | None = None
    ) -> int:
        """Train and test what is not done yet; returns how many trials it was."""
        stages = [curve.stages() for curve in self.curves]
        return run_trials([[t for s in stages for t in s[n]] for n in range(2)], workers, watch)

    def table(self) -> pd.DataFrame:
        """A row a finished trial of all seeds."""
        return pd.concat([curve.table() for curve in self.curves], ignore_index=True)

    def found(self) -> pd.DataFrame:
        """A row a seed and arm: the change of the error (%), and whether a gain was found."""
        rows = []
        for number, curve in enumerate(self.curves):
            for arm, change in curve.verdicts(curve.table()).items():
                row = {"seed": number, "arm": arm, **change._asdict()}
                rows.append(row | {"gain found": change.high < 0})
        return pd.DataFrame(rows)

    def conclusions(self) -> list[str]:
        """How often a gain was found where there is one, and where there is none."""
        found = self.found()
        counts = found.groupby("arm")["gain found"].sum()
        n = len(self.curves)
        return [
            f"Planted labels: a gain was found in {int(counts[PLANTED])} of {n} seeds.",
            f"The same, shuffled: a gain was found in {int(counts[SHUFFLED])} of {n} seeds.",
        ]


def make_controls(
    shards: Shards,
    task: str,
    label: str,
    setup: Setup,
    seeds: Sequence[int] = range(10),
    size: int = 100,
    correlation: float = 0.9,
) -> Controls:
    """The controls on a label of a dataset's molecules, for some seeds."""
    curves = []
    for seed in seeds:
        of_assay, others = halves(shards, seed)
        assay = load_benchmark(with_target(shards, task, label, of_assay))
        planted = with_planted(shards, task, label, correlation, others, seed)
        arms = (
            Arm(ALONE, REFERENCE, seed=seed),
            Arm(PLANTED, QUESTION, BEFORE, (planted,), seed=seed),
            Arm(SHUFFLED, NEGATIVE, BEFORE, (shuffled_labels(planted, seed),), seed=seed),
        )
        of_seed = replace(setup, seed=seed, folder=setup.folder / f"seed{seed}")
        name = f"{label} of {shards.name}, seed {seed}"
        curves.append(of_seed.curve(name, assay, arms, (size,)))
    return Controls(tuple(curves))


def halves(shards: Shards, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Molecules of a dataset in two halves, relatives (by scaffold or loose key) together."""
    groups = connected_groups(shards.table(["scaffold", *LOOSE_KEYS]))
    in_first = hash64(seed, _HALF, groups) % np.uint64(2) == 0
    return np.flatnonzero(in_first), np.flatnonzero(~in_first)
