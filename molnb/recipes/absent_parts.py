"""What of a recipe another file in its source's place cannot have: splits, flags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    return _with_warning(recipe, left_out, splits=splits, default_split=default)


def without_lists(recipe: Recipe) -> Recipe:
    """The recipe without flags that a list of identifiers makes, for a file that has none."""
    flags = {name: flag for name, flag in recipe.flags.items() if flag.listed is None}
    if flags == recipe.flags:
        return recipe
    absent = sorted(set(recipe.flags) - set(flags))
    left_out = f"left out: flag {', '.join(absent)}, as the file has no column of identifiers"
    return _with_warning(recipe, left_out, flags=flags)


def _with_warning(recipe: Recipe, sentence: str, **changes: Any) -> Recipe:
    """The recipe with some parts replaced, and a sentence more in its warning."""
    warning = sentence if recipe.warning is None else f"{recipe.warning.strip()}; {sentence}"
    changed = recipe.model_copy(update={"warning": warning, **changes})
    changed._folder = recipe.folder
    return changed


def _is_of_the_own_file(split: Split, columns: Sequence[str]) -> bool:
    if split.kind == "file":
        return split.url is not None and split.by == "row"
    return split.column is not None and split.column not in columns
