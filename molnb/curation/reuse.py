"""Take over finished work: another folder of the same recipe whose molecules are the same.

A changed split, task or citation makes another recipe id, hence another folder; what was parsed,
embedded and labelled before is linked into it, not computed again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import write_json
from ..paths import MANIFEST
from ..shards import CONFLICTS, load_shards
from .chunks import Job

LIBRARIES = ("molnb", "rdkit", "tblite", "numpy", "pyarrow", "duckdb")
DECIDING = ("rdkit", "tblite")  # another version may give another geometry or label


def versions() -> dict[str, str | None]:
    """Versions of the libraries that curation uses; None where one cannot be told."""
    return {name: _version(name) for name in LIBRARIES}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a folder, not installed
        return getattr(sys.modules.get(name), "__version__", None)


def report_versions(made_with: dict[str, str | None], folder: Path) -> None:
    """Print to stderr where molecules to be reused were made with another RDKit or tblite."""
    installed = versions()
    differences = [
        f"{name} {made_with.get(name)} (here {installed[name]})"
        for name in DECIDING
        if made_with.get(name) != installed[name]
    ]
    if differences:
        print(
            f"molnb: {folder.name} was made with {', '.join(differences)}; "
            "delete the folder to make it anew",
            file=sys.stderr,
        )


def adopt(job: Job, plan: dict[str, Any]) -> dict[str, Any]:
    """Link what a folder of the same molecules has finished; returns the plan with its versions."""
    for folder in sorted(job.folder.parent.glob(f"{job.recipe.name}-*")):
        if folder == job.folder:
            continue
        if (folder / MANIFEST).exists():
            made_with = _adopt_finished(job, plan, folder)
        else:
            made_with = _adopt_unfinished(job, plan, folder)
        if made_with is not None:
            report_versions(made_with, folder)
            return plan | {"versions": made_with, "adopted_from": folder.name}
    return plan


def _same_molecules(plan: dict[str, Any], molecules_id: str, n: int | None) -> bool:
    return (plan["molecules_id"], plan["n"]) == (molecules_id, n)


def _adopt_finished(job: Job, plan: dict[str, Any], folder: Path) -> dict | None:
    """Link the molecules of finished shards; returns the versions they were made with, or None."""
    try:
        shards = load_shards(folder)
    except InputError:
        return None
    manifest = shards.manifest
    if not _same_molecules(plan, manifest["molecules_id"], manifest["n_asked"]):
        return None
    for name in manifest["files"]:
        if name.startswith("shards/") or name in ("dropped.parquet", CONFLICTS):
            _link(folder / name, job.folder / name)
    write_json(manifest["molecules"], job.work / "molecules.json")
    return manifest["versions"]


def _adopt_unfinished(job: Job, plan: dict[str, Any], folder: Path) -> dict | None:
    """Link what an interrupted curation has finished so far, likewise."""
    try:
        sibling = json.loads((folder / "work" / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not _same_molecules(plan, sibling["molecules_id"], sibling["n"]):
        return None
    with contextlib.suppress(FileNotFoundError):  # finished, and tidied up, in the meantime
        finished = [*folder.glob("work/**/*"), *folder.glob("shards/*.parquet")]
        for path in sorted([*finished, *folder.glob(CONFLICTS)]):
            hidden = path.name.startswith(".")
            if path.is_file() and not hidden and path.name != "plan.json":
                _link(path, job.folder / path.relative_to(folder))
    return sibling["versions"]


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:  # file systems without hard links
        partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        shutil.copyfile(source, partial)
        os.replace(partial, target)
