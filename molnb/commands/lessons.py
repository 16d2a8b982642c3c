"""Commands on lessons: run one or all, and write pages."""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import datetime
from pathlib import Path

from .options import PAIR, Add, add_force, given_shared, refuse_given

NOT_OF_LESSONS = {
    "workers": "no lesson has this parameter; for a notebook that has it write -p workers N",
    "device": "no lesson has this parameter; for a notebook that has it write -p device NAME",
}

# Modules with the work itself are imported inside the commands: `molnb --help` answers at once, and
# a machine that only trains needs no RDKit to do so.


def run_tour(args: argparse.Namespace) -> int:
    """run all lessons in order; leaves pages in runs/tour/index.html"""
    from ..notebooks.execution import tour

    refuse_given(args, **NOT_OF_LESSONS)
    results = tour(args.out, size=args.size, parameters=given_shared(args), force=args.force)
    return next((result.code for result in results if result.code), 0)


def run_one(args: argparse.Namespace) -> int:
    """run one notebook with other parameters and keep the executed copy"""
    from ..notebooks.execution import find_notebook, run_notebook
    from ..paths import home

    refuse_given(args, **NOT_OF_LESSONS)
    # papermill warns of parameters that its own reader does not know, such as `int | None`.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    path = find_notebook(args.notebook)
    parameters = {**given_shared(args), **dict(args.parameter)}
    out = args.out
    if out is None:
        out = home() / "runs" / "notebooks" / f"{datetime.now():%Y-%m-%d_%H%M%S}_{path.name}"
    result = run_notebook(path, out, parameters, timeout=args.timeout, force=args.force)
    stream = sys.stderr if result.code else sys.stdout
    print(f"{result.line()}\nexecuted copy: {result.path}", file=stream)
    return result.code


def run_export(args: argparse.Namespace) -> int:
    """write a notebook as a web page that needs no network; runs it first if it has no outputs"""
    from ..notebooks.execution import export

    page = export(args.notebook, args.out, args.single, args.force)
    print(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")
    return 0


def run_setup_viewer(args: argparse.Namespace) -> int:
    """get 3Dmol.js once, to turn molecules in 3D without a network (`make` has done this)"""
    from ..figures.threedmol import install_viewer

    print(f"molecules can be turned in 3D: {install_viewer()}")
    return 0


def add_lessons(add: Add) -> None:
    """The commands tour, run, export and setup-viewer."""
    command = add(
        "tour", run_tour, "seed", out="folder that gets data/ and runs/ (default: MOLNB_HOME, here)"
    )
    add_force(command)
    command.add_argument(
        "--size", default="tour", choices=("test", "tour", "full"), help="of every lesson"
    )
    command = add("export", run_export)
    command.add_argument("notebook", help="path of an executed copy, or the name of a lesson")
    command.add_argument(
        "--single", action="store_true", help="one file to mail, with all scripts inside"
    )
    command.add_argument("--out", type=Path, help="the page, or a folder for it (default: here)")
    add_force(command)
    add("setup-viewer", run_setup_viewer)
    command = add(
        "run",
        run_one,
        "seed",
        out="the executed copy (default: below runs/notebooks of MOLNB_HOME)",
    )
    add_force(command)
    command.add_argument("notebook", help="path, or the name of a lesson such as 05_pretrain")
    command.add_argument("-p", "--parameter", help="one of the notebook's parameters", **PAIR)
    command.add_argument(
        "--timeout", type=int, metavar="SECONDS", help="give up when one cell takes longer"
    )
