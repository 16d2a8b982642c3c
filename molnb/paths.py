"""Where things lie: what molnb writes is below one folder, what comes with it beside its code."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import InputError

MANIFEST = "manifest.json"  # written last: a dataset's folder that holds it is finished


def home() -> Path:
    """The folder that holds `data/` and `runs/`: ``MOLNB_HOME``, or else the working directory."""
    return Path(os.environ.get("MOLNB_HOME") or ".")


def shipped_folder(name: str) -> Path:
    """The folder of what comes with molnb: `notebooks` or `data_recipes`.

    A wheel has them inside the package, a checkout beside it.
    """
    package = Path(__file__).resolve().parent
    inside = package / "shipped" / name
    return inside if inside.is_dir() else package.parent / name


def find_data(name: str | os.PathLike) -> Path:
    """The folder of a curated dataset: the path itself, or the name below ``MOLNB_HOME/data``."""
    for path in (Path(name), home() / "data" / name):
        if (path / MANIFEST).is_file():
            return path
    raise InputError(
        f"no curated dataset at {str(name)!r} or {home() / 'data' / name}: curate it first "
        "(`molnb curate NAME`)"
    )


def find_run_folder(name: str | os.PathLike) -> Path:
    """The folder of a run: the path itself, or the name below ``MOLNB_HOME/runs``."""
    path = Path(name)
    below = home() / "runs" / path
    return below if not path.exists() and below.exists() else path
