"""An interpreter like that of a machine that only trains: what is not of the core is not found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

from requirements import ROOT, core, normal, required_name

_BLOCKER = """
import sys

class WithoutSome:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [WithoutSome(finder) for finder in sys.meta_path]
"""


def run_core_only(
    code: str, cwd: Path = ROOT, present: tuple[str, ...] = ()
) -> subprocess.CompletedProcess:
    """Run Python code where only molnb, its own needs and what these need can be imported.

    `present` are packages that are there besides.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", f"{blocker(*present)}\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def blocker(*present: str) -> str:
    """Code after which modules are not found unless they are of the core or these packages."""
    return _BLOCKER.format(absent=sorted(absent_modules(present)))


@cache
def absent_modules(present: tuple[str, ...] = ()) -> set[str]:
    """The top-level modules here that neither the core nor these packages need."""
    needed = _with_their_needs({"molnb", *core(), *present})
    return {
        module
        for module, packages in metadata.packages_distributions().items()
        if not needed & {normal(package) for package in packages}
    }


def _with_their_needs(packages: Iterable[str]) -> set[str]:
    """Packages, those that they require, and so on; of extras nothing."""
    needed: set[str] = set()
    waiting = list(packages)
    while waiting:
        package = waiting.pop()
        if package in needed:
            continue
        needed.add(package)
        try:
            requirements = metadata.requires(package) or []
        except metadata.PackageNotFoundError:  # of another system
            continue
        waiting += [required_name(line) for line in requirements if "extra ==" not in line]
    return needed
