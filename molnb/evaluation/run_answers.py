"""What a trained run, and what it must beat, answers about curated molecules with known labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from ..chemistry.fingerprints import ecfp_counts
from ..data.batch import MolBatch, owner_of
from ..data.dataset import Corpus
from ..data.sampling import size_buckets
from ..data.tasks import DatasetTask
from ..errors import InputError
from ..extras import how_to_install
from ..models.model import Model
from ..objectives.supervised import Supervised, in_units
from ..objectives.targets import ScaledTask, known_labels, label_values
from ..objectives.trivial_baselines import LabelTable, label_tables
from ..paths import find_data
from ..progress import Progress
from ..rng import hash_sample
from ..shards import SPLIT_VALUES, Shards
from ..training.config import RunConfig
from ..training.device import autocast, choose_device
from ..training.rows import Rows, corpus_for, open_corpus, training_rows
from ..training.runs import Run
from ..training.threads import ThreadTeam
from .classical import Booster, ClassBooster

ALL = "all"  # the part that is every molecule
PORTION = 4096  # molecules whose batches are made together
MAX_BOOSTED = 50_000  # training molecules that LightGBM is fitted on (400 MB of counts)
NETWORK_METHOD = "network"
BOOSTED_METHOD = "LightGBM"


@dataclass(frozen=True)
class Judgement:
    """A run, and the labelled molecules that it is judged by: `ids` in `corpus`."""

    run: Run
    config: RunConfig
    corpus: Corpus
    ids: np.ndarray
    part: str
    notes: list[str] = field(default_factory=list)  # what must be said beside the scores

    @property
    def tasks(self) -> tuple[ScaledTask, ...]:
        """The tasks that the run learnt."""
        return self.config.objective.tasks_scaled


@dataclass(frozen=True)
class TaskAnswers:
    """Truth and guesses of a task's labels, in their units, by method: a row a labelled item.

    `mols` are ids in the corpus of the molecules, or of those that atoms, bonds, pairs belong to.
    """

    task: ScaledTask
    mols: np.ndarray
    truth: np.ndarray
    guesses: dict[str, np.ndarray]

    def of_label(self, method: str, column: int) -> np.ndarray:
        """A method's guesses of one label: a number an item, or one a class."""
        guesses = self.guesses[method][:, self.task.outputs_of(column)]
        return guesses if self.task.kind == "classes" else guesses[:, 0]


# ------------------------------------------------------------------------------------ what is asked


def judgement(run: Run, part: str | None, data: Shards | str | Path | None) -> Judgement:
    """The labelled molecules of a part by which a run is judged.

    By default those of the test part of its own split, less any it was told to learn from or to
    stop by; of other `data` all. Raises InputError for a run without labels or weights, data
    without the run's labels, and a part without labelled molecules.
    """
    config = run.config
    learnt = isinstance(config.objective, Supervised) and config.objective.tasks_scaled
    if not learnt:
        raise InputError(
            f"{run.path} was trained without labels, so nothing can be scored: train a preset with "
            "labels (`molnb train finetune_tiny`)"
        )
    run.weights_file()
    notes: list[str] = []
    if data is None:
        part = part or "test"
        corpus = open_corpus(config)
    else:
        part = part or ALL
        shards = data if isinstance(data, Shards) else find_data(data)
        corpus = corpus_for(config, [shards])
        notes += _shared_note(corpus, config)
    for task in learnt:
        _check_same_task(task, corpus, run)
    ids = _part_ids(corpus, part, config, own=data is None)
    ids = np.intersect1d(ids, corpus.labelled([_key(task.key, corpus) for task in learnt]))
    if not len(ids):
        raise InputError(
            f"no molecule of the part {part!r} of {', '.join(_names(corpus))} has a label that "
            f"{run.path.name} predicts: name another part ({', '.join(SPLIT_VALUES)}, {ALL}), or "
            "other data"
        )
    return Judgement(run, config, corpus, ids, part, notes)


def _names(corpus: Corpus) -> list[str]:
    return [shards.path.name for shards in corpus.datasets]


