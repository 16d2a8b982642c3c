"""The command line: a thin layer over functions of the same name.

`molnb COMMAND --help` lists the options of one.

Exit codes: 0 done, 1 unexpected, 2 refused input or parameters, 3 a notebook cell failed, 4 kernel
died or timed out.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import select
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from . import __version__
from .errors import InputError
from .kernel import set_thread_wait

_ANSWERS = """
The name of --out says the format: .parquet, .pq, .csv, .tsv, or a text format with .gz behind it.
Each row has the columns row, id, input_smiles, smiles, those of --keep (kept_NAME where the name is
taken), the answers, unseen and error; in CSV and TSV lists are JSON. Exit code 2 where no row was
answered.
"""

_LAYOUT = """
In Parquet the embedding of a molecule is a list of d_atom numbers; at level atom one such list a
heavy atom; at level pair all n_atoms * n_atoms * d_pair numbers in one list, row by row, to be read
with numpy.reshape(embedding, (n_atoms, n_atoms, -1)). Atoms are in the order of the input.
"""

_NOT_OF_LESSONS = {
    "workers": "no lesson has this parameter; for a notebook that has it write -p workers N",
    "device": "no lesson has this parameter; for a notebook that has it write -p device NAME",
}

_LABELS = """
Labels are stored as they are: --label logS:log(mol/L), or under another name with COLUMN=NAME:UNIT.
Classes: --label toxic:binary (0 and 1, true and false), --label
"outcome=mutagenic:binary(mutagens=1,nonmutagens=0)", --label "grade:classes(low,medium,high)".
A conversion is asked for: --transform NAME:-log10:nM->M (log10, -log10, log1p or a factor). COLUMN
is matched against the header, longest first, so it may hold colons and equal signs.
"""

_RELEASE = """
Weights are published at https://huggingface.co/dptech/Uni-Mol2, as modelzoo/84M/checkpoint.pt,
164M, 310M, 570M, 1.1B. Nothing in a file is run: one that holds more than tensors, plain values
and argparse.Namespace is refused.
"""

# Options that several commands share: type and meaning.
_SHARED = {
    "seed": (int, "of everything random (default: that of preset or notebook)"),
    "workers": (int, "processes (default: one a core)"),
    "device": (str, "auto, cpu, cuda or cuda:N (default: auto)"),
}

READER_GONE = 141  # as a program that is ended by SIGPIPE
_MOST_LINES = 10  # of reasons on the screen
_MOST_SCORES = 12  # in the line that a training ends with

# Options that describe a table of one's own, and the argument of `recipe_for_file` each becomes.
_DESCRIBING = {
    "smiles": "smiles",
    "label": "labels",
    "transform": "transforms",
    "id": "identifier",
    "keep": "keep",
    "split_column": "split_column",
    "repeats": "repeats",
}

# Modules with the work itself are imported inside the commands: `molnb --help` answers at once, and
# a machine that only trains needs no RDKit to do so.


def run_tour(args: argparse.Namespace) -> int:
    """run all lessons in order; leaves pages in runs/tour/index.html"""
    from .notebooks.execution import tour

    _refuse_given(args, **_NOT_OF_LESSONS)
    results = tour(args.out, size=args.size, parameters=_shared(args), force=args.force)
    return next((result.code for result in results if result.code), 0)


def run_one(args: argparse.Namespace) -> int:
    """run one notebook with other parameters and keep the executed copy"""
    from .notebooks.execution import find_notebook, run_notebook
    from .paths import home

    _refuse_given(args, **_NOT_OF_LESSONS)
    # papermill warns of parameters that its own reader does not know, such as `int | None`.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    path = find_notebook(args.notebook)
    parameters = {**_shared(args), **dict(args.parameter)}
    out = args.out
    if out is None:
        out = home() / "runs" / "notebooks" / f"{datetime.now():%Y-%m-%d_%H%M%S}_{path.name}"
    result = run_notebook(path, out, parameters, timeout=args.timeout, force=args.force)
    stream = sys.stderr if result.code else sys.stdout
    print(f"{result.line()}\nexecuted copy: {result.path}", file=stream)
    return result.code


def run_export(args: argparse.Namespace) -> int:
    """write a notebook as a web page that needs no network; runs it first if it has no outputs"""
    from .notebooks.execution import export

    page = export(args.notebook, args.out, args.single, args.force)
    print(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")
    return 0


def run_setup_viewer(args: argparse.Namespace) -> int:
    """get 3Dmol.js once, to turn molecules in 3D without a network (`make` has done this)"""
    from .figures.threedmol import install_viewer

    print(f"molecules can be turned in 3D: {install_viewer()}")
    return 0


def run_curate(args: argparse.Namespace) -> int:
    """make shards from a recipe, or from your own file (CSV, SMI, SDF, ...) or a folder of SDF"""
    from .curation.pipeline import curate
    from .recipes.registry import list_recipes
    from .recipes.sources import recipe_for_file

    _refuse_given(
        args,
        seed="the seeds of conformers and splits stand in the recipe",
        device="curation uses CPUs",
    )
    described = {name: getattr(args, option) for option, name in _DESCRIBING.items()}
    recipe = args.recipe
    if recipe not in list_recipes() and Path(recipe).suffix not in (".yaml", ".yml"):
        if not Path(recipe).exists():
            raise InputError(
                f"{recipe!r} is neither a recipe ({', '.join(list_recipes())}) nor a file: "
                "name one of them"
            )
        recipe = recipe_for_file(recipe, **described)
    elif any(described.values()):
        options = ", ".join(f"--{name}" for name in _DESCRIBING)
        raise InputError(
            f"{options} describe a file of yours; a recipe says this itself: leave them out"
        )
    shards = curate(recipe, n=args.n, workers=args.workers, cluster=args.cluster, home=args.out)
    print(shards.path)
    return 0


def run_train(args: argparse.Namespace) -> int:
    """train a preset on curated data; a run's folder instead of a preset resumes that run"""
    from .progress import Progress
    from .training.config import data_names
    from .training.device import choose_device, keep_freed_memory
    from .training.loop import prepare_run, train
    from .training.presets import make_preset
    from .training.runs import check_run_folder

    _refuse_given(args, workers="training prepares its batches itself")
    choose_device(args.device or "auto")  # refused before anything is curated
    if args.out is not None:
        check_run_folder(args.out)
    keep_freed_memory()  # the process is ours
    changes = dict(args.set)
    if args.seed is not None:
        changes = {"seed": args.seed, **changes}
    if Path(args.preset, "config.json").is_file():
        if changes or args.out:
            raise InputError(
                f"{args.preset} is a run, which keeps its settings: leave out --out, --seed, --set"
            )
        run = prepare_run(args.preset)
    else:
        config = make_preset(args.preset, args.data, **changes)
        folders = [_curated(name) for name in args.data]
        run = prepare_run(replace(config, data=data_names(folders)), args.out)
    with Progress(run.name, run.config.steps) as progress:

        def watch(report: Any) -> None:
            progress.advance(report.step - progress.done, f"loss {report.loss:.4f}")

        train(run, watch=watch, device=args.device or "auto")
    print(_validation_line(run))
    print(run.path)
    return 0


