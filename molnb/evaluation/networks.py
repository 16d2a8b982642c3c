"""Networks as methods of a comparison: frozen, fine-tuned, from scratch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..data.dataset import Corpus
from ..data.masked import MaskedBatch
from ..data.sampling import batches
from ..errors import InputError
from ..models.model import Model, run_encoder
from ..objectives.supervised import Supervised
from ..training.config import RunConfig
from ..training.device import autocast, choose_device
from ..training.loop import train
from ..training.runs import Run, make_model
from .benchmark import BenchmarkTask
from .classical import _ridge
from .comparison import Fitted, Method
from .folds import Fold, inner_split


@torch.no_grad()
def predict_ids(
    model: Model, config: RunConfig, corpus: Corpus, ids: np.ndarray, task: str | None = None
) -> np.ndarray:
    """For molecules of a corpus: predicted label values of a task in their unit, or the encoder's
    molecule vector.

    Rows are in the order of `ids`; features are visible and coordinates those of the shards.
    """
    device = choose_device("auto")
    model = model.eval().to(device)
    out: np.ndarray | None = None
    place = {int(i): row for row, i in enumerate(ids)}
    for batch in batches(corpus, np.asarray(ids), config.pair_budget):
        batch = batch.to(device)
        hidden = torch.zeros_like(batch.numbers, dtype=torch.bool)
        visible = torch.ones(batch.n_mol, dtype=torch.bool, device=device)
        with autocast(device, config.precision):
            tracks = run_encoder(
                model.encoder,
                MaskedBatch(batch, hidden, batch.coords, visible, {}),
                molecule_only=True,
            )
            found = tracks.molecule.float()
            if task is not None:
                scaled = next(t for t in config.objective.tasks_scaled if t.name == task)
                raw = model.heads[task](
                    tracks, batch, torch.arange(batch.n_mol, device=device)
                ).float()
                found = raw * raw.new_tensor(scaled.scale) + raw.new_tensor(scaled.mean)
        rows = [place[int(i)] for i in batch.ids]
        out = np.empty((len(ids), found.shape[1]), np.float32) if out is None else out
        out[rows] = found.cpu().numpy()
    return out


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
        return predict_ids(
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
        found = predict_ids(run.load_model(), run.config, corpus, benchmark.ids, benchmark.task)[
            :, 0
        ].astype(np.float64)
        learnt = np.isin(benchmark.ids[fold.train], asked.train_ids)
        return Fitted(np.where(learnt, found[fold.train], np.nan), found[fold.test])

    return fit
