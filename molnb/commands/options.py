"""Options that several commands share: which command takes them, and why the others refuse them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError

# Name, function, names of shared options, and as `out` what goes there (others by name where they
# mean something else than elsewhere) -> the parser of a command.
Add = Callable[..., argparse.ArgumentParser]

# Options that several commands share: type and meaning.
SHARED = {
    "seed": (int, "of everything random (default: that of preset or notebook)"),
    "workers": (int, "processes (default: one a core)"),
    "device": (str, "auto, cpu, cuda or cuda:N (default: auto)"),
}

PAIR: dict[str, Any] = {"nargs": 2, "action": "append", "default": [], "metavar": ("NAME", "VALUE")}
SEVERAL: dict[str, Any] = {"action": "append", "default": []}


def add_shared(
    command: argparse.ArgumentParser,
    names: Sequence[str],
    out: str,
    meanings: Mapping[str, str] | None = None,
) -> None:
    """Give a command those of the shared options that it takes; `out` says what goes there.

    The others are not in its help: given, they are refused with the reason (`refuse_given`). Where
    an option means something else than elsewhere, `meanings` say what, by its name.
    """
    if out:
        command.add_argument("--out", type=Path, help=out)
    for name, (kind, meaning) in SHARED.items():
        if out:  # a command that computes something
            meaning = (meanings or {}).get(name, meaning) if name in names else argparse.SUPPRESS
            command.add_argument(f"--{name}", type=kind, help=meaning)


def add_force(command: argparse.ArgumentParser) -> None:
    """Give a command `--force`."""
    command.add_argument(
        "--force", action="store_true", help="replace a file at --out that molnb did not write"
    )


def refuse_given(args: argparse.Namespace, **reasons: str) -> None:
    """Refuse shared options that mean nothing to a command, instead of ignoring them."""
    for name, reason in reasons.items():
        if getattr(args, name) is not None:
            raise InputError(f"--{name}: {reason}; leave it out")


def given_shared(args: argparse.Namespace) -> dict[str, Any]:
    """The shared options that were given, as parameters of a notebook."""
    return {
        name: getattr(args, name)
        for name in ("seed", "workers", "device")
        if getattr(args, name) is not None
    }
