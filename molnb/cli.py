"""The command line: a thin layer over functions of the same name.

`molnb COMMAND --help` lists the options of one.

Exit codes: 0 done, 1 unexpected, 2 refused input or parameters, 3 a notebook cell failed, 4 kernel
died or timed out.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from . import __version__
from .commands.answers import add_answers
from .commands.curated import add_curated
from .commands.data import add_data
from .commands.lessons import add_lessons
from .commands.options import add_shared
from .commands.recipes import add_recipes
from .commands.scaling import add_scaling
from .commands.studies import add_studies
from .commands.sweeps import add_sweeps
from .commands.training import add_training
from .errors import InputError
from .extras import explain_missing
from .kernel import set_thread_wait

READER_GONE = 141  # as a program that is ended by SIGPIPE


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

    def add(
        name: str, function: Any, *shared: str, out: str = "", **meanings: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        command.set_defaults(function=function)
        add_shared(command, shared, out, meanings)
        return command

    for add_commands in (
        add_lessons,
        add_recipes,
        add_data,
        add_curated,
        add_training,
        add_sweeps,
        add_answers,
        add_studies,
        add_scaling,
    ):
        add_commands(add)
    return parser


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
        explanation = explain_missing(error)
        if not explanation:
            raise
        print(f"molnb {args.command}: {explanation}", file=sys.stderr)
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