def _validation_line(run: Any) -> str:
    """The validation scores of the weights that a run has saved, in a line."""
    from .training.runs import COUNTS

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


def _curated(name: str) -> Path:
    """The folder of a dataset; the name of a recipe is curated, unless it has been before."""
    from .paths import find_data

    try:
        return find_data(name)
    except InputError:
        from .curation.pipeline import curate
        from .recipes.registry import list_recipes

        if name not in list_recipes():
            raise
        return curate(name).path


def run_evaluate(args: argparse.Namespace) -> int:
    """print a run's scores on test molecules, with intervals, beside what it has to beat"""
    from .evaluation.run_scores import evaluate, predictions
    from .evaluation.score_table import readable_scores
    from .figures.tables import show_table
    from .inference.table_files import check_frame_output, write_frame
    from .training.device import keep_freed_memory

    _refuse_given(args, workers="molecules are scored in batches, in this process")
    keep_freed_memory()  # the process is ours
    files = {}
    for out in (args.out, args.predictions):
        if out is not None:
            files[out] = check_frame_output(out, [args.run], args.force)
    if args.out and args.predictions and files[args.out] == files[args.predictions]:
        raise InputError(f"--out and --predictions are both {args.out}: name two files")
    which = {"part": args.part, "data": args.data, "device": args.device or "auto"}
    table = evaluate(args.run, baselines=not args.alone, seed=args.seed or 0, **which)
    print(show_table(readable_scores(table)))
    for note in table.attrs["notes"]:
        print(note)
    if args.out is not None:
        write_frame(table, files[args.out], args.out.name)
    if args.predictions is not None:
        scored = predictions(args.run, progress=False, **which)
        write_frame(scored, files[args.predictions], args.predictions.name)
    for out in files:
        print(out)
    return 0


