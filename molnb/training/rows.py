"""Which molecules a run learns from and is validated on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.dataset import Corpus
from ..data.encodings.stored import keep_encodings
from ..data.scaffold_numbers import SCAFFOLD
from ..errors import InputError
from ..models.interface import EncoderConfig
from ..paths import find_data
from ..rng import hash_sample
from ..shapes import Int
from ..shards import LOOSE_KEYS, SPLIT_VALUES, Shards, load_shards, parts_present
from .beside import check_beside
from .config import RunConfig


class Rows(NamedTuple):
    """Ids in the corpus of training molecules, and of those that are scored at every validation.

    Those are some of the part val of the split, and some held out of training at random.
    """

    train: Int[np.ndarray, " train"]
    val: Int[np.ndarray, " val"]
    val_random: Int[np.ndarray, " val_random"]


def open_corpus(config: RunConfig) -> Corpus:
    """The datasets of a run, with the arrays that its encoder and heads read.

    Encodings that they lack are computed and kept beside them.
    """
    datasets = []
    for name in config.data:
        shards = load_shards(find_data(name))
        datasets.append(keep_encodings(shards, config.model.encodings, config.model.hydrogens))
    return corpus_for(config, datasets)


def corpus_for(config: RunConfig, datasets: Sequence[Shards | str | Path]) -> Corpus:
    """Datasets as a run's model reads them: with hydrogens, encodings, arrays of heads too.

    Raises InputError for datasets that lack an array that heads read, or have another of its name.
    """
    loaded = [d if isinstance(d, Shards) else load_shards(d) for d in datasets]
    check_beside(config.objective, loaded)
    return Corpus(loaded, config.model.hydrogens, config.arrays, config.model.encodings)


def encoder_corpus(model: EncoderConfig, datasets: Sequence[Shards | str | Path]) -> Corpus:
    """Datasets as an encoder reads them, where no head is asked."""
    return Corpus(datasets, model.hydrogens, model.arrays, model.encodings)


def training_rows(corpus: Corpus, config: RunConfig) -> Rows:
    """Training and validation ids; only labelled molecules where the objective needs labels."""
    train, val = _usable(corpus, config)
    if not len(train):
        raise InputError(
            f"no training molecules in {', '.join(config.data)}: curate more rows, or choose "
            "another split"
        )
    if config.disjoint:
        train = _without_relatives(corpus, train, val)
    val_random = train[:0]
    if config.n_random_val:
        val_random = _held_out(train, config.n_random_val)
        train = np.setdiff1d(train, val_random)
    return Rows(hash_sample(train, config.n_train), hash_sample(val, config.n_val), val_random)


def _usable(corpus: Corpus, config: RunConfig) -> tuple[np.ndarray, np.ndarray]:
    """Ids of all molecules of the training and the validation part that a run could use."""
    train = _ids(corpus, config, "train", config.train_ids)
    val = _ids(corpus, config, "val", config.val_ids)
    if config.objective.tasks:
        labelled = corpus.labelled(config.objective.tasks, train)
        _check_labelled(corpus, config, train, labelled)
        train = labelled
        val = corpus.labelled(config.objective.tasks, val)
    if config.exclude:
        excluded = [load_shards(find_data(name)) for name in config.exclude]
        shared = corpus.shared_with(excluded)
        train = np.setdiff1d(train, shared)
        val = np.setdiff1d(val, shared)
    return train, val


def _without_relatives(corpus: Corpus, train: np.ndarray, val: np.ndarray) -> np.ndarray:
    """Training ids without those that a scaffold split would keep on the side of validation.

    They have the scaffold of a validation molecule, or are the same by a loose key, which alone
    speaks for acyclic ones.
    """
    left = np.setdiff1d(train, corpus.sharing(val, (*LOOSE_KEYS, SCAFFOLD)))
    if not len(left):
        raise InputError(
            f"disjoint leaves none of the {len(train):,} training molecules: all have the scaffold "
            "of a validation molecule, or are one of them. Train without it, or validate on fewer"
        )
    return left


def _held_out(train: np.ndarray, n: int) -> np.ndarray:
    """A fixed sample of training ids, which leaves some."""
    if n >= len(train):
        raise InputError(
            f"n_random_val is {n:,}, and there are {len(train):,} training molecules to take them "
            "from: hold out fewer"
        )
    return hash_sample(train, n)


def _check_labelled(
    corpus: Corpus, config: RunConfig, train: np.ndarray, labelled: np.ndarray
) -> None:
    """Raise InputError where molecules are there to train on, but none of them is `labelled`."""
    if not len(train) or len(labelled):
        return
    tasks = ", ".join(map(repr, config.objective.tasks))
    n_labelled = len(corpus.labelled(config.objective.tasks))
    raise InputError(
        f"there is no label on any of the {len(train):,} training molecules of "
        f"{', '.join(config.data)} (tasks {tasks}; {n_labelled:,} of all {corpus.n:,} molecules "
        "have one): "
        + ("choose another split" if n_labelled else "curate again with a column that has some")
        + ", or other tasks (objective.task_names)"
    )


def check_patience(config: RunConfig, rows: Rows) -> None:
    """Raise InputError where training should stop by validation rows that are not there."""
    if config.patience is not None and not len(rows.val):
        raise InputError(
            f"patience is {config.patience}, but there are no validation rows to stop by: choose "
            "another split (--set split NAME), give val_ids, or train without it (--set patience "
            "None)"
        )


def row_notes(corpus: Corpus, config: RunConfig, rows: Rows) -> list[str]:
    """What a run cannot tell for want of rows, and what to do, a sentence each."""
    data = ", ".join(config.data)
    split = f"split {config.split!r}" if config.split else "the default split"
    sizes = {part: len(corpus.ids(part, config.split)) for part in SPLIT_VALUES}
    counts = ", ".join(f"{sizes[part]:,} {part}" for part in parts_present(sizes))
    advice = "Choose another split (--set split NAME), or curate more rows"
    notes = []
    if not len(rows.val) and (config.val_ids is not None or not config.n_val):
        notes.append(
            "This run has no validation rows: no validation score will be reported. Set n_val or "
            "val_ids to have one."
        )
    elif not len(rows.val):
        problem = f"{split.capitalize()} of {data} has no validation rows ({counts})"
        if sizes["val"]:
            problem = (
                f"None of the {sizes['val']:,} validation rows of {split} of {data} can be used"
            )
        notes.append(f"{problem}: no validation score will be reported. {advice}.")
    if config.disjoint:
        notes.append(_relatives_note(corpus, config))
    if config.objective.learns_labels and config.train_ids is None and not sizes["test"]:
        notes.append(
            f"{split.capitalize()} of {data} has no test rows ({counts}): there is nothing to "
            f"judge the run by. {advice}."
        )
    return notes


def _ids(corpus: Corpus, config: RunConfig, part: str, ids: tuple[int, ...] | None) -> np.ndarray:
    """The ids that the configuration gives, or those of its split's part."""
    return corpus.ids(part, config.split) if ids is None else np.array(ids, np.int64)


def _relatives_note(corpus: Corpus, config: RunConfig) -> str:
    """How many training molecules are left out as relatives of validation molecules."""
    train, val = _usable(corpus, config)
    n_left_out = len(train) - len(_without_relatives(corpus, train, val))
    return (
        f"{n_left_out:,} of {len(train):,} training molecules are left out, since a validation "
        "molecule has their scaffold or is the same but for stereo, charge or tautomer (disjoint)."
    )
