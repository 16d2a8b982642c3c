"""Which molecules a run learns from and is validated on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..data.dataset import Corpus
from ..errors import InputError
from ..paths import find_data
from ..rng import hash_sample
from ..shapes import Int
from ..shards import load_shards
from .config import RunConfig


class Rows(NamedTuple):
    """Ids in the corpus of training and of validation molecules."""

    train: Int[np.ndarray, " train"]
    val: Int[np.ndarray, " val"]


def open_corpus(config: RunConfig) -> Corpus:
    """The datasets of a run, with the arrays that its encoder reads."""
    folders = [find_data(name) for name in config.data]
    return Corpus(folders, config.model.hydrogens, config.model.arrays)


def training_rows(corpus: Corpus, config: RunConfig) -> Rows:
    """Training and validation ids; only labelled molecules where the objective needs labels."""
    train = _ids(corpus, config, "train", config.train_ids)
    val = _ids(corpus, config, "val", config.val_ids)
    if config.objective.tasks:
        labelled = corpus.labelled(config.objective.tasks)
        train = np.intersect1d(train, labelled)
        val = np.intersect1d(val, labelled)
    if config.exclude:
        excluded = [load_shards(find_data(name)) for name in config.exclude]
        shared = corpus.shared_with(excluded)
        train = np.setdiff1d(train, shared)
        val = np.setdiff1d(val, shared)
    if not len(train):
        raise InputError(
            f"no training molecules in {', '.join(config.data)}: curate more rows, or choose "
            "another split"
        )
    return Rows(hash_sample(train, config.n_train), hash_sample(val, config.n_val))


def _ids(corpus: Corpus, config: RunConfig, part: str, ids: tuple[int, ...] | None) -> np.ndarray:
    """The ids that the configuration gives, or those of its split's part."""
    return corpus.ids(part, config.split) if ids is None else np.array(ids, np.int64)
