"""Which molecules a run learns from and is validated on."""

from __future__ import annotations

import numpy as np

from ..data.dataset import Corpus
from ..errors import InputError
from ..rng import hash64
from ..shards import load_shards
from .config import RunConfig
from .runs import find_data


def hash_sample(ids: np.ndarray, n: int | None) -> np.ndarray:
    """At most n of these ids, the same ones every time, ascending."""
    if n is None or n >= len(ids):
        return ids
    return np.sort(ids[np.argsort(hash64(0, ids), kind="stable")[:n]])


def training_rows(corpus: Corpus, config: RunConfig) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation ids; only labelled molecules where the objective needs labels."""
    train = (
        corpus.ids("train", config.split)
        if config.train_ids is None
        else np.array(config.train_ids, np.int64)
    )
    val = (
        corpus.ids("val", config.split)
        if config.val_ids is None
        else np.array(config.val_ids, np.int64)
    )
    tasks = config.objective.tasks
    if tasks:
        missing = [t for t in tasks if t not in corpus.tasks]
        if missing:
            known = ", ".join(corpus.tasks) or "none"
            raise InputError(
                f"no dataset of this run has the task {missing[0]!r}: they have {known}"
            )
        labelled = corpus.labelled(tasks)
        train, val = np.intersect1d(train, labelled), np.intersect1d(val, labelled)
    if config.exclude:
        shared = corpus.shared_with([load_shards(find_data(name)) for name in config.exclude])
        train, val = np.setdiff1d(train, shared), np.setdiff1d(val, shared)
    if not len(train):
        raise InputError(
            f"no training molecules in {', '.join(config.data)}: curate more rows, or choose another split"
        )
    return hash_sample(train, config.n_train), hash_sample(val, config.n_val)
