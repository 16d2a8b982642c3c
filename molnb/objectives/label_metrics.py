"""How good the answers to each label are, by several measures, each with an interval.

Of numbers: mean absolute and root mean square error, explained variance (R²), Pearson's and
Spearman's correlation. Of classes: area under the ROC curve, average precision (of several classes
means over each against the rest), share named right, Brier score, calibration error. Errors and
moments are sums over batches in float64; answers are kept only for rankings, and for the interval
of the calibration error (`kept_answers`).

Explained variance and correlations of an extensive label are those of what a fit on element counts
leaves over (`element_counts`), under names that say so: `r2_residual`.

Intervals are the percentiles of resampled sets of molecules (`poisson_draws`). Calibration errors
of such sets lie above that of all: an interval of theirs may not hold the value itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..data.batch import MolBatch
from ..data.dataset import Corpus
from ..rng import hash_sample
from ..shapes import Float, Int, Integer, Shaped, UInt8
from .answers import Answers, KnownAnswers, Scores, known_scores
from .class_counts import count_classes
from .element_counts import ElementFit, element_columns, fit_elements
from .kept_answers import KeptAnswers, LabelAnswers, kept_share
from .label_sums import ClassSums, NumberSums, binned_answers, calibration_error
from .poisson_draws import FEWEST_DRAWS, N_DRAW, draw_counts, ends
from .ranking import rank_correlation, rank_draws
from .targets import ScaledTask, known_labels, label_cells

MAX_SUMMED = 10**10  # known and unknown labels times draws, in sums over batches
MAX_RANKED = 10**9  # kept labels times draws, in rankings
MAX_BLOCK = 2**22  # weights that are in memory at once (32 MiB)
CHUNK = 2**11  # molecules whose draws are hashed at once
N_COUNTED = 20_000  # training molecules that shares of classes are counted on
IN_UNIT = ("mae", "rmse")  # metrics in the unit of the label
OF_RESIDUAL = ("r2", "pearson", "spearman")  # of an extensive label
RESIDUAL = "_residual"
MEANS = ("r2", "r2_residual", "auroc", "ap")  # that a task is summarised by, beside errors


class References(NamedTuple):
    """What is known of labels before training: fits on element counts, shares of classes."""

    fits: Mapping[str, ElementFit]
    shares: Mapping[str, Float[np.ndarray, "label class"]]


NO_REFERENCES = References({}, {})


def label_references(
    corpus: Corpus, tasks: Sequence[ScaledTask], train_ids: np.ndarray
) -> References:
    """The references of tasks from training rows, of which a fixed hash sample is enough."""
    shares = {}
    sample = hash_sample(train_ids, N_COUNTED)
    for task in tasks:
        if task.of_classes:
            cells = label_cells(corpus, task.key, sample)
            counts = count_classes(corpus.tasks[task.key], cells)
            shares[task.key] = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return References(fit_elements(corpus, tasks, train_ids), shares)


def owners(
    batch: MolBatch, level: str, index: Int[np.ndarray, " k *pair"]
) -> Int[np.ndarray, " k"]:
    """The molecule of each labelled item, as `data.batch.owner_of`, without waking torch."""
    if level == "molecule":
        return index
    if level == "pair":
        return index[:, 0]
    n_item = batch.n_atoms if level == "atom" else batch.n_bonds
    return np.repeat(np.arange(batch.n_mol), n_item.numpy())[index]


class _TaskAnswers:
    """Sums over batches and kept answers of one task."""

    def __init__(self, task: ScaledTask, fit: ElementFit | None, n_draw: int, share: float):
        n_label = len(task.labels)
        self.task = task
        self.fit = fit
        self.n_draw = n_draw
        self.kept = KeptAnswers(n_label, share)
        if task.of_classes:
            n_class = max(len(classes) for classes in task.classes) if task.classes else 2
            self.sums = ClassSums(n_label, n_class, n_draw)
        else:
            self.sums = NumberSums(n_label, n_draw)

    def add(
        self,
        batch: MolBatch,
        guess: Shaped[np.ndarray, " k *output"],
        counts: Integer[np.ndarray, "draw mol"],
    ) -> None:
        """Take in the answers about a batch, in the units of the labels or as probabilities."""
        labels = batch.labels[self.task.key]
        truth = known_labels(self.task, labels.values).double().numpy()
        mols = owners(batch, self.task.level, labels.index.numpy())
        if self.task.of_classes:
            if self.task.kind == "classes":
                guess = guess.reshape(*truth.shape, -1)
        else:
            guess, truth = self._scaled(guess, truth)
            if self.fit is not None:
                explained = element_columns(batch)[mols] @ self.fit.prices
                guess = guess - explained
                truth = truth - explained
        self.sums.add(guess, truth, mols, counts[: self.n_draw])
        self.kept.add(guess, truth, batch.ids.numpy()[mols])

    def _scaled(
        self, guess: Shaped[np.ndarray, "k label"], truth: Float[np.ndarray, "k label"]
    ) -> tuple[Float[np.ndarray, "k label"], Float[np.ndarray, "k label"]]:
        """Numbers in standard deviations of the training rows above their mean."""
        mean = np.array(self.task.mean)
        scale = np.array(self.task.scale)
        return (guess - mean) / scale, (truth - mean) / scale


class LabelMetrics:
    """Scores of all labels of some tasks, gathered batch by batch.

    `n_label` says how many labels, known or not, each task will have in all batches together, and
    `n_known` how many are known: what is kept, and how many sets are drawn, is decided by them.
    """

    def __init__(
        self,
        tasks: Sequence[ScaledTask],
        groups: Sequence[MolBatch],
        references: References = NO_REFERENCES,
        n_draw: int = N_DRAW,
    ):
        self.references = references
        self.n_draw = n_draw
        n_cell = {task.key: 0 for task in tasks}
        n_known = 0
        for batch in groups:
            for task in tasks:
                if task.key in batch.labels:
                    values = batch.labels[task.key].values
                    n_cell[task.key] += values.numel()
                    n_known += int(values.isfinite().sum()) * (
                        task.n_output // len(task.labels) if task.kind == "classes" else 1
                    )
        self.share = kept_share(n_known)
        affordable = MAX_SUMMED // max(sum(n_cell.values()), 1)
        n_summed = min(n_draw, max(affordable, FEWEST_DRAWS))
        self.tasks = {
            task.key: _TaskAnswers(task, references.fits.get(task.key), n_summed, self.share)
            for task in tasks
        }

    def add(self, batch: MolBatch, answers: Answers) -> None:
        """Take in the answers to a batch (on the CPU)."""
        of_tasks = {key: answers.guess(key) for key in self.tasks}
        of_tasks = {key: guess for key, guess in of_tasks.items() if guess is not None}
        if not of_tasks:
            return
        n_draw = max(self.tasks[key].n_draw for key in of_tasks)
        counts = draw_counts(batch.ids.numpy(), n_draw)
        for key, guess in of_tasks.items():
            self.tasks[key].add(batch, guess, counts)

    def class_scores(self, task: ScaledTask) -> Scores:
        """The scores of `answers.known_scores` over all batches; none where none has a label.

        They are of the labels that are kept, one label at a time: a table of all molecules and
        labels would be mostly unknown.
        """
        kept = self.tasks[task.key].kept
        if not kept.n_row:
            return {}
        known = (KnownAnswers(of_label.guess, of_label.truth) for of_label in kept.each_label())
        return known_scores(task, known)

    def rows(self) -> list[dict]:
        """A row a label and metric: value, interval, and what the trivial answer has.

        `low` and `high` are the ends of a 95 % interval from `draws` resampled sets; None where a
        number is undefined. `sd` is the standard deviation of the label in training rows, and
        `in_sd` an error divided by it. `n` counts known values, `n_positive` those of class 1, and
        `n_ranked` those that a ranking is of.
        """
        rows = []
        n_kept = sum(answers.kept.n_known for answers in self.tasks.values())
        affordable = max(MAX_RANKED // max(n_kept, 1), FEWEST_DRAWS)
        for key, answers in self.tasks.items():
            n_draw = min(answers.n_draw, affordable)
            shares = self.references.shares.get(key)
            rows += _rows_of_task(answers, shares, n_draw)
        return rows


class _Measured(NamedTuple):
    """Values of a metric of each label, the ends of their intervals, and what these rest on."""

    value: Float[np.ndarray, " label"]
    low: Float[np.ndarray, " label"]
    high: Float[np.ndarray, " label"]
    n_draw: int
    n_ranked: Int[np.ndarray, " label"] | None = None


def _rows_of_task(
    answers: _TaskAnswers, shares: Float[np.ndarray, "label class"] | None, n_draw: int
) -> list[dict]:
    """The rows of one task, label by label."""
    task = answers.task
    sums = answers.sums
    summed = sums.scores()
    measured = {name: _with_ends(draws, sums.n_mol) for name, draws in summed.items()}
    measured |= _ranked(answers, summed, n_draw)
    is_binary = task.kind == "binary"
    bars = sums.bars(shares, is_binary) if task.of_classes else sums.bars()
    fitted = answers.fit.fitted if answers.fit else np.zeros(len(task.labels), bool)
    rows = []
    for number, label in enumerate(task.labels):
        described = {
            "task": task.key,
            "label": label,
            "level": task.level,
            "kind": task.kind,
            "n": int(sums.count[0, number]),
            "n_positive": int(sums.n_of_class[number, 1]) if is_binary else None,
        }
        scale = 1.0 if task.of_classes else task.scale[number]
        for name, entry in measured.items():
            factor = scale if name in IN_UNIT else 1.0
            value = entry.value[number]
            n_ranked = entry.n_ranked
            rows.append(
                described
                | {
                    "metric": name + RESIDUAL if fitted[number] and name in OF_RESIDUAL else name,
                    "unit": "" if task.of_classes or name not in IN_UNIT else task.units[number],
                    "value": _plain(value * factor),
                    "low": _plain(entry.low[number] * factor),
                    "high": _plain(entry.high[number] * factor),
                    "in_sd": _plain(value) if name in IN_UNIT else None,
                    "baseline": _plain(bars[name][number] * factor) if name in bars else None,
                    "sd": None if task.of_classes else scale,
                    "draws": entry.n_draw,
                    "n_ranked": None if n_ranked is None else int(n_ranked[number]),
                }
            )
    return rows


def _plain(value: float) -> float | None:
    """A number for a file: None where it is none."""
    return float(value) if np.isfinite(value) else None


_ROUGH = 6  # digits of an end: how products of matrices are added up is not the same everywhere


def _with_ends(
    draws: Float[np.ndarray, "row label"],
    n_mol: Int[np.ndarray, " label"],
    n_ranked: Int[np.ndarray, " label"] | None = None,
) -> _Measured:
    """Values from the first row and intervals from the others; one molecule alone has none."""
    value = draws[0]
    both = ends(draws[1:])
    both = np.where(np.isfinite(value) & (n_mol > 1), both, np.nan)
    low, high = (np.array([float(f"{end:.{_ROUGH}g}") for end in row]) for row in both)
    return _Measured(value, low, high, len(draws) - 1, n_ranked)


def _ranked(
    answers: _TaskAnswers, summed: Mapping[str, Float[np.ndarray, "row label"]], n_draw: int
) -> dict[str, _Measured]:
    """What needs answers that are kept: rankings, and intervals of the calibration error.

    `summed` are the scores that are sums: a correlation is defined where that of numbers is.
    """
    kept = answers.kept
    names = ("auroc", "ap", "ece") if answers.task.of_classes else ("spearman",)
    draws = np.full((len(names), n_draw + 1, len(answers.task.labels)), np.nan)
    n_ranked = np.zeros(len(answers.task.labels), np.int64)
    mols = kept.mols()
    present, place = np.unique(mols, return_inverse=True)
    counts = _with_all(present, n_draw)
    for number, of_label in enumerate(kept.each_label()):
        if not len(of_label.truth) or not np.isfinite(of_label.guess).all():
            continue
        n_ranked[number] = len(of_label.truth)
        draws[:, :, number] = _in_blocks(answers.task, of_label, counts, place[of_label.mols])
    measured = {}
    for name, of_metric in zip(names, draws, strict=True):
        if name == "spearman":
            of_metric[0, ~np.isfinite(summed["pearson"][0])] = np.nan
        if name == "ece":  # its value is a sum over all batches, and no ranking
            of_metric[0] = summed["ece"][0]
        ranked = None if name == "ece" else n_ranked
        measured[name] = _with_ends(of_metric, answers.sums.n_mol, ranked)
    return measured


def _with_all(mols: Int[np.ndarray, " mol"], n_draw: int) -> UInt8[np.ndarray, "mol row"]:
    """How often each molecule counts: once, then as it is drawn in each set."""
    counts = np.ones((len(mols), n_draw + 1), np.uint8)
    for start in range(0, len(mols), CHUNK):  # a hash takes eight bytes a set
        part = slice(start, start + CHUNK)
        counts[part, 1:] = draw_counts(mols[part], n_draw).T
    return counts


def _in_blocks(
    task: ScaledTask,
    answers: LabelAnswers,
    counts: UInt8[np.ndarray, "mol row"],
    place: Int[np.ndarray, " k"],
) -> Float[np.ndarray, "metric row"]:
    """Scores of one label that are no sums, of some sets at a time; `place` says whose they are."""
    n_block = max(MAX_BLOCK // max(len(answers.truth), 1), 1)
    blocks = [
        _scores_of_sets(task, answers, counts[:, start : start + n_block][place])
        for start in range(0, counts.shape[1], n_block)
    ]
    return np.concatenate(blocks, 1)


def _scores_of_sets(
    task: ScaledTask, answers: LabelAnswers, weights: UInt8[np.ndarray, "k row"]
) -> Float[np.ndarray, "metric row"]:
    """Rankings, and of classes the calibration error, of each set."""
    truth = answers.truth
    if not task.of_classes:
        return rank_correlation(truth, answers.guess, weights.T)[None]
    number = truth.astype(np.int64)
    error = calibration_error(*binned_answers(answers.guess, number), weights)
    if task.kind == "binary":
        return np.stack([*rank_draws(answers.guess, number == 1, weights), error])
    of_classes = [
        rank_draws(column, number == label, weights) for label, column in enumerate(answers.guess.T)
    ]
    table = np.array(of_classes)  # class metric row
    is_scored = np.isfinite(table)
    n_scored = is_scored.sum(0)
    mean = np.where(is_scored, table, 0.0).sum(0) / np.maximum(n_scored, 1)
    return np.stack([*np.where(n_scored > 0, mean, np.nan), error])


def task_means(rows: Sequence[Mapping]) -> Scores:
    """A summary of each task: means over its labels that can be scored, and of how many they are.

    `<task>_mean_mae_sd` is of mean absolute errors in standard deviations of training labels, as
    papers give them; `<task>_mean_r2`, `_mean_auroc` and `_mean_ap` are of those scores, and
    `<task>_mean_r2_residual` of extensive labels. With `_n` behind it is the number of labels.
    """
    gathered: dict[str, list[float | None]] = {}
    for row in rows:
        if row["metric"] == "mae":
            gathered.setdefault(f"{row['task']}_mean_mae_sd", []).append(row["in_sd"])
        if row["metric"] in MEANS:
            gathered.setdefault(f"{row['task']}_mean_{row['metric']}", []).append(row["value"])
    means: Scores = {}
    for name, values in gathered.items():
        defined = [value for value in values if value is not None]
        means[name] = float(np.mean(defined)) if defined else None
        means[f"{name}_n"] = len(defined)
    return means