def _part_ids(corpus: Corpus, part: str, config: RunConfig, own: bool) -> np.ndarray:
    """Ids of a part; of a run's own test parts those that it did not learn from."""
    if part == ALL:
        return np.arange(corpus.n)
    if part not in SPLIT_VALUES:
        raise InputError(
            f"unknown part {part!r}: choose one of {', '.join(SPLIT_VALUES)} and {ALL}"
        )
    has_split = all(config.split in shards.manifest["splits"] for shards in corpus.datasets)
    ids = corpus.ids(part, config.split if own or has_split else None)
    if own and part in ("test", "test_seen"):
        for seen in (config.train_ids, config.val_ids):
            ids = np.setdiff1d(ids, np.array(seen or (), np.int64))
    return ids


def _shared_note(corpus: Corpus, config: RunConfig) -> list[str]:
    """How many molecules the run's own data also have, as a sentence, if any."""
    trained_on = [Corpus([find_data(name)]).datasets[0] for name in config.data]
    n_shared = len(corpus.shared_with(trained_on))
    if not n_shared:
        return []
    return [
        f"{n_shared:,} of {corpus.n:,} molecules of {', '.join(_names(corpus))} are also in "
        f"{', '.join(config.data)}, which the run was trained on (stereo, charge and tautomer "
        "ignored): it may have learnt them."
    ]


def _key(key: str, corpus: Corpus) -> str:
    """What a task of the run is called in a corpus: its key, or the name without the dataset's."""
    return key if key in corpus.tasks else key.rpartition("/")[2]


def _check_same_task(task: ScaledTask, corpus: Corpus, run: Run) -> None:
    """Raise InputError where data lack a task of the run, or mean something else by it."""
    declared = corpus.tasks.get(_key(task.key, corpus))
    names = ", ".join(_names(corpus))
    if declared is None:
        raise InputError(
            f"{names} has no task {task.key!r}, which {run.path.name} predicts; it has "
            f"{', '.join(corpus.tasks) or 'none'}: curate it with the same labels"
        )
    of_run = _meaning(task)
    of_data = _meaning_declared(declared)
    differing = [name for name in of_run if of_run[name] != of_data[name]]
    if differing:
        name = differing[0]
        raise InputError(
            f"task {task.key!r} of {names} has other {name} ({of_data[name]}) than {run.path.name} "
            f"learnt ({of_run[name]}): curate it as the run's own data"
        )


def _meaning(task: ScaledTask) -> dict:
    plain = [label.removeprefix(f"{task.key}/") for label in task.labels]
    meaning = {"level": task.level, "kind": task.kind, "labels": plain, "units": [*task.units]}
    return meaning | {"classes": [list(names) for names in task.classes]}


def _meaning_declared(task: DatasetTask) -> dict:
    return {
        "level": task.level,
        "kind": task.kind,
        "labels": [label.name for label in task.labels],
        "units": [label.unit for label in task.labels],
        "classes": [list(label.classes) for label in task.labels if label.classes],
    }


# -------------------------------------------------------------------------------------- the answers


def network_answers(
    judged: Judgement,
    tables: Sequence[LabelTable] = (),
    device: str = "auto",
    progress: bool = True,
    average: bool = False,
) -> list[TaskAnswers]:
    """What the run's saved weights answer, and tables of training labels, a portion at a time.

    With `average` an answer is the mean over all geometries of a molecule, else of the first.
    """
    chosen_device = choose_device(device)
    model = judged.run.load_model().to(chosen_device)
    gathered = {task.key: _Gathered(task) for task in judged.tasks}
    table_of = {table.task.key: table for table in tables}

    def compute(ids: np.ndarray) -> tuple[MolBatch, dict[str, np.ndarray]]:
        batch = _batch(judged, ids)
        outputs = _outputs(model, judged.config, batch, chosen_device)
        if average:
            _average(judged, model, batch, outputs, chosen_device)
        return batch, outputs

    with (
        Progress("molecules scored", len(judged.ids), progress) as display,
        ThreadTeam(chosen_device) as team,
    ):
        for start in range(0, len(judged.ids), PORTION):
            portion = judged.ids[start : start + PORTION]
            budget = judged.config.group_budget(chosen_device)
            buckets = size_buckets(judged.corpus.n_atoms[portion], budget)
            for batch, outputs in team.map(compute, [portion[group] for group in buckets]):
                for key, output in outputs.items():
                    gathered[key].add(batch, output, table_of.get(key))
                display.advance(batch.n_mol)
    return [entry.answers() for entry in gathered.values() if entry.truths]


