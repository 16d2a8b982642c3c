"""Trials of a study: runs, each with rows that it is tested on; finished ones are never repeated.

A trial is a run's folder with a file more, what the run answers for its test rows. Tables of
results are made from these folders alone, so a study that was interrupted goes on where it was.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...curation.pipeline import refuse_counts
from ...errors import InputError
from ...files import write_json
from ...inference.predictor import predict_stored
from ...models.families import count_parameters
from ...processes import Pool, count_cores
from ...progress import Progress
from ...shapes import Float, Int
from ...training.config import RunConfig
from ...training.loop import train
from ...training.many_runs import as_done, differing_settings
from ...training.rows import open_corpus
from ...training.runs import Run
from ...training.threads import one_thread


@dataclass(frozen=True)
class Tested:
    """What a trial is judged by: labels of a task of its first dataset, for some molecules.

    `ids` are their positions in that dataset, `values` the truth, NaN where it is unknown. Errors
    are divided by `scales`, one a label: 1 leaves the unit as it is.
    """

    task: str
    labels: tuple[str, ...]
    ids: Int[np.ndarray, " test"]
    values: Float[np.ndarray, "test label"]
    scales: tuple[float, ...]


@dataclass(frozen=True)
class Trial:
    """A run of a study: its configuration and folder, what it is tested on and stands for.

    `key` says which trial it is (arm, size, fold, seed, ...): the columns of its row in tables. A
    trial that is not `tested` is a pretraining that others start from.
    """

    config: RunConfig
    folder: Path
    key: Mapping[str, Any] = field(default_factory=dict)
    tested: Tested | None = None

    @property
    def answers_file(self) -> Path:
        """What the run answers for the test rows; it lies beside the run's own files."""
        return self.folder / f"test_{self.tested.task.replace('/', '_')}.json"

    @property
    def is_done(self) -> bool:
        """Whether the run is trained, and tested where it is to be."""
        if self.tested is not None:
            return self.answers_file.exists()
        return (self.folder / "config.json").exists() and Run(self.folder).state == "done"

    def error(self) -> float:
        """The mean absolute error over test rows, and over labels, in units of their scales."""
        stored = json.loads(self.answers_file.read_text(encoding="utf-8"))
        errors = np.abs(np.array(stored["answers"]) - self.tested.values)
        return float(np.mean(np.nanmean(errors, 0) / np.array(self.tested.scales)))


def run_trials(
    stages: Sequence[Sequence[Trial]],
    workers: int | None = None,
    watch: Callable[[int, int], Any] | None = None,
) -> int:
    """Train and test all trials that are not done, a stage after the other; returns how many were.

    `workers` processes with one thread each (default: a core each, at most four; 0: here, one
    after another). `watch` is called with the number of trials that are done, and of all.
    """
    refuse_counts(None, workers)
    for trials in stages:
        _check_folders(trials)
    n_all = sum(map(len, stages))
    left = [[trial for trial in trials if not trial.is_done] for trials in stages]
    n_left = sum(map(len, left))
    workers = min(count_cores(), 4) if workers is None else workers
    with (
        Progress("trials", n_left, n_left > 0) as display,
        Pool(min(workers, max(map(len, left), default=0))) as pool,
    ):
        for trials in left:
            for trial, future in as_done(partial(pool.submit, _finish), trials, pool.workers):
                future.result()
                display.advance(1, trial.folder.name)
                if watch is not None:
                    watch(n_all - n_left + display.done, n_all)
    return n_left


def _check_folders(trials: Sequence[Trial]) -> None:
    """Raise InputError where a folder holds a run of other settings: it would be taken for ours."""
    for trial in trials:
        if not (trial.folder / "config.json").exists():
            continue
        differing = differing_settings(Run(trial.folder).config, trial.config)
        others = [name for name in differing if name != "start_from"]  # a study may have moved
        if others:
            raise InputError(
                f"{trial.folder} holds a run with other settings than this study's "
                f"({', '.join(others)}): give the study another folder (--out), or delete that one"
            )


def _finish(trial: Trial) -> None:
    """Train a trial's run, or go on with it, and keep what it answers for its test rows."""
    begun = (trial.folder / "config.json").exists()
    # what it has to say stands in its folder, and hundreds of runs would say it
    with one_thread(), contextlib.redirect_stderr(io.StringIO()):
        run = train(trial.folder if begun else trial.config, trial.folder)
        if trial.tested is not None:
            answers = _answers(run, trial.tested)
            write_json({"answers": answers.tolist()}, trial.answers_file)


def _answers(run: Run, tested: Tested) -> Float[np.ndarray, "test label"]:
    """What a run predicts for test rows, which lie in the first of its datasets."""
    config = run.config
    corpus = open_corpus(config)
    table = predict_stored(run.load_model(), config, corpus, tested.ids, tested.task)
    scaled = next(task for task in config.objective.tasks_scaled if task.key == tested.task)
    names = [label.rpartition("/")[2] for label in scaled.labels]
    return table[:, [names.index(label) for label in tested.labels]].astype(np.float64)


def trials_table(trials: Sequence[Trial]) -> pd.DataFrame:
    """A row a finished and tested trial: its key, error, and what it cost.

    `mae` is in units of what it is tested by (`Tested.scales`). `cpu_seconds` and `peak_mib` are
    those of the run alone, without the one that it started from; `parameters` those of the encoder.
    """
    rows = []
    for trial in trials:
        if trial.tested is None or not trial.is_done:
            continue
        status = Run(trial.folder).status()
        counts = count_parameters(trial.config.model)
        rows.append(
            {
                **trial.key,
                "mae": trial.error(),
                "n_test": len(trial.tested.ids),
                "cpu_seconds": status.get("cpu_seconds", float("nan")),
                "peak_mib": status.get("peak_mib", float("nan")),
                "parameters": None if counts is None else counts.total,
                "folder": trial.folder.name,
            }
        )
    return pd.DataFrame(rows)
