"""A recipe beside the columns that its file has: alternatives chosen, globs made into labels."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError, did_you_mean
from .label_schema import STAR, Label
from .readers import column_names
from .readers.record import OWN_STRUCTURES, file_format
from .schema import Recipe
from .source_schema import Columns, Source
from .sources import LocatedSource, join_path, joined_source, source_path


def with_chosen_columns(recipe: Recipe, located: LocatedSource) -> Recipe:
    """The recipe with one column for each label, as its file has them.

    Of several names of a column the first counts that the file has; a label with ``*`` becomes one
    of every column that fits; an optional label that the file lacks is left out, with its tasks.
    Raises InputError where a label's columns are all missing.
    """
    path = source_path(located.source, located.folder)
    names = column_names(located.source, path)
    label_names = names
    label_path = path
    if located.source.join is not None:
        label_path = join_path(located.source, located.folder)
        label_names = column_names(joined_source(located.source, label_path), label_path)
    labels = _chosen_labels(recipe, label_path, label_names)
    absent = [name for name, several in labels.items() if not several]
    chosen = {
        "warning": _with_absent(recipe.warning, absent),
        "labels": [label for several in labels.values() for label in several],
        "tasks": _chosen_tasks(recipe, labels),
        "columns": _chosen_columns(recipe, located.source, names),
    }
    changed = recipe.model_copy(update=chosen)
    changed._folder = recipe.folder
    return changed


def _with_absent(warning: str | None, absent: Sequence[str]) -> str | None:
    """A recipe's warning, with the labels that are left out."""
    if not absent:
        return warning
    left_out = f"left out: label {', '.join(absent)}, of which the file has no column"
    return left_out if warning is None else f"{warning.strip()}; {left_out}"


def _chosen_labels(recipe: Recipe, path: Path, names: Sequence[str]) -> dict[str, list[Label]]:
    """What becomes of each label of a recipe, by its name."""
    chosen: dict[str, list[Label]] = {}
    for label in recipe.labels:
        if label.column is None:
            chosen[label.name] = [label]
            continue
        columns = _matching(label, names)
        lacking = [] if columns else label.columns
        if not lacking and label.minus is not None and label.minus not in names:
            lacking = [label.minus]
            columns = {}
        if lacking and not label.optional:
            missing = lacking[0]
            either = f" (or {', '.join(lacking[1:])})" if lacking[1:] else ""
            raise InputError(
                f"{path} has no column '{missing}'{either} for label '{label.name}'"
                f"{did_you_mean(missing, names)}. Its columns are: {_listed(names)}."
            )
        chosen[label.name] = [
            label.model_copy(update=_with_star(label, column, star))
            for column, star in columns.items()
        ]
    return chosen


def _with_star(label: Label, column: str, star: str) -> dict[str, str | bool | None]:
    """What changes of a label that is read from one column: the star is what stands for it."""
    relation = label.relation and label.relation.replace(STAR, star)
    # One of many columns may well be empty, which is no reason to refuse the others.
    return {
        "column": column,
        "name": label.name.replace(STAR, star),
        "relation": relation,
        "optional": label.optional or STAR in label.name,
    }


def _matching(label: Label, names: Sequence[str]) -> dict[str, str]:
    """The columns of a label, and what stands in each for the star."""
    if STAR not in label.name:
        present = [column for column in label.columns if column in names]
        return dict.fromkeys(present[:1], "")
    for pattern in label.columns:
        before, _, behind = pattern.partition(STAR)
        matching = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if matching:
            return {name: name[len(before) : len(name) - len(behind)] for name in matching}
    return {}


def _chosen_tasks(recipe: Recipe, labels: dict[str, list[Label]]) -> list:
    tasks = []
    for task in recipe.tasks:
        members = [label.name for name in task.labels for label in labels[name]]
        if members:
            tasks.append(task.model_copy(update={"labels": members}))
    return tasks


def _chosen_columns(recipe: Recipe, source: Source, names: Sequence[str]) -> Columns:
    """Structure and identifier, each the first of its names that the file has.

    In a file of structures the record's own counts where the geometry is given, or no SMILES is.
    A geometry of whose columns the file has none stands in the structures themselves. A list of
    names of identifiers says that editions differ: one may have none.
    """
    columns = recipe.columns
    identifier = columns.id
    if isinstance(identifier, list):
        identifier = next((name for name in identifier if name in names), None)
    chosen = {"smiles": _first_or_missing(columns.smiles, names), "id": identifier}
    if file_format(source) in OWN_STRUCTURES:
        given = recipe.conformers.kind == "given"
        if given or chosen["smiles"] not in names:
            chosen["smiles"] = None
    geometry = columns.geometry
    if geometry is not None and not {geometry.numbers, geometry.coords} & set(names):
        chosen["geometry"] = None
    return columns.model_copy(update=chosen)


def _first_or_missing(column: str | list[str] | None, names: Sequence[str]) -> str | None:
    """The first of a column's names that the file has, or else the first of all, to be missed."""
    if column is None or isinstance(column, str):
        return column
    return next((name for name in column if name in names), column[0])


def _listed(names: Sequence[str], most: int = 40) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
