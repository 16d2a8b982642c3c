"""Sums over batches from which scores of labels follow, of all molecules and of resampled sets.

No answer is kept. The first row of a sum is that of all molecules, each counted once and added by
numpy in a fixed order; the others are those of resampled sets, in which a molecule counts as often
as it was drawn.
"""

from __future__ import annotations

import numpy as np

from ..shapes import Bool, Float, Int, Integer, Shaped

N_BIN = 15  # of equal width, for the calibration error (Guo et al. 2017)
SAME = 1e-6  # of the spread of the values: answers that vary by less are one number
NEGLIGIBLE = 1e-9  # standard deviations of the training labels: values that vary by less are one

Draws = Float[np.ndarray, "row label"]


def drawn_sums(
    items: Float[np.ndarray, " k *column"],
    mols: Int[np.ndarray, " k"],
    counts: Integer[np.ndarray, "draw mol"],
) -> Float[np.ndarray, " row *column"]:
    """Sums of items over everything, and over each set; an item belongs to one of the molecules."""
    of_mols = sums_of_molecules(items.reshape(len(items), -1), mols, counts.shape[1])
    with np.errstate(invalid="ignore"):  # an answer may be infinite: its label has no score
        sums = np.concatenate([of_mols.sum(0)[None], counts.astype(np.float64) @ of_mols])
    return sums.reshape(-1, *items.shape[1:])


def sums_of_molecules(
    items: Float[np.ndarray, "k column"], mols: Int[np.ndarray, " k"], n_mol: int
) -> Float[np.ndarray, "mol column"]:
    """The sum over the items of each molecule."""
    sums = np.zeros((n_mol, items.shape[1]))
    if not len(items):
        return sums
    if (np.diff(mols) < 0).any():
        order = np.argsort(mols, kind="stable")
        mols = mols[order]
        items = items[order]
    starts = np.flatnonzero(np.diff(mols, prepend=-1))
    sums[mols[starts]] = items if len(starts) == len(items) else np.add.reduceat(items, starts)
    return sums


def ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """A sum over a count, NaN where nothing was counted."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)


class NumberSums:
    """Errors and moments of numbers, which come in standard deviations of training rows.

    Moments are about the means of what is there so far, and two sets of them are joined as Chan,
    Golub & LeVeque (1983) do: a spread of 1e-6 about a mean of 1e6 keeps its digits.
    """

    def __init__(self, n_label: int, n_draw: int):
        shape = (n_draw + 1, n_label)
        self.count = np.zeros(shape)
        self.truth_mean = np.zeros(shape)
        self.guess_mean = np.zeros(shape)
        self.truth_squares = np.zeros(shape)
        self.guess_squares = np.zeros(shape)
        self.products = np.zeros(shape)
        self.absolute = np.zeros(shape)
        self.squared = np.zeros(shape)
        self.bar = np.zeros(n_label)  # summed sizes of the values: errors of the mean or the fit
        self.bar_squared = np.zeros(n_label)
        self.n_mol = np.zeros(n_label, np.int64)
        self.lowest = np.full(n_label, np.inf)
        self.highest = np.full(n_label, -np.inf)

    def add(
        self,
        guess: Float[np.ndarray, "k label"],
        truth: Float[np.ndarray, "k label"],
        mols: Int[np.ndarray, " k"],
        counts: Integer[np.ndarray, "draw mol"],
    ) -> None:
        """Take in more items; `counts` says how often each of their molecules was drawn."""
        is_known = np.isfinite(truth)
        n_known = np.maximum(is_known.sum(0), 1)
        value = np.where(is_known, truth, 0.0)
        answer = np.where(is_known, guess, 0.0)
        centre = value.sum(0) / n_known
        with np.errstate(invalid="ignore", over="ignore"):
            answer_centre = answer.sum(0) / n_known
            apart = np.where(is_known, value - centre, 0.0)
            answer_apart = np.where(is_known, answer - answer_centre, 0.0)
            error = np.abs(answer - value)
            items = [is_known, apart, answer_apart, apart**2, answer_apart**2, apart * answer_apart]
            sums = drawn_sums(np.stack([*items, error, error**2], 1), mols, counts)
            self._join(*sums[:, :6].swapaxes(0, 1), centre, answer_centre)
            self.absolute += sums[:, 6]
            self.squared += sums[:, 7]
            self.bar += np.abs(value).sum(0)
            self.bar_squared += (value**2).sum(0)
        self.n_mol += known_molecules(is_known, mols, counts.shape[1])
        self.lowest = np.fmin(self.lowest, np.where(is_known, truth, np.inf).min(0, initial=np.inf))
        self.highest = np.fmax(
            self.highest, np.where(is_known, truth, -np.inf).max(0, initial=-np.inf)
        )

    def _join(
        self,
        count: Draws,
        truth: Draws,
        guess: Draws,
        truth_squares: Draws,
        guess_squares: Draws,
        products: Draws,
        centre: Float[np.ndarray, " label"],
        guess_centre: Float[np.ndarray, " label"],
    ) -> None:
        """Join sums about a centre to the moments so far."""
        some = np.maximum(count, 1)
        truth_mean = truth / some
        guess_mean = guess / some
        total = np.maximum(self.count + count, 1)
        shared = self.count * count / total
        shift = np.where(count > 0, centre + truth_mean - self.truth_mean, 0.0)
        guess_shift = np.where(count > 0, guess_centre + guess_mean - self.guess_mean, 0.0)
        self.truth_squares += truth_squares - truth * truth_mean + shift**2 * shared
        self.guess_squares += guess_squares - guess * guess_mean + guess_shift**2 * shared
        self.products += products - truth * guess_mean + shift * guess_shift * shared
        self.truth_mean += shift * count / total
        self.guess_mean += guess_shift * count / total
        self.count += count

    def scores(self) -> dict[str, Draws]:
        """Scores by name, in standard deviations where they have a unit; NaN where undefined."""
        with np.errstate(invalid="ignore", over="ignore"):
            spread = np.sqrt(np.maximum(ratio(self.truth_squares, self.count), 0.0))
            answer_spread = np.sqrt(np.maximum(ratio(self.guess_squares, self.count), 0.0))
            squared = ratio(self.squared, self.count)
            varies = (spread > NEGLIGIBLE) & (self.highest > self.lowest)
            explained = 1 - squared / np.where(varies, spread, 1.0) ** 2
            answers_vary = answer_spread > SAME * spread
            scale = np.where(varies & answers_vary, spread * answer_spread, 1.0)
            correlation = np.clip(ratio(self.products, self.count) / scale, -1, 1)
            # answers that are all the same tell nothing, which is no correlation and not unknown
            correlation = np.where(answers_vary | ~np.isfinite(answer_spread), correlation, 0.0)
            return {
                "mae": ratio(self.absolute, self.count),
                "rmse": np.sqrt(squared),
                "r2": np.where(varies, explained, np.nan),
                "pearson": np.where(varies, correlation, np.nan),
            }

    def bars(self) -> dict[str, Float[np.ndarray, " label"]]:
        """The scores of answering zero: the training mean, or where there is one the fit."""
        count = self.count[0]
        with np.errstate(invalid="ignore"):
            spread = ratio(self.truth_squares[0], count)
            varies = (np.sqrt(spread) > NEGLIGIBLE) & (self.highest > self.lowest)
            squared = ratio(self.bar_squared, count)
            nothing = np.where(varies, 0.0, np.nan)
            return {
                "mae": ratio(self.bar, count),
                "rmse": np.sqrt(squared),
                "r2": np.where(varies, 1 - squared / np.where(varies, spread, 1.0), np.nan),
                "pearson": nothing,
                "spearman": nothing,
            }


class ClassSums:
    """Right answers, squared errors and calibration of probabilities, one a class of each label.

    The answer to a binary label is a probability of class 1, here and in `N_BIN` bins; several
    classes have one each, and the likeliest is what is binned.
    """

    def __init__(self, n_label: int, n_class: int, n_draw: int):
        shape = (n_draw + 1, n_label)
        self.count = np.zeros(shape)
        self.right = np.zeros(shape)
        self.squared = np.zeros(shape)
        self.n_of_class = np.zeros((n_label, n_class), np.int64)
        self.n_mol = np.zeros(n_label, np.int64)
        self.confidence = np.zeros((n_label, N_BIN))  # summed in each bin
        self.hits = np.zeros((n_label, N_BIN))

    def add(
        self,
        guess: Shaped[np.ndarray, "k label *class"],
        truth: Float[np.ndarray, "k label"],
        mols: Int[np.ndarray, " k"],
        counts: Integer[np.ndarray, "draw mol"],
    ) -> None:
        """Take in more items; `counts` says how often each of their molecules was drawn."""
        is_known = np.isfinite(truth)
        number = np.where(is_known, truth, 0.0).astype(np.int64)
        confidence, hit = binned_answers(guess, number)
        items = [is_known, is_right(guess, number), squared_error(guess, number)]
        items = [np.where(is_known, item, 0.0) for item in items]
        count, right, squared = drawn_sums(np.stack(items, 1), mols, counts).swapaxes(0, 1)
        self.count += count
        self.right += right
        self.squared += squared
        self.n_mol += known_molecules(is_known, mols, counts.shape[1])
        _, label = np.nonzero(is_known)
        self.n_of_class += counted(label, number[is_known], self.n_of_class.shape)
        place = bin_of(confidence[is_known])
        for total, values in ((self.confidence, confidence), (self.hits, hit)):
            total += counted(label, place, total.shape, values[is_known])

    def scores(self) -> dict[str, Draws]:
        """Scores by name; NaN where undefined. The calibration error is that of the first row."""
        gap = np.abs(self.confidence - self.hits).sum(-1)
        return {
            "accuracy": np.where(np.isfinite(self.squared), ratio(self.right, self.count), np.nan),
            "brier": ratio(self.squared, self.count),
            "ece": ratio(gap, self.count[0])[None],
        }

    def bars(
        self, shares: Float[np.ndarray, "label class"] | None, is_binary: bool
    ) -> dict[str, Float[np.ndarray, " label"]]:
        """The scores of answering how frequent each class is among training rows."""
        count = self.n_of_class.sum(1)
        frequency = ratio(self.n_of_class, count[:, None])
        defined = (self.n_of_class > 0).sum(1) > 1
        precision = frequency[:, 1]
        if not is_binary:  # the mean over classes that occur
            precision = ratio(frequency.sum(1), (self.n_of_class > 0).sum(1))
        bars = {
            "auroc": np.where(defined, 0.5, np.nan),
            "ap": np.where(defined, precision, np.nan),
        }
        if shares is None:
            return bars
        likeliest = shares.argmax(1)[:, None]
        likely = 1 if is_binary else likeliest
        of_binned = [
            np.take_along_axis(table, np.broadcast_to(likely, likeliest.shape), 1)[:, 0]
            for table in (shares, frequency)
        ]
        squared = (frequency * ((shares**2).sum(1)[:, None] - 2 * shares + 1)).sum(1)
        return bars | {
            "accuracy": np.take_along_axis(frequency, likeliest, 1)[:, 0],
            "brier": squared / 2 if is_binary else squared,
            "ece": np.abs(of_binned[0] - of_binned[1]),
        }


def counted(
    label: Int[np.ndarray, " item"],
    column: Int[np.ndarray, " item"],
    shape: tuple[int, int],
    values: Shaped[np.ndarray, " item"] | None = None,
) -> Shaped[np.ndarray, "label column"]:
    """How many items, or their summed values, lie in each column of each label."""
    return np.bincount(label * shape[1] + column, values, shape[0] * shape[1]).reshape(shape)


def known_molecules(
    is_known: Bool[np.ndarray, "k label"], mols: Int[np.ndarray, " k"], n_mol: int
) -> Int[np.ndarray, " label"]:
    """How many molecules have a known value of each label."""
    n_known = sums_of_molecules(is_known.astype(np.float64), mols, n_mol)
    return (n_known > 0).sum(0)


def of_class(
    guess: Shaped[np.ndarray, "*item class"], number: Int[np.ndarray, "*item"]
) -> Shaped[np.ndarray, "*item"]:
    """The probability of a class of each item."""
    return np.take_along_axis(guess, number[..., None], -1)[..., 0]


def is_right(guess: np.ndarray, number: Int[np.ndarray, "*item"]) -> Bool[np.ndarray, "*item"]:
    """Whether the likeliest class is the true one."""
    if guess.ndim == number.ndim:
        return (guess > 0.5) == (number == 1)
    return guess.argmax(-1) == number


def squared_error(guess: np.ndarray, number: Int[np.ndarray, "*item"]) -> np.ndarray:
    """Squared error of the probability of class 1, of several classes summed over all (Brier)."""
    guess = guess.astype(np.float64)
    if guess.ndim == number.ndim:
        return (guess - number) ** 2
    return (guess**2).sum(-1) - 2 * of_class(guess, number) + 1


def binned_answers(
    guess: np.ndarray, number: Int[np.ndarray, "*item"]
) -> tuple[Float[np.ndarray, "*item"], Bool[np.ndarray, "*item"]]:
    """What is held against what in the calibration: a probability, and whether that came true."""
    if guess.ndim == number.ndim:
        return guess.astype(np.float64), number == 1
    return guess.max(-1).astype(np.float64), guess.argmax(-1) == number


def bin_of(confidence: Float[np.ndarray, " item"]) -> Int[np.ndarray, " item"]:
    """The bin of each probability; what is none goes into the first, where it is seen."""
    place = np.nan_to_num(confidence) * N_BIN
    return np.clip(place.astype(np.int64), 0, N_BIN - 1)


def calibration_error(
    confidence: Float[np.ndarray, " item"],
    hit: Bool[np.ndarray, " item"],
    weights: Shaped[np.ndarray, "item row"],
) -> Float[np.ndarray, " row"]:
    """Mean gap between probability and frequency in bins (ECE), where items count as weighed."""
    place = bin_of(confidence)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    gaps = (confidence - hit)[order, None] * weights[order]
    gap = np.abs(np.add.reduceat(gaps, starts, axis=0)).sum(0)
    return ratio(gap, weights.sum(0, dtype=np.int64))
