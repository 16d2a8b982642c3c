"""Arms of a study: ways to learn a small assay with, or without, other data; and their runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...data.tasks import dataset_names
from ...errors import InputError
from ...objectives.pretraining import Pretrain
from ...objectives.supervised import Supervised
from ...rng import hash_sample
from ...shapes import Int
from ...shards import Shards
from ...training.config import RunConfig
from ...training.overrides import change
from ...training.presets import make_preset
from ..benchmark import BenchmarkTask
from .auxiliary import unrelated
from .trials import Trial

ALONE = "alone"
AGAIN = "alone, other seeds"
# What an arm is there for.
REFERENCE = "reference"
REPLICATE = "replicate"  # the reference again: their differences are noise
QUESTION = "question"
NEGATIVE = "negative control"
CEILING = "ceiling"
# When other data are learnt: before the assay is fine-tuned on, together with it, or in place of
# labels the molecules' own masked atoms, before.
BEFORE = "before"
TOGETHER = "together"
MASKED = "masked"


@dataclass(frozen=True)
class Arm:
    """One way to learn an assay: other data and when they are learnt, or arrays as inputs.

    `auxiliary` are sets of other molecules, `tasks` what is learnt of them (default: all); `n`
    takes that many of them. `beside` names arrays of the assay's molecules that its head reads.
    """

    name: str
    role: str
    how: str = ALONE
    auxiliary: tuple[Shards, ...] = ()
    tasks: tuple[str, ...] = ()
    n: int | None = None
    beside: tuple[str, ...] = ()
    seed: int = 0  # added to those of the fold

    @property
    def folder(self) -> str:
        """The name of the arm as part of a path."""
        return "".join(c if c.isalnum() else "_" for c in self.name)


REPLICATE_SEED = 500  # added to the seeds of what is repeated


def reference_arms(seed: int) -> list[Arm]:
    """The assay alone, and once more with other seeds: what they differ by is noise."""
    return [Arm(ALONE, REFERENCE, seed=seed), Arm(AGAIN, REPLICATE, seed=seed + REPLICATE_SEED)]


@dataclass(frozen=True)
class Settings:
    """How long and with which network the arms of a study learn; the same for all of them.

    On n labels of the assay that is `steps` and `epochs` of them in batches of `batch`, on other
    data `auxiliary_steps` of `auxiliary_batch`. Together both are drawn as often as one after the
    other, in batches as of other data. Nothing is validated and nothing stops early: a choice by a
    few of 25 labels would be noise. There is no dropout: with it small training sets are not even
    learnt in this time. `changes` are fields of the preset.
    """

    preset: str = "assay_gated_gcn"
    steps: int = 100
    epochs: float = 32.0
    batch: int = 32
    auxiliary_steps: int = 800
    auxiliary_batch: int = 128
    learning_rate: float = 5e-4
    auxiliary_learning_rate: float = 1e-3
    changes: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self):
        for name in ("batch", "auxiliary_steps", "auxiliary_batch"):
            if getattr(self, name) < 1:
                raise InputError(f"settings.{name} is {getattr(self, name)}: give 1 or more")

    def steps_on(self, n: int) -> int:
        """Steps on n labels of the assay."""
        return self.steps + round(self.epochs * n / self.batch)

    def together(self, n: int) -> tuple[int, float]:
        """Steps of `auxiliary_batch` on n labels and other data, and the share of the former."""
        of_assay = self.steps_on(n) * self.batch
        of_both = of_assay + self.auxiliary_steps * self.auxiliary_batch
        return round(of_both / self.auxiliary_batch), of_assay / of_both

    def of_assay(self, data: list[Shards], n: int, **changes: Any) -> RunConfig:
        """The run on n labels of the assay."""
        return self._config(data, self.steps_on(n), self.batch, self.learning_rate, **changes)

    def of_others(self, data: list[Shards], steps: int | None = None, **changes: Any) -> RunConfig:
        """The run on other data, or on both in as many steps as given."""
        steps = self.auxiliary_steps if steps is None else steps
        rate = self.auxiliary_learning_rate
        return self._config(data, steps, self.auxiliary_batch, rate, **changes)

    def _config(
        self, data: list[Shards], steps: int, batch: int, rate: float, **changes: Any
    ) -> RunConfig:
        """The preset on these data, for so many steps, without validation."""
        fixed = {
            "steps": steps,
            "global_batch": batch,
            "learning_rate": rate,
            "warmup_steps": max(steps // 10, 1),
            "val_ids": (),
            "patience": None,
            "eval_every": steps,
            "checkpoint_every": max(steps, 1),
            "log_every": max(steps // 20, 1),
        }
        changes = fixed | dict(self.changes) | changes
        of_labels = {name: v for name, v in changes.items() if name.startswith("objective.")}
        others = {name: v for name, v in changes.items() if name not in of_labels}
        config = make_preset(self.preset, data, **others)
        if not isinstance(config.objective, Supervised):  # the network of a preset that pretrains
            config = replace(config, objective=Supervised())
        config = change(config, of_labels)
        return replace(
            config,
            model=_without_dropout(config.model),
            objective=_without_dropout(config.objective),
        )


def _without_dropout(part: Any) -> Any:
    """A part of a configuration whose shares of dropout are zero."""
    names = [f.name for f in fields(part) if f.name.endswith("dropout")]
    return replace(part, **dict.fromkeys(names, 0.0))


def make_pretraining(
    arm: Arm, assay: BenchmarkTask, settings: Settings, seed: int, folder: Path
) -> Trial | None:
    """The run on other data that an arm starts from; None for an arm that has none.

    No molecule of the assay is in it, nor its stereoisomers, salts and tautomers.
    """
    if arm.how not in (BEFORE, MASKED):
        return None
    ids = auxiliary_ids(arm, assay)
    config = settings.of_others(list(arm.auxiliary), seed=seed, train_ids=tuple(ids.tolist()))
    if arm.how == MASKED:
        config = replace(config, objective=Pretrain(drop_features=0.0, hide_features=True))
    else:
        objective = replace(config.objective, task_names=arm.tasks)
        config = replace(config, objective=objective)
    return Trial(config, folder / f"{arm.folder}-before-seed{seed}", {"arm": arm.name})


def auxiliary_ids(arm: Arm, assay: BenchmarkTask) -> Int[np.ndarray, " mol"]:
    """The molecules of an arm's other data that are learnt from, counted over all its sets.

    Of them the first `n` of a fixed order, so that fewer are among more.
    """
    ids = []
    start = 0
    for shards in arm.auxiliary:
        ids.append(start + unrelated(shards, assay.shards, assay.ids))
        start += shards.n
    return hash_sample(np.concatenate(ids), arm.n)


def make_learning(
    arm: Arm,
    assay: BenchmarkTask,
    rows: Int[np.ndarray, " size"],
    settings: Settings,
    seed: int,
    start: Path | None,
) -> RunConfig:
    """The run of an arm that learns some rows of the assay; `start` is that of its pretraining."""
    ids = assay.ids[rows]
    if arm.how != TOGETHER:
        changes: dict[str, Any] = {
            "seed": seed,
            "train_ids": tuple(ids.tolist()),
            "objective.task_names": (assay.task,),
        }
        if arm.beside:
            changes["objective.beside"] = arm.beside
        config = settings.of_assay([assay.shards], len(rows), **changes)
        return replace(config, start_from=None if start is None else str(start))
    data = [assay.shards, *arm.auxiliary]
    others = assay.shards.n + auxiliary_ids(arm, assay)
    names = dataset_names(data)
    tasks = arm.tasks or tuple(dict.fromkeys(t for shards in arm.auxiliary for t in shards.tasks))
    n_others = sum(shards.n for shards in arm.auxiliary)
    n_step, share = settings.together(len(rows))
    shares = {
        name: (1 - share) * shards.n / n_others
        for name, shards in zip(names[1:], arm.auxiliary, strict=True)
    }
    return settings.of_others(
        data,
        n_step,
        **{
            "seed": seed,
            "train_ids": (*ids.tolist(), *others.tolist()),
            "objective.task_names": (assay.task, *tasks),
            # the assay counts as much as all other tasks together
            "objective.task_weights": {assay.task: float(len(tasks))},
            "sampling.weights": {names[0]: share, **shares},
        },
    )
