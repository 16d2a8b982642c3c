"""Labels of one's own table in a line of text each: ``COLUMN:UNIT``, ``COLUMN=NAME:binary(...)``.

    COLUMN:UNIT                              numbers, stored as they are
    COLUMN=NAME:UNIT                         likewise, under another name
    COLUMN:binary                            0 and 1, or true and false
    COLUMN:binary(mutagens=1,nonmutagens=0)  texts that mean 0 and 1
    COLUMN:classes(low,medium,high)          texts that mean 0, 1, 2, ...
    NAME:-log10:nM->M                        a transform of a label (see `transforms`)

COLUMN is matched against the header, longest first, so it may hold colons and equal signs itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ...errors import InputError, did_you_mean
from ..label_schema import LOSSES, plain_name
from .transforms import GRAMMAR, parse_transform

UNIT_NEEDED = "write COLUMN:UNIT, as in 'logS:log(mol/L)', or COLUMN:binary"
_CLASSES = re.compile(r"(binary|classes)\s*(?:\((.*)\))?$", re.DOTALL | re.IGNORECASE)
# Meant as classes, and no unit of any number.
_ALMOST_CLASSES = re.compile(
    r"(binary|bool|boolean|class|classes|classification|categor\w*|multi-?class)\s*(\(.*)?$",
    re.DOTALL | re.IGNORECASE,
)


class DeclaredLabel(NamedTuple):
    """A label as its text declares it: of numbers in a unit, or of classes by number."""

    column: str
    name: str
    kind: str  # regression, binary or classes
    unit: str
    classes: dict[str, int] | None


def parse_label(text: str, columns: Sequence[str]) -> DeclaredLabel:
    """A label from its text, given the columns of the table.

    Raises InputError for a text that is none, naming what is missing.
    """
    column = _longest_column(text, columns)
    rest = text[len(column) :]
    name = column
    if rest.startswith("="):
        name, colon, rest = rest[1:].partition(":")
        name = name.strip()
        rest = colon + rest
    meaning = rest[1:].strip()
    if not rest.startswith(":") or not meaning or not name:
        raise InputError(f"--label {text!r} has no unit: {UNIT_NEEDED}")
    matched = _CLASSES.match(meaning)
    if matched is None:
        if _ALMOST_CLASSES.match(meaning):
            raise InputError(
                f"--label {text!r}: '{meaning}' is neither a unit nor a declaration of classes: "
                "write COLUMN:binary, COLUMN:binary(active=1,inactive=0) or "
                "COLUMN:classes(low,medium,high)"
            )
        return DeclaredLabel(column, name, "regression", meaning, None)
    kind, inside = matched.groups()
    kind = kind.lower()
    return DeclaredLabel(column, name, kind, "1", _class_numbers(text, kind, inside))


def _longest_column(text: str, columns: Sequence[str]) -> str:
    """The longest column that a text begins with, followed by ``:`` or ``=``, or by nothing."""
    for column in sorted(columns, key=len, reverse=True):
        if text.startswith(column) and text[len(column) : len(column) + 1] in ("", ":", "="):
            return column
    column = text.partition(":")[0].partition("=")[0]
    raise InputError(
        f"--label {text!r}: the table has no column '{column}'{did_you_mean(column, columns)}. "
        f"The columns are: {', '.join(columns)}."
    )


def _class_numbers(text: str, kind: str, inside: str | None) -> dict[str, int] | None:
    """Texts of classes by number; None for a binary label of 0 and 1, or true and false."""
    if inside is None:
        if kind == "binary":
            return None
        raise InputError(
            f"--label {text!r} names no classes: write classes(low,medium,high), or number them: "
            "classes(low=0,medium=1,high=2)"
        )
    numbers: dict[str, int] = {}
    items = inside.split(",")
    numbered = ["=" in item for item in items]
    if any(numbered) and not all(numbered):
        item = items[numbered.index(False)]
        raise InputError(
            f"--label {text!r}: class '{item.strip()}' has no number where others have one: number "
            "all or none (a class with a comma in its name can be declared in a recipe)"
        )
    for position, item in enumerate(items):
        name, equals, number = item.rpartition("=")
        if not equals:
            name = item
            number = str(position)
        if kind == "binary" and number.strip() not in ("0", "1"):
            raise InputError(
                f"--label {text!r}: class '{name.strip()}' is numbered {number}; a binary label "
                "has 0 and 1"
            )
        if not name.strip() or not number.strip().isdigit() or name.strip() in numbers:
            raise InputError(
                f"--label {text!r}: '{item}' is no class of its own: write NAME=NUMBER, each name "
                "once"
            )
        numbers[name.strip()] = int(number)
    if len(set(numbers.values())) < 2:
        raise InputError(f"--label {text!r} has one class: there is nothing to tell apart")
    return numbers


def describe_labels(
    labels: Iterable[DeclaredLabel], transforms: Sequence[str], task: str
) -> dict[str, Any]:
    """The keys ``labels`` and ``tasks`` of a recipe.

    Numbers form one task, binary labels one, labels of more classes one each. ``task`` is the name
    of the first of them; transforms are applied to the labels that they name.
    """
    labels = list(labels)
    described = [_describe(label) for label in labels]
    for text in transforms:
        _add_transform(described, labels, text)
    groups: dict[str, list[str]] = {}
    kinds: dict[str, str] = {}
    for label in labels:
        suffix = "" if label.kind == labels[0].kind else f"_{label.kind}"
        name = f"{task}{suffix}"
        if label.kind == "classes" and len(labels) > 1:
            name = f"{task}_{plain_name(label.name)}"
            while name in groups:  # of labels whose names differ in other signs
                name += "_"
        groups.setdefault(name, []).append(label.name)
        kinds[name] = label.kind
    tasks = [
        {
            "name": name,
            "labels": members,
            "kind": kinds[name],
            "loss": LOSSES[kinds[name]][0],
        }
        for name, members in groups.items()
    ]
    return {"labels": described, "tasks": tasks}


def _describe(label: DeclaredLabel) -> dict[str, Any]:
    described = {
        "name": label.name,
        "column": label.column,
        "quantity": label.name,
        "unit": label.unit,
        "theory": "as given",
        "geometry": "none",
    }
    return described if label.classes is None else described | {"classes": label.classes}


def _add_transform(described: list[dict], labels: Sequence[DeclaredLabel], text: str) -> None:
    """Put a transform, ``NAME:FUNCTION...``, into the description of the label that it names."""
    names = [label.name for label in labels]
    matching = [name for name in names if text.startswith(f"{name}:")]
    if not matching:
        name = text.partition(":")[0]
        raise InputError(
            f"--transform {text!r}: there is no label '{name}'{did_you_mean(name, names)}. "
            f"The labels are: {', '.join(names) or 'none, declare one with --label'}."
        )
    name = max(matching, key=len)
    label = labels[names.index(name)]
    transform = text[len(name) + 1 :]
    if label.kind != "regression":
        raise InputError(f"--transform {text!r}: '{name}' is {label.kind}, not of numbers")
    target = described[names.index(name)]
    if "transform" in target:
        raise InputError(f"--transform {text!r}: '{name}' has one transform already")
    try:
        unit = parse_transform(transform, label.unit).unit
    except ValueError as error:
        raise InputError(f"--transform {text!r}: {error}. Grammar: NAME:{GRAMMAR}.") from None
    target |= {"transform": transform, "source_unit": label.unit, "unit": unit}