def run_embed(args: argparse.Namespace) -> int:
    """write embeddings of molecules, atoms or pairs of a file or a curated folder, in its order"""
    from .inference.parquet_output import write_embeddings

    return _write_predictions(args, write_embeddings, level=args.level)


def run_predict(args: argparse.Namespace) -> int:
    """write predicted labels of molecules of a file or a curated folder, in its order"""
    from .inference.parquet_output import write_predictions

    return _write_predictions(args, write_predictions)


def _write_predictions(args: argparse.Namespace, write: Any, **level: str) -> int:
    """Write embeddings or predictions of a file, and say how many rows went wrong, and why."""
    _refuse_given(args, seed="nothing here is random: equal molecules get equal results")
    from .paths import home
    from .training.device import keep_freed_memory

    keep_freed_memory()  # the process is ours
    stem = Path(Path(args.file).name.removesuffix(".gz")).stem
    out = args.out or home() / f"{stem}_{args.command}.parquet"
    counts = write(
        args.file,
        args.run,
        out,
        smiles=args.smiles,
        workers=args.workers,
        device=args.device or "auto",
        conformer=args.conformer,
        identifier=args.id,
        keep=args.keep,
        max_heavy_atoms=args.max_heavy_atoms,
        force=args.force,
        **level,
    )
    print(f"{out}: {counts['rows']:,} rows, {counts['errors']:,} errors")
    for line in _failure_lines(counts["failures"]):
        print(line, file=sys.stderr)
    if any(reason.endswith("over the size limit") for reason in counts["failures"]):
        print("--max-heavy-atoms N answers for molecules up to that size", file=sys.stderr)
    if counts["unseen"]:
        print(
            f"{counts['unseen']:,} rows have features that training never saw; "
            "these contribute nothing (column unseen names them)",
            file=sys.stderr,
        )
    if counts["errors"] < counts["rows"]:
        return 0
    print(f"molnb {args.command}: no row of {args.file} was answered", file=sys.stderr)
    return 2


def _failure_lines(failures: dict[str, Any]) -> list[str]:
    """Why rows failed, a line a reason, most frequent first; ten lines at most."""
    lines = [
        f"{failure.count:>9,}  {reason}, first in row {failure.row:,}"
        f"{failure.error.removeprefix(reason)}"
        for reason, failure in failures.items()
    ]
    lines = [re.sub(r"[\r\n]+", " ", line) for line in lines]
    lines = [line if len(line) <= 240 else f"{line[:237]}..." for line in lines]
    if len(lines) <= _MOST_LINES:
        return lines
    others = list(failures.values())[_MOST_LINES - 1 :]
    n_row = sum(failure.count for failure in others)
    return [*lines[: _MOST_LINES - 1], f"{n_row:>9,}  for {len(others)} other reasons"]


def _refuse_given(args: argparse.Namespace, **reasons: str) -> None:
    """Refuse shared options that mean nothing to a command, instead of ignoring them."""
    for name, reason in reasons.items():
        if getattr(args, name) is not None:
            raise InputError(f"--{name}: {reason}; leave it out")


def run_convert(args: argparse.Namespace) -> int:
    """official Uni-Mol2 weights (checkpoint.pt) as a run, or such a run as a checkpoint again"""
    from .training.conversion import convert

    conversion = convert(args.source, args.target)
    print("\n".join([*conversion.notes, str(conversion.path)]))
    return 0


def show_recipes(args: argparse.Namespace) -> int:
    """list what can be curated"""
    from .recipes.registry import list_recipes, load_recipe

    for name, path in list_recipes().items():
        recipe = load_recipe(path)
        print(f"{name:<16}{recipe.title}")
    return 0


def show_presets(args: argparse.Namespace) -> int:
    """list what can be trained; N counts parameters without tables, kernel and heads, total all"""
    from .figures.tables import show_table
    from .training.presets import presets_table

    print(show_table(presets_table()))
    return 0


def show_runs(args: argparse.Namespace) -> int:
    """list what was trained, oldest first"""
    from .figures.tables import show_table
    from .paths import home
    from .training.runs import runs_table

    runs = runs_table()
    if not len(runs):
        print(f"no runs in {home() / 'runs'}: start one with `molnb train PRESET`", file=sys.stderr)
        return 0
    print(show_table(_with_scores_in_one(runs)))
    return 0


