"""How a run draws its training molecules, and what it says of that when it begins."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..data.dataset import Corpus
from ..data.draws import Draws, make_draws
from ..data.scaffold_numbers import ScaffoldCodes, scaffold_codes
from ..errors import InputError
from ..shards import Shards
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
    weighed = weighed_datasets(corpus, config, train_ids)
    return make_draws(
        config.sampling,
        config.seed,
        len(train_ids),
        None if scaffolds is None else scaffolds.codes,
        weighed.numbers,
        weighed.names,
    )


class WeighedDatasets(NamedTuple):
    """What weights are for: datasets, or members of a mix, and which of them each row is of."""

    names: list[str]
    numbers: np.ndarray  # int16 [training row]


def weighed_datasets(corpus: Corpus, config: RunConfig, train_ids: np.ndarray) -> WeighedDatasets:
    """The datasets that have shares of the draws, and the number of that of each training row.

    A mix is one dataset, or its members where weights name one of them, or a temperature weighs
    them: a molecule that several have is of the first. Raises InputError where two datasets would
    bear one name.
    """
    names: list[str] = []
    pools = np.zeros(len(train_ids), np.int16)
    for dataset, name in enumerate(weighed_names(corpus, config)):
        shards = corpus.datasets[dataset]
        members = [*shards.manifest.get("mix", {}).get("members", {})]
        start, end = corpus.starts[dataset : dataset + 2]
        chosen = (train_ids >= start) & (train_ids < end)
        by_member = config.sampling.temperature is not None and members
        if by_member or set(members) & set(config.sampling.weights):
            pools[chosen] = len(names) + _first_member(shards, members)[train_ids[chosen] - start]
            names += members
        else:
            pools[chosen] = len(names)
            names.append(name)
    return WeighedDatasets(names, pools)


def _first_member(shards: Shards, members: list[str]) -> np.ndarray:
    """The number of the first member of a mix that has each molecule, int16 [molecule]."""
    numbers = []
    for path in shards.parts():
        column = pq.read_table(path, columns=["dataset"])["dataset"].combine_chunks()
        coded = pc.dictionary_encode(column)  # few texts, as "qm9+tox21", for many molecules
        texts = coded.dictionary.to_pylist()
        first = np.array([members.index(text.partition("+")[0]) for text in texts], np.int16)
        numbers.append(first[coded.indices.to_numpy()])
    return np.concatenate(numbers)


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
    if config.sampling.by_dataset:
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
    weighed = weighed_datasets(corpus, config, train_ids)
    n_draw = config.steps * config.global_batch
    phrases = []
    for number, name in enumerate(weighed.names):
        of_dataset = weighed.numbers == number
        share = probabilities[of_dataset].sum()
        n = int(of_dataset.sum())
        if not n:
            phrases.append(f"{name} not at all (no training molecules)")
            continue
        phrases.append(f"{name} {share:.1%} ({share * n_draw / n:.2g} epochs of {n:,} molecules)")
    temperature = config.sampling.temperature
    how = "weight" if temperature is None else f"size, at temperature {temperature:g}"
    return f"Datasets are drawn by {how}: {', '.join(phrases)}."
