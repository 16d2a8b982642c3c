"""The command sweep: many runs from a grid of presets, settings and seeds, and their table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from . import data
from .options import SEVERAL, Add, refuse_given
from .training import stopping_on_signals

if TYPE_CHECKING:
    from ..training.sweep_runs import SweepReport
    from ..training.sweeps import Cell, Sweep

_GRID = """
Every combination of presets, values and seeds is a run, in a folder named after them. Values are
read as those of --set; one that has commas itself stands in brackets: betas=(0.9,0.99),(0.9,0.95),
in quotes for the shell.
On CPUs runs are trained one after another with all cores, or --workers at a time with one core
each; on GPUs one a GPU. The same command goes on with what is not done: finished runs are skipped,
others go on from their last checkpoints, and a grid that has grown keeps what it had. A run that
fails is noted and the others go on; the command then ends with 1. `molnb sweep FOLDER` prints the
table of a sweep, also while it is trained.
"""
_IN_LOG = ("reason", "run")  # columns that are too wide for a shell
_MOST_VALUES = 12  # of a setting, in the summary


def run_sweep_command(args: argparse.Namespace) -> int:
    """train a grid of presets, settings and seeds; of a sweep's folder, print its table"""
    from ..training.sweeps import is_sweep, load_sweep

    refuse_given(args, seed="a sweep has several: --seeds 0,1,2")
    if len(args.presets) == 1 and is_sweep(args.presets[0]):
        given = [name for name in ("data", "grid", "set", "seeds", "out") if getattr(args, name)]
        if given:
            raise InputError(
                f"{args.presets[0]} is a sweep, which keeps its grid: leave out --"
                f"{', --'.join(given)}; to add to it, name presets and give its folder as --out"
            )
        if not args.go_on:
            reason = "nothing is trained without --go-on"
            refuse_given(args, workers=reason, device=reason)
        sweep = load_sweep(args.presets[0])
        if args.go_on:
            return _train(sweep, args)
        print(_summary(sweep))
        return _show(sweep)
    if args.go_on:
        raise InputError(
            f"--go-on is of a sweep that was begun, and {args.presets[0]} is none: name its folder"
        )
    return _train(_make_sweep(args), args)


def _make_sweep(args: argparse.Namespace) -> Sweep:
    """The sweep that is asked for; its data are curated where it is certain what is."""
    from ..training.sweeps import make_sweep

    pairs = {
        option: [_name_and_value(option, text) for text in getattr(args, option)]
        for option in ("grid", "set")
    }
    for option, given in pairs.items():
        names = [name for name, _ in given]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"--{option} gives {twice!r} twice: give it once")
    names = args.data or ["nci"]
    settings = (dict(pairs["grid"]), args.out, dict(pairs["set"]), _read_seeds(args.seeds))
    sweep = make_sweep(args.presets, names, *settings)  # refused before anything is curated
    if len(sweep.cells) == 1 and not pairs["grid"]:
        raise InputError(
            "the grid is empty: give it a setting with several values, several presets or seeds; a "
            "single run is what `molnb train` is for"
        )
    return make_sweep(args.presets, [data.curated_folder(name) for name in names], *settings)


