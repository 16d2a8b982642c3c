"""All recipes side by side: a row each of what one chooses a dataset by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...texts import GAP, WIDTH, aligned, readable_bytes, shortened
from ..label_schema import STAR
from ..mix_schema import Mix
from ..registry import list_recipes, load_recipe
from ..schema import Conformers, Recipe
from .licences import short_licence

if TYPE_CHECKING:
    import pandas as pd

GROUPS = {
    "embedded": "come with RDKit: no download",
    "downloads": "fetched once, by curate or fetch",
    "files": "read a file of yours",
    "mixes": "several of the above as one training set",
}
LEVELS = ("molecule", "atom", "bond", "pair")
_COLUMNS = ("name", "rows", "size", "levels", "labels", "tasks", "geometry", "licence")
WIDEST_NAME = 28  # some of TDC's are longer, and push their row aside
_NUMBERS = (1, 2, 4, 5)  # columns that end together


def recipes_table() -> pd.DataFrame:
    """Every recipe that can be named, a row each: group, rows, bytes, levels, tasks, licence.

    Recipes that cannot be read are left out; ``molnb recipes`` names them.
    """
    import pandas as pd

    return pd.DataFrame(recipe_rows(_read_all(list_recipes())[0].values()))


def recipe_rows(recipes: Iterable[Recipe | Mix]) -> list[dict[str, Any]]:
    """What is said of each recipe in the list; None for what a recipe does not state."""
    return [_mix_row(recipe) if isinstance(recipe, Mix) else _row(recipe) for recipe in recipes]


def recipes_text() -> str:
    """The list that ``molnb recipes`` prints: by group, in aligned columns of a terminal."""
    files = list_recipes()
    recipes, unreadable = _read_all(files)
    lines = _grouped_lines(recipe_rows(recipes.values()))
    if unreadable:
        lines.append("recipes that cannot be read:")
        lines += [f"  {reason}" for reason in unreadable.values()]
    lines += [
        "levels: m molecule, a atom, b bond, p pair; labels 1*: one of every column that fits",
        "rows ~5: as others report",
    ]
    lines.append("molnb recipes NAME prints a card, molnb curate NAME makes the molecules")
    for folder in sorted({path.parent for path in files.values()}):
        lines.append(f"files to copy, for a recipe of your own: {folder}")
    return "\n".join(lines)


def _read_all(files: dict[str, Path]) -> tuple[dict[str, Recipe | Mix], dict[str, str]]:
    """Recipes by name, and why others cannot be read: one bad file does not hide the rest."""
    recipes = {}
    unreadable = {}
    for name, path in files.items():
        try:
            recipes[name] = load_recipe(path)
        except InputError as error:
            unreadable[name] = str(error)
    return recipes, unreadable


# ---------------------------------------------------------------------------------------- rows


def _row(recipe: Recipe) -> dict[str, Any]:
    source = recipe.source
    levels = {label.level for label in recipe.labels}
    globs = any(STAR in label.name for label in recipe.labels)
    return {
        "group": {"rdkit": "embedded", "url": "downloads"}.get(source.kind, "files"),
        "name": recipe.name,
        "rows": source.rows or source.about_rows,
        "rows_stated": source.rows is not None,
        "bytes": source_bytes(recipe),
        "levels": [level for level in LEVELS if level in levels],
        "labels": f"{len(recipe.labels)}{STAR if globs else ''}",
        "tasks": len(recipe.tasks),
        "geometry": geometry_kind(recipe.conformers),
        "licence": short_licence(recipe.licence),
        "title": recipe.title,
    }


def _mix_row(mix: Mix) -> dict[str, Any]:
    return {
        "group": "mixes",
        "name": mix.name,
        "rows": None,
        "rows_stated": False,
        "bytes": None,
        "levels": [],
        "labels": "",
        "tasks": None,
        "geometry": "",
        "licence": short_licence(mix.licence),
        "title": mix.title,
        "members": list(mix.members),
    }


def geometry_kind(conformers: Conformers) -> str:
    """Where the geometry of a recipe is from, in a word or two: given, made, 10 made + 2D."""
    if conformers.kind == "given":
        return "given"
    made = "made" if conformers.n == 1 else f"{conformers.n} made"
    return made + (" + 2D" if conformers.flat else "")


def source_bytes(recipe: Recipe) -> int | None:
    """The size of a source, as the recipe states it or as it lies here; None if nothing tells."""
    if recipe.source.bytes is not None or recipe.source.kind == "url":
        return recipe.source.bytes
    from ..sources import source_path

    try:
        return source_path(recipe.source, recipe.folder).stat().st_size
    except (InputError, OSError):
        return None


# --------------------------------------------------------------------------------------- lines


def _grouped_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    head, *cells = aligned(
        [_COLUMNS, *map(_cells, rows)], _NUMBERS, cut=True, widest_first=WIDEST_NAME
    )
    names = ("name", *(row["name"] for row in rows))
    width = min(WIDEST_NAME, max(map(len, names)))
    lines = [head]
    for group, meaning in GROUPS.items():
        of_group = [number for number, row in enumerate(rows) if row["group"] == group]
        if of_group:
            lines.append(f"{group}: {meaning}")
        for number in of_group:
            row = rows[number]
            lines.append(_mix_line(row, width) if group == "mixes" else cells[number])
    return lines


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    if row["group"] == "mixes":  # what a mix holds is told by its members
        return (row["name"], *[""] * (len(_COLUMNS) - 1))
    return (
        row["name"],
        _rows_cell(row),
        "" if row["bytes"] is None else readable_bytes(row["bytes"]),
        " ".join(level[0] for level in row["levels"]) or "none",
        row["labels"],
        str(row["tasks"]),
        row["geometry"],
        row["licence"],
    )


def _rows_cell(row: dict[str, Any]) -> str:
    """A number of rows; one that others report, and nothing is held to, begins with ~."""
    if row["rows"] is None:
        return ""
    return f"{'' if row['rows_stated'] else '~'}{row['rows']:,}"


def _mix_line(row: dict[str, Any], width: int) -> str:
    members = " + ".join(row["members"])
    return f"{row['name']:<{width}}{GAP}{shortened(members, WIDTH - width - len(GAP))}"
