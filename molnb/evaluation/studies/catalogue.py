"""The studies that `molnb study NAME` runs, at three sizes, on data that come with RDKit.

low_resource   does quantum data help a small assay? learning curves between controls
controls       does the design find a planted gain, and none in shuffled labels?
amount         how much quantum data does it take?
diversity      many kinds of labels on few molecules, or few on many?
interference   which quantum tasks help or hinder each other?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from ...curation.pipeline import curate
from ...errors import InputError, did_you_mean
from ...files import write_table
from ...paths import find_data, home
from ...shards import Shards, load_shards
from ..benchmark import BenchmarkTask, load_benchmark
from ..classical import classical_methods
from .amount import make_amounts
from .arms import AGAIN, ALONE, Settings
from .auxiliary import with_target
from .controls import Controls, halves, make_controls
from .curves import LearningCurve
from .diversity import by_number, make_diversity
from .interference import Interference, make_interference
from .low_resource import ALL_ARMS, QUANTUM, SHUFFLED, LowResource, make_low_resource

Watch = Callable[[int, int], Any]
TARGET = "target"
BARS = ("mean", "1-NN", "ridge", "LightGBM")  # classical methods beside the curves


@dataclass(frozen=True)
class Plan:
    """What a study is made of; recipes, sizes and training are those of `SIZES` unless changed.

    `assay` is a recipe with a task of one label, `quantum` recipes with quantum labels, `inputs` a
    recipe of the assay's molecules with quantum labels (empty: no ceiling), `positive` one whose
    label `positive_label` of its task `positive_task` is withheld for the positive control (the
    first of `quantum`: half of its molecules are the control's assay, the other half its quantum
    data). `n` rows are taken of each recipe (None: all), `n_positive` of the positive control's.
    """

    assay: str = "chembl2321810"
    task: str = "pic50"
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


FULL = Plan()
# no further molecules to compute labels of
_SMALL = {"positive": "nci", "positive_task": "nci_solvation", "n_positive": None}
SIZES = {
    "test": replace(
        FULL,
        n=64,
        **_SMALL,
        sizes=(4, 8),
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
        size=50,
        arms=(QUANTUM, SHUFFLED),
        inputs="",
        amounts=(50, 100, 200),
        budget=200,
        numbers=(1, 2),
        n_repeat=2,
        n_fold=3,
        settings=Settings(steps=20, epochs=4.0, batch=32, auxiliary_steps=60, auxiliary_batch=64),
    ),
    "full": FULL,
}


class Report(NamedTuple):
    """What a study says: sentences, and tables by name."""

    sentences: list[str]
    tables: dict[str, pd.DataFrame]


def make_plan(size: str = "full", **changes: Any) -> Plan:
    """The plan of a size, with some fields changed."""
    if size not in SIZES:
        raise InputError(f"size is {size!r}: choose {', '.join(SIZES)}")
    known = [f.name for f in fields(Plan)]
    for name in changes:
        if name not in known:
            raise InputError(f"a study has no {name!r}{did_you_mean(name, known)}")
    return replace(SIZES[size], **changes)


def load_dataset(name: str, n: int | None = None) -> Shards:
    """Shards by their folder, or of a recipe, of which `n` rows are curated."""
    try:
        folder = find_data(name)
    except InputError:
        return curate(name, n=n)
    return load_shards(folder)


def load_assay(plan: Plan) -> BenchmarkTask:
    """The assay of a plan."""
    return load_benchmark(load_dataset(plan.assay, plan.n), plan.task)


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
    return make_low_resource(
        load_assay(plan),
        positive,
        quantum,
        inputs,
        plan.sizes,
        plan.settings,
        folder,
        plan.arms,
        plan.n_fold,
        plan.n_seed,
        plan.seed,
    )


def plan_controls(plan: Plan, folder: Path) -> Controls:
    """The check of the design on planted labels."""
    (shards, *_) = load_quantum(plan)
    return make_controls(
        shards,
        plan.planted_task,
        plan.planted_label,
        plan.settings,
        folder,
        range(plan.seed, plan.seed + plan.n_repeat),
        plan.size,
        plan.n_fold,
    )


def plan_amount(plan: Plan, folder: Path) -> LearningCurve:
    """The curve over amounts of quantum data; of several recipes where the plan names them."""
    quantum = load_quantum(plan)
    return make_amounts(
        load_assay(plan),
        quantum,
        plan.amounts,
        plan.settings,
        folder,
        plan.size,
        plan.n_fold,
        plan.n_seed,
        plan.seed,
    )


def plan_diversity(plan: Plan, folder: Path) -> LearningCurve:
    """Kinds of labels against molecules, on the first quantum recipe."""
    (shards, *_) = load_quantum(plan)
    return make_diversity(
        load_assay(plan),
        shards,
        plan.budget,
        plan.numbers,
        plan.settings,
        folder,
        plan.size,
        plan.n_fold,
        plan.n_seed,
        plan.seed,
    )


def plan_interference(plan: Plan, folder: Path) -> Interference:
    """Pairs of the tasks of the first quantum recipe."""
    (shards, *_) = load_quantum(plan)
    return make_interference(shards, plan.settings, folder, min(plan.n_fold, 3), None, plan.seed)


def _run_low_resource(plan: Plan, folder: Path, workers: int | None, watch: Watch) -> Report:
    study = plan_low_resource(plan, folder)
    smallest = study.resolve(workers, watch)
    for row in smallest.itertuples():
        print(
            f"{row.panel}, {row.size} labels: smallest difference that can be found "
            f"{row.resolvable:.3g} {row.unit} ({row.in_percent:.0f} % of the error)"
        )
    study.run(workers, watch)
    table = study.table()
    methods = classical_methods()
    bars = study.classical({name: methods[name] for name in BARS})
    tables = {
        "smallest differences": smallest,
        "differences": study.differences(table),
        "errors": table,
        "classical": bars,
        "cost": cost_table(table),
    }
    return Report(study.conclusions(table), tables)


def _run_controls(plan: Plan, folder: Path, workers: int | None, watch: Watch) -> Report:
    study = plan_controls(plan, folder)
    study.run(workers, watch)
    return Report(study.conclusions(), {"found": study.found(), "errors": study.table()})


def _run_amount(plan: Plan, folder: Path, workers: int | None, watch: Watch) -> Report:
    study = plan_amount(plan, folder)
    return _run_curve(study, workers, watch)


def _run_curve(study: LearningCurve, workers: int | None, watch: Watch) -> Report:
    study.run(workers, watch, (ALONE, AGAIN))
    smallest = study.smallest_differences(study.table())
    for row in smallest.itertuples():
        print(f"{study.name}: smallest difference that can be found {row.in_percent:.0f} %")
    study.run(workers, watch)
    table = study.table()
    verdicts = study.verdicts(table)
    sentences = [
        f"{arm}: {change.mean:+.1f} % ({change.low:+.1f} to {change.high:+.1f})"
        for arm, change in verdicts.items()
    ]
    tables = {
        "smallest differences": smallest,
        "differences": study.differences(table),
        "errors": table,
        "cost": cost_table(table),
    }
    return Report(sentences, tables)


def _run_diversity(plan: Plan, folder: Path, workers: int | None, watch: Watch) -> Report:
    study = plan_diversity(plan, folder)
    report = _run_curve(study, workers, watch)
    numbers = by_number(study)
    sentences = [
        f"{row['kinds of labels']} kinds of labels: {row['change']:+.1f} % "
        f"({row['low']:+.1f} to {row['high']:+.1f})"
        for row in numbers.to_dict("records")
    ]
    return Report(sentences, {"by number": numbers, **report.tables})


def _run_interference(plan: Plan, folder: Path, workers: int | None, watch: Watch) -> Report:
    study = plan_interference(plan, folder)
    study.run(workers, watch)
    matrix = study.matrix()
    helped = matrix[matrix["high"] < 0]
    hindered = matrix[matrix["low"] > 0]
    sentences = [
        f"{len(matrix)} pairs: {len(helped)} times a task's error falls beside another, "
        f"{len(hindered)} times it rises, beyond the interval."
    ]
    sentences += [
        f"{row.task} beside {row.beside}: {row.change:+.1f} % ({row.low:+.1f} to {row.high:+.1f})"
        for row in pd.concat([helped, hindered]).itertuples()
    ]
    return Report(sentences, {"matrix": matrix, "errors": study.table()})


def cost_table(table: pd.DataFrame) -> pd.DataFrame:
    """What the runs of each arm cost: CPU-seconds and memory of one, parameters, number of runs."""
    by_arm = table.groupby(["panel", "arm"], sort=False)
    return by_arm.agg(
        mae=("mae", "mean"),
        cpu_seconds=("cpu_seconds", "mean"),
        peak_mib=("peak_mib", "max"),
        parameters=("parameters", "first"),
        runs=("mae", "size"),
    ).reset_index()


_RUN: Mapping[str, Callable[[Plan, Path, int | None, Watch], Report]] = {
    "low_resource": _run_low_resource,
    "controls": _run_controls,
    "amount": _run_amount,
    "diversity": _run_diversity,
    "interference": _run_interference,
}
STUDIES: Sequence[str] = tuple(_RUN)


def run_study(
    name: str,
    plan: Plan,
    folder: Path | None = None,
    workers: int | None = None,
    watch: Watch | None = None,
) -> Report:
    """Run a study, or what is left of it, and write its tables into its folder as Parquet.

    The folder is below ``MOLNB_HOME/runs`` unless another is given; finished trials in it are not
    repeated. Raises InputError for a study that there is not.
    """
    if name not in _RUN:
        raise InputError(
            f"no study is called {name!r}{did_you_mean(name, STUDIES)}: choose of "
            f"{', '.join(STUDIES)}"
        )
    folder = Path(folder or home() / "runs" / f"study-{name}").resolve()
    report = _RUN[name](plan, folder, workers, watch)
    for title, table in report.tables.items():
        content = pa.Table.from_pandas(table, preserve_index=False)
        write_table(content, folder / f"{title.replace(' ', '_')}.parquet")
    return report
