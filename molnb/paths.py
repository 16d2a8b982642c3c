"""Where things lie: what molnb writes is below one folder, what comes with it beside its code."""

from __future__ import annotations

import os
import re
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


def curated_folders(name: str) -> list[Path]:
    """The folders of what was curated here from a recipe of a name, the latest last."""
    folder_name = re.compile(re.escape(name) + r"-[0-9a-f]{8}(-n\d+)?")
    files = [file for file in (home() / "data").glob(f"*/{MANIFEST}") if file.is_file()]
    files = [file for file in files if folder_name.fullmatch(file.parent.name)]
    return [file.parent for file in sorted(files, key=lambda file: file.stat().st_mtime)]


def find_curated(name: str | os.PathLike) -> Path:
    """The folder of a curated dataset, or the latest of a recipe of that name; never curates."""
    folders = curated_folders(str(name))
    try:
        return find_data(name)
    except InputError:
        if not folders:
            raise
        return folders[-1]


def find_run_folder(name: str | os.PathLike) -> Path:
    """The folder of a run: the path itself, or the name below ``MOLNB_HOME/runs``."""
    path = Path(name)
    below = home() / "runs" / path
    return below if not path.exists() and below.exists() else path
