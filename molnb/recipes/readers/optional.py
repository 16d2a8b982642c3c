"""Packages that only some formats need, asked for when such a file is read."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from ...errors import InputError
from ...extras import how_to_install
from .archives import Member


def optional_module(path: Path | Member, name: str) -> ModuleType:
    """A package by its name; where it is not installed, InputError says what the file needs."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        package = name.partition(".")[0]
        raise InputError(f"{path} needs {package} to be read: {how_to_install(name)}") from None
