"""What counting atoms explains of a label: a linear fit on element counts of the training rows.

A total energy, a heat capacity or a polarisability grows with the molecule. How much of its
variance a model explains then says that it counts atoms, which a fit does as well. Of such
extensive labels the share that is explained is of what the fit leaves over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..data.batch import MolBatch
from ..data.dataset import Corpus
from ..rng import hash_sample
from ..shapes import Bool, Float, Shaped
from .targets import ScaledTask

# How quantities begin that grow with the molecule, whatever a recipe adds behind a comma.
EXTENSIVE = (
    "total energy",
    "internal energy",
    "enthalpy",
    "free energy",
    "atomisation energy",
    "heat of formation",
    "heat capacity",
    "zero-point vibrational energy",
    "dispersion energy",
    "polarisability",
    "isotropic polarisability",
    "electronic spatial extent",
    "inertia of the masses",
    "inertia of the valence electrons",
    "molecular weight",
    "molecular mass",
    "number of atoms",
    "number of heavy atoms",
    "number of electrons",
)
# What makes them a difference between molecules of one formula, or a residual.
RELATIVE = ("above that of", "linear fit on element counts")
EXPLAINED = 0.95  # of the variance: then counting is what a label is, whatever it is called
N_FITTED = 5000  # training molecules that a fit is of, a fixed hash sample
CHUNK = 1024  # molecules read together
ROWS_PER_ELEMENT = 10  # with fewer a fit is no evidence for what the label is
N_ELEMENT = 128  # atomic numbers are below
_HYDROGENS = 3  # column of the atoms' features
_HYDROGEN = 1
_DIGITS = 9  # of a price, so that it does not depend on the order of sums

_SMALL = np.int16  # of counts that wait in memory

Columns = Shaped[np.ndarray, "mol column"]


class ElementFit(NamedTuple):
    """Prices of elements for the labels of a task, in standard deviations above the mean.

    `fitted` labels are extensive; the prices of others are zero. The first price is a constant.
    """

    prices: Float[np.ndarray, "column label"]
    fitted: Bool[np.ndarray, " label"]


def is_extensive(quantity: str) -> bool:
    """Whether a quantity, as a recipe names it, grows with the number of atoms."""
    words = " ".join(quantity.lower().split())
    return words.startswith(EXTENSIVE) and not any(phrase in words for phrase in RELATIVE)


def element_columns(batch: MolBatch) -> Columns:
    """Of each molecule a one, then how many atoms it has of each element, from hydrogen on.

    Hydrogens are those that features name, whether or not the batch holds them as atoms.
    """
    numbers = batch.numbers.numpy().astype(np.int64)
    owner = np.repeat(np.arange(batch.n_mol), batch.n_atoms.numpy())
    counts = np.zeros((batch.n_mol, N_ELEMENT))
    np.add.at(counts, (owner, numbers), 1)
    hydrogens = np.where(numbers == _HYDROGEN, 0, batch.feats.numpy()[:, _HYDROGENS])
    counts[:, _HYDROGEN] = np.bincount(owner, hydrogens, batch.n_mol)
    counts[:, 0] = 1
    return counts


def fit_elements(
    corpus: Corpus, tasks: Sequence[ScaledTask], train_ids: np.ndarray
) -> dict[str, ElementFit]:
    """The fit of each task with an extensive label, by its key; over training rows.

    Extensive are numbers of molecules whose quantity is, and those whose variance over training
    rows a fit explains to `EXPLAINED`.
    """
    fits = {}
    corpus = Corpus(corpus.datasets, corpus.hydrogens)  # counting needs no encodings
    for task in tasks:
        if task.level != "molecule" or task.of_classes:
            continue
        columns, values = _rows_of_training(corpus, task, train_ids)
        declared = [is_extensive(label.quantity) for label in corpus.tasks[task.key].labels]
        fit = _fit(columns, values, np.array(declared))
        if fit.fitted.any():
            fits[task.key] = fit
    return fits


def _rows_of_training(
    corpus: Corpus, task: ScaledTask, train_ids: np.ndarray
) -> tuple[Columns, Float[np.ndarray, "mol label"]]:
    """Element counts and scaled labels of a sample of training rows."""
    ids = hash_sample(np.intersect1d(train_ids, corpus.labelled([task.key])), N_FITTED)
    pieces = list(_pieces(corpus, task, ids))
    columns = np.concatenate([np.zeros((0, N_ELEMENT), _SMALL), *(counts for counts, _ in pieces)])
    n_label = (0, len(task.labels))
    values = np.concatenate([np.zeros(n_label), *(labels for _, labels in pieces)])
    return columns, (values - np.array(task.mean)) / np.array(task.scale)


def _pieces(
    corpus: Corpus, task: ScaledTask, ids: np.ndarray
) -> Iterator[tuple[Columns, Float[np.ndarray, "mol label"]]]:
    """Element counts and labels, a chunk of molecules at a time."""
    for start in range(0, len(ids), CHUNK):
        batch = corpus.batch(ids[start : start + CHUNK], [task.key])
        labels = batch.labels[task.key]
        counts = element_columns(batch)[labels.index.numpy()].astype(_SMALL)
        yield counts, labels.values.double().numpy()


def _fit(
    columns: Columns, values: Float[np.ndarray, "mol label"], declared: Bool[np.ndarray, " label"]
) -> ElementFit:
    """Least squares of each label on the columns, where its value is known."""
    prices = np.zeros((columns.shape[1], values.shape[1]))
    fitted = declared.copy()
    used = np.flatnonzero(columns.any(0))
    for number, of_label in enumerate(values.T):
        is_known = np.isfinite(of_label)
        rows = columns[np.ix_(is_known, used)].astype(np.float64)
        truth = of_label[is_known]
        found = np.linalg.lstsq(rows.T @ rows, rows.T @ truth, rcond=1e-12)[0]
        enough = len(truth) >= ROWS_PER_ELEMENT * max(len(used), 1)
        if enough and not declared[number]:
            left = ((truth - rows @ found) ** 2).sum()
            spread = ((truth - truth.mean()) ** 2).sum()
            fitted[number] = left < (1 - EXPLAINED) * spread
        if fitted[number]:
            prices[used, number] = [float(f"{price:.{_DIGITS}g}") for price in found]
    return ElementFit(prices, fitted)