def _average(
    judged: Judgement,
    model: Model,
    batch: MolBatch,
    outputs: dict[str, np.ndarray],
    device: torch.device,
) -> None:
    """Make the outputs of molecules with several geometries the means over all of them."""
    ids = batch.ids.numpy()
    count = judged.corpus.n_conformers(ids)
    owners = {
        task.key: owner_of(batch, task.level, batch.labels[task.key].index).numpy()
        for task in judged.tasks
        if task.key in outputs
    }
    for number in range(1, int(count.max(initial=0))):
        further = ids[count > number]
        conformers = np.full(len(further), number)
        others = _batch(judged, further, conformers)
        for key, output in _outputs(model, judged.config, others, device).items():
            outputs[key][(count > number)[owners[key]]] += output
    for key, output in outputs.items():
        n = count[owners[key]]
        output /= n.reshape(-1, *[1] * (output.ndim - 1))


def _batch(judged: Judgement, ids: np.ndarray, conformers: np.ndarray | None = None) -> MolBatch:
    """Molecules with their labels, under the keys that the run knows the tasks by."""
    keys = {_key(task.key, judged.corpus): task.key for task in judged.tasks}
    batch = judged.corpus.batch(ids, list(keys), conformers)
    return replace(batch, labels={keys[name]: labels for name, labels in batch.labels.items()})


@torch.no_grad()
def _outputs(
    model: Model, config: RunConfig, batch: MolBatch, device: torch.device
) -> dict[str, np.ndarray]:
    """The labels of each task that a batch has known ones of, as the model predicts them."""
    masked = config.objective.corrupt(batch, 0, 0, drop_features=0.0)
    with autocast(device, config.precision):
        outputs = model(masked.to(device)).outputs
    return {
        task.key: in_units(task, outputs[task.key].float()).cpu().numpy()
        for task in config.objective.tasks_scaled
        if task.key in outputs
    }


class _Gathered:
    """Answers about one task, batch by batch."""

    def __init__(self, task: ScaledTask):
        self.task = task
        self.mols: list[np.ndarray] = []
        self.truths: list[np.ndarray] = []
        self.guesses: dict[str, list[np.ndarray]] = {}
        # of a number float32 keeps neither 1e39 nor a spread of 0.1 on 1e9
        self.precision = np.float32 if task.of_classes else np.float64

    def add(self, batch: MolBatch, output: np.ndarray, table: LabelTable | None) -> None:
        """Keep truth and guesses of a batch."""
        labels = batch.labels[self.task.key]
        owner = owner_of(batch, self.task.level, labels.index)
        self.mols.append(batch.ids[owner].numpy())
        self.truths.append(known_labels(self.task, labels.values).numpy())
        guesses = {NETWORK_METHOD: output}
        if table is not None:
            guesses["mean"] = table.guess(batch, looked_up=False)
        if table is not None and table.looked_up:
            guesses["lookup"] = table.guess(batch, looked_up=True)
        for method, guess in guesses.items():
            self.guesses.setdefault(method, []).append(np.asarray(guess, self.precision))

    def answers(self) -> TaskAnswers:
        """All of it, in the order of the molecules."""
        mols = np.concatenate(self.mols)
        order = np.argsort(mols, kind="stable")
        return TaskAnswers(
            task=self.task,
            mols=mols[order],
            truth=np.concatenate(self.truths)[order],
            guesses={
                method: np.concatenate(pieces)[order] for method, pieces in self.guesses.items()
            },
        )


# ---------------------------------------------------------------------------- what must be beaten


