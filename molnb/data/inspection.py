"""Curated molecules in a page of text: counts, labels, splits, sizes, where they come from.

Read from the manifest, a few small arrays and the column of scaffolds, so that a hundred thousand
molecules take no second. Needs numpy and pyarrow alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..paths import find_curated
from ..shards import ARRAYS, SHA256, SPLIT_VALUES, Shards, load_shards
from ..texts import (
    GAP,
    aligned,
    described,
    readable_bytes,
    readable_share,
    shortened,
    wrapped,
)
from .scaffold_numbers import scaffold_codes

MOST_LABELS = 60  # that are listed one by one
_KINDS = {"shards": "parts", ARRAYS: "arrays", ".": "tables"}


def inspect_shards(data: Shards | str | os.PathLike) -> str:
    """What curated molecules are, in plain text: of shards, a folder, or a recipe's latest."""
    shards = data if isinstance(data, Shards) else load_shards(find_curated(data))
    return "\n".join(_lines(shards))


def _lines(shards: Shards) -> Iterator[str]:
    manifest = shards.manifest
    title = manifest.get("title", manifest["name"])
    yield from wrapped(f"{shards.path.name}: {title}", indent="")
    yield from ["", "Rows", *described(_row_terms(manifest))]
    yield from ["", "Molecules", *described(_molecule_terms(shards))]
    yield from _label_lines(shards)
    yield from ["", "Splits", *aligned(_split_rows(shards), right=(1, 2, 3), indent=GAP)]
    yield from ["", "Files", *aligned(_file_rows(shards), right=(1, 2), indent=GAP)]
    yield from ["", "Provenance", *described(_provenance(shards))]
    if manifest.get("notices"):
        yield from ["", "Notes"]
    for notice in manifest.get("notices", []):
        yield from wrapped(notice, "    ", "  - ")


