"""What a table compares: classical methods on fingerprints, and networks, frozen or fine-tuned.

Each takes an assay and a fold and returns predictions for the training and the test rows. Settings are the libraries'
defaults or those of the sources named here; none was tuned on test rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rdkit import Chem
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .assays import Assay, Fold, inner_split
from .batches import Corpus, batches
from .errors import Refused
from .evaluate import Fitted, Method
from .fingerprints import descriptors, ecfp_counts, r_groups, similarities
from .objectives import Model, Question, Supervised, run_encoder
from .runs import Run, RunConfig, make_model
from .train import autocast, choose_device, train

N_TREE = 200


MISSING = "no core"


def group_table(smiles: Sequence[str], core: Chem.Mol) -> np.ndarray:
    """The group at each position of a core, a row a molecule; MISSING in rows without the core."""
    groups = r_groups(smiles, core)
    positions = sorted({p for row in groups if row for p in row})
    rows = [[row.get(p, "") if row is not None else MISSING for p in positions] for row in groups]
    return np.array(rows, object).reshape(len(rows), len(positions))


def both(smiles) -> np.ndarray:
    """ECFP counts beside RDKit descriptors: the strongest classical input in the field's own comparisons."""
    return np.concatenate([ecfp_counts(smiles), descriptors(smiles)], 1)


def mean(assay: Assay, fold: Fold, number: int) -> Fitted:
    """The mean of the training rows."""
    guess = assay.values[fold.train].mean()
    return Fitted(np.full(len(fold.train), guess), np.full(len(fold.test), guess))


def nearest(k: int) -> Method:
    """The mean of the k most similar training molecules (ECFP4 Tanimoto), weighted by similarity."""

    def fit(assay: Assay, fold: Fold, number: int) -> Fitted:
        known = assay.cached("similarity", lambda smiles: similarities(smiles, smiles))
        values = assay.values[fold.train]

        def guess(rows: np.ndarray) -> np.ndarray:
            close = known[np.ix_(rows, fold.train)].copy()
            close[rows[:, None] == fold.train[None]] = -1  # a molecule is not its own neighbour
            top = np.argsort(-close, 1, kind="stable")[:, :k]
            weight = np.maximum(np.take_along_axis(close, top, 1), 1e-6)
            return (values[top] * weight).sum(1) / weight.sum(1)

        return Fitted(guess(fold.train), guess(fold.test))

    return fit


def on_features(make: Callable[[], object], features: Callable = both, name: str = "both") -> Method:
    """A scikit-learn regressor on a feature table."""

    def fit(assay: Assay, fold: Fold, number: int) -> Fitted:
        x = assay.cached(name, features)
        model = make().fit(x[fold.train], assay.values[fold.train])
        return Fitted(model.predict(x[fold.train]), model.predict(x[fold.test]))

    return fit


def _ridge():
    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), RidgeCV(np.logspace(0, 5, 11)))


def _forest():
    forest = RandomForestRegressor(N_TREE, max_features=0.1, n_jobs=-1, random_state=0)
    return make_pipeline(SimpleImputer(keep_empty_features=True), forest)


class _Booster:
    """LightGBM on plain arrays, so that neither names of columns nor a data frame are needed."""

    def __init__(self, rounds: int = N_TREE):
        self.rounds = rounds

    def fit(self, x: np.ndarray, y: np.ndarray) -> _Booster:
        import lightgbm

        settings = dict(learning_rate=0.08, seed=0, verbosity=-1, deterministic=True, force_row_wise=True)
        self.model = lightgbm.train(settings, lightgbm.Dataset(x, y), self.rounds)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.predict(x))


def classical() -> dict[str, Method]:
    """The methods that stand in every comparison; LightGBM on counts alone is the one others are held against."""
    return {
        "mean": mean,
        "1-NN": nearest(1),
        "kNN": nearest(5),
        "ridge": on_features(_ridge),
        "random forest": on_features(_forest),
        "LightGBM": on_features(_Booster, ecfp_counts, "ecfp"),
        "LightGBM + descriptors": on_features(_Booster),
    }


def free_wilson(core: Chem.Mol) -> Method:
    """Free and Wilson's own model: each group at each position of the core adds its part (ridge on one-hot groups).

    Molecules without the core get the training mean; a group that no training molecule has adds nothing.
    """

    def fit(assay: Assay, fold: Fold, number: int) -> Fitted:
        table = assay.cached("groups on the core", lambda smiles: group_table(smiles, core))
        matched = table[:, 0] != MISSING if table.shape[1] else np.zeros(len(table), bool)
        rows, mean = fold.train[matched[fold.train]], assay.values[fold.train].mean()
        if not len(rows):
            raise Refused(
                f"fold {number}: no training molecule has the core {Chem.MolToSmiles(core)}: use its own core"
            )
        encoder = OneHotEncoder(handle_unknown="ignore").fit(table[rows])
        model = Ridge(1.0).fit(encoder.transform(table[rows]), assay.values[rows])
        guess = np.where(matched, model.predict(encoder.transform(table)), mean)
        return Fitted(guess[fold.train], guess[fold.test])

    return fit


