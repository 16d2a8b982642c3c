"""The studies that `molnb study NAME` runs, at three sizes, on data that come with RDKit.

low_resource   does quantum data help a small assay? learning curves between controls
controls       does the design find a planted gain, and none in shuffled labels?
amount         how much quantum data does it take?
diversity      many kinds of labels on few molecules, or few on many?
interference   which quantum tasks help or hinder each other?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from ...errors import InputError, did_you_mean
from ...files import write_table
from ...paths import home
from ..classical import classical_methods
from ..statistics import Interval
from .arms import AGAIN, ALONE
from .curves import LearningCurve
from .design import readable_change
from .diversity import by_number
from .plans import (
    Plan,
    plan_amount,
    plan_controls,
    plan_diversity,
    plan_interference,
    plan_low_resource,
)

Watch = Callable[[int, int], Any]
BARS = ("mean", "1-NN", "ridge", "LightGBM")  # classical methods beside the curves


class Report(NamedTuple):
    """What a study says: sentences, and tables by name."""

    sentences: list[str]
    tables: dict[str, pd.DataFrame]


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
    limit = f"would be found from {study.smallest_change(table):.1f} %"
    sentences = [f"{arm}: {readable_change(change)} ({limit})" for arm, change in verdicts.items()]
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
        f"{row['kinds of labels']} kinds of labels: {_change_in(row)}"
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
        f"{len(matrix)} comparisons: {len(helped)} times a task's error falls beside others, "
        f"{len(hindered)} times it rises, beyond the interval."
    ]
    sentences += [
        f"{row['task']} beside {row['beside']}: {_change_in(row)} (would be found from "
        f"{row['smallest']:.1f} %)"
        for row in pd.concat([helped, hindered]).to_dict("records")
    ]
    return Report(sentences, {"matrix": matrix, "errors": study.table()})


def _change_in(row: Mapping[str, Any]) -> str:
    """The change that a row of a table holds, as text."""
    return readable_change(Interval(row["change"], row["low"], row["high"], float("nan")))


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

    The folder is one of the plan below ``MOLNB_HOME/runs`` unless another is given; finished trials
    in it are not repeated. Raises InputError for a study that there is not.
    """
    if name not in _RUN:
        raise InputError(
            f"no study is called {name!r}{did_you_mean(name, STUDIES)}: choose of "
            f"{', '.join(STUDIES)}"
        )
    folder = Path(folder or home() / "runs" / f"study-{name}-{plan.id}").resolve()
    report = _RUN[name](plan, folder, workers, watch)
    for title, table in report.tables.items():
        content = pa.Table.from_pandas(table, preserve_index=False)
        write_table(content, folder / f"{title.replace(' ', '_')}.parquet")
    return report