def tables_of_training(judged: Judgement) -> tuple[Corpus, Rows, list[LabelTable]]:
    """The run's own data and rows, and tables of the labels of its training rows."""
    corpus = open_corpus(judged.config)
    rows = training_rows(corpus, judged.config)
    return corpus, rows, label_tables(corpus, judged.config.objective, rows.train)


def add_boosted(
    judged: Judgement, answers: Sequence[TaskAnswers], own: Corpus, train_ids: np.ndarray
) -> None:
    """Add what LightGBM on ECFP counts answers, fitted on the run's own training rows.

    Only labels of molecules have such an answer. Of more than `MAX_BOOSTED` training molecules a
    fixed sample is taken, which is noted.
    """
    of_molecules = [entry for entry in answers if entry.task.level == "molecule"]
    if not of_molecules:
        return
    try:
        import lightgbm  # noqa: F401
    except ModuleNotFoundError:
        advice = how_to_install("lightgbm")
        judged.notes.append(f"LightGBM is left out: it is not installed ({advice}).")
        return
    ids = hash_sample(train_ids, MAX_BOOSTED)
    if len(ids) < len(train_ids):
        judged.notes.append(
            f"LightGBM was fitted on a sample of {len(ids):,} of {len(train_ids):,} training "
            "molecules."
        )
    training = ecfp_counts(smiles_of(own, ids))
    for entry in of_molecules:
        _add_boosted(judged, entry, own, ids, training)


def _add_boosted(
    judged: Judgement, entry: TaskAnswers, own: Corpus, ids: np.ndarray, training: np.ndarray
) -> None:
    """Fit LightGBM for each label of a task, and let it answer; NaN for one with one class."""
    task = entry.task
    labelled = np.intersect1d(ids, own.labelled([task.key]))
    labels = np.concatenate(list(label_values(own, task.key, labelled)))
    features = training[np.searchsorted(ids, labelled)]
    guesses = np.full((len(entry.mols), task.n_output), np.nan)
    for column, label in enumerate(task.labels):
        if task.learnt and not task.learnt[column]:
            continue
        outputs = task.outputs_of(column)
        is_known = np.isfinite(labels[:, column])
        values = labels[is_known, column]
        if task.of_classes and len(np.unique(values)) < 2:
            judged.notes.append(
                f"LightGBM has no answer for {label}: its {len(values)} training values are of one "
                "class."
            )
            continue
        model = Booster()
        if task.of_classes:
            model = ClassBooster(len(task.classes[column]))
        model.fit(features[is_known], values)
        for start in range(0, len(entry.mols), PORTION):
            part = slice(start, start + PORTION)
            table = ecfp_counts(smiles_of(judged.corpus, entry.mols[part]))
            if task.kind == "classes":
                guesses[part, outputs] = model.predict_proba(table)
            elif task.kind == "binary":
                guesses[part, column] = model.predict_proba(table)[:, 1]
            else:
                guesses[part, column] = model.predict(table)
    entry.guesses[BOOSTED_METHOD] = guesses


def column_of(corpus: Corpus, ids: np.ndarray, name: str) -> np.ndarray:
    """A column of the tables of a corpus for some of its molecules."""
    dataset = np.searchsorted(corpus.starts, ids, side="right") - 1
    values = np.empty(len(ids), object)
    for number in np.unique(dataset):
        chosen = np.flatnonzero(dataset == number)
        rows = ids[chosen] - corpus.starts[number]
        column = corpus.datasets[number].table([name]).column(0).take(rows)
        values[chosen] = column.to_numpy(zero_copy_only=False)
    return values


def smiles_of(corpus: Corpus, ids: np.ndarray) -> list[str]:
    """The SMILES of some molecules of a corpus."""
    return column_of(corpus, ids, "smiles").tolist()


def groups_of(corpus: Corpus, ids: np.ndarray) -> np.ndarray:
    """A number for the loose group of each molecule: no two datasets share one."""
    dataset = np.searchsorted(corpus.starts, ids, side="right") - 1
    group = column_of(corpus, ids, "group").astype(np.int64)
    return group + corpus.starts[dataset]