def _name_and_value(option: str, text: str) -> tuple[str, str]:
    """The two sides of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"--{option} {text}: write NAME=VALUE, as in --{option} steps=200")
    return name, value


def _read_seeds(text: str | None) -> list[int]:
    """Seeds with commas between them."""
    if text is None:
        return [0]
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise InputError(f"--seeds {text}: give whole numbers, as in --seeds 0,1,2") from None


def _summary(sweep: Sweep) -> str:
    """How many runs a sweep has, and what varies, in lines."""
    n_cell = len(sweep.cells)
    n_left = len(sweep.left())
    runs = "run" if n_cell == 1 else "runs"
    lines = [f"{n_cell:,} {runs} in {sweep.path}: {n_cell - n_left:,} done, {n_left:,} left"]
    varied = list(dict.fromkeys(name for cell in sweep.cells for name in cell.values))
    width = max(map(len, varied), default=0)
    for name in varied:
        values = _values_of(sweep.cells, name)
        shown = ", ".join(map(str, values[:_MOST_VALUES]))
        more = f" and {len(values) - _MOST_VALUES} more" if len(values) > _MOST_VALUES else ""
        lines.append(f"{name.ljust(width)}  {shown}{more}")
    return "\n".join(lines)


def _values_of(cells: Sequence[Cell], name: str) -> list[Any]:
    """The values that cells have of a setting, each once."""
    return list(dict.fromkeys(cell.values[name] for cell in cells if name in cell.values))


def _train(sweep: Sweep, args: argparse.Namespace) -> int:
    """Say what a sweep is, train what is left of it, and print its table."""
    from ..progress import Progress
    from ..training.device import keep_freed_memory
    from ..training.sweep_runs import check_sweep, run_sweep

    device = args.device or "auto"
    check_sweep(sweep, args.workers, device)
    print(_summary(sweep), flush=True)
    keep_freed_memory()  # the process is ours
    n_step = sum(cell.config.steps for cell in sweep.left())
    with Progress("sweep, steps", n_step) as progress, stopping_on_signals() as told_to_stop:

        def watch(report: SweepReport) -> bool:
            progress.advance(report.step - progress.done, _note(report))
            return not told_to_stop()

        failures = run_sweep(sweep, args.workers, device, watch)
    _show(sweep)
    if told_to_stop():
        n_left = len(sweep.left())
        print(f"stopped, {n_left:,} of {len(sweep.cells):,} not done: the same command goes on")
    return 1 if failures else 0


def _note(report: SweepReport) -> str:
    """How many runs are done, and which is under way, in a few words."""
    note = f"{report.n_done:,} of {report.n_cell:,} runs done"
    if report.n_failed:
        note += f", {report.n_failed:,} failed"
    if len(report.under_way) == 1:
        return f"{note}; {report.under_way[0]}"
    return f"{note}, {len(report.under_way)} under way"


def _show(sweep: Sweep) -> int:
    """Print the table of a sweep, means over seeds where there are several, and what failed."""
    from ..figures.tables import show_table
    from ..training.sweep_tables import setting_rows, sweep_rows

    rows = sweep_rows(sweep)
    print()
    print(show_table([{k: row[k] for k in row if k not in _IN_LOG} for row in rows], digits=4))
    if len({row["seed"] for row in rows}) > 1:
        print("\nloss over seeds")
        print(show_table(setting_rows(rows), digits=4))
    sys.stdout.flush()
    for name, reason in sweep.failures().items():
        print(f"{name}: {reason}", file=sys.stderr)
    return 0


def add_sweeps(add: Add) -> None:
    """The command sweep."""
    command = add(
        "sweep",
        run_sweep_command,
        "workers",
        "device",
        out="the sweep's folder, new or begun (default: one of its own below runs/ of MOLNB_HOME)",
        workers="runs at a time, on CPUs with a core each (default: one a GPU, else one after "
        "another)",
    )
    command.epilog = _GRID
    command.add_argument(
        "presets",
        metavar="PRESET",
        nargs="+",
        help="names of presets; or the folder of a sweep, to print its table",
    )
    command.add_argument(
        "--data", nargs="+", help="curated folders or recipes of all runs (default: nci)"
    )
    command.add_argument(
        "--grid",
        metavar="NAME=VALUE,...",
        help="a field of the presets and its values; dots reach inside, as model.n_layer",
        **SEVERAL,
    )
    command.add_argument(
        "--set", metavar="NAME=VALUE", help="change a field in all runs", **SEVERAL
    )
    command.add_argument("--seeds", metavar="SEED,...", help="of everything random (default: 0)")
    command.add_argument(
        "--go-on", action="store_true", help="with a sweep's folder: train what is left of it"
    )