def _with_scores_in_one(runs: Any) -> Any:
    """The table of runs with the scores of each in one column: runs have different ones."""
    first = list(runs.columns).index("validated") + 1
    scores = []
    for line in runs.iloc[:, first:].to_dict("records"):
        # A number that is missing is NaN, and unequal to itself.
        own = {k: v for k, v in line.items() if v is not None and v == v}
        own.pop("features", None)
        scores.append(_scores_text(own))
    listed = runs.iloc[:, :first].assign(scores=scores)
    # a run without a validation, or without a step, makes no fraction of others' counts
    counts = [name for name in ("N", "steps", "validated") if name in listed]
    return listed.astype(dict.fromkeys(counts, "Int64"))


def _shared(args: argparse.Namespace) -> dict[str, Any]:
    """The shared options that were given, as parameters of a notebook."""
    return {
        name: getattr(args, name)
        for name in ("seed", "workers", "device")
        if getattr(args, name) is not None
    }


def make_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="molnb",
        description=(
            "Molecular pretraining: from SMILES to shards, a pretrained model, embeddings and "
            "predictions."
        ),
        epilog=__doc__.partition("\n\n")[2],
    )
    parser.add_argument("--version", action="version", version=f"molnb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, function: Any, *shared: str, out: str = "") -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        command.set_defaults(function=function)
        _add_shared(command, shared, out)
        return command

    _add_notebook_commands(add)
    _add_data_commands(add)
    command = add("convert", run_convert)
    command.epilog = _RELEASE
    command.add_argument(
        "source", metavar="CHECKPOINT_OR_RUN", help="checkpoint.pt of the authors' code, or a run"
    )
    command.add_argument(
        "target", metavar="OUT", help="a new folder for the run, or a new file for the checkpoint"
    )
    add("recipes", show_recipes)
    add("presets", show_presets)
    add("runs", show_runs)
    return parser


def _add_shared(command: argparse.ArgumentParser, names: Sequence[str], out: str) -> None:
    """Give a command those of the shared options that it takes; `out` says what goes there.

    The others are not in its help: given, they are refused with the reason (`_refuse_given`).
    """
    if out:
        command.add_argument("--out", type=Path, help=out)
    for name, (kind, meaning) in _SHARED.items():
        if out:  # a command that computes something
            meaning = meaning if name in names else argparse.SUPPRESS
            command.add_argument(f"--{name}", type=kind, help=meaning)


def _add_force(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--force", action="store_true", help="replace a file at --out that molnb did not write"
    )


def _add_notebook_commands(add: Any) -> None:
    command = add(
        "tour", run_tour, "seed", out="folder that gets data/ and runs/ (default: MOLNB_HOME, here)"
    )
    _add_force(command)
    command.add_argument(
        "--size", default="tour", choices=("test", "tour", "full"), help="of every lesson"
    )
    command = add("export", run_export)
    command.add_argument("notebook", help="path of an executed copy, or the name of a lesson")
    command.add_argument(
        "--single", action="store_true", help="one file to mail, with all scripts inside"
    )
    command.add_argument("--out", type=Path, help="the page, or a folder for it (default: here)")
    _add_force(command)
    add("setup-viewer", run_setup_viewer)
    command = add(
        "run",
        run_one,
        "seed",
        out="the executed copy (default: below runs/notebooks of MOLNB_HOME)",
    )
    _add_force(command)
    command.add_argument("notebook", help="path, or the name of a lesson such as 05_pretrain")
    pair = {"nargs": 2, "action": "append", "default": [], "metavar": ("NAME", "VALUE")}
    command.add_argument("-p", "--parameter", help="one of the notebook's parameters", **pair)
    command.add_argument(
        "--timeout", type=int, metavar="SECONDS", help="give up when one cell takes longer"
    )


def _add_data_commands(add: Any) -> None:
    command = add(
        "curate", run_curate, "workers", out="folder that gets data/ (default: MOLNB_HOME, here)"
    )
    command.add_argument(
        "recipe", metavar="NAME_OR_FILE", help="a recipe's name or YAML file, or a table of yours"
    )
    command.add_argument(
        "--smiles", metavar="COLUMN", help="column of your table that holds SMILES"
    )
    several = {"action": "append", "default": []}
    command.add_argument(
        "--label", metavar="COLUMN:UNIT", help="a label and its unit, see below", **several
    )
    command.add_argument(
        "--transform", metavar="NAME:FUNCTION", help="convert a label, see below", **several
    )
    command.add_argument("--id", metavar="COLUMN", help="column that names the molecules")
    command.add_argument(
        "--keep", metavar="COLUMN", help="a column to carry along as text", **several
    )
    command.add_argument(
        "--split-column", metavar="COLUMN", help="column that says train, val or test"
    )
    command.add_argument(
        "--repeats",
        choices=("median", "mean", "first", "drop"),
        help="value of a molecule that was measured several times (default: median)",
    )
    command.epilog = _LABELS
    command.add_argument("--n", type=int, help="a sample of this many rows instead of all")
    command.add_argument(
        "--cluster", metavar="ADDRESS", help="of a Dask scheduler, as tcp://host:8786"
    )
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
    pair = {"nargs": 2, "action": "append", "default": [], "metavar": ("NAME", "VALUE")}
    command.add_argument(
        "--set", help="change a field of the preset; dots reach inside, as model.n_layer", **pair
    )
    _add_evaluate(add)
    for name, function in (("embed", run_embed), ("predict", run_predict)):
        command = add(
            name,
            function,
            "workers",
            "device",
            out=f"the file to write (default: FILE_{name}.parquet in MOLNB_HOME, here)",
        )
        _add_force(command)
        command.add_argument(
            "file",
            help="CSV, SMI, SDF, Parquet, ... with molecules; or a curated folder or its name",
        )
        command.add_argument("--run", required=True, metavar="DIR", help="folder of a trained run")
        command.add_argument("--smiles", metavar="COLUMN", help="column that holds SMILES")
        command.add_argument(
            "--id", metavar="COLUMN", help="column of identifiers (default: found by its name)"
        )
        command.add_argument(
            "--keep",
            metavar="COLUMN",
            action="append",
            default=[],
            help="a column of the input to carry along as it is; may be given again",
        )
        command.add_argument(
            "--max-heavy-atoms",
            type=int,
            metavar="N",
            help="answer for molecules up to this size (default: the limit of the run's data)",
        )
        command.add_argument(
            "--conformer",
            default="new",
            choices=("new", "given"),
            help="3D coordinates: a new conformer, or those given in an SDF (default: new)",
        )
        command.epilog = _ANSWERS
        if name == "embed":
            command.add_argument(
                "--level", default="molecule", choices=("molecule", "atom", "pair"), help="of what"
            )
            command.epilog = _ANSWERS + _LAYOUT


def _add_evaluate(add: Any) -> None:
    command = add(
        "evaluate",
        run_evaluate,
        "seed",
        "device",
        out="also write the scores to this file, Parquet or CSV by its ending",
    )
    command.add_argument("run", metavar="RUN", help="folder of a run that learnt labels")
    command.add_argument(
        "--part",
        choices=("test", "val", "train", "all"),
        help="of the run's split (default: test; of other data all)",
    )
    command.add_argument(
        "--data", metavar="DATASET", help="other curated molecules with the run's labels"
    )
    command.add_argument(
        "--alone", action="store_true", help="leave out LightGBM and the trivial baselines"
    )
    command.add_argument(
        "--predictions", type=Path, metavar="FILE", help="also write every prediction and its truth"
    )
    _add_force(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    try:
        try:
            return _run_command(arguments)
        finally:  # also behind --help: what is still to be written may find its reader gone
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        if not _silence_broken_streams():
            raise
        return READER_GONE


def _run_command(arguments: Sequence[str] | None) -> int:
    """Run one command; what it refuses is a message and an exit code."""
    args = make_parser().parse_args(arguments)
    set_thread_wait()  # this process is molnb's own, and torch is not loaded yet
    try:
        return args.function(args)
    except InputError as error:
        print(f"molnb {args.command}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("molnb"):
            raise
        print(
            f"molnb {args.command}: needs the package {error.name}: see Set-up in README.md",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"molnb {args.command}: interrupted", file=sys.stderr)
        return 130


def _silence_broken_streams() -> bool:
    """Let streams whose reader has gone, as `head` does, lead nowhere; whether there are such.

    Else Python would try again at its end, and complain.
    """
    broken = [s for s in (sys.stdout, sys.stderr) if s is not None and not _has_reader(s)]
    for stream in broken:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    return bool(broken)


def _has_reader(stream: TextIO) -> bool:
    """Whether anybody can still read what a stream writes; asked of the system, not by writing."""
    try:
        watch = select.poll()
        watch.register(stream.fileno(), 0)  # errors are reported unasked
    except (AttributeError, OSError):  # Windows, or a stream without a file
        return True
    return not any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0))
