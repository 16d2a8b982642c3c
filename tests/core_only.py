"""An interpreter like that of a machine that only trains: nothing but the core can be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from requirements import ROOT, core, normal, required_name

BLOCKER = """
import sys
class OnlyPresent:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        is_pythons_own = top in sys.stdlib_module_names or top.startswith("_sysconfigdata")
        if is_pythons_own or top in PRESENT:
            return self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(OnlyPresent, sys.meta_path)
"""


def run_core_only(code: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess:
    """Run Python code where only molnb, its own needs and what these need can be imported."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, "-c", f"PRESENT = {sorted(core_modules())!r}\n{BLOCKER}\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def core_modules() -> set[str]:
    """The top-level modules of molnb, of the packages that it depends on, and of theirs."""
    packages: set[str] = set()
    waiting = [*core()]
    while waiting:
        package = waiting.pop()
        if package in packages:
            continue
        packages.add(package)
        try:
            requirements = metadata.requires(package) or []
        except metadata.PackageNotFoundError:  # for other systems
            continue
        waiting += [required_name(line) for line in requirements if "extra ==" not in line]
    modules = {"molnb"}
    for module, distributions in metadata.packages_distributions().items():
        if packages & {normal(name) for name in distributions}:
            modules.add(module)
    return modules
