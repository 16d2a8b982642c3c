"""What pyproject.toml says molnb needs: itself, and with each extra."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def core() -> set[str]:
    """The packages that come with molnb itself."""
    return {required_name(line) for line in PROJECT["dependencies"]}


def packages_of(extra: str) -> set[str]:
    """The packages that an extra brings, those of extras that it names included."""
    packages = set()
    for line in EXTRAS[extra]:
        nested = re.fullmatch(r"molnb\[(.+)\]", line)
        if nested:
            packages |= set().union(*map(packages_of, nested[1].split(",")))
        else:
            packages.add(required_name(line))
    return packages


def everything() -> set[str]:
    """Every package that is named."""
    return core().union(*map(packages_of, EXTRAS))


def required_name(requirement: str) -> str:
    """The package that a requirement names: `torch-geometric` of `torch_geometric>=2.8`."""
    return normal(re.match(r"[\w.-]+", requirement)[0])


def normal(package: str) -> str:
    """A package's name as it is compared."""
    return re.sub(r"[-_.]+", "-", package).lower()
