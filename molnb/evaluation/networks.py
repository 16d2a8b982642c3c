"""Networks as methods of a comparison: frozen, fine-tuned, from scratch."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import file_digest
from ..inference.predictor import predict_stored
from ..models.model import Model
from ..objectives.supervised import Supervised
from ..training.config import RunConfig
from ..training.loop import train
from ..training.rows import corpus_for, encoder_corpus
from ..training.runs import Run, make_model
from .benchmark import BINARY, BenchmarkTask
from .classical import LogisticPipeline, fit_on_table, make_ridge
from .comparison import Fitted, Method
from .folds import Fold, inner_split


def frozen_encoder(source: Run | RunConfig) -> Method:
    """Ridge on the molecule vectors of an encoder: a run's, or one with random weights.

    For a binary label it is logistic regression. A run's encoder is used as it is, without
    fine-tuning; a configuration, which is the control, gives one with random weights everywhere
    (`EncoderConfig.fully_random`).
    """

    def fit(benchmark: BenchmarkTask, fold: Fold, number: int) -> Fitted:
        vectors = encoder_vectors(source, benchmark)
        model = LogisticPipeline() if benchmark.kind == BINARY else make_ridge()
        return fit_on_table(model, vectors, benchmark, fold)

    return fit


def encoder_vectors(source: Run | RunConfig, benchmark: BenchmarkTask) -> np.ndarray:
    """Molecule vectors of a run's encoder, or of a random one, for the rows of a benchmark."""
    config = source.config if isinstance(source, Run) else source

    def compute() -> np.ndarray:
        model = source.load_model() if isinstance(source, Run) else _random_model(source)
        corpus = encoder_corpus(config.model, [benchmark.shards])
        return predict_stored(model, config, corpus, benchmark.ids)

    return benchmark.cached(_encoder_key(source), compute)


def _encoder_key(source: Run | RunConfig) -> Hashable:
    """What decides an encoder's vectors: its configuration and the content of its weights."""
    if isinstance(source, Run):
        return ("encoder", source.config.id, file_digest(source.weights_file()))
    return ("random encoder", source.id)


def _random_model(config: RunConfig) -> Model:
    """An untrained model none of whose weights start at zero."""
    return make_model(replace(config, model=config.model.fully_random()))


def fold_config(config: RunConfig, benchmark: BenchmarkTask, fold: Fold, number: int) -> RunConfig:
    """A configuration for one fold: learns from its training rows but an inner part, to stop by.

    Scales of labels are then those of the rows it learns from; no test row is named in it.
    """
    learn, stop = inner_split(benchmark, fold, seed=number)
    return replace(
        config,
        train_ids=tuple(benchmark.ids[learn].tolist()),
        val_ids=tuple(benchmark.ids[stop].tolist()),
    )


def trained_network(config: RunConfig, folder: Path | str) -> Method:
    """A network trained on each fold from scratch, or from the run that `config.start_from` names.

    The inner part that early stopping sees is not learnt from and counts in no training error. Of a
    task with several labels all are learnt, on the rows that have the one compared. The runs stay
    in `folder`, a fold each; a fold that was trained before is not trained again. Raises InputError
    for an objective that does not learn labels.
    """
    if not isinstance(config.objective, Supervised):
        raise InputError(
            f"{config.name} learns no labels ({config.objective.kind}): "
            "use finetune_tiny with start_from"
        )

    def fit(benchmark: BenchmarkTask, fold: Fold, number: int) -> Fitted:
        config_of_fold = fold_config(config, benchmark, fold, number)
        run = train(config_of_fold, Path(folder) / f"fold-{number}")
        corpus = corpus_for(run.config, [benchmark.shards])
        labels = predict_stored(run.load_model(), run.config, corpus, benchmark.ids, benchmark.task)
        predictions = labels[:, _column(run, benchmark)].astype(np.float64)
        learnt = np.isin(benchmark.ids[fold.train], config_of_fold.train_ids)
        return Fitted(np.where(learnt, predictions[fold.train], np.nan), predictions[fold.test])

    return fit


def _column(run: Run, benchmark: BenchmarkTask) -> int:
    """Which of the labels of its task a benchmark is of; a network learns the whole task."""
    tasks = {task.key: task.labels for task in run.config.objective.tasks_scaled}
    meant = (benchmark.label, f"{benchmark.task}/{benchmark.label}")
    return next(n for n, name in enumerate(tasks[benchmark.task]) if name in meant)
