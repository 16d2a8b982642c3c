"""Networks as methods of a comparison: frozen, fine-tuned, from scratch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..data.dataset import Corpus
from ..errors import InputError
from ..objectives.supervised import Supervised
from ..inference.predictor import predict_stored
from ..training.config import RunConfig
from ..training.loop import train
from ..training.runs import Run, make_model
from .benchmark import BenchmarkTask
from .classical import _ridge
from .comparison import Fitted, Method
from .folds import Fold, inner_split


def frozen_encoder(run: Run | None, config: RunConfig, name: str) -> Method:
    """Ridge on the molecule vectors of a run's encoder: what is there before fine-tuning.

    Without a run the encoder of `config` has random weights. All of them: with the usual start at
    zero of its residual branches an untrained encoder would say the same of every molecule, and be
    no control.
    """

    def vectors(benchmark: BenchmarkTask) -> np.ndarray:
        loud = replace(config.model, conventions=replace(config.model.conventions, init="normal"))
        model = make_model(replace(config, model=loud)) if run is None else run.load_model()
        used = config if run is None else run.config
        return predict_stored(
            model, used, Corpus([benchmark.shards], used.model.hydrogens), benchmark.ids
        )

    def fit(benchmark: BenchmarkTask, fold: Fold, number: int) -> Fitted:
        x = benchmark.cached(f"vectors of {name}", lambda _: vectors(benchmark))
        model = _ridge().fit(x[fold.train], benchmark.values[fold.train])
        return Fitted(model.predict(x[fold.train]), model.predict(x[fold.test]))

    return fit


def fold_config(config: RunConfig, benchmark: BenchmarkTask, fold: Fold, number: int) -> RunConfig:
    """A configuration for one fold: learns from its training rows but an inner part, which may stop
    it early.

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

    The inner part that early stopping sees is not learnt from and counts in no training error. The
    runs stay in `folder`, a fold each; a fold that was trained before is not trained again. Raises
    InputError for an objective that does not learn labels.
    """
    if not isinstance(config.objective, Supervised):
        raise InputError(
            f"{config.name} learns no labels ({config.objective.kind}): use finetune_tiny with start_from"
        )

    def fit(benchmark: BenchmarkTask, fold: Fold, number: int) -> Fitted:
        asked = fold_config(config, benchmark, fold, number)
        run = train(asked, Path(folder) / f"fold-{number}")
        corpus = Corpus([benchmark.shards], config.model.hydrogens)
        found = predict_stored(run.load_model(), run.config, corpus, benchmark.ids, benchmark.task)[
            :, 0
        ].astype(np.float64)
        learnt = np.isin(benchmark.ids[fold.train], asked.train_ids)
        return Fitted(np.where(learnt, found[fold.train], np.nan), found[fold.test])

    return fit
