"""Splits of a recipe that another file in its source's place cannot have."""

from __future__ import annotations

from collections.abc import Sequence

from .schema import Recipe
from .split_schema import Split


def without_absent_splits(recipe: Recipe, columns: Sequence[str]) -> Recipe:
    """The recipe without splits that a file with these columns cannot have, and subsets of these.

    They number rows in a list at a url, and row 7 of a file of one's own is another molecule; or
    they stand in a column that it lacks. What is left out is said in the recipe's warning; where it
    was the default split, the first other one is. Where no other is left all stay, to be missed.
    """
    absent = {name for name, split in recipe.splits.items() if _is_of_the_own_file(split, columns)}
    absent |= {name for name, split in recipe.splits.items() if split.of in absent}
    splits = {name: split for name, split in recipe.splits.items() if name not in absent}
    if not absent or not splits:
        return recipe
    default = recipe.default_split if recipe.default_split in splits else next(iter(splits))
    left_out = (
        f"left out: split {', '.join(sorted(absent))}, which is of the recipe's own file (fetched "
        "by hand, that is read from a folder named in MOLNB_SOURCES)"
    )
    warning = left_out if recipe.warning is None else f"{recipe.warning.strip()}; {left_out}"
    update = {"splits": splits, "default_split": default, "warning": warning}
    changed = recipe.model_copy(update=update)
    changed._folder = recipe.folder
    return changed


def _is_of_the_own_file(split: Split, columns: Sequence[str]) -> bool:
    if split.kind == "file":
        return split.url is not None and split.by == "row"
    return split.column is not None and split.column not in columns
