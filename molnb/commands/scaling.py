"""The command advise: what to train for a budget, by the scaling law of runs that there are."""

from __future__ import annotations

import argparse
import sys

from ..extras import require
from .options import Add

_ADVICE = """
Runs are of three sizes or more, trained on three amounts of data or more; several seeds of each
size make intervals honest. A folder stands for all runs in it. Refused, with exit code 2, where the
runs cannot tell, or where the best size is more than ten times beyond those that were trained.
"""


def run_advise(args: argparse.Namespace) -> int:
    """say which size to train for a budget of hours, and on how many molecules"""
    require("scipy", "sklearn")  # else an extra that is not enough would be named
    from ..evaluation.scaling.advice import advise, choose_points
    from ..evaluation.scaling.bootstrap import bootstrap_law
    from ..evaluation.scaling.fitting import fit_law
    from ..evaluation.scaling.points import find_runs, loss_points, sizes_table
    from ..figures.tables import show_table

    points = loss_points(find_runs(args.runs), args.features, args.part)
    chosen, about = choose_points(points)
    resampled = bootstrap_law(fit_law(chosen))
    rate = args.flops_per_second
    advice = advise(resampled, points, args.hours, flops_per_second=rate)
    print(show_table(sizes_table(chosen)))
    print("\n".join(["", about, *resampled.sentences(), "", *advice.sentences()]))
    for note in points.attrs["notes"]:
        print(note, file=sys.stderr)
    return 0


def add_scaling(add: Add) -> None:
    """The command advise."""
    command = add("advise", run_advise)
    command.epilog = _ADVICE
    command.add_argument(
        "runs", metavar="RUN", nargs="+", help="folders or names of runs, or a folder of many"
    )
    command.add_argument("--hours", type=float, required=True, help="the budget")
    command.add_argument(
        "--features",
        default="hidden",
        choices=("hidden", "visible"),
        help="how validations showed features (default: hidden)",
    )
    command.add_argument(
        "--part", default="val", help="which molecules were validated (default: val)"
    )
    command.add_argument(
        "--flops-per-second",
        type=float,
        metavar="X",
        help="of the machine that the budget is of (default: as the runs had)",
    )
