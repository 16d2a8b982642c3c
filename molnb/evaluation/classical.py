"""Classical methods of a comparison, on fingerprints, descriptors and groups on a core.

Each takes a benchmark task and a fold and returns predictions for the training and the test rows.
Settings are the libraries' defaults or those of the sources named here; none was tuned on test
rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rdkit import Chem
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ..chemistry.fingerprints import descriptors, ecfp_counts, r_groups
from ..errors import InputError
from .benchmark import BenchmarkTask
from .comparison import Fitted, Method
from .folds import Fold
from .metrics import BINARY, REGRESSION
from .similarity import training_neighbours

N_TREE = 200
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # the inverse strengths that are tried
N_INNER = 3  # parts of the training rows to choose among them
MAX_ITERATIONS = 300
MISSING = "no core"


def classical_methods(kind: str = REGRESSION) -> dict[str, Method]:
    """The methods that stand in every comparison, by name; LightGBM is on ECFP counts alone.

    Those of a `kind` binary answer with the probability of class 1: "mean" is its share, neighbours
    vote by similarity, and logistic regression takes the place of ridge.
    """
    neighbours = {
        "mean": training_mean,
        "1-NN": nearest_neighbours(1),
        "kNN": nearest_neighbours(5),
    }
    if kind == BINARY:
        return neighbours | {
            "logistic regression": on_features(LogisticPipeline),
            "random forest": on_features(_make_voting_forest),
            "LightGBM": on_features(ClassBooster, ecfp_counts),
            "LightGBM + descriptors": on_features(ClassBooster),
        }
    if kind != REGRESSION:
        raise InputError(f"there are no methods for {kind!r}: choose {REGRESSION} or {BINARY}")
    return neighbours | {
        "ridge": on_features(make_ridge),
        "random forest": on_features(_make_forest),
        "LightGBM": on_features(Booster, ecfp_counts),
        "LightGBM + descriptors": on_features(Booster),
    }


# ------------------------------------------------------------------------------------- the methods


def training_mean(benchmark: BenchmarkTask, fold: Fold, number: int) -> Fitted:
    """The mean of the training rows (of a binary label its share of 1), for every row."""
    mean = benchmark.values[fold.train].mean()
    return Fitted(np.full(len(fold.train), mean), np.full(len(fold.test), mean))


def nearest_neighbours(k: int) -> Method:
    """The mean of the k most similar training molecules (ECFP4 Tanimoto), by similarity.

    A molecule is not its own neighbour, so training errors are those of leaving one out.
    """

    def fit(benchmark: BenchmarkTask, fold: Fold, number: int) -> Fitted:
        neighbours = training_neighbours(benchmark, fold, k)
        weights = np.maximum(neighbours.similarity.astype(np.float64), 1e-6)
        values = benchmark.values[neighbours.rows]
        predictions = (values * weights).sum(1) / weights.sum(1)
        if benchmark.kind == BINARY:
            predictions = np.clip(predictions, 0, 1)  # five ones have a mean of 1 + 2e-16
        return Fitted(predictions[fold.train], predictions[fold.test])

    return fit


def ecfp_and_descriptors(smiles: Sequence[str]) -> np.ndarray:
    """ECFP counts beside RDKit descriptors, one row a molecule.

    The strongest classical input in the field's own comparisons.
    """
    return np.concatenate([ecfp_counts(smiles), descriptors(smiles)], 1)


def on_features(
    make: Callable[[], Any],
    features: Callable[[Sequence[str]], np.ndarray] = ecfp_and_descriptors,
) -> Method:
    """A scikit-learn model, which `make` returns, on a feature table of the SMILES."""

    def fit(benchmark: BenchmarkTask, fold: Fold, number: int) -> Fitted:
        return fit_on_table(make(), benchmark.feature_table(features), benchmark, fold)

    return fit


def fit_on_table(model: Any, table: np.ndarray, benchmark: BenchmarkTask, fold: Fold) -> Fitted:
    """Predictions of a scikit-learn model that is fitted on the training rows of a table.

    A classifier, which a binary label takes, answers with the probability of class 1. Numbers are
    learnt in units of their standard deviation: some models hold them in float32.
    """
    values = benchmark.values[fold.train]
    mean = 0.0 if benchmark.kind == BINARY else values.mean()
    scale = 1.0 if benchmark.kind == BINARY else values.std() or 1.0
    model.fit(table[fold.train], (values - mean) / scale)

    def predict(rows: np.ndarray) -> np.ndarray:
        if benchmark.kind == BINARY:
            return model.predict_proba(table[rows])[:, 1]
        return model.predict(table[rows]) * scale + mean

    return Fitted(predict(fold.train), predict(fold.test))


def make_ridge() -> Pipeline:
    """Ridge regression on scaled columns; the penalty is chosen on the training rows."""
    penalties = np.logspace(0, 5, 11)
    return make_pipeline(
        SimpleImputer(keep_empty_features=True), StandardScaler(), RidgeCV(penalties)
    )


def _make_forest() -> Pipeline:
    """A random forest on columns whose gaps are filled."""
    forest = RandomForestRegressor(N_TREE, max_features=0.1, n_jobs=-1, random_state=0)
    return make_pipeline(SimpleImputer(keep_empty_features=True), forest)


class LogisticPipeline:
    """Logistic regression on scaled columns; the penalty is chosen on the training rows.

    It is the one with the lowest loss in a threefold cross-validation of these, or the middle one
    where a class has too few rows for that.
    """

    def fit(self, x: np.ndarray, y: np.ndarray) -> LogisticPipeline:
        n_rarer = int(np.unique(y, return_counts=True)[1].min())
        if n_rarer < N_INNER:
            logistic = LogisticRegression(C=PENALTIES[len(PENALTIES) // 2], max_iter=MAX_ITERATIONS)
        else:
            logistic = LogisticRegressionCV(
                Cs=list(PENALTIES),
                cv=N_INNER,
                scoring="neg_log_loss",
                max_iter=MAX_ITERATIONS,
                l1_ratios=(0,),
                use_legacy_attributes=False,
            )
        filled = SimpleImputer(keep_empty_features=True)
        self.model = make_pipeline(filled, StandardScaler(), logistic).fit(x, y)
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Probabilities of the classes 0 and 1."""
        return self.model.predict_proba(x)


