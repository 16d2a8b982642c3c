"""Recipes of small tables and mixes of them, written for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from molnb.curation.pipeline import curate
from molnb.shards import Shards

STATED = {"title": "made for a test", "licence": "not stated", "citation": "not stated"}
MEASURED = {"quantity": "a measured quantity", "unit": "1", "theory": "assay", "geometry": "none"}


def write_member(
    folder: Path, name: str, rows: Sequence[tuple], measured: dict[str, dict], **keys: Any
) -> Path:
    """A recipe and its table: rows of SMILES, part of the split, and a value a label (None)."""
    lines = [",".join(["smiles", "part", *measured])]
    lines += [",".join("" if value is None else str(value) for value in row) for row in rows]
    table = folder / f"{name}.csv"
    table.write_text("\n".join(lines) + "\n")
    content = {
        "name": name,
        **STATED,
        "source": {"kind": "file", "file": str(table)},
        "labels": [
            MEASURED | {"name": label, "column": label} | changes
            for label, changes in measured.items()
        ],
        "tasks": [{"name": f"of_{label}", "labels": [label]} for label in measured],
        "splits": {"own": {"kind": "column", "column": "part", "val_share": 0}},
        "default_split": "own",
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content | keys))
    return path


def write_mix(folder: Path, members: dict[str, dict | str], **keys: Any) -> Path:
    """A mix of recipes that lie beside it, in this order; a member may be its file's name alone."""
    described = {
        name: {"recipe": f"{member}.yaml"} if isinstance(member, str) else member
        for name, member in members.items()
    }
    path = folder / "blend.yaml"
    content = {"name": "blend", **STATED, "members": described} | keys
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def curate_here(folder: Path, path: Path, **options: Any) -> Shards:
    """The shards of a mix, made in this process below a folder."""
    return curate(path, workers=0, home=folder, **({"progress": False} | options))
