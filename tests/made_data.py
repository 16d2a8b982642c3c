"""Tiny datasets made up for tests, curated as any table of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from molnb.curation.pipeline import curate
from molnb.recipes.registry import make_recipe
from molnb.shards import Shards

ALKANES = ["C" * n for n in range(2, 14)]
ALCOHOLS = ["O" + "C" * n for n in range(2, 14)]


def make_dataset(
    folder: Path,
    name: str,
    smiles: Sequence[str],
    labels: Mapping[str, Sequence[float | None]],
    tasks: Sequence[Mapping],
    units: Mapping[str, str] | None = None,
    theory: str = "B3LYP",
    classes: Mapping[str, Mapping[str, int]] | None = None,
    fractions: Sequence[float] = (0.5, 0.3, 0.2),
) -> Shards:
    """Molecules with labels of theirs, split at random in 5 : 3 : 2; None is an unknown label.

    `tasks` are those of a recipe; `units` is the unit of each label (default: none), `classes` the
    number of each class of a label that has some.
    """
    lines = [",".join(["smiles", *labels])]
    for row in zip(smiles, *labels.values()):
        lines.append(",".join("" if value is None else str(value) for value in row))
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    units = units or {}
    classes = classes or {}
    recipe = make_recipe(
        {
            "name": name,
            "title": name,
            "licence": "none",
            "citation": "none",
            "source": {"kind": "file", "file": str(folder / f"{name}.csv")},
            "labels": [
                {
                    "name": label,
                    "column": label,
                    "quantity": label,
                    "unit": units.get(label, "1"),
                    "theory": theory,
                    "geometry": "none",
                    "classes": classes.get(label),
                }
                for label in labels
            ],
            "tasks": [dict(task) for task in tasks],
            "splits": {"random": {"kind": "random", "fractions": list(fractions)}},
            "default_split": "random",
        }
    )
    return curate(recipe, workers=0, home=folder, progress=False)


def make_classes(
    folder: Path,
    name: str,
    smiles: Sequence[str],
    numbers: Sequence[int | None],
    n_class: int,
    **options: Any,
) -> Shards:
    """A dataset with one task and label of a name, of classes that are called by their number."""
    classes = {str(number): number for number in range(n_class)}
    tasks = [{"name": name, "labels": [name], "kind": "classes", "loss": "ce"}]
    return make_dataset(
        folder, name, smiles, {name: numbers}, tasks, classes={name: classes}, **options
    )


def make_binary(
    folder: Path,
    name: str,
    smiles: Sequence[str],
    labels: Mapping[str, Sequence[float | None]],
    **options: Any,
) -> Shards:
    """A dataset with one binary task of a name and labels of their own."""
    tasks = [{"name": name, "labels": list(labels), "kind": "binary", "loss": "bce"}]
    return make_dataset(folder, name, smiles, labels, tasks, **options)


def make_gaps(
    folder: Path,
    name: str,
    smiles: Sequence[str],
    gaps: Sequence[float],
    unit: str = "eV",
    theory: str = "B3LYP",
) -> Shards:
    """A dataset with the task `shared` of one label `gap`, and a task of its own name."""
    labels = {"gap": gaps, "size": [gap / 2 for gap in gaps]}
    tasks = [{"name": "shared", "labels": ["gap"]}, {"name": f"of_{name}", "labels": ["size"]}]
    return make_dataset(folder, name, smiles, labels, tasks, {"gap": unit}, theory)
