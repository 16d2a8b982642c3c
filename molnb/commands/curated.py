"""Commands on curated molecules: inspect them, verify their files."""

from __future__ import annotations

import argparse

from .options import Add

_NAME = "a curated folder, its name below data/, or a recipe's name for the latest made of it"


def show_inspection(args: argparse.Namespace) -> int:
    """print counts, units, labels, splits, sizes and provenance of curated molecules"""
    from ..data.inspection import inspect_shards

    print(inspect_shards(args.data))
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """recheck the hash of every file of curated molecules and that they fit; 2 where one differs"""
    from ..data.verification import verify_shards

    verification = verify_shards(args.data)
    print(verification)
    return 2 if verification.differences else 0


def add_curated(add: Add) -> None:
    """The commands inspect and verify."""
    for name, function in (("inspect", show_inspection), ("verify", run_verify)):
        add(name, function).add_argument("data", metavar="DIR_OR_NAME", help=_NAME)
