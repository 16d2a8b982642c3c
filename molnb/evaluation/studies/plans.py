"""What studies are made of: assays, quantum data, sizes, at three sizes, on data of RDKit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ...curation.pipeline import curate
from ...errors import InputError, did_you_mean
from ...paths import find_data
from ...shards import Shards, load_shards
from ..benchmark import BenchmarkTask, load_benchmark
from .amount import make_amounts
from .arms import Settings
from .auxiliary import with_target
from .controls import Controls, halves, make_controls
from .curves import LearningCurve, Setup
from .diversity import make_diversity
from .interference import Interference, make_interference
from .low_resource import ALL_ARMS, QUANTUM, SHUFFLED, LowResource, make_low_resource

TARGET = "target"


@dataclass(frozen=True)
class Plan:
    """What a study is made of; recipes, sizes and training are those of `SIZES` unless changed.

    `assay` is a recipe, or a curated folder, with the task that is to be helped, `quantum` recipes
    with quantum labels, `inputs` a recipe of the assay's molecules with quantum labels (empty: no
    ceiling), `positive` one whose label `positive_label` of its task `positive_task` is withheld
    for the positive control (the first of `quantum`: half of its molecules are the control's assay,
    the other half its quantum data). `n` rows are taken of each recipe (None: all), `n_positive` of
    the positive control's.
    """

    assay: str = "chembl2321810"
    task: str = "pic50"
    label: str | None = None  # which of the task's labels is tested; None: it has one
    quantum: tuple[str, ...] = ("nci",)
    inputs: str = "chembl2321810_xtb"
    positive: str = "wehi_xtb"
    positive_task: str = "wehi_solvation"
    positive_label: str = "solvation_water"
    planted_task: str = "nci_orbitals"  # of the first quantum recipe, for `controls`
    planted_label: str = "gap"
    n: int | None = None
    n_positive: int | None = 1_200
    sizes: tuple[int, ...] = (25, 50, 100, 200, 400, 800)
    positive_sizes: tuple[int, ...] = (25, 100, 400)  # of the positive control's curve
    size: int = 100  # labels of the assay, where they do not vary
    arms: tuple[str, ...] = ALL_ARMS
    amounts: tuple[int, ...] = (1_000, 2_000, 4_000, 8_000, 14_000)
    budget: int = 3_500
    numbers: tuple[int, ...] = (1, 2, 3, 7)
    n_repeat: int = 10  # seeds of `controls`
    n_fold: int = 5
    n_seed: int = 1
    seed: int = 0
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self):
        for name in ("n_seed", "n_repeat"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more")
        for name in ("quantum", "arms", "amounts", "numbers"):
            if not getattr(self, name):
                raise InputError(f"{name} is empty: name at least one")

    def setup(self, folder: Path) -> Setup:
        """How the study is carried out, in a folder."""
        return Setup(self.settings, folder, self.n_fold, self.n_seed, self.seed)

    @property
    def id(self) -> str:
        """Six hexadecimal digits of the plan; other plans have folders of their own."""
        return hashlib.blake2b(repr(self).encode(), digest_size=3).hexdigest()


FULL = Plan()
# no further molecules to compute labels of
_SMALL = {"positive": "nci", "positive_task": "nci_solvation", "n_positive": None}
SIZES = {
    "test": replace(
        FULL,
        n=64,
        **_SMALL,
        sizes=(4,),
        positive_sizes=(4,),
        size=4,
        arms=(QUANTUM, SHUFFLED),
        inputs="",
        amounts=(8, 16),
        budget=16,
        numbers=(1, 2),
        n_repeat=2,
        n_fold=2,
        settings=Settings(steps=2, epochs=0.0, batch=8, auxiliary_steps=2, auxiliary_batch=8),
    ),
    "tour": replace(
        FULL,
        n=300,
        **_SMALL,
        sizes=(25, 75),
        positive_sizes=(50,),
        size=50,
        arms=(QUANTUM, SHUFFLED),
        inputs="",
        amounts=(50, 100, 200),
        budget=200,
        numbers=(1, 2),
        n_repeat=2,
        n_fold=2,
        settings=Settings(steps=12, epochs=2.0, batch=16, auxiliary_steps=20, auxiliary_batch=32),
    ),
    "full": FULL,
}


def make_plan(size: str = "full", **changes: Any) -> Plan:
    """The plan of a size, with some fields changed."""
    if size not in SIZES:
        raise InputError(f"size is {size!r}: choose {', '.join(SIZES)}")
    known = [f.name for f in fields(Plan)]
    for name in changes:
        if name not in known:
            raise InputError(f"a study has no {name!r}{did_you_mean(name, known)}")
    return replace(SIZES[size], **changes)


def load_dataset(name: str, n: int | None = None, labels: bool = True) -> Shards:
    """Shards by their folder, or of a recipe, of which `n` rows are curated.

    Without `labels` those are left out that a recipe would compute.
    """
    try:
        folder = find_data(name)
    except InputError:
        return curate(name, n=n, labels=labels)
    return load_shards(folder)


def load_assay(plan: Plan) -> BenchmarkTask:
    """The assay of a plan."""
    return load_benchmark(load_dataset(plan.assay, plan.n), plan.task, label=plan.label)


def load_quantum(plan: Plan) -> list[Shards]:
    """The quantum data of a plan."""
    return [load_dataset(name, plan.n) for name in plan.quantum]


def plan_low_resource(plan: Plan, folder: Path) -> LowResource:
    """The study of low resources, its data curated; nothing is trained yet."""
    quantum = load_quantum(plan)
    if plan.positive == plan.quantum[0]:
        shards = quantum[0]
        kept, _ = halves(shards, plan.seed)
    else:
        shards = load_dataset(plan.positive, plan.n_positive)
        kept = None
    target = with_target(shards, plan.positive_task, plan.positive_label, kept)
    positive = load_benchmark(target, TARGET)
    inputs = load_dataset(plan.inputs, plan.n) if plan.inputs else None
    sizes = (plan.sizes, plan.positive_sizes)
    return make_low_resource(
        load_assay(plan), positive, quantum, inputs, sizes, plan.setup(folder), plan.arms
    )


def plan_controls(plan: Plan, folder: Path) -> Controls:
    """The check of the design on planted labels."""
    (shards, *_) = load_quantum(plan)
    return make_controls(
        shards,
        plan.planted_task,
        plan.planted_label,
        plan.setup(folder),
        range(plan.seed, plan.seed + plan.n_repeat),
        plan.size,
    )


def plan_amount(plan: Plan, folder: Path) -> LearningCurve:
    """The curve over amounts of quantum data; of several recipes where the plan names them."""
    quantum = load_quantum(plan)
    return make_amounts(load_assay(plan), quantum, plan.amounts, plan.setup(folder), plan.size)


def plan_diversity(plan: Plan, folder: Path) -> LearningCurve:
    """Kinds of labels against molecules, on the first quantum recipe."""
    (shards, *_) = load_quantum(plan)
    setup = plan.setup(folder)
    return make_diversity(load_assay(plan), shards, plan.budget, plan.numbers, setup, plan.size)


def plan_interference(plan: Plan, folder: Path) -> Interference:
    """Pairs of the tasks of the first quantum recipe."""
    (shards, *_) = load_quantum(plan)
    setup = plan.setup(folder)
    return make_interference(shards, replace(setup, n_fold=min(plan.n_fold, 3)))
