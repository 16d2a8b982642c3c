"""Commands on lessons: copy them, open them in JupyterLab, run one or all, write pages."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from ..extras import require
from .data import export_data, is_export_of_data
from .options import PAIR, Add, add_force, given_shared, refuse_given

NOT_OF_LESSONS = {
    "workers": "no lesson has this parameter; for a notebook that has it write -p workers N",
    "device": "no lesson has this parameter; for a notebook that has it write -p device NAME",
}
# Of the extra that running lessons needs; else an import that fails may name a smaller extra.
NOTEBOOK_PACKAGES = ("papermill", "ipykernel", "plotly")
FOLDER = "notebooks"  # for lessons to work in, unless another is named

# Modules with the work itself are imported inside the commands: `molnb --help` answers at once, and
# a machine that only trains needs no RDKit to do so.


def run_lessons(args: argparse.Namespace) -> int:
    """copy the lessons, to work in; files of yours are kept"""
    copies = _copy_lessons(args.folder, args.force)
    if copies.different:
        print("--force replaces files that differ", file=sys.stderr)
    print(f"next: molnb lab {shlex.quote(str(copies.folder))}")
    return 0


def _copy_lessons(folder: Path, force: bool = False) -> Any:
    """Copy the lessons and say what became of each."""
    from ..notebooks.lessons import copy_lessons

    copies = copy_lessons(folder, force)
    for name in copies.copied:
        print(f"copied  {copies.folder / name}")
    if copies.equal:
        print(f"{len(copies.equal)} are there already, as they come with molnb")
    for name in copies.different:
        print(f"kept    {copies.folder / name}: it differs from the lesson that comes with molnb")
    return copies


def run_lab(args: argparse.Namespace) -> int:
    """open JupyterLab on the lessons; copies them first where there are none"""
    require("jupyterlab", *NOTEBOOK_PACKAGES)
    from ..notebooks.jupyter import open_lab
    from ..notebooks.lessons import list_notebooks

    further = [argument for argument in args.arguments if argument != "--"]
    has_folder = bool(further) and not further[0].startswith("-")
    folder = Path(further.pop(0) if has_folder else FOLDER)
    if not list_notebooks(folder):
        _copy_lessons(folder)
    return open_lab(folder, further)


def run_tour(args: argparse.Namespace) -> int:
    """run all lessons in order; leaves pages in runs/tour/index.html"""
    require(*NOTEBOOK_PACKAGES)
    from ..notebooks.execution import tour

    refuse_given(args, **NOT_OF_LESSONS)
    results = tour(args.out, size=args.size, parameters=given_shared(args), force=args.force)
    return next((result.code for result in results if result.code), 0)


def run_one(args: argparse.Namespace) -> int:
    """run one notebook with other parameters and keep the executed copy"""
    require(*NOTEBOOK_PACKAGES)
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
    """write a notebook as a web page that needs no network, or curated molecules as a file"""
    if is_export_of_data(args):
        return export_data(args)
    require(*NOTEBOOK_PACKAGES)
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
    """The commands lessons, lab, tour, run, export and setup-viewer."""
    command = add("lessons", run_lessons)
    command.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(FOLDER),
        metavar="FOLDER",
        help="where they go (default: notebooks, here)",
    )
    command.add_argument("--force", action="store_true", help="replace files that differ")
    command = add("lab", run_lab)
    command.usage = "molnb lab [FOLDER] [-- OPTION ...]"
    command.epilog = (
        "Without MOLNB_HOME, data/ and runs/ lie in the folder that this is started in."
    )
    command.add_argument(
        "arguments",
        nargs="*",
        metavar="FOLDER",
        help=(
            "of the lessons (default: notebooks, here); options for jupyter go behind --, "
            "as in: molnb lab -- --no-browser --port 9000"
        ),
    )
    command = add(
        "tour", run_tour, "seed", out="folder that gets data/ and runs/ (default: MOLNB_HOME, here)"
    )
    add_force(command)
    command.add_argument(
        "--size", default="tour", choices=("test", "tour", "full"), help="of every lesson"
    )
    command = add("export", run_export)
    command.usage = "molnb export NOTEBOOK [--single] [--out PAGE] | DIR FILE [--split NAME]"
    command.add_argument(
        "notebook",
        metavar="NOTEBOOK_OR_DIR",
        help=(
            "path of an executed copy, or the name of a lesson, which is run first if it has no "
            "outputs; or curated molecules: their folder, or its name below data/"
        ),
    )
    command.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help=(
            "of molecules: .sdf (with hydrogens, all conformers and labels), .csv (SMILES, splits, "
            "labels), either packed with .gz, or .lmdb (as Uni-Mol reads them)"
        ),
    )
    command.add_argument(
        "--split",
        metavar="NAME",
        help="of molecules: FILE is a folder that gets train.lmdb, valid.lmdb and test.lmdb",
    )
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