def _make_voting_forest() -> Pipeline:
    """A random forest of classes on columns whose gaps are filled."""
    forest = RandomForestClassifier(N_TREE, max_features="sqrt", n_jobs=-1, random_state=0)
    return make_pipeline(SimpleImputer(keep_empty_features=True), forest)


class Booster:
    """LightGBM on plain arrays, so that neither names of columns nor a data frame are needed.

    Numbers are learnt in units of their standard deviation: LightGBM holds them in float32.
    """

    objective: dict[str, Any] = {}  # beside the settings; of itself it is a regression

    def __init__(self, rounds: int = N_TREE):
        self.rounds = rounds

    def fit(self, x: np.ndarray, y: np.ndarray) -> Booster:
        import lightgbm

        settings = {
            "learning_rate": 0.08,
            "seed": 0,
            "verbosity": -1,
            "deterministic": True,
            "force_row_wise": True,
        }
        settings |= self.objective
        self.model = lightgbm.train(settings, lightgbm.Dataset(x, self._scaled(y)), self.rounds)
        return self

    def _scaled(self, y: np.ndarray) -> np.ndarray:
        """Numbers without mean and spread, which are kept; classes as they are."""
        self.mean = 0.0
        self.scale = 1.0
        if not self.objective:
            self.mean = float(np.mean(y))
            self.scale = float(np.std(y)) or 1.0
        return (y - self.mean) / self.scale

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.predict(x)) * self.scale + self.mean


class ClassBooster(Booster):
    """The same for classes, numbered from 0; its answers are their probabilities."""

    def __init__(self, n_class: int = 2, rounds: int = N_TREE):
        super().__init__(rounds)
        self.objective = {"objective": "binary"}
        if n_class > 2:
            self.objective = {"objective": "multiclass", "num_class": n_class}

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Probabilities of all classes."""
        answers = self.predict(x)
        return answers if answers.ndim == 2 else np.stack([1 - answers, answers], 1)


# ----------------------------------------------------------------------------- groups on a core


def free_wilson(core: Chem.Mol) -> Method:
    """Free and Wilson's model: each group at each position of a core adds its part.

    Ridge on one-hot groups. Molecules without the core get the training mean; a group that no
    training molecule has adds nothing. Raises InputError if no training molecule has the core, and
    for a binary label: sums of parts are no probabilities.
    """

    def fit(benchmark: BenchmarkTask, fold: Fold, number: int) -> Fitted:
        if benchmark.kind == BINARY:
            raise InputError(
                f"groups on a core add up to a number, and {benchmark.label!r} is binary: leave "
                "free_wilson out"
            )
        table = _groups_on_core(benchmark, core)
        matched = _has_core(table)
        rows = fold.train[matched[fold.train]]
        if not len(rows):
            raise InputError(
                f"fold {number}: no training molecule has the core {Chem.MolToSmiles(core)}: "
                "use a core of these molecules"
            )
        encoder = OneHotEncoder(handle_unknown="ignore").fit(table[rows])
        model = Ridge(1.0).fit(encoder.transform(table[rows]), benchmark.values[rows])
        mean = benchmark.values[fold.train].mean()
        predictions = np.where(matched, model.predict(encoder.transform(table)), mean)
        return Fitted(predictions[fold.train], predictions[fold.test])

    return fit


def core_coverage(
    benchmark: BenchmarkTask, core: Chem.Mol, folds: Sequence[Fold] = ()
) -> dict[str, int]:
    """Counts: molecules, those with a core, test molecules whose groups are all in training."""
    table = _groups_on_core(benchmark, core)
    matched = _has_core(table)
    in_training = np.zeros(len(table), bool)  # whether all groups of a row are
    for fold in folds:
        training_groups = [set(column[fold.train]) for column in table.T]
        for row in fold.test:
            pairs = zip(table[row], training_groups, strict=True)
            in_training[row] = all(group in choices for group, choices in pairs)
    return {
        "molecules": len(table),
        "with the core": int(matched.sum()),
        "all groups known": int((in_training & matched).sum()),
    }


def group_table(smiles: Sequence[str], core: Chem.Mol) -> np.ndarray:
    """The group at each position of a core, a row a molecule; MISSING in rows without the core."""
    groups = r_groups(smiles, core)
    positions = sorted({position for row in groups if row for position in row})
    cells = [
        [MISSING if row is None else row.get(position, "") for position in positions]
        for row in groups
    ]
    return np.array(cells, object).reshape(len(cells), len(positions))


def _groups_on_core(benchmark: BenchmarkTask, core: Chem.Mol) -> np.ndarray:
    """The group table of a benchmark, computed once for each core."""
    key = ("groups on a core", Chem.MolToCXSmarts(core))  # with atom maps, labels and queries
    return benchmark.cached(key, lambda: group_table(benchmark.smiles, core))


def _has_core(table: np.ndarray) -> np.ndarray:
    """Which rows of a group table have the core."""
    if not table.shape[1]:
        return np.zeros(len(table), bool)
    return table[:, 0] != MISSING
