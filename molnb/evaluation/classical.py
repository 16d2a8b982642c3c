"""What a table compares: classical methods on fingerprints, and networks, frozen or fine-tuned.

Each takes an assay and a fold and returns predictions for the training and the test rows. Settings
are the libraries' defaults or those of the sources named here; none was tuned on test rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from rdkit import Chem
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ..chemistry.fingerprints import descriptors, ecfp_counts, r_groups, similarities
from ..errors import InputError
from .benchmark import BenchmarkTask
from .comparison import Fitted, Method
from .folds import Fold

N_TREE = 200


MISSING = "no core"


def group_table(smiles: Sequence[str], core: Chem.Mol) -> np.ndarray:
    """The group at each position of a core, a row a molecule; MISSING in rows without the core."""
    groups = r_groups(smiles, core)
    positions = sorted({p for row in groups if row for p in row})
    rows = [[row.get(p, "") if row is not None else MISSING for p in positions] for row in groups]
    return np.array(rows, object).reshape(len(rows), len(positions))


def ecfp_and_descriptors(smiles) -> np.ndarray:
    """ECFP counts beside RDKit descriptors: the strongest classical input in the field's own
    comparisons.
    """
    return np.concatenate([ecfp_counts(smiles), descriptors(smiles)], 1)


def mean(benchmark: BenchmarkTask, fold: Fold, number: int) -> Fitted:
    """The mean of the training rows."""
    guess = benchmark.values[fold.train].mean()
    return Fitted(np.full(len(fold.train), guess), np.full(len(fold.test), guess))


def nearest_neighbours(k: int) -> Method:
    """The mean of the k most similar training molecules (ECFP4 Tanimoto), weighted by
    similarity.
    """

    def fit(benchmark: BenchmarkTask, fold: Fold, number: int) -> Fitted:
        known = benchmark.cached("similarity", lambda smiles: similarities(smiles, smiles))
        values = benchmark.values[fold.train]

        def guess(rows: np.ndarray) -> np.ndarray:
            close = known[np.ix_(rows, fold.train)].copy()
            close[rows[:, None] == fold.train[None]] = -1  # a molecule is not its own neighbour
            top = np.argsort(-close, 1, kind="stable")[:, :k]
            weight = np.maximum(np.take_along_axis(close, top, 1), 1e-6)
            return (values[top] * weight).sum(1) / weight.sum(1)

        return Fitted(guess(fold.train), guess(fold.test))

    return fit


def on_features(
    make: Callable[[], object], features: Callable = ecfp_and_descriptors, name: str = "both"
) -> Method:
    """A scikit-learn regressor on a feature table."""

    def fit(benchmark: BenchmarkTask, fold: Fold, number: int) -> Fitted:
        x = benchmark.cached(name, features)
        model = make().fit(x[fold.train], benchmark.values[fold.train])
        return Fitted(model.predict(x[fold.train]), model.predict(x[fold.test]))

    return fit


def _ridge():
    return make_pipeline(
        SimpleImputer(keep_empty_features=True), StandardScaler(), RidgeCV(np.logspace(0, 5, 11))
    )


def _forest():
    forest = RandomForestRegressor(N_TREE, max_features=0.1, n_jobs=-1, random_state=0)
    return make_pipeline(SimpleImputer(keep_empty_features=True), forest)


class _Booster:
    """LightGBM on plain arrays, so that neither names of columns nor a data frame are needed."""

    def __init__(self, rounds: int = N_TREE):
        self.rounds = rounds

    def fit(self, x: np.ndarray, y: np.ndarray) -> _Booster:
        import lightgbm

        settings = dict(
            learning_rate=0.08, seed=0, verbosity=-1, deterministic=True, force_row_wise=True
        )
        self.model = lightgbm.train(settings, lightgbm.Dataset(x, y), self.rounds)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.predict(x))


def classical_methods() -> dict[str, Method]:
    """The methods that stand in every comparison; LightGBM on counts alone is the one others are
    held against.
    """
    return {
        "mean": mean,
        "1-NN": nearest_neighbours(1),
        "kNN": nearest_neighbours(5),
        "ridge": on_features(_ridge),
        "random forest": on_features(_forest),
        "LightGBM": on_features(_Booster, ecfp_counts, "ecfp"),
        "LightGBM + descriptors": on_features(_Booster),
    }


def free_wilson(core: Chem.Mol) -> Method:
    """Free and Wilson's own model: each group at each position of the core adds its part (ridge on
    one-hot groups).

    Molecules without the core get the training mean; a group that no training molecule has adds
    nothing.
    """

    def fit(benchmark: BenchmarkTask, fold: Fold, number: int) -> Fitted:
        table = benchmark.cached("groups on the core", lambda smiles: group_table(smiles, core))
        matched = table[:, 0] != MISSING if table.shape[1] else np.zeros(len(table), bool)
        rows, mean = fold.train[matched[fold.train]], benchmark.values[fold.train].mean()
        if not len(rows):
            raise InputError(
                f"fold {number}: no training molecule has the core {Chem.MolToSmiles(core)}: use its own core"
            )
        encoder = OneHotEncoder(handle_unknown="ignore").fit(table[rows])
        model = Ridge(1.0).fit(encoder.transform(table[rows]), benchmark.values[rows])
        guess = np.where(matched, model.predict(encoder.transform(table)), mean)
        return Fitted(guess[fold.train], guess[fold.test])

    return fit


def core_coverage(
    benchmark: BenchmarkTask, core: Chem.Mol, folds: Sequence[Fold] = ()
) -> dict[str, int]:
    """How many molecules have the core, and of how many test molecules every group also occurs
    in training.
    """
    table = benchmark.cached("groups on the core", lambda smiles: group_table(smiles, core))
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
