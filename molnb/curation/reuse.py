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
from ..shards import load_shards
from .chunks import Job

LIBRARIES = ("molnb", "rdkit", "tblite", "numpy", "pyarrow", "duckdb")
DECIDING = ("rdkit", "tblite")  # another version may give another geometry or label


def versions() -> dict[str, str | None]:
    """Versions of the libraries that curation uses, None where one is not installed as a
    package.
    """
    found: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = getattr(sys.modules.get(name), "__version__", None)
    return found


def report_versions(made_with: dict[str, str | None], folder: Path) -> None:
    """One line on stderr when molecules about to be reused were made with another RDKit or
    tblite.
    """
    here = versions()
    other = [
        f"{x} {made_with.get(x)} (here {here[x]})" for x in DECIDING if made_with.get(x) != here[x]
    ]
    if other:
        print(
            f"molnb: {folder.name} was made with {', '.join(other)}; delete the folder to make it anew",
            file=sys.stderr,
        )


def adopt(job: Job, plan: dict[str, Any]) -> dict[str, Any]:
    """Link what a sibling folder of the same molecules has finished into this one; the plan gets
    its versions.
    """
    for folder in sorted(job.folder.parent.glob(f"{job.recipe.name}-*")):
        if folder == job.folder:
            continue
        if (folder / "manifest.json").exists():
            taken = _adopt_finished(job, plan, folder)
        else:
            taken = _adopt_unfinished(job, plan, folder)
        if taken is not None:
            report_versions(taken, folder)
            return plan | {"versions": taken, "adopted_from": folder.name}
    return plan


def _adopt_finished(job: Job, plan: dict[str, Any], folder: Path) -> dict | None:
    try:
        shards = load_shards(folder)
    except InputError:
        return None
    manifest = shards.manifest
    if (manifest["molecules_id"], manifest["n_asked"]) != (plan["molecules_id"], plan["n"]):
        return None
    for name in manifest["files"]:
        if name.startswith("shards/") or name == "dropped.parquet":
            _link(folder / name, job.folder / name)
    write_json(manifest["molecules"], job.work / "molecules.json")
    return manifest["versions"]


def _adopt_unfinished(job: Job, plan: dict[str, Any], folder: Path) -> dict | None:
    try:
        other = json.loads((folder / "work" / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if (other["molecules_id"], other["n"]) != (plan["molecules_id"], plan["n"]):
        return None
    with contextlib.suppress(FileNotFoundError):  # finished, and tidied up, under our eyes
        for path in sorted(folder.glob("work/**/*")) + sorted(folder.glob("shards/*.parquet")):
            if (
                path.is_file()
                and not path.name.startswith(".")
                and path.name not in ("plan.json", "lock")
            ):
                _link(path, job.folder / path.relative_to(folder))
    return other["versions"]


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
