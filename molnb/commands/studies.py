"""The command study: questions that take many runs, answered between controls."""

from __future__ import annotations

import argparse
from typing import Any

from ..extras import require
from .options import PAIR, Add, refuse_given

_NAMES = ("low_resource", "controls", "amount", "diversity", "interference")
_STUDIES = """
low_resource: does quantum data help a small assay? Learning curves of all arms on the same folds,
between controls. controls: does the design find a planted gain, and none in shuffled labels?
amount: how much quantum data? diversity: many kinds of labels on few molecules, or few on many?
interference: which tasks help or hinder each other, in pairs and all together? A study that was
interrupted goes on: finished runs in its folder are not repeated. --set changes what it is made of
(assay, task, quantum, sizes, n_fold, n_seed, ...), how its arms learn (settings.preset,
settings.steps, ...) and their network (settings.changes.model.layer gated_gcn, ...).
"""


def run_study_command(args: argparse.Namespace) -> int:
    """answer a question with many runs and controls, such as whether quantum data help an assay"""
    require("scipy", "sklearn", "lightgbm")
    from ..evaluation.studies.catalogue import run_study
    from ..evaluation.studies.plans import make_plan
    from ..figures.tables import show_table
    from ..training.device import keep_freed_memory
    from ..training.overrides import change

    refuse_given(args, device="trials run on the CPU, one a core")
    keep_freed_memory()  # the process is ours
    changes: dict[str, Any] = dict(args.set)
    if args.seed is not None:
        changes["seed"] = args.seed
    plan = change(make_plan(args.size), changes)
    report = run_study(args.name, plan, args.out, args.workers)
    for title, table in report.tables.items():
        if title != "errors":
            print(f"\n{title}")
            print(show_table(table))
    print()
    print("\n".join(report.sentences))
    return 0


def add_studies(add: Add) -> None:
    """The command study."""
    command = add(
        "study",
        run_study_command,
        "seed",
        "workers",
        out="the study's folder, new or begun (default: one of its plan below runs/ of MOLNB_HOME)",
    )
    command.epilog = _STUDIES
    command.add_argument("name", metavar="NAME", choices=_NAMES, help=", ".join(_NAMES))
    command.add_argument(
        "--size", default="full", help="test (seconds), tour (a rehearsal) or full (the study)"
    )
    command.add_argument("--set", help="change a field of the study's plan", **PAIR)
