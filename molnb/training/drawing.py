"""How a run draws its training molecules, and what it says of that when it begins."""

from __future__ import annotations

import numpy as np

from ..data.dataset import Corpus
from ..data.draws import Draws, make_draws
from ..data.scaffold_numbers import ScaffoldCodes, scaffold_codes
from ..errors import InputError
from .config import RunConfig


def run_draws(corpus: Corpus, config: RunConfig, train_ids: np.ndarray) -> Draws:
    """The draws of a run from its training rows; scaffolds are read where they count."""
    by_scaffold = config.sampling.kind == "scaffold"
    scaffolds = train_scaffolds(corpus, train_ids) if by_scaffold else None
    return _make_draws(corpus, config, train_ids, scaffolds)


def train_scaffolds(corpus: Corpus, train_ids: np.ndarray) -> ScaffoldCodes:
    """The scaffolds of training rows, numbered without a gap."""
    of_all = scaffold_codes(corpus.datasets)
    numbers, codes = np.unique(of_all.codes[train_ids], return_inverse=True)
    acyclic = np.flatnonzero(numbers == (-1 if of_all.acyclic is None else of_all.acyclic))
    return ScaffoldCodes(codes, len(numbers), int(acyclic[0]) if len(acyclic) else None)


def _make_draws(
    corpus: Corpus, config: RunConfig, train_ids: np.ndarray, scaffolds: ScaffoldCodes | None
) -> Draws:
    return make_draws(
        config.sampling,
        config.seed,
        len(train_ids),
        None if scaffolds is None else scaffolds.codes,
        np.searchsorted(corpus.starts, train_ids, side="right") - 1,
        weighed_names(corpus, config),
    )


def weighed_names(corpus: Corpus, config: RunConfig) -> list[str]:
    """What weights call each dataset: the name of its folder if they do, else of its recipe.

    Raises InputError where two datasets would bear one name.
    """
    weights = config.sampling.weights
    folders = [shards.path.name for shards in corpus.datasets]
    names = [
        folder if folder in weights else shards.name
        for folder, shards in zip(folders, corpus.datasets, strict=True)
    ]
    if weights and len(set(names)) < len(names):
        raise InputError(
            f"sampling.weights: several datasets are called {' and '.join(sorted(set(names)))}; "
            f"name their folders instead: {', '.join(folders)}"
        )
    return names


# --------------------------------------------------------------------------------------- notes


def draw_notes(corpus: Corpus, config: RunConfig, train_ids: np.ndarray) -> list[str]:
    """What sampling by scaffold or by weight comes to, a sentence or two each; else nothing."""
    if config.sampling.plain:
        return []
    scaffolds = None
    if config.sampling.kind == "scaffold":
        scaffolds = train_scaffolds(corpus, train_ids)
    draws = _make_draws(corpus, config, train_ids, scaffolds)
    probabilities = draws.probabilities()
    n_draw = config.steps * config.global_batch
    notes = []
    if scaffolds is not None:
        notes.append(_scaffold_note(config.sampling.tau, scaffolds, probabilities))
    if config.sampling.weights:
        notes.append(_weight_note(corpus, config, train_ids, probabilities))
    notes.append(
        f"{n_draw:,} draws are {n_draw / draws.n:.2g} epochs of {draws.n:,} training molecules; "
        f"about {draws.expected_seen(n_draw):,.0f} of them will be seen."
    )
    return notes


def _scaffold_note(tau: float, scaffolds: ScaffoldCodes, probabilities: np.ndarray) -> str:
    n = len(scaffolds.codes)
    drawn = np.bincount(scaffolds.codes, probabilities, scaffolds.n)
    counts = np.bincount(scaffolds.codes, minlength=scaffolds.n)
    first = int(np.argmax(drawn))
    note = (
        f"Scaffolds are drawn with softmax(share / {tau:g}): {scaffolds.n:,} of them, effective "
        f"number {effective_number(drawn):,.1f}; the most probable has {counts[first] / n:.1%} of "
        f"the molecules and {drawn[first]:.1%} of the draws."
    )
    if scaffolds.acyclic is not None:
        share = counts[scaffolds.acyclic] / n
        note += (
            f" Molecules without a ring, one scaffold together, have {share:.1%} of the molecules "
            f"and {drawn[scaffolds.acyclic]:.1%} of the draws."
        )
    return note


def effective_number(probabilities: np.ndarray) -> float:
    """How many equally probable classes would have the entropy of these: exp(entropy)."""
    positive = probabilities[probabilities > 0]
    return float(np.exp(-(positive * np.log(positive)).sum()))


def _weight_note(
    corpus: Corpus, config: RunConfig, train_ids: np.ndarray, probabilities: np.ndarray
) -> str:
    dataset = np.searchsorted(corpus.starts, train_ids, side="right") - 1
    n_draw = config.steps * config.global_batch
    phrases = []
    for number, name in enumerate(weighed_names(corpus, config)):
        share = probabilities[dataset == number].sum()
        n = int((dataset == number).sum())
        phrases.append(f"{name} {share:.1%} ({share * n_draw / n:.2g} epochs of {n:,} molecules)")
    return f"Datasets are drawn by weight: {', '.join(phrases)}."
