"""Commands on runs: list presets and runs, train, convert official weights."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from . import data
from .options import PAIR, Add, refuse_given

_RELEASE = """
Weights are published at https://huggingface.co/dptech/Uni-Mol2, as modelzoo/84M/checkpoint.pt,
164M, 310M, 570M, 1.1B. Nothing in a file is run: one that holds more than tensors, plain values
and argparse.Namespace is refused.
"""

if TYPE_CHECKING:
    from ..progress import Progress
    from ..training.loop import Report

_MOST_SCORES = 12  # in the line that a training ends with
_SECONDS_BETWEEN_TABLES = 5.0

# Modules with the work itself are imported inside the commands: `molnb --help` answers at once, and
# a machine that only trains needs no RDKit to do so.


def show_presets(args: argparse.Namespace) -> int:
    """list what can be trained; N counts parameters without tables, kernel and heads, total all"""
    from ..figures.tables import show_table
    from ..training.presets import preset_rows

    print(show_table(preset_rows()))
    return 0


def run_train(args: argparse.Namespace) -> int:
    """train a preset on curated data; a run's folder instead of a preset resumes that run"""
    from ..progress import Progress
    from ..training.device import choose_device, keep_freed_memory
    from ..training.loop import shared_run, train
    from ..training.ranks import current, joined
    from ..training.runs import check_run_folder

    refuse_given(args, workers="training prepares its batches itself")
    device = choose_device(args.device or "auto")  # refused before anything is curated
    if args.out is not None:
        check_run_folder(args.out)
    keep_freed_memory()  # the process is ours
    with joined(device, args.shard):
        run = shared_run(lambda: _run_to_train(args))
        first = current().is_first
        progress = Progress(run.name, run.config.steps, visible=first)
        with progress, stopping_on_signals() as told_to_stop:

            def watch(report: Any) -> bool:
                _show_step(progress, report)
                return not told_to_stop()

            train(run, watch=watch, device=str(device), shard=args.shard)
    if first:
        print(_validation_line(run))
        print(run.path)
    return 0


def _show_step(progress: Progress, report: Report) -> None:
    """Move a display on to a step, with its loss."""
    progress.advance(report.step - progress.done, f"loss {report.loss:.4f}")


def _run_to_train(args: argparse.Namespace) -> Any:
    """The run that is named, or a new one of the preset that is."""
    from ..training.config import data_names
    from ..training.loop import prepare_run
    from ..training.presets import make_preset

    changes = dict(args.set)
    if args.seed is not None:
        changes = {"seed": args.seed, **changes}
    if Path(args.preset, "config.json").is_file():
        if changes or args.out:
            raise InputError(
                f"{args.preset} is a run, which keeps its settings: leave out --out, --seed, --set"
            )
        return prepare_run(args.preset)
    config = make_preset(args.preset, args.data, **changes)
    folders = [data.curated_folder(name) for name in args.data]
    return prepare_run(replace(config, data=data_names(folders)), args.out)