def _row_terms(manifest: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    n_row = manifest.get("n_sampled")
    if n_row is None:
        return
    n_source = manifest["n_source"]
    sample = "" if n_row == n_source else f", a sample of {n_source:,}"
    yield "read", f"{n_row:,}{sample}"
    yield "molecules", f"{manifest['n_kept']:,}"
    yield "dropped", f"{manifest['n_dropped']:,}"
    for step, reasons in manifest["dropped"].items():
        yield "", f"{step}: " + ", ".join(f"{reason} {n:,}" for reason, n in reasons.items())


# ----------------------------------------------------------------------------------- molecules


def _molecule_terms(shards: Shards) -> Iterator[tuple[str, str | None]]:
    yield "number", f"{shards.n:,}"
    for name, array, is_offset in (
        ("heavy atoms", "n_heavy", False),
        ("all atoms", "atom_offset", True),
        ("bonds", "bond_offset", True),
    ):
        values = np.asarray(shards.array(array))
        yield name, _spread(np.diff(values) if is_offset else values)
    n_conformer = [name for name in shards.array_names if name == "n_conformers"]
    yield "conformers", _spread(np.asarray(shards.array(n_conformer[0]))) if n_conformer else "1"
    if "charge" in shards.array_names:
        n_charged = int(np.count_nonzero(shards.array("charge")))
        yield "charged", f"{n_charged:,} ({readable_share(n_charged, shards.n)})"
    yield "scaffolds", _scaffolds(shards)
    counts = shards.manifest.get("counts", {})
    for name, key in (
        ("embedded by", "embedded_by"),
        ("force field", "force_field"),
        ("removed", "removed"),
        ("stereo groups", "stereo_groups"),
    ):
        yield name, ", ".join(f"{kind} {n:,}" for kind, n in counts.get(key, {}).items())
    yield "open stereo", _number(counts, "undefined_stereo")
    yield "loose copies", _number(counts, "loose_duplicates")


def _number(counts: dict[str, Any], key: str) -> str | None:
    return f"{counts[key]:,}" if key in counts else None


def _spread(values: np.ndarray) -> str:
    """Mean and range of whole numbers."""
    if not len(values):
        return "none"
    return f"{values.mean():.1f} on average, {values.min():,} to {values.max():,}"


def _scaffolds(shards: Shards) -> str | None:
    """How many scaffolds, what the first holds, and how varied they are: facts for sampling."""
    try:
        scaffolds = scaffold_codes([shards])
    except InputError:
        return None
    counts = np.bincount(scaffolds.codes, minlength=scaffolds.n)
    n_acyclic = 0 if scaffolds.acyclic is None else int(counts[scaffolds.acyclic])
    if scaffolds.acyclic is not None:
        counts = np.delete(counts, scaffolds.acyclic)
    acyclic = f"{readable_share(n_acyclic, shards.n)} without a ring"
    if not counts.sum():
        return acyclic
    shares = counts / counts.sum()
    effective = np.exp(-(shares * np.log(shares)).sum())
    return (
        f"{len(counts):,}, effective number {effective:,.0f}; the first has {shares.max():.1%} of "
        f"the cyclic molecules; {acyclic}"
    )


# -------------------------------------------------------------------------------------- labels


def _label_lines(shards: Shards) -> Iterator[str]:
    """Every label with its unit, fill, classes and tasks; of thousands the first."""
    labels = _labels(shards.manifest)
    yield from ["", f"Labels ({len(labels):,})" if labels else "Labels: none"]
    if not labels:
        return
    tasks: dict[str, list[str]] = {}
    for name, task in shards.tasks.items():
        for label in task["labels"]:
            tasks.setdefault(label["name"], []).append(name)
    rows = [("name", "level", "unit or classes", "known", "", "tasks")]
    for label in labels[:MOST_LABELS]:
        of_label = ", ".join(tasks.get(label["name"], ["none"]))
        rows.append((*_label_cells(label, shards.n), of_label))
    yield from aligned(rows, right=(3, 4), indent=GAP)
    if len(labels) > MOST_LABELS:
        rest = [label["known"] for label in labels[MOST_LABELS:] if "known" in label]
        known = f", {min(rest):,} to {max(rest):,} known" if rest else ""
        yield f"  and {len(labels) - MOST_LABELS:,} more{known}"


def _labels(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The labels of a manifest; of one that has them in its tasks alone, those."""
    if "labels" in manifest:
        return list(manifest["labels"].values())
    labels = [
        {"level": task["level"], **label}
        for task in manifest["tasks"].values()
        for label in task["labels"]
    ]
    return list({label["name"]: label for label in labels}.values())


def _label_cells(label: dict[str, Any], n: int) -> tuple[str, ...]:
    unit = label["unit"]
    if "class_counts" in label:
        unit = ", ".join(f"{name}: {count:,}" for name, count in label["class_counts"].items())
    known = label.get("known")
    name = shortened(label["name"], 32)
    if known is None:
        return name, label["level"], unit, "", ""
    return name, label["level"], shortened(unit, 40), f"{known:,}", readable_share(known, n)


# ---------------------------------------------------------------------------- splits and files


def _split_rows(shards: Shards) -> list[tuple[str, ...]]:
    manifest = shards.manifest
    rows = [("name", *SPLIT_VALUES, "")]
    for name, split in manifest["splits"].items():
        remark = "default" if name == manifest["default_split"] else ""
        similarity = split.get("nn_similarity_median")
        if similarity is not None:
            remark += f"{', ' if remark else ''}test to nearest training: Tanimoto {similarity:.2f}"
        sizes = (f"{split[part]:,}" if part in split else "" for part in SPLIT_VALUES)
        rows.append((name, *sizes, remark))
    return rows


def _file_rows(shards: Shards) -> list[tuple[str, ...]]:
    """Files and bytes by folder, with the largest of each."""
    by_kind: dict[str, dict[str, int]] = {}
    for name, size in shards.manifest["files"].items():
        by_kind.setdefault(_KINDS.get(str(Path(name).parent), "tables"), {})[name] = size
    rows = []
    for kind, files in by_kind.items():
        largest = max(files, key=files.__getitem__)
        words = f"largest {largest} {readable_bytes(files[largest])}"
        total = readable_bytes(sum(files.values()))
        rows.append((kind, f"{len(files):,}", total, words))
    total = sum(shards.manifest["files"].values())
    each = f"{total / max(shards.n, 1):,.0f} bytes a molecule"
    return [*rows, ("all", f"{len(shards.manifest['files']):,}", readable_bytes(total), each)]


# ---------------------------------------------------------------------------------- provenance


def _provenance(shards: Shards) -> Iterator[tuple[str, str | None]]:
    manifest = shards.manifest
    recipe = manifest.get("recipe", {})
    yield "folder", str(shards.path.resolve())
    if "recipe_id" in manifest:
        yield "recipe", f"{manifest['name']}, {manifest['recipe_id']}"
        yield "molecules", manifest["molecules_id"]
    source = manifest.get("source", {})
    if source.get("file"):
        size = source.get("bytes")
        yield "source", source["file"] + ("" if size is None else f" ({size:,} bytes)")
        yield "SHA-256", source.get("sha256")
    yield "address", recipe.get("source", {}).get("url")
    yield "licence", recipe.get("licence")
    yield "taken over", manifest.get("adopted_from")
    versions = manifest.get("versions", {})
    yield "made with", ", ".join(f"{name} {version}" for name, version in versions.items())
    seconds = sum(manifest.get("seconds", {}).values())
    yield "made", manifest.get("created")
    yield "in", f"{seconds:,.1f} s by {manifest.get('workers', '?')} workers" if seconds else None
    n_hash = len(manifest.get(SHA256, {}))
    n_file = len(manifest["files"])
    yield "hashes", f"of {n_hash:,} of {n_file:,} files (molnb verify {shards.path.name})"
