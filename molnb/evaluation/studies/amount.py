"""How much quantum data? One assay of fixed size, and more and more other molecules with labels."""

from __future__ import annotations

from collections.abc import Sequence

from ...curation.relabelled import renamed_tasks
from ...data.tasks import join_tasks
from ...errors import InputError
from ...shards import Shards
from ..benchmark import BenchmarkTask
from .arms import BEFORE, QUESTION, Arm, auxiliary_ids, reference_arms
from .curves import LearningCurve, Setup


def make_amounts(
    assay: BenchmarkTask,
    quantum: Sequence[Shards],
    amounts: Sequence[int],
    setup: Setup,
    size: int = 100,
) -> LearningCurve:
    """A curve over the number of quantum molecules: an arm an amount, each among the next.

    Steps are the same for all: more molecules are seen less often each. Raises InputError for an
    amount that the data do not have.
    """
    arms = reference_arms(setup.seed)
    sets = joined(quantum)
    n_all = len(auxiliary_ids(Arm("all", QUESTION, BEFORE, sets), assay))
    for n in amounts:
        if not 1 <= n <= n_all:
            raise InputError(
                f"{n:,} quantum molecules are asked for: there are {n_all:,} that are no molecules "
                f"of {assay.shards.name}; curate more, or give smaller amounts"
            )
        arms.append(Arm(amount_name(n), QUESTION, BEFORE, sets, n=n, seed=setup.seed))
    name = f"{assay.label} of {assay.shards.name}, {size} labels"
    return setup.curve(name, assay, arms, (size,))


def amount_name(n: int) -> str:
    """What the arm with n quantum molecules is called."""
    return f"{n:,} molecules"


def joined(quantum: Sequence[Shards]) -> tuple[Shards, ...]:
    """Datasets whose tasks bear the names of the first one's where they mean the same.

    So one head learns a label of all of them. The recipes call them nci_orbitals and wehi_orbitals.
    """
    sets = [quantum[0]]
    known = join_tasks(sets)
    for shards in quantum[1:]:
        names = {}
        for name, task in join_tasks([shards]).items():
            alike = [other for other in known.values() if other.means_the_same_as(task)]
            names[name] = alike[0].key if alike else name
        sets.append(renamed_tasks(shards, names))
    return tuple(sets)