@contextmanager
def stopping_on_signals() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C, and SIGTERM as a scheduler sends it, are noted; yields whether one was.

    What runs is to look, and to end in its own time. A second signal ends it at once.
    """
    noted: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def note(number: int, _frame: Any) -> None:
        noted.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)
        print("ending after this step; once more to end at once", file=sys.stderr, flush=True)

    for number in signals:
        signal.signal(number, note)
    try:
        yield lambda: bool(noted)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _validation_line(run: Any) -> str:
    """The validation scores of the weights that a run has saved, in a line."""
    from ..training.runs import COUNTS

    saved = run.saved_scores()
    if not saved:
        return "no validation score: the data have no validation rows"
    scores = {
        name: value
        for name, value in saved.items()
        if name not in ("step", "part", "features") and not name.endswith(COUNTS)
    }
    return f"validation of the saved weights (step {saved['step']:,}): {_scores_text(scores)}"


def _scores_text(scores: dict[str, Any]) -> str:
    """Scores by name in a line; of many labels the losses and means over labels alone.

    The loss of the only task is the loss, and is not said again.
    """
    losses = [name for name in scores if name.endswith("_loss")]
    dropped = losses if len(losses) == 1 else []
    shown = {name: value for name, value in scores.items() if name not in dropped}
    more = ""
    if len(shown) > _MOST_SCORES:
        n_score = len(shown)
        shown = {k: v for k, v in shown.items() if k.endswith("loss") or "_mean_" in k}
        more = f" (and {n_score - len(shown)} scores of single labels, in its metrics.jsonl)"
    return ", ".join(f"{name} {_number(value)}" for name, value in shown.items()) + more


def _number(value: Any) -> str:
    """A score as text: an integer as it is, another number with four digits."""
    if value is None:
        return "undefined"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def show_runs(args: argparse.Namespace) -> int:
    """list what was trained, oldest first; with a run, how it scores on each task or label"""
    from ..figures.tables import show_table
    from ..paths import home
    from ..training.account_table import account_rows
    from ..training.runs import run_rows

    for option in ("labels", "stop"):
        if not args.run and getattr(args, option):
            raise InputError(
                f"--{option} is of one run: name it, as in `molnb runs RUN --{option}`"
            )
    if args.tensorboard is not None:
        return _export(args)
    if args.run and not args.accounts:
        return _show_run(args)
    rows = account_rows(args.run or None) if args.accounts else run_rows()
    if not rows:
        print(f"no runs in {home() / 'runs'}: start one with `molnb train PRESET`", file=sys.stderr)
        return 0
    if args.watch:
        return _watch_all()
    if args.accounts:
        print(show_table(rows))
        return 0
    print(show_table([_with_scores_in_one(row) for row in rows]))
    return 0


def _show_run(args: argparse.Namespace) -> int:
    """Stop or watch the run that is named, or print its scores."""
    name, *others = args.run
    if others:
        raise InputError(
            f"{len(args.run)} runs are named: name one, see what several cost (--accounts), or "
            "write them for TensorBoard (--tensorboard FOLDER)"
        )
    if args.stop:
        return _stop(name)
    return _watch(name) if args.watch else _show_scores(name, args.labels)


def _export(args: argparse.Namespace) -> int:
    """Write the runs that are named, or all, for TensorBoard."""
    from ..training.runs import load_runs
    from ..training.tensorboard import export_tensorboard

    files = export_tensorboard(args.run or load_runs(), args.tensorboard)
    print(f"{len(files):,} runs in {args.tensorboard}: `tensorboard --logdir {args.tensorboard}`")
    return 0


def _stop(name: str) -> int:
    """Ask a run to end after its step."""
    from ..training.runs import find_run

    run = find_run(name)
    if run.state != "running":
        print(f"{run.path} is {run.state}: nothing to stop", file=sys.stderr)
        return 0
    run.stop()
    print(f"{run.path} ends after its step; `molnb train {run.path}` goes on with it")
    return 0


def _watch(name: str) -> int:
    """Show how a run gets on, until it ends or Ctrl-C, which ends the watching alone."""
    from ..progress import Progress
    from ..training.launched import follow
    from ..training.runs import find_run

    run = find_run(name)
    with Progress(run.name, run.config.steps) as progress:
        asyncio.run(follow(run, partial(_show_step, progress)))
    print(f"{run.state}; {_validation_line(run)}")
    return 0


def _watch_all() -> int:
    """Show the table of runs, and again whenever it changed, while one of them is running."""
    from ..figures.tables import show_table
    from ..training.runs import run_rows

    shown = None
    while True:
        rows = run_rows()
        table = str(show_table([_with_scores_in_one(row) for row in rows]))
        if table != shown:
            print(table, flush=True)
            shown = table
        if not any(row["state"] == "running" for row in rows):
            return 0
        time.sleep(_SECONDS_BETWEEN_TABLES)


def _show_scores(name: str, each_label: bool) -> int:
    """Print the scores of a run's saved weights, a line a task or a label."""
    from ..figures.label_table import label_rows, notes_on, task_rows
    from ..figures.tables import show_table
    from ..training.runs import find_run
    from ..training.scored_labels import read_label_scores

    rows = read_label_scores(find_run(name).path).to_pylist()
    print(show_table(label_rows(rows) if each_label else task_rows(rows)))
    print(notes_on(rows))
    return 0


def _with_scores_in_one(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table of runs with its scores in one column: runs have different ones."""
    names = list(row)
    described = names[: names.index("validated") + 1]
    terms = {
        name: value
        for name, value in row.items()
        if name not in (*described, "features")
        and value is not None
        and value == value  # NaN is unequal to NaN
    }
    return {name: row[name] for name in described} | {"scores": _scores_text(terms)}


def run_convert(args: argparse.Namespace) -> int:
    """official Uni-Mol2 weights (checkpoint.pt) as a run, or such a run as a checkpoint again"""
    from ..training.conversion import convert

    conversion = convert(args.source, args.target)
    print("\n".join([*conversion.notes, str(conversion.path)]))
    return 0


def add_training(add: Add) -> None:
    """The commands presets, train, runs and convert."""
    add("presets", show_presets)
    command = add(
        "train",
        run_train,
        "seed",
        "device",
        out="the run's folder, new or empty (default: a new one below runs/ of MOLNB_HOME)",
    )
    command.add_argument(
        "preset", metavar="PRESET", help="name of a preset, or the folder of a run to go on with"
    )
    command.add_argument(
        "--data", nargs="+", default=["nci"], help="curated folders or recipes (default: nci)"
    )
    command.add_argument(
        "--set",
        help="change a field of the preset; dots reach inside, as model.n_layer or sampling.kind",
        **PAIR,
    )
    command.add_argument(
        "--shard",
        action="store_true",
        help="each process keeps a part of the encoder's blocks, where otherwise each keeps all",
    )
    command = add("runs", show_runs)
    command.add_argument(
        "run", metavar="RUN", nargs="*", help="a run's folder or name: its scores, a line a task"
    )
    told = command.add_mutually_exclusive_group()
    told.add_argument("--labels", action="store_true", help="of the run, a line a label")
    told.add_argument(
        "--watch", action="store_true", help="show how the run, or all, get on until they end"
    )
    told.add_argument(
        "--stop", action="store_true", help="ask the run to end after its step; it can be resumed"
    )
    told.add_argument(
        "--accounts",
        action="store_true",
        help="what the runs, or all, cost: device hours, FLOPs, memory, energy",
    )
    told.add_argument(
        "--tensorboard",
        metavar="FOLDER",
        type=Path,
        help="write what the runs, or all, have logged for TensorBoard, a folder below FOLDER each",
    )
    command = add("convert", run_convert)
    command.epilog = _RELEASE
    command.add_argument(
        "source", metavar="CHECKPOINT_OR_RUN", help="checkpoint.pt of the authors' code, or a run"
    )
    command.add_argument(
        "target", metavar="OUT", help="a new folder for the run, or a new file for the checkpoint"
    )
