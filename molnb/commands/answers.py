"""Commands on answers of a run: scores, predictions, embeddings."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..extras import require
from .options import Add, add_force, refuse_given

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

_MOST_LINES = 10  # of reasons on the screen

# Modules with the work itself are imported inside the commands: `molnb --help` answers at once, and
# a machine that only trains needs no RDKit to do so.


def run_evaluate(args: argparse.Namespace) -> int:
    """print a run's scores on test molecules, with intervals, beside what it has to beat"""
    require("scipy", "sklearn")  # else an extra that is not enough would be named
    from ..evaluation.run_scores import answer_part, list_answers, score_answers
    from ..evaluation.score_table import readable_scores
    from ..figures.tables import show_table
    from ..inference.table_files import check_frame_output, write_frame
    from ..training.device import keep_freed_memory

    refuse_given(args, workers="molecules are scored in batches, in this process")
    keep_freed_memory()  # the process is ours
    files = {}
    for out in (args.out, args.predictions):
        if out is not None:
            files[out] = check_frame_output(out, [args.run], args.force)
    if args.out and args.predictions and files[args.out] == files[args.predictions]:
        raise InputError(f"--out and --predictions are both {args.out}: name two files")
    which = {
        "part": args.part,
        "data": args.data,
        "device": args.device or "auto",
        "average": args.all_conformers,
    }
    answers = answer_part(args.run, baselines=not args.alone, **which)
    table = score_answers(answers, seed=args.seed or 0)
    print(show_table(readable_scores(table)))
    for note in table.attrs["notes"]:
        print(note)
    if args.out is not None:
        write_frame(table, files[args.out], args.out.name)
    if args.predictions is not None:
        write_frame(list_answers(answers), files[args.predictions], args.predictions.name)
    for out in files:
        print(out)
    return 0


def run_embed(args: argparse.Namespace) -> int:
    """write embeddings of molecules, atoms or pairs of a file or a curated folder, in its order"""
    from ..inference.parquet_output import write_embeddings

    return _write_predictions(args, write_embeddings, level=args.level, layer=args.layer)


def run_predict(args: argparse.Namespace) -> int:
    """write predicted labels of molecules of a file or a curated folder, in its order"""
    from ..inference.parquet_output import write_predictions

    return _write_predictions(args, write_predictions)


def _write_predictions(args: argparse.Namespace, write: Any, **vectors: Any) -> int:
    """Write embeddings or predictions of a file, and say how many rows went wrong, and why."""
    refuse_given(args, seed="nothing here is random: equal molecules get equal results")
    from ..paths import home
    from ..training.device import keep_freed_memory

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
        **vectors,
    )
    print(f"{out}: {counts['rows']:,} rows, {counts['errors']:,} errors")
    for line in failure_lines(counts["failures"]):
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


def failure_lines(failures: dict[str, Any]) -> list[str]:
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


def add_answers(add: Add) -> None:
    """The commands evaluate, embed and predict."""
    _add_evaluate(add)
    for name, function in (("embed", run_embed), ("predict", run_predict)):
        command = add(
            name,
            function,
            "workers",
            "device",
            out=f"the file to write (default: FILE_{name}.parquet in MOLNB_HOME, here)",
        )
        add_force(command)
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
            command.add_argument(
                "--layer",
                type=int,
                metavar="N",
                help="vectors after this layer of the encoder, from 1 (default: its output)",
            )
            command.epilog = _ANSWERS + _LAYOUT


def _add_evaluate(add: Add) -> None:
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
        choices=("test", "val", "train", "test_seen", "all"),
        help="of the run's split (default: test; of other data all)",
    )
    command.add_argument(
        "--data", metavar="DATASET", help="other curated molecules with the run's labels"
    )
    command.add_argument(
        "--alone", action="store_true", help="leave out LightGBM and the trivial baselines"
    )
    command.add_argument(
        "--all-conformers",
        action="store_true",
        help="answer by the mean over all geometries of a molecule (default: its first)",
    )
    command.add_argument(
        "--predictions", type=Path, metavar="FILE", help="also write every prediction and its truth"
    )
    add_force(command)