def core_coverage(assay: Assay, core: Chem.Mol, folds: Sequence[Fold] = ()) -> dict[str, int]:
    """How many molecules have the core, and of how many test molecules every group also occurs in training."""
    table = assay.cached("groups on the core", lambda smiles: group_table(smiles, core))
    matched = table[:, 0] != MISSING if table.shape[1] else np.zeros(len(table), bool)
    known = np.zeros(len(table), bool)
    for fold in folds:
        seen = [set(column[fold.train]) for column in table.T]
        known[fold.test] = [all(g in s for g, s in zip(table[row], seen)) for row in fold.test]
    return {
        "molecules": len(table),
        "with the core": int(matched.sum()),
        "all groups known": int((known & matched).sum()),
    }


@torch.no_grad()
def predict_ids(
    model: Model, config: RunConfig, corpus: Corpus, ids: np.ndarray, task: str | None = None
) -> np.ndarray:
    """For molecules of a corpus: predicted label values of a task in their unit, or the encoder's molecule vector.

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
            tracks = run_encoder(model.encoder, Question(batch, hidden, batch.coords, visible, {}), molecule_only=True)
            found = tracks.molecule.float()
            if task is not None:
                scaled = next(t for t in config.objective.tasks_scaled if t.name == task)
                raw = model.heads[task](tracks, batch, torch.arange(batch.n_mol, device=device)).float()
                found = raw * raw.new_tensor(scaled.scale) + raw.new_tensor(scaled.mean)
        rows = [place[int(i)] for i in batch.ids]
        out = np.empty((len(ids), found.shape[1]), np.float32) if out is None else out
        out[rows] = found.cpu().numpy()
    return out


def frozen(run: Run | None, config: RunConfig, name: str) -> Method:
    """Ridge on the molecule vectors of a run's encoder: what is there before fine-tuning.

    Without a run the encoder of `config` has random weights. All of them: with the usual start at zero of its residual
    branches an untrained encoder would say the same of every molecule, and be no control.
    """

    def vectors(assay: Assay) -> np.ndarray:
        loud = replace(config.model, conventions=replace(config.model.conventions, init="normal"))
        model = make_model(replace(config, model=loud)) if run is None else run.load_model()
        used = config if run is None else run.config
        return predict_ids(model, used, Corpus([assay.shards], used.model.hydrogens), assay.ids)

    def fit(assay: Assay, fold: Fold, number: int) -> Fitted:
        x = assay.cached(f"vectors of {name}", lambda _: vectors(assay))
        model = _ridge().fit(x[fold.train], assay.values[fold.train])
        return Fitted(model.predict(x[fold.train]), model.predict(x[fold.test]))

    return fit


def fold_config(config: RunConfig, assay: Assay, fold: Fold, number: int) -> RunConfig:
    """A configuration for one fold: learns from its training rows but an inner part, which may stop it early.

    Scales of labels are then those of the rows it learns from; no test row is named in it.
    """
    learn, stop = inner_split(assay, fold, seed=number)
    return replace(config, train_ids=tuple(assay.ids[learn].tolist()), val_ids=tuple(assay.ids[stop].tolist()))


def network(config: RunConfig, folder: Path | str) -> Method:
    """A network trained on each fold from scratch, or from the run that `config.start_from` names.

    The inner part that early stopping sees is not learnt from and counts in no training error. The runs stay in
    `folder`, a fold each; a fold that was trained before is not trained again. Raises Refused for an objective that
    does not learn labels.
    """
    if not isinstance(config.objective, Supervised):
        raise Refused(f"{config.name} learns no labels ({config.objective.kind}): use finetune_tiny with start_from")

    def fit(assay: Assay, fold: Fold, number: int) -> Fitted:
        asked = fold_config(config, assay, fold, number)
        run = train(asked, Path(folder) / f"fold-{number}")
        corpus = Corpus([assay.shards], config.model.hydrogens)
        found = predict_ids(run.load_model(), run.config, corpus, assay.ids, assay.task)[:, 0].astype(np.float64)
        learnt = np.isin(assay.ids[fold.train], asked.train_ids)
        return Fitted(np.where(learnt, found[fold.train], np.nan), found[fold.test])

    return fit
