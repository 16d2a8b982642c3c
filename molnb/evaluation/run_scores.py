"""Scores of a run on molecules that it did not learn from, beside what it must beat."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..objectives.ranking import RARE
from ..shards import Shards
from ..texts import some_of
from ..training.runs import Run, find_run
from .intervals import scored
from .run_answers import (
    NETWORK_METHOD,
    Judgement,
    TaskAnswers,
    add_boosted,
    groups_of,
    judgement,
    network_answers,
    smiles_of,
    tables_of_training,
)

METHODS = (NETWORK_METHOD, "LightGBM", "lookup", "mean")  # in the order of a table
N_DRAW = 1000
MOST_NOTED = 20  # labels of which a note speaks by name


def evaluate(
    run: Run | str | Path,
    part: str | None = None,
    data: Shards | str | Path | None = None,
    baselines: bool = True,
    n_draw: int = N_DRAW,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
    average: bool = False,
) -> pd.DataFrame:
    """Scores of a run's saved weights on the test part of its split: a row a label and method.

    `part` is test, val, train, test_seen or all; of other curated `data` all molecules are taken
    unless it is given. `baselines` are the training mean (of classes their frequency), for labels
    of atoms and bonds a lookup table, and for labels of molecules LightGBM on ECFP counts, all from
    the run's own training rows. Each score stands with the ends of a 95 % interval, `<score>_low`
    and `<score>_high`: `n_draw` times as many groups of relatives as there are are drawn again with
    replacement. Numbers have mae, rmse, r2 and spearman, in `unit` where they have one; binary
    labels auroc, ap (average precision) and brier; several classes accuracy, and auroc and ap of
    each class against the rest. `n` counts known values, `positives` those of class 1.

    With `average` an answer is the mean over all geometries that the data have of a molecule, else
    that of the first.

    What must be said beside the numbers is in ``table.attrs["notes"]``, a sentence each.
    """
    answers = answer_part(run, part, data, baselines, device, progress, average)
    return score_answers(answers, n_draw, seed)


def predictions(
    run: Run | str | Path,
    part: str | None = None,
    data: Shards | str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """What `evaluate` scores: a row a known label, with its `truth` and the run's `prediction`.

    `row` is that of the molecule in its `dataset`, `item` the number of the atom, bond or pair
    among those of the molecule (0 for molecules). The prediction of a binary label is the
    probability of class 1. Of several classes truth and prediction are class numbers, and
    `probabilities` those of all.
    """
    return list_answers(answer_part(run, part, data, False, device, progress))


class PartAnswers(NamedTuple):
    """What a run, and what it must beat, answer about a part: to be scored, and to be listed."""

    judged: Judgement
    tasks: list[TaskAnswers]


def answer_part(
    run: Run | str | Path,
    part: str | None = None,
    data: Shards | str | Path | None = None,
    baselines: bool = True,
    device: str = "auto",
    progress: bool = True,
    average: bool = False,
) -> PartAnswers:
    """Answers about a part, by the arguments of `evaluate`."""
    judged = judgement(_as_run(run), part, data)
    if not baselines:
        return PartAnswers(judged, network_answers(judged, (), device, progress, average))
    training_corpus, rows, tables = tables_of_training(judged)
    answers = network_answers(judged, tables, device, progress, average)
    add_boosted(judged, answers, training_corpus, rows.train)
    return PartAnswers(judged, answers)


def score_answers(answers: PartAnswers, n_draw: int = N_DRAW, seed: int = 0) -> pd.DataFrame:
    """The table of `evaluate` from answers."""
    judged = answers.judged
    groups = groups_of(judged.corpus, judged.ids)
    lines = []
    for entry in answers.tasks:
        group = groups[np.searchsorted(judged.ids, entry.mols)]
        for column in range(len(entry.task.labels)):
            for method in METHODS:
                if method in entry.guesses:
                    lines.append(_line(judged, entry, column, method, group, n_draw, seed))
    table = pd.DataFrame([line for line in lines if line])
    tasks = answers.tasks
    notes = [*judged.notes, *_unknown_notes(judged, tasks), *_rare_notes(judged, tasks)]
    table.attrs["notes"] = notes
    return table


def list_answers(answers: PartAnswers) -> pd.DataFrame:
    """The table of `predictions` from answers."""
    tables = [
        _predictions(answers.judged, entry, column)
        for entry in answers.tasks
        for column in range(len(entry.task.labels))
    ]
    return pd.concat(tables, ignore_index=True)


def _as_run(run: Run | str | Path) -> Run:
    return run if isinstance(run, Run) else find_run(run)


def _line(
    judged: Judgement,
    entry: TaskAnswers,
    column: int,
    method: str,
    group: np.ndarray,
    n_draw: int,
    seed: int,
) -> dict | None:
    """The scores of one method on one label; None where it has no answers or none is known."""
    task = entry.task
    truth = entry.truth[:, column]
    guess = entry.of_label(method, column)
    is_known = np.isfinite(truth)
    if not is_known.any() or not np.isfinite(guess[is_known]).all():
        return None
    described = {
        "label": task.labels[column],
        "method": method,
        "level": task.level,
        "kind": task.kind,
        "unit": "" if task.of_classes else task.units[column],
        "part": judged.part,
        "n": int(is_known.sum()),
        "positives": int((truth[is_known] == 1).sum()) if task.kind == "binary" else None,
    }
    scores = scored(task.kind, truth[is_known], guess[is_known], group[is_known], n_draw, seed)
    return described | scores


def _unknown_notes(judged: Judgement, answers: list[TaskAnswers]) -> list[str]:
    """Which labels are not in the table, since none is known in the part, in a sentence."""
    scored_labels = {
        name
        for entry in answers
        for name, truth in zip(entry.task.labels, entry.truth.T)
        if np.isfinite(truth).any()
    }
    missing = []
    not_learnt = []
    for task in judged.tasks:
        for name, learnt in zip(task.labels, task.learnt or itertools.repeat(True)):
            if not learnt:
                not_learnt.append(name)
            elif name not in scored_labels:
                missing.append(name)
    notes = []
    if missing:
        names = some_of(missing, MOST_NOTED)
        notes.append(f"Not scored, for want of a known value in the part {judged.part}: {names}.")
    if not_learnt:
        names = some_of(not_learnt, MOST_NOTED)
        notes.append(f"Not scored, for want of a value on any training row: {names}.")
    return notes


def _rare_notes(judged: Judgement, answers: list[TaskAnswers]) -> list[str]:
    """Which labels have a class too rare to be scored well, a sentence each."""
    notes = []
    for entry in answers:
        if not entry.task.of_classes:
            continue
        for name, classes, truth in zip(entry.task.labels, entry.task.classes, entry.truth.T):
            numbers = truth[np.isfinite(truth)].astype(int)
            if not len(numbers):
                continue
            counts = np.bincount(numbers, minlength=len(classes))
            few = [f"{n or 'none'} of class {c}" for n, c in zip(counts, classes) if n < RARE]
            if few:
                notes.append(
                    f"{name}: {' and '.join(few)} among {len(numbers)} known values of the part "
                    f"{judged.part}: a ranking of so few says little, and of none is undefined."
                )
    n_more = len(notes) - MOST_NOTED
    return notes if n_more <= 0 else [*notes[:MOST_NOTED], f"So it is of {n_more:,} more labels."]


def _predictions(judged: Judgement, entry: TaskAnswers, column: int) -> pd.DataFrame:
    """Truth and prediction of one label, a row a known value."""
    truth = entry.truth[:, column].astype(np.float64)  # scores of float32 differ by their sums
    is_known = np.isfinite(truth)
    guess = entry.of_label(NETWORK_METHOD, column)[is_known].astype(np.float64)
    mols = entry.mols[is_known]
    starts = judged.corpus.starts
    dataset = np.searchsorted(starts, mols, side="right") - 1
    names = np.array([shards.path.name for shards in judged.corpus.datasets])
    table = pd.DataFrame(
        {
            "dataset": names[dataset],
            "row": mols - starts[dataset],
            "item": _numbered(entry.mols)[is_known],
            "smiles": smiles_of(judged.corpus, mols),
            "label": entry.task.labels[column],
            "truth": truth[is_known],
            "prediction": guess.argmax(1) if entry.task.kind == "classes" else guess,
        }
    )
    if entry.task.kind == "classes":
        table["probabilities"] = list(guess)
    return table


def _numbered(mols: np.ndarray) -> np.ndarray:
    """The number of each item among those of its molecule, which stand together."""
    _, first, inverse = np.unique(mols, return_index=True, return_inverse=True)
    return np.arange(len(mols)) - first[inverse]
